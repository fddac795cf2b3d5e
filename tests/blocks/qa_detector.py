# SPDX-License-Identifier: GPL-3.0-or-later
"""The detector block in running flowgraphs: equal to the NumPy API item by item, and proof against what may arrive."""

import gc
import json

import numpy as np
import pmt
import pytest
from gnuradio import blocks, gr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gr_kaq
from gr_kaq.blocks.base import MAX_WARNINGS
from gr_kaq.blocks.csi_pmt import channel_to_pmt
from gr_kaq.detection import model_file
from gr_kaq.detection.choice import choose
from gr_kaq.detection.kernel_plan import KernelPlan
from tests.blocks.flowgraphs import NONE, Flowgraph, TaggedSource, run, run_to_end, snr_tag, tag, wait_until
from tests.blocks.qa_csi_pmt import MALFORMED as MALFORMED_2_3_2
from tests.detection.models import admm_model

S, RX, TX = 2, 3, 2
SHAPE = (S, RX, TX)


def channels(count, shape=SHAPE, seed=1):
    rng = np.random.default_rng(seed)
    h = rng.standard_normal((count, *shape)) + 1j * rng.standard_normal((count, *shape))
    return (h / np.sqrt(2)).astype(np.complex64)


def samples(count, shape=SHAPE, seed=2):
    """Antenna samples (items, subcarriers, num_rx). Any will do where block and NumPy API are compared."""
    rng = np.random.default_rng(seed)
    y = rng.standard_normal((count, *shape[:2])) + 1j * rng.standard_normal((count, *shape[:2]))
    return y.astype(np.complex64)


def by_numpy(model, y, estimates, num_tx=TX, **load):
    """The NumPy API, item by item.

    Args:
        estimates: [(first item, h or None, {"noise_var" or "snr_db": ...})], None for 'no estimate'.

    Returns:
        symbols (items, subcarriers, num_tx), llrs (items, subcarriers * bits_per_symbol, num_tx).
    """
    detector = gr_kaq.load_detector(model, **load)
    bits = detector.constellation.bits_per_symbol
    symbols = np.zeros((*y.shape[:2], num_tx), np.complex64)
    llrs = np.zeros((y.shape[0], y.shape[1] * bits, num_tx), np.float32)
    starts = [first for first, _, _ in estimates] + [len(y)]
    for (first, h, known), stop in zip(estimates, starts[1:], strict=True):
        if h is None or stop <= first:
            continue
        prepared = detector.prepare(h, **known)
        for item in range(first, stop):
            out = prepared.detect(np.ascontiguousarray(y[item][:, None, :]))
            symbols[item] = out.symbols[:, 0]
            llrs[item] = out.llrs[:, 0].swapaxes(1, 2).reshape(-1, num_tx)
    return symbols, llrs


def assert_equal_to_numpy(flowgraph, expected_symbols, expected_llrs=None):
    num_tx = expected_symbols.shape[2]
    symbols = flowgraph.output(range(num_tx))
    assert symbols.shape == expected_symbols.shape
    np.testing.assert_allclose(symbols, expected_symbols, rtol=1e-3, atol=2e-3)
    if expected_llrs is not None:
        llrs = flowgraph.output(range(num_tx, 2 * num_tx))
        np.testing.assert_allclose(llrs, expected_llrs, rtol=2e-2, atol=0.1)
    assert flowgraph.block.internal_errors() == 0


def lmmse(**arguments):
    return gr_kaq.detector("lmmse", RX, TX, S, "16qam", **arguments)


def lmmse_by_numpy(y, estimates):
    return by_numpy("lmmse", y, estimates, constellation="16qam")[0]


# Agreement with the NumPy API


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 3, 2), (8, 4, 4), (4, 16, 16), (64, 2, 1)])
def test_any_number_of_ports_and_subcarriers(shape, model_path, backend):
    """Symbols and LLRs of a quantized model, in the order that the NumPy API has them."""
    y, (first, second) = samples(20, shape), channels(2, shape)
    tags = [tag(0, channel_to_pmt(first, noise_var=0.1)), tag(11, channel_to_pmt(second, noise_var=0.2))]
    detector = gr_kaq.detector(str(model_path), *shape[1:], shape[0], output_llrs=True, backend=backend)
    flowgraph = run(detector, y, tags)
    estimates = [(0, first, {"noise_var": 0.1}), (11, second, {"noise_var": 0.2})]
    assert_equal_to_numpy(flowgraph, *by_numpy(model_path, y, estimates, shape[2], backend=backend))
    assert detector.model_name() == "test-admm" and detector.constellation_name() == "16qam"


def test_the_link_works():
    """All four blocks: a BER that is known, for symbols and LLRs."""
    tb = gr.top_block()
    source = gr_kaq.qam_source(4, 2, "16qam", seed=5, num_items=5000)
    channel = gr_kaq.channel_simulator(4, 4, 2, snr_db=20)
    detector = gr_kaq.detector("lmmse", 4, 4, 2, "16qam", output_llrs=True)
    hard, soft = (gr_kaq.ber_meter(4, 2, "16qam", seed=5, input=kind) for kind in ("symbols", "llrs"))
    for i in range(4):
        tb.connect((source, i), (channel, i))
        tb.connect((channel, i), (detector, i))
        tb.connect((detector, i), (hard, i))
        tb.connect((detector, 4 + i), (soft, i))
    run_to_end(tb)
    assert hard.ber() == pytest.approx(4.34e-2, rel=0.15)  # Sionna's LMMSE
    assert abs(hard.bit_errors() - soft.bit_errors()) <= 3  # on a decision threshold
    assert detector.items() == 5000 and detector.items_without_csi() == 0
    assert detector.csi_updates() == 358 and detector.time_per_vector_ns() > 0


@pytest.mark.parametrize("chunk", [None, 1, 7])
def test_a_tag_takes_effect_at_its_item(chunk):
    """In the middle of a buffer, at its end, and where the scheduler cuts."""
    y, h = samples(50), channels(4)
    items = [3, 20, 21, 49]
    tags = [tag(item, channel_to_pmt(h[k], noise_var=0.1 + k)) for k, item in enumerate(items)]
    flowgraph = run(lmmse(), y, tags, chunk)
    assert_equal_to_numpy(
        flowgraph, lmmse_by_numpy(y, [(i, h[k], {"noise_var": 0.1 + k}) for k, i in enumerate(items)])
    )
    assert flowgraph.block.items_without_csi() == 3 and flowgraph.block.csi_updates() == 4


