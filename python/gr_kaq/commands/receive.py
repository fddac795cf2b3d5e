# SPDX-License-Identifier: GPL-3.0-or-later
"""`kaq receive`: the frames of a recording, and why those were lost that were."""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..detection.detectors import load_detector
from ..diagnosis.frame_reading import FrameReader
from ..diagnosis.plots import plot_frame
from ..diagnosis.recording_scan import Event, RecordingScan
from ..estimation.estimator import INTERPOLATORS
from ..frames.file_transfer import FileReceiver
from ..frames.frame_format import FFT_SIZES, MAX_STREAMS, SYMBOL_COUNTS, FrameFormat
from ..radios.sigmf import Annotation, Collection, Recording, RecordingWriter, open_recording, write_metadata
from ..signals.constellation import CONSTELLATIONS
from .arguments import add_numbers, antenna_count, parse_seed, several
from .long_run import check_folders, exit_status, import_progress
from .optional import import_optional

__all__ = ["add_parser"]

MOST_PICTURES = 20
HEAD = "  frame      sample  offset    SNR of each antenna   spread  Doppler  condition  corrected"


def add_parser(commands: Any) -> None:
    """Add `receive` to the subcommands of an ArgumentParser."""
    command = commands.add_parser(
        "receive",
        help="decode a recording, and say why frames were lost",
        description="Decode the frames of a SigMF recording. With --explain a line for each frame says what was "
        "received: carrier offset, SNR of each antenna, delay spread (samples), Doppler (cycles per frame), condition "
        "of the channel, coded bits that were corrected. For one that was lost it names the likely cause, and what to "
        "change. Bursts in which no frame was found are explained, too. docs/guide/lost-frames.md lists the causes.",
    )
    add = command.add_argument
    add("recording", help="path of a SigMF recording")
    add("--explain", action="store_true", help="a line for each frame, and causes")
    add("--antennas", type=antenna_count, metavar="N", help="the first N only (default: all)")
    add("--streams", type=int, choices=range(1, MAX_STREAMS + 1), default=2, help="sent (default %(default)s)")
    add("--fft-size", type=int, choices=FFT_SIZES, default=FFT_SIZES[0], help="carriers (default %(default)s)")
    add("--symbols", type=int, choices=SYMBOL_COUNTS, default=SYMBOL_COUNTS[0], help="of a frame (default %(default)s)")
    add("--constellation", choices=CONSTELLATIONS, default="16qam", help="of every stream (default %(default)s)")
    add("--detector", default="auto", help="name or path (default %(default)s)")
    methods = [name for name in INTERPOLATORS if name != "lmmse-memory"]
    add("--estimator", choices=methods, default="lmmse", help="of the channel (default %(default)s)")
    add("--output", type=Path, metavar="FILE", help="write the file there that the frames carry")
    add("--json", type=Path, metavar="FILE", help="write what is known of each frame there")
    add(
        "--failed", type=Path, metavar="PATH", help="write what was lost to another recording (SigMF), with annotations"
    )
    add("--pictures", type=Path, metavar="FOLDER", help=f"write pictures of lost frames, at most {MOST_PICTURES}")
    add_numbers(command, "--frame", several(parse_seed), "with --pictures: of these frames", "N")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    progress_bar = import_progress()
    if options.pictures:  # said now, and not afterwards
        import_optional("matplotlib.figure", "--pictures", "python3-matplotlib")
        if not options.pictures.is_dir():
            raise ValueError(f"{options.pictures}: the folder does not exist")
    elif options.frame:
        raise ValueError("--frame belongs to --pictures")
    check_folders(options.output, options.json, options.failed)
    recording = open_recording(options.recording, options.antennas or 1)
    num_rx = options.antennas or recording.num_channels
    frame_format = FrameFormat(options.streams, options.fft_size, options.constellation, options.symbols)
    detector = load_detector(options.detector, constellation=options.constellation)
    detector.at_size(num_rx, options.streams)  # which raises now
    file = FileReceiver(options.output) if options.output else None
    pictures = _Pictures(options, frame_format) if options.pictures else None
    explains = options.explain or bool(options.failed)
    scan = RecordingScan(
        lambda first, count: recording.read(first, count)[:num_rx],
        recording.num_samples,
        FrameReader(frame_format, detector, options.estimator),
        num_rx,
        explains=explains,
    )
    events: list[Event] = []
    frames = 0
    interrupted = False
    print(f"{options.recording}: {recording.num_samples} samples of {num_rx} antennas, {_seconds(recording)}")
    if options.explain:
        print(HEAD)
    with progress_bar(total=(1 + explains) * recording.num_samples, unit="sample", unit_scale=True, leave=False) as bar:
        try:
            for event in itertools.chain(scan.frames(bar.update), scan.bursts(events, bar.update)):
                if options.explain:
                    bar.clear()
                    print(_line(event, frames, recording.sample_rate, frame_format), flush=True)
                if pictures and event.frame:
                    pictures.take(event, frames)
                if event.reading:
                    frames += 1
                    if event.reading.payload is not None and file:
                        file.push(event.reading.payload)
                events.append(replace(event, frame=None))  # which is large
        except KeyboardInterrupt:
            interrupted = True
    _print_summary(events, file, options)
    if options.failed:
        _export(options.failed, recording, num_rx, events)
    if options.json:
        content = [_as_json(event, recording.sample_rate) for event in events]
        options.json.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    if interrupted:
        return exit_status(True)
    return 0 if any(event.decoded for event in events) else 1


