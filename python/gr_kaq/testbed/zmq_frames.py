# SPDX-License-Identifier: GPL-3.0-or-later
"""What GNU Radio's ZMQ blocks put on the wire: a stream's samples with its tags, as bytes.

    frame = encode_frame(samples.tobytes(), offset=0, tags=[Tag(0, "snr", 20.0)])
    offset, tags, payload = decode_frame(frame)

A frame is a header (little endian, packed) and the samples:

    u16 0x5FF0 | u8 1 | u64 offset | u64 number of tags
    | per tag: u64 offset, then key, value and source as serialized PMTs (big endian) | samples

PMTs and Python values, both ways:

| PMT | Python |
|---|---|
| null, the empty list and the empty dict (one and the same on the wire) | `None` |
| bool, symbol, double, complex | `bool`, `str`, `float`, `complex` |
| int32, int64 | `int` |
| uint64 | `Uint64`, an `int` |
| list; any other pair | `list`; `Pair` |
| tuple; a vector of PMTs (only decoded) | `tuple` |
| dict, with symbols or integers for keys | `dict` |
| uniform vector (c32vector, f32vector, ...) | one-dimensional array (complex64, float32, ...) |

Neither GNU Radio nor its pmt module is needed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

__all__ = ["FrameError", "Pair", "Tag", "Uint64", "decode_frame", "decode_pmt", "encode_frame", "encode_pmt"]

MAGIC = 0x5FF0
VERSION = 1
MAX_DEPTH = 32
MAX_VALUES = 1 << 17  # PMTs in one frame; so that a hostile one costs a fraction of a second and no more

HEADER = struct.Struct("<HBQQ")
_OFFSET = struct.Struct("<Q")

_TRUE, _FALSE, _SYMBOL, _INT32, _DOUBLE, _COMPLEX, _NULL, _PAIR, _VECTOR, _DICT = range(10)
_UNIFORM, _UINT64, _TUPLE, _INT64 = range(10, 14)

_NUMBERS = {
    _INT32: (struct.Struct(">i"), int, "int32"),
    _INT64: (struct.Struct(">q"), int, "int64"),
    _DOUBLE: (struct.Struct(">d"), float, "double"),
    _COMPLEX: (struct.Struct(">dd"), complex, "complex"),
}
_COUNT = struct.Struct(">I")
_UNIFORM_HEADER = struct.Struct(">BIB")  # type of the elements, their number, length of the padding
_UNIFORM_TYPES = [np.dtype(name) for name in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "c8", "c16")]


class FrameError(ValueError):
    """Bytes that are no frame or no PMT; the message says where and why."""


class Uint64(int):
    """An integer that travels as a PMT uint64 (a plain `int` travels as int32 or int64)."""


class Pair(NamedTuple):
    """A PMT pair that is not part of a list."""

    car: Any
    cdr: Any


class Tag(NamedTuple):
    """A stream tag.

    Attributes:
        offset: the item that it is attached to, counted from the start of the stream.
        key: its name.
        value: see the table of this module.
        source: what set it; GNU Radio's default is false.
    """

    offset: int
    key: str
    value: Any
    source: Any = False


def encode_frame(payload: bytes | memoryview, offset: int, tags: Iterable[Tag] = ()) -> bytes:
    """Put a header in front of samples.

    Args:
        payload: the samples, whole items.
        offset: number of the first item, counted from the start of the stream.
        tags: with offsets counted from the start of the stream, like `offset`.

    Raises:
        ValueError: an offset is negative or beyond 64 bits, or a value has no PMT.
    """
    tags = list(tags)
    parts = []
    try:
        parts.append(HEADER.pack(MAGIC, VERSION, offset, len(tags)))
        for tag in tags:
            parts += [_OFFSET.pack(tag.offset), *map(encode_pmt, (tag.key, tag.value, tag.source))]
    except struct.error:
        raise ValueError("an offset is not an integer of 64 bits without sign") from None
    return b"".join([*parts, payload])


def decode_frame(frame: bytes | memoryview) -> tuple[int, list[Tag], memoryview]:
    """The offset, the tags and the samples of a frame. Safe with bytes from anywhere.

    Raises:
        FrameError: the bytes are no frame.
    """
    reader = _Reader(frame)
    magic, version, offset, num_tags = reader.unpack(HEADER, "the header")
    if (magic, version) != (MAGIC, VERSION):
        raise FrameError(
            f"the frame starts with {magic:#06x}, {version}; a header with {MAGIC:#06x}, {VERSION} expected"
        )
    tags = []
    for number in range(num_tags):
        (tag_offset,) = reader.unpack(_OFFSET, f"the offset of tag {number}")
        key, value, source = reader.value(), reader.value(), reader.value()
        if not isinstance(key, str):
            raise FrameError(f"the key of tag {number} is no symbol")
        tags.append(Tag(tag_offset, key, value, source))
    return offset, tags, reader.rest()


def encode_pmt(value: Any) -> bytes:
    """A Python value as a serialized PMT; see the table of this module.

    Raises:
        ValueError: the value, or one inside it, has no PMT.
    """
    parts: list[bytes] = []
    _write(value, parts, 0)
    return b"".join(parts)


def decode_pmt(data: bytes | memoryview) -> Any:
    """A serialized PMT as a Python value. Safe with bytes from anywhere.

    Raises:
        FrameError: the bytes are no PMT, or there are more of them.
    """
    reader = _Reader(data)
    value = reader.value()
    if len(reader.rest()):
        raise FrameError(f"{len(reader.rest())} bytes follow the PMT")
    return value


def _write(value: Any, parts: list[bytes], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"a PMT is nested more than {MAX_DEPTH} deep")
    if isinstance(value, np.generic):
        value = Uint64(value) if isinstance(value, np.uint64) else value.item()
    if value is None:
        parts.append(bytes([_NULL]))
    elif isinstance(value, bool):
        parts.append(bytes([_TRUE if value else _FALSE]))
    elif isinstance(value, str):
        text = value.encode()
        if len(text) > 0xFFFF:
            raise ValueError(f"a symbol of {len(text)} bytes; at most 65535 expected")
        parts += [struct.pack(">BH", _SYMBOL, len(text)), text]
    elif isinstance(value, int):
        parts.append(_integer(value))
    elif isinstance(value, float):
        parts.append(struct.pack(">Bd", _DOUBLE, value))
    elif isinstance(value, complex):
        parts.append(struct.pack(">Bdd", _COMPLEX, value.real, value.imag))
    elif isinstance(value, Pair):
        parts.append(bytes([_PAIR]))
        _write(value.car, parts, depth + 1)
        _write(value.cdr, parts, depth + 1)
    elif isinstance(value, tuple) and value:  # GNU Radio writes an empty tuple but cannot use one
        parts.append(struct.pack(">BI", _TUPLE, len(value)))
        for item in value:
            _write(item, parts, depth + 1)
    elif isinstance(value, list):
        for item in value:
            parts.append(bytes([_PAIR]))
            _write(item, parts, depth + 1)
        parts.append(bytes([_NULL]))
    elif isinstance(value, dict):
        for key, item in reversed(value.items()):  # the newest entry comes first, as where pmt.dict_add puts it
            if not isinstance(key, (str, int)):
                raise ValueError(f"a dict has the key {key!r}; a string or an integer expected")
            parts.append(bytes([_DICT, _PAIR]))
            _write(key, parts, depth + 1)
            _write(item, parts, depth + 1)
        parts.append(bytes([_NULL]))
    elif isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.newbyteorder("=") in _UNIFORM_TYPES:
        dtype = value.dtype.newbyteorder("=")
        parts.append(struct.pack(">BBIBB", _UNIFORM, _UNIFORM_TYPES.index(dtype), len(value), 1, 0))
        parts.append(value.astype(dtype.newbyteorder(">")).tobytes())
    else:
        what = f"an array {value.shape} of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
        raise ValueError(f"{what} has no PMT")


def _integer(value: int) -> bytes:
    if isinstance(value, Uint64) or value >= 1 << 63:
        tag, form = _UINT64, ">BQ"
    else:
        tag, form = (_INT32, ">Bi") if -(1 << 31) <= value < 1 << 31 else (_INT64, ">Bq")
    try:
        return struct.pack(form, tag, value)
    except struct.error:
        raise ValueError(f"{value} does not fit into 64 bits") from None


class _Reader:
    """Reads PMTs from untrusted bytes: every length is checked before it is used."""

    def __init__(self, data: bytes | memoryview):
        self._data = memoryview(data).cast("B")
        self._position = 0
        self._values_left = MAX_VALUES

    def rest(self) -> memoryview:
        return self._data[self._position :]

    def take(self, size: int, what: str) -> memoryview:
        left = len(self._data) - self._position
        if size > left:
            raise FrameError(f"cut short: {what} at byte {self._position} takes {size} bytes, {left} are left")
        self._position += size
        return self._data[self._position - size : self._position]

    def unpack(self, form: struct.Struct, what: str) -> tuple[Any, ...]:
        return form.unpack(self.take(form.size, what))

    def value(self, depth: int = 0) -> Any:
        """The PMT at the current position, as `decode_pmt` gives it."""
        start = self._position
        kind = self._kind()
        self._values_left -= 1
        if self._values_left < 0:
            raise FrameError(f"more than {MAX_VALUES} PMTs in a frame")
        if depth > MAX_DEPTH:
            raise FrameError(f"a PMT is nested more than {MAX_DEPTH} deep at byte {start}")
        if kind == _NULL:
            return None
        if kind in (_TRUE, _FALSE):
            return kind == _TRUE
        if kind == _SYMBOL:
            (length,) = self.unpack(struct.Struct(">H"), "the length of a symbol")
            try:
                return str(self.take(length, "a symbol"), "utf-8")
            except UnicodeDecodeError:
                raise FrameError(f"the symbol at byte {start} is no UTF-8") from None
        if kind == _UINT64:
            return Uint64(self.unpack(struct.Struct(">Q"), "a uint64")[0])
        if kind in _NUMBERS:
            form, number, name = _NUMBERS[kind]
            return number(*self.unpack(form, f"a {name}"))
        if kind in (_TUPLE, _VECTOR):
            (count,) = self.unpack(_COUNT, "the length of a tuple")
            return tuple(self.value(depth + 1) for _ in range(count))
        if kind == _UNIFORM:
            return self._uniform_vector(start)
        if kind == _PAIR:
            return self._list(depth)
        if kind == _DICT:
            return self._dict(depth)
        raise FrameError(f"unknown kind {kind:#04x} of a PMT at byte {start}")

    def _uniform_vector(self, start: int) -> np.ndarray:
        """A vector of numbers of one type, which begins at byte `start`."""
        kind, count, padding = self.unpack(_UNIFORM_HEADER, "the header of a vector")
        if kind >= len(_UNIFORM_TYPES):
            raise FrameError(f"unknown kind {kind:#04x} of elements in the vector at byte {start}")
        self.take(padding, "the padding of a vector")
        dtype = _UNIFORM_TYPES[kind]
        data = self.take(count * dtype.itemsize, f"a vector of {count} {dtype}")
        return np.frombuffer(data, dtype.newbyteorder(">")).astype(dtype)

    def _dict(self, depth: int) -> dict[Any, Any]:
        """Cells (dict, (pair, key, value)), the newest entry first, up to a null."""
        entries = []
        kind = _DICT
        while kind == _DICT:
            self._expect(_PAIR, "an entry of a dict")
            key, value = self.value(depth + 1), self.value(depth + 1)
            if not isinstance(key, (str, int)):
                raise FrameError(f"a dict has the key {key!r:.40}; a symbol or an integer expected")
            entries.append((key, value))
            kind = self._kind()
        self._position -= 1
        self._expect(_NULL, "the end of a dict")
        return dict(reversed(entries))

    def _list(self, depth: int) -> list[Any] | Pair:
        """Cells (pair, item) up to a null, or whatever the last one holds."""
        items = [self.value(depth + 1)]
        while self._kind() == _PAIR:
            items.append(self.value(depth + 1))
        self._position -= 1
        last = self.value(depth + 1)
        if last is None:
            return items
        if len(items) > MAX_DEPTH - depth:
            raise FrameError(f"a PMT is nested more than {MAX_DEPTH} deep: pairs that are no list")
        for item in reversed(items):
            last = Pair(item, last)
        return last

    def _kind(self) -> int:
        return self.take(1, "a PMT")[0]

    def _expect(self, kind: int, what: str) -> None:
        if self._kind() != kind:
            raise FrameError(f"{what} at byte {self._position - 1} is damaged")
