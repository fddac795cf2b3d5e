# SPDX-License-Identifier: GPL-3.0-or-later
"""Synchronization: every frame is found at its sample, nothing else is, whatever the antennas receive besides."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.frames.synchronization import Synchronizer, carrier_offset

FORMATS = [(64, 1), (64, 2), (64, 3), (64, 4), (256, 2), (256, 4)]


def complex_normal(rng, *shape):
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / np.sqrt(2)


def random_data(frame, rng):
    return frame.map_bits(rng.integers(0, 2, frame.coded_bits, np.uint8))


def random_channel(frame, num_rx, rng, delays=1):
    """Taps (num_rx, num_tx, delays) that decay; a frame arrives with unit power, mean over the antennas."""
    taps = complex_normal(rng, num_rx, frame.num_tx, delays) * np.exp(-1.5 * np.arange(delays) / delays)
    return taps / np.sqrt(np.sum(np.abs(taps) ** 2) / num_rx * frame.num_active / frame.fft_size)


def send(frame, num_rx, length, starts, rng, *, snr_db=30.0, offset=0.0, delays=1):
    """What the antennas receive, (num_rx, length): frames from each of `starts` on, each through its own channel."""
    received = np.zeros((num_rx, length + frame.frame_length + delays), complex)
    for start in starts:
        taps = random_channel(frame, num_rx, rng, delays)
        samples = frame.modulate(random_data(frame, rng))
        for delay in range(delays):
            first = start + delay
            received[:, first : first + frame.frame_length] += taps[..., delay] @ samples
    received = received[:, :length] * np.exp(2j * np.pi * offset * np.arange(length))
    return received + 10 ** (-snr_db / 20) * complex_normal(rng, num_rx, length)


def starts_found(frame, samples):
    return [found.start for found in Synchronizer(frame, len(samples)).push(samples)]


# Frames are found, at their sample


@pytest.mark.parametrize("num_rx", [1, 2, 4])
@pytest.mark.parametrize(("fft_size", "num_tx"), FORMATS)
def test_every_frame_at_5_db(fft_size, num_tx, num_rx):
    """Sample-exact on one-tap channels, up to 5.8 carrier spacings off, and nothing else is found in the data."""
    frame, rng = FrameFormat(num_tx, fft_size), np.random.default_rng(1)
    synchronizer, expected, found = Synchronizer(frame, num_rx), [], []
    for _ in range(10):
        start, offset = int(rng.integers(frame.frame_length)), rng.uniform(-1.45, 1.45) / frame.preamble_period
        expected.append((synchronizer.position + start, offset))
        found += synchronizer.push(
            send(frame, num_rx, start + frame.frame_length + 50, [start], rng, snr_db=5, offset=offset)
        )
    assert [each.start for each in found] == [start for start, _ in expected]
    for each, (_, offset) in zip(found, expected, strict=True):
        assert each.carrier_offset == pytest.approx(offset, abs=0.04 / fft_size)
        assert 0.05 < each.metric <= 1 and not each.overlapping and not each.dead.any() and not each.saturated.any()


@pytest.mark.parametrize(("fft_size", "num_tx"), FORMATS)
def test_windows_are_the_symbols(fft_size, num_tx):
    """Their Fourier transforms are the grid that was sent, times the channel, in phase from the first to the last."""
    frame, rng = FrameFormat(num_tx, fft_size), np.random.default_rng(2)
    data, taps = random_data(frame, rng), random_channel(frame, 3, rng)[..., 0]
    start, offset = 777, 0.3 / frame.preamble_period
    samples = np.pad(taps @ frame.modulate(data), ((0, 0), (start, 0)))
    samples = samples * np.exp(2j * np.pi * offset * (np.arange(samples.shape[-1]) - start))
    samples += 1e-4 * complex_normal(rng, *samples.shape)
    [found] = Synchronizer(frame, 3).push(samples)
    assert found.windows.shape == (14, 3, fft_size) and found.windows.dtype == np.complex64
    grid = np.fft.fft(found.windows, norm="ortho")[..., frame.active_carriers % fft_size] * frame.advance_correction
    np.testing.assert_allclose(grid, taps @ frame.fill_grid(data), atol=0.02)


@pytest.mark.parametrize(("fft_size", "delays"), [(64, 7), (256, 24)])
@pytest.mark.parametrize("num_tx", [1, 2, 4])
def test_multipath_fits_into_the_cyclic_prefix(fft_size, delays, num_tx):
    """With 300 ns of TDL-A: next to nothing of a symbol is in its neighbour's window, on any frame."""
    frame, rng = FrameFormat(num_tx, fft_size), np.random.default_rng(3)
    for _ in range(20):
        samples = send(frame, 2, frame.frame_length + 400, [300], rng, snr_db=8, delays=delays)
        [start] = starts_found(frame, samples)
        assert 300 - 2 <= start <= 300 + frame.timing_advance + delays // 4