@pytest.mark.parametrize("chunk", [None, 1, 4])
def test_noise_that_is_not_white(chunk, model_path, backend):
    """A noise variance for each subcarrier, and covariances: each holds from its item on, beside the usual ones."""
    y, h = samples(20), channels(5)
    of_each = np.array([0.05, 0.8])
    root = np.tril(channels(2, (RX, RX), seed=7)).astype(complex)
    cov = (root @ root.conj().swapaxes(1, 2) + 0.1 * np.eye(RX)).astype(np.complex64)
    estimates = [
        (0, h[0], {"noise_var": 0.1}),
        (5, h[1], {"noise_cov": cov}),
        (6, h[2], {"noise_var": of_each}),
        (11, h[3], {"noise_cov": cov[:1]}),
        (15, h[4], {"noise_var": 0.2}),
    ]
    tags = [tag(item, channel_to_pmt(of, **given)) for item, of, given in estimates]
    detector = gr_kaq.detector(str(model_path), RX, TX, S, output_llrs=True, backend=backend)
    flowgraph = run(detector, y, tags, chunk)
    assert_equal_to_numpy(flowgraph, *by_numpy(model_path, y, estimates, backend=backend))
    assert (detector.csi_updates(), detector.rejected_csi()) == (5, 0)


def test_hundreds_of_tags_in_one_call():
    y, h = samples(600), channels(600)
    tags = [tag(k, channel_to_pmt(h[k], noise_var=0.1)) for k in range(600)]
    flowgraph = run(lmmse(), y, tags)
    assert_equal_to_numpy(flowgraph, lmmse_by_numpy(y, [(k, h[k], {"noise_var": 0.1}) for k in range(600)]))
    assert flowgraph.block.csi_updates() == 600


def test_two_tags_at_one_item():
    """Of one key the last valid one counts; of both keys, noise_var in the dict is the truth."""
    y, h = samples(30), channels(4)
    bad = pmt.from_long(3)
    tags = [
        tag(0, channel_to_pmt(h[0], noise_var=9.0)),
        tag(0, channel_to_pmt(h[1], noise_var=0.1)),
        tag(0, bad),
        snr_tag(10, 3.0),
        snr_tag(10, 13.0),
        tag(10, channel_to_pmt(h[2])),
        tag(20, channel_to_pmt(h[3], noise_var=0.3)),
        snr_tag(20, 33.0),
    ]
    flowgraph = run(lmmse(), y, tags)
    estimates = [(0, h[1], {"noise_var": 0.1}), (10, h[2], {"snr_db": 13.0}), (20, h[3], {"noise_var": 0.3})]
    assert_equal_to_numpy(flowgraph, lmmse_by_numpy(y, estimates))
    assert flowgraph.block.rejected_csi() == 1


def test_the_newest_of_snr_and_noise_var_wins():
    y, h = samples(40), channels(3)
    tags = [
        tag(0, channel_to_pmt(h[0], noise_var=0.1)),
        snr_tag(10, 5.0),
        tag(20, channel_to_pmt(h[1])),
        tag(30, channel_to_pmt(h[2], noise_var=0.2)),
    ]
    flowgraph = run(lmmse(), y, tags)
    estimates = [
        (0, h[0], {"noise_var": 0.1}),
        (10, h[0], {"snr_db": 5.0}),
        (20, h[1], {"snr_db": 5.0}),
        (30, h[2], {"noise_var": 0.2}),
    ]
    assert_equal_to_numpy(flowgraph, lmmse_by_numpy(y, estimates))


# Vector ports


def in_one(y):
    """(items, width, ports) as one vector port has it: (items, ports * width, 1), [port][width] in an item."""
    return y.swapaxes(1, 2).reshape(len(y), -1, 1)


def by_port(items, ports):
    """What a vector port gave, as separate ones would have it: (items, width, ports)."""
    return items[:, :, 0].reshape(len(items), ports, -1).swapaxes(1, 2)


@settings(max_examples=40, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    model=st.sampled_from(["admm5-16qam", "list8-16qam", "lmmse", "auto"]),
    shape=st.sampled_from([(1, 1, 1), (1, 3, 2), (2, 3, 1), (5, 4, 4), (16, 2, 2)]),
    items=st.lists(st.integers(0, 29), max_size=5, unique=True),
    output_llrs=st.booleans(),
    max_csi_age=st.sampled_from([0, 4]),
    chunk=st.sampled_from([None, 1, 7]),
)
def test_vector_ports_carry_the_same(model, shape, items, output_llrs, max_csi_age, chunk):
    """Every bit of symbols and LLRs, tags, and what is counted, wherever estimates arrive."""
    y, h, num_tx = samples(30, shape), channels(5, shape), shape[2]
    y[12, 0, 0] = np.nan
    tags = [tag(item, channel_to_pmt(h[k], noise_var=0.1 + k)) for k, item in enumerate(items)]
    tags.append(tag(17, pmt.from_long(1), "rx_time"))
    options = {"output_llrs": output_llrs, "max_csi_age": max_csi_age}
    separate, together = (
        run(gr_kaq.detector(model, *shape[1:], shape[0], "16qam", vector_ports=vector, **options), of, tags, chunk)
        for vector, of in ((False, y), (True, in_one(y)))
    )
    assert len(together.sinks) == 1 + output_llrs
    for port in range(1 + output_llrs):
        expected = separate.output(range(port * num_tx, (port + 1) * num_tx))
        if model == "lmmse":  # BLAS sums in another order where a work call has other items
            np.testing.assert_allclose(by_port(together.output([port]), num_tx), expected, rtol=1e-3, atol=2e-3)
        else:
            np.testing.assert_array_equal(by_port(together.output([port]), num_tx), expected)
        assert sorted(together.tags(port)) == sorted(separate.tags(port * num_tx))
    counted = separate.block.stats()
    del counted["time_per_vector_ns"]
    np.testing.assert_equal({name: together.block.stats()[name] for name in counted}, counted)


