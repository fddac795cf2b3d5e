# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make install` installs is complete: nothing here sees the source tree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import gr_kaq

ROOT = Path(__file__).parents[1]
BUILD = Path(gr_kaq.__file__).parents[2]


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    path = tmp_path_factory.mktemp("prefix")
    subprocess.run(["cmake", "--install", BUILD, "--prefix", path], check=True, capture_output=True, timeout=300)
    return path


def in_prefix(prefix, command, cwd):
    """Run a shell command after what the documentation says for a prefix."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "GRC_BLOCKS_PATH")}
    done = subprocess.run(
        ["sh", "-c", f'eval "$({prefix}/bin/gr-kaq-env)" && {command}'],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_python_finds_everything(prefix, tmp_path):
    program = (
        "import gr_kaq; print(gr_kaq.__file__); print(gr_kaq.shipped_recording('measured_csi_3x2'));"
        "[gr_kaq.load_detector(n) for n in gr_kaq.list_detectors() if n not in ('auto', 'auto-fast', 'lmmse', 'zf')];"
        "gr_kaq.detector('admm5-16qam', 4, 4); from gr_kaq import _kernel; from gr_kaq.blocks import _gnuradio"
    )
    package, recording = in_prefix(prefix, f'{sys.executable} -c "{program}"', tmp_path).split()
    assert package.startswith(str(prefix)) and recording.startswith(str(prefix))


@pytest.mark.parametrize(
    "name", ["simulated_channel", "measured_channel", "zmq_testbed", "receiver_monitor", "beam_monitor"]
)
def test_grc_finds_the_blocks(prefix, tmp_path, name):
    in_prefix(prefix, f"grcc -o {tmp_path} {prefix}/share/gr-kaq/examples/{name}.grc", tmp_path)
    assert len(list(tmp_path.glob(f"{name}*.py"))) == 1


def test_every_block_links_to_its_page(prefix):
    """And that links to pages which are there, and to their headings. GRC before 3.10.9 would warn of such a link."""
    pytest.importorskip("markdown_it")
    gr, yaml = pytest.importorskip("gnuradio.gr"), pytest.importorskip("yaml")
    blocks = sorted((prefix / "share/gnuradio/grc/blocks").glob("*.yml"))
    assert {path.name for path in blocks} == {path.name for path in (ROOT / "grc").glob("*.yml")}
    linked = [path for path in blocks if "doc_url:" in path.read_text()]
    if tuple(map(int, gr.version().split(".")[:3])) < (3, 10, 9):
        assert not linked
        link = ["cmake", f"-DCMAKE_INSTALL_PREFIX={prefix}", "-P", ROOT / "cmake" / "link_pages.cmake"]
        subprocess.run(link, check=True, timeout=300)
    pages = set((prefix / "share/doc/gr-kaq").rglob("*.html"))
    for path in blocks:
        block = yaml.safe_load(path.read_text())
        page = Path(urlsplit(block["doc_url"]).path)
        assert page in pages and f"<h1>{block['label']}</h1>" in page.read_text()
    texts = {page: page.read_text() for page in pages}
    for page, text in texts.items():
        for target, anchor in re.findall(r'(?:href|src)="(?!http|mailto)([^"#]*)#?([^"]*)"', text):
            found = (page.parent / target).resolve() if target else page
            assert found.exists(), f"{page.name}: {target}"
            assert not anchor or f'id="{anchor}"' in texts[found], f"{page.name}: {target}#{anchor}"


def test_the_doctor_says_where_the_guide_is(prefix, tmp_path):
    pytest.importorskip("markdown_it")
    assert f"{prefix}/share/doc/gr-kaq/index.html" in in_prefix(prefix, f"{prefix}/bin/kaq doctor || true", tmp_path)


def test_installed_examples_run(prefix, tmp_path):
    command = f"{sys.executable} {prefix}/share/gr-kaq/examples/measured_channel.py --snr 15 --target-errors 50"
    assert "lmmse" in in_prefix(prefix, command, tmp_path)


PROJECT = """
cmake_minimum_required(VERSION 3.16)
project(mine LANGUAGES CXX)
set(CMAKE_CXX_STANDARD 20)
find_package(gr-kaq REQUIRED)
add_executable(mine mine.cc)
target_link_libraries(mine PRIVATE kaq::kernels)
"""
PROGRAM = """
#include <detection/instruction_sets.h>
#include <cstdio>
int main() { std::puts(kaq::select_kernel().name); }
"""


def test_cmake_finds_the_kernels(prefix, tmp_path):
    """For a program with neither GNU Radio nor Python."""
    (tmp_path / "CMakeLists.txt").write_text(PROJECT)
    (tmp_path / "mine.cc").write_text(PROGRAM)
    for command in (
        ["cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}"],
        ["cmake", "--build", tmp_path / "build"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    printed = subprocess.run([tmp_path / "build" / "mine"], capture_output=True, text=True, timeout=300, check=True)
    assert printed.stdout.strip() == gr_kaq.native.selected_instruction_set()
