# SPDX-License-Identifier: GPL-3.0-or-later
"""Radios as one replaceable block: whatever they are, num_rx complex streams come out, or num_tx go in.

Of a source, all antennas start at the same sample. One file per radio; `radio_source` makes the one that a command line
names.
"""

from .options import add_radio_arguments, positive_number, radio_source, sample_count
from .radio_block import RadioError
from .recording import recording_sink, recording_source
from .run import run
from .soapy import soapy_source
from .usrp import REFERENCES, usrp_sink, usrp_source
from .zmq import zmq_sink, zmq_source

__all__ = [
    "REFERENCES",
    "RadioError",
    "add_radio_arguments",
    "positive_number",
    "radio_source",
    "recording_sink",
    "recording_source",
    "run",
    "sample_count",
    "soapy_source",
    "usrp_sink",
    "usrp_source",
    "zmq_sink",
    "zmq_source",
]
