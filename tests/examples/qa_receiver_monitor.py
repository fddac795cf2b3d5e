# SPDX-License-Identifier: GPL-3.0-or-later
"""The live view: GRC compiles it, frames arrive, numbers appear, and its controls work while it runs."""

from __future__ import annotations

import re

import pytest

from tests.examples.live_view import use_view

USE = r"""
receiver = view.kaq_mimo_receiver_0
seen = []

def state():
    return f"stuck after {seen}"

def frames():
    return receiver.decoder.frames()

def choose(box, name):  # as a user does
    before = frames()
    box.setCurrentIndex(box.findText(name))
    until(lambda: frames() >= before + 5)
    seen.append((receiver.detector.model_name(), receiver.estimator.method()))

def shown_snr():  # of the last frame: of one that the change of offset cuts in two, it may be negative
    return float(re.search(r"(-?[\d.]+) dB", labels[0].text())[1])

view.set_display_rate(1e6)
view.show()
start()
tracks = [view._track_offset_label_label, view._track_doppler_label_label, view._track_memory_label_label,
          view._track_delay_label_label]
until(lambda: "<b>8</b>" in tracks[2].text())
tracked = [label.text() for label in tracks]
for detector in ("lmmse", "auto-fast"):
    choose(view._detector_combo_box, detector)
choose(view._estimator_combo_box, "ls")
until(lambda: "8" not in tracks[2].text())

view.set_snr_db(40.0)
view.set_carrier_offset(-20000.0)
before = frames()
until(lambda: frames() >= before + 20)
high = receiver.block_error_rate()
labels = [
    view._frames_label_label, view._block_error_label_label, view._detection_label_label, view._interference_label_label
]
until(lambda: all(any(c.isdigit() for c in label.text()) for label in labels[:3]) and shown_snr() > 25)  # was 22 dB
texts = [label.text() for label in labels]
view.set_interference_db(0.0)
until(lambda: "carriers" in labels[3].text())
texts.append(labels[3].text())
view.set_interference_db(-40.0)
until(lambda: labels[3].text() == "none")

view.set_snr_db(0.0)
time.sleep(0.3)
view.kaq_mimo_receiver_0.set_condition("0 dB, and nothing else in the buffers")
until(lambda: receiver.block_error_rate() == receiver.block_error_rate() and receiver.block_error_rate() > 0.5)
stop()
print(json.dumps([seen, high, texts, receiver.stats(), tracked]))
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return use_view("receiver_monitor", USE, tmp_path_factory.mktemp("receiver_monitor"), patience_s=300)


def test_choosers_swap_detector_and_estimator_while_it_runs(result):
    seen = [tuple(entry) for entry in result[0]]
    assert seen == [("lmmse", "lmmse-memory"), ("auto-fast", "lmmse-memory"), ("auto-fast", "ls")]


def test_block_errors_follow_the_snr(result):
    """At 40 dB next to none; that there are many at 0 dB, the script waits for. The offset moved at the same time."""
    assert result[1] < 0.2


def test_numbers_appear(result):
    frames, block_error_rate, detection, without, interference = result[2]
    assert re.fullmatch(r"<b>\d+</b>, estimated SNR: <b>[\d.]+ dB</b>", frames)
    assert re.fullmatch(r"<b>[\d.]+%</b>", block_error_rate)
    assert re.fullmatch(r"<b>[\d.]+ µs</b> per vector, by <b>auto-fast</b>", detection)
    assert without == "none"
    first, last = re.fullmatch(r"carriers <b>(-?\d+) to (-?\d+)</b>, <b>-?[\d.]+ dB</b>", interference).groups()
    assert int(first) <= 8 and int(last) >= 11


def test_the_track_is_shown(result):
    """The simulated offset is 5 kHz, the Doppler 10 Hz and the delay spread 100 ns or so."""
    offset, dopplers, memory, delay_spread = result[4]
    assert abs(int(re.fullmatch(r"<b>([+-]\d+) Hz</b>", offset)[1]) - 5000) < 200
    assert all(0 <= int(each) < 100 for each in re.fullmatch(r"<b>(\d+), (\d+) Hz</b>", dopplers).groups())
    assert re.fullmatch(r"<b>8</b> frames, lost <b>\d+</b> times", memory)
    assert 10 < int(re.fullmatch(r"<b>(\d+) ns</b>, by <b>lmmse-memory</b>", delay_spread)[1]) < 1000


def test_nothing_went_wrong_inside(result):
    for part in result[3].values():
        assert part["internal_errors"] == 0
        assert part.get("rejected_messages", 0) == 0
