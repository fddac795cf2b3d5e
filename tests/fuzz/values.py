# SPDX-License-Identifier: GPL-3.0-or-later
"""What a case is made of: any PMT, any string, any samples, drawn from one seed."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import pmt

__all__ = ["FORGED", "NULL", "Choices"]

T = TypeVar("T")

FORGED = "FORGED: all is well"
"""No line of the log may begin so: a name with a newline would have written it."""


def _null() -> Any:
    try:
        pmt.cons(None, pmt.PMT_NIL)
    except TypeError:  # GNU Radio 3.10.12 in Debian 13
        return pmt.PMT_NIL
    return None


NULL = _null()
"""A PMT that points nowhere, where GNU Radio's Python can make one."""

TEXTS = (
    "",
    "lmmse",
    "frame",
    "mimo_channel",
    "snr",
    "x" * 5000,
    f"x\n{FORGED}",
    "\x1b[2J\x1b[31mred\r",
    "\x00nul\x00",
    "%s %n {} {0.__class__}",
    "../../../etc/passwd",
    "/dev/null",
    "/proc/self/mem",
    "\N{SNOWMAN}\N{PILE OF POO}" * 20,
)
BYTES = (b"\xff\xfe\x80", b"\xed\xa0\x80", b"ok\xc3")  # no UTF-8
INTEGERS = (0, 1, -1, 2, 13, 14, 4096, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63))
NUMBERS = (0.0, -0.0, 1.0, 20.0, 1e-320, 5e-324, 1e-30, 1e38, -1e38, 1e308, float("nan"), float("inf"), float("-inf"))
VECTORS = {
    **{f"{sign}{bits}": f"{'u' if sign == 'u' else ''}int{bits}" for sign in "us" for bits in (8, 16, 32, 64)},
    "f32": "float32",
    "f64": "float64",
    "c32": "complex64",
    "c64": "complex128",
}
MAX_DEPTH = 4


