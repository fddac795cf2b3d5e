# SPDX-License-Identifier: GPL-3.0-or-later
"""A simulated link, y = H x + n, with the receiver's estimates of H and of the noise; and the BER of detectors on it.

noise_var = num_tx / SNR: channels have mean |h|^2 = 1, so this is the SNR of `signal_model` on average.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..channels.flat import ChannelModel, complex_normal
from ..detection.detector import Detector
from ..detection.result import Detection
from ..signals.bit_errors import BitErrorRate
from ..signals.constellation import Constellation
from ..signals.signal_model import from_db

__all__ = ["PERFECT", "CsiError", "Link", "Transmission", "count_bit_errors", "detect"]


@dataclass(frozen=True)
class CsiError:
    """How the receiver's estimates differ from the truth.

    Args:
        snr_bias_db: estimated minus true SNR.
        snr_jitter_db: standard deviation of that difference, one draw per estimate.
        channel: error variance of an entry of the channel estimate, in units of noise_var / num_tx. 1 is least squares
            with orthogonal training over num_tx symbols, that is |h|^2 over the error variance equals the SNR. The
            receiver knows this variance: the noise variance that it is told includes what the error adds,
            noise_var (1 + channel).
    """

    snr_bias_db: float = 0.0
    snr_jitter_db: float = 0.0
    channel: float = 0.0


PERFECT = CsiError()


@dataclass(frozen=True)
class Transmission:
    """E estimates of S subcarriers, T vectors on each.

    Attributes:
        bits: uint8 (E, S, T, num_tx * bits_per_symbol), sent.
        y: complex64 (E, S, T, num_rx), received.
        h: complex64 (E, S, num_rx, num_tx), as estimated.
        noise_var: (E,), as estimated.
    """

    bits: NDArray[np.uint8]
    y: NDArray[np.complex64]
    h: NDArray[np.complex64]
    noise_var: NDArray[np.float64]


class Link:
    """An endless supply of transmissions.

    Args:
        channels: where H comes from.
        constellation: what every stream carries.
        snr_db: see above.
        num_vectors: T, received vectors per channel.
        csi_error: of the receiver's estimates.
        seed: of bits, noise and estimation errors.
    """

    def __init__(
        self,
        channels: ChannelModel,
        constellation: Constellation,
        snr_db: float,
        *,
        num_vectors: int = 4,
        csi_error: CsiError = PERFECT,
        seed: int | np.random.SeedSequence = 0,
    ):
        self._channels = channels
        self.constellation = constellation
        self.snr_db = snr_db
        self._num_vectors = num_vectors
        self._csi_error = csi_error
        self._rng = np.random.default_rng(seed)

    def draw(self, count: int, bits: NDArray[np.uint8] | None = None) -> Transmission:
        """The next `count` estimates' worth; `bits` to send instead of random ones, shaped as in `Transmission`."""
        rng, error = self._rng, self._csi_error
        h = self._channels.draw(count)
        num_subcarriers, num_rx, num_tx = h.shape[1:]
        if bits is None:
            shape = (count, num_subcarriers, self._num_vectors, num_tx * self.constellation.bits_per_symbol)
            bits = rng.integers(0, 2, shape, dtype=np.uint8)
        x = self.constellation.modulate(bits)
        noise_var = num_tx / from_db(self.snr_db)
        y = x @ h.swapaxes(-1, -2) + np.float32(np.sqrt(noise_var)) * complex_normal(rng, (*x.shape[:-1], num_rx))
        told = np.full(count, noise_var)
        if error.channel:
            h = h + np.float32(np.sqrt(error.channel * noise_var / num_tx)) * complex_normal(rng, h.shape)
            told *= 1 + error.channel
        offset = error.snr_bias_db + error.snr_jitter_db * rng.standard_normal(count)
        return Transmission(bits, y, h, told / from_db(offset))


def detect(detector: Detector, sent: Transmission) -> Detection:
    """Detect a transmission with the estimates in it: symbols (E, S, T, num_tx), LLRs with one axis more."""
    if sent.h.shape[1] == 1:  # every channel is an estimate of its own
        out = detector.prepare(sent.h[:, 0], noise_var=sent.noise_var).detect(sent.y[:, 0])
        return Detection(out.symbols[:, None], out.llrs[:, None], out.num_invalid)
    parts = [
        detector.prepare(h, noise_var=noise_var).detect(y)
        for h, noise_var, y in zip(sent.h, sent.noise_var, sent.y, strict=True)
    ]
    return Detection(
        np.stack([p.symbols for p in parts]), np.stack([p.llrs for p in parts]), sum(p.num_invalid for p in parts)
    )


def count_bit_errors(
    detectors: Sequence[Detector],
    link: Link,
    *,
    min_errors: int,
    max_bits: int,
    estimates_per_draw: int = 500,
    progress: Callable[[list[BitErrorRate]], object] | None = None,
) -> list[BitErrorRate]:
    """BER of several detectors on the same transmissions.

    Args:
        detectors: for the link's constellation.
        link: what to simulate.
        min_errors: stop once every detector has made so many bit errors, or
        max_bits: after this number of bits.
        estimates_per_draw: how much is simulated between two looks at that.
        progress: called with the counts so far after each draw.
    """
    counts = [BitErrorRate() for _ in detectors]
    while min(c.errors for c in counts) < min_errors and counts[0].bits < max_bits:
        sent = link.draw(estimates_per_draw)
        for i, detector in enumerate(detectors):
            decided = link.constellation.decide(detect(detector, sent).symbols)
            counts[i] += BitErrorRate(int(np.count_nonzero(decided != sent.bits)), sent.bits.size)
        if progress is not None:
            progress(counts)
    return counts
