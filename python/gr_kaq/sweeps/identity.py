# SPDX-License-Identifier: GPL-3.0-or-later
"""Which program this is: where two differ, their results may."""

from __future__ import annotations

import functools
import hashlib
import importlib
from pathlib import Path

import numpy as np

from .. import native

__all__ = ["difference", "identity"]


@functools.cache
def identity(module: str) -> dict[str, str]:
    """What the results of a function of a module depend on.

    Versions; the sources and models of gr_kaq and of the module's package; and how the kernels round: those with fused
    products have the same bits on every instruction set, those without and NumPy's have others.
    """
    names = sorted({"gr_kaq", module.partition(".")[0]})
    return {
        "gr_kaq": importlib.import_module("gr_kaq").__version__,
        **{f"sources of {name}": _digest(name) for name in names},
        "numpy": np.__version__,
        "kernels": _kernels(),
    }


def difference(theirs: dict[str, str], ours: dict[str, str]) -> str:
    """In words, empty where there is none."""
    return ", ".join(f"{key} {theirs.get(key)} there, {ours[key]} here" for key in ours if theirs.get(key) != ours[key])


def _kernels() -> str:
    if native.fastest_backend() != "native":
        return "NumPy"
    return "portable" if native.selected_instruction_set() == "portable" else "fused"


def _digest(package: str) -> str:
    """Of the files of a package, the same in a checkout and where it is installed."""
    module = importlib.import_module(package)
    folder = Path(next(iter(module.__path__)))
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".py", ".json")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]
