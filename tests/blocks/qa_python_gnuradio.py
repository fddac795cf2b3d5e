# SPDX-License-Identifier: GPL-3.0-or-later
"""Blocks without `_gnuradio`, as from a wheel: the same through GNU Radio's own Python."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pmt
import pytest

from gr_kaq.blocks import _gnuradio, python_gnuradio
from tests.blocks.qa_csi_pmt import MALFORMED

VALUES = [
    None,
    pmt.from_long(-3),
    pmt.from_uint64(1 << 63),
    pmt.from_double(0.5),
    pmt.init_c32vector(3, [1, 2j, 3]),
    pmt.make_c32vector(0, 0),
    pmt.to_pmt((1, 2, 3)),
]

FLOWGRAPH = """
import sys
if {hidden}:
    sys.modules["gr_kaq.blocks._gnuradio"] = None
import hashlib, gr_kaq, numpy as np, pmt
from gnuradio import blocks, gr
tb = gr.top_block()
source = gr_kaq.qam_source(2, 4, constellation="16qam", num_items=500)
channel = gr_kaq.channel_simulator(num_rx=3, num_tx=2, num_subcarriers=4, snr_db=20.0)
detector = gr_kaq.detector("admm5-16qam", 3, 2, 4)
sinks = [blocks.vector_sink_c(4) for _ in range(2)]
for stream in range(2):
    tb.connect((source, stream), (channel, stream))
    tb.connect((detector, stream), sinks[stream])
for antenna in range(3):
    tb.connect((channel, antenna), (detector, antenna))
tb.run()
assert detector.items() == 500 and detector.csi_updates() and not detector.internal_errors()
data = np.array([sink.data() for sink in sinks])
assert np.abs(data).mean() > 0.5
print(hashlib.sha256(data.tobytes()).hexdigest(), gr_kaq.blocks.access._gnuradio.__name__.rsplit(".")[-1])
"""


@pytest.mark.parametrize("value", VALUES)
def test_plain(value):
    np.testing.assert_equal(python_gnuradio.plain(value), _gnuradio.plain(value))


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed(name):
    """Whatever one refuses, so does the other; and neither crashes."""
    names = ("h", "shape", "noise_var", "snr", "seq", "noise_cov")

    def tried(module):
        try:
            return {key: type(entry) for key, entry in module.plain_entries(MALFORMED[name], names).items()}
        except ValueError as error:
            return str(error)

    assert tried(python_gnuradio) == tried(_gnuradio)


def test_a_flowgraph_gives_the_same_symbols():
    def run(hidden):
        program = FLOWGRAPH.format(hidden=hidden)
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.split()[-2:]

    compiled, python = run(False), run(True)
    assert (compiled[1], python[1]) == ("_gnuradio", "python_gnuradio")
    assert python[0] == compiled[0]
