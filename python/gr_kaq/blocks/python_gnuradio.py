# SPDX-License-Identifier: GPL-3.0-or-later
"""What `_gnuradio` compiles, by GNU Radio's own Python: slower, and in two ways less.

- A block that was connected once is never freed, nor are its buffers: GNU Radio's Python cannot tell for how long a
  flowgraph calls it. A process that makes hundreds of flowgraphs runs out of memory for buffers.
- What lock() and unlock() lose is not counted: GNU Radio's Python does not show what waits in buffers.

The names, and what each does, are those of `_gnuradio.pyi` and python/bindings/gnuradio_bindings.cc.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

__all__ = [
    "EstimateReader",
    "VectorPool",
    "add_tags",
    "connect_own_message_port",
    "drop_thread_state",
    "end_flowgraph",
    "extend_dict",
    "keep_thread_state",
    "make_pdu",
    "numpy_to_c32vector",
    "owned_block",
    "pass_tags",
    "plain",
    "plain_entries",
    "port_arrays",
    "reading_blocks",
    "safe_dict",
    "split_tags",
    "waiting_items",
]

MAX_ENTRIES = 4096  # of a dict: one may have no end
MAX_TUPLE = 4

_connected: list[Any] = []

_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)


# PMTs; a null pointer is None in Python, and crashes who reads it


def plain(value: Any) -> Any:
    """A PMT number, c32vector or short tuple of integers as such; any other PMT itself."""
    if value is None:
        return None
    if pmt.is_integer(value):
        return pmt.to_long(value)
    if pmt.is_uint64(value):
        return pmt.to_uint64(value)
    if pmt.is_real(value):
        return pmt.to_double(value)
    if pmt.is_c32vector(value):
        vector = np.array(pmt.c32vector_elements(value), np.complex64)
        vector.setflags(write=False)
        return vector
    if pmt.is_tuple(value) and pmt.length(value) <= MAX_TUPLE:
        elements = [pmt.tuple_ref(value, i) for i in range(pmt.length(value))]
        if all(element is not None and pmt.is_integer(element) for element in elements):
            return tuple(pmt.to_long(element) for element in elements)
    return value


def _entries(value: Any) -> Iterator[tuple[Any, Any]]:
    for _ in range(MAX_ENTRIES):
        if value is None or not pmt.is_pair(value):
            return
        entry = pmt.car(value)
        if entry is None or not pmt.is_pair(entry):
            raise ValueError("an entry of the dict is no pair")
        yield pmt.car(entry), pmt.cdr(entry)
        value = pmt.cdr(value)


def _name(symbol: Any) -> Any:
    try:
        return pmt.symbol_to_string(symbol)
    except UnicodeDecodeError:  # a name as any other, but none of ours
        return pmt.serialize_str(symbol)


def _named_entries(value: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Name, key and value of the entries whose key is a symbol; of equal keys the first counts."""
    seen = set()
    for key, of in _entries(value):
        if key is not None and pmt.is_symbol(key) and (name := _name(key)) not in seen:
            yield name, key, of
            if of is not None:
                seen.add(name)


def plain_entries(value: Any, names: Sequence[str]) -> dict[str, Any]:
    """Entries of a PMT dict with these names, each as `plain` makes it."""
    entries: dict[str, Any] = {}
    for name, _, of in _named_entries(value):
        if name in names and name not in entries:
            entries[name] = plain(of)
        if len(entries) == len(names):
            break
    return entries


def safe_dict(value: Any) -> Any:
    """A dict of those entries that cannot crash who reads them."""
    entries = [(key, of) for _, key, of in _named_entries(value) if of is not None]
    safe = pmt.make_dict()
    for key, of in reversed(entries):  # the first is the newest
        safe = pmt.acons(key, of, safe)
    return safe


def numpy_to_c32vector(array: NDArray[Any]) -> Any:
    """A c32vector of all elements of an array, in C order."""
    elements = np.asarray(array, np.complex64).ravel().tolist()
    return pmt.init_c32vector(len(elements), elements)


def extend_dict(entries: Any, keys: Sequence[Any], values: Sequence[Any]) -> Any:
    """A dict with PMTs, floats, integers and arrays of a `VectorPool` added under these keys."""
    for key, value in zip(keys, values, strict=True):
        if isinstance(value, float):
            value = pmt.from_double(value)
        elif isinstance(value, int):
            value = pmt.from_uint64(value)
        elif isinstance(value, np.ndarray):
            value = numpy_to_c32vector(value)
        entries = pmt.dict_add(entries, key, value)
    return entries


