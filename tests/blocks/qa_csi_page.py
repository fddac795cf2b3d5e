# SPDX-License-Identifier: GPL-3.0-or-later
"""The block that docs/guide/csi-contract.md prints feeds the detector."""

import numpy as np
import pytest

gr = pytest.importorskip("gnuradio.gr")
from gnuradio import blocks

import gr_kaq
from tests.pages import programs


def test_the_block_of_the_page_feeds_the_detector():
    """Through channels that it knows: what comes out is what was sent."""
    (program,) = programs("docs/guide/csi-contract.md")
    names = {}
    exec(program, names)
    rng = np.random.default_rng(1)
    h = rng.standard_normal((3, 8, 2, 2)) + 1j * rng.standard_normal((3, 8, 2, 2))
    x = rng.choice(gr_kaq.CONSTELLATIONS["qpsk"].points, (40, 8, 2))
    y = np.einsum("iktr,ikr->ikt", h[np.arange(40) // 14], x).astype(np.complex64)
    top = gr.top_block()
    detector = gr_kaq.detector("lmmse", 2, 2, 8, "qpsk")
    estimates = names["own_estimates"](8, lambda item: (h[item // 14], 1e-6))
    sources = [blocks.vector_source_c(y[..., antenna].ravel().tolist(), False, 8) for antenna in range(2)]
    sinks = [blocks.vector_sink_c(8) for _ in range(2)]
    top.connect(sources[0], estimates, (detector, 0))
    top.connect(sources[1], (detector, 1))
    for stream, sink in enumerate(sinks):
        top.connect((detector, stream), sink)
    top.run()
    found = np.stack([np.reshape(sink.data(), (-1, 8)) for sink in sinks], axis=-1)
    np.testing.assert_allclose(found, x, atol=0.05)
