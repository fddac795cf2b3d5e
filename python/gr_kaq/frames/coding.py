# SPDX-License-Identifier: GPL-3.0-or-later
"""The convolutional code of payloads: gr-fec's, compiled (`_coding`), or `python_coding` where that is not there."""

from __future__ import annotations

import importlib
import sysconfig
from pathlib import Path
from typing import Any

__all__ = ["make_coder"]


def make_coder(**arguments: Any) -> Any:
    """A `Coder`, for one thread at a time; see `python_coding.Coder` for arguments and methods.

    Raises:
        ImportError: `_coding` is there, and cannot be loaded: it needs the GNU Radio that it was built against.
    """
    compiled = Path(__file__).parent / f"_coding{sysconfig.get_config_var('EXT_SUFFIX')}"
    name = "_coding" if compiled.exists() else "python_coding"
    return importlib.import_module(f"{__package__}.{name}").Coder(**arguments)