def test_carrier_offset_of_the_strong_antenna():
    """Antennas count by their SNR: one that receives noise only, however loud, does not disturb."""
    frame, rng = FrameFormat(1), np.random.default_rng(4)
    preamble = frame.preamble * np.exp(2j * np.pi * 0.01 * np.arange(frame.preamble_length))
    for _ in range(50):
        antennas = np.concatenate([preamble, 100 * complex_normal(rng, 3, frame.preamble_length)])
        antennas[0] += 0.01 * complex_normal(rng, frame.preamble_length)
        assert carrier_offset(antennas, frame.preamble_period) == pytest.approx(0.01, abs=2e-4)


@pytest.mark.parametrize("num_tx", [1, 2, 4])
def test_back_to_back(num_tx):
    """Frames without a sample between them, and a stream that ends with the last sample of one."""
    frame, rng = FrameFormat(num_tx), np.random.default_rng(5)
    starts = [frame.frame_length * i for i in range(30)]
    samples = send(frame, 4, 30 * frame.frame_length, starts, rng)
    found = Synchronizer(frame, 4).push(samples)
    assert [each.start for each in found] == starts
    assert not any(each.overlapping for each in found)


FRAME = FrameFormat(2)
STREAM = send(FRAME, 2, 6000, [100, 1400, 3700, 4200], np.random.default_rng(6), offset=0.005).astype(np.complex64)
WHOLE = Synchronizer(FRAME, 2).push(STREAM)


@settings(max_examples=25)
@given(st.lists(st.integers(0, 6000), max_size=12))
def test_the_cut_does_not_matter(cuts):
    synchronizer, found = Synchronizer(FRAME, 2), []
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), 6000], strict=True):
        found += synchronizer.push(STREAM[:, begin:end])
    assert len(found) == 4
    for one, other in zip(found, WHOLE, strict=True):
        assert one.start == other.start and one.overlapping == other.overlapping
        np.testing.assert_allclose(one.windows, other.windows, atol=1e-5)


def test_sample_by_sample():
    """A frame is given out with the last sample of its last window, not later."""
    synchronizer = Synchronizer(FRAME, 2)
    given_out = [
        (synchronizer.position, found.start)
        for sample in STREAM[:, :2800].T
        for found in synchronizer.push(sample[:, None])
    ]
    assert given_out == [(start + FRAME.frame_length - FRAME.timing_advance, start) for start in (100, 1400)]


# Nothing else is found


@pytest.mark.parametrize("num_rx", [1, 2, 4])
def test_noise(num_rx):
    """Nothing in a second at 1 Msample/s; benchmarks/false_alarms.py listens longer."""
    rng, synchronizer = np.random.default_rng(7), Synchronizer(FrameFormat(2), num_rx)
    for _ in range(10):
        assert not synchronizer.push(complex_normal(rng, num_rx, 100_000))


