# SPDX-License-Identifier: GPL-3.0-or-later
"""What a valid channel estimate is, and which noise variance and SNR follow from the estimates received so far.

`blocks.csi_pmt` turns tags and messages into the `ChannelEstimate` of this file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import native
from .noise_covariance import whitening_of
from .signal_model import noise_var_from_snr, snr_from_noise_var

__all__ = [
    "MAX_AMPLITUDE",
    "MAX_NOISE_VAR",
    "MIN_AMPLITUDE",
    "SNR_RANGE_DB",
    "ChannelEstimate",
    "CsiState",
    "InvalidCsi",
    "check_noise_cov",
    "check_noise_var",
    "check_snr",
]

SNR_RANGE_DB = (-40.0, 100.0)
"""An SNR estimate outside this range is taken for a mistake, not for an SNR."""

MAX_AMPLITUDE = 1e12
"""Largest real or imaginary part of h: its powers, summed and inverted, stay finite in single precision."""

MIN_AMPLITUDE = 1e-22
"""Where no part of h is larger, h is zero or refused: the kernels take channels below 1e-24 for zero."""

MAX_NOISE_VAR = MAX_AMPLITUDE**2


class InvalidCsi(ValueError):
    """An estimate that cannot be used.

    Attributes:
        kind: short and the same for every estimate with this fault, so that each fault is logged once.
    """

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


def check_snr(snr_db: float) -> float:
    """Return `snr_db`, or raise InvalidCsi unless it is finite and within `SNR_RANGE_DB`."""
    low, high = SNR_RANGE_DB
    if not low <= snr_db <= high:  # false for NaN
        raise InvalidCsi("snr", f"an SNR of {snr_db:g} dB is outside {low:g} to {high:g} dB")
    return float(snr_db)


def check_noise_var(noise_var: float | NDArray[np.float64], num_subcarriers: int = 1) -> None:
    """Raise InvalidCsi unless it is one number, or one for each subcarrier, finite, from 0 to `MAX_NOISE_VAR`."""
    if isinstance(noise_var, np.ndarray) and noise_var.shape != (num_subcarriers,):
        raise InvalidCsi(
            "noise_var shape", f"noise_var has shape {noise_var.shape}; one number, or {num_subcarriers} expected"
        )
    for value in np.atleast_1d(noise_var):
        if not 0 <= value <= MAX_NOISE_VAR:  # false for NaN
            raise InvalidCsi("noise_var", f"a noise variance of {value:g} is outside 0 to {MAX_NOISE_VAR:g}")


def check_noise_cov(noise_cov: NDArray[np.complex64], num_subcarriers: int, num_rx: int) -> None:
    """Raise InvalidCsi unless these are covariances, (num_subcarriers or 1, num_rx, num_rx), and positive definite."""
    if noise_cov.shape not in ((1, num_rx, num_rx), (num_subcarriers, num_rx, num_rx)):
        raise InvalidCsi(
            "noise_cov shape",
            f"noise_cov has shape {noise_cov.shape}; {(num_subcarriers, num_rx, num_rx)} or {(1, num_rx, num_rx)} "
            "expected",
        )
    try:
        _, noise_var = whitening_of(noise_cov)
    except ValueError as error:
        raise InvalidCsi("noise_cov", str(error)) from None
    check_noise_var(float(noise_var.max()))


@dataclass(frozen=True, eq=False)
class ChannelEstimate:
    """A channel estimate as it was received.

    Args:
        h: complex64 (num_subcarriers, num_rx, num_tx). All zeros is valid: nothing gets through.
        noise_var: noise variance per receive antenna, where it came with the estimate: of all subcarriers, or (S,).
        snr_db: SNR in dB (definition: `signal_model`), where it came with the estimate.
        seq: sequence number, where it came with the estimate.
        noise_cov: complex64 (S or 1, num_rx, num_rx), covariance of the noise, where it came with the estimate.
    """

    h: NDArray[np.complex64]
    noise_var: float | NDArray[np.float64] | None = None
    snr_db: float | None = None
    seq: int | None = None
    noise_cov: NDArray[np.complex64] | None = None
    _valid_shape: tuple[int, int, int] | None = field(default=None, init=False, repr=False)

    @classmethod
    def checked(cls, shape: tuple[int, int, int], *fields: Any) -> ChannelEstimate:
        """One that is known to pass `check` for this shape."""
        estimate = cls(*fields)
        object.__setattr__(estimate, "_valid_shape", shape)
        return estimate

    def check(self, shape: tuple[int, int, int]) -> None:
        """Raise InvalidCsi unless the estimate has this shape and every value is in range."""
        if self._valid_shape == shape:  # on its way an estimate is checked more than once
            return
        if self.h.shape != shape:
            raise InvalidCsi("shape", f"h has shape {self.h.shape}; {shape} (num_subcarriers, num_rx, num_tx) expected")
        h = np.ascontiguousarray(self.h, np.complex64)
        # the norm of h is between its largest part and that times the root of their number
        if not h.size * 2 * MIN_AMPLITUDE**2 <= native.squared_norm(h) < MAX_AMPLITUDE**2:
            peak = np.abs(h.view(np.float32)).max()  # NaN, if there is one
            if not np.isfinite(peak):
                raise InvalidCsi("not finite", "h holds NaN or Inf")
            if peak > MAX_AMPLITUDE:
                raise InvalidCsi("range", f"h holds values above {MAX_AMPLITUDE:g}")
            if 0 < peak < MIN_AMPLITUDE:
                raise InvalidCsi("weak", f"h holds nothing above {MIN_AMPLITUDE:g}, and is not zero")
        if self.noise_var is not None:
            check_noise_var(self.noise_var, shape[0])
        if self.noise_cov is not None:
            check_noise_cov(self.noise_cov, *shape[:2])
        if self.snr_db is not None:
            check_snr(self.snr_db)
        object.__setattr__(self, "_valid_shape", shape)


class CsiState:
    """The estimates in force: the newest channel, and the newest of noise variance and SNR.

    Either the noise or the SNR is *given*, the other one follows from it and the channel:

    - an estimate with `noise_cov` gives that, and its own `noise_var` and `snr_db` are ignored;
    - an estimate with `noise_var` gives the noise variance, and its own `snr_db` is ignored;
    - an estimate with `snr_db` only, or an SNR on its own, gives the SNR, until an estimate brings one of these again;
    - an estimate with neither leaves what was given in force: a noise variance stays, or an SNR stays;
    - an estimate and an SNR that arrive together, at one item, are one update: the noise of the estimate is the
      truth, then the SNR that came separately, then the `snr_db` inside the estimate.

    Args:
        shape: (num_subcarriers, num_rx, num_tx) that every estimate has to have.
    """

    def __init__(self, shape: tuple[int, int, int]):
        self.shape = shape
        self.estimate: ChannelEstimate | None = None
        self.given: dict[str, Any] = {}
        """Empty, {"noise_cov": ...}, {"noise_var": ...} or {"snr_db": ...}: the keyword of `Detector.prepare`."""

    def update(self, estimate: ChannelEstimate | None = None, snr_db: float | None = None) -> None:
        """Take what arrived at one item.

        Raises:
            InvalidCsi: one of the two cannot be used; then nothing has changed.
        """
        if snr_db is not None:
            snr_db = check_snr(snr_db)
        if estimate is not None:
            estimate.check(self.shape)
            self.estimate = estimate
            if estimate.noise_cov is not None:
                self.given = {"noise_cov": estimate.noise_cov}
                return
            if estimate.noise_var is not None:
                self.given = {"noise_var": estimate.noise_var}
                return
            if snr_db is None:
                snr_db = estimate.snr_db
        if snr_db is not None:
            self.given = {"snr_db": snr_db}

    @property
    def valid(self) -> bool:
        """Whether both a channel and one of noise and SNR are known."""
        return self.estimate is not None and bool(self.given)

    @property
    def noise_var(self) -> float:
        """Noise variance per receive antenna, the mean over subcarriers; NaN while unknown."""
        if "noise_cov" in self.given:
            return float(np.einsum("cii->ci", self.given["noise_cov"]).real.mean())
        if "snr_db" not in self.given or self.estimate is None:
            noise_var = self.given.get("noise_var", float("nan"))
            return noise_var if isinstance(noise_var, float) else float(np.mean(noise_var))
        return float(noise_var_from_snr(self.estimate.h, self.given["snr_db"]))

    @property
    def snr_db(self) -> float:
        """SNR in dB; NaN while unknown, infinite where noise or channel are zero."""
        if "snr_db" in self.given or not self.given or self.estimate is None:
            return float(self.given.get("snr_db", float("nan")))
        return float(snr_from_noise_var(self.estimate.h, self.noise_var))
