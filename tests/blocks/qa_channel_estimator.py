# SPDX-License-Identifier: GPL-3.0-or-later
"""The channel estimator block: frames of Fourier transforms in, data carriers with their channel out."""

import numpy as np
import pmt
import pytest
from gnuradio import blocks, fft, gr

import gr_kaq
from benchmarks.estimation_error import sequence
from gr_kaq.blocks.csi_pmt import parse_channel
from gr_kaq.channels.fading import TappedDelayLine
from gr_kaq.channels.flat import complex_normal
from gr_kaq.estimation.estimator import ChannelEstimator
from gr_kaq.frames.frame_format import NUM_SYMBOLS, FrameFormat
from tests.blocks.flowgraphs import NONE, Flowgraph, TaggedSource, run, run_to_end, tag

RX, TX, N = 3, 2, 64
FORMAT = FrameFormat(TX, N)
MIDDLE = N // 2


def frame_tag(item, value=None):
    return tag(
        item, pmt.dict_add(pmt.make_dict(), pmt.intern("seq"), pmt.from_uint64(7)) if value is None else value, "frame"
    )


def frames(count, snr_db=20.0, seed=0):
    """As the FFTs give them: items (14 count, fft_size, num_rx). And what was sent and the channel, per frame."""
    rng = np.random.default_rng(seed)
    items, sent, channels = [], [], []
    for i in range(count):
        data = FORMAT.map_bits(rng.integers(0, 2, FORMAT.coded_bits, dtype=np.uint8))
        line = TappedDelayLine(RX, TX, profile="tdl-b", delay_spread=100e-9, doppler=100.0, seed=seed + i)
        h = line.frequency_response(np.arange(NUM_SYMBOLS) * 40e-6, FORMAT.active_carriers * 31250.0)
        noise_var = TX / 10 ** (snr_db / 10)
        received = noise_var**0.5 * complex_normal(rng, (NUM_SYMBOLS, N, RX))
        clean = (h @ FORMAT.fill_grid(data).swapaxes(1, 2)[..., None])[..., 0]
        received[:, FORMAT.active_carriers + MIDDLE] += clean / FORMAT.advance_correction[:, None]
        items.append(received)
        sent.append(data)
        channels.append(h)
    return np.concatenate(items).astype(np.complex64), np.stack(sent), np.stack(channels)


def estimator(**arguments):
    return gr_kaq.channel_estimator(RX, TX, N, **arguments)


def tagged(flowgraph, key):
    return {t.offset: t.value for t in flowgraph.sinks[0].tags() if str(t.key) == key}


def received_and_channels(flowgraph):
    """What came out, (frames, data_per_stream, num_rx), and the estimates at the same items."""
    y = flowgraph.output(range(RX))
    estimates = tagged(flowgraph, "mimo_channel")
    parsed = [parse_channel(estimates[item], (FORMAT.data_per_stream, RX, TX)) for item in range(len(y))]
    return y, parsed


@pytest.mark.parametrize("chunk", [None, 1, 5])
def test_what_comes_out_is_what_was_sent_through_the_tagged_channel(chunk):
    """The contract with the detector: y = H x + n, with the tagged noise variance, at every item on its own."""
    items, sent, _ = frames(4)
    flowgraph = run(estimator(), items, [frame_tag(14 * i) for i in range(4)], chunk)
    y, estimates = received_and_channels(flowgraph)
    assert len(y) == 4 and [e.seq for e in estimates] == list(range(4))
    h, noise_var = np.stack([e.h for e in estimates]), np.array([e.noise_var for e in estimates])
    x = sent.reshape(4, FORMAT.data_per_stream, TX)
    noise = y - (h @ x[..., None])[..., 0]
    assert np.mean(np.abs(noise) ** 2 / noise_var[:, None, None]) == pytest.approx(1, rel=0.1)
    power = np.sum(np.abs(h) ** 2, axis=(1, 2, 3)) / (FORMAT.data_per_stream * RX)
    snr_db = [pmt.to_double(value) for _, value in sorted(tagged(flowgraph, "snr").items())]
    np.testing.assert_allclose(snr_db, 10 * np.log10(power / noise_var), atol=1e-3)
    block = flowgraph.block
    assert (block.frames(), block.items_without_frame(), block.incomplete_frames()) == (4, 0, 0)
    assert block.internal_errors() == 0 and block.snr_db() == pytest.approx(20, abs=4)


