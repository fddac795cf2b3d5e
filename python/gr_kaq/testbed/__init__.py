# SPDX-License-Identifier: GPL-3.0-or-later
"""Feed a GNU Radio flowgraph from a program without GNU Radio, and take its results back, over ZMQ.

    with Producer(num_rx=4, num_tx=4) as producer, Consumer(num_streams=4) as consumer:
        producer.send(y, h=h, noise_var=0.01)       # -> zeromq.pull_source(..., pass_tags=True)
        symbols = consumer.receive().items          # <- zeromq.push_sink(..., pass_tags=True)

Samples of all antennas travel through one socket, since sockets are not aligned with each other. An item is one
channel use of one OFDM symbol: (num_rx, num_subcarriers) in C order, as a `gr_kaq.detector` with vector_ports takes it.
`blocks.vector_to_streams` cuts it into one vector of num_subcarriers per antenna. docs/guide/zmq-testbed.md has the
wire format and both flowgraphs.

`python -m gr_kaq.testbed produce` and `... consume` are a simulated testbed: see their `--help`.
"""

from .consumer import CONSUMER_ADDRESS, Consumer, Received
from .producer import PRODUCER_ADDRESS, Producer
from .zmq_frames import FrameError, Tag, Uint64

__all__ = ["CONSUMER_ADDRESS", "PRODUCER_ADDRESS", "Consumer", "FrameError", "Producer", "Received", "Tag", "Uint64"]
