# SPDX-License-Identifier: GPL-3.0-or-later
"""A transmitter of MIMO-OFDM bursts, one for each PDU."""

from __future__ import annotations

import collections
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

from ..frames.feedback_frame import feedback_frame
from ..frames.frame_format import MAX_STREAMS, SYMBOL_COUNTS, FrameFormat
from ..frames.frame_header import FrameHeader
from ..frames.link_frame import LinkFrame
from ..frames.modulation_coding import transport_block_bytes
from ..frames.payload import PayloadCoder, max_payload
from ..frames.transport_coding import transport_coder
from .base import KaqBlock, check_integer, ports
from .counters import Counters, counter, reading
from .header_pmt import header_from_pmt
from .pdu import InvalidPdu, pdu_bytes, pdu_entries

__all__ = ["IDLE", "frame_transmitter"]

IDLE = ("wait", "zeros")
MAX_GAP = 1 << 24
MAX_QUEUE = 4096  # PDUs
FEEDBACK_EVERY = 4  # frames, of which at most one carries feedback while others wait
WANTED = 16  # PDUs in the queue, or under way to it, for one who sends on request
FLUSH = 4096  # samples; a channel model or a receiver may hold back as many
POLL_S = 1e-3  # between two looks for PDUs; GNU Radio hands them over between calls of `work` only


@dataclass
class TransmitterCounters(Counters):
    """What a `frame_transmitter` counts."""

    frames: int = counter("bursts", "Bursts sent, or begun.")
    feedback_frames: int = counter("bursts", "Those of them that carry an acknowledgement.")
    bad_pdus: int = counter("PDUs", "PDUs that were malformed, empty or too long.")
    dropped_pdus: int = counter("PDUs", "PDUs that came when the queue was full, or after the end of the stream.")
    bad_messages: int = counter("messages", "Messages on port `acks` that were refused.")
    cut_bursts: int = counter("bursts", "Bursts that were cut off when the flowgraph was stopped or unlocked.")


