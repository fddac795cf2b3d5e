# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation prints is true: its programs run, its links lead somewhere, its tables are the models'."""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gr_kaq
from gr_kaq.channels import channel_file
from gr_kaq.commands import arguments
from gr_kaq.detection import laws, model_file, quantization
from gr_kaq.estimation import learned, trial
from gr_kaq.files import MAX_DIGITS, MAX_QUOTED
from gr_kaq.frames import file_transfer
from gr_kaq.radios import options, sigmf
from gr_kaq.testbed import zmq_frames
from tests.pages import PAGES, ROOT


def environment():
    return {"PYTHONPATH": ":".join(p for p in sys.path if p), "PATH": "/usr/bin:/bin"}


def anchors(document):
    """What links can point to: headings, as GitHub writes them."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", document.read_text()):
        if not target.startswith("http"):
            found = document.parent / target if target else document
            assert found.exists(), f"{document.name}: {target}"
            assert not anchor or anchor in anchors(found), f"{document.name}: {target}#{anchor}"


def test_every_page_is_listed():
    pages = {page.relative_to(ROOT / "docs") for page in (ROOT / "docs").rglob("*.md")}
    listed = set(map(Path, re.findall(r"\]\(([^)#]+)\)", (ROOT / "docs" / "README.md").read_text())))
    assert pages - listed == {Path("README.md"), Path("guide/performance/reasons.md")}
    site = re.findall(r"^(?:guide|notebooks|reference)/[\w-]+$", (ROOT / "docs" / "index.md").read_text(), re.MULTILINE)
    assert {f"{page}.md" for page in site} == {
        str(page)
        for page in pages
        if page.parts[0] != "internals" and len(page.parts) == 2 and page.parts[0] != "report"
    }


def tracked():
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no checkout of git")
    return subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()


def can_be_run(module):
    """Whether `python -m` runs a module of this repository."""
    place = ROOT / ("python" if module.startswith("gr_kaq") else "") / module.replace(".", "/")
    file = place / "__main__.py" if place.is_dir() else place.with_suffix(".py")
    return file.is_file() and (place.is_dir() or "__main__" in file.read_text())


def test_modules_that_sources_run_exist():
    for file in (f for f in tracked() if f.endswith((".py", ".md", "Makefile", ".yaml")) and f != "CHANGELOG.md"):
        for module in re.findall(r"-m ((?:gr_kaq|training|benchmarks)[\w.]*)", (ROOT / file).read_text()):
            assert can_be_run(module.rstrip(".")), f"{file}: {module}"


def test_git_ignores_what_grc_writes_beside_the_examples():
    tracked()
    for flowgraph in (ROOT / "examples").glob("*.grc"):
        name = re.search(r"^options:\n.*?^    id: (\w+)$", flowgraph.read_text(), re.DOTALL | re.MULTILINE)[1]
        command = ["git", "check-ignore", "-q", f"examples/{name}.py"]
        assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0, name


def test_pages_that_sources_name_exist():
    files = tracked()
    suffixes = (".py", ".cc", ".h", ".yml", ".yaml", ".grc", ".md", ".json")
    for file in (f for f in files if f.endswith(suffixes) and not f.startswith("docs/report/data")):
        for page in re.findall(r"(?<![\w/])docs/[\w/-]+\.md", (ROOT / file).read_text()):
            assert (ROOT / page).exists(), f"{file}: {page}"


def test_prose_is_easy_to_edit():
    """No source line above 120 characters, but in tables, in commands, and in what programs write."""
    by_programs = {"performance", "model-cards.md"}
    for document in PAGES:
        if {document.name, document.parent.name} & (by_programs):
            continue
        text = re.sub(r"<!-- (section|begin): .*?<!-- end", "", document.read_text(), flags=re.DOTALL)
        lines = [line for line in text.splitlines() if len(line) > 120 and not line.lstrip().startswith("|")]
        assert not [line for line in lines if not line.startswith("    ")], document


def test_the_reference_has_every_block():
    page = (ROOT / "docs" / "reference" / "blocks.md").read_text()
    blocks = {path.name.removesuffix(".block.yml").removeprefix("kaq_") for path in (ROOT / "grc").glob("*.yml")}
    assert blocks == set(re.findall(r"autoclass:: (\w+)", page))


def test_the_table_of_detectors_is_up_to_date():
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "detector_table.py"],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=300,
        check=True,
    )
    page = ROOT / "docs" / "guide" / "detectors.md"
    assert done.stdout in page.read_text(), "run benchmarks/detector_table.py --update"


def test_the_paths_through_the_code_are_those_of_the_code():
    """Each step of docs/design.md's two walks: the file is there, and defines or holds the names."""
    page = (ROOT / "docs" / "design.md").read_text()
    for walk in ("Follow one sample", "Follow one parameter"):
        section = page.partition(f"\n## {walk}\n")[2].partition("\n## ")[0]
        steps = re.findall(r"^\| `([\w/.-]+)` \| ((?:`\w+`(?:, )?)+) \|", section, re.MULTILINE)
        assert len(steps) >= 16
        for path, names in steps:
            text = (ROOT / path).read_text()
            for name in re.findall(r"\w+", names):
                assert re.search(rf"\b{name}\b", text), f"{path}: {name}"


def test_the_parameter_of_the_design_page_has_the_values_that_it_says():
    page = (ROOT / "docs" / "design.md").read_text()
    model = gr_kaq.load_detector("admm5-16qam", backend="reference").model
    law = model.layers[2].step
    assert f'{{"alpha": {law.alpha}, "gamma": {law.gamma}}}' in page
    (step,) = laws.layer_values(model, np.array([20.0])).step[:, 2]
    assert f"At 20 dB the law gives {step:.4f}" in page
    assert f"`inverse_step`: {round(2**15 * quantization.state_unit(model) / step)} at 20 dB" in page


