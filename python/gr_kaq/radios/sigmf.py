# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings of several antennas in SigMF, the Signal Metadata Format (https://sigmf.org, version 1).

A recording is a pair of files: NAME.sigmf-data holds the samples, NAME.sigmf-meta says in JSON what they are. The
channels, one for each antenna, alternate from sample to sample: antenna 0, antenna 1, ..., antenna 0, antenna 1, ...

The standard recommends a file for each antenna, all of them in a collection: NAME.sigmf-collection names them. Such
recordings are read, too.

Of the standard, this reads what a receiver needs: complex samples (`DATATYPES`), the sample rate, the frequency. It
writes one file of little-endian samples, with annotations. SigMF's own library (PyPI's sigmf) is not in Debian 12, and
what it does beyond this, such as validation and conversions, is of no use to a receiver.
"""

from __future__ import annotations

import datetime
import json
import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..files import open_file, parse_json, read_file

__all__ = [
    "DATATYPES",
    "FULL_SCALE",
    "Annotation",
    "Collection",
    "Recording",
    "RecordingError",
    "RecordingWriter",
    "open_recording",
    "recording_paths",
    "write_metadata",
]

DATATYPES: dict[str, np.dtype[Any]] = {
    "cf32_le": np.dtype("<f4"),
    "cf32_be": np.dtype(">f4"),
    "ci16_le": np.dtype("<i2"),
    "ci16_be": np.dtype(">i2"),
    "ci8": np.dtype("i1"),
}
"""Datatypes of SigMF, and the type of a real or imaginary part."""

FULL_SCALE = {"cf32_le": 1.0, "cf32_be": 1.0, "ci16_le": 32768.0, "ci16_be": 32768.0, "ci8": 128.0}
"""What a part is divided by when it is read: integers become fractions of full scale."""

WRITTEN = ("cf32_le", "ci16_le")

META, DATA, COLLECTION, ARCHIVE = ".sigmf-meta", ".sigmf-data", ".sigmf-collection", ".sigmf"
VERSION = "1.2.0"
MAX_META_BYTES = 2 << 20
MAX_DATA_BYTES = 1 << 62  # samples are read where they are asked for: any size that the file system has
MAX_CHANNELS = 256
MAX_NUMBER = 1e12  # of SigMF's numbers: rates and frequencies


class RecordingError(ValueError):
    """A recording that cannot be used; the message names the file, what was wrong and what was expected."""


class Annotation(NamedTuple):
    """What is said of some samples.

    Attributes:
        start: the first of them.
        length: how many they are.
        label: short, for a picture.
        comment: what is known.
    """

    start: int
    length: int
    label: str
    comment: str


@dataclass(frozen=True)
class Recording:
    """Samples of several antennas in a file.

    Attributes:
        data_path: of the samples.
        datatype: a key of `DATATYPES`.
        num_channels: recorded antennas.
        num_samples: samples of each that are there as a whole.
        rest_bytes: behind them, of a sample that was cut off when the recording was interrupted.
        sample_rate: in samples per second.
        frequency: that the radio was tuned to, in Hz; None: not said.
    """

    data_path: Path
    datatype: str
    num_channels: int
    num_samples: int
    rest_bytes: int
    sample_rate: float
    frequency: float | None

    @property
    def sample_bytes(self) -> int:
        """Size of one sample of all channels."""
        return _sample_bytes(self.datatype, self.num_channels)

    def read(self, start: int = 0, count: int | None = None) -> NDArray[np.complex64]:
        """Samples (num_channels, n) from `start` on: `count`, or as many as there are.

        Raises:
            RecordingError: the file cannot be read.
        """
        left = max(0, self.num_samples - start)
        count = left if count is None else min(count, left)
        try:
            with open_file(self.data_path, MAX_DATA_BYTES)[0] as file:
                file.seek(start * self.sample_bytes)
                parts = np.fromfile(file, DATATYPES[self.datatype], 2 * self.num_channels * count)
        except OSError as error:
            raise RecordingError(f"{self.data_path}: cannot be read: {error.strerror}") from None
        parts = parts[: len(parts) // (2 * self.num_channels) * 2 * self.num_channels]  # it may have become shorter
        samples = parts.astype(np.float32).view(np.complex64).reshape(-1, self.num_channels).T
        return np.ascontiguousarray(samples / np.float32(FULL_SCALE[self.datatype]))


@dataclass(frozen=True)
class Collection:
    """Recordings that belong together, whose channels follow each other. Attributes are those of `Recording`.

    Attributes:
        parts: of the same sample rate; the shortest says how many samples there are.
    """

    parts: tuple[Recording, ...]

    @property
    def num_channels(self) -> int:
        """Recorded antennas."""
        return sum(part.num_channels for part in self.parts)

    @property
    def num_samples(self) -> int:
        """Samples that all of them have."""
        return min(part.num_samples for part in self.parts)

    @property
    def sample_rate(self) -> float:
        """In samples per second."""
        return self.parts[0].sample_rate

    @property
    def frequency(self) -> float | None:
        """That the radio was tuned to, in Hz; None: not said."""
        return self.parts[0].frequency

    def read(self, start: int = 0, count: int | None = None) -> NDArray[np.complex64]:
        """As `Recording.read`."""
        pieces = [part.read(start, count) for part in self.parts]
        shortest = min(piece.shape[1] for piece in pieces)
        return np.concatenate([piece[:, :shortest] for piece in pieces])


def recording_paths(path: str | Path) -> tuple[Path, Path]:
    """The metadata's and the data's file, of the path of either of them, or of what they have in common."""
    text = str(path)
    for suffix in (META, DATA):
        text = text.removesuffix(suffix)
    return Path(text + META), Path(text + DATA)


def open_recording(path: str | Path, num_channels: int = 1) -> Recording | Collection:
    """Read and check the metadata of a recording, or of those of a collection.

    One that was interrupted ends at its last whole sample.

    Args:
        path: of either file, or of the collection, or without its suffix.
        num_channels: how many the receiver needs, at least; it takes the first ones.

    Raises:
        RecordingError: a file is missing or damaged, is of another kind, or has fewer channels.
    """
    if str(path).endswith(ARCHIVE):
        raise RecordingError(f"{path}: is an archive; what is in it expected: tar -xf {path}")
    collection = Path(str(path).removesuffix(COLLECTION) + COLLECTION)
    if str(path).endswith(COLLECTION) or (collection.exists() and not recording_paths(path)[0].exists()):
        return _open_collection(collection, num_channels)
    recording = _open_file(path)
    if recording.num_channels < num_channels:
        meta, channels = recording_paths(path)[0], recording.num_channels
        raise RecordingError(f"{meta}: core:num_channels is {channels}; at least {num_channels} expected")
    return recording


def _open_collection(path: Path, num_channels: int) -> Collection:
    collection = _mapping(path, _read_json(path), "collection")
    _check_version(path, collection)
    streams = collection.get("core:streams")
    if isinstance(streams, Mapping):  # until version 1.0 of the standard
        streams = [streams]
    if not isinstance(streams, list) or not 1 <= len(streams) <= MAX_CHANNELS:
        raise RecordingError(f"{path}: core:streams is {_quote(streams)}; a list of 1 to {MAX_CHANNELS} expected")
    parts: list[Recording] = []
    for stream in streams:
        name = stream.get("name") if isinstance(stream, Mapping) else None
        if not isinstance(name, str) or Path(name).name != name:
            raise RecordingError(f"{path}: core:streams holds {_quote(stream)}; names of recordings beside it expected")
        part = _open_file(path.with_name(name))
        if parts and part.sample_rate != parts[0].sample_rate:
            raise RecordingError(
                f"{path}: {name} has {part.sample_rate:g} samples per second; {parts[0].sample_rate:g} expected, as in "
                "the first"
            )
        parts.append(part)
    whole = Collection(tuple(parts))
    if not num_channels <= whole.num_channels <= MAX_CHANNELS:
        raise RecordingError(f"{path}: has {whole.num_channels} channels; {num_channels} to {MAX_CHANNELS} expected")
    return whole


def _check_version(path: Path, mapping: Mapping[str, Any]) -> None:
    """Raise RecordingError unless the metadata is of a version that this reads: 1, also if it is written v1."""
    version = mapping.get("core:version")
    if not isinstance(version, str) or version.removeprefix("v").split(".")[0] != "1":
        raise RecordingError(f"{path}: core:version is {_quote(version)}; version 1 of SigMF expected")


def _open_file(path: str | Path) -> Recording:
    """The recording of one file."""
    meta_path, data_path = recording_paths(path)
    document = _read_json(meta_path)
    everywhere = _mapping(meta_path, document, "global")
    _check_version(meta_path, everywhere)
    datatype = everywhere.get("core:datatype")
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise RecordingError(
            f"{meta_path}: core:datatype is {_quote(datatype)}; one of {', '.join(DATATYPES)} expected"
        )
    channels = everywhere.get("core:num_channels", 1)
    if type(channels) is not int or not 1 <= channels <= MAX_CHANNELS:
        raise RecordingError(
            f"{meta_path}: core:num_channels is {_quote(channels)}; a whole number from 1 to {MAX_CHANNELS} expected"
        )
    dataset = everywhere.get("core:dataset")
    if dataset is not None:
        if not isinstance(dataset, str) or Path(dataset).name != dataset:
            raise RecordingError(
                f"{meta_path}: core:dataset is {_quote(dataset)}; the name of a file beside it expected"
            )
        data_path = meta_path.with_name(dataset)
    rate = _number(meta_path, everywhere, "core:sample_rate")
    if rate is None or rate <= 0:
        raise RecordingError(f"{meta_path}: core:sample_rate is {_quote(rate)}; a positive number expected")
    frequency = None
    captures = document.get("captures")
    if not isinstance(captures, list):
        raise RecordingError(f"{meta_path}: captures is {_quote(captures)}; a list expected")
    for capture in captures:
        if not isinstance(capture, Mapping):
            raise RecordingError(f"{meta_path}: captures holds {_quote(capture)}; objects expected")
        if capture.get("core:header_bytes"):
            raise RecordingError(f"{meta_path}: core:header_bytes: data with headers is not supported")
        if frequency is None:
            frequency = _number(meta_path, capture, "core:frequency")
    if everywhere.get("core:trailing_bytes"):
        raise RecordingError(f"{meta_path}: core:trailing_bytes: data with a trailer is not supported")

    size = _size(data_path)
    sample_bytes = _sample_bytes(datatype, channels)
    if size < sample_bytes:
        raise RecordingError(
            f"{data_path}: {size} bytes; at least {sample_bytes}, one {datatype} of {channels} channels, expected"
        )
    return Recording(data_path, datatype, channels, *divmod(size, sample_bytes), rate, frequency)


class RecordingWriter:
    """Writes a recording, for use in a `with` statement.

    The metadata is written first and does not depend on how much follows, so that a recording which was interrupted
    can be read.

    Args:
        path: of either file, or without its suffix; files that are there are written over.
        num_channels: antennas.
        sample_rate: in samples per second.
        frequency: that the radio was tuned to, in Hz, if known.
        datatype: one of `WRITTEN`.
        description: free text.

    Attributes:
        num_samples: written so far, of each antenna.

    Raises:
        ValueError: an argument is out of range.
        OSError: a file cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        num_channels: int,
        sample_rate: float,
        frequency: float | None = None,
        *,
        datatype: str = "cf32_le",
        description: str = "",
    ):
        self._datatype, self._num_channels = datatype, num_channels
        write_metadata(path, num_channels, sample_rate, frequency, datatype=datatype, description=description)
        self._file: BinaryIO = recording_paths(path)[1].open("wb")
        self.num_samples = 0

    def write(self, samples: NDArray[np.complexfloating]) -> None:
        """Append samples, (num_channels, n). Beyond full scale, integers are clipped."""
        if samples.ndim != 2 or len(samples) != self._num_channels:
            raise ValueError(f"samples have shape {samples.shape}; ({self._num_channels}, n) expected")
        parts = np.ascontiguousarray(samples.T, np.complex64).view(np.float32)
        if self._datatype == "ci16_le":
            parts = np.clip(np.rint(np.nan_to_num(parts) * FULL_SCALE["ci16_le"]), -32768, 32767)
        parts.astype(DATATYPES[self._datatype]).tofile(self._file)
        self.num_samples += samples.shape[1]

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> RecordingWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def write_metadata(
    path: str | Path,
    num_channels: int,
    sample_rate: float,
    frequency: float | None = None,
    *,
    datatype: str = "cf32_le",
    description: str = "",
    annotations: Sequence[Annotation] = (),
) -> None:
    """Write the metadata of a recording that begins now; see `RecordingWriter`."""
    if datatype not in WRITTEN:
        raise ValueError(f"datatype is {datatype!r}; {' or '.join(WRITTEN)} expected")
    if not 1 <= num_channels <= MAX_CHANNELS:
        raise ValueError(f"num_channels is {num_channels}; 1 to {MAX_CHANNELS} expected")
    if not (math.isfinite(sample_rate) and sample_rate > 0):
        raise ValueError(f"sample_rate is {sample_rate}; a positive number expected")
    now = datetime.datetime.now(datetime.UTC)
    capture: dict[str, Any] = {
        "core:sample_start": 0,
        "core:datetime": now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond:06d}Z",
    }
    if frequency is not None:
        capture["core:frequency"] = float(frequency)
    everywhere: dict[str, Any] = {
        "core:datatype": datatype,
        "core:num_channels": num_channels,
        "core:sample_rate": float(sample_rate),
        "core:version": VERSION,
        "core:recorder": "gr-kaq",
    }
    if description:
        everywhere["core:description"] = description
    said = [
        {"core:sample_start": a.start, "core:sample_count": a.length, "core:label": a.label, "core:comment": a.comment}
        for a in annotations
    ]
    document = {"global": everywhere, "captures": [capture], "annotations": said}
    recording_paths(path)[0].write_text(json.dumps(document, indent=2) + "\n", "utf-8")


def _sample_bytes(datatype: str, num_channels: int) -> int:
    return 2 * DATATYPES[datatype].itemsize * num_channels


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = parse_json(read_file(path, MAX_META_BYTES))
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror}; metadata of a recording expected") from None
    except ValueError as error:
        raise RecordingError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise RecordingError(f"{path}: holds {_quote(document)}; an object with global and captures expected")
    return document


def _size(path: Path) -> int:
    """Bytes of a regular file that can be read."""
    try:
        file, size = open_file(path, MAX_DATA_BYTES)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror}") from None
    file.close()
    return size


def _mapping(path: Path, document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key)
    if not isinstance(value, Mapping):
        raise RecordingError(f"{path}: {key} is {_quote(value)}; an object expected")
    return value


def _number(path: Path, mapping: Mapping[str, Any], key: str) -> float | None:
    """The number of a key, or None where it is missing."""
    value = mapping.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= MAX_NUMBER:
        raise RecordingError(f"{path}: {key} is {_quote(value)}; a number up to {MAX_NUMBER:g} expected")
    return float(value)


def _quote(value: Any) -> str:
    """What a message repeats of a value; missing keys have the value None."""
    return "missing" if value is None else reprlib.repr(value)
