# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts recorded frames into one phase and one timing: each has its own, of oscillators and of when it was found.

A phase and a delay, the same for all pairs of antennas, make each frame as like as can be to what the frames before
let expect. What is expected matters: where a frame is turned towards the one before, what all pairs' fading has in
common is lost, and forecasts are 1 to 2 dB worse.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..estimation.observation import j0
from .fading import Fading
from .likelihood import DOPPLERS
from .series import Series
from .taps import strongest_taps
from .wiener import known_wiener

__all__ = ["aligned"]

STEPS = 3
BEFORE = 8  # frames that the next one is expected from
NEAR = 16  # steps up to which two frames say how fast they change
FASTEST = 0.3  # cycles per step: beyond, nothing can be expected, and slow fading looks alike
WINDOW, TAPS = 64, 4  # of what the Doppler is estimated from
LEAST_NOISE = 1e-2  # over the power: what is expected must not follow every error

Expected = Callable[[list[int], int], NDArray[np.complexfloating]]
"""Weights of frames, by their numbers, for a frame that comes later."""


def aligned(h: NDArray[np.complexfloating], carriers: ArrayLike, times: ArrayLike) -> NDArray[np.complex128]:
    """Channels turned into one phase and timing.

    First each frame towards the one before. From that follows a Doppler, and from it a Wiener prediction, towards which
    each frame is turned then. What turns all pairs alike is taken away, as far as it is not expected: one oscillator
    cannot be told from one moving line of sight.

    Args:
        h: (T, F, num_rx, num_tx); a frame with a number that is not finite stays as it is.
        carriers: their numbers, (F,), more than four.
        times: of the frames, ascending, (T,).
    """
    numbers, moments = np.asarray(carriers, np.float64), np.asarray(times, np.float64)
    first = _turned(h, numbers, lambda before, frame: np.eye(len(before))[-1])
    whole = np.flatnonzero(np.isfinite(first).all(axis=(1, 2, 3)))[:WINDOW]
    if len(whole) < 2:
        return first
    taps = strongest_taps(first[whole], carriers, TAPS)(first[whole]).reshape(len(whole), -1).T
    if not taps.any(axis=0).all():
        return first
    doppler, noise = _fading(moments[whole], taps)

    def expected(before: list[int], frame: int) -> NDArray[np.complex128]:
        one = Series(moments[before], np.eye(len(before)), noise)
        ahead = moments[frame] - moments[before[-1]]
        return known_wiener(one, [ahead], Fading(doppler).correlation, np.ones(len(before))).values[:, 0]

    return _turned(h, numbers, expected)


def _fading(times: NDArray[np.float64], taps: NDArray[np.complex128]) -> tuple[float, float]:
    """Doppler and noise over power, of series (S, T) that have a phase of their own at each time.

    No such phase changes |g(t)^H g(s)|^2 / (|g(t)|^2 |g(s)|^2), whose mean falls as J0^2 to what few series leave. Far
    apart, it says nothing but that.
    """
    unit = taps / np.linalg.norm(taps, axis=0)
    first, second = np.triu_indices(len(times), 1)
    step = np.median(np.diff(times))
    near = times[second] - times[first] < (NEAR + 0.5) * step
    first, second = first[near], second[near]
    alike = np.abs(np.sum(unit[:, first].conj() * unit[:, second], axis=0)) ** 2
    lags = times[second] - times[first]
    best = np.inf, 0.0, 1.0
    for doppler in DOPPLERS[DOPPLERS <= FASTEST] / step:
        terms = np.stack([np.ones(len(lags)), j0(2 * np.pi * doppler * lags) ** 2], axis=1)
        gram = terms.T @ terms + 1e-9 * len(lags) * np.eye(2)
        floor, fall = np.linalg.solve(gram, terms.T @ alike)
        error = float(np.sum((terms @ [floor, fall] - alike) ** 2))
        if fall >= 0 and error < best[0]:
            best = error, float(doppler), float(floor + fall)
    return best[1], float(np.clip(1 / np.sqrt(max(best[2], 1e-6)) - 1, LEAST_NOISE, 1))


def _turned(
    h: NDArray[np.complexfloating], carriers: NDArray[np.float64], expected: Expected
) -> NDArray[np.complex128]:
    turned = np.array(h, np.complex128)
    before: list[int] = []
    for number, frame in enumerate(turned):
        if not np.isfinite(frame).all():
            continue
        if before:
            reference = np.tensordot(expected(before, number), turned[before], axes=1)
            products = np.sum(reference.conj() * frame, axis=(1, 2))
            frame *= np.exp(-1j * _line(products, carriers))[:, None, None]
        before = [*before, number][-BEFORE:]
    return turned


def _line(products: NDArray[np.complex128], carriers: NDArray[np.float64]) -> NDArray[np.float64]:
    """The phases (F,), on a line over the carriers, that products have."""
    phases = np.zeros(len(carriers))
    if np.any(products):
        slope = np.angle(np.sum(products[1:] * products[:-1].conj())) / np.median(np.diff(carriers))
        phases = slope * carriers
        phases += np.angle(np.sum(products * np.exp(-1j * phases)))
        for _ in range(STEPS):
            left = products * np.exp(-1j * phases)
            weights = np.sqrt(np.abs(left))
            phases += np.polynomial.Polynomial.fit(carriers, np.angle(left), 1, w=weights)(carriers)
    return phases