TIME = np.arange(40_000)
PERIODIC = {
    "nothing": 0 * TIME,
    "an offset": 0 * TIME + 1 - 2j,
    "a tone": np.exp(2j * np.pi * 0.1234 * TIME),
    "a tone on a carrier of the preamble": np.exp(2j * np.pi * TIME / 16),
    "two tones": np.exp(2j * np.pi * TIME / 16) + np.exp(2j * np.pi * 5 * TIME / 16),
    "a square wave of the preamble's period": np.sign(np.sin(2 * np.pi * (TIME + 0.5) / 16)),
    "clicks": (TIME % 16 == 0).astype(float),
    "another preamble for ever": np.tile(FrameFormat(4).preamble[3], 250)[:40_000],
    "a chirp": np.exp(1j * np.pi * 1e-5 * TIME.astype(float) ** 2),
}


@pytest.mark.parametrize("snr_db", [0, 10, 100])
@pytest.mark.parametrize("kind", PERIODIC)
def test_periodic_signals(kind, snr_db):
    """All are equal to themselves a period later. Only an endless preamble may be taken for one, where it begins."""
    rng = np.random.default_rng(8)
    gains = complex_normal(rng, 2, 1)
    samples = gains * PERIODIC[kind] + 10 ** (-snr_db / 20) * complex_normal(rng, 2, len(TIME))
    assert len(starts_found(FrameFormat(2), samples)) <= (kind == "another preamble for ever")


@pytest.mark.parametrize("snr_db", [5, 30, 80])
@pytest.mark.parametrize(("fft_size", "num_tx"), FORMATS)
def test_data_is_no_preamble(fft_size, num_tx, snr_db):
    """Nor are the other training symbols, which are periodic for three streams and more."""
    frame, rng = FrameFormat(num_tx, fft_size), np.random.default_rng(9)
    starts = [2 * frame.frame_length * i for i in range(25 if fft_size == 64 else 8)]
    samples = send(frame, 4, 2 * frame.frame_length * len(starts), starts, rng, snr_db=snr_db)
    assert starts_found(frame, samples) == starts


# Bad antennas, bad samples


def test_offset_and_tone_besides():
    """An offset at 0 Hz ten times as strong as the frame, and a tone: the frame is found all the same."""
    rng = np.random.default_rng(10)
    samples = send(FRAME, 2, 4000, [1000], rng, offset=0.002)
    assert starts_found(FRAME, samples + np.array([[3.2], [-2j]])) == [1000]
    tone = np.exp(2j * np.pi * 0.2 * np.arange(4000))
    assert starts_found(FRAME, samples + 0.5 * np.array([[1], [1j]]) * tone) == [1000]


@pytest.mark.parametrize("num_rx", [1, 2, 4])
@pytest.mark.parametrize(("fft_size", "num_tx"), FORMATS)
@pytest.mark.parametrize("kind", ["offset", "tone", "band noise"])
def test_narrow_interference_that_is_louder_than_the_frame(kind, fft_size, num_tx, num_rx):
    """An offset of 20 times a frame's amplitude, a tone and noise on a sixteenth of the band 10 dB above it."""
    frame, rng = FrameFormat(num_tx, fft_size), np.random.default_rng(21)
    for start in (3 * fft_size, 1000):
        length = start + frame.frame_length + 100
        samples = send(frame, num_rx, length, [start], rng, snr_db=15, offset=0.2 / fft_size)
        phases = np.exp(2j * np.pi * rng.random((num_rx, 1)))
        besides = {
            "offset": 20 * phases * np.ones(length),
            "tone": np.sqrt(10) * phases * np.exp(2j * np.pi * rng.uniform(-0.4, 0.4) * np.arange(length)),
            "band noise": np.sqrt(10) * band_noise(num_rx, length, rng),
        }
        [found] = Synchronizer(frame, num_rx).push(samples + besides[kind])
        assert found.start == start
        assert found.carrier_offset == pytest.approx(0.2 / fft_size, abs=0.05 / fft_size)


