# SPDX-License-Identifier: GPL-3.0-or-later
"""What the blocks have in common: they survive whatever arrives, and outlive the caller's last reference."""

from __future__ import annotations

import operator
import time
import traceback
import weakref
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, get_args

import pmt
from gnuradio import gr
from numpy.typing import NDArray

from . import blas_threads, workarounds
from .access import _gnuradio
from .counters import Counters, add_getters, values

__all__ = [
    "MAX_ANTENNAS",
    "MAX_SUBCARRIERS",
    "KaqBlock",
    "KaqGeneralBlock",
    "check_integer",
    "dict_of",
    "enlarge_buffer",
    "ports",
    "printable",
    "python_to_pmt",
    "rows",
]

MAX_ANTENNAS = 256
MAX_SUBCARRIERS = 1 << 15
MAX_WARNINGS = 16  # of each kind
MAX_TEXT = 500  # characters of a warning
MAX_NAME = 4096  # characters of a name in a message
MAX_PLACES = 8  # of a traceback
BUFFER_ITEMS, BUFFER_BYTES = 256, 1 << 20

_blocks: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()  # all there are, by their unique numbers


def check_integer(name: str, value: Any, low: int, high: int) -> int:
    """`value` as an int, or ValueError unless it is a whole number from `low` to `high`."""
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} is {value!r}; a whole number from {low} to {high} expected") from None
    if not low <= number <= high:
        raise ValueError(f"{name} is {number}; {low} to {high} expected")
    return number


def ports(dtype: type, length: int, count: int, *, vector_ports: bool = False) -> list[Any]:
    """Signature of `count` ports whose items are vectors of `length` (scalars for 1); or of one for all of them."""
    if vector_ports:
        length, count = length * count, 1
    return [dtype if length == 1 else (dtype, length)] * count


def enlarge_buffer(block: Any, items: int, port: int | None = None) -> None:
    """Have an output of a block, or all, hold at least so many items. GNU Radio would log it for each."""
    level = block.log_level()
    block.set_log_level("warn")
    block.set_min_output_buffer(*([] if port is None else [port]), items)
    block.set_log_level(level)


def python_to_pmt(values: Mapping[str, Any]) -> Any:
    """A PMT dict of numbers, strings and lists of numbers."""
    entries = pmt.make_dict()
    for key, value in values.items():
        if isinstance(value, str):
            element = pmt.intern(value)
        elif isinstance(value, int):
            element = pmt.from_long(value)
        elif isinstance(value, Sequence):
            element = pmt.init_f64vector(len(value), [float(v) for v in value])
        else:
            element = pmt.from_double(float(value))
        entries = pmt.dict_add(entries, pmt.intern(key), element)
    return entries


def dict_of(message: Any) -> Any:
    """The entries of a message, which may be anything, that cannot crash who reads them: a PMT dict.

    Raises:
        ValueError: it is no dict.
    """
    if message is None or not pmt.is_dict(message):
        raise ValueError("the message is no dict")
    return _gnuradio.safe_dict(message)


CountersT = TypeVar("CountersT", bound=Counters)


