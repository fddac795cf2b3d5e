# SPDX-License-Identifier: GPL-3.0-or-later
"""A frame that was found, decoded, and what its receiver learns of the air on the way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..detection.detector import Detector
from ..estimation.estimator import ChannelEstimator, DataSymbols, Estimate
from ..estimation.observation import Interference
from ..frames.frame_format import FrameFormat
from ..frames.payload import PayloadCoder
from ..frames.synchronization import FoundFrame

__all__ = ["FrameReader", "FrameReading", "ReceivedFrame"]


@dataclass(frozen=True)
class FrameReading:
    """What is known of a frame. Powers are of the middle of the frame.

    Attributes:
        start: its first sample.
        carrier_offset: in cycles per sample.
        metric: of the synchronizer, 0 to 1.
        payload: what it carries; None: the CRC is wrong.
        corrected_bits: coded bits that the decoder changed; None: the CRC is wrong.
        coded_bits: that the frame has.
        snr_db: over all antennas, after whitening.
        antenna_snr_db: of each antenna, (num_rx,); -inf for one that receives nothing.
        stream_power_db: of each stream over their mean, (num_tx,).
        delay_spread: RMS, in samples.
        doppler: largest Doppler shift, in cycles per OFDM symbol.
        condition_db: strongest over weakest direction of the channel, median over the carriers, in dB.
        interference: on some carriers or from a direction; None: none was found.
        dead, saturated, overlapping: see `FoundFrame`.
    """

    start: int
    carrier_offset: float
    metric: float
    payload: bytes | None
    corrected_bits: int | None
    coded_bits: int
    snr_db: float
    antenna_snr_db: NDArray[np.float64]
    stream_power_db: NDArray[np.float64]
    delay_spread: float
    doppler: float
    condition_db: float
    interference: Interference | None
    dead: NDArray[np.bool_]
    saturated: NDArray[np.bool_]
    overlapping: bool


@dataclass(frozen=True)
class ReceivedFrame:
    """A frame and what it was read from.

    Attributes:
        reading: what is known of it.
        found: as the synchronizer gave it.
        grid: received, (num_symbols, num_rx, num_active).
        estimate: of its channel.
        data: what a detector gets.
    """

    reading: FrameReading
    found: FoundFrame
    grid: NDArray[np.complex64]
    estimate: Estimate
    data: DataSymbols


class FrameReader:
    """Reads the frames of one format.

    Args:
        frame_format: of the frames.
        detector: for its constellation.
        estimator: a key of `gr_kaq.estimation.estimator.INTERPOLATORS` but one that remembers frames.
    """

    def __init__(self, frame_format: FrameFormat, detector: Detector, estimator: str = "lmmse"):
        self.frame_format, self.detector = frame_format, detector
        self._estimator = ChannelEstimator(frame_format, estimator)
        self._coder = PayloadCoder(frame_format)

    def decode(self, data: DataSymbols) -> bytes | None:
        """The payload of a frame with these data carriers, whose constellation may be another than that sent."""
        return self._coder.decode(data.llrs(self.frame_format, self.detector))

    def read(self, found: FoundFrame) -> ReceivedFrame:
        """Estimate the channel of a frame, and decode it."""
        frame = self.frame_format
        grid, guards = frame.transform(found.windows)
        estimate = self._estimator.estimate(grid, guards)
        data = self._estimator.data_symbols(grid, estimate)
        llrs = data.llrs(frame, self.detector)
        payload = self._coder.decode(llrs)
        corrected = None
        if payload is not None:
            corrected = int(np.count_nonzero((llrs > 0) != self._coder.encode(payload)))
        h = estimate.h[frame.num_symbols // 2].astype(np.complex128)  # (num_active, num_rx, num_tx)
        of_pairs = np.mean(np.abs(h) ** 2, axis=0)
        values = np.linalg.svd(h, compute_uv=False)
        with np.errstate(divide="ignore", invalid="ignore"):
            antenna_snr = np.where(estimate.noise_var > 0, of_pairs.sum(axis=1) / estimate.noise_var, 0)
            reading = FrameReading(
                start=found.start,
                carrier_offset=found.carrier_offset + estimate.carrier_offset / frame.symbol_length,
                metric=found.metric,
                payload=payload,
                corrected_bits=corrected,
                coded_bits=frame.coded_bits,
                snr_db=estimate.snr_db,
                antenna_snr_db=10 * np.log10(antenna_snr),
                stream_power_db=10 * np.log10(of_pairs.sum(axis=0) / of_pairs.sum() * frame.num_tx),
                delay_spread=estimate.delay_spread,
                doppler=estimate.doppler,
                condition_db=float(np.median(20 * np.log10(values[:, 0] / values[:, -1]))),
                interference=estimate.interference,
                dead=found.dead,
                saturated=found.saturated,
                overlapping=found.overlapping,
            )
        return ReceivedFrame(reading, found, grid.astype(np.complex64), estimate, data)
