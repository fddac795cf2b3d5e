# SPDX-License-Identifier: GPL-3.0-or-later
"""The wire format against GNU Radio's own serialization, and against bytes from anywhere."""

import numpy as np
import pmt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gr_kaq.testbed.zmq_frames import (
    MAX_DEPTH,
    MAX_VALUES,
    FrameError,
    Pair,
    Tag,
    Uint64,
    decode_frame,
    decode_pmt,
    encode_frame,
    encode_pmt,
)


def _dict(**entries):
    result = pmt.make_dict()
    for key, value in entries.items():
        result = pmt.dict_add(result, pmt.intern(key), value)
    return result


C32 = np.array([1 + 2j, -3.5], np.complex64)
VALUES = [
    (None, pmt.PMT_NIL),
    (True, pmt.PMT_T),
    (False, pmt.PMT_F),
    ("", pmt.intern("")),
    ("mimo_channel", pmt.intern("mimo_channel")),
    ("é", pmt.intern("é")),
    (0, pmt.from_long(0)),
    (-5, pmt.from_long(-5)),
    (2**31 - 1, pmt.from_long(2**31 - 1)),
    (2**31, pmt.from_long(2**31)),
    (-(2**31) - 1, pmt.from_long(-(2**31) - 1)),
    (-(2**63), pmt.from_long(-(2**63))),
    (Uint64(5), pmt.from_uint64(5)),
    (Uint64(2**64 - 1), pmt.from_uint64(2**64 - 1)),
    (20.25, pmt.from_double(20.25)),
    (1 - 2j, pmt.from_complex(1 - 2j)),
    ((1, 2, "x"), pmt.make_tuple(pmt.from_long(1), pmt.from_long(2), pmt.intern("x"))),
    ([1, 2], pmt.list2(pmt.from_long(1), pmt.from_long(2))),
    (Pair("a", 1.0), pmt.cons(pmt.intern("a"), pmt.from_double(1.0))),
    (Pair(1, Pair(2, 3)), pmt.cons(pmt.from_long(1), pmt.cons(pmt.from_long(2), pmt.from_long(3)))),
    ({"a": 1, "b": None}, _dict(a=pmt.from_long(1), b=pmt.PMT_NIL)),
    ({"a": [1, 2]}, _dict(a=pmt.list2(pmt.from_long(1), pmt.from_long(2)))),
    ({"a": {"b": True}}, _dict(a=_dict(b=pmt.PMT_T))),
    (C32, pmt.init_c32vector(2, C32.tolist())),
    (C32[:0], pmt.init_c32vector(0, [])),
    (C32.astype(">c8"), pmt.init_c32vector(2, C32.tolist())),
    (C32.astype(np.complex128), pmt.init_c64vector(2, C32.tolist())),
    (np.array([1, 2], np.uint8), pmt.init_u8vector(2, [1, 2])),
    (np.array([1, -2], np.int16), pmt.init_s16vector(2, [1, -2])),
    (np.array([1, -2], np.int64), pmt.init_s64vector(2, [1, -2])),
    (np.array([1, 2], np.uint64), pmt.init_u64vector(2, [1, 2])),
    (np.array([0.5], np.float32), pmt.init_f32vector(1, [0.5])),
    (np.array([0.5], np.float64), pmt.init_f64vector(1, [0.5])),
    (
        {"h": C32, "shape": (1, 2, 1), "noise_var": 0.5, "seq": Uint64(7)},
        _dict(
            h=pmt.init_c32vector(2, C32.tolist()),
            shape=pmt.make_tuple(pmt.from_long(1), pmt.from_long(2), pmt.from_long(1)),
            noise_var=pmt.from_double(0.5),
            seq=pmt.from_uint64(7),
        ),
    ),
]


def _assert_same(found, expected):
    if isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            _assert_same(found[key], value)
    else:
        assert type(found) is type(expected)
        assert found == expected


@pytest.mark.parametrize(("value", "reference"), VALUES, ids=[str(reference)[:30] for _, reference in VALUES])
def test_bytes_equal_gnu_radios(value, reference):
    serialized = pmt.serialize_str(reference)
    assert encode_pmt(value) == serialized
    assert pmt.equal(pmt.deserialize_str(encode_pmt(value)), reference)
    _assert_same(decode_pmt(serialized), value)


def test_numpy_scalars():
    assert encode_pmt(np.uint64(5)) == encode_pmt(Uint64(5))
    assert encode_pmt(np.int32(5)) == encode_pmt(5)
    assert encode_pmt(np.float32(0.5)) == encode_pmt(0.5)
    assert encode_pmt(np.bool_(True)) == encode_pmt(True)
    assert encode_pmt(2**63) == encode_pmt(Uint64(2**63))


def test_a_vector_of_pmts_becomes_a_tuple():
    assert decode_pmt(pmt.serialize_str(pmt.to_pmt(("x", 1)))) == ("x", 1)
    assert decode_pmt(pmt.serialize_str(pmt.make_vector(2, pmt.PMT_T))) == (True, True)


def test_a_replaced_entry_of_a_dict():
    value = pmt.dict_add(_dict(a=pmt.from_long(1), b=pmt.from_long(2)), pmt.intern("a"), pmt.from_long(3))
    assert decode_pmt(pmt.serialize_str(value)) == {"a": 3, "b": 2}


