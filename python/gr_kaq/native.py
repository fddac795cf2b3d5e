# SPDX-License-Identifier: GPL-3.0-or-later
"""The compiled kernels, `gr_kaq._kernel`: loaded here and nowhere else, and what this build and processor have of them.

The kernel for the best instruction set of the processor is chosen at run time; the environment variable
GR_KAQ_INSTRUCTION_SET names another of `instruction_sets()`.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["extension", "instruction_sets", "known_instruction_sets", "selected_instruction_set", "squared_norm"]


@functools.cache
def extension() -> Any:
    """`gr_kaq._kernel`, imported when first used: the reference detectors do without it.

    Raises:
        ImportError: it is not built.
    """
    try:
        return importlib.import_module(f"{__package__}._kernel")
    except ImportError as error:
        raise ImportError(
            "the native kernel gr_kaq._kernel is not built; build and install gr-kaq, or use backend='reference'"
        ) from error


def instruction_sets() -> list[str]:
    """Instruction sets that this build has a kernel for and this processor runs, the fastest first."""
    return list(extension().instruction_sets())


def known_instruction_sets() -> list[str]:
    """Instruction sets that this build has a kernel for, whether this processor runs them or not."""
    return list(extension().known_instruction_sets())


def squared_norm(h: NDArray[np.complex64]) -> float:
    """Sum of the squares of all magnitudes, in one pass; NaN if h holds NaN or Inf."""
    return float(extension().squared_norm(h))


def selected_instruction_set() -> str:
    """The one that detectors use: the fastest, or the one that GR_KAQ_INSTRUCTION_SET names.

    Raises:
        ImportError: the kernel is not built.
        ValueError: the environment names one that is not available; the message lists those that are.
    """
    return str(extension().selected_instruction_set())
