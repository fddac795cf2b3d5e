# SPDX-License-Identifier: GPL-3.0-or-later
"""What some commands need, and gr-kaq itself does not."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["import_optional"]


def import_optional(module: str, user: str, package: str) -> Any:
    """The module, or an ImportError that says who needs it, and which package of Debian, or pip, has it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{user} needs Python's {module.split('.', 1)[0]} ({error}); apt install {package}, or pip"
        ) from None
