# SPDX-License-Identifier: GPL-3.0-or-later
"""The receiver of frames that a link adapts: header, detector by constellation and rank, soft combining, reports.

    received = H P s + n,   n ~ CN(0, noise_var I)

A detector detects the rank streams s with the channel H P. What a report says of ranks that were not sent is
*rehearsed*: some symbols and noise are sent through the channel that was estimated, in simulation, and detected by the
same detector, of whose LLRs the mutual information is taken. So a report needs no model of the detector.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..detection.detector import Detector
from ..detection.detectors import load_detector
from ..detection.plan import Plan
from ..frames.frame_format import FrameFormat
from ..frames.frame_header import FrameHeader
from ..frames.link_frame import LinkFrame, precoders
from ..frames.modulation_coding import MCS_TABLE, payload_places
from ..frames.transport_coding import SoftBuffers
from ..signals.constellation import constellation_named
from .mutual_information import SNR_RANGE_DB, effective_snr, mutual_information

__all__ = ["LinkReceiver", "ReceivedFrame", "Report", "pack_report", "unpack_report"]

REHEARSED = 96  # carriers of a rehearsal
UNCLEAR, CLEAR = 0.6, 0.93  # below, max-log LLRs say too little; beyond, a constellation tells SNRs apart badly
CONSTELLATIONS = ("qpsk", "16qam", "64qam", "256qam")
FIRST = 1  # of these is rehearsed first
SINGLE_STREAM = "lmmse"  # of one stream it is the best detector


@dataclass(frozen=True)
class Report:
    """What a receiver says of a frame's channel.

    Attributes:
        effective_snrs_db: of ranks 1 to num_tx: the SNR of white noise in which one stream had as much mutual
            information per bit, the mean over the rank's streams, (num_tx,).
        mutual_information: per bit, of each stream of the frame that came, (rank,).
    """

    effective_snrs_db: NDArray[np.float64]
    mutual_information: NDArray[np.float64]


@dataclass(frozen=True)
class ReceivedFrame:
    """A frame whose header was right.

    Attributes:
        header: of the frame.
        block: its transport block; None: its CRC is wrong, so far.
        copies: frames that were added up for it.
        report: of the channel.
    """

    header: FrameHeader
    block: bytes | None
    copies: int
    report: Report


def pack_report(report: Report) -> bytes:
    """What is sent of a report: the effective SNRs in hundredths of a dB, 2 bytes each, little-endian."""
    return np.rint(report.effective_snrs_db * 100).astype("<i2").tobytes()


def unpack_report(data: bytes, num_tx: int) -> NDArray[np.float64]:
    """Effective SNRs in dB, (num_tx,).

    Raises:
        ValueError: there are not as many, or one is beyond what a report can hold.
    """
    if len(data) != 2 * num_tx:
        raise ValueError(f"the report has {len(data)} bytes; {2 * num_tx} expected, 2 for each rank")
    snrs_db: NDArray[np.float64] = np.frombuffer(data, "<i2") / 100.0
    if not ((snrs_db >= SNR_RANGE_DB[0]) & (snrs_db <= SNR_RANGE_DB[1])).all():
        raise ValueError(f"the report has {snrs_db.tolist()} dB; {SNR_RANGE_DB[0]:g} to {SNR_RANGE_DB[1]:g} expected")
    return snrs_db


class LinkReceiver:
    """Receives frame after frame of one sender. Not to be shared by threads.

    Args:
        frame_format: of the frames; its constellation does not matter.
        num_rx: antennas.
        detector: name of a detector that takes any constellation: ``"auto"``, ``"auto-fast"``, ``"lmmse"``, ``"zf"``.

    Raises:
        ValueError: there is no such detector, or it does not take so many antennas.
    """

    def __init__(self, frame_format: FrameFormat, num_rx: int, detector: str = "auto"):
        self.frame_format, self.num_rx = frame_format, num_rx
        self.frame = LinkFrame(frame_format)
        self.buffers = SoftBuffers(frame_format)
        self._places = payload_places(frame_format)
        self._detectors: dict[tuple[str, int], Detector] = {
            (name, rank): load_detector(detector if rank > 1 else SINGLE_STREAM, constellation=name).at_size(
                num_rx, rank
            )
            for name in CONSTELLATIONS
            for rank in range(1, frame_format.num_tx + 1)
        }
        self._plans: dict[tuple[str, int, int], Plan] = {}
        step = max(1, len(self._places) // REHEARSED) | 1  # odd, so that it sees all beams of `precoders`
        self._rehearsed = np.arange(step // 2, len(self._places), step)
        self._scripts: dict[tuple[str, int], tuple[NDArray[np.complex64], NDArray[np.complex64]]] = {}

    def receive(self, received: NDArray[np.complex64], h: NDArray[np.complex64], noise_var: float) -> ReceivedFrame:
        """What a frame holds.

        Args:
            received: on all data carriers, complex64 (data_per_stream, num_rx), as `ChannelEstimator.data_symbols` has
                them, one carrier after the other.
            h: their channels, complex64 (data_per_stream, num_rx, num_tx).
            noise_var: of each antenna; the errors of h included.

        Raises:
            InvalidHeader: its header is none, or none of this version.
            ValueError: a shape does not fit, or h is not finite, or the header's rank is more than num_tx.
        """
        header = self.frame.decode_header(received, h, noise_var)
        llrs = self.detect(received, h, noise_var, header.mcs, header.rank)
        block = self.buffers.decode(header, llrs.reshape(-1))
        report = self.report(h, noise_var, llrs)
        return ReceivedFrame(header, block, self.buffers.copies(header.process), report)

    def detect(
        self, received: NDArray[np.complex64], h: NDArray[np.complex64], noise_var: float, mcs: int, rank: int
    ) -> NDArray[np.float32]:
        """LLRs of the payload, (carriers, rank, bits_per_symbol), raw.

        Args and errors: as for `receive`.
        """
        channel = self._payload_channel(h, rank)
        return self._detect(MCS_TABLE[mcs].constellation_name, received[self._places], channel, noise_var)

    def report(self, h: NDArray[np.complex64], noise_var: float, llrs: NDArray[np.float32] | None = None) -> Report:
        """What there is to say of a frame with this channel.

        Args:
            h, noise_var: as for `receive`.
            llrs: of its payload, as `detect` gives them; None: nothing is said of it.
        """
        snrs = [self.rehearse(h, noise_var, rank) for rank in range(1, self.frame_format.num_tx + 1)]
        of_frame = np.empty(0) if llrs is None else mutual_information(llrs, axis=(0, 2))
        return Report(np.array(snrs), of_frame)

    def rehearse(self, h: NDArray[np.complex64], noise_var: float, rank: int) -> float:
        """Effective SNR in dB of a rank: in the constellation that tells most, and so about the one that would be sent.

        Args:
            h, noise_var: as for `receive`.
            rank: 1 to num_tx.
        """
        channel = self._payload_channel(h, rank, self._rehearsed)
        last = len(CONSTELLATIONS) - 1
        index, information = FIRST, self._rehearse(CONSTELLATIONS[FIRST], channel, noise_var)
        if information < UNCLEAR:
            index, information = 0, self._rehearse(CONSTELLATIONS[0], channel, noise_var)
        while information > CLEAR and index < last:
            index += 1
            information = self._rehearse(CONSTELLATIONS[index], channel, noise_var)
        return float(effective_snr(constellation_named(CONSTELLATIONS[index]), information))

    def _payload_channel(
        self, h: NDArray[np.complex64], rank: int, chosen: NDArray[np.intp] | None = None
    ) -> NDArray[np.complex64]:
        """H P of the payload's carriers, or of some of them, (carriers, num_rx, rank)."""
        places = self._places if chosen is None else self._places[chosen]
        if rank == self.frame_format.num_tx:
            return h[places]
        columns = precoders(self.frame_format, rank)
        return h[places] @ (columns if chosen is None else columns[chosen])

    def _rehearse(self, constellation: str, channel: NDArray[np.complex64], noise_var: float) -> float:
        """Mutual information per bit of what is known, through this channel."""
        symbols, noise = self._script(constellation, channel.shape[2])
        received = (channel @ symbols)[..., 0] + np.float32(noise_var**0.5) * noise
        return float(mutual_information(self._detect(constellation, received, channel, noise_var)))

    def _script(self, constellation: str, rank: int) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
        """Symbols and noise of a rehearsal, always the same."""
        script = self._scripts.get((constellation, rank))
        if script is None:
            rng = np.random.default_rng([rank, len(constellation)])
            carries = constellation_named(constellation)
            count = len(self._rehearsed)
            bits = rng.integers(0, 2, (count, rank, carries.bits_per_symbol), dtype=np.uint8)
            parts = rng.standard_normal((2, count, self.num_rx)).astype(np.float32)
            noise = (parts[0] + 1j * parts[1]) / np.float32(2**0.5)
            script = self._scripts[constellation, rank] = carries.modulate(bits), noise
        return script

    def _detect(
        self, constellation: str, received: NDArray[np.complex64], channel: NDArray[np.complex64], noise_var: float
    ) -> NDArray[np.float32]:
        count, num_rx, rank = channel.shape
        key = constellation, rank, count
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._detectors[constellation, rank].plan(count, num_rx, rank)
        detection = plan.prepare(channel, noise_var=noise_var).detect(np.ascontiguousarray(received[:, None]))
        return detection.llrs[:, 0]
