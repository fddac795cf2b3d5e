# SPDX-License-Identifier: GPL-3.0-or-later
"""The frame: what transmitter, receiver and training rely on."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gr_kaq.frames import payload
from gr_kaq.frames.frame_format import FrameFormat

SIZES = [(num_tx, fft_size) for num_tx in (1, 2, 3, 4) for fft_size in (64, 256)]
SIZES += [(8, 256), (5, 512), (6, 1024), (1, 2048), (8, 2048)]
FORMATS = [FrameFormat(num_tx, fft_size, "16qam") for num_tx, fft_size in SIZES]
FORMATS += [FrameFormat(2, 64, "16qam", 28), FrameFormat(8, 256, "16qam", 56)]
formats = pytest.mark.parametrize(
    "frame", FORMATS, ids=lambda frame: f"{frame.num_tx}x{frame.fft_size}x{frame.num_symbols}"
)


def random_data(frame, seed=0):
    bits = np.random.default_rng(seed).integers(0, 2, frame.coded_bits).astype(np.uint8)
    return bits, frame.map_bits(bits)


def power(samples):
    return np.mean(np.abs(samples) ** 2, axis=-1)


def test_sizes():
    """Worked out by hand: other programs may rely on them."""
    small, large = FrameFormat(2, 64, "16qam"), FrameFormat(4, 256, "256qam")
    assert (small.cp_length, small.symbol_length, small.preamble_length, small.frame_length) == (16, 80, 160, 1280)
    assert (small.num_active, small.num_pilots, small.num_data, small.comb) == (52, 4, 48, 2)
    assert (small.coded_bits, small.payload_bytes) == (4224, 259)
    assert (large.cp_length, large.frame_length, large.num_data, large.comb) == (64, 5120, 192, 4)
    assert (large.coded_bits, large.payload_bytes) == (67584, 4219)
    assert 0 < small.timing_advance < small.cp_length
    wide = FrameFormat(1, 2048)
    assert (wide.num_active, wide.num_data, wide.comb, wide.delay_window) == (1664, 1536, 8, 256)
    long = FrameFormat(2, 64, "16qam", 28)
    assert long.training_symbols == (0, 14, 27) and FrameFormat().training_symbols == (0, 7, 13)
    assert (long.frame_length, long.data_per_stream, long.payload_bytes) == (2400, 1200, 595)
    assert (small.delay_window, large.delay_window, FrameFormat(8, 256).delay_window) == (12, 48, 32)


@formats
def test_carriers(frame):
    """Active carriers, guards and carrier 0 are all there are, and none is two of them."""
    every = np.concatenate([frame.active_carriers, frame.guard_carriers, [0]])
    np.testing.assert_array_equal(np.sort(every), np.arange(-frame.fft_size // 2, frame.fft_size // 2))
    assert (np.diff(frame.active_carriers) > 0).all() and len(frame.active_carriers) == frame.num_active


@formats
def test_streams_train_alone(frame):
    """On each training carrier one stream sends and the others are silent, at the mean power of a data symbol."""
    for symbol, places in zip(frame.training_symbols, frame.training_indices, strict=True):
        grid = frame.known_grid[symbol]
        assert len(np.unique(places)) == places.size
        assert (np.count_nonzero(grid, axis=0) <= 1).all()
        for stream in range(frame.num_tx):
            np.testing.assert_array_equal(np.flatnonzero(grid[stream]), places[stream])
        np.testing.assert_allclose(power(grid), 1, rtol=1e-6)
    if frame.comb > 1:
        assert not np.isin(frame.training_indices[0, 0], frame.training_indices[1, 0]).any()


@formats
def test_pilots_and_data_share_the_data_symbols(frame):
    for symbol, pilots, data in zip(frame.data_symbols, frame.pilot_indices, frame.data_indices, strict=True):
        np.testing.assert_array_equal(np.sort(np.concatenate([pilots, data])), np.arange(frame.num_active))
        np.testing.assert_allclose(np.abs(frame.known_grid[symbol][:, pilots]), 1, rtol=1e-6)
        assert not frame.known_grid[symbol][:, data].any()
    assert all((a != b).any() for a, b in zip(frame.pilot_indices, frame.pilot_indices[1:], strict=False))
    assert sorted(frame.training_symbols + frame.data_symbols) == list(range(frame.num_symbols))


@formats
def test_demodulate_inverts_modulate(frame):
    """On a perfect channel, wherever the frame starts."""
    _, data = random_data(frame)
    samples = np.pad(frame.modulate(data), ((0, 0), (7, 9)))
    assert samples.shape == (frame.num_tx, 7 + frame.frame_length + 9)
    assert samples.dtype == np.complex64
    np.testing.assert_allclose(frame.demodulate(samples, 7), frame.fill_grid(data), atol=2e-6)


@formats
def test_the_transform_is_in_double_precision(frame):
    """With any NumPy: NumPy 2 transforms single precision in single precision."""
    samples = frame.modulate(random_data(frame)[1])
    np.testing.assert_array_equal(frame.demodulate(samples), frame.demodulate(samples.astype(np.complex128)))


@formats
def test_the_prefix_covers_echoes_and_a_late_start(frame):
    """An echo, or a start that is off by less than the timing advance, turns carriers and mixes nothing."""
    _, data = random_data(frame)
    samples = np.pad(frame.modulate(data), ((0, 0), (0, frame.cp_length)))
    for late in (-3, -1, 1, frame.timing_advance):
        shifted = np.roll(samples, -late, axis=1)
        turned = np.exp(2j * np.pi * frame.active_carriers * late / frame.fft_size)
        np.testing.assert_allclose(frame.demodulate(shifted), frame.fill_grid(data) * turned, atol=3e-6)
    delay = frame.cp_length - frame.timing_advance
    response = 1 + 0.5j * np.exp(-2j * np.pi * frame.active_carriers * delay / frame.fft_size)
    received = samples + 0.5j * np.roll(samples, delay, axis=1)
    np.testing.assert_allclose(frame.demodulate(received), frame.fill_grid(data) * response, atol=3e-6)


@formats
def test_power(frame):
    """E|x|^2 = 1 on active carriers, transforms are unitary: the noise variance of a sample is that of a carrier."""
    blocks = [frame.modulate(random_data(frame, seed)[1]) for seed in range(20)]
    np.testing.assert_allclose(power(np.concatenate(blocks, axis=1)), 52 / 64, rtol=0.02)
    np.testing.assert_allclose(power(frame.preamble), 52 / 64, rtol=1e-5)
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(4, 2 * frame.frame_length)).view(np.complex128)
    assert power(frame.demodulate(noise).ravel()) == pytest.approx(2, rel=0.1)


@formats
def test_preamble(frame):
    """Ten equal periods for Schmidl and Cox; the streams' differ, or a channel could cancel all of it."""
    periods = frame.preamble.reshape(frame.num_tx, 10, frame.preamble_period)
    np.testing.assert_array_equal(periods, np.broadcast_to(periods[:, :1], periods.shape))
    correlation = np.abs(periods[:, 0] @ periods[:, 0].conj().T) / frame.preamble_period / (52 / 64)
    off_diagonal = correlation[~np.eye(frame.num_tx, dtype=bool)]
    assert off_diagonal.max(initial=0) < 0.75
    spectrum = np.fft.fft(frame.preamble[:, : frame.fft_size])
    assert np.abs(spectrum[:, 0]).max() < 1e-4  # nothing where a radio's offset is


