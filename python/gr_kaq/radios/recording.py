# SPDX-License-Identifier: GPL-3.0-or-later
"""SigMF recordings: played in place of a radio, and made beside one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .radio_block import RadioError, import_gnuradio, one_line, source_block
from .sigmf import DATATYPES, FULL_SCALE, Collection, Recording, open_recording, recording_paths, write_metadata

__all__ = ["recording_sink", "recording_source"]

MAX_ON_THE_WAY = 1 << 16  # samples in the C library's buffer


def recording_source(path: str | Path, num_rx: int) -> Any:
    """Play the first num_rx antennas of a SigMF recording, as fast as they are taken.

    Raises:
        RecordingError: it is not usable, or has fewer antennas.
    """
    recording = open_recording(path, num_rx)
    hierarchical = source_block("recording_source", num_rx, recording.sample_rate, recording.frequency)
    first = 0
    for part in recording.parts if isinstance(recording, Collection) else (recording,):
        if first < num_rx:
            _play(part, hierarchical, first, num_rx)
        first += part.num_channels
    return hierarchical


def _play(recording: Recording, hierarchical: Any, first: int, num_rx: int) -> None:
    """Connect the channels of a file to the ports from `first` on, of which there are num_rx."""
    blocks = import_gnuradio("blocks", "a recording")
    part, path = DATATYPES[recording.datatype], str(recording.data_path)
    if part.isnative or part.itemsize == 1:
        source = [blocks.file_source(recording.sample_bytes, path, False)]
    else:
        join = blocks.stream_to_vector(part.itemsize, 2 * recording.num_channels)
        source = [blocks.file_source(part.itemsize, path, False), blocks.endian_swap(part.itemsize), join]
    split = blocks.vector_to_streams(2 * part.itemsize, recording.num_channels)
    hierarchical.connect(*source, split)
    scale = FULL_SCALE[recording.datatype]
    for channel in range(recording.num_channels):
        if first + channel >= num_rx:
            hierarchical.connect((split, channel), blocks.null_sink(2 * part.itemsize))
            continue
        convert = []
        if part.itemsize == 1:
            convert = [blocks.interleaved_char_to_complex(True, scale)]
        elif part.itemsize == 2:
            convert = [blocks.interleaved_short_to_complex(True, False, scale)]
        hierarchical.connect((split, channel), *convert, (hierarchical, first + channel))


def recording_sink(
    path: str | Path, num_rx: int, sample_rate: float, frequency: float | None = None, num_samples: int = 0
) -> Any:
    """Record num_rx complex streams in SigMF; files that are there are written over.

    Args:
        path: of the recording.
        num_rx: antennas.
        sample_rate, frequency: for the metadata.
        num_samples: of each antenna, how many are recorded; the rest is thrown away. 0: all.

    Returns:
        A `gr.hier_block2` with methods `num_samples()`: taken so far; and `check(running=False)`: raises RadioError
        where the file lacks some of them, as on a full disk, which GNU Radio does not say. While the flowgraph is
        running, the last ones may be on their way.

    Raises:
        OSError: a file cannot be written.
        ValueError: an argument is out of range.
    """
    gr, blocks = import_gnuradio("gr", "a recording"), import_gnuradio("blocks", "a recording")
    size, data = gr.sizeof_gr_complex, recording_paths(path)[1]
    write_metadata(path, num_rx, sample_rate, frequency)
    try:
        sink = blocks.file_sink(size * num_rx, str(data), False)
    except RuntimeError as error:
        raise RadioError(f"{path}: {one_line(error)}") from None
    join = blocks.streams_to_vector(size, num_rx)

    class RecordingSink(gr.hier_block2):  # type: ignore[name-defined]
        def num_samples(self) -> int:
            return int(sink.nitems_read(0))

        def check(self, *, running: bool = False) -> None:
            taken = self.num_samples()
            written = data.stat().st_size // (size * num_rx)
            if taken - written > (MAX_ON_THE_WAY if running else 0):
                raise RadioError(f"{data}: {written} of {taken} samples are in the file; is the disk full?")

    hierarchical = RecordingSink("recording_sink", gr.io_signature(num_rx, num_rx, size), gr.io_signature(0, 0, 0))
    for channel in range(num_rx):
        hierarchical.connect((hierarchical, channel), (join, channel))
    if num_samples:
        hierarchical.connect(join, blocks.head(size * num_rx, num_samples), sink)
    else:
        hierarchical.connect(join, sink)
    return hierarchical