def printable(text: str) -> str:
    """Text for one line of a log: what would begin another line, or command a terminal, as an escape sequence."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:MAX_TEXT])


def _numbers() -> set[int]:
    """Of all blocks of this class that there are. Others may be made meanwhile, in other threads."""
    return {reference.key for reference in _blocks.valuerefs()}


def _places(error: Exception) -> str:
    """Where an exception was raised, innermost last: a programming error must not look like bad reception."""
    return "".join(traceback.format_tb(error.__traceback__)[-MAX_PLACES:]).rstrip()


class _Common(Generic[CountersT]):
    """What `KaqBlock` and `KaqGeneralBlock` share. Stands in front of GNU Radio's class, whose methods it uses.

    A class derived from `KaqBlock[SomeCounters]` counts in `counters`, and has a getter for each, see
    `gr_kaq.blocks.counters`.
    """

    counters: CountersT
    counters_type: ClassVar[type[Counters]] = Counters

    def __init_subclass__(cls, **arguments: Any):
        super().__init_subclass__(**arguments)
        for base in vars(cls).get("__orig_bases__", ()):
            for counters in get_args(base):
                if isinstance(counters, type):  # and not a variable
                    cls.counters_type = counters
                    add_getters(cls, counters)

    def __init__(self, name: str, in_sig: list[Any], out_sig: list[Any]):
        super().__init__(name, in_sig, out_sig)  # type: ignore[call-arg]  # gr.sync_block or gr.basic_block
        self.set_tag_propagation_policy(gr.TPP_DONT)  # the default makes one copy per pair of ports
        self._in_types, self._out_types = (
            signature.port_types(len(types))
            for signature, types in ((self.in_sig(), in_sig), (self.out_sig(), out_sig))
        )
        self.counters = self.counters_type()  # type: ignore[assignment]  # which is CountersT
        self._warned: dict[str, set[Hashable]] = {}  # by kind
        self._started = True  # unless it could not be
        self._buffers: tuple[int, list[int]] = (0, [])  # when it stopped
        self._stopped = False
        _blocks[self.gateway.unique_id()] = self
        self.unlocked = False  # whether it was started by unlock()
        self._stats_interval_s: float | None = None  # no such port
        self._thread_state = workarounds.KeptThreadState()

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...  # of GNU Radio's class

    def enlarge_buffers(self, streams: int = 1) -> None:
        """Have outputs hold 256 items, if that is not too much: a call of `work` costs as much as detecting some.

        Args:
            streams: how many streams a port carries; each may take as much room as if it had a port of its own.
        """
        for port, dtype in enumerate(self._out_types):
            items = min(BUFFER_ITEMS, streams * BUFFER_BYTES // dtype.itemsize)
            if items:
                enlarge_buffer(self, items, port)

    def begin(self) -> None:
        """Called when the flowgraph starts, in the block's thread: items are counted from 0, and the buffers are empty.

        May raise: the flowgraph ends then. An exception that left `start` would hang it for good.
        """

    def end(self) -> None:
        """Called when the flowgraph has ended, in the block's thread. May raise, which is counted."""

    def failed(self, error: Exception) -> None:
        """Count an exception that should not have happened; log the first of its type, with where it was raised."""
        self.counters.internal_errors += 1
        name = type(error).__name__
        self.warn_once("internal", f"internal error, please report: {name}: {error}", name, _places(error))

    def warn_once(self, kind: str, text: str, about: Hashable = None, places: str = "") -> None:
        """Log `text` unless something of this kind was logged already.

        Args:
            kind: of fault; one of a few words that the block has for its own. What has arrived is none: each kind may
                be logged so many times, so that no kind silences another.
            text: for the log. May quote what has arrived.
            about: which antenna, type or message, where each of them is to be logged once.
            places: lines of a traceback.
        """
        warned = self._warned.setdefault(kind, set())
        if about in warned or len(warned) == MAX_WARNINGS:
            return
        warned.add(about)
        last = "; others of this kind are not logged" if len(warned) == MAX_WARNINGS else ""
        self.logger.warn("\n".join(filter(None, (printable(text) + last, places))))

    def forward(self, tag: Any, item: int | None = None, output: int = 0) -> None:
        """Put a tag of input 0 on an output, at the same item or at this one."""
        # None is a null pointer, which crashes who reads it
        key, value, source = (pmt.PMT_NIL if part is None else part for part in (tag.key, tag.value, tag.srcid))
        self.add_item_tag(output, tag.offset if item is None else item, key, value, source)

    def pass_tags(
        self, count: int, outputs: Sequence[int], keys: Sequence[Any], estimates: _gnuradio.EstimateReader | None = None
    ) -> list[tuple[int, int, Any]]:
        """Put the tags at the next `count` items of input 0 on outputs, and read some of them, in one call.

        Returns:
            Of each tag with one of `keys`, by item: its item, counted from the next one on; the number of the key; and
            the value, which may be None; with `estimates`, of the first key, as `csi_pmt.parse_channel` takes it.
        """
        return _gnuradio.pass_tags(self.gateway, count, outputs, keys, estimates)

    def publish(self, port: str, values: Mapping[str, Any]) -> None:
        """Send a dict on a message port."""
        self.message_port_pub(pmt.intern(port), python_to_pmt(values))

    def take_name(self, kind: str, message: Any, take: Callable[[str], None], name_in_use: Callable[[], str]) -> bool:
        """Have `take` take the string in a message; if it raises, or there is none, that is logged.

        Args:
            kind: of thing that has the name, for the log.
            message: a PMT, which may be anything.
            take: raises if it cannot use the name.
            name_in_use: what stays then.

        Returns:
            Whether it was taken.
        """
        try:
            if message is None or not pmt.is_symbol(message):
                raise ValueError("the message is no string")
            if len(name := pmt.symbol_to_string(message)) > MAX_NAME:
                raise ValueError(f"the name has {len(name)} characters; at most {MAX_NAME} expected")
            take(name)
            return True
        except (ValueError, ImportError, OSError) as error:
            self.warn_once(kind, f"{kind} rejected, {name_in_use()} stays: {error}", str(error))
        except Exception as error:  # a file may hold anything
            what = f"{type(error).__name__}: {error}"
            self.warn_once(kind, f"{kind} rejected, {name_in_use()} stays: {what}", what, _places(error))
        return False

    def refused(self, kind: str, in_use: str, take: Callable[[], None]) -> bool:
        """Have `take` take a message, which may be anything: a ValueError is logged, any other exception is `failed`.

        Args:
            kind: of thing that the message says, for the log.
            in_use: what stays if it is refused.
            take: raises ValueError if it refuses the message.

        Returns:
            Whether it was refused.
        """
        try:
            take()
        except ValueError as error:
            self.warn_once(kind, f"{kind} rejected, {in_use} stays: {error}")
            return True
        except Exception as error:
            self.failed(error)
        return False

    def announce_stats(self, interval_s: float) -> None:
        """Have `stats()` published on a message port: when `publish_stats` finds it due, and at the end.

        Args:
            interval_s: seconds between two messages; 0: only one at the end.

        Raises:
            ValueError: the interval is negative or NaN.
        """
        if not interval_s >= 0:
            raise ValueError(f"stats_interval_s is {interval_s}; at least 0 expected")
        self._stats_interval_s = interval_s
        self._next_stats = time.monotonic() + interval_s
        self.message_port_register_out(pmt.intern("stats"))

    def publish_stats(self) -> None:
        """Publish `stats()` if that is due; to be called whenever items flow."""
        if self._stats_interval_s and time.monotonic() >= self._next_stats:
            self._next_stats = time.monotonic() + self._stats_interval_s
            self.publish("stats", self.stats())

    def stats(self) -> dict[str, Any]:
        """Every counter and reading under its getter's name: what is published on port `stats`."""
        return values(self)

    def to_basic_block(self) -> Any:
        """Called when the block is connected. See `workarounds`, "references"."""
        return _gnuradio.owned_block(self, self.gateway)

    def start(self) -> bool:
        """Called by GNU Radio. See `begin`, and `workarounds`, "failing start"."""
        try:
            blas_threads.begin(self)
            self._thread_state.keep()
            self._count_dropped_items()
            self.begin()
            self._started = True
        except Exception as error:
            self._started = False
            self.counters.failed_starts += 1
            places = "" if isinstance(error, OSError) else f"\n{_places(error)}"
            self.logger.error(f"cannot start, so the flowgraph ends: {printable(str(error))}{places}")
            _gnuradio.end_flowgraph(self.gateway)
        return True

    def stop(self) -> bool:
        """Called by GNU Radio. See `end`. An exception that left it would end the process."""
        for step in (self.end, self._publish_last_stats):
            try:
                step()
            except Exception as error:
                self.failed(error)
        self._note_waiting_items()
        blas_threads.end(self)
        self._thread_state.drop()
        return True

    def _publish_last_stats(self) -> None:
        if self._stats_interval_s is not None:
            self.publish("stats", self.stats())

    def _note_waiting_items(self) -> None:
        """Note what waits. If this block stops after those that read its output, there is more in front of them now."""
        self._stopped = True
        self._buffers = self._waiting_items()
        for number in _gnuradio.reading_blocks(self.gateway, _numbers()):
            reader = _blocks.get(number)
            if reader and reader._stopped and (waiting := reader._waiting_items())[0] == reader._buffers[0]:
                reader._buffers = waiting

    def _waiting_items(self) -> tuple[int, list[int]]:
        """Which buffers the block has, as a number, and how many items wait on their way to each input."""
        return _gnuradio.waiting_items(self.gateway, _numbers())

    def _count_dropped_items(self) -> None:
        """Count what waited when the flowgraph was locked: GNU Radio empties all buffers when it is unlocked."""
        self._stopped = False
        buffers, inputs = self._waiting_items()
        self.unlocked = bool(buffers) and buffers == self._buffers[0]
        if self.unlocked and inputs:
            self.counters.dropped_items += max(self._buffers[1])
            self.warn_once("unlocked", "the flowgraph was locked and unlocked: what was in front of the block is lost")


