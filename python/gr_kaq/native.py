# SPDX-License-Identifier: GPL-3.0-or-later
"""The compiled kernels, `gr_kaq._kernel`: loaded here and nowhere else, and what this build and processor have of them.

The kernel for the best instruction set of the processor is chosen at run time; the environment variable
GR_KAQ_INSTRUCTION_SET names another of `instruction_sets()`. Where there is no extension, what can runs in NumPy.
"""

from __future__ import annotations

import functools
import importlib
import sys
import sysconfig
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "extension",
    "fastest_backend",
    "instruction_sets",
    "known_instruction_sets",
    "selected_instruction_set",
    "squared_norm",
]


def extension() -> Any:
    """`gr_kaq._kernel`, imported when first used: the reference detectors do without it.

    Raises:
        ImportError: it is not there, or of another Python or version; the message says which, and what to do.
    """
    module, fault = _load()
    if fault:
        raise ImportError(fault)
    return module


@functools.cache
def _load() -> tuple[Any, str]:
    """The extension, or what is wrong with it."""
    again = "build gr-kaq again with this Python (docs/guide/installation.md)"
    try:
        module = importlib.import_module(f"{__package__}._kernel")
    except ImportError as error:
        there = sorted(path.name for path in Path(__file__).parent.glob("_kernel.*") if path.suffix in (".so", ".pyd"))
        ours = f"_kernel{sysconfig.get_config_var('EXT_SUFFIX')}"
        if not there and (Path(__file__).parents[2] / "CMakeLists.txt").exists():
            return None, (
                "this is gr-kaq's source tree, which has no compiled kernels: make build, then "
                "PYTHONPATH=build/test_modules; or use backend='reference'"
            )
        if not there:
            return None, (
                "gr-kaq is installed without its compiled kernels: no C++20 compiler was there when it was built. "
                "Install one (apt install g++), then gr-kaq again; or use backend='reference'"
            )
        if ours not in there:
            version = ".".join(map(str, sys.version_info[:2]))
            return None, f"gr-kaq's kernels are for another Python ({', '.join(there)}), and this is {version}: {again}"
        return None, f"gr-kaq's kernels cannot be loaded ({error}): {again}"
    version = importlib.import_module(str(__package__)).__version__  # which is not there yet when this file is imported
    if (built := getattr(module, "version", "0.1.0")) != version:
        return None, f"gr-kaq's kernels are of version {built}, and the package is {version}: {again}"
    return module, ""


@functools.cache
def fastest_backend() -> str:
    """``"native"``; or ``"reference"``, the same bits in NumPy, where there is no extension: it warns then."""
    _, fault = _load()
    if fault:
        warnings.warn(f"detectors run in NumPy, some 100 times slower: {fault}", RuntimeWarning, stacklevel=2)
    return "reference" if fault else "native"


def instruction_sets() -> list[str]:
    """Instruction sets that this build has a kernel for and this processor runs, the fastest first."""
    return list(extension().instruction_sets())


def known_instruction_sets() -> list[str]:
    """Instruction sets that this build has a kernel for, whether this processor runs them or not."""
    return list(extension().known_instruction_sets())


def squared_norm(h: NDArray[np.complex64]) -> float:
    """Sum of the squares of all magnitudes; NaN if h holds NaN or Inf. Works without the extension, too."""
    module, _ = _load()
    if module is not None:
        return float(module.squared_norm(h))
    parts = np.ascontiguousarray(h).view(np.float32).ravel().astype(np.float64)
    norm = float(parts @ parts)
    return norm if np.isfinite(norm) else float("nan")


def selected_instruction_set() -> str:
    """The one that detectors use: the fastest, or the one that GR_KAQ_INSTRUCTION_SET names.

    Raises:
        ImportError: the kernel is not built.
        ValueError: the environment names one that is not available; the message lists those that are.
    """
    return str(extension().selected_instruction_set())
