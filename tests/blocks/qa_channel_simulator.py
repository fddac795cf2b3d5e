# SPDX-License-Identifier: GPL-3.0-or-later
"""The channel simulator: y = H x + n with the H, noise and SNR that its tags state; the radio channel on streams."""

import subprocess
import sys

import numpy as np
import pmt
import pytest
from gnuradio import blocks, channels, gr

import gr_kaq
from gr_kaq.blocks.base import python_to_pmt
from gr_kaq.blocks.csi_pmt import parse_channel
from gr_kaq.channels.interference import Interferer
from gr_kaq.channels.radio_channel import RadioChannel
from gr_kaq.frames.frame_format import PARTS, FrameFormat
from gr_kaq.signals.signal_model import snr_from_noise_var
from tests.blocks.flowgraphs import Flowgraph, run, run_to_end, tag
from tests.blocks.qa_grc import block as grc_block
from tests.blocks.qa_grc import compile_grc
from tests.blocks.qa_grc import flowgraph as grc_flowgraph

S, RX, TX = 3, 4, 2
SHAPE = (S, RX, TX)


def symbols(count, seed=0):
    rng = np.random.default_rng(seed)
    return ((rng.choice([-1, 1], (count, S, TX)) + 1j * rng.choice([-1, 1], (count, S, TX))) / np.sqrt(2)).astype(
        np.complex64
    )


def simulator(**arguments):
    return gr_kaq.channel_simulator(TX, RX, S, **arguments)


def tagged(flowgraph):
    """[(item, estimate, snr_db)], in the order of items."""
    tags = flowgraph.sinks[0].tags()
    channel = [(t.offset, parse_channel(t.value, SHAPE)) for t in tags if str(t.key) == "mimo_channel"]
    snr = {t.offset: pmt.to_double(t.value) for t in tags if str(t.key) == "snr"}
    return [(item, estimate, snr[item]) for item, estimate in sorted(channel, key=lambda pair: pair[0])]


def expected_without_noise(x, estimates, items_per_estimate):
    y = np.zeros((len(x), S, RX), complex)
    for first, estimate, _ in estimates:
        part = slice(first, first + items_per_estimate)
        y[part] = np.einsum("tsj,sij->tsi", x[part], estimate.h)
    return y


def test_samples_follow_the_tags():
    """Every item goes through the tagged H; what remains is noise of the tagged variance, white over all axes."""
    x = symbols(7000)
    flowgraph = run(simulator(snr_db=10.0, items_per_estimate=7), x)
    estimates = tagged(flowgraph)
    assert [item for item, _, _ in estimates] == list(range(0, 7000, 7))
    assert [estimate.seq for _, estimate, _ in estimates] == list(range(1000))
    assert {estimate.noise_var for _, estimate, _ in estimates} == {TX / 10}
    noise = flowgraph.output() - expected_without_noise(x, estimates, 7)
    assert np.mean(np.abs(noise) ** 2) == pytest.approx(TX / 10, rel=0.02)
    assert np.abs(np.mean(noise**2)) < 0.005  # circular
    covariance = np.cov(noise.reshape(7000, -1).T)
    np.testing.assert_allclose(covariance, TX / 10 * np.eye(S * RX), atol=0.015)
    for _, estimate, snr_db in estimates:
        assert snr_db == pytest.approx(float(snr_from_noise_var(estimate.h, TX / 10)), abs=1e-4)
    assert flowgraph.block.estimates() == 1000 and flowgraph.block.internal_errors() == 0
    assert np.mean([np.abs(estimate.h) ** 2 for _, estimate, _ in estimates]) == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize("arguments", [{}, {"channel": "kronecker", "rx_correlation": 0.5, "estimation_error_db": -10}])
