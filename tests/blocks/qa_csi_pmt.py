# SPDX-License-Identifier: GPL-3.0-or-later
"""Estimates as PMTs: every accepted form, and InvalidCsi, nothing else, for all others."""

import gc

import numpy as np
import pmt
import pytest

import gr_kaq
from gr_kaq.blocks.access import _gnuradio
from gr_kaq.blocks.csi_pmt import channel_to_pmt, parse_channel, parse_snr
from gr_kaq.signals.csi import InvalidCsi
from tests.blocks.flowgraphs import NONE

SHAPE = (2, 3, 2)
H = (np.arange(12) - 2j).reshape(SHAPE).astype(np.complex64)


def c32vector(h=H):
    return pmt.init_c32vector(h.size, h.ravel().tolist())


def dictionary(**entries):
    value = pmt.make_dict()
    for key, entry in (
        {"h": c32vector(), "shape": pmt.to_pmt(SHAPE), "noise_var": pmt.from_double(0.1)} | entries
    ).items():
        value = pmt.dict_add(value, pmt.intern(key), entry)
    return value


NOT_UTF8 = pmt.deserialize_str(b"\x02\x00\x02\xff\xfe")


def cyclic_list():
    last = pmt.cons(pmt.from_long(2), pmt.PMT_NIL)
    start = pmt.cons(pmt.from_long(2), last)
    pmt.set_cdr(last, start)
    return start


def test_round_trip():
    """As the simulator writes it, also through serialization as on a ZMQ link."""
    value = channel_to_pmt(H, noise_var=0.25, seq=2**63, snr_db=12.5)
    for received in (value, pmt.deserialize_str(pmt.serialize_str(value))):
        estimate = parse_channel(received, SHAPE)
        np.testing.assert_array_equal(estimate.h, H)
        assert (estimate.noise_var, estimate.seq, estimate.snr_db) == (0.25, 2**63, 12.5)
    estimate = parse_channel(channel_to_pmt(H), SHAPE)
    assert (estimate.noise_var, estimate.seq, estimate.snr_db) == (None, None, None)


def test_any_precision_and_the_right_shape():
    estimate = parse_channel(gr_kaq.channel_to_pmt(H.astype(np.complex128), noise_var=0.25), SHAPE)
    np.testing.assert_array_equal(estimate.h, H)
    assert "channel_to_pmt" in dir(gr_kaq) and "detector" in dir(gr_kaq)
    for h in (H[0], H.astype(str)):
        with pytest.raises(ValueError, match=r"numbers \(num_subcarriers, num_rx, num_tx\) expected"):
            gr_kaq.channel_to_pmt(h)


def test_round_trip_of_noise_that_is_not_white():
    """A variance for each subcarrier, and covariances of each or of all; one of them alone or both."""
    of_each = np.array([0.25, 4.0])
    covariance = np.stack([np.eye(3) * 2, np.eye(3) + 0.5j * (np.eye(3, k=1) - np.eye(3, k=-1))]).astype(np.complex64)
    for noise_var, noise_cov in ((of_each, None), (None, covariance), (None, covariance[:1]), (of_each, covariance)):
        value = channel_to_pmt(H, noise_var=noise_var, noise_cov=noise_cov, seq=3)
        for received in (value, pmt.deserialize_str(pmt.serialize_str(value))):
            estimate = parse_channel(received, SHAPE)
            for found, sent in ((estimate.noise_var, noise_var), (estimate.noise_cov, noise_cov)):
                assert (found is None) == (sent is None)
                if sent is not None:
                    np.testing.assert_array_equal(found, sent)


def test_a_vector_is_read_exactly_and_kept():
    """The stream may go on while the estimate is in use, and others may hold the same vector."""
    values = np.array([1e-45 + 3e38j, -0.0 + np.inf * 1j, 1 / 3], np.complex64)
    vector = pmt.init_c32vector(3, values.tolist())
    read = _gnuradio.plain(vector)
    assert read.tobytes() == values.tobytes() and read.dtype == np.complex64
    del vector
    gc.collect()
    pmt.init_c32vector(3, [9.0] * 3)
    assert read.tobytes() == values.tobytes()
    with pytest.raises(ValueError, match="read-only"):
        read[:] = 0
    assert _gnuradio.plain(pmt.make_c32vector(0, 0)).size == 0


def test_a_bare_vector_is_accepted():
    np.testing.assert_array_equal(parse_channel(c32vector(), SHAPE).h, H)


