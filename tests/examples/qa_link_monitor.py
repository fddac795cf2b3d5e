# SPDX-License-Identifier: GPL-3.0-or-later
"""The live view of a link that adapts: GRC compiles it, numbers appear, and the MCS follows the SNR while it runs."""

from __future__ import annotations

from tests.examples.live_view import use_view

USE = r"""
view.set_display_rate(1e6)
view.show()
start()
labels = [getattr(view, f"_{name}_label_label") for name in ("mcs", "error", "snr", "goodput", "delay")]
until(lambda: all(re.search("[1-9]", label.text()) for label in labels))
until(lambda: all(view.kaq_arq_sender_0.delay()[one] > 0 for one in (0, 3)))
texts = [label.text() for label in labels]
view.set_snr_db(40.0)
until(lambda: view.kaq_link_adapter_0.mcs() >= 8)
view.set_snr_db(3.0)
until(lambda: view.kaq_link_adapter_0.mcs() <= 3)
blocks = (view.kaq_link_adapter_0, view.kaq_link_decoder_0, view.kaq_arq_sender_0, view.kaq_arq_receiver_0)
errors = sum(block.internal_errors() for block in blocks)
stop()
print(json.dumps([texts, errors]))
"""


def test_numbers_appear_and_follow_the_snr(tmp_path):
    (mcs, errors, snrs, goodput, delay), internal_errors = use_view("link_monitor", USE, tmp_path, patience_s=60)
    assert "qam" in mcs or "qpsk" in mcs
    assert "offset" in errors and snrs.endswith("dB") and goodput.endswith("kbit/s")
    assert "ms urgent" in delay and "ms bulk" in delay
    assert internal_errors == 0
