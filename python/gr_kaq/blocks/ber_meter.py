# SPDX-License-Identifier: GPL-3.0-or-later
"""A bit error meter for the symbols of `qam_source` as a GNU Radio block."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, fields

import numpy as np
import pmt
from numpy.typing import NDArray

from ..signals.bit_errors import BitErrorRate
from ..signals.constellation import constellation_named
from ..signals.known_symbols import KnownSymbols
from .base import MAX_ANTENNAS, MAX_SUBCARRIERS, KaqBlock, check_integer, ports, rows
from .counters import Counters, counter, counters_of_ports, reading

__all__ = ["ber_meter"]

COMMON = [field.name for field in fields(Counters)]  # to all blocks


@dataclass
class BerCounters(Counters):
    """What a `ber_meter` counts."""

    bits: int = counter("bits", "Bits compared.")
    per_stream_errors: list[int] = counters_of_ports("bits, for each stream", "Bits in error of the stream.")
    skipped_items: int = counter("items", "Items skipped because all their values were zero.")


class ber_meter(KaqBlock[BerCounters]):
    """Counts the bit errors of detected symbols, or of LLRs, against the bits that a `qam_source` sent.

    The bits follow from the seed, so the transmitter may be another process: only the order of items counts, the first
    item received being the first that was sent. Source and meter begin anew when their flowgraph is started again.
    Items whose values are all zero on all streams ('nothing known', see `detector`) are skipped, not counted as errors.

    Inputs: num_tx ports. ``"symbols"``: complex, an item is a vector of num_subcarriers symbols, decided by distance.
    ``"llrs"``: float, an item is a vector of num_subcarriers * bits_per_symbol LLRs, ln P(b=1)/P(b=0), decided by sign.
    With vector_ports, one port for all streams: [tx][subcarrier] or [tx][subcarrier][bit], as `detector` has it.

    Messages: ber (out): dict with bit_errors, bits, ber, confidence_interval (95 %), skipped_items, per_stream_errors,
    about every publish_interval_s while items flow, and at the end.

    Args:
        num_tx, num_subcarriers, constellation, seed: as given to the `qam_source`.
        input: ``"symbols"`` or ``"llrs"``.
        skip_items: received items to leave out at first, for example until a radio has settled.
        target_errors: end, and with it the flowgraph, once so many bit errors were counted; 0: never.
        publish_interval_s: seconds between two messages; 0: only one at the end.
        condition: what is measured under, such as the SNR of a slider; see `set_condition`.
        vector_ports: whether all streams share a port.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        num_tx: int,
        num_subcarriers: int = 1,
        constellation: str = "16qam",
        seed: int = 0,
        *,
        input: str = "symbols",
        skip_items: int = 0,
        target_errors: int = 0,
        publish_interval_s: float = 1.0,
        condition: object = None,
        vector_ports: bool = False,
    ):
        self._num_tx = check_integer("num_tx", num_tx, 1, MAX_ANTENNAS)
        self._num_subcarriers = check_integer("num_subcarriers", num_subcarriers, 1, MAX_SUBCARRIERS)
        self._skip_items = check_integer("skip_items", skip_items, 0, 2**62)
        self.set_target_errors(target_errors)
        if input not in ("symbols", "llrs"):
            raise ValueError(f"input is {input!r}; 'symbols' or 'llrs' expected")
        if not publish_interval_s >= 0:
            raise ValueError(f"publish_interval_s is {publish_interval_s}; at least 0 expected")
        self._constellation = constellation_named(constellation)
        self._seed = check_integer("seed", seed, 0, 2**63)
        self._soft = input == "llrs"
        self._width = self._num_subcarriers * (self._constellation.bits_per_symbol if self._soft else 1)
        dtype = np.float32 if self._soft else np.complex64
        super().__init__("KAQ BER meter", ports(dtype, self._width, self._num_tx, vector_ports=vector_ports), [])
        self._lock = threading.RLock()  # reset is called from other threads
        self._condition = condition
        self._publish_interval_s = publish_interval_s
        self._next_publication = time.monotonic() + publish_interval_s
        self.message_port_register_out(pmt.intern("ber"))
        self.reset()

    def begin(self) -> None:
        """Called when the flowgraph starts: the symbols sent begin anew."""
        self._symbols = KnownSymbols(self._num_tx, self._num_subcarriers, self._constellation, self._seed)

    def process(self, input_items: list[NDArray], output_items: list[NDArray]) -> int:
        """Compare the next items."""
        num_items = len(input_items[0])
        first = self.nitems_read(0)
        values = np.stack(rows(input_items, num_items, self._width, self._num_tx), axis=1)  # (items, num_tx, width)
        sent = self._symbols.bits(self._symbols.draw(num_items))
        decided = values > 0 if self._soft else self._constellation.decide(values)
        wanted = np.arange(first, first + num_items) >= self._skip_items
        known = wanted & values.any(axis=(1, 2))
        errors = np.count_nonzero(decided[known] != sent[known], axis=(0, 2))
        with self._lock:
            self.counters.per_stream_errors = (errors + self.counters.per_stream_errors).tolist()
            self.counters.bits += int(np.count_nonzero(known)) * sent[0].size
            self.counters.skipped_items += int(np.count_nonzero(wanted & ~known))
        if self._publish_interval_s and time.monotonic() >= self._next_publication:
            self._next_publication = time.monotonic() + self._publish_interval_s
            self.publish("ber", self.result())
        if self._target_errors and self.bit_errors() >= self._target_errors:
            return -1
        return num_items

    def set_target_errors(self, target_errors: int) -> None:
        """End once so many bit errors were counted; 0: never."""
        self._target_errors = check_integer("target_errors", target_errors, 0, 2**62)

    def set_condition(self, condition: object) -> None:
        """Count from zero again if `condition` differs from the last one: rates under two conditions do not mix."""
        if condition != self._condition:
            self._condition = condition
            self.reset()

    def reset(self) -> None:
        """Count from zero again, at the present place in the stream."""
        with self._lock:
            self.counters.per_stream_errors = [0] * self._num_tx
            self.counters.bits = self.counters.skipped_items = 0

    def error_rate(self) -> BitErrorRate:
        """The count so far, as one value."""
        with self._lock:
            return BitErrorRate(sum(self.counters.per_stream_errors), self.counters.bits)

    @reading("bits")
    def bit_errors(self) -> int:
        """Bits in error."""
        return self.error_rate().errors

    @reading("errors per bit")
    def ber(self) -> float:
        """Bit error rate; NaN before the first bit."""
        return self.error_rate().rate

    @reading("errors per bit")
    def confidence_interval(self) -> tuple[float, float]:
        """Both ends of the 95 % confidence interval of the bit error rate."""
        return self.error_rate().confidence_interval()

    def result(self) -> dict[str, object]:
        """What is published on port `ber`: `stats()` of one instant, without what says nothing of the channel."""
        with self._lock:
            return {name: value for name, value in self.stats().items() if name not in COMMON}

    def end(self) -> None:
        """Called when the flowgraph has ended: publishes the count a last time."""
        self.publish("ber", self.result())