@pytest.mark.parametrize(
    "shape",
    [
        pmt.to_pmt(SHAPE),
        pmt.to_pmt(list(SHAPE)),
        pmt.list3(*(pmt.from_long(n) for n in SHAPE)),
        pmt.init_s32vector(3, SHAPE),
        pmt.init_u64vector(3, SHAPE),
        pmt.init_u8vector(3, SHAPE),
        pmt.init_s64vector(3, SHAPE),
        pmt.make_tuple(*(pmt.from_uint64(n) for n in SHAPE)),
    ],
    ids=["tuple", "vector", "list", "s32vector", "u64vector", "u8vector", "s64vector", "tuple of uint64"],
)
def test_any_sequence_of_integers_is_a_shape(shape):
    """Who writes a shape has no reason to know which of PMT's sequences is meant."""
    np.testing.assert_array_equal(parse_channel(dictionary(shape=shape), SHAPE).h, H)


def test_numbers_may_be_integers_and_other_keys_are_ignored():
    value = dictionary(noise_var=pmt.from_long(1), seq=pmt.from_long(3), snr=pmt.from_uint64(7), other=pmt.PMT_T)
    value = pmt.dict_add(value, pmt.from_long(4), pmt.PMT_NIL)
    estimate = parse_channel(value, SHAPE)
    assert (estimate.noise_var, estimate.seq, estimate.snr_db) == (1.0, 3, 7.0)


def test_what_somebody_else_adds_does_not_matter():
    """However much it is, and in whatever encoding its names are."""
    value = dictionary(noise_var=pmt.from_double(0.5))
    for number in range(1000):
        value = pmt.dict_add(value, pmt.intern(f"foreign {number}"), pmt.PMT_NIL)
    value = pmt.dict_add(value, NOT_UTF8, NOT_UTF8)
    estimate = parse_channel(value, SHAPE)
    np.testing.assert_array_equal(estimate.h, H)
    assert estimate.noise_var == 0.5


def with_value(value):
    h = H.copy()
    h.flat[5] = value
    return c32vector(h)


MALFORMED = {
    "None": None,
    "nil": pmt.PMT_NIL,
    "eof": pmt.PMT_EOF,
    "bool": pmt.PMT_T,
    "symbol": pmt.intern("mimo_channel"),
    "number": pmt.from_double(1.0),
    "complex": pmt.from_complex(1j),
    "pair": pmt.cons(pmt.intern("h"), c32vector()),
    "pdu": pmt.cons(pmt.make_dict(), c32vector()),
    "list": pmt.list2(c32vector(), pmt.to_pmt(SHAPE)),
    "cyclic list": cyclic_list(),
    "empty dict": pmt.make_dict(),
    "f32vector": pmt.init_f32vector(12, [0.0] * 12),
    "c64vector": pmt.init_c64vector(12, [0j] * 12),
    "u8vector": pmt.init_u8vector(4, [0] * 4),
    "empty vector": pmt.make_c32vector(0, 0),
    "short vector": pmt.make_c32vector(11, 0),
    "long vector": pmt.make_c32vector(13, 0),
    "NaN": with_value(np.nan),
    "Inf": with_value(-1j * np.inf),
    "huge": with_value(1e38),
    "no h": pmt.dict_delete(dictionary(), pmt.intern("h")),
    "no shape": pmt.dict_delete(dictionary(), pmt.intern("shape")),
    "h type": dictionary(h=pmt.init_f32vector(12, [0.0] * 12)),
    "h length": dictionary(h=pmt.make_c32vector(11, 0)),
    "h Inf": dictionary(h=with_value(np.inf)),
    "shape order": dictionary(shape=pmt.to_pmt((2, 2, 3))),
    "shape short": dictionary(shape=pmt.to_pmt((12,))),
    "shape long": dictionary(shape=pmt.to_pmt((2, 3, 2, 1))),
    "shape negative": dictionary(shape=pmt.init_s32vector(3, [-2, -3, 2])),
    "shape of floats": dictionary(shape=pmt.to_pmt((2.0, 3.0, 2.0))),
    "shape symbol": dictionary(shape=pmt.intern("2x3x2")),
    "shape cyclic": dictionary(shape=cyclic_list()),
    "shape dict": dictionary(shape=dictionary()),
    "shape huge": dictionary(shape=pmt.make_u64vector(100000, 2**64 - 1)),
    "noise_var NaN": dictionary(noise_var=pmt.from_double(np.nan)),
    "noise_var negative": dictionary(noise_var=pmt.from_double(-1.0)),
    "noise_var Inf": dictionary(noise_var=pmt.from_double(np.inf)),
    "noise_var symbol": dictionary(noise_var=pmt.intern("0.1")),
    "noise_var bool": dictionary(noise_var=pmt.PMT_T),
    "noise_var complex": dictionary(noise_var=pmt.from_complex(1)),
    "noise_var of three": dictionary(noise_var=pmt.init_f64vector(3, [1.0] * 3)),
    "noise_var of none": dictionary(noise_var=pmt.init_f64vector(0, [])),
    "noise_var f32vector": dictionary(noise_var=pmt.init_f32vector(2, [1.0] * 2)),
    "noise_var NaN of one": dictionary(noise_var=pmt.init_f64vector(2, [1.0, np.nan])),
    "noise_var negative of one": dictionary(noise_var=pmt.init_f64vector(2, [1.0, -1.0])),
    "noise_cov number": dictionary(noise_cov=pmt.from_double(1.0)),
    "noise_cov of floats": dictionary(noise_cov=pmt.init_f32vector(9, np.eye(3).ravel().tolist())),
    "noise_cov short": dictionary(noise_cov=c32vector(np.eye(2, dtype=np.complex64))),
    "noise_cov of three": dictionary(noise_cov=c32vector(np.stack([np.eye(3, dtype=np.complex64)] * 3))),
    "noise_cov NaN": dictionary(noise_cov=c32vector(np.eye(3, dtype=np.complex64) * np.nan)),
    "noise_cov zero": dictionary(noise_cov=c32vector(np.zeros((3, 3), np.complex64))),
    "noise_cov negative": dictionary(noise_cov=c32vector(-np.eye(3, dtype=np.complex64))),
    "noise_cov singular": dictionary(noise_cov=c32vector(np.ones((3, 3), np.complex64))),
    "noise_cov not Hermitian": dictionary(noise_cov=c32vector(np.triu(np.ones((3, 3), np.complex64)))),
    "snr NaN": dictionary(snr=pmt.from_double(np.nan)),
    "snr 1000": dictionary(snr=pmt.from_double(1000)),
    "snr type": dictionary(snr=pmt.PMT_NIL),
    "seq negative": dictionary(seq=pmt.from_long(-1)),
    "seq type": dictionary(seq=pmt.from_double(1.0)),
}
for none in NONE:
    MALFORMED |= {
        "h None": dictionary(h=none),
        "shape None": dictionary(shape=none),
        "noise_var None": dictionary(noise_var=none),
        "noise_cov None": dictionary(noise_cov=none),
        "other key None": pmt.cons(pmt.cons(none, none), dictionary(h=pmt.PMT_NIL)),
        "entry None": pmt.cons(none, dictionary()),
        "shape of None": dictionary(shape=pmt.make_vector(3, none)),
    }


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_channels_are_refused(name):
    """Never another exception, never a crash, never an endless loop: these come from outside."""
    with pytest.raises(InvalidCsi) as error:
        parse_channel(MALFORMED[name], SHAPE)
    assert len(error.value.kind) < 20 and len(str(error.value)) < 200


