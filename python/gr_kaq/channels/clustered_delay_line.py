# SPDX-License-Identifier: GPL-3.0-or-later
"""Clustered delay lines: the CDL channels of 3GPP TR 38.901, whose paths come from directions.

What tapped delay lines do not have follows from the directions: antennas that are alike, Doppler spectra that are
narrow and off the carrier, another one for each delay.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .delay_line import DelayLine, check_line, phasors, read_profile

__all__ = ["CLUSTERS", "ClusteredDelayLine"]

# Table 7.5-3 of TR 38.901: the 20 rays of a cluster, for an RMS angle of 1
HALF_OFFSETS = (0.0447, 0.1413, 0.2492, 0.3715, 0.5129, 0.6797, 0.8844, 1.1481, 1.5195, 2.1551)
OFFSETS = np.array([sign * offset for offset in HALF_OFFSETS for sign in (1, -1)])
RAYS = len(OFFSETS)

# Tables 7.7.1-1 to 7.7.1-5: RMS angles within a cluster in degrees (departure, arrival, each azimuth and zenith), and
# the clusters: delay over RMS delay spread, power in dB, azimuth of departure and of arrival, zenith of departure and
# of arrival in degrees. The first row of D and E is the line of sight, a single ray.
LINE_OF_SIGHT = ("cdl-d", "cdl-e")
SPREADS: dict[str, tuple[float, float, float, float]] = {
    "cdl-a": (5, 11, 3, 3),
    "cdl-b": (10, 22, 3, 7),
    "cdl-c": (2, 15, 3, 7),
    "cdl-d": (5, 8, 3, 3),
    "cdl-e": (5, 11, 3, 7),
}
CLUSTERS: dict[str, tuple[tuple[float, float, float, float, float, float], ...]] = {
    "cdl-a": (
        (0.0000, -13.4, -178.1, 51.3, 50.2, 125.4), (0.3819, 0, -4.2, -152.7, 93.2, 91.3),
        (0.4025, -2.2, -4.2, -152.7, 93.2, 91.3), (0.5868, -4, -4.2, -152.7, 93.2, 91.3),
        (0.4610, -6, 90.2, 76.6, 122, 94), (0.5375, -8.2, 90.2, 76.6, 122, 94),
        (0.6708, -9.9, 90.2, 76.6, 122, 94), (0.5750, -10.5, 121.5, -1.8, 150.2, 47.1),
        (0.7618, -7.5, -81.7, -41.9, 55.2, 56), (1.5375, -15.9, 158.4, 94.2, 26.4, 30.1),
        (1.8978, -6.6, -83, 51.9, 126.4, 58.8), (2.2242, -16.7, 134.8, -115.9, 171.6, 26),
        (2.1718, -12.4, -153, 26.6, 151.4, 49.2), (2.4942, -15.2, -172, 76.6, 157.2, 143.1),
        (2.5119, -10.8, -129.9, -7, 47.2, 117.4), (3.0582, -11.3, -136, -23, 40.4, 122.7),
        (4.0810, -12.7, 165.4, -47.2, 43.3, 123.2), (4.4579, -16.2, 148.4, 110.4, 161.8, 32.6),
        (4.5695, -18.3, 132.7, 144.5, 10.8, 27.2), (4.7966, -18.9, -118.6, 155.3, 16.7, 15.2),
        (5.0066, -16.6, -154.1, 102, 171.7, 146), (5.3043, -19.9, 126.5, -151.8, 22.7, 150.7),
        (9.6586, -29.7, -56.2, 55.2, 144.9, 156.1),
    ),
    "cdl-b": (
        (0.0000, 0, 9.3, -173.3, 105.8, 78.9), (0.1072, -2.2, 9.3, -173.3, 105.8, 78.9),
        (0.2155, -4, 9.3, -173.3, 105.8, 78.9), (0.2095, -3.2, -34.1, 125.5, 115.3, 63.3),
        (0.2870, -9.8, -65.4, -88, 119.3, 59.9), (0.2986, -1.2, -11.4, 155.1, 103.2, 67.5),
        (0.3752, -3.4, -11.4, 155.1, 103.2, 67.5), (0.5055, -5.2, -11.4, 155.1, 103.2, 67.5),
        (0.3681, -7.6, -67.2, -89.8, 118.2, 82.6), (0.3697, -3, 52.5, 132.1, 102, 66.3),
        (0.5700, -8.9, -72, -83.6, 100.4, 61.6), (0.5283, -9, 74.3, 95.3, 98.3, 58),
        (1.1021, -4.8, -52.2, 103.7, 103.4, 78.2), (1.2756, -5.7, -50.5, -87.8, 102.5, 82),
        (1.5474, -7.5, 61.4, -92.5, 101.4, 62.4), (1.7842, -1.9, 30.6, -139.1, 103, 78),
        (2.0169, -7.6, -72.5, -90.6, 100, 60.9), (2.8294, -12.2, -90.6, 58.6, 115.2, 82.9),
        (3.0219, -9.8, -77.6, -79, 100.5, 60.8), (3.6187, -11.4, -82.6, 65.8, 119.6, 57.3),
        (4.1067, -14.9, -103.6, 52.7, 118.7, 59.9), (4.2790, -9.2, 75.6, 88.7, 117.8, 60.1),
        (4.7834, -11.3, -77.6, -60.4, 115.7, 62.3),
    ),
    "cdl-c": (
        (0.0000, -4.4, -46.6, -101, 97.2, 87.6), (0.2099, -1.2, -22.8, 120, 98.6, 72.1),
        (0.2219, -3.5, -22.8, 120, 98.6, 72.1), (0.2329, -5.2, -22.8, 120, 98.6, 72.1),
        (0.2176, -2.5, -40.7, -127.5, 100.6, 70.1), (0.6366, 0, 0.3, 170.4, 99.2, 75.3),
        (0.6448, -2.2, 0.3, 170.4, 99.2, 75.3), (0.6560, -3.9, 0.3, 170.4, 99.2, 75.3),
        (0.6584, -7.4, 73.1, 55.4, 105.2, 67.4), (0.7935, -7.1, -64.5, 66.5, 95.3, 63.8),
        (0.8213, -10.7, 80.2, -48.1, 106.1, 71.4), (0.9336, -11.1, -97.1, 46.9, 93.5, 60.5),
        (1.2285, -5.1, -55.3, 68.1, 103.7, 90.6), (1.3083, -6.8, -64.3, -68.7, 104.2, 60.1),
        (2.1704, -8.7, -78.5, 81.5, 93, 61), (2.7105, -13.2, 102.7, 30.7, 104.2, 100.7),
        (4.2589, -13.9, 99.2, -16.4, 94.9, 62.3), (4.6003, -13.9, 88.8, 3.8, 93.1, 66.7),
        (5.4902, -15.8, -101.9, -13.7, 92.2, 52.9), (5.6077, -17.1, 92.2, 9.7, 106.7, 61.8),
        (6.3065, -16, 93.3, 5.6, 93, 51.9), (6.6374, -15.7, 106.6, 0.7, 92.9, 61.7),
        (7.0427, -21.6, 119.5, -21.9, 105.2, 58), (8.6523, -22.8, -123.8, 33.6, 107.8, 57),
    ),
    "cdl-d": (
        (0.0000, -0.2, 0, -180, 98.5, 81.5), (0.0000, -13.5, 0, -180, 98.5, 81.5),
        (0.0350, -18.8, 89.2, 89.2, 85.5, 86.9), (0.6120, -21, 89.2, 89.2, 85.5, 86.9),
        (1.3630, -22.8, 89.2, 89.2, 85.5, 86.9), (1.4050, -17.9, 13, 163, 97.5, 79.4),
        (1.8040, -20.1, 13, 163, 97.5, 79.4), (2.5960, -21.9, 13, 163, 97.5, 79.4),
        (1.7750, -22.9, 34.6, -137, 98.5, 78.2), (4.0420, -27.8, -64.5, 74.5, 88.4, 73.6),
        (7.9370, -23.6, -32.9, 127.7, 91.3, 78.3), (9.4240, -24.8, 52.6, -119.6, 103.8, 87),
        (9.7080, -30, -132.1, -9.1, 80.3, 70.6), (12.5250, -27.7, 77.2, -83.8, 86.5, 72.9),
    ),
    "cdl-e": (
        (0.0000, -0.03, 0, -180, 99.6, 80.4), (0.0000, -22.03, 0, -180, 99.6, 80.4),
        (0.5133, -15.8, 57.5, 18.2, 104.2, 80.4), (0.5440, -18.1, 57.5, 18.2, 104.2, 80.4),
        (0.5630, -19.8, 57.5, 18.2, 104.2, 80.4), (0.5440, -22.9, -20.1, 101.8, 99.4, 80.8),
        (0.7112, -22.4, 16.2, 112.9, 100.8, 86.3), (1.9092, -18.6, 9.3, -155.5, 98.8, 82.7),
        (1.9293, -20.8, 9.3, -155.5, 98.8, 82.7), (1.9589, -22.6, 9.3, -155.5, 98.8, 82.7),
        (2.6426, -22.3, 19, -143.3, 100.8, 82.9), (3.7136, -25.6, 32.7, -94.7, 96.4, 88),
        (5.4524, -20.2, 0.5, 147, 98.9, 81), (12.0034, -29.8, 55.9, -36.2, 95.6, 88.6),
        (20.6419, -29.2, 57.6, -26, 104.6, 78.3),
    ),
}  # fmt: skip
"""The CDL profiles, by their names."""


class ClusteredDelayLine(DelayLine):
    """Channels of a MIMO link whose rays have directions, 20 for each cluster (TR 38.901, 7.7.1 with 7.5, step 11).

        g_p,ij(t) = sum over rays m of a_m exp(2j pi (phase_m + i u_m / 2 + j w_m / 2 + shift_m t))

    An uplink: the table's angles of departure are those at the base station, which receives, its angles of arrival
    those at the terminal, which sends and moves. Both have a horizontal line of antennas half a wavelength apart, of
    vertical polarization and without gain, that faces the other: u_m and w_m are the sines of azimuth times zenith of
    ray m there. (The tables' cross-polarization, which such antennas do not see, is left out.) The terminal moves
    horizontally; with an angle of A between that and the ray, shift_m is doppler cos(A). So all pairs of antennas have
    the same Doppler spectrum, but each delay has its own, and over pairs they are correlated.

    At random are the phases, how the angles within a cluster are paired, and the direction in which the terminal moves.

    Args:
        num_rx, num_tx: antennas of the base station and of the terminal; each antenna of the latter is a stream.
        profile: a key of `CLUSTERS`: ``"cdl-a"`` to ``"cdl-e"``.
        delay_spread: RMS delay spread, in seconds.
        doppler: the largest Doppler shift, in Hz: speed over wavelength; 0: nothing changes.
        seed: the same seed draws the same channel.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        num_rx: int,
        num_tx: int,
        *,
        profile: str = "cdl-c",
        delay_spread: float = 100e-9,
        doppler: float = 0.0,
        seed: int | np.random.SeedSequence = 0,
    ):
        check_line(num_rx, num_tx, delay_spread, doppler)
        delays, powers, degrees = read_profile(profile, CLUSTERS)
        rng = np.random.default_rng(seed)
        direct = degrees[:, 0]
        line_of_sight = powers[0] if profile in LINE_OF_SIGHT else 0.0
        if line_of_sight:
            delays, powers, degrees = delays[1:], powers[1:], degrees[:, 1:]
        # Angles (4, clusters, rays): each offset is met once in a cluster, in an order of its own
        order = rng.permuted(np.broadcast_to(OFFSETS, (4, len(delays), RAYS)), axis=2)
        angles = degrees[:, :, None] + np.array(SPREADS[profile])[:, None, None] * order
        phase = rng.random((len(delays), RAYS))
        amplitude = np.repeat(np.sqrt(powers / RAYS)[:, None], RAYS, axis=1)
        if line_of_sight:  # one more ray, with nothing in the other clusters
            angles = np.concatenate([angles, np.broadcast_to(direct[:, None, None], (4, len(delays), 1))], axis=2)
            phase = np.concatenate([phase, rng.random((len(delays), 1))], axis=1)
            extra = np.zeros((len(delays), 1))
            extra[0] = math.sqrt(line_of_sight)
            amplitude = np.concatenate([amplitude, extra], axis=1)
            powers[0] += line_of_sight
        super().__init__(delays * delay_spread, powers, doppler)
        base, terminal, base_zenith, terminal_zenith = np.deg2rad(angles)
        heading = 2 * np.pi * rng.random()
        self._shifts = doppler * np.cos(terminal - heading) * np.sin(terminal_zenith)
        self._phases = phase
        at_base = np.arange(num_rx) * (np.sin(base) * np.sin(base_zenith))[..., None] / 2
        at_terminal = np.arange(num_tx) * (np.sin(terminal) * np.sin(terminal_zenith))[..., None] / 2
        turns = at_base[..., :, None] + at_terminal[..., None, :]  # (clusters, rays, num_rx, num_tx)
        weights = amplitude[..., None, None] * np.exp(2j * np.pi * turns)
        self._size = (num_rx, num_tx)
        self._weights = weights.reshape(*amplitude.shape, -1).astype(np.complex64)

    def _gains(self, coarse: NDArray[np.float64], fine: NDArray[np.float64]) -> NDArray[np.complex64]:
        # a ray turns from a coarse time by the same angles each time, so that fewer sines are evaluated
        begin = phasors(self._shifts[:, None] * coarse[:, None] + self._phases[:, None])  # (clusters, coarse, rays)
        turn = phasors(self._shifts[:, None] * fine[:, None])
        rays = (begin[:, :, None] * turn[:, None]).reshape(len(begin), -1, begin.shape[-1])
        gains = (rays @ self._weights).swapaxes(0, 1)
        return np.ascontiguousarray(gains).reshape(len(gains), -1, *self._size)