@given(
    frame=st.builds(
        lambda size, constellation: FrameFormat(*size, constellation),
        st.sampled_from(SIZES),
        st.sampled_from(["qpsk", "16qam", "64qam"]),
    ),
    seed=st.integers(0, 2**32),
)
def test_bits_come_back_in_their_order(frame, seed):
    """What the grid carries, decided, is what was mapped: no stream, carrier or bit is taken for another."""
    bits, data = random_data(frame, seed)
    llrs = 2.0 * frame.constellation.decide(data.astype(np.complex64)) - 1
    collected = frame.collect_llrs(llrs.reshape(*data.shape, -1).astype(np.float32))
    np.testing.assert_array_equal(collected > 0, bits == 1)
    assert collected.shape == (frame.coded_bits,)


def test_neighbouring_coded_bits_are_apart():
    """A faded carrier must not take a run of coded bits with it."""
    frame = FrameFormat(4, 64, "64qam")
    place = np.argsort(frame.interleaver)
    per_carrier = frame.num_tx * frame.constellation.bits_per_symbol
    same_carrier = place[1:] // per_carrier == place[:-1] // per_carrier
    assert np.count_nonzero(same_carrier) < 0.01 * frame.coded_bits


def test_what_goes_over_the_air_stays_as_it_is():
    """Ends of a link may run different versions: known values, bit order and scrambler are part of the format."""
    frame = FrameFormat(3, 64, "64qam")
    preamble = np.fft.fft(frame.preamble[:, : frame.fft_size])
    quadrants = [np.sign(np.rint([grid.real, grid.imag])).astype(np.int8) for grid in (2 * frame.known_grid, preamble)]
    parts = (*quadrants, frame.interleaver.astype("<u4"))
    contents = [part.tobytes() for part in parts] + [payload.scrambler(frame)]
    digests = [hashlib.sha256(content).hexdigest()[:12] for content in contents]
    assert digests == ["92d3d013603d", "17112e1ce191", "6b8d450b616b", "e2916ee63862"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 64, "qpsk"), "num_tx is 0; 1 to 8"),
        ((9, 256, "qpsk"), "num_tx is 9; 1 to 8"),
        ((5, 64, "qpsk"), "num_tx is 5; at most 4 expected with 64 carriers"),
        ((2, 128, "qpsk"), "fft_size is 128; one of 64, 256"),
        ((2, 64, "8psk"), "'8psk'.*qpsk"),
        ((2, 64, "qpsk", 15), "num_symbols is 15; one of 14, 28, 56"),
    ],
)
def test_errors_name_what_was_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        FrameFormat(*arguments)
