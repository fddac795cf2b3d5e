# SPDX-License-Identifier: GPL-3.0-or-later
"""What a transmitter sends and a channel makes of it, as arrays."""

from __future__ import annotations

import numpy as np

from gr_kaq import FrameFormat
from gr_kaq.channels.radio_channel import RadioChannel
from gr_kaq.frames.payload import PayloadCoder

GAP = 256


def bursts(frame: FrameFormat, payloads):
    """Samples (num_tx, n) of a frame for each payload, a gap behind each."""
    coder = PayloadCoder(frame)
    samples = [frame.modulate(frame.map_bits(coder.encode(payload))) for payload in payloads]
    return np.concatenate([np.pad(burst, ((0, 0), (0, GAP))) for burst in samples], axis=1)


def fade(frame: FrameFormat, samples, num_rx, **parameters):
    """The samples behind a fading channel: 2 Msample/s, TDL-A, 20 ppm, 5 kHz, 30 dB."""
    channel = RadioChannel(
        num_rx,
        frame.num_tx,
        **{
            "sample_rate": 2e6,
            "profile": "tdl-a",
            "delay_spread": 1e-7,
            "doppler": 50,
            "snr_db": 30,
            "carrier_offset": 5e3,
            "clock_offset_ppm": 20,
        }
        | parameters,
    )
    behind = np.zeros((frame.num_tx, channel.latency + frame.frame_length))
    return channel.process(np.concatenate([samples, behind], axis=1))
