# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that pages print: the programs are there, and take these arguments. What they do, other tests see."""

from __future__ import annotations

import argparse
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gr_kaq
from gr_kaq.commands.kaq import make_parser
from tests.pages import PAGES, ROOT

PROMPT = r"^    (?:\$ )?(?:[A-Z_]+=\S+ )*"
RADIO = "--radio usrp --args type=b200 --antennas 2 --freq 2.4e9 --rate 1e6"  # $R of docs/guide/hardware.md


def commands():
    """Each one that begins with a program of ours, as words."""
    found = {}
    for page in PAGES:
        text = re.sub(r"\\\n +", "", page.read_text("utf-8"))
        for line in re.findall(rf"{PROMPT}((?:kaq|make|\S*python3?) .*)$", text, re.MULTILINE):
            if re.match(r"\S*python3? (-c|-m (venv|pip|pytest|timeit)) ", line):
                continue
            words = shlex.split(line.replace("$R", RADIO), comments=True)
            words = words[: words.index(">")] if ">" in words else words
            program = words[0].rpartition("/")[2]
            if program.startswith("python"):
                words = words[2:] if words[1] == "-m" else words[1:]
            found[" ".join(words)] = words
    return list(found.values())


def companions():
    """Each way in which pages start GNU Radio Companion, with the flowgraph."""
    lines = "\n".join(page.read_text("utf-8") for page in PAGES)
    return sorted(set(re.findall(r"((?:[A-Z_]+=\S+ )+gnuradio-companion) (\S+\.grc)", lines)))


@pytest.mark.parametrize(("start", "flowgraph"), companions())
def test_a_flowgraph_finds_the_package_where_grc_runs_it(start, flowgraph, tmp_path):
    """Which is in its own folder: a relative path in PYTHONPATH leads nowhere there."""
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "test_modules").symlink_to(Path(gr_kaq.__file__).parents[1])
    shutil.copytree(ROOT / "grc", tmp_path / "grc")
    (tmp_path / "examples").mkdir()
    assert (ROOT / flowgraph).exists()
    program = f"cd {Path(flowgraph).parent} && {sys.executable} -c 'import gr_kaq; print(gr_kaq.__file__)'"
    command = start.replace("gnuradio-companion", f'sh -c "{program}"')
    environment = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout.startswith(str(tmp_path)), done.stderr


class Accepted(BaseException):
    """All arguments were."""


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_the_command_is_accepted(words, monkeypatch, capsys):
    program, *arguments = words
    if program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert arguments[0] in targets
        return
    if program in ("kaq", "gr_kaq"):
        make_parser().parse_args(arguments)
        return
    parse = argparse.ArgumentParser.parse_args

    def parse_only(*given, **named):
        parse(*given, **named)
        raise Accepted

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    monkeypatch.setattr(sys, "path", [str(ROOT / "examples"), str(ROOT), *sys.path])
    monkeypatch.chdir(ROOT)
    try:
        if program.endswith(".py"):
            assert (ROOT / program).is_file()
            if "argparse" not in (ROOT / program).read_text() and "main(" not in (ROOT / program).read_text():
                return
            runpy.run_path(str(ROOT / program), run_name="__main__")
        else:
            runpy.run_module(program, run_name="__main__")
    except Accepted:
        return
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        pytest.skip("no torch: `make test TORCH=no` leaves it out")
    except SystemExit:
        pytest.fail(capsys.readouterr().err)