def band_noise(num_rx, length, rng):
    """Of unit power, on a sixteenth of the sample rate somewhere within the middle half."""
    width = length // 16
    spectrum = np.zeros((num_rx, length), complex)
    spectrum[:, rng.integers(-length // 4, length // 4 - width) + np.arange(width)] = complex_normal(rng, num_rx, width)
    return np.fft.ifft(spectrum) * length / np.sqrt(width)


@pytest.mark.parametrize(("fft_size", "num_tx"), [(64, 1), (64, 2), (256, 2)])
def test_loud_noise_from_one_direction(fft_size, num_tx):
    """White noise 3 dB louder than the frame, from one direction: four antennas find the frame all the same."""
    frame, rng = FrameFormat(num_tx, fft_size), np.random.default_rng(22)
    for _ in range(20):
        samples = send(frame, 4, 1000 + frame.frame_length, [900], rng, snr_db=20)
        direction = np.exp(1j * np.pi * np.sin(rng.uniform(-1, 1)) * np.arange(4))[:, None]
        samples += 10 ** (3 / 20) * direction * complex_normal(rng, samples.shape[-1])
        assert starts_found(frame, samples) == [900]


@pytest.mark.parametrize("level_db", [0, 10, 25])
def test_band_noise_is_no_frame(level_db):
    """Between frames, a jammer is all there is."""
    rng = np.random.default_rng(23)
    for _ in range(10):
        noise = complex_normal(rng, 2, 50_000) + 10 ** (level_db / 20) * band_noise(2, 50_000, rng)
        assert not starts_found(FRAME, noise)


@pytest.mark.parametrize("num_tx", [1, 2, 4])
@pytest.mark.parametrize("spacings", [-12, -9, 7, 8, 10])
def test_a_frame_out_of_range_is_not_found_elsewhere(num_tx, spacings):
    """Its preamble is that of another offset, shifted by a few carriers; its channels would be garbage."""
    frame, rng = FrameFormat(num_tx), np.random.default_rng(17)
    starts = list(range(500, 16000, 1700))
    samples = send(frame, 4, 18000, starts, rng, snr_db=20, offset=spacings / frame.fft_size)
    assert starts_found(frame, samples) == []


def test_gains_do_not_matter():
    """An antenna 60 dB louder than the others, signal and noise, counts as much as they do."""
    samples = send(FRAME, 4, 6000, [500, 3000], np.random.default_rng(11), snr_db=5)
    assert starts_found(FRAME, samples * np.array([[1], [1e3], [1e-3], [1]])) == [500, 3000]


def test_swapped_antennas():
    samples = send(FRAME, 4, 3000, [500], np.random.default_rng(12))
    [one], [other] = (Synchronizer(FRAME, 4).push(samples[order]) for order in ([0, 1, 2, 3], [2, 0, 3, 1]))
    assert one.start == other.start
    np.testing.assert_allclose(other.windows, one.windows[:, [2, 0, 3, 1]], atol=1e-5)


@pytest.mark.parametrize("level", [0, 1e-4])
def test_dead_antenna(level):
    samples = send(FRAME, 3, 3000, [500], np.random.default_rng(13))
    samples[1] = level * complex_normal(np.random.default_rng(14), 3000)
    [found] = Synchronizer(FRAME, 3).push(samples)
    assert found.start == 500
    assert found.dead.tolist() == [False, True, False] and not found.saturated.any()


def test_saturated_antenna():
    samples = send(FRAME, 3, 3000, [500], np.random.default_rng(15))
    rms = np.sqrt(np.mean(np.abs(samples[2, 500:1780]) ** 2))
    samples[2] = samples[2].real.clip(-rms, rms) + 1j * samples[2].imag.clip(-rms, rms)
    [found] = Synchronizer(FRAME, 3).push(samples)
    assert found.start == 500
    assert found.saturated.tolist() == [False, False, True] and not found.dead.any()


@pytest.mark.parametrize("steps", [0.7, 1, 1.5, 2, 3])
def test_integers_of_a_low_gain_are_not_saturated(steps):
    """RMS of a few steps: many samples have the same greatest part."""
    samples = send(FRAME, 2, 40000, list(range(500, 38000, 1600)), np.random.default_rng(35), snr_db=25)
    rms = np.sqrt(np.mean(np.abs(samples[:, 500:36000]) ** 2, axis=1, keepdims=True) / 2)
    quantized = np.round(samples * steps / rms) / 32768
    found = Synchronizer(FRAME, 2).push(quantized.astype(np.complex64))
    assert len(found) > 20 and not any(frame.saturated.any() for frame in found)


@pytest.mark.parametrize("top", [7, 127])
def test_integers_that_are_clipped_are_saturated(top):
    """Their greatest value is that of the converter."""
    samples = send(FRAME, 2, 40000, list(range(500, 38000, 1600)), np.random.default_rng(36), snr_db=25)
    rms = np.sqrt(np.mean(np.abs(samples[:, 500:36000]) ** 2, axis=1, keepdims=True) / 2)
    scaled = samples * top / (1.2 * rms)
    quantized = np.round(scaled.real.clip(-top, top)) + 1j * np.round(scaled.imag.clip(-top, top))
    found = Synchronizer(FRAME, 2).push(quantized.astype(np.complex64))
    assert len(found) > 20 and np.mean([frame.saturated for frame in found]) > 0.9


@pytest.mark.parametrize("value", [np.nan, np.inf, complex(0, -np.inf), 1e25, 3e38])
def test_invalid_samples_pass(value):
    """In front of a frame, and some in a frame."""
    samples = send(FRAME, 2, 8000, [2000, 5000], np.random.default_rng(16)).astype(np.complex64)
    samples[0, 1000:1100] = value
    samples[1, 3000] = value
    synchronizer = Synchronizer(FRAME, 2)
    found = synchronizer.push(samples)
    assert [each.start for each in found] == [2000, 5000]
    assert synchronizer.invalid_samples == (0 if np.isfinite(value) else 101)
    assert all(np.isfinite(each.windows).all() for each in found)


@pytest.mark.parametrize("second", [400, 701, 1203])
@pytest.mark.parametrize("num_tx", [1, 2, 4])
def test_overlapping_frames(num_tx, second):
    """Both are found, the second one says so, and a third that follows does not."""
    frame = FrameFormat(num_tx)
    starts = [100, 100 + second, 100 + second + frame.frame_length]
    samples = send(frame, 4, starts[-1] + frame.frame_length, starts, np.random.default_rng(17))
    found = Synchronizer(frame, 4).push(samples)
    assert [(each.start, each.overlapping) for each in found] == list(zip(starts, [False, True, False], strict=True))


def test_interrupted():
    """A frame does not reach across lost samples; samples go on being counted, and the next frame is found."""
    samples = send(FRAME, 2, 7000, [0, 2000, 4000], np.random.default_rng(18))
    synchronizer = Synchronizer(FRAME, 2)
    assert [each.start for each in synchronizer.push(samples[:, :2700])] == [0]
    assert synchronizer.interrupt() == 1 and synchronizer.interrupt() == 0
    assert synchronizer.position == 2700
    assert [each.start for each in synchronizer.push(samples[:, 3003:])] == [4000 - 303]


def test_a_frame_that_ends_early():
    """What follows is cut into windows as if it went on, and the next frame is found."""
    samples = send(FRAME, 2, 5000, [100, 2000], np.random.default_rng(19))
    samples[:, 700:1900] = 0.03 * complex_normal(np.random.default_rng(20), 2, 1200)
    assert starts_found(FRAME, samples) == [100, 2000]


def test_wrong_arguments():
    with pytest.raises(ValueError, match="num_rx is 0"):
        Synchronizer(FRAME, 0)
    with pytest.raises(ValueError, match=r"shapes \(5,\), \(5,\), \(5,\); as many samples of each of 2 antennas"):
        Synchronizer(FRAME, 2).push(np.zeros((3, 5), np.complex64))
    with pytest.raises(ValueError, match=r"shapes \(5,\), \(4,\); as many"):
        Synchronizer(FRAME, 2).push([np.zeros(5, np.complex64), np.zeros(4, np.complex64)])
