# SPDX-License-Identifier: GPL-3.0-or-later
"""What every detector is: it detects vectors that share a channel, at once or through a plan.

`Detector.prepare` does what a channel estimate needs once; `PreparedChannels` then detects any number of vectors. For
estimate after estimate of one size, `Detector.plan` has the buffers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..signals.constellation import Constellation
from .plan import Plan
from .result import Detection, PreparedChannels

__all__ = ["Detector"]


class Detector(ABC):
    """A MIMO detector for y = H x + n; see `signal_model` for the signal model and the SNR.

    Attributes:
        name: as given to `load_detector`, or the model's own name.
        constellation: what every stream carries.
    """

    name: str
    constellation: Constellation

    @abstractmethod
    def check_size(self, num_rx: int, num_tx: int) -> None:
        """Raise ValueError unless the detector works with this number of antennas."""

    def at_size(self, num_rx: int, num_tx: int) -> Detector:
        """The detector that detects at this size: this one, except where its name asks to choose (`AutoDetector`).

        Raises:
            ValueError: the detector does not take this size.
        """
        self.check_size(num_rx, num_tx)
        return self

    @abstractmethod
    def _plan(self, shape: tuple[int, int, int], num_threads: int) -> Plan:
        """`plan` after its arguments were checked."""

    def plan(self, num_channels: int, num_rx: int, num_tx: int, *, num_threads: int = 1) -> Plan:
        """Room for channels of one size, to prepare estimate after estimate without allocating anything.

        Args:
            num_channels: C, the subcarriers of one estimate.
            num_rx, num_tx: antennas and streams.
            num_threads: threads that share the work of the native kernel; the result has the same bits.

        Raises:
            ValueError: a number is below 1, or the detector does not take this size.
        """
        if num_channels < 1 or num_threads < 1:
            raise ValueError(f"num_channels is {num_channels}, num_threads {num_threads}; at least 1 expected")
        self.check_size(num_rx, num_tx)
        return self._plan((num_channels, num_rx, num_tx), num_threads)

    def prepare(
        self,
        h: ArrayLike,
        *,
        snr_db: ArrayLike | None = None,
        noise_var: ArrayLike | None = None,
        noise_cov: ArrayLike | None = None,
        vectors_per_estimate: int = 1,
    ) -> PreparedChannels:
        """Do what a channel estimate needs once; `plan(...).prepare` does it again and again in the same buffers.

        Args and errors: as for `Plan.prepare`; h of any (C, num_rx, num_tx) that the detector takes.
        """
        h = np.asarray(h)
        if h.ndim != 3 or 0 in h.shape:
            raise ValueError(f"h has shape {h.shape}; (channels, num_rx, num_tx) expected")
        return self.plan(*h.shape).prepare(
            h,
            snr_db=snr_db,
            noise_var=noise_var,
            noise_cov=noise_cov,
            vectors_per_estimate=vectors_per_estimate,
        )

    def detect(
        self,
        y: ArrayLike,
        h: ArrayLike,
        snr_db: ArrayLike | None = None,
        *,
        noise_var: ArrayLike | None = None,
        noise_cov: ArrayLike | None = None,
    ) -> Detection:
        """Detect vectors.

        Args:
            y: (..., T, num_rx), T received vectors for each channel.
            h: (..., num_rx, num_tx), one channel per leading index (subcarriers, users).
            snr_db: SNR in dB: a scalar, with the received power averaged over all channels, or (...); or
            noise_var: noise variance per receive antenna, a scalar or (...); or
            noise_cov: covariance of the noise over the antennas, (..., num_rx, num_rx) or (num_rx, num_rx). Exactly one
                of the three.

        Raises:
            ValueError: a shape does not fit, a value of h, snr_db, noise_var or noise_cov is not finite, noise_cov is
                not positive definite, or the detector does not take this size. NaN or Inf in y is no error: see
                `Detection.num_invalid`.

        Example:
            >>> det = gr_kaq.load_detector("lmmse", constellation="qpsk")
            >>> det.detect(np.ones((1, 1)), np.ones((1, 1)), snr_db=10).symbols
            array([[1.+0.j]], dtype=complex64)
        """
        y, h = np.asarray(y), np.asarray(h)
        if h.ndim < 2 or y.ndim != h.ndim or y.shape[:-2] != h.shape[:-2] or y.shape[-1] != h.shape[-2]:
            raise ValueError(
                f"y has shape {y.shape} and h {h.shape}; (..., T, num_rx) and (..., num_rx, num_tx) expected"
            )
        lead = h.shape[:-2]
        count = int(np.prod(lead))

        def flat(value: ArrayLike | None) -> NDArray | None:
            value = None if value is None else np.asarray(value)
            return value.reshape(-1) if value is not None and value.shape == lead and lead else value

        covariance = None if noise_cov is None else np.asarray(noise_cov)
        if covariance is not None and covariance.ndim > 2 and covariance.shape[:-2] == lead:
            covariance = covariance.reshape(count, *covariance.shape[-2:])
        num_tx, num_vectors = h.shape[-1], y.shape[-2]
        prepared = self.prepare(
            h.reshape(count, *h.shape[-2:]),
            snr_db=flat(snr_db),
            noise_var=flat(noise_var),
            noise_cov=covariance,
            vectors_per_estimate=max(1, num_vectors),
        )
        out = prepared.detect(y.reshape(count, *y.shape[-2:]).astype(np.complex64))
        return Detection(
            out.symbols.reshape(*lead, num_vectors, num_tx),
            out.llrs.reshape(*lead, num_vectors, num_tx, self.constellation.bits_per_symbol),
            out.num_invalid,
        )