def test_the_output_does_not_depend_on_the_scheduler(arguments):
    """A result that is published has to be reproducible: samples and tags."""
    x = symbols(200)
    runs = [run(simulator(seed=4, **arguments), x, chunk=chunk) for chunk in (None, 1, 13)]
    other = run(simulator(seed=5, **arguments), x)
    for again in runs[1:]:
        np.testing.assert_allclose(again.output(), runs[0].output(), atol=1e-5)
        for a, b in zip(tagged(again), tagged(runs[0]), strict=True):
            np.testing.assert_array_equal(a[1].h, b[1].h)
            assert (a[0], a[2]) == (b[0], b[2])
    assert np.abs(other.output() - runs[0].output()).min() > 0


def test_the_snr_can_change_while_running():
    """From the next estimate on, so that every tag is true for its items."""
    x = symbols(60)
    block = simulator(snr_db=100.0, items_per_estimate=10)
    with Flowgraph(block, x) as flowgraph:
        flowgraph.send(25)
        block.set_snr_db(0.0)
        assert block.snr_db() == 0.0 and block.noise_var() == TX
    estimates = tagged(flowgraph)
    assert [estimate.noise_var for _, estimate, _ in estimates] == [TX * 1e-10] * 3 + [TX] * 3
    noise = np.abs(flowgraph.output() - expected_without_noise(x, estimates, 10)) ** 2
    assert noise[:30].max() < 1e-6 and noise[30:].mean() == pytest.approx(TX, rel=0.3)


def test_estimation_error():
    """Of the stated variance, in the tags only."""
    x = symbols(2000)
    block = simulator(snr_db=100.0, items_per_estimate=2, estimation_error_db=-10.0)
    flowgraph = run(block, x)
    exact = run(simulator(snr_db=100.0, items_per_estimate=2), x)
    # but for the last bit: the scheduler cuts the samples into other chunks, and BLAS rounds by size
    np.testing.assert_allclose(flowgraph.output(), exact.output(), atol=1e-5)
    error = np.array([a[1].h - b[1].h for a, b in zip(tagged(flowgraph), tagged(exact), strict=True)])
    assert np.mean(np.abs(error) ** 2) == pytest.approx(0.1, rel=0.05)
    assert all(estimate.noise_var is not None for _, estimate, _ in tagged(flowgraph))
    block.set_estimation_error_db(None)
    block.set_estimation_error_db(-np.inf)


def test_snr_error():
    """noise_var would win over the SNR, so that the error would have no effect: it is left out."""
    x = symbols(20)
    flowgraph, exact = run(simulator(snr_error_db=3.0), x), run(simulator(), x)
    for a, b in zip(tagged(flowgraph), tagged(exact), strict=True):
        assert a[1].noise_var is None
        assert a[2] == pytest.approx(b[2] + 3.0)


def test_recorded_channels(tmp_path):
    """One estimate after the other, without the recorder's gain, and from the first one again."""
    rng = np.random.default_rng(0)
    h = rng.integers(-500, 500, (5, 6, RX, TX, 2)).astype(np.int16)
    path = tmp_path / "h.npz"
    np.savez(path, h=h)
    flowgraph = run(simulator(channel="recorded", recording=str(path), items_per_estimate=1), symbols(10))
    drawn = np.array([estimate.h for _, estimate, _ in tagged(flowgraph)])
    np.testing.assert_array_equal(drawn[:5], drawn[5:])
    ratio = drawn[0] / (h[0, ::2, ..., 0] + 1j * h[0, ::2, ..., 1])
    np.testing.assert_allclose(ratio, ratio[0, 0, 0], rtol=1e-4)
    with pytest.raises(ValueError, match=r"missing\.npz"):
        simulator(channel="recorded", recording=str(tmp_path / "missing.npz"))


def test_flat_fading_and_key_names():
    flowgraph = run(simulator(flat=True, csi_key="H", snr_key="S"), symbols(5))
    values = {str(t.key): t.value for t in flowgraph.sinks[0].tags()}
    assert values.keys() == {"H", "S"}
    h = parse_channel(values["H"], SHAPE).h
    np.testing.assert_array_equal(h[0], h[2])


