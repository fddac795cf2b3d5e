# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutual information of bits and their LLRs, and the SNR of white noise that has as much: the effective SNR.

    I = 1 - E[H2(1 / (1 + exp(|L|)))]            from LLRs alone: right as far as they are calibrated
    I = 1 - E[log2(1 + exp(-(2 b - 1) L))]       from LLRs and the bits b that were sent

The mean over all bits of a frame says how well a long code does on it, whatever the detector is: a near-ML one is not
judged by the SINR of a linear filter. It is compared with that of the same constellation in white noise, with bits that
are detected one by one (Caire, Taricco and Biglieri, "Bit-interleaved coded modulation", IEEE Trans. Inf. Theory 44(3),
1998).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..signals.constellation import Constellation

__all__ = ["SNR_RANGE_DB", "effective_snr", "mutual_information", "white_noise_information"]

SNR_RANGE_DB = (-15.0, 40.0)
STEP_DB = 0.5
POINTS, REACH = 121, 6.0  # of the integral over the noise of one dimension, in standard deviations


def mutual_information(
    llrs: NDArray[np.floating], bits: NDArray[np.uint8] | None = None, axis: int | tuple[int, ...] | None = None
) -> NDArray[np.float64]:
    """Mutual information per bit, 0 to 1 (less, where known bits show that LLRs are wrong), the mean over `axis`.

    Args:
        llrs: ln P(b=1)/P(b=0). NaN counts as 0.
        bits: that were sent, of the same shape; None: the LLRs are believed.
        axis: of the mean; None: all.
    """
    values = np.nan_to_num(np.asarray(llrs, np.float64), nan=0.0, posinf=1e4, neginf=-1e4)
    if bits is None:
        magnitudes = np.abs(values)
        unknown = np.logaddexp(0, -magnitudes) + magnitudes / (1 + np.exp(np.minimum(magnitudes, 700)))
    else:
        unknown = np.logaddexp(0, np.where(bits, -values, values))
    information: NDArray[np.float64] = 1 - np.mean(unknown, axis=axis) / np.log(2)
    return information


def white_noise_information(constellation: Constellation, snr_db: ArrayLike) -> NDArray[np.float64]:
    """Mutual information per bit of a constellation of unit power in white noise at these SNRs (`SNR_RANGE_DB`)."""
    return np.interp(np.asarray(snr_db, np.float64), *_curve(constellation))


def effective_snr(constellation: Constellation, information: ArrayLike) -> NDArray[np.float64]:
    """SNR in dB at which white noise leaves so much mutual information per bit; within `SNR_RANGE_DB`."""
    snrs, values = _curve(constellation)
    return np.interp(np.asarray(information, np.float64), values, snrs)


@lru_cache(maxsize=8)
def _curve(constellation: Constellation) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """SNRs in dB, ascending, and the mutual information there."""
    snrs = np.arange(SNR_RANGE_DB[0], SNR_RANGE_DB[1] + STEP_DB / 2, STEP_DB)
    levels = constellation.levels * constellation.half_distance
    bits = constellation.level_bits
    alike = (bits[:, None] == bits).astype(np.float64)  # (levels, levels, bits): which levels share a bit's value
    noise = np.linspace(-REACH, REACH, POINTS)
    weights = np.exp(-(noise**2) / 2)
    weights /= weights.sum() * bits.size * np.log(2)
    information = []
    for snr_db in snrs:
        deviation = np.sqrt(10 ** (-snr_db / 10) / 2)
        received = levels[:, None] + deviation * noise  # (levels, points)
        likelihoods = np.exp(-((received[..., None] - levels) ** 2) / (2 * deviation**2))
        of_bits = likelihoods @ alike  # (levels, points, bits): of the levels whose bit is that of the one sent
        unknown = np.log(likelihoods.sum(axis=-1)[..., None] / of_bits).sum(axis=(0, 2)) @ weights
        information.append(1 - float(unknown))
    return snrs, np.maximum.accumulate(information)
