# SPDX-License-Identifier: GPL-3.0-or-later
"""The signal model y = H x + n and the one definition of SNR that the whole project uses.

y: (num_rx,), H: (num_rx, num_tx), x: (num_tx,) with E|x|^2 = 1 per stream, n ~ CN(0, noise_var I).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Noise", "db", "from_db", "noise_var_from_snr", "snr_from_noise_var"]


def db(ratio: ArrayLike) -> NDArray[np.float64]:
    """Power ratio in dB."""
    return 10.0 * np.log10(np.asarray(ratio, np.float64))


def from_db(decibels: ArrayLike) -> NDArray[np.float64]:
    """Power ratio of a value in dB."""
    return 10.0 ** (np.asarray(decibels, np.float64) / 10.0)


def _received_power(h: NDArray, axes: tuple[int, ...]) -> NDArray[np.float64]:
    """Mean received signal power per antenna, ||H||_F^2 / num_rx averaged over the leading `axes`."""
    power = np.sum(np.square(h.real, dtype=np.float64) + np.square(h.imag, dtype=np.float64), axis=(-2, -1))
    return np.mean(power / h.shape[-2], axis=axes)


def noise_var_from_snr(h: NDArray, snr_db: ArrayLike) -> NDArray[np.float64]:
    """Noise variance per receive antenna from the SNR in dB.

    SNR = (||H||_F^2 / num_rx) / noise_var.

    Args:
        h: channels (..., num_rx, num_tx).
        snr_db: one value for all of `h` (the received power is then averaged over the leading axes, as the
            subcarriers of one estimate are), or one per channel, of shape (...).

    Returns:
        noise_var with the shape of `snr_db`, float64, in units of received power.
    """
    snr_db = np.asarray(snr_db, np.float64)
    axes = tuple(range(h.ndim - 2)) if snr_db.ndim == 0 else ()
    power = _received_power(h, axes)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # Inf for what double precision cannot hold
        return np.where(power > 0, power / from_db(snr_db), 0.0)


def snr_from_noise_var(h: NDArray, noise_var: ArrayLike) -> NDArray[np.float64]:
    """SNR in dB from the noise variance: the inverse of `noise_var_from_snr`, with the same shapes."""
    noise_var = np.asarray(noise_var, np.float64)
    axes = tuple(range(h.ndim - 2)) if noise_var.ndim == 0 else ()
    power = _received_power(h, axes)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(power > 0, db(power) - db(noise_var), -np.inf)


class Noise(NamedTuple):
    """How strong the noise over C channels is: exactly one of its attributes is known.

    Attributes:
        snr_db: SNR in dB, (1,) for all channels together, or (C,).
        noise_var: noise variance per receive antenna, (1,) for all channels, or (C,).
    """

    snr_db: NDArray[np.float64] | None = None
    noise_var: NDArray[np.float64] | None = None

    def over(self, h: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """SNR in dB and noise variance over the channels h (C, num_rx, num_tx), each (1,) or (C,).

        Raises:
            ValueError: h holds NaN or Inf.
        """
        if not np.isfinite(h).all():
            raise ValueError("h holds NaN or Inf")

        def given(values: NDArray[np.float64]) -> NDArray[np.float64]:
            return values[0] if values.size == 1 else values

        if self.noise_var is None:
            assert self.snr_db is not None
            return self.snr_db, np.atleast_1d(noise_var_from_snr(h, given(self.snr_db)))
        return np.atleast_1d(snr_from_noise_var(h, given(self.noise_var))), self.noise_var
