# SPDX-License-Identifier: GPL-3.0-or-later
"""`kaq completion`: what has a shell complete the arguments of `kaq`."""

from __future__ import annotations

import argparse
from typing import Any

from .optional import import_optional

__all__ = ["add_parser"]

SHELLS = ("bash", "zsh", "tcsh")


def add_parser(commands: Any) -> None:
    """Add `completion` to the subcommands of an ArgumentParser."""
    command = commands.add_parser(
        "completion",
        help="print a script that has a shell complete arguments",
        description="Print a script that has a shell complete the arguments of kaq; needs Python's shtab. For bash: "
        'eval "$(kaq completion bash)" in ~/.bashrc. The Debian package has it installed.',
    )
    command.add_argument("shell", choices=SHELLS)
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from .kaq import make_parser  # noqa: PLC0415  # which imports this file

    shtab = import_optional("shtab", "kaq completion", "python3-shtab")
    print(shtab.complete(make_parser(), shell=options.shell))
    return 0
