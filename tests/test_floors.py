# SPDX-License-Identifier: GPL-3.0-or-later
"""lib's rooms know what is below them only, and neither Python nor GNU Radio: by their #include lines.

The floors of the Python packages are import-linter's (`make lint`).
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

LIB = Path(__file__).parents[1] / "lib"
MAY_INCLUDE = {
    "support": {"support"},
    "detection": {"support", "detection"},
    "frames": {"support", "frames"},
    "tests": {"support", "tests"},  # and the room that is tested
}
# Above lib, or known to its tests only
FOREIGN = re.compile(r"pybind11/|python|Python\.h|numpy/|gnuradio/|pmt/")
TESTING = re.compile(r"boost/")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)

SOURCES = sorted(path.relative_to(LIB) for path in LIB.rglob("*") if path.suffix in (".cc", ".h"))


def broken(path, text):
    """What the file at this path in lib must not include."""
    room, *below = path.parts
    allowed = MAY_INCLUDE[room]
    if room == "tests" and len(below) > 1:
        allowed = allowed | {below[0]}
    wrong = []
    for bracket, target in INCLUDE.findall(text):
        if FOREIGN.match(target) or (room != "tests" and TESTING.match(target)):
            wrong.append(target)
        elif bracket == '"':
            parts = Path(target).parts
            of_another_test = room == "tests" and parts[0] == "tests" and len(parts) > 2 and parts[1] != below[0]
            if parts[0] not in allowed or of_another_test or not (LIB / target).is_file():
                wrong.append(target)
    return wrong


def test_every_room_has_a_floor():
    assert {path.parts[0] for path in SOURCES} == set(MAY_INCLUDE)


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_includes_do_not_go_up(path):
    assert not broken(path, (LIB / path).read_text())


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("support/views.h", '#include "frames/frame_search.h"'),
        ("support/views.h", '#include "detection/plan.h"'),
        ("frames/frame_search.cc", '  #  include "detection/plan.h"'),
        ("detection/plan.cc", '#include "frames/soft_levels.h"'),
        ("detection/plan.cc", '#include "tests/allocations.h"'),
        ("frames/soft_levels.cc", "#include <pybind11/numpy.h>"),
        ("frames/soft_levels.cc", '#include "gnuradio/block.h"'),
        ("frames/soft_levels.cc", "#include <pmt/pmt.h>"),
        ("support/aligned.h", "#include <Python.h>"),
        ("support/aligned.h", "#include <boost/align.hpp>"),
        ("tests/frames/test_search.cc", '#include "detection/plan.h"'),
        ("tests/frames/test_search.cc", '#include "tests/detection/links.h"'),
        ("tests/allocations.cc", '#include "frames/frame_search.h"'),
        ("frames/soft_levels.cc", '#include "soft_levels.h"'),  # every path is one from lib
    ],
)
def test_a_broken_floor_is_noticed(path, line):
    assert broken(Path(path), f"// first\n{line}\nint main() {{}}\n")


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("frames/frame_search.cc", '#include "support/views.h"'),
        ("frames/frame_search.cc", "#include <complex>"),
        ("tests/frames/test_search.cc", '#include "frames/frame_search.h"'),
        ("tests/frames/test_search.cc", '#include "tests/frames/sent_frames.h"'),
        ("tests/frames/test_search.cc", '#include "tests/allocations.h"'),
        ("tests/frames/test_search.cc", "#include <boost/test/unit_test.hpp>"),
    ],
)
def test_a_kept_floor_is_not(path, line):
    assert not broken(Path(path), line)