def _seconds(recording: Recording | Collection) -> str:
    return f"{recording.num_samples / recording.sample_rate:.3g} s at {recording.sample_rate / 1e6:g} Msample/s"


def _line(event: Event, number: int, sample_rate: float, frame_format: FrameFormat) -> str:
    """What is said of a frame or a burst."""
    reading = event.reading
    if reading is None:
        return f"   none {event.first:11d}  a burst of {event.stop - event.first} samples: {event.diagnosis}"
    snrs = " ".join(f"{snr:.1f}" for snr in reading.antenna_snr_db)
    corrected = "CRC wrong" if reading.corrected_bits is None else f"{reading.corrected_bits} of {reading.coded_bits}"
    line = (
        f"{number:7d} {reading.start:11d}  {reading.carrier_offset * sample_rate:+7.0f} Hz  {snrs:>17} dB"
        f"  {reading.delay_spread:6.2f}   {reading.doppler * frame_format.num_symbols:5.2f}"
        f"    {reading.condition_db:4.0f} dB    {corrected}"
    )
    if event.diagnosis:
        return f"{line}\n        {event.diagnosis}"
    return f"{line}, with interference {reading.interference}" if reading.interference else line


def _print_summary(events: Sequence[Event], file: FileReceiver | None, options: argparse.Namespace) -> None:
    frames = [event for event in events if event.reading]
    wrong = sum(not event.decoded for event in frames)
    interfered = sum(event.reading is not None and event.reading.interference is not None for event in frames)
    beside = f", {interfered} beside interference" if interfered else ""
    print(f"{len(frames)} frames found, {wrong} of them wrong{beside}")
    causes = collections.Counter(event.diagnosis.cause for event in events if event.diagnosis)
    for cause, count in causes.most_common():
        example = next(event.diagnosis for event in events if event.diagnosis and event.diagnosis.cause == cause)
        print(f"  {count:5d}  {example}")
    if file is not None:
        done, total = file.progress()
        state = (
            "is whole" if file.complete() else f"lacks {total - done} of {total} blocks" if total else "did not begin"
        )
        print(f"{options.output}: the file {state}")
    if (wrong or not frames) and not options.explain:
        print("--explain says why frames are lost")


def _export(path: Path, recording: Recording | Collection, num_rx: int, events: Sequence[Event]) -> None:
    """Write what was lost, one stretch of samples behind the other, each annotated."""
    annotations = []
    with RecordingWriter(path, num_rx, recording.sample_rate, recording.frequency) as writer:
        for event in events:
            if event.diagnosis:
                samples = recording.read(event.first, event.stop - event.first)[:num_rx]
                cause, detail = event.diagnosis.cause, f"sample {event.first}: {event.diagnosis.detail}"
                annotations.append(Annotation(writer.num_samples, samples.shape[1], str(cause), detail))
                writer.write(samples)
    write_metadata(path, num_rx, recording.sample_rate, recording.frequency, annotations=annotations)


def _as_json(event: Event, sample_rate: float) -> dict[str, Any]:
    """What is known of a frame or burst; numbers that are not finite are null."""
    content: dict[str, Any] = {"first": event.first, "stop": event.stop, "decoded": event.decoded}
    if event.diagnosis:
        content |= {"cause": str(event.diagnosis.cause), "detail": event.diagnosis.detail}
    reading = event.reading
    if reading:
        interference = reading.interference
        content |= {
            "carrier_offset_hz": _finite(reading.carrier_offset * sample_rate),
            "metric": _finite(reading.metric),
            "corrected_bits": reading.corrected_bits,
            "coded_bits": reading.coded_bits,
            "snr_db": _finite(reading.snr_db),
            "antenna_snr_db": [_finite(snr) for snr in reading.antenna_snr_db],
            "stream_power_db": [_finite(power) for power in reading.stream_power_db],
            "delay_spread": _finite(reading.delay_spread),
            "doppler": _finite(reading.doppler),
            "condition_db": _finite(reading.condition_db),
            "interference": interference and interference._asdict(),
            "dead": np.flatnonzero(reading.dead).tolist(),
            "saturated": np.flatnonzero(reading.saturated).tolist(),
        }
    return content


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


class _Pictures:
    """Writes pictures of lost frames, or of those that were asked for."""

    def __init__(self, options: argparse.Namespace, frame_format: FrameFormat):
        self._folder, self._wanted, self._format = options.pictures, options.frame, frame_format
        self._written = 0

    def take(self, event: Event, number: int) -> None:
        """Write a picture of a frame, if it is wanted."""
        assert event.frame
        wanted = number in self._wanted if self._wanted else not event.decoded and self._written < MOST_PICTURES
        if not wanted:
            return
        from matplotlib.figure import Figure  # noqa: PLC0415 - optional

        width = max(8.0, 2.2 * self._format.num_tx)
        title = f"frame {number}" + (f": {event.diagnosis}" if event.diagnosis else "")
        path = self._folder / f"frame-{number:05d}.png"
        plot_frame(Figure(figsize=(width, 6), layout="constrained"), self._format, event.frame, title, path)
        self._written += 1
