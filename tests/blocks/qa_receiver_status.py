# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said when a receiver receives nothing: by transmitters that differ from it in one thing each."""

from __future__ import annotations

import time

import pmt
import pytest
from gnuradio import blocks, gr

import gr_kaq
from gr_kaq.blocks.base import python_to_pmt
from tests.blocks.flowgraphs import TIMEOUT_S


class Link:
    """A transmitter, a fading channel, and a receiver with its status; `said` has what it prints."""

    def __init__(self, tmp_path, transmitter, snr_db=25.0):
        path = tmp_path / "file"
        path.write_bytes(bytes(3000))
        link = {"num_tx": 2, "fft_size": 64, "constellation": "16qam"} | transmitter
        self.tb = gr.top_block()
        source = gr_kaq.pdu_file_source(path, **link)
        frames = gr_kaq.frame_transmitter(**link, gap_length=256, idle="zeros")
        channel = gr_kaq.channel_simulator(link["num_tx"], 2, channel="tdl-a", snr_db=snr_db, carrier_offset=5e3)
        self.receiver = gr_kaq.mimo_receiver(2, 2)
        self.status = gr_kaq.receiver_status(2, interval_s=0.2)
        self.tb.msg_connect(frames, "ready", source, "ready")
        self.tb.msg_connect(source, "pdus", frames, "pdus")
        self.tb.msg_connect(self.receiver, "stats", self.status, "stats")
        for stream in range(link["num_tx"]):
            self.tb.connect((frames, stream), (channel, stream))
        for port in range(2):
            self.tb.connect((channel, port), (self.receiver, port))
            size = self.receiver.output_signature().sizeof_stream_item(port)
            self.tb.connect((self.receiver, port), blocks.null_sink(size))

    def said(self, capfd, *wanted):
        """All that is printed until `wanted` is in it."""
        deadline, text = time.monotonic() + TIMEOUT_S, ""
        self.tb.start()
        try:
            while not all(part in text for part in wanted):
                assert time.monotonic() < deadline, text
                time.sleep(0.1)
                text += capfd.readouterr().out
        finally:
            self.tb.stop()
            self.tb.wait()
        return text


@pytest.mark.parametrize(
    ("transmitter", "hint"),
    [
        ({"num_tx": 1}, "do not fit 2 streams"),
        ({"num_tx": 4}, "no frame in them"),
        ({"constellation": "64qam"}, "is 16qam the transmitter's constellation"),
        ({"fft_size": 256}, "no frame in them"),
    ],
)
def test_what_differs_is_named_once(tmp_path, capfd, transmitter, hint):
    text = Link(tmp_path, transmitter).said(capfd, hint)
    assert text.count(hint) == 1


def test_too_little_snr(tmp_path, capfd):
    Link(tmp_path, {}, snr_db=0.0).said(capfd, "is too low for 16qam")


def test_a_fade_is_no_lack_of_snr():
    """Frames were wrong at an SNR at which some would be right: that says more than those that came in a fade."""
    status = gr_kaq.receiver_status(2)
    said = []
    for seconds, snr_db in enumerate((24.0, 8.0, 9.0)):
        for message in ({"interfered_frames": 0, "snr_db": snr_db}, {"block_errors": 50, "frames": 50}):
            status.handle_stats(python_to_pmt(message))
        said += status.status(4.0 + seconds)
    assert sum("is 16qam the transmitter's constellation" in line for line in said) == 1
    assert not any("too low" in line for line in said)


def test_nothing_is_wrong(tmp_path, capfd):
    text = Link(tmp_path, {}).said(capfd, "5 s: ")
    assert "SNR 2" in text and "wrong" not in text and "no " not in text


def test_no_samples(capfd):
    """And messages that are none of a receiver."""
    status = gr_kaq.receiver_status(2, interval_s=0.2)
    silent = gr.basic_block("silent", [], [])
    silent.message_port_register_out(pmt.intern("stats"))
    tb = gr.top_block()
    tb.msg_connect(silent, "stats", status, "stats")
    tb.start()
    others = ({"overlapping": 3}, {"block_errors": "many"}, {"block_errors": float("nan"), "frames": float("inf")})
    for message in (pmt.PMT_T, *map(python_to_pmt, others)):
        status._post(pmt.intern("stats"), message)
    time.sleep(3.6)
    tb.stop()
    tb.wait()
    assert capfd.readouterr().out.count("no samples: does the transmitter run") == 1
    assert status.rejected_messages() == 1 and status.internal_errors() == 0


@pytest.mark.parametrize("interval_s", [0, -1, float("nan"), 1e9])
def test_bad_intervals(interval_s):
    with pytest.raises(ValueError, match="interval_s"):
        gr_kaq.receiver_status(2, interval_s=interval_s)