def test_vector_ports_join_and_split_as_blocks_of_gnuradio_do():
    """streams_to_vector in front, vector_to_streams behind: the same flowgraph."""
    y, h = samples(40), channels(2)
    source = TaggedSource(y, [tag(0, channel_to_pmt(h[0], noise_var=0.1)), tag(33, channel_to_pmt(h[1], snr_db=20))])
    join, split = blocks.streams_to_vector(8 * S, RX), blocks.vector_to_streams(8 * S, TX)
    split_llrs = blocks.vector_to_streams(4 * S * 4, TX)
    detector = lmmse(output_llrs=True, vector_ports=True)
    symbols = [blocks.vector_sink_c(S) for _ in range(TX)]
    llrs = [blocks.vector_sink_f(S * 4) for _ in range(TX)]
    tb = gr.top_block()
    for i in range(RX):
        tb.connect((source, i), (join, i))
    tb.connect(join, detector, split)
    tb.connect((detector, 1), split_llrs)
    for i in range(TX):
        tb.connect((split, i), symbols[i])
        tb.connect((split_llrs, i), llrs[i])
    source.limit = len(y)
    run_to_end(tb)
    estimates = [(0, h[0], {"noise_var": 0.1}), (33, h[1], {"snr_db": 20})]
    expected_symbols, expected_llrs = by_numpy("lmmse", y, estimates, constellation="16qam")
    for sinks, expected in ((symbols, expected_symbols), (llrs, expected_llrs)):
        found = np.stack([np.reshape(sink.data(), (len(y), -1)) for sink in sinks], axis=-1)
        np.testing.assert_allclose(found, expected, rtol=2e-2, atol=2e-3)
    assert [str(t.key) for t in llrs[0].tags()] == ["mimo_channel"] * 2


def test_vector_ports_while_models_change(model_path, backend):
    """Messages and setters are those of the block, whatever its ports are."""
    y, h = samples(50), channels(2)
    known = {"noise_var": 0.1}
    detector = lmmse(backend=backend, vector_ports=True)
    with Flowgraph(detector, in_one(y), [tag(2, channel_to_pmt(h[0], **known))]) as flowgraph:
        flowgraph.send(10)
        detector.set_model(model_path)
        flowgraph.send(10)
        flowgraph.post("csi", channel_to_pmt(h[1], **known), lambda: detector.csi_updates() == 2)
        flowgraph.send(10)
        flowgraph.post("model", pmt.intern("zf"), lambda: detector.model_name() == "zf")
        flowgraph.send(10)
        detector.set_max_csi_age(1)
    estimates = [(2, h[0], known), (20, h[1], known), (40, None, {})]
    expected = lmmse_by_numpy(y, estimates)
    expected[10:30] = by_numpy(model_path, y, estimates, backend=backend)[0][10:30]
    expected[30:40] = by_numpy("zf", y, estimates, constellation="16qam")[0][30:40]
    np.testing.assert_allclose(by_port(flowgraph.output(), TX), expected, rtol=1e-3, atol=2e-3)
    assert (detector.items_without_csi(), detector.csi_age(), detector.internal_errors()) == (12, 30, 0)


@pytest.mark.parametrize("vector_ports", [False, True])
def test_a_work_call_may_have_many_items(vector_ports):
    """A vector port has room for as many items as separate ones: a call costs as much as detecting some."""
    detector = gr_kaq.detector("lmmse", 16, 16, 64, "16qam", vector_ports=vector_ports)
    assert detector.min_output_buffer(0) == 256


@pytest.mark.parametrize("width", [S, S * TX, S * RX + 1])
def test_vector_ports_of_another_length_cannot_be_connected(width):
    """One antenna's items, those of the streams, and one sample too many."""
    with pytest.raises(ValueError, match="itemsize mismatch"):
        gr.top_block().connect(blocks.null_source(8 * width), lmmse(vector_ports=True))


# Nothing known


def test_samples_before_the_first_estimate_give_zeros():
    """An estimate needs both H and the noise: either alone is not enough."""
    y, h = samples(30), channels(1)[0]
    detector = lmmse(output_llrs=True)
    flowgraph = run(detector, y, [tag(5, channel_to_pmt(h)), snr_tag(20, 15.0)])
    estimates = [(20, h, {"snr_db": 15.0})]
    assert_equal_to_numpy(flowgraph, *by_numpy("lmmse", y, estimates, constellation="16qam"))
    assert not flowgraph.output(range(TX))[:20].any() and not flowgraph.output(range(TX, 2 * TX))[:20].any()
    assert detector.items_without_csi() == 20 and detector.items() == 30
    assert detector.snr_db() == 15.0


def test_without_any_estimate():
    detector = lmmse()
    flowgraph = run(detector, samples(30))
    assert not flowgraph.output().any()
    assert (detector.items_without_csi(), detector.csi_age()) == (30, -1)
    assert np.isnan(detector.snr_db()) and np.isnan(detector.time_per_vector_ns())


@pytest.mark.parametrize("chunk", [None, 4])
def test_ageing(chunk):
    """An item of age max_csi_age is the last one detected. An SNR tag does not make a channel younger."""
    y, h = samples(40), channels(2)
    detector = lmmse(max_csi_age=5)
    tags = [tag(2, channel_to_pmt(h[0], noise_var=0.1)), snr_tag(6, 10.0), tag(30, channel_to_pmt(h[1], noise_var=0.1))]
    flowgraph = run(detector, y, tags, chunk)
    estimates = [(2, h[0], {"noise_var": 0.1}), (6, h[0], {"snr_db": 10.0}), (8, None, {})]
    estimates += [(30, h[1], {"noise_var": 0.1}), (36, None, {})]
    assert_equal_to_numpy(flowgraph, lmmse_by_numpy(y, estimates))
    assert detector.items_without_csi() == 2 + 22 + 4 and detector.csi_age() == 10


