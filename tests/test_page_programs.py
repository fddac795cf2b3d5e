# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs that pages print run as they stand there, in the order of the page, each in a process of its own.

A program that needs somebody to talk to, or takes long, is run by another test: RUN_BY.
"""

from __future__ import annotations

import ast
import re
import shutil

import pytest

from tests.pages import PAGES, ROOT, programs, run_program

RUN_BY = {
    "docs/guide/csi-contract.md": "tests/blocks/qa_csi_page.py",
    "docs/guide/csi-recordings.md": "tests/examples/qa_guide_pages.py",
    "docs/guide/detectors.md": "tests/benchmarks/test_level_search.py",
    "docs/guide/hardware.md": "tests/examples/qa_guide_pages.py",
    "docs/guide/lost-frames.md": "tests/examples/qa_guide_pages.py",
    "docs/guide/onnx.md": "tests/training/detector/test_onnx_export.py",
    "docs/guide/virtual-radio.md": "tests/examples/qa_zmq_virtual_radio.py",
    "docs/guide/zmq-testbed.md": "tests/examples/qa_zmq_testbed.py",
}

# What tells that a page's programs did what the page says, of what they print
PRINTED = {
    "README.md": r"\(\d+ errors\).*\(64, 14, 16\) \(64, 14, 16, 4\)",
    "docs/guide/beams.md": r"gain lost: 0\.\d+ dB",
    "docs/guide/channel-simulator.md": r"^0\.0[12]\d*$",
    "docs/guide/forecasting.md": r"^\(8, 2\) \[0\.0",
    "docs/guide/receiver.md": r"\) complete$",
}

NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


@pytest.mark.parametrize("page", [name for name in NAMES if programs(name) and name not in RUN_BY])
def test_the_programs_of_the_page_run(page, tmp_path):
    shutil.copy(ROOT / "LICENSE", tmp_path)
    printed = ""
    for program in programs(page):
        done = run_program(program, tmp_path, OPENBLAS_NUM_THREADS="1")
        missing = re.search(r"No module named '(?:gnuradio|pmt)|pip install onnxruntime", done.stderr)
        if missing:
            pytest.skip(missing[0])
        assert done.returncode == 0, done.stderr
        printed += done.stdout
    assert re.search(PRINTED.get(page, ""), printed, re.DOTALL | re.MULTILINE), printed


@pytest.mark.parametrize(("page", "test"), RUN_BY.items())
def test_another_test_runs_the_programs_of_the_page(page, test):
    text = (ROOT / test).read_text()
    assert programs(page) and "programs(" in text and f'"{page}"' in text


@pytest.mark.parametrize("page", [name for name in NAMES if not name.startswith(("docs/internals", "docs/design"))])
def test_no_program_is_hidden_in_an_indented_block(page):
    """Which says nothing of its language, so that nothing would run it."""
    markdown_it = pytest.importorskip("markdown_it")
    for token in markdown_it.MarkdownIt("commonmark").parse((ROOT / page).read_text("utf-8")):
        if token.type == "code_block":
            try:
                nodes = list(ast.walk(ast.parse(token.content)))
            except SyntaxError:
                continue
            assert not [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom | ast.Assign | ast.Call)]
