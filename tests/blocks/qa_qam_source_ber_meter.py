# SPDX-License-Identifier: GPL-3.0-or-later
"""Source and meter know the same bits, and the meter counts what it should."""

import numpy as np
import pmt
import pytest
from gnuradio import blocks, gr

import gr_kaq
from gr_kaq.signals.constellation import CONSTELLATIONS
from gr_kaq.signals.known_symbols import KnownSymbols
from tests.blocks.flowgraphs import Flowgraph, run, run_to_end

S, TX, SEED = 3, 2, 11


def sent(count, constellation="16qam", seed=SEED):
    """Symbols (items, subcarriers, num_tx), bits (items, subcarriers * bits_per_symbol, num_tx)."""
    known = KnownSymbols(TX, S, CONSTELLATIONS[constellation], seed)
    indices = known.draw(count)
    symbols = CONSTELLATIONS[constellation].points[indices]
    return symbols.swapaxes(1, 2).copy(), known.bits(indices).swapaxes(1, 2).copy()


def meter(constellation="16qam", **arguments):
    return gr_kaq.ber_meter(TX, S, constellation, SEED, **arguments)


def collect(source, ports):
    tb = gr.top_block()
    sinks = [blocks.vector_sink_c(S) for _ in range(ports)]
    for port, sink in enumerate(sinks):
        tb.connect((source, port), sink)
    run_to_end(tb)
    return np.stack([np.array(sink.data()).reshape(-1, S) for sink in sinks], axis=-1)


@pytest.mark.parametrize("constellation", CONSTELLATIONS)
def test_source(constellation):
    """Ends by itself after num_items; reproducible; unit power; TS 38.211 points."""
    symbols = collect(gr_kaq.qam_source(TX, S, constellation, SEED, num_items=5000), TX)
    np.testing.assert_array_equal(symbols, sent(5000, constellation)[0])
    assert np.mean(np.abs(symbols) ** 2) == pytest.approx(1, rel=0.02)
    other = collect(gr_kaq.qam_source(TX, S, constellation, SEED + 1, num_items=100), TX)
    assert (other != symbols[:100]).mean() > 0.5


def test_the_source_does_not_depend_on_the_scheduler():
    source = gr_kaq.qam_source(TX, S, seed=SEED, num_items=100)
    source.set_max_noutput_items(7)
    np.testing.assert_array_equal(collect(source, TX), sent(100)[0])


@pytest.mark.parametrize("constellation", CONSTELLATIONS)
@pytest.mark.parametrize("chunk", [None, 7])
def test_errors_are_counted_per_stream(constellation, chunk):
    """For symbols and for LLRs, the same errors: as many as were made."""
    _, bits = sent(100, constellation)
    width = CONSTELLATIONS[constellation].bits_per_symbol
    flipped = bits.copy()
    flipped[10, 0, 0] ^= 1
    flipped[20, -1, 1] ^= 1
    flipped[99, :2, 1] ^= 1
    mapped = CONSTELLATIONS[constellation].modulate(flipped.swapaxes(1, 2)).swapaxes(1, 2)
    hard = meter(constellation)
    run(hard, mapped, chunk=chunk)
    soft = gr_kaq.ber_meter(TX, S, constellation, SEED, input="llrs")
    run_float(soft, np.where(flipped == 1, 0.5, -3.0))
    for block in (hard, soft):
        assert block.per_stream_errors() == [1, 3] and block.bit_errors() == 4
        assert block.bits() == 100 * S * TX * width and block.skipped_items() == 0
        assert block.ber() == 4 / block.bits()
        low, high = block.confidence_interval()
        assert low < block.ber() < high


def run_float(block, values):
    """Send float values (items, width, ports) into a block without outputs."""
    tb = gr.top_block()
    for port in range(values.shape[2]):
        source = blocks.vector_source_f(values[:, :, port].ravel().tolist(), False, values.shape[1])
        tb.connect(source, (block, port))
    run_to_end(tb)


def test_items_without_a_value_are_skipped():
    """Zeros on all streams say 'nothing known'. Zeros on one stream, or one subcarrier, are a wrong value."""
    symbols, _ = sent(50)
    symbols[5:9] = 0
    symbols[20, :, 0] = 0
    block = meter()
    run(block, symbols)
    assert block.skipped_items() == 4 and block.bits() == 46 * S * TX * 4
    assert block.per_stream_errors()[1] == 0
    block = meter(skip_items=7)
    run(block, symbols)
    assert block.skipped_items() == 2 and block.bits() == 41 * S * TX * 4


def test_values_that_are_not_finite():
    symbols, _ = sent(50)
    symbols[5] = np.nan
    symbols[6] = np.inf
    block = meter()
    run(block, symbols)
    assert block.bits() == 50 * S * TX * 4 and block.internal_errors() == 0
    assert 0 < block.bit_errors() < 2 * S * TX * 4


def test_nothing_counted_yet():
    block = meter()
    assert np.isnan(block.ber()) and block.confidence_interval() == (0.0, 1.0)


def test_reset_keeps_the_place_in_the_stream():
    symbols, _ = sent(60)
    block = meter()
    broken = symbols.copy()
    broken[:20] *= -1
    with Flowgraph(block, broken) as flowgraph:
        flowgraph.source.limit = 20
        flowgraph.wait_until(lambda: block.bits() == 20 * S * TX * 4)
        assert block.bit_errors() > 0
        block.reset()
        assert block.bits() == block.bit_errors() == 0
    assert block.bits() == 40 * S * TX * 4 and block.bit_errors() == 0