def test_is_the_estimator_on_arrays():
    """Benchmarks run `ChannelEstimator`: what they measure must hold for the block."""
    items, _, _ = frames(1)
    y, estimates = received_and_channels(run(estimator(), items, [frame_tag(0)]))
    symbols = items.swapaxes(1, 2)
    grid = symbols[..., FORMAT.active_carriers + MIDDLE] * FORMAT.advance_correction
    on_arrays = ChannelEstimator(FORMAT)
    estimate = on_arrays.estimate(grid, symbols[..., FORMAT.guard_carriers + MIDDLE])
    data = on_arrays.data_symbols(grid, estimate)
    np.testing.assert_allclose(y[0].T, data.received.reshape(RX, -1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(estimates[0].h, data.h.reshape(-1, RX, TX), rtol=1e-4, atol=1e-5)


def test_the_frame_tag_goes_on_with_what_was_estimated():
    """A PDU at the end of the chain says on which channel it came."""
    items, _, _ = frames(2)
    tags = [frame_tag(0), frame_tag(14), tag(3, pmt.from_long(1), "rx_time")]
    flowgraph = run(estimator(), items, tags)
    values = tagged(flowgraph, "frame")
    assert sorted(values) == [0, 1] and sorted(tagged(flowgraph, "rx_time")) == [0]
    for value in values.values():
        entries = pmt.to_python(value)
        assert entries["seq"] == 7
        assert set(entries) == {"seq", "noise_var", "snr", "delay_spread", "doppler"}
        assert entries["noise_var"] == pytest.approx(TX / 100, rel=0.3)


def test_after_the_fourier_transforms_of_gnu_radio():
    """The layout of fft_vcc's output, its scale and its tags are what the block expects: the whole way from samples."""
    rng = np.random.default_rng(1)
    data = FORMAT.map_bits(rng.integers(0, 2, FORMAT.coded_bits, dtype=np.uint8))
    h = complex_normal(rng, (RX, TX))
    samples = (h @ FORMAT.modulate(data)).astype(np.complex64)[:, FORMAT.preamble_length :]
    samples += np.float32(0.01) * complex_normal(rng, samples.shape)
    first = FORMAT.cp_length - FORMAT.timing_advance
    windows = samples.reshape(RX, NUM_SYMBOLS, -1)[..., first : first + N].transpose(1, 2, 0)
    tb, source, block = gr.top_block(), TaggedSource(windows, [frame_tag(0)]), estimator(output_channel=True)
    source.limit = NUM_SYMBOLS
    sinks = [blocks.vector_sink_c(FORMAT.data_per_stream) for _ in range(RX)]
    display = blocks.vector_sink_f(FORMAT.num_active * RX * TX)
    for antenna in range(RX):
        transform = fft.fft_vcc(N, True, [N**-0.5] * N, True)
        tb.connect((source, antenna), transform, (block, antenna), sinks[antenna])
    tb.connect((block, RX), display)
    run_to_end(tb)
    tags = [t for t in sinks[0].tags() if str(t.key) == "mimo_channel"]
    estimated = np.stack([parse_channel(t.value, (FORMAT.data_per_stream, RX, TX)).h for t in tags])
    assert len(tags) == 1
    y = np.stack([sink.data() for sink in sinks], axis=-1)
    np.testing.assert_allclose(y, (estimated[0] @ data.reshape(-1, TX, 1))[..., 0], atol=0.1)
    magnitudes = np.reshape(display.data(), (RX, TX, FORMAT.num_active))
    np.testing.assert_allclose(
        magnitudes, np.broadcast_to(20 * np.log10(np.abs(h))[..., None], magnitudes.shape), atol=1
    )
    assert block.noise_var() == pytest.approx(1e-4, rel=0.3)


def test_frames_are_found_again_after_garbage():
    """A synchronizer that loses samples sends fewer items or items between frames: the next whole frame counts."""
    items, sent, _ = frames(3)
    stray = items[:5]
    stream = np.concatenate([stray, items[:14], stray, items[14:20], items[28:], stray])
    flowgraph = run(estimator(), stream, [frame_tag(5), frame_tag(24), frame_tag(30)])
    y, estimates = received_and_channels(flowgraph)
    block = flowgraph.block
    assert (block.frames(), block.incomplete_frames(), block.internal_errors()) == (2, 1, 0)
    assert len(y) == 2 and sorted(tagged(flowgraph, "frame")) == [0, 1]
    x = sent[[0, 2]].reshape(2, FORMAT.data_per_stream, TX)
    error = y - (np.stack([e.h for e in estimates]) @ x[..., None])[..., 0]
    assert np.mean(np.abs(error) ** 2) < 3 * TX / 100
    assert block.items_without_frame() in (10, 11, 12, 13, 14, 15)  # less than 14 at the end are not looked at


@pytest.mark.parametrize(
    "value", [pmt.PMT_NIL, pmt.PMT_T, pmt.from_long(3), pmt.cons(pmt.from_long(1), pmt.from_long(2))]
)
def test_a_frame_tag_that_is_no_dict_still_begins_a_frame(value):
    """The item is what matters; the value is for the user."""
    items, _, _ = frames(1)
    flowgraph = run(estimator(), items, [frame_tag(0, value)])
    assert flowgraph.block.frames() == 1 and flowgraph.block.internal_errors() == 0
    assert flowgraph.block.rejected_tags() == (0 if pmt.is_dict(value) and not pmt.is_pair(value) else 1)


def test_survives_samples_that_are_none():
    """A broken antenna must not take the others with it, and no NaN may reach the detector."""
    items, sent, _ = frames(5)
    items[:14, :, 0] = np.nan
    items[14:28, :, 1] = 0
    items[28:42] = 0
    items[42:56, 5:9] = np.inf
    flowgraph = run(estimator(), items, [frame_tag(14 * i) for i in range(5)])
    y, estimates = received_and_channels(flowgraph)  # parse_channel refuses what is not finite
    assert np.isfinite(y).all()
    assert flowgraph.block.frames() == 5 and flowgraph.block.internal_errors() == 0
    for frame, alive in ((0, [1, 2]), (1, [0, 2]), (4, [0, 1, 2])):
        x = sent[frame].reshape(-1, TX, 1)
        error = (y[frame] - (estimates[frame].h @ x)[..., 0])[..., alive]
        assert np.mean(np.abs(error) ** 2) < 3 * TX / 100


def test_the_method_can_change_while_running():
    """From a slider or a message; what is none is refused, and the old one stays."""
    items, _, _ = frames(4)
    block = estimator(method="ls")
    with Flowgraph(block, items, [frame_tag(14 * i) for i in range(4)]) as flowgraph:
        flowgraph.source.limit = 14
        flowgraph.wait_until(lambda: block.frames() == 1)
        flowgraph.post("method", pmt.intern("lmmse"), lambda: block.method() == "lmmse")
        for rejected, message in enumerate((pmt.intern("no such method"), pmt.from_long(3), pmt.PMT_NIL), start=1):
            flowgraph.post("method", message, lambda count=rejected: block.rejected_messages() == count)
        assert block.method() == "lmmse"
        with pytest.raises(ValueError):
            block.set_method("no such method")
    assert block.frames() == 4 and block.stats()["frames"] == 4
    first, second = (
        received_and_channels(run(estimator(method=m), items[:14], [frame_tag(0)]))[1] for m in ("ls", "lmmse")
    )
    assert np.abs(first[0].h - second[0].h).max() > 0.01
    _, estimates = received_and_channels(flowgraph)
    np.testing.assert_array_equal(estimates[0].h, first[0].h)


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_rx": 0}, {"num_tx": 5}, {"num_tx": 0}, {"fft_size": 128}, {"method": "no such"}, {"method": 3},
        {"method": ""}, {"stats_interval_s": -1.0},
    ],
)  # fmt: skip
def test_says_what_is_wrong_with_an_argument(arguments):
    with pytest.raises(ValueError):
        gr_kaq.channel_estimator(**({"num_rx": 2, "num_tx": 2} | arguments))


