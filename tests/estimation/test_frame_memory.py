# SPDX-License-Identifier: GPL-3.0-or-later
"""An estimator that remembers is better than one that does not, and no worse where there is nothing to remember."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.estimation_error import sequence
from gr_kaq.estimation.delay_profile import profile_fit
from gr_kaq.estimation.estimator import ChannelEstimator, WienerInterpolator, observe
from gr_kaq.estimation.frame_memory import FrameMemory
from gr_kaq.estimation.observation import Arrival
from gr_kaq.frames.frame_format import FrameFormat
from tests.estimation.frame_memory_definition import FrameMemory as FrameMemoryDefinition

SETTINGS = {"profile": "tdl-a", "delay_spread": 100e-9, "doppler": 25.0, "snr_db": 15.0, "gap": 256}
SYMBOL_HZ = 25000.0


def frames(frame_format, num_rx=4, count=14, seed=1, **settings):
    return list(sequence(frame_format, num_rx, count=count, seed=[seed], **(SETTINGS | settings)))


def observed(frame_format, frame):
    arrival = Arrival(frame.sample, frame.carrier_offset)
    return replace(observe(frame_format, frame.grid, frame.guards), arrival=arrival)


def squared_error(frame_format, frame, observation, channel):
    turns = observation.carrier_offset * np.arange(14)[:, None]
    turns = turns - observation.delay / frame_format.fft_size * frame_format.active_carriers
    return np.sum(np.abs(channel * np.exp(2j * np.pi * turns)[:, :, None, None] - frame.channel) ** 2)


def errors_db(frame_format, methods, skip=6, sequences=3, **settings):
    """Of each method over the frames after the first ones, against the energy of the channel."""
    sums, energy = np.zeros(len(methods)), 0.0
    for seed in range(sequences):
        made = [method(frame_format) for method in methods]
        for index, frame in enumerate(frames(frame_format, seed=seed, **settings)):
            observation = observed(frame_format, frame)
            channels = [interpolator(observation) for interpolator in made]
            if index >= skip:
                sums += [squared_error(frame_format, frame, observation, channel) for channel in channels]
                energy += np.sum(np.abs(frame.channel) ** 2)
    return 10 * np.log10(sums / energy)


@pytest.mark.parametrize("snr_db", [5.0, 20.0])
@pytest.mark.parametrize("doppler, gain", [(0.0, 4.0), (25.0, 2.0), (200.0, 1.0)])
def test_memory_lowers_the_error(doppler, gain, snr_db):
    lmmse, memory = errors_db(FrameFormat(4), (WienerInterpolator, FrameMemory), doppler=doppler, snr_db=snr_db)
    assert lmmse - memory > gain


@pytest.mark.parametrize("num_tx, fft_size, num_rx", [(1, 64, 1), (2, 64, 4), (3, 64, 3), (2, 256, 2)])
def test_all_sizes(num_tx, fft_size, num_rx):
    frame_format = FrameFormat(num_tx, fft_size)
    lmmse, memory = errors_db(frame_format, (WienerInterpolator, FrameMemory), num_rx=num_rx, sequences=2)
    assert lmmse - memory > 1.0


@pytest.mark.long
def test_the_first_frames_of_a_track_on_many_carriers():
    """A profile with many delays takes more steps to fit; with too few, some frames are 15 dB off."""
    frame_format = FrameFormat(4, 2048)
    settings = {"profile": "tdl-a", "doppler": 200.0, "snr_db": 25.0, "num_rx": 2, "count": 1, "skip": 0}
    lmmse, memory = errors_db(frame_format, (WienerInterpolator, FrameMemory), sequences=2, **settings)
    assert memory < lmmse + 0.5


@pytest.mark.parametrize("snr_db", [0.0, 10.0])
def test_a_line_of_sight_does_not_fade(snr_db):
    """So memory helps at 200 Hz, where all else has faded."""
    settings = {"profile": "cdl-e", "doppler": 200.0, "snr_db": snr_db}
    lmmse, memory = errors_db(FrameFormat(4), (WienerInterpolator, FrameMemory), **settings)
    assert lmmse - memory > 0.6


@pytest.mark.parametrize("profile, least, most", [("cdl-e", 0.5, 1.0), ("tdl-a", 0.0, 0.0)])
def test_a_line_of_sight_is_found_where_there_is_one(profile, least, most):
    frame_format = FrameFormat(4)
    memory = FrameMemory(frame_format)
    for frame in frames(frame_format, count=30, profile=profile, doppler=200.0, snr_db=10.0):
        memory(observed(frame_format, frame))
    assert least <= memory.track.lines.mean() <= most


def test_more_frames_are_better():
    methods = [lambda f, n=n: FrameMemory(f, n) for n in (1, 2, 8)]
    one, two, eight = errors_db(FrameFormat(2), methods, doppler=5.0)
    assert one > two + 1 and two > eight + 0.5


@pytest.mark.parametrize("profile", ["cdl-c", "cdl-d", "cdl-e", "tdl-c"])
def test_the_profile_of_clusters_is_learned_from_a_single_frame(profile):
    """Where an exponential profile fits badly, at high SNR."""
    methods = (WienerInterpolator, lambda frame_format: FrameMemory(frame_format, 1))
    lmmse, learned = errors_db(FrameFormat(4), methods, skip=0, profile=profile, snr_db=25.0, doppler=200.0)
    assert lmmse - learned > 0.5


@pytest.mark.parametrize("distances", [(3.0, 900.0), (100.0, 20000.0)])
def test_gaps_of_any_length(distances):
    """And where nothing can be remembered, nothing is lost."""
    frame_format, rng = FrameFormat(4), np.random.default_rng(3)
    memory, alone = FrameMemory(frame_format), WienerInterpolator(frame_format)
    sums = np.zeros(2)
    for gap in rng.uniform(*distances, 3):
        for frame in frames(frame_format, gap=gap, count=8, doppler=100.0, seed=int(gap)):
            observation = observed(frame_format, frame)
            sums += [squared_error(frame_format, frame, observation, of(observation)) for of in (memory, alone)]
    assert sums[0] < 1.02 * sums[1]


def test_a_stream_that_moves_faster_than_another():
    """Each has its own Doppler."""
    frame_format = FrameFormat(2)
    memory = FrameMemory(frame_format)
    slow, fast = (frames(frame_format, count=30, doppler=doppler) for doppler in (5.0, 300.0))
    found = []
    for one, other in zip(slow, fast, strict=True):
        grid, places = one.grid.copy(), frame_format.training_indices
        for symbol, of_streams in zip((0, 7, 13), places, strict=True):
            grid[symbol][:, of_streams[1]] = other.grid[symbol][:, of_streams[1]]
        memory(observed(frame_format, replace(one, grid=grid)))
        found.append(memory.track.dopplers * SYMBOL_HZ)
    slow_found, fast_found = np.median(found[10:], axis=0)
    assert slow_found < 60 and 200 < fast_found < 450


def test_the_track_says_offset_and_frames():
    frame_format = FrameFormat(4)
    memory = FrameMemory(frame_format)
    assert memory.track is None
    for frame in frames(frame_format, snr_db=5.0):
        memory(observed(frame_format, frame))
    assert memory.track.frames == 8 and memory.lost == 0
    assert abs(memory.track.carrier_offset * 2e6) < 1000
    assert abs(memory.track.delay) < 3


def spoilt(frame, grid=None, guards=None, **others):
    return replace(
        frame, grid=frame.grid if grid is None else grid, guards=frame.guards if guards is None else guards, **others
    )


def gain_step(frame):
    return replace(frame, grid=3 * frame.grid, guards=3 * frame.guards)


def dead_antenna(frame):
    grid, guards = frame.grid.copy(), frame.guards.copy()
    grid[:, 1] = guards[:, 1] = 0
    return replace(frame, grid=grid, guards=guards)


def other_channel(frame):
    return replace(frame, grid=np.roll(frame.grid, 1, axis=1) * np.array([1, -1, 1j, -1j])[:, None])


def stream_ends(frame):
    grid = frame.grid.copy()
    grid[[[0]], :, np.arange(0, 52, 4)] *= 1e-3
    grid[[[13]], :, np.arange(0, 52, 4)] *= 1e-3
    grid[[[7]], :, np.arange(2, 52, 4)] *= 1e-3
    return replace(frame, grid=grid)


def earlier(frame):
    return replace(frame, sample=0)


def other_oscillator(frame):
    return replace(frame, carrier_offset=frame.carrier_offset + 0.01)


SPOILERS = [gain_step, dead_antenna, other_channel, stream_ends, earlier, other_oscillator]


@pytest.mark.parametrize("spoil", SPOILERS)
def test_what_does_not_fit_is_estimated_by_itself_and_counted(spoil):
    """No worse than without memory, at once, and some frames later better again."""
    frame_format = FrameFormat(4)
    memory, alone = FrameMemory(frame_format), FrameMemory(frame_format, 1)
    came = frames(frame_format, count=20, snr_db=20.0)
    for index, frame in enumerate(came):
        changed = spoil(frame) if index == 9 else frame
        observation = observed(frame_format, changed)
        channel, single = memory(observation), alone(observation)
        if index == 8:
            assert memory.lost == 0
        if index == 9:
            assert memory.lost == 1 and memory.track.frames == 1
            np.testing.assert_allclose(channel, single, atol=0.1 * np.abs(single).max())
    assert 1 <= memory.lost <= 4 and memory.track.frames > 4
    assert np.isfinite(channel).all()


def test_channels_that_have_nothing_in_common_leave_the_offset_as_it_is():
    """Their phases say nothing of it. Each is estimated by itself, and the mean offset of all becomes a better one."""
    frame_format, rng = FrameFormat(4), np.random.default_rng(1)
    memory, offsets = FrameMemory(frame_format), []
    for frame in frames(frame_format, count=40, snr_db=20.0):
        turned, _ = np.linalg.qr(rng.standard_normal((4, 4, 2)) @ [1, 1j])
        grid = np.einsum("ij,tjf->tif", turned, frame.grid).astype(np.complex64)
        memory(observed(frame_format, replace(frame, grid=grid)))
        offsets.append(memory.track.carrier_offset * 2e6)
    assert memory.lost == 39 and memory.track.frames == 1
    assert np.abs(np.diff(offsets[20:])).max() < 10  # Hz


def test_channels_that_jump_are_lost_once_each():
    """However many there were: the timing of the track does not go astray."""
    frame_format, rng = FrameFormat(4), np.random.default_rng(1)
    memory = FrameMemory(frame_format)
    for index, frame in enumerate(frames(frame_format, count=100, snr_db=25.0)):
        if index % 5 == 0:
            turned, _ = np.linalg.qr(rng.standard_normal((4, 4, 2)) @ [1, 1j])
        grid = np.einsum("ij,tjf->tif", turned, frame.grid).astype(np.complex64)
        memory(observed(frame_format, replace(frame, grid=grid)))
        assert memory.lost == index // 5 and memory.track.frames == index % 5 + 1


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1e30])
def test_errors_in_a_frame_do_not_outlast_it(value):
    frame_format = FrameFormat(2)
    estimator = ChannelEstimator(frame_format, "lmmse-memory")
    for index, frame in enumerate(frames(frame_format, num_rx=2, count=16)):
        grid, guards = frame.grid.copy(), frame.guards.copy()
        if index == 4:
            grid[:], guards[:] = value, value
        if index == 6:
            grid[3:9] = value
        estimate = estimator.estimate(grid, guards, Arrival(frame.sample, frame.carrier_offset))
        assert np.isfinite(estimate.h).all() and np.isfinite(estimate.error).all() and np.isfinite(estimate.phase).all()
    assert estimator.interpolator.track.frames >= 6


def test_without_arrival_each_frame_is_estimated_by_itself():
    frame_format = FrameFormat(2)
    memory = FrameMemory(frame_format)
    for frame in frames(frame_format, count=3):
        observation = replace(observed(frame_format, frame), arrival=None)
        np.testing.assert_array_equal(memory(observation), FrameMemory(frame_format, 1)(observation))
    assert memory.track is None and memory.lost == 0


def test_a_long_silence_is_no_loss():
    frame_format = FrameFormat(2)
    memory = FrameMemory(frame_format)
    came = frames(frame_format, count=3)
    late = replace(came[2], sample=came[2].sample + 10**9)
    for frame in (*came[:2], late):
        memory(observed(frame_format, frame))
    assert memory.lost == 0 and memory.track.frames == 1


def test_the_error_that_it_expects():
    """Within 1 dB of the one it has."""
    frame_format, doppler = FrameFormat(4), 50.0
    memory = FrameMemory(frame_format)
    expected, found = 0.0, 0.0
    for index, frame in enumerate(frames(frame_format, count=40, doppler=doppler)):
        observation = observed(frame_format, frame)
        channel = memory(observation)
        if index > 8:
            found += squared_error(frame_format, frame, observation, channel) / frame.channel.size
            expected += memory.error_variance(observation).mean()
    assert abs(10 * np.log10(expected / found)) < 1


def test_frames_is_checked():
    with pytest.raises(ValueError, match="frames is 0; at least 1 expected"):
        FrameMemory(FrameFormat(2), 0)


# The parts


@pytest.mark.parametrize("scale", [0, 1e-30])
def test_a_profile_without_power_leaves_a_mode(scale):
    """Antennas that hold next to nothing, for as many steps as a long track has."""
    fit = profile_fit(FrameFormat(2))
    carriers = FrameFormat(2).training_indices.shape[-1]
    covariance = np.full((len(np.unique(fit.sets)), carriers, carriers), scale, complex)
    powers = fit.fit(covariance, fit.start(0, covariance), 1000)
    assert fit.modes(powers).frequency.shape[1] >= 1


def test_profile_of_a_known_channel():
    """Two delays come out where they are."""
    frame_format, rng = FrameFormat(2), np.random.default_rng(1)
    fit = profile_fit(frame_format)
    delays = fit.delays[[8, 20]]
    waves = np.exp(-2j * np.pi * frame_format.active_carriers[frame_format.training_indices][..., None] * delays)
    gains = rng.standard_normal((3, 500, 2, 2, 2)) @ [1, 1j] * np.sqrt([100, 10]) / np.sqrt(2)
    training = np.einsum("sjpd,sijd->sjpi", waves, gains)
    products = training @ training.conj().swapaxes(2, 3) / 500
    covariance = np.stack([products[fit.sets == i].mean(axis=0) for i in range(2)])
    powers = fit.fit(covariance, np.ones(33), 300)
    assert powers[7:10].sum() == pytest.approx(100, rel=0.2) and powers[19:22].sum() == pytest.approx(10, rel=0.3)
    assert powers.sum() == pytest.approx(110, rel=0.2)


# Against the definition in double precision


DEFINED = [
    (4, 64, 4, 8, {"doppler": 50.0, "snr_db": 20.0}),
    (2, 64, 3, 3, {"profile": "cdl-d", "doppler": 200.0, "snr_db": 25.0}),
    (1, 64, 1, 8, {"doppler": 5.0, "snr_db": 5.0, "gap": 1000.0}),
    (3, 64, 4, 1, {"profile": "cdl-c", "doppler": 300.0, "snr_db": 10.0, "gap": 20.0}),
    (4, 64, 2, 8, {"doppler": 0.0, "snr_db": 40.0, "gap": 2000.5}),
    (2, 256, 2, 8, {"profile": "tdl-c", "doppler": 100.0}),
]


@pytest.mark.parametrize("num_tx, fft_size, num_rx, remembered, settings", DEFINED)
def test_all_is_as_defined(num_tx, fft_size, num_rx, remembered, settings):
    """Frames that follow each other, and one that does not fit to them."""
    frame_format = FrameFormat(num_tx, fft_size)
    memory, definition = FrameMemory(frame_format, remembered), FrameMemoryDefinition(frame_format, remembered)
    for index, frame in enumerate(frames(frame_format, num_rx, count=24, **settings)):
        observation = observed(frame_format, frame)
        if index == 12:
            training = (np.roll(observation.training, 1, axis=1) * np.complex64(1j)).astype(np.complex64)
            observation = replace(observation, training=training)
        channel, (expected, error) = memory(observation), definition(observation)
        assert np.abs(channel - expected).max() < 3e-5 * np.sqrt(np.mean(np.abs(expected) ** 2))
        np.testing.assert_allclose(memory.error_variance(observation), error, rtol=1e-3)
        assert memory.lost == definition.lost and (memory.track is None) == (definition.track is None)
        if memory.track:
            assert memory.track.frames == definition.track.used
            assert memory.track.delay == pytest.approx(definition.track.delay, abs=1e-5)
            offset = definition.track.oscillators.state[1] / frame_format.symbol_length
            assert memory.track.carrier_offset == pytest.approx(offset, abs=1e-10)
            lines, dopplers, _ = zip(*definition.track.doppler.fading, strict=True)
            np.testing.assert_array_equal(memory.track.dopplers, dopplers)
            np.testing.assert_array_equal(memory.track.lines, lines)


@pytest.mark.parametrize("spoil", [gain_step, dead_antenna, earlier, other_oscillator])
def test_lost_tracks_are_as_defined(spoil):
    frame_format = FrameFormat(4)
    memory, definition = FrameMemory(frame_format), FrameMemoryDefinition(frame_format)
    for index, frame in enumerate(frames(frame_format, count=12, snr_db=20.0)):
        observation = observed(frame_format, spoil(frame) if index == 6 else frame)
        channel, (expected, _) = memory(observation), definition(observation)
        assert np.abs(channel - expected).max() < 3e-5 * np.abs(expected).max() and memory.lost == definition.lost


@pytest.mark.parametrize("num_tx, fft_size", [(4, 64), (2, 256)])
def test_many_frames_at_once_are_as_one_at_a_time(num_tx, fft_size):
    """`estimate_frames` with transforms, against `estimate` and `data_symbols` with grids."""
    frame_format, num_rx, count = FrameFormat(num_tx, fft_size), 3, 12
    came = frames(frame_format, num_rx, count=count)
    middle = fft_size // 2
    transforms = np.zeros((num_rx, 14 * count, fft_size), np.complex64)
    for index, frame in enumerate(came):
        symbols = slice(14 * index, 14 * (index + 1))
        sent = frame.grid / frame_format.advance_correction.astype(np.complex64)
        transforms[:, symbols, frame_format.active_carriers + middle] = sent.transpose(1, 0, 2)
        transforms[:, symbols, frame_format.guard_carriers + middle] = frame.guards.transpose(1, 0, 2)
    width = frame_format.data_per_stream
    received = [np.zeros((count, width), np.complex64) for _ in range(num_rx)]
    channels = [np.zeros(width * num_rx * num_tx, np.complex64) for _ in range(count)]
    arrivals = [Arrival(frame.sample, frame.carrier_offset) for frame in came]
    together, single = (ChannelEstimator(frame_format, "lmmse-memory") for _ in range(2))
    reports = together.estimate_frames(
        list(transforms), [14 * i for i in range(count)], received, channels, arrivals=arrivals
    )
    for index, frame in enumerate(came):
        estimate = single.estimate(frame.grid, frame.guards, arrivals[index])
        data = single.data_symbols(frame.grid, estimate)
        scale = np.abs(data.h).max()
        np.testing.assert_allclose(channels[index].reshape(data.h.shape), data.h, atol=1e-4 * scale)
        assert reports[index].data_noise_var == pytest.approx(data.noise_var, rel=1e-3)
        assert reports[index].snr_db == pytest.approx(estimate.snr_db, abs=1e-3)
    assert together.interpolator.track.frames == single.interpolator.track.frames == 8