def test_the_age_limit_can_change_while_running():
    y, h = samples(30), channels(1)[0]
    detector = lmmse()
    with Flowgraph(detector, y, [tag(0, channel_to_pmt(h, noise_var=0.1))]) as flowgraph:
        flowgraph.send(10)
        detector.set_max_csi_age(3)
        flowgraph.send(10)
        detector.set_max_csi_age(0)
    estimates = [(0, h, {"noise_var": 0.1}), (10, None, {}), (20, h, {"noise_var": 0.1})]
    assert_equal_to_numpy(flowgraph, lmmse_by_numpy(y, estimates))
    assert detector.items_without_csi() == 10
    with pytest.raises(ValueError, match="max_csi_age"):
        detector.set_max_csi_age(-1)


def test_a_flowgraph_that_starts_again_has_no_estimate():
    """An estimate of the last run is of unknown age."""
    y, h = samples(20), channels(1)[0]
    source, detector = TaggedSource(y, [tag(10, channel_to_pmt(h, noise_var=0.1))]), lmmse()
    sinks = [blocks.vector_sink_c(S) for _ in range(TX)]
    tb = gr.top_block()
    for i in range(RX):
        tb.connect((source, i), (detector, i))
    for i in range(TX):
        tb.connect((detector, i), sinks[i])
    source.limit = len(y)
    for runs in (1, 2):
        run_to_end(tb)
        assert detector.items_without_csi() == 10 * runs and detector.items() == 20 * runs


# What is malformed changes nothing


@pytest.mark.parametrize("name", MALFORMED_2_3_2)
def test_a_malformed_estimate_changes_nothing(name):
    """The flowgraph goes on with the last good estimate, and takes the next one."""
    y, h = samples(30), channels(2)
    good = [tag(0, channel_to_pmt(h[0], noise_var=0.1)), tag(20, channel_to_pmt(h[1], noise_var=0.2))]
    flowgraph = run(lmmse(), y, [*good, tag(10, MALFORMED_2_3_2[name])])
    assert_equal_to_numpy(flowgraph, lmmse_by_numpy(y, [(0, h[0], {"noise_var": 0.1}), (20, h[1], {"noise_var": 0.2})]))
    assert flowgraph.block.rejected_csi() == 1 and flowgraph.block.csi_updates() == 2


@pytest.mark.parametrize("snr_db", [1000.0, -1000.0, np.nan, np.inf, -np.inf])
def test_an_snr_out_of_range_changes_nothing(snr_db):
    y, h = samples(30), channels(1)[0]
    tags = [tag(0, channel_to_pmt(h)), snr_tag(0, 10.0), snr_tag(10, snr_db), snr_tag(20, 12.0)]
    flowgraph = run(lmmse(), y, tags)
    assert_equal_to_numpy(flowgraph, lmmse_by_numpy(y, [(0, h, {"snr_db": 10.0}), (20, h, {"snr_db": 12.0})]))
    assert flowgraph.block.rejected_csi() == 1


def test_tags_with_null_pointers():
    """None is a null pointer in a tag, and a segfault in whoever reads it."""
    y, h = samples(30), channels(1)[0]
    tags = [tag(0, channel_to_pmt(h, noise_var=0.1)), tag(5, None), tag(6, None, "snr"), tag(7, None, "other")]
    flowgraph = run(lmmse(), y, tags)
    assert_equal_to_numpy(flowgraph, lmmse_by_numpy(y, [(0, h, {"noise_var": 0.1})]))
    assert flowgraph.block.rejected_csi() == 2
    assert flowgraph.tags() == [(0, "mimo_channel"), (5, "mimo_channel"), (6, "snr"), (7, "other")]


def test_an_estimate_with_more_streams_than_antennas_is_refused():
    """Its shape is not this detector's, even where the number of elements is."""
    y, h = samples(20), channels(1)[0]
    wide = channel_to_pmt(h.swapaxes(1, 2), noise_var=0.1)
    flowgraph = run(lmmse(), y, [tag(0, wide), tag(10, channel_to_pmt(h, noise_var=0.1))])
    assert_equal_to_numpy(flowgraph, lmmse_by_numpy(y, [(10, h, {"noise_var": 0.1})]))
    assert flowgraph.block.rejected_csi() == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, complex(0, -np.inf), complex(np.nan, np.inf)])
def test_samples_that_are_not_finite(value, model_path, backend):
    """Such a vector gives zeros; its neighbours in subcarrier and time are detected."""
    y, h = samples(20), channels(1)[0]
    y[4, 1, 2] = y[9, 0, 0] = y[9, 0, 1] = value
    for model, load in ((model_path, {"backend": backend}), ("lmmse", {"constellation": "16qam"})):
        detector = gr_kaq.detector(model, RX, TX, S, output_llrs=True, **load)
        flowgraph = run(detector, y, [tag(0, channel_to_pmt(h, noise_var=0.1))])
        assert_equal_to_numpy(flowgraph, *by_numpy(model, y, [(0, h, {"noise_var": 0.1})], **load))
        assert detector.invalid_vectors() == 2
        assert not flowgraph.output(range(TX))[4, 1].any() and not flowgraph.output(range(TX))[9, 0].any()
        assert flowgraph.output(range(TX))[4, 0].all()


def test_degenerate_channels(model_path, backend):
    """All zero: nothing known. Rank one, or huge, or tiny: finite outputs. And the next good one is detected."""
    rank_one = channels(1)[0][:, :, :1] * np.ones((1, 1, TX), np.complex64)
    h = [np.zeros(SHAPE, np.complex64), rank_one, rank_one * 1e12, rank_one * 1e-12, channels(1)[0]]
    y = samples(50)
    for model, load in (
        (model_path, {"backend": backend}),
        ("lmmse", {"constellation": "16qam"}),
        ("zf", {"constellation": "16qam"}),
    ):
        for known in ({"noise_var": 0.1}, {"noise_var": 0.0}, {"snr_db": 100.0}, {"snr_db": -40.0}):
            detector = gr_kaq.detector(model, RX, TX, S, output_llrs=True, **load)
            flowgraph = run(detector, y, [tag(10 * k, channel_to_pmt(h[k], **known)) for k in range(5)])
            symbols, llrs = flowgraph.output(range(TX)), flowgraph.output(range(TX, 2 * TX))
            assert np.isfinite(symbols).all() and np.isfinite(llrs).all(), (model, known)
            assert not symbols[:10].any() and not llrs[:10].any()
            good, _ = by_numpy(model, y, [(40, h[4], known)], **load)
            np.testing.assert_allclose(symbols[40:], good[40:], rtol=1e-3, atol=2e-3)
            assert detector.csi_updates() == 5 and detector.internal_errors() == 0


