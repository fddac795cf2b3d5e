# SPDX-License-Identifier: GPL-3.0-or-later
"""A kind of content, and the trial of one: it is used, or refused in one line."""

from __future__ import annotations

import json
import resource
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.mutations import mutated, mutated_documents

__all__ = ["Kind", "Random", "spoilt", "try_content"]

Random = np.random.Generator


@dataclass(frozen=True)
class Kind:
    """A kind of content.

    Attributes:
        name: of the file.
        draw: a content that somebody may have spoilt.
        use: does all that is done with it; raises ValueError where it is refused.
    """

    name: str
    draw: Callable[[Random], bytes]
    use: Callable[[Path], None]


def spoilt(whole: bytes, rng: Random, document: bool = False) -> bytes:
    """Mutated, as bytes or as a JSON document."""
    if document and rng.random() < 0.7:
        return next(mutated_documents(json.loads(whole), 1, rng))
    return next(mutated(whole, 1, rng))


def _peak_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def _seconds() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def try_content(kind: Kind, content: bytes, folder: Path) -> tuple[str, float, float]:
    """Use a content, or see that the error is one line that names the file.

    Returns:
        What is wrong, or an empty text; seconds of processor time; and MiB that the process grew.
    """
    path = folder / kind.name
    path.write_bytes(content)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    seconds, before, fault = _seconds(), _peak_mib(), ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            warnings.simplefilter("ignore", DeprecationWarning)  # of Python and NumPy, of what is refused
            warnings.simplefilter("ignore", UserWarning)
            kind.use(path)
    except ValueError as error:
        said = str(error)
        if not (path.name.split(".")[0] in said and said.isprintable() and len(said) < 1000):
            fault = f"refused by {said!r}"
    except Exception:
        fault = traceback.format_exc()
    return fault, _seconds() - seconds, _peak_mib() - before
