# SPDX-License-Identifier: GPL-3.0-or-later
"""The channel simulator: y = H x + n with the H, noise and SNR that its tags state."""

import numpy as np
import pmt
import pytest

import gr_kaq
from gr_kaq.blocks.csi_pmt import parse_channel
from gr_kaq.signal_model import snr_from_noise_var
from tests.blocks.flowgraphs import Flowgraph, run, tag

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
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        gr_kaq.channel_simulator(**({"num_tx": 2, "num_rx": 2} | arguments))