def test_tags_of_input_0_are_passed_on_once():
    """A transmitter's packet_len has to reach the receiver."""
    tags = [tag(3, pmt.from_long(9), "packet_len"), tag(4, pmt.from_long(9), "packet_len", port=1), tag(5, None, "x")]
    flowgraph = run(simulator(), symbols(10), tags)
    assert sorted(flowgraph.tags(0)) == [(0, "mimo_channel"), (0, "snr"), (3, "packet_len"), (5, "x")]
    assert flowgraph.tags(1) == []


def test_input_that_is_not_finite():
    """One bad symbol spoils its own vector only, and nothing ends."""
    x = symbols(20)
    x[4, 1, 0], x[5, 1, 0] = np.nan, np.inf
    flowgraph = run(simulator(), x)
    finite = np.isfinite(flowgraph.output())
    assert not finite[4:6, 1].any()
    finite[4:6, 1] = True
    assert finite.all() and flowgraph.block.internal_errors() == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_tx": 0}, "num_tx"),
        ({"num_rx": 2.5}, "num_rx"),
        ({"num_subcarriers": 0}, "num_subcarriers"),
        ({"items_per_estimate": 0}, "items_per_estimate"),
        ({"seed": -1}, "seed"),
        ({"channel": "awgn"}, "awgn"),
        ({"snr_db": 1000}, "snr_db"),
        ({"snr_db": np.nan}, "snr_db"),
        ({"channel": "kronecker", "rx_correlation": 1.0}, "rx_correlation"),
        ({"estimation_error_db": np.nan}, "estimation_error_db"),
        ({"snr_error_db": np.inf}, "snr_error_db"),
        ({"csi_key": ""}, "csi_key"),
        ({"csi_key": "snr"}, "csi_key"),
        ({"channel": "tdl-f"}, "tdl-f.*tdl-e"),
        ({"channel": "flat"}, "flat.*tdl-flat"),
        ({"channel": "tdl-a", "num_subcarriers": 2}, "num_subcarriers is 2; 1 expected.*samples"),
        ({"channel": "tdl-a", "snr_db": np.inf}, "snr_db"),
        ({"channel": "tdl-a", "sample_rate": -1.0}, "sample_rate"),
        ({"channel": "tdl-a", "delay_spread": 1.0}, "delay_spread"),
        ({"channel": "tdl-a", "doppler": 1e6}, "doppler"),
        ({"channel": "tdl-a", "carrier_offset": 2e6}, "carrier_offset"),
        ({"channel": "tdl-a", "clock_offset_ppm": 1e3}, "clock_offset_ppm"),
        ({"channel": "tdl-a", "phase_noise": -1.0}, "phase_noise"),
        ({"channel": "tdl-a", "timing_offset": -1.0}, "timing_offset"),
        ({"channel": "tdl-a", "antenna_gains_db": [0.0]}, "antenna_gains_db"),
        ({"interference": {"band": (0.0, 1e5)}}, "None expected: the channel is one of symbols"),
        ({"channel": "tdl-a", "interference": {"power_db": 0.0}}, "no band"),
        ({"channel": "tdl-a", "interference": {"band": (0.0, 1e5), "colour": 1}}, "colour.*power_db"),
        ({"channel": "tdl-a", "interference": {"band": (0.0, 2e6)}}, "within -1e[+]06 to 1e[+]06 Hz"),
        ({"channel": "tdl-a", "interference": {"band": (0.0, 0.0)}}, "band is"),
        ({"channel": "tdl-a", "interference": {"band": (0.0, 1e5), "kind": "x"}}, "kind"),
        ({"channel": "tdl-a", "interference": {"band": (0.0, 1e5), "on": "pilots"}}, "pilots.*all, preamble"),
        ({"channel": "tdl-a", "interference": {"band": (0.0, 1e5), "on": "data", "fft_size": 65}}, "fft_size"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        gr_kaq.channel_simulator(**({"num_tx": 2, "num_rx": 2} | arguments))


# Channels between samples

RADIO = {
    "sample_rate": 2e6,
    "delay_spread": 200e-9,
    "doppler": 500.0,
    "snr_db": 15.0,
    "carrier_offset": 1e3,
    "clock_offset_ppm": -20.0,
    "phase_noise": 10.0,
    "timing_offset": 2.5,
    "antenna_gains_db": [0.0, -3.0, 0.0, -np.inf],
    "seed": 3,
}


def samples(count):
    rng = np.random.default_rng(1)
    return (rng.standard_normal((count, 1, TX)) + 1j * rng.standard_normal((count, 1, TX))).astype(np.complex64)


def radio(**arguments):
    return gr_kaq.channel_simulator(TX, RX, **({"channel": "tdl-c"} | RADIO | arguments))


@pytest.mark.parametrize("chunk", [None, 77])
@pytest.mark.parametrize(
    "channel, profile", [("tdl-c", "tdl-c"), ("tdl-d", "tdl-d"), ("tdl-flat", "flat"), ("cdl-c", "cdl-c")]
)
def test_samples_go_through_the_radio_channel(channel, profile, chunk):
    """The one of the same parameters and seed, with which a reference without noise can be made."""
    x = samples(20000)
    flowgraph = run(radio(channel=channel), x, chunk=chunk)
    expected = RadioChannel(RX, TX, profile=profile, **RADIO).process(x[:, 0].T)
    np.testing.assert_allclose(flowgraph.output()[:, 0].T, expected, atol=2e-5)
    assert flowgraph.block.estimates() == 0 and flowgraph.block.internal_errors() == 0


def test_a_radio_channel_has_no_estimates():
    """No H holds for a sample, so the receiver must not be told one; a transmitter's tags are passed on."""
    tags = [tag(3, pmt.from_long(9), "packet_len"), tag(4, pmt.from_long(9), "packet_len", port=1), tag(5, None, "x")]
    flowgraph = run(radio(), samples(100), tags)
    assert sorted(flowgraph.tags(0)) == [(3, "packet_len"), (5, "x")]
    assert flowgraph.tags(1) == []


def test_snr_and_carrier_offset_can_change_while_running():
    """What a user turns at a slider."""
    block = radio(channel="tdl-flat", doppler=0.0, phase_noise=0.0, clock_offset_ppm=0.0, snr_db=100.0, seed=1)
    with Flowgraph(block, np.ones((6000, 1, TX))) as flowgraph:
        flowgraph.send(2000)
        block.set_carrier_offset(-50e3)
        flowgraph.send(2000)
        block.set_snr_db(0.0)
    assert block.noise_var() == TX
    y = flowgraph.output()[:, 0, 0]
    steps = np.angle(y[1:] * y[:-1].conj()) / (2 * np.pi) * 2e6
    np.testing.assert_allclose(steps[100:1999], 1e3, atol=20)
    np.testing.assert_allclose(steps[2000:3999], -50e3, atol=20)
    assert np.var(y[4000:] * np.exp(2j * np.pi * 50e3 / 2e6 * np.arange(2000))) == pytest.approx(TX, rel=0.15)
    with pytest.raises(ValueError, match="carrier_offset"):
        block.set_carrier_offset(2e6)
    simulator().set_carrier_offset(0.0)  # nothing to turn


INTERFERENCE = {"band": (100e3, 225e3), "power_db": 20.0, "direction": 30.0}


@pytest.mark.parametrize("chunk", [None, 77])
def test_interference_is_that_of_the_radio_channel(chunk):
    x = samples(6000)
    flowgraph = run(radio(interference=INTERFERENCE), x, chunk=chunk)
    expected = RadioChannel(RX, TX, profile="tdl-c", interferer=Interferer(**INTERFERENCE), **RADIO)
    np.testing.assert_allclose(flowgraph.output()[:, 0].T, expected.process(x[:, 0].T), atol=2e-4)


@pytest.mark.parametrize("fft_size", [64, 256])
@pytest.mark.parametrize("on", PARTS)
def test_interference_on_a_part_of_the_frames(on, fft_size):
    """By the tags of a transmitter; behind the delay of the channel, and also where a work call ends within it."""
    frame = FrameFormat(TX, fft_size)
    starts = [50, 50 + frame.frame_length + 7]
    x = np.zeros((starts[-1] + frame.frame_length + 100, 1, TX))
    settings = {"snr_db": 100.0, "timing_offset": 2.0, "clock_offset_ppm": 0.0, "antenna_gains_db": None}
    block = radio(interference=INTERFERENCE | {"on": on, "fft_size": fft_size}, **settings)
    flowgraph = run(block, x, [tag(start, pmt.PMT_T, "tx_sob") for start in starts], chunk=501)
    expected = np.zeros(len(x), bool)
    for start in starts:
        expected[start + 14 : start + 14 + frame.frame_length] = frame.samples_of(on)
    np.testing.assert_array_equal(np.abs(flowgraph.output()[:, 0, 0]) > 1e-3, expected)


def test_interference_is_swept_by_messages():
    """An entry replaces what was; an empty dict ends it; what is malformed is counted, logged, and changes nothing."""
    block = radio(snr_db=100.0, antenna_gains_db=None)
    with Flowgraph(block, np.zeros((9000, 1, TX))) as flowgraph:
        flowgraph.send(1000)
        flowgraph.post("interference", python_to_pmt(INTERFERENCE), lambda: block.interference() is not None)
        flowgraph.send(2000)
        wrong = [pmt.intern("x"), pmt.from_double(1.0), *({"band": [0.0, 1e9]}, {"power_db": np.nan})]
        wrong += [{"band": 1.0}, {"band": [1.0]}, {"kind": 1.0}, {"duty": "x"}, {"colour": 1.0}, {"fft_size": 64.5}]
        for count, message in enumerate(wrong, 1):
            message = python_to_pmt(message) if isinstance(message, dict) else message
            flowgraph.post("interference", message, lambda count=count: block.rejected_messages() == count)
        flowgraph.post(
            "interference", python_to_pmt({"power_db": 40.0}), lambda: block.interference()["power_db"] == 40.0
        )
        flowgraph.send(2000)
        flowgraph.post("interference", pmt.make_dict(), lambda: block.interference() is None)
        flowgraph.send(1000)
    power = np.mean(np.abs(flowgraph.output()[:, 0]) ** 2, axis=1)
    assert power[:1000].max() < 1e-6 and power[5000:].max() < 1e-6
    assert power[1000:3000].mean() == pytest.approx(100, rel=0.3)
    assert power[3000:5000].mean() == pytest.approx(10000, rel=0.3)
    assert block.internal_errors() == 0


def test_a_radio_channel_survives_input_that_is_not_finite():
    x = samples(3000)
    x[100, 0, 0], x[200, 0, 1] = np.nan, np.inf
    flowgraph = run(radio(), x)
    good = np.isfinite(flowgraph.output()[:, 0])
    assert good[:100].all() and not good[115].any() and good[300:].all()
    assert flowgraph.block.internal_errors() == 0


def through(block, x):
    """What comes out of a block of GNU Radio."""
    source, sink, tb = blocks.vector_source_c(x.tolist()), blocks.vector_sink_c(), gr.top_block()
    tb.connect(source, block, sink)
    run_to_end(tb)
    return np.array(sink.data())


@pytest.mark.parametrize("ppm", [-150.0, 0.0, 20.0])
def test_offsets_are_those_of_gnuradios_channel_model(ppm):
    """Its frequency offset and epsilon, for which it has a resampler of its own: the same up to a delay and a gain."""
    rng = np.random.default_rng(5)
    spectrum = np.fft.fft(rng.standard_normal(20000) + 1j * rng.standard_normal(20000))
    spectrum[np.abs(np.fft.fftfreq(20000)) > 0.15] = 0  # what its resampler is made for
    x = 100 * np.fft.ifft(spectrum)
    expected = through(channels.channel_model(0.0, 0.003, 1 + ppm * 1e-6, [1.0], 0), x)
    block = gr_kaq.channel_simulator(
        1,
        1,
        channel="tdl-flat",
        sample_rate=1e6,
        snr_db=100.0,
        carrier_offset=3e3,
        clock_offset_ppm=ppm,
        timing_offset=1041e-6 * max(ppm, 0.0),  # to the whole sample: the delay is on the receiver's clock
    )
    y = through(block, x)[1200:]
    errors = []
    for delay in (*range(8, 22), *range(1034, 1048)):
        late = expected[1200 - delay :][: len(y) - 50]
        here = y[: len(late)]
        gain = np.vdot(late, here) / np.vdot(late, late)
        errors.append(np.mean(np.abs(here - gain * late) ** 2) / np.mean(np.abs(here) ** 2))
    assert min(errors) < 1e-4


def test_fading_is_that_of_gnuradios_fading_model():
    """Another sum of sinusoids: power and autocorrelation over time agree, in the mean over seeds."""

    def autocorrelation(block):
        y = through(block, np.ones(3000))[100:]
        return [np.mean(y[lag:] * y[: len(y) - lag].conj()) for lag in (0, 100, 200, 300, 400)]

    arguments = {"channel": "tdl-flat", "sample_rate": 1e6, "doppler": 1e3, "snr_db": 100.0}
    ours = [autocorrelation(gr_kaq.channel_simulator(1, 1, **arguments, seed=seed)) for seed in range(100)]
    theirs = [autocorrelation(channels.fading_model(16, 1e-3, False, 0.0, seed)) for seed in range(100)]
    np.testing.assert_allclose(np.mean(ours, axis=0), np.mean(theirs, axis=0), atol=0.12)


def test_the_radio_channel_in_grc(tmp_path):
    """It compiles and runs with a variable for its sample rate; vectors of subcarriers are refused at the block."""
    document = grc_flowgraph()
    document["blocks"] = [b for b in document["blocks"] if b["id"] in ("variable", "kaq_qam_source")]
    document["blocks"] += [
        grc_block(
            "channel",
            "kaq_channel_simulator",
            num_tx="streams",
            num_rx=2,
            num_subcarriers="subcarriers",
            channel="tdl-a",
            sample_rate="rate",
            doppler="rate / 1e4",
            carrier_offset="offset",
            antenna_gains_db="[0, float('-inf')]",
            interference="dict(band=(0, offset + 1e5), power_db=0.0)",
        ),
        *(grc_block(f"sink_{i}", "blocks_null_sink", type="complex", vlen="subcarriers") for i in range(2)),
        grc_block("rate", "variable", value="1e6"),
        grc_block("offset", "variable", value="200.0"),
    ]
    document["connections"] = [["source", str(i), "channel", str(i)] for i in range(2)]
    document["connections"] += [["channel", str(i), f"sink_{i}", "0"] for i in range(2)]
    for subcarriers, works in ((1, True), (4, False)):
        for entry in document["blocks"]:
            if entry["name"] == "subcarriers":
                entry["parameters"]["value"] = str(subcarriers)
        compiled, environment = compile_grc(tmp_path, document)
        assert (compiled.returncode == 0) == works, compiled.stdout + compiled.stderr
        if works:
            code = "import small; tb = small.small(); tb.run(); tb.set_offset(9e3); print(tb.channel.internal_errors())"
            ran = subprocess.run(
                [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert ran.stdout.endswith("\n0\n") or ran.stdout == "0\n", ran.stdout + ran.stderr
