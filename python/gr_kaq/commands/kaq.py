# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `kaq`: detectors, what is known of one, how it does; probes; beams; forecasts; recording; reception."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from .. import __version__
from . import (
    beams,
    bench,
    ber,
    completion,
    csi,
    demo,
    doctor,
    forecast,
    info,
    link,
    models,
    monitor,
    probe,
    receive,
    record,
    serve,
)
from .long_run import INTERRUPTED

__all__ = ["main", "make_parser"]

TERMINATED = 143
"""Exit status after SIGTERM, as a shell has it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, 2 for what it cannot do, 130 after Ctrl-C, 143 after SIGTERM."""
    options = make_parser().parse_args(arguments)
    with _termination() as terminated, warnings.catch_warnings():
        warnings.showwarning = lambda text, *_: print(f"kaq {options.command}: warning: {text}", file=sys.stderr)
        status = _run(options)
    return TERMINATED if terminated and status == INTERRUPTED else status


def _run(options: argparse.Namespace) -> int:
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
    except MemoryError as error:
        print(f"kaq {options.command}: error: not enough memory: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED


@contextlib.contextmanager
def _termination() -> Iterator[list[int]]:
    """SIGTERM ends a command as Ctrl-C does, so that what it has measured is kept; it goes into the list."""
    received: list[int] = []

    def interrupt(number: int, frame: Any) -> None:
        received.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # which alone gets signals
        yield received
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, before)


class _Parser(argparse.ArgumentParser):
    """Says what was meant where a choice is misspelt."""

    def add_argument(self, *names: str, **settings: Any) -> argparse.Action:
        if "choices" in settings:
            settings["choices"] = list(settings["choices"])  # shtab takes no dict
        return super().add_argument(*names, **settings)

    def error(self, message: str) -> NoReturn:
        found = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        close = difflib.get_close_matches(found[1], re.findall(r"[\w.-]+", found[2]), 1) if found else []
        super().error(f"{message}; did you mean {close[0]}?" if close else message)


def make_parser() -> argparse.ArgumentParser:
    """What parses the arguments."""
    parser = _Parser(
        prog="kaq",
        description="Low-bit MIMO detectors: list, explain, measure; probe; find beams; forecast and record channels; "
        "explain lost frames.",
    )
    parser.add_argument("--version", action="version", version=f"gr-kaq {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (
        *(models, info, ber, bench, demo, serve, doctor),
        *(probe, beams, link, forecast, record, csi, receive, monitor, completion),
    ):
        command.add_parser(commands)
    return parser
