# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages and tags `beam`: a dict of the indices and widths of a `gr_kaq.beams.planar_array.Beam`."""

from __future__ import annotations

from typing import Any

import pmt

from ..beams.planar_array import Beam, PlanarArray
from .access import _gnuradio
from .base import dict_of

__all__ = ["BEAM", "beam_to_pmt", "parse_beam"]

BEAM = pmt.intern("beam")
FIELDS = [pmt.intern(name) for name in Beam._fields]


def beam_to_pmt(beam: Beam) -> Any:
    """A PMT dict with `first`, `second`, `first_width` and `second_width`."""
    return _gnuradio.extend_dict(pmt.make_dict(), FIELDS, [pmt.from_long(int(value)) for value in beam])


def parse_beam(message: Any, array: PlanarArray) -> Beam:
    """The beam in a PMT, which may be anything; widths that are left out are 1.

    Raises:
        ValueError: it is no dict, lacks an index, or has something that is no beam of the array.
    """
    entries = dict_of(message)
    values = []
    for name, key in zip(Beam._fields, FIELDS, strict=True):
        value = pmt.dict_ref(entries, key, pmt.from_long(1) if name.endswith("width") else pmt.PMT_NIL)
        if value is None or not pmt.is_integer(value):
            raise ValueError(f"`{name}` is no whole number")
        values.append(pmt.to_long(value))
    return array.check(values)
