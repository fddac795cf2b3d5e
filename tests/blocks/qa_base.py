# SPDX-License-Identifier: GPL-3.0-or-later
"""What `KaqGeneralBlock` promises to blocks whose inputs and outputs differ in rate."""

import numpy as np
import pytest

from gr_kaq.blocks.base import KaqGeneralBlock, ports
from tests.blocks.flowgraphs import Flowgraph, run

IN, OUT = 14, 11


class DropThree(KaqGeneralBlock):
    """Of every 14 items the last 11. Raises as often as it is told to."""

    def __init__(self, failures=0):
        super().__init__("drop three", ports(np.complex64, 4, 2), ports(np.complex64, 4, 2))
        self.set_output_multiple(OUT)
        self.failures = failures

    def forecast(self, noutput_items, ninputs):
        return [noutput_items // OUT * IN] * ninputs

    def process(self, input_items, output_items):
        if self.failures:
            self.failures -= 1
            raise RuntimeError("as told")
        count = min(len(input_items[0]) // IN, len(output_items[0]) // OUT)
        for received, given in zip(input_items, output_items, strict=True):
            given[: count * OUT] = received[: count * IN].reshape(count, IN, 4)[:, IN - OUT :].reshape(-1, 4)
        return count * IN, count * OUT


@pytest.mark.parametrize("chunk", [None, 1, 13, 50])
@pytest.mark.parametrize("frames", [1, 2, 57])
def test_no_tail_is_lost(frames, chunk):
    """What comes in whole frames goes out in whole frames, up to the end of the stream."""
    data = np.arange(frames * IN * 4 * 2).reshape(-1, 4, 2)
    flowgraph = run(DropThree(), data, chunk=chunk)
    expected = data.reshape(frames, IN, 4, 2)[:, IN - OUT :].reshape(-1, 4, 2)
    np.testing.assert_array_equal(flowgraph.output(), expected)


def test_an_exception_costs_what_was_there_to_read():
    """It is counted, and the block goes on."""
    data = np.arange(20 * IN * 4 * 2).reshape(-1, 4, 2)
    block = DropThree(failures=2)
    flowgraph = Flowgraph(block, data)
    with flowgraph:
        for failed in (1, 2):
            flowgraph.source.limit += IN
            flowgraph.wait_until(lambda failed=failed: block.internal_errors() == failed)
    np.testing.assert_array_equal(flowgraph.output(), data.reshape(20, IN, 4, 2)[2:, IN - OUT :].reshape(-1, 4, 2))
