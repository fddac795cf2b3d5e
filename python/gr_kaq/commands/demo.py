# SPDX-License-Identifier: GPL-3.0-or-later
"""`kaq demo`: the flowgraph of `make demo`, from wherever the examples are installed."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

from .optional import import_optional

__all__ = ["add_parser", "examples_folder"]


def add_parser(commands: Any) -> None:
    """Add `demo` to the subcommands of an ArgumentParser."""
    command = commands.add_parser(
        "demo",
        help="run flowgraphs with the shipped detectors",
        description="Run GNU Radio flowgraphs with the shipped detectors on measured and simulated channels: a table "
        "of bit error rates, and a picture. Needs GNU Radio and matplotlib; kaq ber simulates without GNU Radio.",
    )
    command.add_argument(
        "--output", type=Path, default=Path("out"), help="folder for the picture (default %(default)s)"
    )
    command.add_argument(
        "--target-errors", type=int, default=2000, help="bit errors to count per point (default %(default)s)"
    )
    command.add_argument("--max-bits", type=int, default=4_000_000, help="bits that end a point (default %(default)s)")
    command.set_defaults(run=_run)


def examples_folder() -> Path:
    """Where the examples are: beside the package in its prefix, or in the checkout that it is linked from.

    Raises:
        OSError: they are nowhere.
    """
    installed = (parent / "share" / "gr-kaq" / "examples" for parent in Path(__file__).parents)
    for folder in (*installed, Path(__file__).resolve().parents[3] / "examples"):
        if (folder / "demo.py").exists():
            return folder
    raise OSError("the examples are not installed; they are in the folder examples of gr-kaq's sources")


def _run(options: argparse.Namespace) -> int:
    import_optional("gnuradio.gr", "kaq demo", "gnuradio")
    import_optional("matplotlib", "kaq demo", "python3-matplotlib")
    command = [sys.executable, str(examples_folder() / "demo.py"), "--output", str(options.output)]
    command += ["--target-errors", str(options.target_errors), "--max-bits", str(options.max_bits)]
    return subprocess.run(command, check=False).returncode