class Choices(random.Random):
    """All that is random in one case. The same seed and number give the same case."""

    def __init__(self, *identity: Any):
        super().__init__(":".join(map(str, identity)))
        self.numpy = np.random.default_rng(self.getrandbits(64))

    def one_in(self, count: int) -> bool:
        return self.randrange(count) == 0

    def some(self, draw: Callable[[], T], most: int) -> list[T]:
        """Up to `most`, as a rule a few."""
        return [draw() for _ in range(int(most * self.random() ** 3))]

    # PMTs

    def symbol(self, text: str | bytes) -> Any:
        if isinstance(text, str):
            return pmt.intern(text)
        return pmt.deserialize_str(b"\x02" + struct.pack(">H", len(text)) + text)  # intern takes UTF-8 only

    def text(self) -> Any:
        """A symbol with a text that somebody may trip over."""
        return self.symbol(self.choice(BYTES) if self.one_in(6) else self.choice(TEXTS))

    def vector(self, length: int | None = None, kind: str | None = None) -> Any:
        """A uniform vector."""
        kind = kind or self.choice(list(VECTORS))
        length = self.choice((0, 1, 2, 3, 4, 5, 17, 256)) if length is None else length
        dtype = np.dtype(VECTORS[kind])
        values = np.frombuffer(self.randbytes(length * dtype.itemsize), dtype)
        with np.errstate(all="ignore"):
            return getattr(pmt, f"init_{kind}vector")(length, values.tolist())

    def number(self) -> Any:
        """A PMT number of any type."""
        return self.choice(
            (
                lambda: pmt.from_long(self.choice(INTEGERS)),
                lambda: pmt.from_uint64(self.choice((0, 1, 2**32, 2**63, 2**64 - 1))),
                lambda: pmt.from_double(self.choice(NUMBERS)),
                lambda: pmt.from_complex(self.choice(NUMBERS), self.choice(NUMBERS)),
            )
        )()

    def pmt(self, depth: int = 0) -> Any:
        """Anything that there is, with nulls in it."""
        leaves = (
            lambda: NULL,
            lambda: self.choice((pmt.PMT_NIL, pmt.PMT_T, pmt.PMT_F, pmt.PMT_EOF, pmt.make_dict())),
            self.text,
            self.number,
            self.number,
            self.vector,
        )
        nested = (
            lambda: pmt.cons(self.pmt(depth + 1), self.pmt(depth + 1)),
            lambda: self.tuple_of([self.pmt(depth + 1) for _ in range(self.randrange(5))]),
            lambda: self.pmt_vector(depth),
            lambda: self.list_of([self.pmt(depth + 1) for _ in range(self.randrange(6))]),
            lambda: self.dict_of([(self.pmt(depth + 1), self.pmt(depth + 1)) for _ in range(self.randrange(5))]),
            self.cycle,
            self.chain,
        )
        return self.choice(leaves if depth >= MAX_DEPTH else leaves + nested)()

    def tuple_of(self, items: Sequence[Any]) -> Any:
        return pmt.make_tuple(*items)

    def pmt_vector(self, depth: int) -> Any:
        vector = pmt.make_vector(self.randrange(4), pmt.PMT_NIL)
        for place in range(pmt.length(vector)):
            pmt.vector_set(vector, place, self.pmt(depth + 1))
        return vector

    def list_of(self, items: Sequence[Any]) -> Any:
        result = pmt.PMT_NIL
        for item in reversed(items):
            result = pmt.cons(item, result)
        return result

    def dict_of(self, items: Sequence[tuple[Any, Any]]) -> Any:
        """A dict, in which keys may be anything, also null, and there more than once."""
        result = pmt.make_dict()
        for key, value in items:
            if key is None or self.one_in(4):
                result = pmt.dcons(pmt.cons(key, value), result)  # dict_add would look at the keys
            elif pmt.is_symbol(key):
                result = pmt.dcons(pmt.cons(key, value), result)
        return result

    def cycle(self) -> Any:
        """A list that never ends."""
        first = pmt.cons(self.number(), pmt.PMT_NIL)
        pmt.set_cdr(first, first)
        return first

    def chain(self) -> Any:
        """Lists in lists, or a long one."""
        result = self.number()
        deep = self.random() < 0.5
        for _ in range(self.choice((40, 300, 2000))):
            result = pmt.cons(result, pmt.PMT_NIL) if deep else pmt.cons(pmt.PMT_T, result)
        return result

    # Samples

    def samples(self, shape: tuple[int, ...], dtype: Any = np.complex64) -> np.ndarray:
        """Samples of one of the kinds that there are, or of several."""
        values = self._samples(shape, dtype)
        if self.one_in(3):
            where = self.numpy.random(shape) < self.choice((0.001, 0.05, 0.5))
            values = np.where(where, self._samples(shape, dtype), values)
        return values.astype(dtype)

    def _samples(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        kind = self.choice(("normal",) * 4 + ("zeros", "bits", "extreme", "denormal", "constant"))
        parts = 2 if np.dtype(dtype).kind == "c" else 1
        size = (*shape, parts)
        if kind == "normal":
            values = self.numpy.normal(size=size) * self.choice((1, 1, 1e-3, 1e-20, 1e6))
        elif kind == "zeros":
            values = np.zeros(size)
        elif kind == "bits":
            count = int(np.prod(size))
            values = np.frombuffer(self.numpy.bytes(4 * count), np.float32).reshape(size)
        elif kind == "extreme":
            values = self.numpy.choice(np.array([np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 0]), size=size)
        elif kind == "denormal":
            values = self.numpy.normal(size=size) * 1e-42
        else:
            values = np.full(size, self.choice(NUMBERS))
        with np.errstate(all="ignore"):
            floats = np.ascontiguousarray(values.astype(np.float32))
        return floats.view(np.complex64)[..., 0] if parts == 2 else floats[..., 0]
