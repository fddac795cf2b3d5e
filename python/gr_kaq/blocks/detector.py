# SPDX-License-Identifier: GPL-3.0-or-later
"""The MIMO detector as a GNU Radio block."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

from ..detection.detector import Detector
from ..detection.detectors import load_detector
from ..detection.plan import Plan
from ..detection.result import Piece, Streams
from ..signals.csi import ChannelEstimate, CsiState, InvalidCsi
from .base import MAX_ANTENNAS, MAX_SUBCARRIERS, KaqBlock, check_integer, ports
from .counters import Counters, counter, reading
from .csi_pmt import CSI_KEY, SNR_KEY, check_keys, estimate_reader, parse_channel, parse_update

__all__ = ["detector"]

MAX_KEYS = 8  # that a line of the log names


@dataclass
class DetectorCounters(Counters):
    """What a `detector` counts."""

    items: int = counter("items", "Items processed.")
    csi_updates: int = counter("estimates", "Valid channel estimates received, on tags and in messages.")
    rejected_csi: int = counter(
        "estimates", "Channel and SNR estimates received that were malformed, on tags and in messages."
    )
    rejected_messages: int = counter("messages", "Messages on port `model` that were refused.")
    items_without_csi: int = counter(
        "items", "Items that gave zeros because there was no valid estimate, or none young enough."
    )
    invalid_vectors: int = counter("vectors", "Vectors that gave zeros because a sample was NaN or Inf.")


class detector(KaqBlock[DetectorCounters]):
    """MIMO detector: antenna streams and channel estimates in, symbols and soft bits out.

    Signal model, for every item and subcarrier:

        y = H x + n     y: (num_rx,)  H: (num_rx, num_tx)  x: (num_tx,)  n ~ CN(0, noise_var I)

    with E|x|^2 = 1 per stream (3GPP TS 38.211 QAM), SNR = (||H||_F^2 / num_rx) / noise_var averaged over the
    subcarriers, and LLR = ln P(b=1)/P(b=0).

    Inputs: num_rx complex ports, one per antenna; an item is a vector of num_subcarriers samples.

    Outputs: num_tx complex ports, one per stream; an item is a vector of num_subcarriers symbol estimates before the
    decision. Then, with output_llrs, num_tx float ports; an item is a vector of num_subcarriers * bits_per_symbol
    LLRs, the bits of a symbol next to each other.

    With vector_ports, one port in place of each num_rx or num_tx: an item has what the items of these ports would have,
    one after the other, so [rx][subcarrier], [tx][subcarrier] and [tx][subcarrier][bit] in C order. That is what
    `blocks.streams_to_vector` joins and `blocks.vector_to_streams` splits. Many antennas cost fewer threads and less
    time so.

    Tags, read on input 0 only (docs/guide/csi-contract.md): `mimo_channel`, a channel estimate, and `snr`, in dB. Each
    holds from its item on until the next of its kind. All tags of input 0 are passed on to output 0, each once, and to
    the first LLR port, where a decoder may look for them.

    Messages:
        csi (in): the value of a `mimo_channel` tag, with `snr` inside if there is no `noise_var`. Takes effect at the
            first item of the next work call; a tag at that item is the newer one.
        model (in): name of a detector or path of a model file, as for `set_model`.
        stats (out): dict with the value of every counter, about every stats_interval_s while items flow, and at the
            end, as far as the receiver still runs then.

    Before the first valid estimate, and when the estimate is older than max_csi_age, all outputs are zeros ('nothing
    known'); what is missing is logged once. A vector with NaN or Inf gives zeros too. An estimate that is malformed
    changes nothing. Each of these is counted; nothing that arrives raises or stops the flowgraph. A flowgraph that is
    started again begins without an estimate.

    Args:
        model: one of `gr_kaq.list_detectors()`, or the path of a model file. ``"auto"`` takes the one with the lowest
            error rate at this size, ``"auto-fast"`` a fast one.
        num_rx, num_tx: antennas and streams.
        num_subcarriers: length of an item; 1 for a flat channel.
        constellation: ``"qpsk"``, ``"16qam"``, ``"64qam"`` or ``"256qam"``; needed by ``"auto"``, ``"auto-fast"``,
            ``"lmmse"`` and ``"zf"``.
        output_llrs: whether there are LLR ports.
        vector_ports: whether all antennas share a port, all streams' symbols one, and all streams' LLRs one.
        max_csi_age: how many items an estimate may be old; 0: any. The item that it arrived at has age 0.
        csi_key, snr_key: names of the two tags.
        backend: ``"auto"``, ``"native"`` or ``"reference"``, see `gr_kaq.load_detector`.
        stats_interval_s: seconds between two messages on `stats`; 0: only one at the end.

    Raises:
        ValueError: an argument is out of range, or the model does not exist or does not take this size.
    """

    def __init__(
        self,
        model: str | Path,
        num_rx: int,
        num_tx: int,
        num_subcarriers: int = 1,
        constellation: str | None = None,
        *,
        output_llrs: bool = False,
        vector_ports: bool = False,
        max_csi_age: int = 0,
        csi_key: str = CSI_KEY,
        snr_key: str = SNR_KEY,
        backend: str = "auto",
        stats_interval_s: float = 1.0,
    ):
        self._num_rx = check_integer("num_rx", num_rx, 1, MAX_ANTENNAS)
        self._num_tx = check_integer("num_tx", num_tx, 1, MAX_ANTENNAS)
        self._num_subcarriers = check_integer("num_subcarriers", num_subcarriers, 1, MAX_SUBCARRIERS)
        self._max_csi_age = _check_age(max_csi_age)
        check_keys(csi_key, snr_key)
        self._backend = backend
        self._detector = self._load(model, constellation or None)
        bits_per_symbol = self._detector.constellation.bits_per_symbol

        self._vector_ports = vector_ports
        symbol_ports = self._ports(np.complex64, self._num_subcarriers, self._num_tx)
        llr_ports = self._ports(np.float32, self._num_subcarriers * bits_per_symbol, self._num_tx)
        self._num_symbol_ports = len(symbol_ports)
        self._tag_outputs = (0, self._num_symbol_ports) if output_llrs else (0,)
        super().__init__(
            "KAQ MIMO detector",
            self._ports(np.complex64, self._num_subcarriers, self._num_rx),
            symbol_ports + (llr_ports if output_llrs else []),
        )
        self.enlarge_buffers(self._num_tx if vector_ports else 1)
        self._lock = threading.Lock()  # setters are called from other threads
        self._shape = (self._num_subcarriers, self._num_rx, self._num_tx)
        self._csi = CsiState(self._shape)
        self._csi_item = self._next_item = 0  # the item that the estimate arrived at; the first that has not come
        self._items_per_estimate = 1  # how long the one before it was in force
        self._plan: Plan | None = None  # of the model in use, made when it is needed
        self._is_prepared = False  # whether the plan has prepared the estimate in force

        self._reader = estimate_reader(self._shape)
        self._tag_keys = [pmt.intern(csi_key), pmt.intern(snr_key)]
        self._detected_vectors = self._detection_ns = 0

        for port, handler in (("csi", self.handle_csi), ("model", self.handle_model)):
            self.message_port_register_in(pmt.intern(port))
            self.set_msg_handler(pmt.intern(port), handler)
        self.announce_stats(stats_interval_s)

    def begin(self) -> None:
        """Called when the flowgraph starts: no estimate is known."""
        with self._lock:
            self._csi, self._is_prepared = CsiState(self._shape), False
            self._csi_item = self._next_item = 0

    # Samples

    def process(self, input_items: list[NDArray], output_items: list[NDArray]) -> int:
        """Cut the buffers where an estimate arrives, so that each piece has one."""
        num_items = len(output_items[0])
        with self._lock:
            first = self.nitems_read(0)
            self._next_item = first + num_items
            arrivals: dict[int, list[tuple[int, Any]]] = {}
            for item, kind, value in self.pass_tags(num_items, self._tag_outputs, self._tag_keys, self._reader):
                arrivals.setdefault(item, []).append((kind, value))

            pieces: list[Piece] = []
            start = 0
            for item, tags in arrivals.items():
                self._add_piece(pieces, output_items, first, start, item)
                self._update(*parse_update(tags, self._shape, self._reject_csi), first + item)
                start = item
            self._add_piece(pieces, output_items, first, start, num_items)
            if self.counters.items_without_csi and not self._csi.valid:
                self._explain_zeros(num_items)
            if pieces:
                began = time.perf_counter_ns()
                streams = (
                    self._streams(input_items, self._num_rx),
                    self._streams(output_items[: self._num_symbol_ports], self._num_tx),
                    self._streams(output_items[self._num_symbol_ports :], self._num_tx),
                )
                self._detect(pieces, streams, output_items)
                self._detection_ns += time.perf_counter_ns() - began
                self._detected_vectors += sum(piece.stop - piece.start for piece in pieces) * self._num_subcarriers
            self.counters.items += num_items
        self.publish_stats()
        return num_items

    def _ports(self, dtype: type, length: int, count: int) -> list[Any]:
        """Signature of the ports of `count` antennas or streams."""
        return ports(dtype, length, count, vector_ports=self._vector_ports)

    def _streams(self, items: list[NDArray], count: int) -> Streams:
        """The buffers of ports by antenna or stream; without ports, none."""
        if self._vector_ports and items:
            return items[0].reshape(len(items[0]), count, -1).swapaxes(0, 1)
        return [port.reshape(len(port), -1) for port in items]

    def _add_piece(self, pieces: list[Piece], outputs: list[NDArray], first: int, start: int, stop: int) -> None:
        """Have items start to stop detected, or as far as the estimate goes, and fill the rest with zeros.

        Args:
            pieces: what is to be detected.
            outputs: symbols and LLRs.
            first: number of item 0 in the stream.
            start, stop: items of the buffers.
        """
        if start >= stop:
            return
        known = stop if self._csi.valid else start
        if self._max_csi_age:
            known = max(start, min(known, self._csi_item + self._max_csi_age + 1 - first))
        if known > start:
            assert self._csi.estimate is not None
            h, given, length = self._csi.estimate.h, self._csi.given, self._items_per_estimate
            pieces.append(Piece(start, known, h, vectors_per_estimate=length, is_prepared=self._is_prepared, **given))
            self._is_prepared = True
        if known < stop:
            for items in outputs:
                items[known:stop] = 0
            self.counters.items_without_csi += stop - known

    def failed(self, error: Exception) -> None:
        self._is_prepared = False  # or it is not known
        super().failed(error)

    def _detect(self, pieces: list[Piece], streams: tuple[Streams, ...], outputs: list[NDArray]) -> None:
        """Detect all pieces in one call; if that fails, one after the other, so that one does not spoil the others.

        Args:
            pieces: what is to be detected.
            streams: antennas, symbols and LLRs.
            outputs: the same symbols and LLRs by port.
        """
        try:
            if self._plan is None:
                self._plan = self._detector.plan(*self._shape)
            self.counters.invalid_vectors += self._plan.detect_pieces(pieces, *streams)
        except Exception as error:
            if len(pieces) > 1:
                for piece in pieces:
                    self._detect([piece._replace(is_prepared=False)], streams, outputs)
                return
            self.failed(error)
            for items in outputs:
                items[pieces[0].start : pieces[0].stop] = 0

    # Estimates

    def _explain_zeros(self, num_items: int) -> None:
        """Log what is missing, each thing once: without an estimate the outputs are zeros, and look like no signal."""
        if self._csi.estimate is not None:
            self.warn_once(
                "zeros",
                "outputs are zeros: the channel estimate has no `noise_var`, and there is no SNR; put `noise_var` into "
                f"it, or a tag `{self._tag_keys[1]}` in dB beside it",
                "noise",
            )
            return
        if self.counters.rejected_csi:  # each reason is in the log
            return
        wanted = str(self._tag_keys[0])
        found = [self._keys_at(port, num_items) for port in range(len(self._in_types))]
        for port, keys in enumerate(found):
            if port and wanted in keys:
                self.warn_once(
                    "zeros", f"outputs are zeros: tags `{wanted}` are at input {port}; they are read at input 0", "port"
                )
                return
        others = ", ".join(sorted(found[0] - {str(self._tag_keys[1])})[:MAX_KEYS])
        if others:
            text = f" (there are {others}; csi_key names the tag)"
        elif self._warned.get("zeros"):  # it was said when there were tags
            return
        else:
            text = ""
        self.warn_once(
            "zeros",
            f"outputs are zeros: no channel estimate so far, neither in a tag `{wanted}` at input 0{text} "
            "nor on port csi",
            bool(others),
        )

    def _keys_at(self, port: int, num_items: int) -> set[str]:
        """Names of the tags at the next items of an input."""
        names = set()
        for tag in self.get_tags_in_window(port, 0, num_items):
            if tag.key is not None and pmt.is_symbol(tag.key):
                with contextlib.suppress(UnicodeDecodeError):  # of somebody else's
                    names.add(pmt.symbol_to_string(tag.key))
        return names

    def _update(self, estimate: ChannelEstimate | None, snr_db: float | None, item: int) -> None:
        if estimate is None and snr_db is None:
            return
        self._csi.update(estimate, snr_db)
        self._is_prepared = False  # what has to be prepared, is when items follow
        if estimate is not None:
            self._items_per_estimate = max(1, item - self._csi_item)
            self._csi_item = item
            self.counters.csi_updates += 1

    def _reject_csi(self, error: InvalidCsi) -> None:
        self.counters.rejected_csi += 1
        self.warn_once("estimate", f"estimate rejected: {error}", error.kind)

    def handle_csi(self, message: Any) -> None:
        """A message on port `csi`."""
        try:
            estimate = parse_channel(message, self._shape)
            with self._lock:
                self._update(estimate, None, self.nitems_read(0))
        except InvalidCsi as error:
            self._reject_csi(error)
        except Exception as error:
            self.failed(error)

    # The model

    def _load(self, model: str | Path, constellation: str | None) -> Detector:
        if not isinstance(model, str | Path):
            raise ValueError(f"model is a {type(model).__name__}; a name or path expected")
        loaded = load_detector(model, backend=self._backend, constellation=constellation)
        loaded.at_size(self._num_rx, self._num_tx)  # what cannot be loaded is said here, and not by the first estimate
        return loaded

    def set_model(self, model: str | Path) -> None:
        """Replace the model, also while the flowgraph runs: from the next work call on.

        Args:
            model: name of a detector or path of a model file, of the same constellation and for this size.

        Raises:
            ValueError: it cannot be loaded or does not fit; the old one stays.
        """
        loaded = self._load(model, self._detector.constellation.name)
        with self._lock:
            self._detector, self._plan, self._is_prepared = loaded, None, False
            self._detected_vectors = self._detection_ns = 0

    def handle_model(self, message: Any) -> None:
        """A message on port `model`."""
        if not self.take_name("model", message, self.set_model, self.model_name):
            self.counters.rejected_messages += 1

    # Settings and readings

    def set_max_csi_age(self, max_csi_age: int) -> None:
        """How many items an estimate may be old; 0: any."""
        with self._lock:
            self._max_csi_age = _check_age(max_csi_age)

    @reading("items")
    def csi_age(self) -> int:
        """Items since the estimate in force arrived; -1 before the first."""
        return self._next_item - self._csi_item if self._csi.estimate is not None else -1

    @reading("ns")
    def time_per_vector_ns(self) -> float:
        """Mean time per vector (one item and subcarrier), with what each estimate takes; NaN before the first.

        Counted since the start, or since the model was replaced.
        """
        return self._detection_ns / self._detected_vectors if self._detected_vectors else float("nan")

    @reading("name")
    def model_name(self) -> str:
        """Name of the model in use, as it was asked for."""
        return self._detector.name

    @reading("name")
    def detector_name(self) -> str:
        """Name of the detector that detects: that of the model, or of the one that `auto` chose."""
        return self._detector.at_size(self._num_rx, self._num_tx).name

    def constellation_name(self) -> str:
        """Name of the constellation that the outputs are for."""
        return self._detector.constellation.name

    @reading("dB")
    def snr_db(self) -> float:
        """SNR of the estimate in force; NaN while unknown."""
        return self._csi.snr_db


def _check_age(max_csi_age: int) -> int:
    return check_integer("max_csi_age", max_csi_age, 0, 2**62)
