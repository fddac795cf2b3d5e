# SPDX-License-Identifier: GPL-3.0-or-later
"""Recorded channels as a sequence: each packet with the time at which it came."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..files import one_line, open_file
from .channel_file import MAX_FILE_BYTES, read_packets

__all__ = ["ChannelSequence", "read_sequence"]

MORE_BYTES = 4096  # of an array's header


@dataclass(frozen=True, eq=False)
class ChannelSequence:
    """What was recorded, packet after packet.

    Attributes:
        h: complex64 (T, F, num_rx, num_tx), each packet scaled to mean |h|^2 = 1.
        times: in seconds, ascending, (T,).
        carriers: their numbers, (F,).
        snr_db: of each packet, as `gr_kaq.signals.signal_model` defines it, (T,); None: the file does not say.
    """

    h: NDArray[np.complex64]
    times: NDArray[np.float64]
    carriers: NDArray[np.int64]
    snr_db: NDArray[np.float64] | None


def read_sequence(path: str | Path) -> ChannelSequence:
    """Read a recording in which each packet has a time: `timestamp_us`, or `sample` and `sample_rate`.

    Without `carriers`, those around carrier 0, which is left out, are meant. `kaq record` writes all of these.

    Raises:
        ValueError: the file is none that `channel_file.read_packets` takes, does not say when the packets came, or
            holds packets of zeros, or times that do not ascend; the message names the file.
    """
    h = read_packets(path, None, None)  # which also says whether this is an archive within limits
    file, _ = open_file(path, MAX_FILE_BYTES)
    with file, zipfile.ZipFile(file) as archive:
        try:
            times = _times(archive, len(h))
            carriers = _vector(archive, "carriers", h.shape[1])
            snr_db = _vector(archive, "snr_db", len(h))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    if not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
        raise ValueError(f"{path}: the packets' times do not ascend; each later than the one before expected")
    if carriers is None:
        half = h.shape[1] // 2
        carriers = np.concatenate([np.arange(-half, 0), np.arange(h.shape[1] % 2 == 0, h.shape[1] - half + 1)])
        carriers = carriers[: h.shape[1]].astype(np.float64)
    if not (np.diff(carriers) > 0).all() or np.abs(carriers).max() > 1 << 20:
        raise ValueError(f"{path}: `carriers` are no ascending numbers of carriers")
    return ChannelSequence(h, times, np.rint(carriers).astype(np.int64), snr_db)


def _times(archive: zipfile.ZipFile, count: int) -> NDArray[np.float64]:
    stamps = _vector(archive, "timestamp_us", count)
    if stamps is not None:
        return (stamps - stamps[0]) * 1e-6
    samples, rate = _vector(archive, "sample", count), _vector(archive, "sample_rate", 1)
    if samples is None or rate is None or not rate[0] > 0:
        raise ValueError(
            "it does not say when the packets came; `timestamp_us`, or `sample` and `sample_rate` expected"
        )
    with np.errstate(over="ignore"):  # what is no time then is refused
        return (samples - samples[0]) / rate[0]


def _vector(archive: zipfile.ZipFile, name: str, count: int) -> NDArray[np.float64] | None:
    """An array of so many finite numbers; None: it is not there."""
    if f"{name}.npy" not in archive.NameToInfo:
        return None
    member = archive.NameToInfo[f"{name}.npy"]
    if member.file_size > 16 * count + MORE_BYTES:
        raise ValueError(f"`{name}` has {member.file_size} bytes; {count} numbers expected")
    try:
        with archive.open(member) as content:
            found = np.atleast_1d(np.lib.format.read_array(content, allow_pickle=False))
    except Exception as error:  # zip, zlib, OS and NumPy errors of a damaged file have no common base
        raise ValueError(f"`{name}`: {one_line(error)}; {count} numbers expected") from None
    if found.shape != (count,) or found.dtype.kind not in "fiu":
        raise ValueError(
            f"`{name}` is {found.dtype} {one_line(found.shape)}; {count} numbers expected (packets of 0 do not count)"
        )
    values = found.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"`{name}` holds NaN or Inf; finite numbers expected")
    return values
