# SPDX-License-Identifier: GPL-3.0-or-later
"""Markdown of the report: tables, figures, numbers."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterable, Sequence

from .statistics import MIN_RATIO_ERRORS, Interval, Pair, Rate

__all__ = ["decibels", "figure", "joined", "rate", "ratio", "table", "wrapped"]

WIDTH = 118


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; no rows, no table."""
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join([f"| {' | '.join(head)} |", "|" + "---|" * len(head), *lines]) if lines else ""


def figure(name: str, caption: str) -> str:
    """A plot in images/, with its caption under it."""
    return f"![{caption}](images/{name}.png)\n\n*{caption}*"


def joined(*parts: str) -> str:
    """Paragraphs, empty ones left out."""
    return "\n\n".join(part for part in parts if part)


def wrapped(text: str) -> str:
    """The same with lines that can be read in the source: prose and items of lists, but no tables, plots and code."""
    return "\n".join(_wrapped(line) for line in text.split("\n"))


def _wrapped(line: str) -> str:
    if len(line) <= WIDTH or line.startswith(("|", "#", "<", "!", " ")):
        return line
    indent = "  " if line.startswith("- ") else ""
    whole = re.sub(r"`[^`]+`", lambda code: code[0].replace(" ", "\0"), line)  # a command stays on one line
    filled = textwrap.fill(
        whole, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, replace_whitespace=False
    )
    return filled.replace("\0", " ")


def rate(value: Rate | None) -> str:
    """A rate with its interval; below one error, its upper end."""
    if value is None or not value.trials:
        return "-"
    low, high = value.interval()
    return f"{value.value:.2e} [{low:.1e}, {high:.1e}]" if value.errors else f"< {high:.0e}"


def ratio(pair: Pair | None) -> str:
    """First rate over second with its interval; from too few errors, their numbers instead."""
    if pair is None or not pair.second.trials:
        return "-"
    if min(pair.first.errors, pair.second.errors) < MIN_RATIO_ERRORS:
        return f"({pair.first.errors} : {pair.second.errors} errors)"
    interval = pair.ratio()
    return f"{interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def decibels(value: Interval | None) -> str:
    """dB with interval; a dash where a curve does not reach the level."""
    if value is None:
        return "-"
    return str(value) if math.isfinite(value.low) else f"{value.value:+.2f} (one seed)"