def test_a_new_condition_restarts_the_count():
    """What GRC calls when the SNR slider moves: rates at two SNRs do not mix, and the same value again is no change."""
    symbols, _ = sent(60)
    block = meter(condition=20.0)
    with Flowgraph(block, symbols) as flowgraph:
        flowgraph.source.limit = 20
        flowgraph.wait_until(lambda: block.bits() == 20 * S * TX * 4)
        block.set_condition(20.0)
        assert block.bits() == 20 * S * TX * 4
        block.set_condition(21.0)
        assert block.bits() == 0
    assert block.bits() == 40 * S * TX * 4


def test_target_errors_end_the_flowgraph():
    """Also one with an endless source and a second branch, which is how a BER curve is measured."""
    tb = gr.top_block()
    source = gr_kaq.qam_source(TX, S, seed=SEED)
    first, second = meter(target_errors=1000), gr_kaq.ber_meter(TX, S, seed=SEED + 1)
    noise = gr_kaq.channel_simulator(TX, TX, S, snr_db=0)
    for port in range(TX):
        tb.connect((source, port), (noise, port))
        tb.connect((noise, port), (first, port))
        tb.connect((noise, port), (second, port))
    run_to_end(tb)
    assert first.bit_errors() >= 1000
    with pytest.raises(ValueError, match="target_errors"):
        first.set_target_errors(-1)


def test_results_are_published():
    block = meter(publish_interval_s=1e-9)
    store = blocks.message_debug()
    flowgraph = Flowgraph(block, sent(40)[0])
    flowgraph.tb.msg_connect(block, "ber", store, "store")
    with flowgraph:
        flowgraph.source.limit = 20
        flowgraph.wait_until(lambda: store.num_messages() and block.bits() == 20 * S * TX * 4)
    published = pmt.to_python(store.get_message(0))
    assert published["bit_errors"] == 0 and published["bits"] > 0 and published["ber"] == 0.0
    assert list(published["per_stream_errors"]) == [0, 0] and len(published["confidence_interval"]) == 2
    assert published.keys() == block.result().keys()


def test_a_flowgraph_that_starts_again_begins_anew():
    """Items in the buffers are lost then: only from the start do source and meter agree."""
    tb = gr.top_block()
    source, head, block = gr_kaq.qam_source(TX, S, seed=SEED), [], meter(target_errors=1)
    for port in range(TX):
        head.append(blocks.head(8 * S, 50))
        tb.connect((source, port), head[port], (block, port))
    for runs in (1, 2):
        run_to_end(tb)
        assert block.bits() == runs * 50 * S * TX * 4 and block.bit_errors() == 0
        for counter in head:
            counter.reset()


@pytest.mark.parametrize(
    "make, arguments, message",
    [
        (gr_kaq.qam_source, {"num_tx": 0}, "num_tx"),
        (gr_kaq.qam_source, {"num_subcarriers": 1.5}, "num_subcarriers"),
        (gr_kaq.qam_source, {"constellation": "bpsk"}, "bpsk"),
        (gr_kaq.qam_source, {"seed": -1}, "seed"),
        (gr_kaq.qam_source, {"num_items": -1}, "num_items"),
        (gr_kaq.ber_meter, {"num_tx": 10**6}, "num_tx"),
        (gr_kaq.ber_meter, {"num_subcarriers": 0}, "num_subcarriers"),
        (gr_kaq.ber_meter, {"constellation": "bpsk"}, "bpsk"),
        (gr_kaq.ber_meter, {"seed": None}, "seed"),
        (gr_kaq.ber_meter, {"input": "bits"}, "bits"),
        (gr_kaq.ber_meter, {"skip_items": -1}, "skip_items"),
        (gr_kaq.ber_meter, {"target_errors": -1}, "target_errors"),
        (gr_kaq.ber_meter, {"publish_interval_s": -1}, "publish_interval_s"),
    ],
)
def test_wrong_arguments(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**({"num_tx": 2} | arguments))


@pytest.mark.parametrize("input", ["symbols", "llrs"])
def test_one_port_for_all_carries_the_same(input):
    """Source, channel, detector and meter with a port for all antennas and streams: the same bits as with one each."""
    counted = []
    for vector_ports in (False, True):
        tb, size = gr.top_block(), {"num_subcarriers": S, "constellation": "16qam", "vector_ports": vector_ports}
        source = gr_kaq.qam_source(TX, seed=SEED, num_items=300, **size)
        channel = gr_kaq.channel_simulator(TX, 3, S, snr_db=12, seed=1, vector_ports=vector_ports)
        detector = gr_kaq.detector("lmmse", 3, TX, output_llrs=True, **size)
        meter = gr_kaq.ber_meter(TX, seed=SEED, input=input, **size)
        streams, antennas = (1, 1) if vector_ports else (TX, 3)
        first = streams if input == "llrs" else 0
        for stream in range(streams):
            tb.connect((source, stream), (channel, stream))
            tb.connect((detector, first + stream), (meter, stream))
            other = (detector, streams + stream if input == "symbols" else stream)
            tb.connect(other, blocks.null_sink(detector.output_signature().sizeof_stream_item(other[1])))
        for antenna in range(antennas):
            tb.connect((channel, antenna), (detector, antenna))
        run_to_end(tb)
        counted.append((meter.bits(), meter.per_stream_errors()))
    assert counted[0] == counted[1] and sum(counted[0][1]) > 100
