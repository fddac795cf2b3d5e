# SPDX-License-Identifier: GPL-3.0-or-later
"""Parsers of the command's arguments; each raises ArgumentTypeError, and says what was expected."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from typing import Any

__all__ = [
    "add_numbers",
    "add_workers",
    "antenna_count",
    "number",
    "parse_seed",
    "parse_size",
    "parse_snrs",
    "several",
    "whole_number",
]

MOST_SNRS = 200
MOST_ANTENNAS = 256
SNR_LIMIT_DB = 100.0


def parse_snrs(text: str) -> list[float]:
    """SNRs in dB from ``"10 15 20"`` (spaces or commas) or ``"10:20:5"`` (start, stop included, step)."""
    try:
        if ":" in text:
            start, stop, step = (float(part) for part in text.split(":"))
            count = math.floor((stop - start) / step + 1e-9) + 1
            if step <= 0 or not 1 <= count <= MOST_SNRS:
                raise ValueError
            snrs = [round(start + i * step, 9) for i in range(count)]
        else:
            snrs = [float(part) for part in text.replace(",", " ").split()]
    except (ValueError, ZeroDivisionError, OverflowError):
        snrs = []
    if not 1 <= len(snrs) <= MOST_SNRS or not all(abs(snr) <= SNR_LIMIT_DB for snr in snrs):
        raise argparse.ArgumentTypeError(
            f"{text!r}: 10 15 20 or start:stop:step expected, 1 to {MOST_SNRS} SNRs from -{SNR_LIMIT_DB:g} to "
            f"{SNR_LIMIT_DB:g} dB"
        )
    return snrs


def several(parse: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """A parser of one or more values, with spaces or commas between them, each of which `parse` takes."""

    def parse_all(text: str) -> list[Any]:
        return [parse(part) for part in text.replace(",", " ").split() or [text]]

    return parse_all


def add_numbers(
    parser: argparse.ArgumentParser,
    option: str,
    parse: Callable[[str], list[Any]],
    help: str,
    metavar: str,
    default: list[Any] | None = None,
) -> None:
    """Add an option with several numbers: ``10 20``, ``10,20`` and ``"10 20"`` are the same.

    Args:
        parser: of the command.
        option: such as ``--snr``.
        parse: the numbers of a word, or of a range where there are such; `several` makes one.
        help: for `--help`.
        metavar: what stands for a number there.
        default: without the option.
    """

    class Join(argparse.Action):
        def __call__(self, parser: Any, namespace: Any, values: Any, option: str | None = None) -> None:
            found = [value for word in values for value in word]
            if len(found) > MOST_SNRS:
                parser.error(f"argument {option}: {len(found)} numbers; at most {MOST_SNRS} expected")
            setattr(namespace, self.dest, found)

    parser.add_argument(option, nargs="+", type=parse, action=Join, default=default, metavar=metavar, help=help)


def add_workers(parser: Any, jobs: int = 1) -> None:
    """Add `--jobs` and `--cluster` to a parser or a group, for `sweeps.workers.open_workers`."""
    parser.add_argument("--jobs", type=whole_number, default=jobs, help="processes side by side (default %(default)s)")
    parser.add_argument(
        "--cluster",
        metavar="WHERE",
        help="tcp://HOST:PORT of a Dask scheduler, whose workers run it; or a configuration file of dask-jobqueue, for "
        "--jobs workers (docs/guide/cluster.md)",
    )


def whole_number(text: str) -> int:
    """A positive whole number; 3e6 is one."""
    value = number(1)(text)
    if value != int(value):
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number expected")
    return int(value)


def antenna_count(text: str) -> int:
    """Antennas or streams."""
    count = whole_number(text)
    if count > MOST_ANTENNAS:
        raise argparse.ArgumentTypeError(f"{text!r}: at most {MOST_ANTENNAS} expected")
    return count


def parse_seed(text: str) -> int:
    """A whole number, 0 or more."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number, 0 or more, expected")
    return int(text)


def number(low: float = -math.inf, below: float = math.inf) -> Callable[[str], float]:
    """A parser of finite numbers, at least `low` and below `below`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and low <= value < below):
            bounds = (f", at least {low:g}" if low > -math.inf else "") + (
                f", below {below:g}" if below < math.inf else ""
            )
            raise argparse.ArgumentTypeError(f"{text!r}: a finite number{bounds} expected")
        return value

    return parse


def parse_size(text: str) -> tuple[int, int]:
    """Antennas and streams from ``"4x2"``."""
    found = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text, re.ASCII)
    if found is None or 0 in (size := (int(found[1]), int(found[2]))):
        raise argparse.ArgumentTypeError(f"{text!r}: receive antennas x streams expected, for example 4x2")
    return size