def test_an_error_inside_gives_zeros_and_is_counted(monkeypatch):
    """Whatever the engine raises must not end the block's thread."""
    y, h = samples(30), channels(3)
    detector = lmmse()
    detect_pieces = KernelPlan.detect_pieces

    def failing(plan, pieces, *streams):
        if any(np.array_equal(piece.h, h[1]) for piece in pieces):
            raise np.linalg.LinAlgError("{} singular")
        return detect_pieces(plan, pieces, *streams)

    monkeypatch.setattr(KernelPlan, "detect_pieces", failing)
    flowgraph = run(detector, y, [tag(10 * k, channel_to_pmt(h[k], noise_var=0.1)) for k in range(3)])
    assert detector.internal_errors() >= 1
    expected = lmmse_by_numpy(y, [(0, h[0], {"noise_var": 0.1}), (10, None, {}), (20, h[2], {"noise_var": 0.1})])
    np.testing.assert_allclose(flowgraph.output(), expected, rtol=1e-3, atol=2e-3)


# Tags


def test_tags_of_other_ports_are_ignored_and_those_of_port_0_passed_on_once():
    """UHD puts its tags on every channel; GNU Radio's default would give 3 copies on each output."""
    y, h = samples(20), channels(2)
    tags = [tag(3, channel_to_pmt(h[0], noise_var=0.1)), tag(3, pmt.from_long(1), "rx_time")]
    tags += [tag(8, channel_to_pmt(h[1], noise_var=0.1), port=1), tag(8, pmt.from_long(2), "rx_time", port=2)]
    tags += [snr_tag(11, 10.0)]
    flowgraph = run(lmmse(), y, tags)
    estimates = [(3, h[0], {"noise_var": 0.1}), (11, h[0], {"snr_db": 10.0})]
    assert_equal_to_numpy(flowgraph, lmmse_by_numpy(y, estimates))
    assert sorted(flowgraph.tags(0)) == [(3, "mimo_channel"), (3, "rx_time"), (11, "snr")]
    assert flowgraph.tags(1) == []
    assert flowgraph.block.csi_updates() == 1


def test_other_key_names():
    y, h = samples(20), channels(1)[0]
    tags = [tag(0, channel_to_pmt(h), "ofdm_sync_chan_taps"), tag(0, pmt.from_double(9.0), "my_snr"), snr_tag(5, 1.0)]
    flowgraph = run(lmmse(csi_key="ofdm_sync_chan_taps", snr_key="my_snr"), y, tags)
    assert_equal_to_numpy(flowgraph, lmmse_by_numpy(y, [(0, h, {"snr_db": 9.0})]))


# Messages


def test_estimates_by_message():
    """They take effect at the first item of the next work call; wrong ones are counted and change nothing."""
    y, h = samples(60), channels(3)
    detector = lmmse(max_csi_age=100)
    bad = [pmt.intern("x"), pmt.PMT_NIL, pmt.from_double(20.0), pmt.cons(pmt.make_dict(), pmt.make_u8vector(4, 0))]
    with Flowgraph(detector, y, [tag(40, channel_to_pmt(h[2], noise_var=0.3))]) as flowgraph:
        flowgraph.send(10)
        flowgraph.post("csi", channel_to_pmt(h[0], snr_db=11.0), lambda: detector.csi_updates() == 1)
        flowgraph.send(10)
        for count, message in enumerate(bad, 1):
            detector._post(pmt.intern("csi"), None)  # a null pointer, which GNU Radio takes for an empty queue
            flowgraph.post("csi", message, lambda count=count: detector.rejected_csi() == count)
        flowgraph.send(5)
        flowgraph.post("csi", channel_to_pmt(h[1], noise_var=0.2), lambda: detector.csi_updates() == 2)
        assert detector.csi_age() == 0
        flowgraph.send(5)
    estimates = [(10, h[0], {"snr_db": 11.0}), (25, h[1], {"noise_var": 0.2}), (40, h[2], {"noise_var": 0.3})]
    assert_equal_to_numpy(flowgraph, lmmse_by_numpy(y, estimates))
    assert detector.items_without_csi() == 10


def test_the_model_can_be_swapped_while_running(model_path, backend):
    """By method, by message with a name, by message with a path. Wrong ones are refused and the old one stays."""
    y, h = samples(50), channels(1)[0]
    detector = lmmse(backend=backend)
    known = {"noise_var": 0.1}
    with Flowgraph(detector, y, [tag(0, channel_to_pmt(h, **known))]) as flowgraph:
        flowgraph.send(10)
        detector.set_model("zf")
        flowgraph.send(10)
        flowgraph.post("model", pmt.intern(str(model_path)), lambda: detector.model_name() == "test-admm")
        flowgraph.send(10)
        wrong = [pmt.from_long(1), pmt.make_dict(), pmt.PMT_NIL, pmt.intern("no such model"), pmt.intern("")]
        for count, message in enumerate(wrong, 1):
            flowgraph.post("model", message, lambda count=count: detector.rejected_messages() == count)
        flowgraph.send(10)
        flowgraph.post("model", pmt.intern("lmmse"), lambda: detector.model_name() == "lmmse")
    expected = lmmse_by_numpy(y, [(0, h, known)])
    expected[10:20] = by_numpy("zf", y, [(0, h, known)], constellation="16qam")[0][10:20]
    expected[20:40] = by_numpy(model_path, y, [(0, h, known)], backend=backend)[0][20:40]
    assert_equal_to_numpy(flowgraph, expected)


