# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `kaq`: which detectors there are, what is known of one, how it does on a simulated link; recording."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from .. import __version__
from . import ber, info, models, record

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, 2 for what it cannot do, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        status = options.run(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader, such as `head`, has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that Python's last flush does not complain
        return 0
    except (ValueError, OSError, ImportError) as error:
        print(f"kaq {options.command}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kaq", description="Low-bit MIMO detectors: list, explain, measure; record channels."
    )
    parser.add_argument("--version", action="version", version=f"gr-kaq {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (models, info, ber, record):
        command.add_parser(commands)
    return parser
