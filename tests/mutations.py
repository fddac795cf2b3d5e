# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutated files: what a broken disk, a careless program or an enemy makes of a good one."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

NASTY = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, 10**18, 10**299, -(10**299), 0.5, -0.0, 1e-320, 1e300, -1e300,
    "", "x", "\u202e\n\x1b[31m", "9" * 400, "nan", "../..", "\0", [], {}, [[]], [0] * 1000, {"": 0}, [1e300] * 3,
)  # fmt: skip
"""Values that stand in for those of a document."""

TOKENS = (
    b"\0", b"\xff", b"\n", b"[", b"]", b"{", b"}", b'"', b":", b"-", b"*", b"&a ", b"!!", b"%", b"1e999", b"NaN",
    b"9" * 40, b"\xc3", b"\xef\xbb\xbf", b"\\u0000", b"[" * 2000,
)  # fmt: skip


def mutated(whole: bytes, count: int, rng: np.random.Generator) -> Iterator[bytes]:
    """Contents that differ from `whole` in bytes: changed, cut off, left out, doubled, inserted."""
    for _ in range(count):
        content = bytearray(whole)
        for _ in range(1 + rng.integers(3)):
            first, second = sorted(rng.integers(0, len(content) + 1, 2))
            second = min(second, first + 1 + int(rng.integers(1, 64)))
            kind = rng.integers(6)
            if kind == 0:
                content = content[:first]
            elif kind == 1:
                del content[first:second]
            elif kind == 2:
                content[first:first] = content[first:second]
            elif kind == 3:
                content[first:second] = rng.bytes(second - first)
            elif kind == 4:
                content[first:first] = TOKENS[rng.integers(len(TOKENS))]
            elif first < len(content):
                content[first] ^= 1 << int(rng.integers(8))
            if not content:
                break
        yield bytes(content)


def mutated_documents(document: Any, count: int, rng: np.random.Generator) -> Iterator[bytes]:
    """JSON of a document with other values, missing and doubled keys."""
    text = json.dumps(document)
    for _ in range(count):
        changed = json.loads(text)
        for _ in range(1 + rng.integers(2)):
            _change(changed, rng)
        yield json.dumps(changed).encode()


def _change(inner: Any, rng: np.random.Generator) -> None:
    while True:
        keys = list(inner) if isinstance(inner, dict) else range(len(inner))
        if not keys:
            return
        key = keys[rng.integers(len(keys))]
        if isinstance(inner[key], dict | list) and inner[key] and rng.random() < 0.8:
            inner = inner[key]
            continue
        kind = rng.integers(8)
        if kind == 0:
            del inner[key]
        elif kind == 1 and isinstance(inner, dict):
            inner[str(key) + "x"] = copy.deepcopy(inner[key])
        elif kind == 1:
            inner.append(copy.deepcopy(inner[key]))
        else:
            inner[key] = copy.deepcopy(NASTY[rng.integers(len(NASTY))])  # which may be changed later
        return
