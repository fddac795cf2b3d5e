# SPDX-License-Identifier: GPL-3.0-or-later
"""Detectors that are not ours, by name: Sionna's (`peers`), and exact ones (`exact`)."""

from __future__ import annotations

import gr_kaq
from gr_kaq.detection.detector import Detector

from .exact import EXACT, EXACT_ML, load_exact, sphere_decoder
from .peers import PEERS, PeersUnavailableError, load_peer, sionna_module

__all__ = ["is_reference", "is_slow", "load", "missing", "present"]


def is_reference(name: str) -> bool:
    """Whether a detector is one of Sionna's or an exact one: these are slow."""
    return name in PEERS or name in EXACT


def is_slow(name: str) -> bool:
    """Whether a detector is a reference, or a list detector's twin, which runs in NumPy: they get a smaller budget."""
    return is_reference(name) or (name.startswith("list") and name.endswith("-fp"))


def load(name: str, constellation: str, hard: bool = False) -> Detector:
    """A detector of this package, or a reference, for a constellation ("qpsk", "16qam", ...).

    `hard`: its LLRs are not looked at, see `load_peer`.

    Raises:
        ValueError: no such detector, or not for this constellation.
        PeersUnavailableError: what it needs is not installed.
    """
    if name in PEERS:
        return load_peer(name, constellation, hard)
    if name in EXACT:
        return load_exact(name, constellation)
    return gr_kaq.load_detector(name, constellation=constellation)


def missing(name: str) -> str | None:
    """Why a reference is left out, with what to install; None where it is there."""
    try:
        if name in PEERS:
            sionna_module("mimo")
        elif name == EXACT_ML:
            sphere_decoder()
    except PeersUnavailableError as error:
        return str(error)
    return None


def present(*names: str) -> list[str]:
    """Those of the references that are there."""
    return [name for name in names if missing(name) is None]
