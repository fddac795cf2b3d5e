# SPDX-License-Identifier: GPL-3.0-or-later
"""What a second radio sends: the interference of the same parameters, swept while it runs."""

import numpy as np
import pmt
import pytest
from gnuradio import blocks, gr

import gr_kaq
from gr_kaq.blocks.base import python_to_pmt
from gr_kaq.channels.interference import Interference, Interferer
from tests.blocks.flowgraphs import run_to_end, wait_until

RATE, BAND = 1e6, (1e5, 2e5)


def run(block, count):
    tb, sink = gr.top_block(), blocks.vector_sink_c()
    tb.connect(block, blocks.head(gr.sizeof_gr_complex, count), sink)
    run_to_end(tb)
    return np.array(sink.data())


@pytest.mark.parametrize("arguments", [{}, {"kind": "tone"}, {"period": 1e-3, "duty": 0.5}])
def test_samples(arguments):
    block = gr_kaq.band_noise_source(RATE, BAND, -20.0, seed=3, **arguments)
    expected = Interference(Interferer(BAND, -20.0, direction=0.0, **arguments), 1, RATE, 3).draw(20000)[0]
    np.testing.assert_allclose(run(block, 20000), expected, atol=1e-6)


def test_swept_while_it_runs():
    block = gr_kaq.band_noise_source(RATE, BAND)
    tb, sink = gr.top_block(), blocks.probe_signal_c()
    tb.connect(block, blocks.throttle(gr.sizeof_gr_complex, 1e5), sink)
    tb.start()
    try:
        for count, wrong in enumerate(({"band": [0.0, 1e9]}, {"power_db": np.nan}, {"direction": 3.0}, {}), 1):
            block._post(pmt.intern("interference"), python_to_pmt(wrong))
            wait_until(lambda count=count: block.rejected_messages() == count)
        block._post(pmt.intern("interference"), python_to_pmt({"power_db": 60.0, "kind": "tone"}))
        wait_until(lambda: abs(abs(sink.level()) - 1000) < 1)
        block.set_power_db(0.0)
        block.set_band((0.0, 1e5))
        wait_until(lambda: abs(abs(sink.level()) - 1) < 0.01)
    finally:
        tb.stop()
        tb.wait()
    with pytest.raises(ValueError, match="band"):
        block.set_band((0.0, 0.0))
    assert block.internal_errors() == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"sample_rate": 0.0}, "sample_rate"),
        ({"sample_rate": np.nan}, "sample_rate"),
        ({"band": (0.0, 1e6)}, "band"),
        ({"band": (1e5, 1e5)}, "band"),
        ({"power_db": np.nan}, "power_db"),
        ({"kind": "x"}, "kind"),
        ({"seed": -1}, "seed"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        gr_kaq.band_noise_source(**({"sample_rate": RATE, "band": BAND} | arguments))