@pytest.mark.parametrize(
    "value", [None, pmt.PMT_NIL, pmt.PMT_T, pmt.intern("10"), pmt.from_complex(1), pmt.to_pmt([10.0]), pmt.make_dict()]
)
def test_malformed_snr_is_refused(value):
    with pytest.raises(InvalidCsi):
        parse_snr(value)


@pytest.mark.parametrize("snr_db", [1000.0, -1000.0, np.nan, np.inf, -np.inf])
def test_snr_out_of_range_is_refused(snr_db):
    with pytest.raises(InvalidCsi) as error:
        parse_snr(pmt.from_double(snr_db))
    assert error.value.kind == "snr"


def test_snr_numbers():
    assert parse_snr(pmt.from_double(-12.5)) == -12.5
    assert parse_snr(pmt.from_long(20)) == 20.0
    assert parse_snr(pmt.from_uint64(20)) == 20.0


def test_vectors_are_used_again_when_nobody_has_them():
    """A tag's value must not change for as long as anybody may read it, and its memory is not to be made anew."""
    pool = _gnuradio.VectorPool(100)
    [kept], [values] = pool.take(1)
    values[:] = 1
    del values
    addresses = set()
    for _ in range(1000):
        vectors, arrays = pool.take(3)
        for array in arrays:
            assert array.shape == (100,)
            array[:] = 2
            addresses.add(array.ctypes.data)
        del vectors, arrays, array
    assert len(addresses) < 10
    np.testing.assert_array_equal(pmt.c32vector_elements(kept), np.ones(100))


def test_vectors_that_are_kept_are_forgotten():
    """Who records every estimate has the memory; the pool has a limit."""
    pool = _gnuradio.VectorPool(1 << 20)
    kept = [pool.take(1) for _ in range(20)]
    again = {pool.take(1)[1][0].ctypes.data for _ in range(20)}
    assert len(again) <= 12 and not again & {arrays[0].ctypes.data for _, arrays in kept}