def test_a_choice_can_be_swapped_while_running(model_path, backend):
    """From a model to what `auto` chooses for this size, to another choice, and back."""
    y, h = samples(40), channels(1)[0]
    known = {"noise_var": 0.1}
    detector = gr_kaq.detector(model_path, RX, TX, S, backend=backend)
    chosen = choose("auto", "16qam", RX, TX).detector
    with Flowgraph(detector, y, [tag(0, channel_to_pmt(h, **known))]) as flowgraph:
        assert detector.detector_name() == "test-admm"
        flowgraph.send(10)
        detector.set_model("auto")
        assert (detector.model_name(), detector.detector_name()) == ("auto", chosen)
        flowgraph.send(10)
        flowgraph.post("model", pmt.intern("auto-fast"), lambda: detector.model_name() == "auto-fast")
        flowgraph.send(10)
        flowgraph.post("model", pmt.intern(str(model_path)), lambda: detector.model_name() == "test-admm")
    expected = by_numpy(model_path, y, [(0, h, known)], backend=backend)[0]
    expected[10:20] = by_numpy(chosen, y, [(0, h, known)], backend=backend)[0][10:20]
    fast = choose("auto-fast", "16qam", RX, TX).detector
    expected[20:30] = by_numpy(fast, y, [(0, h, known)], backend=backend)[0][20:30]
    assert_equal_to_numpy(flowgraph, expected)


def test_a_model_that_does_not_fit_is_refused(tmp_path, model_path, backend):
    """Another constellation would change the LLR ports; another size has no meaning."""
    qpsk = model_file.save(admm_model("qpsk", name="other"), tmp_path)
    document = json.loads(model_path.read_text())
    document["sizes"]["max_num_rx"] = 2
    small = tmp_path / "small.kaq.json"
    small.write_text(json.dumps(document))
    y, h = samples(20), channels(1)[0]
    detector = gr_kaq.detector(model_path, RX, TX, S, backend=backend)
    with Flowgraph(detector, y, [tag(0, channel_to_pmt(h, noise_var=0.1))]) as flowgraph:
        flowgraph.send(10)
        for count, path in enumerate((qpsk, small), 1):
            with pytest.raises(ValueError, match="other|receive"):
                detector.set_model(path)
            flowgraph.post("model", pmt.intern(str(path)), lambda count=count: detector.rejected_messages() == count)
        with pytest.raises(ValueError, match="a name or path"):
            detector.set_model(None)
        assert detector.model_name() == "test-admm"
    assert_equal_to_numpy(flowgraph, by_numpy(model_path, y, [(0, h, {"noise_var": 0.1})], backend=backend)[0])


def hostile_files(good):
    """Name and content of files that are no model."""
    text = good.decode()
    yield "empty", b""
    yield "truncated", good[: len(good) // 2]
    yield "cut before the end", good.rstrip()[:-1]
    yield "binary", bytes(range(256)) * 40
    yield "10 MB", good + b" " * 10_000_000
    yield "10 MB of text", b'"' + b"a" * 10_000_000 + b'"'
    yield "null", b"null"
    yield "list", b"[]"
    yield "wrong version", text.replace('"version": 1', '"version": 2').encode()
    yield "version true", text.replace('"version": 1', '"version": true').encode()
    yield "long version", text.replace('"version": 1', '"version": "' + "9" * 500_000 + '"').encode()
    for depth in (100, 300, 600, 900, 960, 980, 990, 1000, 100_000):
        nested = "[" * depth + "]" * depth
        yield f"nested {depth}", nested.encode()
        yield f"version nested {depth}", text.replace('"version": 1', f'"version": {nested}').encode()
        yield f"name nested {depth}", text.replace('"name": "test-admm"', f'"name": {nested}').encode()
        yield f"layers nested {depth}", text.replace('"layers": [', f'"layers": [{nested},', 1).encode()
    for number in (
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e999",
        "1" * 400,
        "1" * 100_000,
        '"3"',
        "true",
        "[]",
        "{}",
    ):
        yield f"number {number[:9]}", text.replace('"gamma": 3.5', f'"gamma": {number}').encode()
        yield f"bits {number[:9]}", text.replace('"matrix": 8', f'"matrix": {number}').encode()
        yield f"size {number[:9]}", text.replace('"max_num_rx": 64', f'"max_num_rx": {number}').encode()
        yield f"layers {number[:9]}", text.replace('"layers": [', f'"layers": {number}, "x": [', 1).encode()


def test_hostile_model_files(tmp_path, model_path, backend):
    """A name that arrives by message may be that of any file."""
    y, h = samples(20), channels(1)[0]
    detector = gr_kaq.detector(model_path, RX, TX, S, backend=backend)
    good = model_path.read_bytes()
    (tmp_path / "directory.kaq.json").mkdir()
    paths = [tmp_path / "directory.kaq.json", tmp_path / "missing.kaq.json", tmp_path / ("x" * 5000 + ".kaq.json")]
    paths += ["a\0b.kaq.json", "/dev/zero", "../../etc/passwd"]
    for number, (name, content) in enumerate(hostile_files(good)):
        assert content != good, name
        paths.append(tmp_path / f"{number}.kaq.json")
        paths[-1].write_bytes(content)
    with Flowgraph(detector, y, [tag(0, channel_to_pmt(h, noise_var=0.1))]) as flowgraph:
        flowgraph.send(10)
        for count, path in enumerate(paths, 1):
            flowgraph.post("model", pmt.intern(str(path)), lambda count=count: detector.rejected_messages() == count)
        assert detector.model_name() == "test-admm"
    assert_equal_to_numpy(flowgraph, by_numpy(model_path, y, [(0, h, {"noise_var": 0.1})], backend=backend)[0])


def test_statistics_are_published(model_path, backend):
    """Every counter under its getter's name, while items flow and at the end."""
    y, h = samples(30), channels(1)[0]
    y[3, 0, 0] = np.nan
    detector = gr_kaq.detector(model_path, RX, TX, S, stats_interval_s=1e-9, backend=backend)
    flowgraph = Flowgraph(detector, y, [tag(2, channel_to_pmt(h, noise_var=0.1)), tag(4, pmt.PMT_NIL)])
    store = blocks.message_debug()
    flowgraph.tb.msg_connect(detector, "stats", store, "store")

    def messages():
        return [pmt.to_python(store.get_message(i)) for i in range(store.num_messages())]

    with flowgraph:
        flowgraph.send(10)
        flowgraph.send(10)
        flowgraph.wait_until(lambda: messages() and messages()[-1]["items"] == 20)
    expected = {"items": 30, "items_without_csi": 2, "invalid_vectors": 1, "csi_updates": 1, "rejected_csi": 1}
    expected |= {
        "model_name": "test-admm",
        "detector_name": "test-admm",
        "internal_errors": 0,
        "rejected_messages": 0,
        "csi_age": 28,
    }
    stats = detector.stats()
    assert stats == stats | expected
    assert all(stats[name] == getattr(detector, name)() for name in stats)
    published = next(message for message in messages() if message["items"] == 20)
    changed = {"items", "csi_age", "time_per_vector_ns"}
    assert published.keys() == stats.keys()
    assert {k: v for k, v in published.items() if k not in changed} == {
        k: v for k, v in stats.items() if k not in changed
    }


def test_statistics_at_the_end_only():
    detector = lmmse(stats_interval_s=0)
    published = []
    detector.publish = lambda port, values: published.append(values)
    run(detector, samples(30), chunk=1)
    assert [values["items"] for values in published] == [30]


def test_each_fault_is_logged_once():
    """A transmitter that sends nonsense must not fill the disk, nor one that sends ever new nonsense."""

    class Logger:
        lines = []
        warn = lines.append

    detector = lmmse()
    detector.logger = Logger
    run(detector, samples(300), [tag(k, pmt.PMT_T if k % 2 else pmt.make_c32vector(3, 0)) for k in range(300)])
    assert detector.rejected_csi() == 300 and len(Logger.lines) == 2
    for number in range(1000):
        detector.handle_model(pmt.intern(f"model {number}"))
    assert detector.rejected_messages() == 1000 and len(Logger.lines) == 2 + MAX_WARNINGS


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ([], "no channel estimate so far, neither in a tag `mimo_channel` at input 0 nor on port csi"),
        ([tag(0, channel_to_pmt(channels(1)[0], 0.1), "channel")], "(there are channel; csi_key names the tag)"),
        ([tag(0, channel_to_pmt(channels(1)[0], 0.1), port=1)], "tags `mimo_channel` are at input 1"),
        ([tag(0, channel_to_pmt(channels(1)[0]))], "has no `noise_var`, and there is no SNR"),
        ([tag(0, pmt.to_pmt(channels(1)[0].astype(np.complex128)))], "complex128 (c64vector)"),
        ([tag(0, channel_to_pmt(channels(1)[0], 0.1))], None),
    ],
)
def test_zeros_are_explained_once(tags, said):
    class Logger:
        lines = []
        warn = lines.append

    detector = lmmse()
    detector.logger = Logger
    run(detector, samples(300), tags, chunk=20)
    assert len(Logger.lines) == (0 if said is None else 1)
    assert said is None or said in Logger.lines[0]
    assert (detector.items_without_csi() == 0) == (said is None)


