# SPDX-License-Identifier: GPL-3.0-or-later
"""Data-aided estimation: a frame that was decoded wrongly is estimated again, with its own data for training.

    received = (h + error) x + n,   n ~ CN(0, noise_var I)

h is the estimate so far, and x are the symbols of the code word that the decoder found. Most of them are right even
when some bit of the payload is not. As eleven of fourteen symbols carry data, they say more of the channel than the
training does. What h lacks is the Wiener estimate of `error` from them:

    error = (T kron F) g of each stream and antenna,  g ~ CN(0, power I):   g = (A^H A + noise_var / power I)^-1 A^H r

with T and F of `ChannelCovariance`, A what g adds to the received data, and r = received - h x. So `error` is taken to
be as strong as the channel: in a frame that was decoded wrongly, h may be worse than it says. All streams are estimated
together, as data symbols do not keep them apart.

The code word's symbols count as certain. Soft ones from the detector's LLRs save fewer frames, as they lack what the
code knows, and those that a soft decoder (BCJR) gives save no more, for many times the work.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .. import native
from ..detection.detector import Detector
from ..detection.plan import Plan
from ..frames.frame_format import FrameFormat
from ..frames.payload import PayloadCoder
from .estimator import without_errors
from .interpolation import channel_modes, filter_steps
from .observation import SNR_RANGE_DB

__all__ = ["DataAidedDecoder", "refine_channel"]

CACHED_MODES = 16
BAND = 52  # carriers at most that are estimated together
LEAST_NOISE = 10 ** (-SNR_RANGE_DB[1] / 10)  # for a channel of unit power


class DataAidedDecoder:
    """Decodes frames again that were decoded wrongly. Not to be shared by threads.

    Args:
        frame_format: of the frames.
        detector: that detects them.
        passes: how often at most.
    """

    def __init__(self, frame_format: FrameFormat, detector: Detector, passes: int):
        self._format, self._detector, self._passes = frame_format, detector, passes
        self._coder = PayloadCoder(frame_format)
        self._plan: Plan | None = None

    def decode(
        self,
        llrs: NDArray[np.float32],
        received: NDArray[np.complex64],
        h: NDArray[np.complex64],
        noise_var: float,
        delay_spread: float,
        doppler: float,
    ) -> bytes | None:
        """The payload; None if its CRC stays wrong.

        Args:
            llrs: of the coded bits, (coded_bits,), from the first detection.
            received, h, noise_var, delay_spread, doppler: see `refine_channel`.

        NaN and Inf in `received` count as zeros.

        Raises:
            ValueError: the detector does not take this size, or a value of h is not finite.
        """
        frame = self._format
        if self._plan is None or self._plan.shape != h.shape:
            self._plan = self._detector.plan(*h.shape)
        received = without_errors(received)
        for _ in range(self._passes):
            bits = self._coder.nearest(llrs)
            if bits is None:
                break
            symbols = frame.map_bits(bits).reshape(-1, frame.num_tx)
            with np.errstate(all="ignore"):  # what does not fit becomes Inf
                refined = refine_channel(frame, received, h, symbols, noise_var, delay_spread, doppler)
            if not np.isfinite(refined).all():
                break
            detection = self._plan.prepare(refined, noise_var=noise_var).detect(received[:, None])
            llrs = frame.collect_llrs(detection.llrs)
            payload = self._coder.decode(llrs)
            if payload is not None:
                return payload
        return None


def refine_channel(
    frame_format: FrameFormat,
    received: NDArray[np.complex64],
    h: NDArray[np.complex64],
    symbols: NDArray[np.complex64],
    noise_var: float,
    delay_spread: float,
    doppler: float,
) -> NDArray[np.complex64]:
    """The channel of a frame's data carriers, estimated again from what was sent on them.

    Args:
        frame_format: of the frame.
        received: (data_per_stream, num_rx), with the same noise everywhere, as `ChannelEstimator.data_symbols` has it.
        h: the estimate so far, (data_per_stream, num_rx, num_tx).
        symbols: what was sent, (data_per_stream, num_tx).
        noise_var: of the noise on each antenna. 0: h is returned as it is.
        delay_spread: RMS, in samples.
        doppler: largest Doppler shift, in cycles per OFDM symbol.

    Returns:
        complex64, of the shape of h.
    """
    _, num_rx, num_tx = h.shape
    power = native.squared_norm(h) / h.size
    if not noise_var > 0 or not power > 0:
        return h
    noise = max(noise_var / power, LEAST_NOISE)
    snr_db = 10 * math.log10(num_tx / noise)
    slope = _slope(frame_format, h)[:, None]
    residual = slope.conj() * (received - np.einsum("dat,dt->da", h, symbols))
    refined = np.empty_like(h)
    for places, modes in _bands(frame_format, *filter_steps(frame_format, snr_db, delay_spread, doppler)):
        seen = (symbols[places, :, None] * modes[:, None]).reshape(len(places), -1)
        seen_h = seen.conj().T
        gram = (seen_h @ seen).astype(np.complex128)
        gram[np.diag_indices_from(gram)] += noise
        found = np.linalg.solve(gram, seen_h @ residual[places]).reshape(num_tx, -1, num_rx)
        error = modes @ found.astype(np.complex64)  # (num_tx, places, num_rx)
        refined[places] = h[places] + slope[places, None] * error.transpose(1, 2, 0)
    return refined


@lru_cache(maxsize=CACHED_MODES)
def _bands(
    frame_format: FrameFormat, snr_step: int, delay_model: int, doppler: int
) -> list[tuple[NDArray[np.int64], NDArray[np.complex64]]]:
    """The data carriers of each band, and T kron F there, (places, J K): all carriers together would cost too much."""
    time, frequency = channel_modes(frame_format, snr_step, delay_model, doppler)
    least = np.sum(np.abs(frequency) ** 2, axis=0).min()
    bands = []
    for carriers in np.array_split(np.arange(frame_format.num_active), -(-frame_format.num_active // BAND)):
        vectors, values, _ = np.linalg.svd(frequency[carriers], full_matrices=False)
        factor = (vectors * values)[:, values**2 > 0.99 * least]
        symbols, places = np.nonzero(np.isin(frame_format.data_indices, carriers))
        of_carriers = factor[frame_format.data_indices[symbols, places] - carriers[0]]
        modes = time[np.array(frame_format.data_symbols)[symbols], :, None] * of_carriers[:, None]
        bands.append((symbols * frame_format.num_data + places, modes.reshape(len(places), -1).astype(np.complex64)))
    return bands


def _slope(frame_format: FrameFormat, h: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """The phases that the mean delay of h gives to the data carriers, (data_per_stream,)."""
    carriers = frame_format.active_carriers[frame_format.data_indices]
    rows = h.reshape(*carriers.shape, -1)
    products = np.sum(rows[:, 1:] * rows[:, :-1].conj(), axis=2)
    step = np.angle(products[np.diff(carriers) == 1].sum())
    return np.exp(1j * step * carriers.reshape(-1)).astype(np.complex64)