# Memory


def following(count):
    """Items (14 count, fft_size, num_rx) of frames on one channel, and their tags."""
    rng, items, tags = np.random.default_rng(2), [], []
    came = sequence(
        FORMAT, RX, profile="tdl-a", delay_spread=1e-7, doppler=5.0, snr_db=15.0, count=count, gap=256, seed=1
    )
    for index, frame in enumerate(came):
        spectrum = np.zeros((NUM_SYMBOLS, N, RX), np.complex64)
        sent = FORMAT.fill_grid(FORMAT.map_bits(rng.integers(0, 2, FORMAT.coded_bits, dtype=np.uint8))).swapaxes(1, 2)
        sent[np.array(FORMAT.training_symbols)] = 0  # is in the grid
        grid = frame.grid.swapaxes(1, 2) + (frame.channel @ sent[..., None])[..., 0]
        spectrum[:, FORMAT.active_carriers + MIDDLE] = grid / FORMAT.advance_correction[:, None]
        spectrum[:, FORMAT.guard_carriers + MIDDLE] = frame.guards.swapaxes(1, 2)
        items.append(spectrum)
        value = pmt.dict_add(pmt.make_dict(), pmt.intern("sample"), pmt.from_uint64(frame.sample))
        value = pmt.dict_add(value, pmt.intern("carrier_offset"), pmt.from_double(frame.carrier_offset))
        tags.append(frame_tag(NUM_SYMBOLS * index, value))
    return np.concatenate(items), tags