def test_the_picture_has_every_room():
    """`make lint` checks the arrows, for which it needs grimp."""
    picture = (ROOT / "docs" / "images" / "rooms.svg").read_text()
    package = ROOT / "python" / "gr_kaq"
    for room in (*package.glob("*/__init__.py"), *(ROOT / "lib").glob("*/*.h")):
        name = room.parent.name if package in room.parents else f"lib/{room.parent.name}"
        assert f">{name}</text>" in picture or name == "lib/tests", "run docs/internals/draw_rooms.py"


def test_what_tests_are_skipped_for_is_on_the_page():
    page = (ROOT / "docs" / "internals" / "testing.md").read_text()
    section = page.split("## What is left out, and why")[1].split("\n## ")[0]
    found = set()
    for path in (ROOT / "tests").rglob("*.py"):
        found |= set(re.findall(r'importorskip\("([\w.]+)"|which\("(\w+)"\), reason', path.read_text()))
    missing = {a or b for a, b in found}
    assert len(missing) > 10
    named = set(re.findall(r"`([\w.]+)`", section))
    assert not {name for name in missing if not any(name == each or name.startswith(f"{each}.") for each in named)}


def test_every_source_has_a_licence_line():
    files = tracked()
    sources = [
        f for f in files if Path(f).suffix in (".py", ".cc", ".h", ".yml", ".yaml", ".grc", ".txt", ".cff", ".toml")
    ]
    missing = [f for f in sources if "SPDX-License-Identifier: GPL-3.0-or-later" not in (ROOT / f).read_text()[:200]]
    assert not missing


def test_the_tests_that_the_security_page_names_exist():
    page = (ROOT / "docs" / "security.md").read_text()
    named, file = 0, None
    for path, name in re.findall(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`", page):
        file = path or file
        if file and (path or name):
            named += 1
            text = (ROOT / file).read_text()
            assert not name or f"def {name}(" in text, f"{file}::{name}"
    assert named > 30


def test_the_limits_of_the_security_page_are_those_of_the_code():
    base, pdu, zmq_sample_source = (
        pytest.importorskip(f"gr_kaq.blocks.{name}") for name in ("base", "pdu", "zmq_sample_source")
    )
    page = (ROOT / "docs" / "security.md").read_text()
    of_source = inspect.signature(zmq_sample_source.zmq_sample_source).parameters
    message_bytes, high_water_mark = (of_source[name].default for name in ("max_message_bytes", "high_water_mark"))

    def power(value):
        return f"2^{value.bit_length() - 1}"

    for row, said in (
        ("model file", f"{model_file.MAX_FILE_BYTES >> 10} KiB"),
        ("JSON of any kind", f"{MAX_DIGITS} digits"),
        ("recorded channels", f"file {channel_file.MAX_FILE_BYTES >> 30} GiB; `h` {power(channel_file.MAX_ENTRIES)} "),
        ("recorded channels", f"{power(channel_file.MAX_PACKET_ENTRIES)} in a packet"),
        ("recorded channels", f"{channel_file.MAX_EXPANSION} times"),
        ("recorded channels", f"{power(channel_file.MAX_FORTRAN_ENTRIES)} entries in Fortran"),
        ("recorded channels", f"directory {channel_file.MAX_DIRECTORY_BYTES >> 10} KiB"),
        ("SigMF metadata", f"{sigmf.MAX_META_BYTES >> 20} MiB, {sigmf.MAX_CHANNELS} channels"),
        ("estimator", f"{learned.MAX_FILE_BYTES >> 20} MiB; loads and runs within {trial.PROCESSOR_SECONDS} s"),
        ("estimator", f"({trial.WAIT_SECONDS:.0f} s of any), and {trial.MORE_BYTES >> 20} MiB"),
        ("file that is sent", f"{file_transfer.MAX_FILE_BYTES >> 30} GiB"),
        ("`kaq` and its like", f"{arguments.MOST_ANTENNAS} antennas and streams, {arguments.MOST_SNRS} SNRs"),
        ("`kaq` and its like", f"{power(options.MAX_SAMPLES)} samples"),
        ("text that", f"{MAX_QUOTED} characters"),
        ("a PDU", f"{pdu.MAX_PDU_BYTES >> 10} KiB; {base.MAX_NAME} characters"),
        ("what a block logs", f"{base.MAX_WARNINGS} warnings of each kind, of {base.MAX_TEXT} characters"),
        ("samples over ZMQ", f"{message_bytes >> 20} MiB a message, {high_water_mark} of them"),
        (
            "a frame over ZMQ",
            f"{zmq_frames.MAX_DEPTH} levels, {zmq_frames.MAX_VALUES // 1000} {zmq_frames.MAX_VALUES % 1000:03} ",
        ),
    ):
        (line,) = re.findall(rf"^\| {re.escape(row)}.*$", page, re.MULTILINE)
        assert said in line, said


def test_every_file_states_the_version_of_the_package():
    for file, pattern in {
        "CITATION.cff": r"^version: (.*)$",
        "debian/changelog": r"\Agr-kaq \((.*?)\)",
        "CHANGELOG.md": r"^## (\d\S*) ",
    }.items():
        assert re.search(pattern, (ROOT / file).read_text(), re.MULTILINE)[1] == gr_kaq.__version__, file
