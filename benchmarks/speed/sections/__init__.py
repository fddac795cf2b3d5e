# SPDX-License-Identifier: GPL-3.0-or-later
"""The sections, in the order of the document. Each has TITLE, `measure`, `markdown` and `plot`."""

from types import ModuleType

from . import choice, growth, latency, near_ml, roofline, stages, table

__all__ = ["SECTIONS"]

SECTIONS: dict[str, ModuleType] = {
    "table": table,
    "near_ml": near_ml,
    "choice": choice,
    "roofline": roofline,
    "stages": stages,
    "growth": growth,
    "latency": latency,
}
