# SPDX-License-Identifier: GPL-3.0-or-later
"""What blocks need of GNU Radio beyond its Python: `_gnuradio`, compiled, or `python_gnuradio` where that is not there.

A wheel has no `_gnuradio`, as that has to be compiled against the GNU Radio at hand, and with its pybind11.
"""

from __future__ import annotations

import importlib
import logging
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pmt

if TYPE_CHECKING:
    from . import _gnuradio
else:

    def _load():
        """The compiled module, if it is there and sees the PMTs of this GNU Radio."""
        name = f"{__package__}._gnuradio"
        if (Path(__file__).parent / f"_gnuradio{sysconfig.get_config_var('EXT_SUFFIX')}").exists():
            try:
                module = importlib.import_module(name)
                module.plain(pmt.PMT_NIL)  # TypeError, where another pybind11 has made GNU Radio's types
                return module
            except (ImportError, TypeError) as error:
                logging.getLogger(__name__).warning(
                    "%s was built against another GNU Radio, or with another pybind11 than GNU Radio's: build gr-kaq "
                    "again here. Until then its blocks use GNU Radio's Python, which is slower (%s)",
                    name,
                    str(error).splitlines()[0],
                )
        return importlib.import_module(f"{__package__}.python_gnuradio")

    _gnuradio = _load()

__all__ = ["_gnuradio"]
