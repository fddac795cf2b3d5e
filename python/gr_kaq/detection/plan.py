# SPDX-License-Identifier: GPL-3.0-or-later
"""A detector with room for the channels of one estimate, and the check of what it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..signals.noise_covariance import whitening_of
from ..signals.signal_model import Noise
from .result import Piece, PreparedChannels, Streams
from .whitened_channels import WhitenedChannels

__all__ = ["Plan"]


COMPLEX = np.dtype(np.complex64)


class Plan(ABC):
    """A detector with room for the channels of one estimate; from `Detector.plan`. Not to be shared by threads.

        plan = detector.plan(64, 16, 16)
        for y, h in estimates:
            out = plan.prepare(h, snr_db=20).detect(y)

    Attributes:
        shape: (num_channels, num_rx, num_tx).
    """

    def __init__(self, shape: tuple[int, int, int]):
        self.shape = shape
        self._latest: PreparedChannels | None = None  # of `detect_pieces`

    @abstractmethod
    def _prepare(self, h: NDArray[np.complex64], noise: Noise, vectors_per_estimate: int) -> PreparedChannels:
        """`prepare` after its arguments were checked."""

    def prepare(
        self,
        h: ArrayLike,
        *,
        snr_db: ArrayLike | None = None,
        noise_var: ArrayLike | None = None,
        noise_cov: ArrayLike | None = None,
        vectors_per_estimate: int = 1,
    ) -> PreparedChannels:
        """Do what a channel estimate needs once. What was prepared before is overwritten.

        Args:
            h: (C, num_rx, num_tx), of the plan's shape. A channel whose entries are all below 1e-24 counts as zero in
                the kernel: its symbols and LLRs are 0.
            snr_db: SNR in dB, a scalar for all channels together or (C,); or
            noise_var: noise variance per receive antenna, a scalar or (C,); or
            noise_cov: covariance of the noise over the antennas, (C, num_rx, num_rx) or (num_rx, num_rx) for all
                channels: channels and received vectors are whitened. Exactly one of the three.
            vectors_per_estimate: about how many vectors will be detected for each channel. The native kernel chooses
                how it filters by it: a matter of speed, though rounding may differ.

        Raises:
            ValueError: a shape does not fit, a value is not finite, or noise_cov is not positive definite.
            RuntimeError: another thread is using the plan.
        """
        if not (isinstance(h, np.ndarray) and h.dtype is COMPLEX):
            with np.errstate(over="ignore"):  # what does not fit single precision becomes Inf, and is refused as such
                h = np.asarray(h).astype(np.complex64)
        if not h.flags.carray:
            h = np.require(h, requirements=["C", "A"])
        if h.shape != self.shape:
            raise ValueError(f"h has shape {h.shape}; {self.shape} (channels, num_rx, num_tx) expected")
        if sum(given is not None for given in (snr_db, noise_var, noise_cov)) != 1:
            raise ValueError("exactly one of snr_db and noise_var is expected, or noise_cov")
        if noise_cov is not None:
            whitening, noise_var = self._whitening(noise_cov)
            with np.errstate(over="ignore", invalid="ignore"):
                h = (whitening @ h).astype(np.complex64)
            channels = self.prepare(h, noise_var=noise_var, vectors_per_estimate=vectors_per_estimate)
            return WhitenedChannels(channels, whitening)
        noise = Noise(
            None if snr_db is None else self._per_channel("snr_db", snr_db, -np.inf),
            None if noise_var is None else self._per_channel("noise_var", noise_var, 0.0),
        )
        return self._prepare(h, noise, max(1, int(vectors_per_estimate)))

    def detect_pieces(self, pieces: Sequence[Piece], received: Streams, symbols: Streams, llrs: Streams = ()) -> int:
        """Prepare one estimate after the other, and detect the vectors that each is for. Last, the last is prepared.

        Args:
            pieces: the estimates and their vectors.
            received, symbols, llrs: buffers of all vectors, as for `PreparedChannels.detect_streams`.

        Returns:
            How many vectors held NaN or Inf.

        Raises:
            ValueError: a piece or a buffer does not fit, or a value is not finite.
            RuntimeError: another thread is using the plan.
        """
        num_invalid = 0
        for start, stop, h, snr_db, noise_var, vectors_per_estimate, is_prepared, noise_cov in pieces:
            if not is_prepared or self._latest is None:
                self._latest = self.prepare(
                    h,
                    snr_db=snr_db,
                    noise_var=noise_var,
                    noise_cov=noise_cov,
                    vectors_per_estimate=vectors_per_estimate,
                )
            parts = ([stream[start:stop] for stream in streams] for streams in (received, symbols, llrs))
            num_invalid += self._latest.detect_streams(*parts)
        return num_invalid

    def _whitening(self, noise_cov: ArrayLike) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
        """What makes the noise of each channel, or of all, white; the noise variance that it then has."""
        num_channels, num_rx, _ = self.shape
        given = np.asarray(noise_cov)
        if given.shape not in ((num_rx, num_rx), (1, num_rx, num_rx), (num_channels, num_rx, num_rx)):
            raise ValueError(
                f"noise_cov has shape {given.shape}; {(num_channels, num_rx, num_rx)} or {(num_rx, num_rx)} expected"
            )
        whitening, noise_var = whitening_of(given.reshape(-1, num_rx, num_rx))
        return whitening, np.broadcast_to(noise_var, num_channels).copy()

    def _per_channel(self, name: str, value: ArrayLike, low: float) -> NDArray[np.float64]:
        """`value` as (1,) or (C,)."""
        if isinstance(value, float) and low <= value < np.inf and value > -np.inf:  # as a flowgraph gives it, quickly
            return np.array([value])
        given = np.asarray(value, np.float64)
        if given.shape not in ((), self.shape[:1]):
            raise ValueError(f"{name} has shape {given.shape}; () or {self.shape[:1]} expected")
        if not np.isfinite(given).all() or (given < low).any():
            raise ValueError(f"{name} has to be finite" + (" and not negative" if low == 0 else ""))
        return np.ascontiguousarray(np.atleast_1d(given))
