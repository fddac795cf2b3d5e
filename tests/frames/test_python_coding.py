# SPDX-License-Identifier: GPL-3.0-or-later
"""The code of payloads in NumPy beside gr-fec's."""

from __future__ import annotations

import numpy as np
import pytest

from gr_kaq.frames import python_coding

_coding = pytest.importorskip("gr_kaq.frames._coding", reason="compiled against GNU Radio")

STREAMS = 2


def coders(num_bits, seed=1):
    rng = np.random.default_rng(seed)
    width = 2 * (num_bits + 6) + 10
    width += width % STREAMS
    arguments = {
        "num_bits": num_bits,
        "scrambler": rng.bytes((num_bits + 7) // 8),
        "places": rng.permutation(width),
        "num_streams": STREAMS,
        "median_level": 48.0,
    }
    return rng, _coding.Coder(**arguments), python_coding.Coder(**arguments)


@pytest.mark.parametrize("num_bits", [8, 13, 400])
def test_the_same_bits_are_sent(num_bits):
    rng, compiled, python = coders(num_bits)
    assert python.code_bits == compiled.code_bits
    for _ in range(5):
        block = rng.bytes((num_bits + 7) // 8)
        np.testing.assert_array_equal(python.encode(block), compiled.encode(block))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_same_blocks_are_received(scale):
    """At an SNR where some blocks are wrong: then both are, but for ties and the rounding to 8 bits."""
    rng, compiled, python = coders(200)
    sent = [rng.bytes(25) for _ in range(200)]
    coded = np.array([compiled.encode(block) for block in sent], np.float32)
    llrs = ((2 * coded - 1 + rng.standard_normal(coded.shape) * 0.75) * scale).astype(np.float32)
    llrs[:, ::50] = np.nan  # of which nothing is known
    right = [np.array([a == b for a, b in zip(coder.decode(llrs), sent, strict=True)]) for coder in (compiled, python)]
    assert 20 < right[0].sum() < 199
    assert np.count_nonzero(right[0] != right[1]) <= 10


def test_llrs_of_streams_and_unknown_blocks():
    rng, compiled, python = coders(64)
    llrs = rng.standard_normal((3, len(compiled.encode(bytes(8))))).astype(np.float32)
    sent = compiled.encode(b"testbeds")
    llrs[0][np.asarray(python._places)[: python.code_bits]] = 2.0 * sent[: python.code_bits] - 1
    llrs[1] = 0
    streams = np.split(llrs, STREAMS, axis=1)
    found = python.decode_streams([np.ascontiguousarray(stream) for stream in streams])
    assert found[0] == b"testbeds" and found[1] is None and found[2] is not None


def test_what_does_not_fit_is_refused():
    _, _, python = coders(64)
    with pytest.raises(ValueError, match="8 bytes expected; 7 given"):
        python.encode(bytes(7))
    with pytest.raises(ValueError, match=r"shape \(1, 3\) given"):
        python.decode(np.zeros((1, 3), np.float32))
    with pytest.raises(ValueError, match="of each stream expected"):
        python.decode_streams([np.zeros((1, 3), np.float32)])
    with pytest.raises(ValueError, match="do not fit"):
        python_coding.Coder(num_bits=64, scrambler=b"", places=np.arange(150), num_streams=1, median_level=48.0)