def make_pdu(data: bytes, metadata: Any) -> Any:
    """A PDU of bytes and a metadata dict."""
    return pmt.cons(metadata, pmt.init_u8vector(len(data), list(data)))


class EstimateReader:
    """Leaves all estimates to `csi_pmt.parse_channel`."""

    def __init__(self, *limits: Any):
        pass

    def read(self, value: Any) -> Any:
        """The PMT itself."""
        return value


class VectorPool:
    """Arrays in place of c32vectors, whose memory GNU Radio's Python does not show; `extend_dict` makes the vectors."""

    def __init__(self, length: int):
        self._length = length

    def take(self, count: int) -> tuple[list[Any], list[NDArray[Any]]]:
        """So many arrays, twice."""
        arrays = [np.zeros(self._length, np.complex64) for _ in range(count)]
        return arrays, arrays


# Tags


def _tags(block: Any, count: int) -> list[Any]:
    return block.get_tags_in_window(0, 0, count)


def _or_nil(value: Any) -> Any:
    return pmt.PMT_NIL if value is None else value


def _add(block: Any, output: int, offset: int, key: Any, value: Any, source: Any = pmt.PMT_F) -> None:
    block.add_item_tag(output, offset, key, value, source)


def pass_tags(
    block: Any, count: int, outputs: Sequence[int], keys: Sequence[Any], estimates: EstimateReader | None
) -> list[tuple[int, int, Any]]:
    """Put the tags of input 0 on outputs; those with one of the keys: item, number of the key, value as read."""
    following = block.nitems_read(0)
    found = []
    for tag in _tags(block, count):
        for number, key in enumerate(keys):
            if tag.key is not None and pmt.eq(tag.key, key):
                found.append((tag.offset - following, number, tag.value))
        for output in outputs:
            _add(block, output, tag.offset, *map(_or_nil, (tag.key, tag.value, tag.srcid)))
    return found


def split_tags(block: Any, count: int, key: Any) -> tuple[list[int], list[Any], list[tuple[int, Any]]]:
    """Of the next tags of input 0: items and values of those with the key, and all others by item."""
    following = block.nitems_read(0)
    items: list[int] = []
    values: list[Any] = []
    others: list[tuple[int, Any]] = []
    for tag in _tags(block, count):
        if tag.key is not None and pmt.eq(tag.key, key):
            items.append(tag.offset - following)
            values.append(_or_nil(tag.value))
        else:
            others.append((tag.offset - following, tag))
    return items, values, others


def add_tags(block: Any, first: int, key: Any, values: Sequence[Any], spacing: int = 1) -> None:
    """Tags with one key on output 0, so many items apart."""
    for i, value in enumerate(values):
        _add(block, 0, first + i * spacing, key, value)


# Blocks


def port_arrays(items: Sequence[Any], types: Sequence[Any], count: int) -> list[NDArray[Any]]:
    """The items of ports as arrays over GNU Radio's buffers."""
    arrays = []
    for capsule, dtype in zip(items, types, strict=False):
        size = count * dtype.itemsize
        memory = (ctypes.c_char * size).from_address(_pointer(capsule, None)) if size else b""
        arrays.append(np.frombuffer(memory, dtype.base).reshape(count, *dtype.shape))
    return arrays


def keep_thread_state() -> bool:
    """Nothing is kept."""
    return False


def drop_thread_state() -> None:
    """Nothing was kept."""


def owned_block(block: Any, gateway: Any) -> Any:
    """A block as connect() takes it; the Python object stays for good."""
    if all(block is not other for other in _connected):
        _connected.append(block)
    return gateway.to_basic_block()


def end_flowgraph(block: Any) -> None:
    """Have the block end, and with it those that streams connect with it."""
    block.to_basic_block()._post(pmt.intern("system"), pmt.cons(pmt.intern("done"), pmt.from_long(1)))


def connect_own_message_port(block: Any, port: str, part: Any, port_of_part: str, is_input: bool) -> None:
    """Connect a message port of a hierarchical block with one of a part of it."""
    if is_input:
        block.primitive_msg_connect(block, port, part, port_of_part)
    else:
        block.primitive_msg_connect(part, port_of_part, block, port)


def reading_blocks(block: Any, ours: set[int]) -> set[int]:
    """None that are known."""
    return set()


def waiting_items(block: Any, ours: set[int]) -> tuple[int, list[int]]:
    """No buffers that are known."""
    return 0, []