@pytest.mark.parametrize("begin", ["started", "unlocked"])
def test_a_message_before_the_first_item_counts(begin):
    """A flowgraph that is started again begins without an estimate; one that comes then is not that of the last run."""
    h, y = channels(2), samples(10)
    detector = lmmse()
    sinks = [blocks.vector_sink_c(S) for _ in range(TX)]
    for runs, estimate in enumerate(h, start=1):
        tb, source = gr.top_block(), TaggedSource(y)
        for port in range(RX):
            tb.connect((source, port), (detector, port))
        for port in range(TX):
            tb.connect((detector, port), sinks[port])
        tb.start()
        if begin == "unlocked":
            detector._post(pmt.intern("csi"), channel_to_pmt(estimate, noise_var=9.0))
            wait_until(lambda runs=runs: detector.csi_updates() == 2 * runs - 1)
            tb.lock()
            tb.unlock()
        updates = detector.csi_updates() + 1
        detector._post(pmt.intern("csi"), channel_to_pmt(estimate, noise_var=0.1))
        wait_until(lambda updates=updates: detector.csi_updates() == updates)
        source.limit = len(y)
        wait_until(lambda runs=runs: min(len(sink.data()) for sink in sinks) >= 10 * S * runs)
        tb.stop()
        tb.wait()
        expected = lmmse_by_numpy(y, [(0, estimate, {"noise_var": 0.1})])
        found = np.stack([np.array(sink.data()).reshape(-1, S)[-10:] for sink in sinks], axis=-1)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert detector.items_without_csi() == 0


# Construction and lifetime


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_rx": 0}, "num_rx"),
        ({"num_tx": 0}, "num_tx"),
        ({"num_tx": -1}, "num_tx"),
        ({"num_rx": 2.5}, "num_rx"),
        ({"num_rx": "3"}, "num_rx"),
        ({"num_rx": 10**9}, "num_rx"),
        ({"num_subcarriers": 0}, "num_subcarriers"),
        ({"num_subcarriers": 10**9}, "num_subcarriers"),
        ({"max_csi_age": -1}, "max_csi_age"),
        ({"stats_interval_s": -1.0}, "stats_interval_s"),
        ({"stats_interval_s": np.nan}, "stats_interval_s"),
        ({"csi_key": ""}, "csi_key"),
        ({"csi_key": "snr"}, "csi_key"),
        ({"model": "zf", "num_rx": 2, "num_tx": 3}, "num_rx >= num_tx"),
        ({"model": "no such"}, "no such"),
        ({"model": None}, "name or path"),
        ({"model": 3}, "name or path"),
        ({"backend": "cuda"}, "cuda"),
        ({"constellation": None}, "needs a constellation"),
        ({"model": "auto", "constellation": None}, "needs a constellation"),
        ({"constellation": "8psk"}, "8psk"),
    ],
)
def test_wrong_arguments(arguments, message):
    """A ValueError that names the argument, before GNU Radio sees anything."""
    with pytest.raises(ValueError, match=message):
        gr_kaq.detector(**({"model": "lmmse", "num_rx": 3, "num_tx": 2, "constellation": "16qam"} | arguments))


def test_a_model_refuses_more_streams_than_antennas(model_path):
    with pytest.raises(ValueError, match="num_rx >= 1"):
        gr_kaq.detector(model_path, 2, 3)
    with pytest.raises(ValueError, match="64 receive"):
        gr_kaq.detector(model_path, 65, 3)
    with pytest.raises(ValueError, match="16qam"):
        gr_kaq.detector(model_path, 4, 4, constellation="qpsk")