def test_the_last_frames_are_remembered():
    """Their tags say when they came."""
    items, tags = following(12)
    flowgraph = run(estimator(method="lmmse-memory"), items, tags)
    track = flowgraph.block.track()
    assert track.frames == 8 and track.dopplers.shape == (TX,)
    assert flowgraph.block.lost_tracks() == 0 and flowgraph.block.frames() == 12
    assert run(estimator(method="lmmse"), items, tags).block.track() is None


@pytest.mark.parametrize(
    "value",
    [
        pmt.make_dict(),
        pmt.intern("none"),
        pmt.dict_add(pmt.make_dict(), pmt.intern("sample"), pmt.from_double(1.0)),
        pmt.dict_add(
            pmt.dict_add(pmt.make_dict(), pmt.intern("sample"), pmt.from_uint64(2**64 - 1)),
            pmt.intern("carrier_offset"),
            pmt.from_double(float("nan")),
        ),
        *(pmt.acons(none, none, pmt.make_dict()) for none in NONE),  # null pointers, which crash who reads them
        *(pmt.acons(pmt.intern("sample"), none, pmt.make_dict()) for none in NONE),
    ],
)
def test_frames_that_came_nobody_knows_when(value):
    """Each is estimated by itself."""
    items, _ = following(4)
    tags = [frame_tag(NUM_SYMBOLS * index, value) for index in range(4)]
    flowgraph = run(estimator(method="lmmse-memory"), items, tags)
    assert flowgraph.block.track() is None and flowgraph.block.frames() == 4
    assert flowgraph.block.internal_errors() == 0


# Forecasts


def forecast(items, tags, every=2):
    """The block that forecasts, what came out (frames, data_per_stream, num_rx), the estimates, and which forecast."""
    flowgraph = run(estimator(method="lmmse-memory", estimate_every=every), items, tags)
    y, estimates = received_and_channels(flowgraph)
    frames = [pmt.to_python(value) for _, value in sorted(tagged(flowgraph, "frame").items())]
    assert flowgraph.block.internal_errors() == 0 and flowgraph.block.frames() == len(frames)
    told = [frame.get("forecast", False) for frame in frames]
    assert flowgraph.block.forecast_frames() == sum(told)
    return flowgraph.block, y, estimates, told


def arrived(place, sample):
    """The tag of a frame that came then."""
    value = pmt.dict_add(pmt.make_dict(), pmt.intern("sample"), pmt.from_uint64(sample))
    return frame_tag(NUM_SYMBOLS * place, pmt.dict_add(value, pmt.intern("carrier_offset"), pmt.from_double(0.0)))


def test_channels_are_forecast_without_a_look_at_the_training():
    items, tags = following(12)
    _, y, estimates, told = forecast(items, tags)
    assert told == [False, True] * 6
    for frame in range(1, 12, 2):
        items[NUM_SYMBOLS * frame + np.array(FORMAT.training_symbols)] = 99
    _, same, others, _ = forecast(items, tags)
    np.testing.assert_array_equal(y, same)
    for one, other in zip(estimates, others, strict=True):
        np.testing.assert_array_equal(one.h, other.h)
        assert one.noise_var == other.noise_var


def test_forecast_channels_are_those_that_training_says_but_for_a_phase_of_each_symbol():
    items, tags = following(24)
    _, _, estimates, told = forecast(items, tags)
    _, best = received_and_channels(run(estimator(method="lmmse-memory"), items, tags))
    for frame in range(9, 24, 2):
        one, other = (each[frame].h.reshape(len(FORMAT.data_symbols), -1) for each in (estimates, best))
        alike = np.abs(np.sum(one.conj() * other, axis=1)) ** 2
        assert told[frame] and (alike > 0.98 * np.sum(np.abs(one) ** 2, 1) * np.sum(np.abs(other) ** 2, 1)).all()
        assert estimates[frame].noise_var == pytest.approx(best[frame].noise_var, rel=0.1)


