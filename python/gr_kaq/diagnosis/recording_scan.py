# SPDX-License-Identifier: GPL-3.0-or-later
"""All frames of a recording, and the bursts in which none is found, each with what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..frames.synchronization import Synchronizer
from .bursts import block_powers, find_bursts
from .causes import Diagnosis, Diagnostician
from .frame_reading import FrameReader, FrameReading, ReceivedFrame

__all__ = ["Event", "RecordingScan"]

PIECE = 1 << 16
MOST_BURST = 1 << 17  # samples of a burst that are looked at
LOOKS = 3  # into a recording without frames and bursts


@dataclass(frozen=True)
class Event:
    """A frame, or a burst in which no frame is found.

    Attributes:
        first, stop: its first sample, and the one behind its last.
        reading: of the frame; None: of a burst.
        diagnosis: why it was not decoded; None: it was, or nobody asked.
        frame: what it was read from; None: a burst, or nobody needs it any more.
    """

    first: int
    stop: int
    reading: FrameReading | None = None
    diagnosis: Diagnosis | None = None
    frame: ReceivedFrame | None = None

    @property
    def decoded(self) -> bool:
        """Whether the payload is known."""
        return self.reading is not None and self.reading.payload is not None


class RecordingScan:
    """Goes through a recording once for its frames, in the order of their starts, and once for the rest.

    Args:
        read: from a first sample and a count to samples (num_rx, as many as there are), complex64.
        num_samples: of each antenna.
        reader: of the frames.
        num_rx: antennas.
        explains: whether causes are looked for.
    """

    def __init__(
        self,
        read: Callable[[int, int], NDArray[np.complex64]],
        num_samples: int,
        reader: FrameReader,
        num_rx: int,
        *,
        explains: bool = True,
    ):
        self._read, self._num_samples, self._reader, self._num_rx = read, num_samples, reader, num_rx
        self._format = reader.frame_format
        self._diagnostician = Diagnostician(reader, num_rx) if explains else None
        self._block = self._format.symbol_length // 2

    def frames(self, progress: Callable[[int], object] = lambda count: None) -> Iterator[Event]:
        """Every frame that is found.

        Args:
            progress: is called with the number of samples that were searched since the last time.
        """
        synchronizer = Synchronizer(self._format, self._num_rx)
        for first in range(0, self._num_samples, PIECE):
            piece = self._read(first, PIECE)
            for found in synchronizer.push(piece):
                frame = self._reader.read(found)
                diagnosis = None
                if frame.reading.payload is None and self._diagnostician:
                    diagnosis = self._diagnose_frame(frame, self._diagnostician)
                yield Event(found.start, found.start + self._format.frame_length, frame.reading, diagnosis, frame)
            progress(piece.shape[1])

    def _diagnose_frame(self, frame: ReceivedFrame, diagnostician: Diagnostician) -> Diagnosis:
        start, (before, after) = frame.found.start, diagnostician.reach
        first = max(0, start - before)
        return diagnostician.failed(frame, self._read(first, start - first + after), start - first)

    def bursts(self, events: list[Event], progress: Callable[[int], object] = lambda count: None) -> Iterator[Event]:
        """The bursts that no frame explains; what is on the air all the time, if nothing else is there.

        Args:
            events: the frames.
            progress: as `frames` calls it.
        """
        if not self._diagnostician:
            return
        before, _ = self._diagnostician.reach
        length = PIECE // self._block * self._block

        def powers() -> Iterator[NDArray[np.float64]]:
            for first in range(0, self._num_samples, length):
                piece = self._read(first, length)
                yield block_powers(piece, self._block)
                progress(piece.shape[1])

        least = self._format.frame_length // (2 * self._block)
        bursts = [(first * self._block, stop * self._block) for first, stop in find_bursts(powers(), least)]
        if not bursts and not events:
            step = self._num_samples // LOOKS
            bursts = [(look * step, look * step + min(step, MOST_BURST)) for look in range(LOOKS if step else 0)]
        covered = np.zeros(self._num_samples // self._block + 1, bool)
        for event in events:
            covered[event.first // self._block : event.stop // self._block + 1] = True
        for first, stop in bursts:
            if covered[first // self._block : stop // self._block].mean() < 0.5:
                begin = max(0, first - before)
                samples = self._read(begin, min(stop - begin + before, MOST_BURST))
                yield Event(first, stop, diagnosis=self._diagnostician.unfound(samples))
