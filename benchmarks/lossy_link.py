# SPDX-License-Identifier: GPL-3.0-or-later
"""A link in the abstract: a frame per slot, fading, an MCS that follows it late, bursts of errors, late feedback.

It carries what `gr_kaq.transport` sends, in seconds where samples would take hours. SNRs are those of two antennas
whose paths fade alike in the mean: a sum of |h|^2 of two Rayleigh processes of Jakes' spectrum. The sender takes the
highest MCS whose threshold the SNR exceeds by a margin, as it was `delay` slots before. A block fails with a chance
that is a logistic function of how far the sum of the SNRs of its transmissions is above the threshold of its MCS: Chase
combining. So errors come in groups, as they do with a radio; the thresholds are not those of one: 2.5 dB above
Shannon's limit. A frame far below the lowest threshold is not even seen.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.frames.frame_header import FrameHeader
from gr_kaq.frames.modulation_coding import MCS_TABLE, transport_block_bytes
from gr_kaq.transport.arq_receiver import ArqReceiver, DeliveredPdu
from gr_kaq.transport.arq_sender import ArqSender, Transmission

__all__ = ["SLOT_S", "LossyLink"]

FRAME, RANK = FrameFormat(2), 2
SLOT_S = 1.536e-3
"""A frame of 1536 samples, gap included, at a million per second."""
GAP_DB, MARGIN_DB, STEEPNESS, UNSEEN_DB = 2.5, 2.0, 4.0, -6.0
SINUSOIDS, PATHS = 64, 2

BITS = np.array([coding.bits_per_symbol for coding in MCS_TABLE])
THRESHOLDS_DB = 10 * np.log10(2**BITS - 1) + GAP_DB
SIZES = [transport_block_bytes(FRAME, mcs, RANK) for mcs in range(len(MCS_TABLE))]


def fading(num_slots: int, doppler: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Power gain of each slot, mean 1."""
    times = SLOT_S * np.arange(num_slots)
    power = np.zeros(num_slots)
    for _ in range(PATHS):
        angles, phases = rng.uniform(0, 2 * np.pi, (2, SINUSOIDS))
        gain = sum(
            np.exp(1j * (2 * np.pi * doppler * math.cos(angle) * times + phase))
            for angle, phase in zip(angles, phases, strict=True)
        )
        power += np.abs(gain) ** 2 / SINUSOIDS / PATHS
    return power


class LossyLink:
    """One direction, and the acknowledgements of the other one.

    Args:
        seconds: how long it lasts.
        mean_snr_db: of the fading channel; or of each slot, (slots,).
        doppler: largest Doppler shift in Hz.
        delay: slots from a frame to the receiver's taking it, and from an acknowledgement to the sender's.
        ack_loss: share of the acknowledgements that are lost.
        seed: of fading and errors.
    """

    def __init__(
        self,
        seconds: float,
        mean_snr_db: float | Callable[[NDArray[np.float64]], NDArray[np.float64]],
        *,
        doppler: float = 5.0,
        delay: int = 2,
        ack_loss: float = 0.05,
        seed: int = 0,
    ):
        self._rng = np.random.default_rng(seed)
        num_slots = int(seconds / SLOT_S)
        times = SLOT_S * np.arange(num_slots)
        mean_db = mean_snr_db(times) if callable(mean_snr_db) else np.full(num_slots, mean_snr_db)
        gain = fading(num_slots, doppler, self._rng)
        self.snr_db = mean_db + 10 * np.log10(np.maximum(gain, 1e-9))
        self._chances = self._rng.random((2, num_slots))
        self._delay, self._ack_loss = delay, ack_loss
        self._sums: dict[tuple[int, int, int], float] = {}  # SNR of each block that waits for its next version
        known = np.concatenate([self.snr_db[: 2 * delay], self.snr_db])[:num_slots]  # as it was told
        self.mcs = np.maximum(np.searchsorted(THRESHOLDS_DB, known - MARGIN_DB, side="right") - 1, 0)

    def capacity(self) -> float:
        """Bytes per second of the blocks that an MCS would carry, were none lost."""
        return float(np.mean(np.array(SIZES)[self.mcs])) / SLOT_S

    def run(
        self, sender: ArqSender, receiver: ArqReceiver, submit: Callable[[float], None]
    ) -> Iterator[tuple[float, list[DeliveredPdu]]]:
        """Go through all slots.

        Args:
            sender, receiver: new ones.
            submit: gives the sender what there is to send; called in each slot with the time.

        Yields:
            The time, and what is delivered then.
        """
        sent: deque[tuple[Transmission, FrameHeader | None, bytes | None] | None] = deque([None] * self._delay)
        answers: deque[bytes | None] = deque([None] * self._delay)
        for slot in range(len(self.snr_db)):
            now = slot * SLOT_S
            submit(now)
            mcs = int(self.mcs[slot])
            transmission = sender.next_transmission(now, mcs, RANK, SIZES[mcs])
            sent.append(None if transmission is None else (transmission, *self._received(transmission, slot)))
            delivered, answer = receiver.poll(now), None
            arrival = sent.popleft()
            if arrival is not None and arrival[1] is not None:
                delivered += receiver.push(arrival[1], arrival[2], now)
                answer = receiver.acknowledgement()
            answers.append(answer if self._chances[1, slot] >= self._ack_loss else None)
            heard = answers.popleft()
            if heard is not None:
                sender.acknowledge(heard, now)
            yield now, delivered

    def _received(self, sent: Transmission, slot: int) -> tuple[FrameHeader | None, bytes | None]:
        """What the receiver sees of a frame."""
        header, snr_db = sent.header, float(self.snr_db[slot])
        if snr_db < UNSEEN_DB:
            return None, None
        key = (header.process, header.sequence, header.new_data)
        for old in [old for old in self._sums if old[0] == header.process and old != key]:
            del self._sums[old]
        total = self._sums.get(key, 0.0) + 10 ** (snr_db / 10)
        self._sums[key] = total
        above = 10 * math.log10(total) - THRESHOLDS_DB[header.mcs]
        fails = self._chances[0, slot] < 1 / (1 + math.exp(min(500.0, STEEPNESS * above)))
        return header, None if fails else sent.payload
