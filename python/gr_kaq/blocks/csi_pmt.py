# SPDX-License-Identifier: GPL-3.0-or-later
"""Channel and SNR estimates as PMTs: what travels on tags and messages (docs/guide/csi-contract.md).

Whatever arrives may be malformed. A PMT that holds a null pointer (None in Python) crashes the process when a `pmt`
function reads it, and a cyclic list never ends: every element is checked for None first, and lists are walked with
a limit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pmt
from numpy.typing import NDArray

from ..signals.csi import (
    MAX_AMPLITUDE,
    MAX_NOISE_VAR,
    MIN_AMPLITUDE,
    SNR_RANGE_DB,
    ChannelEstimate,
    InvalidCsi,
    check_snr,
)
from .access import _gnuradio

__all__ = [
    "CSI_KEY",
    "H_ENTRY",
    "NOISE_ENTRY",
    "SEQ_ENTRY",
    "SHAPE_ENTRY",
    "SNR_KEY",
    "channel_to_pmt",
    "check_keys",
    "estimate_reader",
    "parse_channel",
    "parse_snr",
    "parse_update",
]

CSI_KEY, SNR_KEY = "mimo_channel", "snr"

ENTRIES = ("h", "shape", "noise_var", "snr", "seq", "noise_cov")
H_ENTRY, SHAPE_ENTRY, NOISE_ENTRY, SNR_ENTRY, SEQ_ENTRY, COVARIANCE_ENTRY = (pmt.intern(key) for key in ENTRIES)
INTEGER_VECTORS = [
    (getattr(pmt, f"is_{name}vector"), getattr(pmt, f"{name}vector_elements"))
    for name in ("s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64")
]


MAKER = "gr_kaq.channel_to_pmt"


def check_keys(csi_key: str, snr_key: str) -> None:
    """Raise ValueError unless these can be the names of the two tags."""
    if not csi_key or not snr_key or csi_key == snr_key:
        raise ValueError(f"csi_key and snr_key are {csi_key!r} and {snr_key!r}; two different names expected")


def channel_to_pmt(
    h: NDArray[np.complexfloating],
    noise_var: float | NDArray[np.float64] | None = None,
    seq: int | None = None,
    snr_db: float | None = None,
    noise_cov: NDArray[np.complexfloating] | None = None,
) -> Any:
    """The PMT dict of a channel estimate: the value of a tag `mimo_channel`, or a message for port `csi`.

    Signal model: y = H x + n, y (num_rx,), x (num_tx,), n ~ CN(0, noise_var I). docs/guide/csi-contract.md says more.

    Args:
        h: complex (num_subcarriers, num_rx, num_tx), of any precision; complex64 travels.
        noise_var: noise variance per receive antenna, of all subcarriers or (num_subcarriers,).
        seq: sequence number of the estimate.
        snr_db: SNR in dB (for a message; on a stream it has a tag of its own).
        noise_cov: covariance of the noise, (num_subcarriers or 1, num_rx, num_rx).

    Raises:
        ValueError: h has not three axes, or does not consist of numbers.
    """
    h = np.asarray(h)
    if h.ndim != 3 or h.dtype.kind not in "iufc":
        raise ValueError(f"h is {h.dtype} {h.shape}; numbers (num_subcarriers, num_rx, num_tx) expected")
    keys, values = (
        [H_ENTRY, SHAPE_ENTRY],
        [_gnuradio.numpy_to_c32vector(h.astype(np.complex64, copy=False)), pmt.to_pmt(tuple(map(int, h.shape)))],
    )
    for key, value in (
        (NOISE_ENTRY, _noise_to_pmt(noise_var)),
        (COVARIANCE_ENTRY, None if noise_cov is None else _gnuradio.numpy_to_c32vector(noise_cov)),
        (SEQ_ENTRY, None if seq is None else int(seq)),
        (SNR_ENTRY, None if snr_db is None else float(snr_db)),
    ):
        if value is not None:
            keys.append(key)
            values.append(value)
    return _gnuradio.extend_dict(pmt.make_dict(), keys, values)


def _noise_to_pmt(noise_var: float | NDArray[np.float64] | None) -> Any:
    if isinstance(noise_var, np.ndarray) and noise_var.ndim:
        return pmt.init_f64vector(noise_var.size, noise_var.astype(np.float64).tolist())
    return None if noise_var is None else float(noise_var)


def estimate_reader(shape: tuple[int, int, int]) -> _gnuradio.EstimateReader:
    """For `KaqBlock.pass_tags`: reads estimates (num_subcarriers, num_rx, num_tx) many times as fast as Python."""
    return _gnuradio.EstimateReader(shape, (MIN_AMPLITUDE, MAX_AMPLITUDE), MAX_NOISE_VAR, SNR_RANGE_DB)


def parse_channel(value: Any, shape: tuple[int, int, int]) -> ChannelEstimate:
    """The channel estimate in a PMT.

    Args:
        value: a dict with `h` (c32vector) and `shape` (three integers: tuple, vector or list), optionally `noise_var`
            (a number, or an f64vector of one for each subcarrier), `noise_cov` (c32vector), `snr` (number) and `seq`
            (integer), other keys being ignored; or a bare c32vector. Or what an
            `estimate_reader` of this shape has made of one.
        shape: (num_subcarriers, num_rx, num_tx) that it has to have.

    Raises:
        InvalidCsi: it is anything else, or a value is not finite or out of range.
    """
    if isinstance(value, tuple):
        return ChannelEstimate.checked(shape, *value)
    try:
        estimate = _parse_channel(value, shape)
    except InvalidCsi:
        raise
    except Exception as error:  # whatever pmt makes of an object that nobody thought of
        raise InvalidCsi("pmt", f"cannot be read: {type(error).__name__}") from None
    estimate.check(shape)
    return estimate


def parse_snr(value: Any) -> float:
    """The SNR in dB in a PMT number.

    Raises:
        InvalidCsi: it is no number, or out of range.
    """
    return check_snr(_number(_gnuradio.plain(value), "snr"))


def parse_update(
    tags: Sequence[tuple[int, Any]], shape: tuple[int, int, int], reject: Callable[[InvalidCsi], None]
) -> tuple[ChannelEstimate | None, float | None]:
    """What arrived at one item, as one update: channel and SNR in dB. Of two with one key, the last valid one counts.

    Args:
        tags: number of the key (0: the channel's) and value of each, as `KaqBlock.pass_tags` has them.
        shape: see `parse_channel`.
        reject: is told of each that is malformed.
    """
    estimate, snr_db = None, None
    for kind, value in tags:
        try:
            if kind == 0:
                estimate = parse_channel(value, shape)
            else:
                snr_db = parse_snr(value)
        except InvalidCsi as error:
            reject(error)
    return estimate, snr_db


def _parse_channel(value: Any, shape: tuple[int, int, int]) -> ChannelEstimate:
    if value is None:
        raise InvalidCsi("type", "the estimate is None")
    if not pmt.is_dict(value):
        h = _gnuradio.plain(value)
        if not isinstance(h, np.ndarray):
            raise InvalidCsi("type", f"{_kind(h)}; a dict or a c32vector, as {MAKER} makes it, expected")
        return ChannelEstimate(_channel(h, shape))
    entries = _entries(value)
    for key in ("h", "shape"):
        if entries.get(key) is None:
            raise InvalidCsi(f"no {key}", f"the estimate has no `{key}`")
    if not isinstance(entries["h"], np.ndarray):
        raise InvalidCsi("h type", f"`h` is {_kind(entries['h'])}; a c32vector, as {MAKER} makes it, expected")
    stated = _integers(entries["shape"])
    if stated != shape:
        raise InvalidCsi("shape", f"`shape` is {stated}; {shape} (num_subcarriers, num_rx, num_tx) expected")
    return ChannelEstimate(
        _channel(entries["h"], shape),
        _noise_var(entries["noise_var"], shape[0]) if "noise_var" in entries else None,
        _number(entries["snr"], "snr") if "snr" in entries else None,
        _sequence_number(entries["seq"]) if "seq" in entries else None,
        _covariance(entries["noise_cov"], shape) if "noise_cov" in entries else None,
    )


def _kind(value: Any) -> str:
    """What somebody has put in the place of a c32vector."""
    if value is None or isinstance(value, float | int | tuple):
        return "no vector"
    return "complex128 (c64vector)" if pmt.is_c64vector(value) else "no c32vector"


def _channel(h: NDArray[np.complex64], shape: tuple[int, int, int]) -> NDArray[np.complex64]:
    if h.size != shape[0] * shape[1] * shape[2]:
        raise InvalidCsi("length", f"h has {h.size} elements; {shape[0] * shape[1] * shape[2]} expected")
    return h.reshape(shape)


def _noise_var(value: Any, num_subcarriers: int) -> float | NDArray[np.float64]:
    if isinstance(value, float | int) or value is None or not pmt.is_f64vector(value):
        return _number(value, "noise_var")
    if pmt.length(value) != num_subcarriers:
        raise InvalidCsi(
            "noise_var shape",
            f"`noise_var` has {pmt.length(value)} elements; one number, or {num_subcarriers} expected",
        )
    return np.array(pmt.f64vector_elements(value))


def _covariance(value: Any, shape: tuple[int, int, int]) -> NDArray[np.complex64]:
    if not isinstance(value, np.ndarray):
        raise InvalidCsi("noise_cov type", "`noise_cov` is no c32vector")
    size = shape[1] ** 2
    if value.size not in (size, shape[0] * size):
        raise InvalidCsi(
            "noise_cov length", f"`noise_cov` has {value.size} elements; {shape[0] * size} or {size} expected"
        )
    return value.reshape(-1, shape[1], shape[1])


def _entries(value: Any) -> dict[str, Any]:
    """The dict's entries that count, plain where they can be: pmt.dict_ref would read what is not checked."""
    try:
        return _gnuradio.plain_entries(value, ENTRIES)
    except ValueError as error:
        raise InvalidCsi("type", str(error)) from None


def _elements(value: Any, limit: int) -> list[Any]:
    """The first `limit` elements of a PMT list."""
    elements: list[Any] = []
    while len(elements) < limit and value is not None and pmt.is_pair(value):
        elements.append(pmt.car(value))
        value = pmt.cdr(value)
    return elements


def _number(value: Any, key: str) -> float:
    if not isinstance(value, float | int):
        raise InvalidCsi(f"{key} type", f"`{key}` has the wrong type")
    return float(value)


def _integer(value: Any, key: str) -> int:
    if not isinstance(value, int):
        raise InvalidCsi(f"{key} type", f"`{key}` has the wrong type")
    return value


def _sequence_number(value: Any) -> int:
    number = _integer(value, "seq")
    if number < 0:
        raise InvalidCsi("seq", f"`seq` is {number}; at least 0 expected")
    return number


def _integers(value: Any) -> tuple[int, ...]:
    """Up to four integers of a plain tuple (as a rule), or of a PMT tuple, vector, uniform vector or list."""
    if isinstance(value, tuple):
        return value
    if isinstance(value, float | int | np.ndarray):
        raise InvalidCsi("shape type", "`shape` has the wrong type")
    if pmt.is_tuple(value):
        items = [pmt.tuple_ref(value, i) for i in range(min(4, pmt.length(value)))]
    elif pmt.is_vector(value):
        items = [pmt.vector_ref(value, i) for i in range(min(4, pmt.length(value)))]
    elif pmt.is_pair(value):
        items = _elements(value, 4)
    else:
        for is_type, elements in INTEGER_VECTORS:
            if is_type(value):
                return tuple(elements(value)) if pmt.length(value) <= 4 else ()
        raise InvalidCsi("shape type", "`shape` has the wrong type")
    return tuple(_integer(_gnuradio.plain(item), "shape") for item in items)
