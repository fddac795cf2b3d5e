# SPDX-License-Identifier: GPL-3.0-or-later
"""The last block of the receiver: payloads from LLRs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

from ..frames.frame_format import MAX_STREAMS, SYMBOL_COUNTS, FrameFormat
from ..frames.payload import PayloadCoder
from .base import KaqBlock, check_integer, ports
from .counters import Counters, counter, reading
from .pdu import make_pdu

__all__ = ["frame_decoder"]


@dataclass
class DecoderCounters(Counters):
    """What a `frame_decoder` counts."""

    frames: int = counter("frames", "Frames decoded, rightly or not.")
    block_errors: int = counter("frames", "Frames whose CRC was wrong, or whose LLRs were all zero.")
    malformed_tags: int = counter("tags", "Tags `frame` that are no dict.")


class frame_decoder(KaqBlock[DecoderCounters]):
    """Decodes the frames of a `frame_transmitter` from the LLRs of a `detector`, and checks their CRC.

    Inputs: num_tx float ports, one per stream; an item is a frame: a vector of data_per_stream * bits_per_symbol LLRs,
    ln P(b=1)/P(b=0). Their common factor does not matter.

    Tags, on input 0: `frame` (dict), what is known of the frame.

    Messages:
        pdus (out): payloads whose CRC is right: metadata dict with the entries of `frame`, and u8vector.
        lost (out): dict with the entries of `frame`, of a frame whose CRC is wrong; for a `frame_explainer`.
        stats (out): dict with the value of every counter, about every stats_interval_s while items flow, and at the
            end.

    Args:
        num_tx: streams, 1 to 8; with 64 carriers, 1 to 4.
        fft_size: carriers: 64, 256, 512, 1024 or 2048.
        constellation: ``"qpsk"``, ``"16qam"``, ``"64qam"`` or ``"256qam"``.
        num_symbols: OFDM symbols of a frame: 14, 28 or 56, see `gr_kaq.frames.frame_format.FrameFormat`.
        stats_interval_s: seconds between two messages on `stats`; 0: only one at the end.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        num_tx: int,
        fft_size: int = 64,
        constellation: str = "16qam",
        *,
        num_symbols: int = SYMBOL_COUNTS[0],
        stats_interval_s: float = 1.0,
    ):
        num_tx = check_integer("num_tx", num_tx, 1, MAX_STREAMS)
        frame = self.frame_format = FrameFormat(num_tx, fft_size, constellation, num_symbols)
        bits_per_symbol = frame.constellation.bits_per_symbol
        llrs = ports(np.float32, frame.data_per_stream * bits_per_symbol, num_tx)
        super().__init__("KAQ frame decoder", llrs + self._antenna_ports(), [])
        self._coder = PayloadCoder(frame)
        self._frame_key = pmt.intern("frame")
        self._pdus, self._lost = pmt.intern("pdus"), pmt.intern("lost")
        self.message_port_register_out(self._pdus)
        self.message_port_register_out(self._lost)
        self.announce_stats(stats_interval_s)

    def process(self, input_items: list[NDArray], output_items: list[NDArray]) -> int:
        """Decode the frames that are there."""
        num_items = len(input_items[0])
        metadata = {item: self._entries(value) for item, _, value in self.pass_tags(num_items, (), [self._frame_key])}
        for item, payload in enumerate(self._decode(input_items, metadata)):
            self.counters.frames += 1
            if payload is None:
                self.counters.block_errors += 1
                self.message_port_pub(self._lost, metadata.get(item, pmt.PMT_NIL))
            else:
                self.message_port_pub(self._pdus, make_pdu(payload, metadata.get(item)))
        self.publish_stats()
        return num_items

    def _antenna_ports(self) -> list[Any]:
        """Inputs behind those of the LLRs; of a block that needs more."""
        return []

    def _decode(self, input_items: list[NDArray], metadata: dict[int, Any]) -> list[bytes | None]:
        """The payloads of the frames that are there, None where the CRC is wrong; tags `frame` by item."""
        return self._coder.decode_streams(input_items)

    def _entries(self, value: Any) -> Any:
        """What the tag `frame` says about its frame."""
        if value is not None and pmt.is_dict(value):
            return value
        self.counters.malformed_tags += 1
        self.warn_once("frame tag", "a tag 'frame' is no dict; its frame is decoded without metadata")
        return pmt.PMT_NIL

    @reading("errors per frame")
    def block_error_rate(self) -> float:
        """Share of the frames whose CRC was wrong; NaN before the first."""
        frames = self.counters.frames
        return self.counters.block_errors / frames if frames else float("nan")
