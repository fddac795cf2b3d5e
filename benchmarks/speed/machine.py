# SPDX-License-Identifier: GPL-3.0-or-later
"""What a measurement depends on: processor, instruction set, versions; and threads kept to one."""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info, threadpool_limits

import gr_kaq
from gr_kaq import native

__all__ = ["describe", "one_thread"]

PACKAGES = ("numpy", "torch", "sionna-no-rt", "sionna", "gnuradio")


def describe() -> dict[str, Any]:
    """The machine and the software, for the JSON."""
    return {
        "processor": processor(),
        "architecture": platform.machine(),
        "cpus": os.cpu_count(),
        "instruction_set": native.selected_instruction_set(),
        "instruction_sets": native.instruction_sets(),
        "system": platform.platform(),
        "compiler": _compiler(),
        "blas": [
            {key: info.get(key) for key in ("internal_api", "version", "architecture", "num_threads")}
            for info in threadpool_info()
        ],
        "versions": {"gr_kaq": gr_kaq.__version__, "python": platform.python_version(), **_versions()},
    }


def processor() -> str:
    """Name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.machine())


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep BLAS and torch to one thread, as GNU Radio gives a block one."""
    with contextlib.suppress(ImportError):
        importlib.import_module("torch").set_num_threads(1)
    with threadpool_limits(1):
        yield


def _compiler() -> str:
    with contextlib.suppress(ImportError):
        return str(importlib.import_module("kaq_speed").compiler)
    return ""


def _versions() -> dict[str, str]:
    """Of the packages that are compared with; those that are not installed are left out."""
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    with contextlib.suppress(ImportError):
        found["gnuradio"] = str(importlib.import_module("gnuradio.gr").version())
    return found