def test_integers_of_numpy_are_integers():
    assert gr_kaq.detector("lmmse", np.int64(3), np.int32(2), np.uint8(4), "qpsk").name() == "KAQ MIMO detector"


def test_nobody_else_keeps_the_block():
    """GNU Radio itself would crash: it holds a Python block by a bare pointer."""

    def flowgraph():
        tb = gr.top_block()
        source, detector = gr_kaq.qam_source(1, num_items=2000), gr_kaq.detector("lmmse", 1, 1, constellation="16qam")
        channel, meter = gr_kaq.channel_simulator(1, 1), gr_kaq.ber_meter(1)
        tb.connect(source, channel, detector, meter)
        return tb

    for _ in range(3):
        tb = flowgraph()
        gc.collect()
        run_to_end(tb)
        run_to_end(tb)


# Anything, anywhere


def dictionary(entries, value=None):
    value = pmt.make_dict() if value is None else value
    for key, entry in entries.items():
        value = pmt.dict_add(value, pmt.intern(key), entry)
    return value


NUMBERS = st.one_of(st.floats(), st.floats(-50, 110), st.integers(-(2**62), 2**62))
SIMPLE = st.one_of(
    st.sampled_from([*NONE, pmt.PMT_NIL, pmt.PMT_T, pmt.PMT_EOF, pmt.intern("h"), pmt.intern("snr"), pmt.make_dict()]),
    st.builds(pmt.from_double, st.floats()),
    st.builds(pmt.from_long, st.integers(-(2**62), 2**62)),
    st.builds(pmt.from_complex, st.complex_numbers()),
    st.builds(lambda n: pmt.make_c32vector(n, 1 + 1j), st.integers(0, 20).filter(lambda n: n != S * RX * TX)),
    st.builds(lambda n: pmt.init_s32vector(n, [2, 3, 2, 2][:n]), st.integers(0, 4)),
    st.builds(lambda b: pmt.init_u8vector(len(b), list(b)), st.binary(max_size=8)),
)
NESTED = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.builds(pmt.cons, inner, inner),
        st.builds(lambda values: pmt.make_tuple(*values), st.lists(inner, max_size=4)),
        st.builds(
            dictionary,
            st.dictionaries(st.sampled_from(["h", "shape", "noise_var", "seq", "snr", "x"]), inner, max_size=4),
        ),
    ),
    max_leaves=6,
)
ANYTHING = st.none() | NESTED  # a tag's value can be None, whether or not that can be inside a PMT


@st.composite
def tag_and_meaning(draw):
    """A tag's value and key, and what it means: ("h", index, given), ("snr", dB) or None for 'refused'."""
    what = draw(st.sampled_from(["good", "good", "snr", "snr", "spoilt", "any", "any snr", "other"]))
    index = draw(st.integers(0, 4))
    h = channels(5)[index]
    if what == "good":
        known = draw(st.sampled_from([{}, {"noise_var": 0.2}, {"snr_db": 8.0}, {"noise_var": 0.3, "snr_db": 9.0}]))
        return "mimo_channel", channel_to_pmt(h, seq=index, **known), ("h", index, known)
    if what == "snr":
        number = draw(NUMBERS)
        value = pmt.from_double(number) if isinstance(number, float) else pmt.from_long(number)
        return "snr", value, ("snr", float(number)) if -40 <= number <= 100 else None
    if what == "spoilt":
        key = draw(st.sampled_from(["h", "shape"]))
        entry = draw(NESTED.filter(lambda value: value is None or not pmt.is_s32vector(value)))
        return "mimo_channel", dictionary({key: entry}, channel_to_pmt(h, noise_var=0.1)), None
    if what == "any":
        return "mimo_channel", draw(ANYTHING), None
    if what == "any snr":
        value = draw(ANYTHING.filter(lambda v: v is None or not (pmt.is_real(v) or pmt.is_integer(v))))
        return "snr", value, None
    return "other", draw(ANYTHING), ()


def meaning_of(events, num_items):
    """The contract, written again: [(item, h index or None, given)]."""
    index, given, estimates = None, {}, []
    for item in range(num_items):
        here = [meaning for at, meaning in events if at == item and meaning]
        channel = [m for m in here if m[0] == "h"][-1:]
        snr = [m for m in here if m[0] == "snr"][-1:]
        if channel:
            index, known = channel[0][1], dict(channel[0][2])
            if "noise_var" in known:
                given, snr = {"noise_var": known["noise_var"]}, []
            elif known and not snr:
                given = known
        if snr:
            given = {"snr_db": snr[0][1]}
        if here:
            estimates.append((item, index if given else None, dict(given)))
    return estimates


@settings(max_examples=60, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 29), tag_and_meaning()), max_size=10),
    st.sampled_from([None, 1, 3, 8]),
)
def test_anything_on_tags(arrivals, chunk):
    """Whatever the tags hold and wherever they are: the flowgraph ends, and valid estimates do what the API does."""
    y, h = samples(30), channels(5)
    tags = [tag(item, value, key) for item, (key, value, _) in arrivals]
    flowgraph = run(lmmse(), y, tags, chunk)
    events = [(item, meaning) for item, (_, _, meaning) in arrivals]
    estimates = [(at, None if index is None else h[index], known) for at, index, known in meaning_of(events, len(y))]
    assert_equal_to_numpy(flowgraph, lmmse_by_numpy(y, estimates))
    assert flowgraph.block.rejected_csi() == sum(meaning is None for _, meaning in events)
    assert len(flowgraph.tags()) == len(tags)


def test_a_tag_whose_name_is_no_utf_8_does_not_matter():
    block, source, tb = lmmse(), TaggedSource(samples(10)), gr.top_block()
    foreign = pmt.deserialize_str(b"\x02\x00\x02\xed\xa0")
    add = source.add_item_tag
    source.tags = [(0, 1, "foreign", pmt.PMT_T)]
    source.add_item_tag = lambda port, item, key, value: add(port, item, foreign, value)
    for port in range(RX):
        tb.connect((source, port), (block, port))
    for port in range(TX):
        tb.connect((block, port), blocks.null_sink(gr.sizeof_gr_complex * S))
    source.limit = 10
    run_to_end(tb)
    assert block.items() == 10 and block.internal_errors() == 0
