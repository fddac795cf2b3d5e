#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Receive with a radio that SoapySDR has a driver for: PlutoSDR, LimeSDR, bladeRF and others.

    soapy_mimo_receiver.py --args driver=plutosdr --freq 2.45e9 --rate 2e6 --gain 30 --antennas 2 received.bin

soapy_mimo_receiver.grc is the same flowgraph for GNU Radio Companion.
docs/guide/hardware.md says how to set the radio up.
"""

import sys

from receiver_script import main

if __name__ == "__main__":
    sys.exit(main("soapy", __doc__))
