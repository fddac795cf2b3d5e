# SPDX-License-Identifier: GPL-3.0-or-later
"""Time-varying multipath: the tapped delay lines of 3GPP TR 38.901 with Jakes Doppler."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .delay_line import DelayLine, check_line, phasors, read_profile

__all__ = ["PROFILES", "TappedDelayLine"]

SINUSOIDS = 16
BLOCK = 1 << 15  # phasors at once, so that they stay in the cache

# Tables 7.7.2-1 to 7.7.2-5 of TR 38.901: delay over RMS delay spread, and power in dB. The first row of D and E is the
# line of sight, whose Doppler section 7.7.2 puts at 0.7 of the maximum. The spread of D as published is 0.994, not 1.
LINE_OF_SIGHT, LINE_OF_SIGHT_DOPPLER = ("tdl-d", "tdl-e"), 0.7
PROFILES: dict[str, tuple[tuple[float, float], ...]] = {
    "flat": ((0.0, 0.0),),
    "tdl-a": (
        (0.0000, -13.4), (0.3819, 0.0), (0.4025, -2.2), (0.5868, -4.0), (0.4610, -6.0), (0.5375, -8.2),
        (0.6708, -9.9), (0.5750, -10.5), (0.7618, -7.5), (1.5375, -15.9), (1.8978, -6.6), (2.2242, -16.7),
        (2.1718, -12.4), (2.4942, -15.2), (2.5119, -10.8), (3.0582, -11.3), (4.0810, -12.7), (4.4579, -16.2),
        (4.5695, -18.3), (4.7966, -18.9), (5.0066, -16.6), (5.3043, -19.9), (9.6586, -29.7),
    ),
    "tdl-b": (
        (0.0000, 0.0), (0.1072, -2.2), (0.2155, -4.0), (0.2095, -3.2), (0.2870, -9.8), (0.2986, -1.2),
        (0.3752, -3.4), (0.5055, -5.2), (0.3681, -7.6), (0.3697, -3.0), (0.5700, -8.9), (0.5283, -9.0),
        (1.1021, -4.8), (1.2756, -5.7), (1.5474, -7.5), (1.7842, -1.9), (2.0169, -7.6), (2.8294, -12.2),
        (3.0219, -9.8), (3.6187, -11.4), (4.1067, -14.9), (4.2790, -9.2), (4.7834, -11.3),
    ),
    "tdl-c": (
        (0.0000, -4.4), (0.2099, -1.2), (0.2219, -3.5), (0.2329, -5.2), (0.2176, -2.5), (0.6366, 0.0),
        (0.6448, -2.2), (0.6560, -3.9), (0.6584, -7.4), (0.7935, -7.1), (0.8213, -10.7), (0.9336, -11.1),
        (1.2285, -5.1), (1.3083, -6.8), (2.1704, -8.7), (2.7105, -13.2), (4.2589, -13.9), (4.6003, -13.9),
        (5.4902, -15.8), (5.6077, -17.1), (6.3065, -16.0), (6.6374, -15.7), (7.0427, -21.6), (8.6523, -22.8),
    ),
    "tdl-d": (
        (0.0000, -0.2), (0.0000, -13.5), (0.0350, -18.8), (0.6120, -21.0), (1.3630, -22.8), (1.4050, -17.9),
        (1.8040, -20.1), (2.5960, -21.9), (1.7750, -22.9), (4.0420, -27.8), (7.9370, -23.6), (9.4240, -24.8),
        (9.7080, -30.0), (12.5250, -27.7),
    ),
    "tdl-e": (
        (0.0000, -0.03), (0.0000, -22.03), (0.5133, -15.8), (0.5440, -18.1), (0.5630, -19.8), (0.5440, -22.9),
        (0.7112, -22.4), (1.9092, -18.6), (1.9293, -20.8), (1.9589, -22.6), (2.6426, -22.3), (3.7136, -25.6),
        (5.4524, -20.2), (12.0034, -29.8), (20.6519, -29.2),
    ),
}  # fmt: skip


class TappedDelayLine(DelayLine):
    """Channels of a MIMO link that fade: independent taps with one power delay profile for all pairs of antennas.

        H(t, f) = sum over taps p of g_p(t) exp(-2j pi f delays[p])     E|g_p|^2 = powers[p], sum of powers 1

    Each tap of each pair is a sum of sinusoids whose angles of arrival lie at random in equal sectors, after Xiao,
    Zheng and Beaulieu ("Novel sum-of-sinusoids simulation models for Rayleigh and Rician fading channels", IEEE Trans.
    Wireless Commun. 5(12), 2006): over the ensemble the autocorrelation is powers[p] J0(2 pi doppler t), that of
    Clarke and Jakes. The line of sight of TDL-D and -E has a random phase of its own in each pair.

    Args:
        num_rx, num_tx: antennas and streams.
        profile: a key of `PROFILES`: ``"flat"`` (a single tap) or ``"tdl-a"`` to ``"tdl-e"``.
        delay_spread: RMS delay spread, in seconds.
        doppler: the largest Doppler shift, in Hz; 0: nothing changes.
        seed: the same seed draws the same channel.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        num_rx: int,
        num_tx: int,
        *,
        profile: str = "tdl-a",
        delay_spread: float = 100e-9,
        doppler: float = 0.0,
        seed: int | np.random.SeedSequence = 0,
    ):
        check_line(num_rx, num_tx, delay_spread, doppler)
        delays, powers, _ = read_profile(profile, PROFILES)
        self._line_of_sight = 0.0
        if profile in LINE_OF_SIGHT:
            self._line_of_sight, delays, powers = math.sqrt(powers[0]), delays[1:], powers[1:]
        self._amplitudes = np.sqrt(powers / SINUSOIDS).astype(np.float32)[:, None, None]
        powers[0] += self._line_of_sight**2
        super().__init__(delays * delay_spread, powers, doppler)

        # Shift in Hz and phase in turns of each sinusoid, (taps * num_rx * num_tx, sinusoids), and of the line of sight
        rng = np.random.default_rng(seed)
        self._shape = (len(delays), num_rx, num_tx)
        size = (math.prod(self._shape), SINUSOIDS)
        angles = (np.arange(SINUSOIDS) + rng.random(size)) / SINUSOIDS
        self._sinusoids = doppler * np.cos(2 * np.pi * angles), rng.random(size)
        direct_shift = np.full((num_rx * num_tx, 1), LINE_OF_SIGHT_DOPPLER * doppler)
        self._direct = direct_shift, rng.random((num_rx * num_tx, 1))

    def _gains(self, coarse: NDArray[np.float64], fine: NDArray[np.float64]) -> NDArray[np.complex64]:
        gains = _sums_of_sinusoids(*self._sinusoids, coarse, fine).reshape(-1, *self._shape)
        gains *= self._amplitudes
        if self._line_of_sight:
            direct = _sums_of_sinusoids(*self._direct, coarse, fine).reshape(-1, *self._shape[1:])
            gains[:, 0] += np.float32(self._line_of_sight) * direct
        return gains


def _sums_of_sinusoids(
    shifts: NDArray[np.float64], phases: NDArray[np.float64], coarse: NDArray[np.float64], fine: NDArray[np.float64]
) -> NDArray[np.complex64]:
    """Sums over sinusoids at every sum of a coarse and a fine time, (coarse * fine, sums).

    A sinusoid turns from a coarse time by the same angles each time, so that fewer sines are evaluated.

    Args:
        shifts, phases: (sums, sinusoids), in Hz and in turns.
        coarse, fine: in seconds.
    """
    sums = np.empty((len(coarse) * len(fine), len(shifts)), np.complex64)
    block = max(1, BLOCK // (shifts.shape[1] * max(len(coarse), len(fine))))
    for first in range(0, len(shifts), block):
        part = slice(first, first + block)
        begin = phasors(coarse[:, None] * shifts[part, None] + phases[part, None])
        turn = phasors(shifts[part, :, None] * fine)
        sums[:, part] = (begin @ turn).reshape(len(begin), -1).T
    return sums