add_getters(_Common, Counters)


class KaqBlock(_Common[CountersT], gr.sync_block):
    """A block whose `process` may raise: the outputs are then zeros, the error is counted and logged once.

    An exception that left `work` would end the block's thread and hang the flowgraph.
    """

    def process(self, input_items: list[NDArray], output_items: list[NDArray]) -> int:
        """What `work` of a gr.sync_block does."""
        raise NotImplementedError

    def handle_general_work(
        self, noutput_items: int, ninput_items: Sequence[int], input_items: list[Any], output_items: list[Any]
    ) -> int:
        """Called by GNU Radio: `work` on its buffers. See `workarounds`, "port arrays"."""
        received = _gnuradio.port_arrays(input_items, self._in_types, noutput_items)
        produced = self.work(received, _gnuradio.port_arrays(output_items, self._out_types, noutput_items))
        self.consume_items(produced)
        return produced

    def work(self, input_items: list[NDArray], output_items: list[NDArray]) -> int:
        """Called by GNU Radio."""
        if not self._started:
            return -1
        try:
            return self.process(input_items, output_items)
        except Exception as error:
            self.failed(error)
            for items in output_items:
                items[:] = 0
            return len(input_items[0]) if input_items else 0  # a source gives out nothing that is not there


class KaqGeneralBlock(_Common[CountersT], gr.basic_block):
    """A block whose inputs and outputs differ in rate. Its `process` may raise: what was there to read is then skipped.

    GNU Radio calls it when every input has what `forecast` asks for (an item, unless a block overrides it) and every
    output has room for an item (or `set_output_multiple`). Once the inputs have ended and hold less than that, it is
    called no more, and what it still has to give out is lost. So it leaves an item of its input unconsumed until then.
    """

    def process(self, input_items: list[NDArray], output_items: list[NDArray]) -> tuple[int, int]:
        """Make outputs of the inputs, both cut to the same number of items on each port, which may be 0 for a sink.

        Returns:
            How many items were consumed on every input, and how many produced on every output. When both are 0 it is
            called again at once.
        """
        raise NotImplementedError

    def forecast(self, noutput_items: int, ninputs: int) -> list[int]:
        """How many items each input must have before `process` is called."""
        return [1] * ninputs

    def handle_general_work(
        self, noutput_items: int, ninput_items: Sequence[int], input_items: list[Any], output_items: list[Any]
    ) -> int:
        """Called by GNU Radio."""
        if not self._started:
            return -1
        available = min(ninput_items, default=0)
        consumed, produced = available, 0
        try:
            consumed, produced = self.process(
                _gnuradio.port_arrays(input_items, self._in_types, available),
                _gnuradio.port_arrays(output_items, self._out_types, noutput_items),
            )
        except Exception as error:
            self.failed(error)
        if input_items:
            self.consume_each(consumed)
        return produced


def rows(items: Sequence[NDArray[Any]], count: int, width: int, streams: int = 0) -> list[NDArray[Any]]:
    """The first `count` items of each port as (count, width), whether items are vectors or scalars.

    Args:
        streams: of how many the ports are; where there is one port, it carries all of them, [stream][width].
    """
    if streams > len(items):
        return list(items[0][:count].reshape(count, streams, width).swapaxes(0, 1))
    return [port[:count].reshape(count, width) for port in items]