@pytest.mark.parametrize(
    "value",
    [
        2**64,
        -(2**63) - 1,
        Uint64(-1),
        "x" * 65536,
        b"bytes",
        object(),
        (),  # GNU Radio can serialize it, but not use it
        np.zeros((2, 2), np.complex64),
        np.array(["x"]),
        {1.5: 2},
        {"a": [object()]},
    ],
    ids=lambda value: f"{value!r:.30}",
)
def test_what_has_no_pmt_is_refused(value):
    with pytest.raises(ValueError, match=r"has no PMT|key|symbol|64 bits"):
        encode_pmt(value)


def test_nesting_is_limited():
    for wrap in (lambda v: [v], lambda v: {"a": v}, lambda v: (v,), lambda v: Pair(v, 1)):
        value = 1
        for _ in range(MAX_DEPTH):
            value = wrap(value)
        assert decode_pmt(encode_pmt(value)) == value
        with pytest.raises(ValueError, match="deep"):
            encode_pmt(wrap(value))
    for cell in (b"\x07", b"\x09\x07\x02\0\0", b"\x0c\0\0\0\1", b"\x07\0"):
        with pytest.raises(FrameError, match="deep"):
            decode_pmt(cell * 100_000 + b"\1")


def test_number_of_pmts_is_limited():
    assert len(decode_pmt(b"\x07\0" * 1000 + b"\6")) == 1000
    with pytest.raises(FrameError, match="more than"):
        decode_pmt(b"\x07\0" * MAX_VALUES + b"\6")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cut short: a PMT at byte 0"),
        (b"\x02\0\5abc", "cut short: a symbol at byte 3 takes 5 bytes, 3 are left"),
        (b"\x02\0\1\xff", "no UTF-8"),
        (b"\x03\0\0", "cut short: a int32"),
        (b"\x0c\xff\xff\xff\xff\0", "cut short: a PMT"),
        (b"\x0a\x0a\xff\xff\xff\xff\1\0abcdefgh", "cut short: a vector of 4294967295 complex64"),
        (b"\x0a\x0c\0\0\0\0\0", "unknown kind 0x0c of elements"),
        (b"\x0e", "unknown kind 0x0e of a PMT at byte 0"),
        (b"\x09\0", "an entry of a dict"),
        (b"\x09\x07\4" + bytes(8) + b"\0\x06", "key 0.0"),
        (b"\x09\x07\x06\0\x06", "key None"),
        (b"\x09\x07\x02\0\1a\0\x00", "the end of a dict"),
        (b"\x06\x06", "1 bytes follow"),
    ],
)
def test_damaged_pmts(data, message):
    with pytest.raises(FrameError, match=message):
        decode_pmt(data)


TAGS = [Tag(100, "mimo_channel", {"h": C32, "shape": (1, 2, 1), "seq": Uint64(3)}), Tag(101, "snr", 20.0, "me")]


def test_frame():
    frame = encode_frame(b"samples", 100, TAGS)
    assert frame[:19] == bytes.fromhex("f05f0164000000000000000200000000000000")
    offset, tags, payload = decode_frame(frame)
    assert (offset, bytes(payload)) == (100, b"samples")
    assert [tag[:2] for tag in tags] == [(100, "mimo_channel"), (101, "snr")]
    _assert_same(tags[0].value, TAGS[0].value)
    assert (tags[0].source, tags[1].source) == (False, "me")


def test_every_truncation_of_the_header_is_noticed():
    frame = encode_frame(b"", 100, TAGS)
    for size in range(len(frame)):
        with pytest.raises(FrameError, match="cut short"):
            decode_frame(frame[:size])


@pytest.mark.parametrize("offset", [-1, 2**64, 0.5])
def test_bad_offsets(offset):
    with pytest.raises(ValueError, match="offset"):
        encode_frame(b"", offset)
    with pytest.raises(ValueError, match="offset"):
        encode_frame(b"", 0, [Tag(offset, "a", None)])


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (b"\0" * 19, "starts with 0x0000, 0"),
        (encode_frame(b"", 0)[:2] + b"\2" + bytes(16), "starts with 0x5ff0, 2"),
        (encode_frame(b"", 0)[:11] + b"\xff" * 8, "the offset of tag 0"),
        (encode_frame(b"", 0, [Tag(0, 5, None)]), "the key of tag 0"),
    ],
)
def test_damaged_frames(frame, message):
    with pytest.raises(FrameError, match=message):
        decode_frame(frame)


@given(st.binary(max_size=300))
def test_random_bytes(data):
    for decode, bytes_ in ((decode_frame, data), (decode_frame, encode_frame(data, 0)), (decode_pmt, data)):
        try:
            decode(bytes_)
        except FrameError as error:
            assert str(error)


@given(st.data())
def test_mutated_frames(data):
    frame = bytearray(encode_frame(b"samples", 100, TAGS))
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(frame) - 1))
        frame[position : position + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        decode_frame(bytes(frame))
    except FrameError as error:
        assert str(error)


leaves = (
    st.none()
    | st.booleans()
    | st.text(max_size=5)
    | st.integers(-(2**63), 2**63 - 1)
    | st.integers(0, 2**64 - 1).map(Uint64)
    | st.floats()
    | hnp.arrays(np.complex64, st.integers(0, 3), elements=st.sampled_from([0, 1j, -0.5]))
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.lists(inner, min_size=1, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3), inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
)


@given(values)
def test_any_value_survives(value):
    serialized = encode_pmt(value)
    assert encode_pmt(decode_pmt(serialized)) == serialized
    assert pmt.serialize_str(pmt.deserialize_str(serialized)) == serialized
