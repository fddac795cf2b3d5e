#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Receive from a recording of several antennas in SigMF.

    recording_receiver.py --args NAME.sigmf-meta --antennas 2 received.bin

recording_receiver.grc is the same flowgraph for GNU Radio Companion.
"""

import sys

from receiver_script import main

if __name__ == "__main__":
    sys.exit(main("recording", __doc__))
