# SPDX-License-Identifier: GPL-3.0-or-later
"""The live view of a beam search: GRC compiles it, the beam is found, the map shows what was probed, and is painted."""

from __future__ import annotations

import pytest

from tests.examples.live_view import use_view

USE = r"""
import numpy as np
search, heat = view.kaq_beam_search_0, view.kaq_beam_view_0

def state():
    return search.stats()

def pixel(first, second):  # of the middle of a cell
    image = heat.widget().grab().toImage()
    cell = min(image.width() - 68, image.height() - 68) / 16
    return image.pixelColor(int(34 + cell * (first + 0.5)), int(34 + cell * (15.5 - second))).getRgb()[:3]

view.resize(700, 820)
view.show()
grey = pixel(8, 3)
start()
until(lambda: not search.searching() and search.pilots() > 30)
found = search.first(), search.second()
until(lambda: "following" in view._search_label_label.text() and any(map(str.isdigit, view._frames_label_label.text())))
shown = heat.snr_db.copy()
best = [int(index) for index in np.unravel_index(np.argmax(shown), shown.shape)]
painted = [grey, pixel(8, 3), pixel(*best)]
stop()
texts = [view._search_label_label.text(), view._frames_label_label.text()]
print(json.dumps([found, best, float(shown.max()), painted, texts, heat.stats(), search.stats()]))
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return use_view("beam_monitor", USE, tmp_path_factory.mktemp("beam_monitor"), patience_s=90)


def test_the_beam_is_found_where_the_map_is_brightest(result):
    found, best, snr_db = result[:3]
    apart = [(found[axis] - best[axis] + 8) % 16 - 8 for axis in range(2)]
    assert max(map(abs, apart)) <= 1 and 10 < snr_db < 25
    assert 2 <= found[0] <= 6 and 11 <= found[1] <= 15  # 23 and -31 degrees: 3.1 and 11.9, and on its way


def test_what_was_never_probed_is_grey_and_the_best_beam_bright(result):
    never, weak, best = result[3]
    assert never == [209, 209, 209]
    assert sum(weak) < 120 and sum(best) > 400


def test_labels_count_and_nothing_went_wrong(result):
    texts, view, search = result[4:]
    assert "following" in texts[0] and "decoded" in texts[1]
    assert view["internal_errors"] == view["rejected_messages"] == 0
    assert search["internal_errors"] == search["invalid_frames"] == 0
