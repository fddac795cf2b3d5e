#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Receive with USRPs: one with several channels, or several that share 10 MHz and PPS.

    usrp_mimo_receiver.py --args addr=192.168.10.2 --freq 2.45e9 --rate 2e6 --gain 30 --antennas 2 received.bin
    usrp_mimo_receiver.py --args addr0=192.168.10.2,addr1=192.168.20.2 --reference external ...

usrp_mimo_receiver.grc is the same flowgraph for GNU Radio Companion.
docs/guide/hardware.md says how to set the radios up.
"""

import sys

from receiver_script import main

if __name__ == "__main__":
    sys.exit(main("usrp", __doc__))