@pytest.mark.parametrize("fault", ["unknown", "late", "backwards", "first"])
def test_frames_that_those_before_say_nothing_of_are_estimated_out_of_turn(fault):
    items, tags = following(4)
    if fault == "unknown":
        tags[3] = frame_tag(NUM_SYMBOLS * 3, pmt.make_dict())
    elif fault == "late":
        tags[3] = arrived(3, 10**7)
    elif fault == "backwards":
        tags[3] = arrived(3, 1)
    else:
        items[: 3 * NUM_SYMBOLS] = 0  # nothing was received before
    _, _, _, told = forecast(items, tags)
    assert told == ([False] * 4 if fault == "first" else [False, True, False, False])


@pytest.mark.parametrize("fault", ["lost", "dead", "nan", "gain", "stream"])
def test_faults_in_frames_that_are_forecast(fault):
    """What arrives may be anything; the next estimate begins anew where it has to."""
    items, tags = following(16)
    first = 9 * NUM_SYMBOLS
    if fault == "lost":
        kept = [index for index in range(16) if index not in (9, 10, 11)]
        items = items.reshape(16, NUM_SYMBOLS, N, RX)[kept].reshape(-1, N, RX)
        tags = [frame_tag(NUM_SYMBOLS * place, tags[index][3]) for place, index in enumerate(kept)]
    elif fault == "dead":
        items[first:, :, 0] = 0
    elif fault == "nan":
        items[first : first + NUM_SYMBOLS] = np.nan
    elif fault == "gain":
        items[first:] *= 8
    else:
        items[first:] = 0
    _, y, estimates, _ = forecast(items, tags)
    assert np.isfinite(y).all() and all(np.isfinite(estimate.h).all() for estimate in estimates)


def test_only_who_remembers_forecasts():
    for method in ("lmmse", "ls"):
        with pytest.raises(ValueError, match=f"estimate_every is 2, and method '{method}'; lmmse-memory expected"):
            estimator(method=method, estimate_every=2)
    with pytest.raises(ValueError, match="estimate_every is 0"):
        estimator(estimate_every=0)
    block = estimator(method="lmmse-memory", estimate_every=2)
    block.handle_method(pmt.intern("lmmse"))
    assert block.method() == "lmmse-memory" and block.rejected_messages() == 1


def test_interference_is_whitened_tagged_and_counted():
    """A detector needs to know nothing of it: y = H x + n with white noise again, and H small where it was hit."""
    items, sent, _ = frames(5)
    rng = np.random.default_rng(9)
    hit = MIDDLE + np.arange(8, 12)
    direction = complex_normal(rng, (RX,))
    items[28:, hit] += 3 * direction * complex_normal(rng, (42, len(hit), 1))
    flowgraph = run(estimator(output_channel=False), items, [frame_tag(14 * i) for i in range(5)])
    y, estimates = received_and_channels(flowgraph)
    h, noise_var = np.stack([e.h for e in estimates]), np.array([e.noise_var for e in estimates])
    noise = y - (h @ sent.reshape(5, -1, TX)[..., None])[..., 0]
    share = np.mean(np.abs(noise) ** 2, axis=2) / noise_var[:, None]
    carriers = np.tile(np.isin(FORMAT.active_carriers[FORMAT.data_indices].reshape(-1), np.arange(8, 12)), (5, 1))
    carriers[:2] = False
    assert np.mean(share[~carriers]) == pytest.approx(1, rel=0.15)
    assert 0.2 < np.mean(share[carriers]) < 1.2  # of few samples, the noise there is rather overestimated
    tags = [pmt.to_python(value) for _, value in sorted(tagged(flowgraph, "frame").items())]
    assert ["interference" in each for each in tags] == [False, False, True, True, True]
    first, last = tags[2]["interference"]["carriers"]
    assert first in (7, 8) and last in (11, 12)
    assert tags[2]["interference"]["power_db"] == pytest.approx(0, abs=6)
    block = flowgraph.block
    assert block.interfered_frames() == 3 and block.interfered_carriers() == list(tags[4]["interference"]["carriers"])
    assert block.interference_db() == tags[4]["interference"]["power_db"]
    assert block.internal_errors() == 0