class frame_transmitter(KaqBlock[TransmitterCounters]):
    """Sends each PDU as one burst: preamble, OFDM symbols, a gap (see `gr_kaq.frames.frame_format`).

    E|x|^2 = amplitude^2 on every active carrier of every stream, so that a stream's samples have the mean power
    52/64 amplitude^2, and Gaussian real and imaginary parts: with an amplitude of 0.25, full scale (1) of a DAC is 6
    times their standard deviation. Nothing is clipped here; `peak` tells how far it is from being.

    Outputs: num_tx complex ports, one per stream.

    Tags, on every port, at the same items: `packet_len` (long) and `tx_sob` at the first sample of a burst, `tx_eob` at
    its last. The gap belongs to the burst. UHD's sink follows `packet_len` if it is given that name, the other two
    otherwise.

    Messages:
        pdus (in): pair of metadata, which is ignored, and u8vector with 1 to `gr_kaq.frames.payload.max_payload` bytes.
            Of frames with a header, its fields are the metadata (`gr_kaq.frames.frame_header.FrameHeader`), and the
            u8vector has exactly `gr_kaq.frames.modulation_coding.transport_block_bytes`.
            ``pmt.PMT_EOF``: the block, and with it the flowgraph, ends after what is queued.
        acks (in): PDUs of an `arq_receiver`; frames with a header only. Each goes out in a frame of its own, the newest
            in place of those before, and so waits for four frames at most.
        ready (out): long, how many more PDUs are wanted. What sends as many, and no others, keeps the queue short
            and loses none, however slow the radio is. PDUs that come unasked are queued too, up to 4096.

    Args:
        num_tx: streams, 1 to 8; with 64 carriers, 1 to 4.
        fft_size: carriers: 64, 256, 512, 1024 or 2048.
        constellation: ``"qpsk"``, ``"16qam"``, ``"64qam"`` or ``"256qam"``. Empty: frames have a header, which says
            constellation, code rate and rank of each, for a `link_decoder`.
        amplitude: factor of the samples, above 0.
        gap_length: zeros behind each frame, in samples.
        idle: without PDUs, ``"wait"`` sends nothing, as radios want it that know bursts; ``"zeros"`` sends zeros,
            outside of packets, as simulated radios want it whose samples never stop, and 4096 of them at the end, so
            that the last frame comes out of whatever follows.
        num_symbols: OFDM symbols of a frame: 14, 28 or 56, see `gr_kaq.frames.frame_format.FrameFormat`.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        num_tx: int,
        fft_size: int = 64,
        constellation: str = "16qam",
        *,
        amplitude: float = 1.0,
        gap_length: int = 256,
        idle: str = "wait",
        num_symbols: int = SYMBOL_COUNTS[0],
    ):
        num_tx = check_integer("num_tx", num_tx, 1, MAX_STREAMS)
        self.frame_format = FrameFormat(num_tx, fft_size, constellation or "qpsk", num_symbols)
        self._gap_length = check_integer("gap_length", gap_length, 0, MAX_GAP)
        if idle not in IDLE:
            raise ValueError(f"idle is {idle!r}; one of {', '.join(IDLE)} expected")
        self._fill = idle == "zeros"
        self.set_amplitude(amplitude)
        super().__init__("KAQ frame transmitter", [], ports(np.complex64, 1, num_tx))
        self._link_frame = None if constellation else LinkFrame(self.frame_format)
        self._coder = PayloadCoder(self.frame_format)
        self._burst_length = self.frame_format.frame_length + self._gap_length
        self._burst = np.zeros((num_tx, self._burst_length), np.complex64)
        self._sent = self._burst_length  # samples of the burst that are out
        self._queue: collections.deque[tuple[bytes, FrameHeader | None]] = collections.deque()
        self._feedback: bytes | None = None  # to be sent
        self._since_feedback = 0  # frames
        self._requested = 0  # PDUs, by messages on port `ready`, that have not come yet
        self._ending = False
        self._flushed = 0  # zeros sent since the end
        self._peak = 0.0
        self._packet_len, self._sob, self._eob = map(pmt.intern, ("packet_len", "tx_sob", "tx_eob"))
        self.message_port_register_in(pmt.intern("pdus"))
        self.set_msg_handler(pmt.intern("pdus"), self.handle_pdu)
        self.message_port_register_in(pmt.intern("acks"))
        self.set_msg_handler(pmt.intern("acks"), self.handle_acknowledgement)
        self.message_port_register_out(pmt.intern("ready"))

    # Samples

    def process(self, input_items: list[NDArray], output_items: list[NDArray]) -> int:
        """Send what there is of the bursts."""
        room, first, produced = len(output_items[0]), self.nitems_written(0), 0
        while produced < room:
            if self._sent == self._burst_length:
                if not self._queue and self._feedback is None:
                    break
                self._next_burst()
                self._tag(first + produced, self._packet_len, pmt.from_long(self._burst_length))
                self._tag(first + produced, self._sob, pmt.PMT_T)
            count = min(room - produced, self._burst_length - self._sent)
            for items, samples in zip(output_items, self._burst, strict=True):
                items[produced : produced + count] = samples[self._sent : self._sent + count]
            self._sent += count
            produced += count
            if self._sent == self._burst_length:
                self._tag(first + produced - 1, self._eob, pmt.PMT_T)
        if produced:
            return produced
        if self._ending and (not self._fill or self._flushed >= FLUSH):
            return -1
        if self._fill:
            count = min(room, self.frame_format.symbol_length)  # few, as a PDU has to wait for them
            self._flushed += count if self._ending else 0
            for items in output_items:
                items[:count] = 0
            return count
        time.sleep(POLL_S)
        return 0

    def _next_burst(self) -> None:
        """Modulate the next PDU of the queue."""
        self._sent = self._burst_length  # should anything go wrong, the PDU is skipped
        samples = self.frame_format.modulate(self._data_symbols(*self._next_pdu()))
        self._request()
        self._burst[:, : samples.shape[1]] = samples * np.float32(self._amplitude)
        self._peak = max(self._peak, float(np.abs(self._burst.view(np.float32)).max()))
        self.counters.frames += 1
        self._sent = 0

    def _next_pdu(self) -> tuple[bytes, FrameHeader | None]:
        """What is sent next: the first of the queue, or feedback, if it has waited long enough or is alone."""
        if self._feedback is None or (self._queue and self._since_feedback < FEEDBACK_EVERY - 1):
            self._since_feedback += 1
            return self._queue.popleft()
        header, block = feedback_frame(self.frame_format, self._feedback, self.counters.feedback_frames)
        self._feedback, self._since_feedback = None, 0
        self.counters.feedback_frames += 1
        return block, header

    def _data_symbols(self, payload: bytes, header: FrameHeader | None) -> NDArray[np.complex64]:
        if self._link_frame is None or header is None:
            return self.frame_format.map_bits(self._coder.encode(payload))
        word = transport_coder(self.frame_format, header.mcs, header.rank).encode(payload)
        return self._link_frame.data_symbols(header, word)

    def _tag(self, item: int, key: Any, value: Any) -> None:
        for port in range(self.frame_format.num_tx):
            self.add_item_tag(port, item, key, value)

    # PDUs

    def handle_pdu(self, message: Any) -> None:
        """A message on port `pdus`."""
        try:
            if message is not None and pmt.is_eof_object(message):
                self._ending = True
                return
            self._requested = max(0, self._requested - 1)
            if self._ending or len(self._queue) >= MAX_QUEUE:
                self.counters.dropped_pdus += 1
                why = "after the end of the stream" if self._ending else f"beyond {MAX_QUEUE} that wait"
                self.warn_once("dropped PDU", f"a PDU came {why}; it is dropped, as are others")
                return
            self._queue.append(self._payload(message) if self._link_frame is None else self._block(message))
        except InvalidPdu as error:
            self.counters.bad_pdus += 1
            self.warn_once("bad PDU", f"PDU rejected: {error}")
            self._request()
        except Exception as error:
            self.failed(error)

    def handle_acknowledgement(self, message: Any) -> None:
        """A message on port `acks`."""

        def take() -> None:
            if self._link_frame is None:
                raise ValueError("frames without a header carry none")
            data = pdu_bytes(message)
            feedback_frame(self.frame_format, data, 0)  # which checks it
            self._feedback = data

        if self.refused("acknowledgement", "the one that waits", take):
            self.counters.bad_messages += 1

    def _payload(self, message: Any) -> tuple[bytes, None]:
        payload = pdu_bytes(message, max_payload(self.frame_format))
        if not payload:
            raise InvalidPdu("it is empty")
        return payload, None

    def _block(self, message: Any) -> tuple[bytes, FrameHeader]:
        """A transport block and its header."""
        block = pdu_bytes(message)
        try:
            header = header_from_pmt(pdu_entries(message))
            if header is None:
                raise ValueError("it has no header in its metadata")
            size = transport_block_bytes(self.frame_format, header.mcs, header.rank)
        except ValueError as error:
            raise InvalidPdu(str(error)) from None
        if len(block) != size:
            raise InvalidPdu(f"it has {len(block)} bytes; {size} expected with MCS {header.mcs} and rank {header.rank}")
        return block, header

    def _request(self) -> None:
        """Ask for as many PDUs as are wanted."""
        count = WANTED - len(self._queue) - self._requested
        if count > 0 and not self._ending:
            self._requested += count
            self.message_port_pub(pmt.intern("ready"), pmt.from_long(count))

    def begin(self) -> None:
        """Called when the flowgraph starts: a burst that was cut off when it was stopped is not continued."""
        self.counters.cut_bursts += self._sent < self.frame_format.frame_length
        self._sent, self._ending, self._flushed = self._burst_length, False, 0
        self._feedback = None
        self._requested = 0  # who has ended has to be asked again to say so
        self._request()

    # Settings and readings

    def set_amplitude(self, amplitude: float) -> None:
        """Set the factor of the samples, from the next burst on."""
        if not 0 < amplitude < math.inf:
            raise ValueError(f"amplitude is {amplitude}; a number above 0 expected")
        self._amplitude = float(amplitude)

    @reading("PDUs")
    def queued_pdus(self) -> int:
        """PDUs that wait."""
        return len(self._queue)

    @reading("full scale")
    def peak(self) -> float:
        """Greatest magnitude of a real or imaginary part so far: below 1 for a DAC."""
        return self._peak
