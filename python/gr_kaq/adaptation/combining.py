# SPDX-License-Identifier: GPL-3.0-or-later
"""What repeats are worth in white noise: the SNR at which a tenth of the blocks is wrong, with one frame and more.

All frames have the same SNR, and one antenna on either side without fading. The same noise, scaled, serves all SNRs and
both ways to repeat: Chase combining sends redundancy version 0 again, incremental redundancy the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..detection.detector import Detector
from ..detection.detectors import load_detector
from ..frames.frame_format import FrameFormat
from ..frames.modulation_coding import MCS_TABLE
from ..frames.transport_coding import TransportCoder, transport_coder
from ..signals.constellation import Constellation

__all__ = ["RATE", "Threshold", "combining_thresholds"]

RATE = 0.1
"""Of the blocks that are wrong at a threshold."""

RANGE_DB = -20.0, 35.0
ACCURACY_DB = 0.01
ONE_PATH = np.ones((1, 1))
REPEATS = {"chase": (0, 0, 0, 0), "incremental": (0, 1, 2, 3)}


@dataclass(frozen=True)
class Threshold:
    """Where `RATE` of the blocks is wrong.

    Attributes:
        mcs: index in `MCS_TABLE`.
        way: ``"chase"`` or ``"incremental"``.
        copies: frames that are added up.
        snr_db: of each of them.
    """

    mcs: int
    way: str
    copies: int
    snr_db: float


def combining_thresholds(
    mcs: int, *, num_blocks: int, seed: int, progress: Callable[[], object] | None = None
) -> list[Threshold]:
    """Thresholds of one MCS: of one frame, and of two and four by either way.

    Args:
        mcs: index in `MCS_TABLE`.
        num_blocks: transport blocks, which are those of a frame with 64 carriers and one antenna.
        seed: of blocks and noise.
        progress: called after each.
    """
    coder = transport_coder(FrameFormat(1), mcs, 1)
    constellation = MCS_TABLE[mcs].constellation
    detector = load_detector("lmmse", constellation=constellation.name)
    blocks = [_Block(coder, constellation, detector, [seed, number]) for number in range(num_blocks)]
    thresholds = []
    for way, copies in (("chase", 1), ("chase", 2), ("incremental", 2), ("chase", 4), ("incremental", 4)):
        low, high = RANGE_DB
        while high - low > ACCURACY_DB:
            middle = (low + high) / 2
            wrong = sum(not block.decodes(middle, REPEATS[way][:copies]) for block in blocks)
            low, high = (middle, high) if wrong > RATE * num_blocks else (low, middle)
        thresholds.append(Threshold(mcs, way, copies, (low + high) / 2))
        if progress:
            progress()
    return thresholds


class _Block:
    """A transport block, and the noise of its frames."""

    def __init__(self, coder: TransportCoder, constellation: Constellation, detector: Detector, seed: list[int]):
        rng = np.random.default_rng(seed)
        self._coder = coder
        self._block = rng.bytes(coder.block_bytes)
        word = coder.encode(self._block)
        self._sent = [constellation.modulate(coder.take(word, version)) for version in range(4)]
        parts = rng.standard_normal((2, 4, len(self._sent[0]))) / 2**0.5
        self._noise = parts[0] + 1j * parts[1]
        self._detector = detector

    def decodes(self, snr_db: float, versions: tuple[int, ...]) -> bool:
        noise_var = 10 ** (-snr_db / 10)
        total: NDArray[np.float64] | float = 0.0
        for version, noise in zip(versions, self._noise, strict=False):
            received = self._sent[version] + noise_var**0.5 * noise
            out = self._detector.detect(received[:, None], ONE_PATH, noise_var=noise_var)
            total = total + self._coder.spread(out.llrs.reshape(-1), version)
        return self._coder.decode(np.asarray(total)) == self._block
