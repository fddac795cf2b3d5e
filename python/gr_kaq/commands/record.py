# SPDX-License-Identifier: GPL-3.0-or-later
"""`kaq record`: the channels that one's own radio sees, in a file that `training` and `kaq ber` read."""

from __future__ import annotations

import argparse
import importlib
import math
import os
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..channels.channel_file import MAX_ENTRIES
from ..frames.frame_format import DATA_SYMBOLS, FFT_SIZES, MAX_STREAMS, FrameFormat
from ..radios import RadioError, add_radio_arguments, positive_number, radio_source, recording_sink, run, sample_count
from .long_run import INTERRUPTED, check_folders

__all__ = ["add_parser"]

ENTRIES = {
    "sample": "sample",
    "carrier_offset": "carrier_offset",
    "noise_var": "noise_var",
    "snr": "snr_db",
    "delay_spread": "delay_spread",
    "doppler": "doppler",
}
"""Entries of the tag `frame` (docs/guide/receiver.md), and what they are called in the file."""

SETTLE_SECONDS = 0.5


def add_parser(commands: Any) -> None:
    """Add `record` to the subcommands of an ArgumentParser."""
    command = commands.add_parser(
        "record",
        help="record channels with a radio",
        description="Receive frames of gr-kaq's transmitter, and write the channel of each one, with its SNR, noise "
        "variance, carrier offset, delay spread and Doppler, to a NumPy archive (.npz) that `kaq ber --channel` and "
        "training (channel: recorded) read. Ends after --frames or --seconds, at the end of a recording, or with "
        "Ctrl-C or SIGTERM; what was received is written, and on the way, too. docs/guide/hardware.md says how to set "
        "up radios.",
    )
    add_radio_arguments(command)
    add = command.add_argument_group("recording").add_argument
    add("--output", type=Path, required=True, metavar="FILE", help="archive to write (.npz)")
    add("--samples", type=Path, metavar="PATH", help="record the samples there as well (SigMF)")
    add("--frames", type=_whole, default=0, metavar="N", help="frames after which to end")
    add(
        "--seconds",
        type=positive_number,
        metavar="S",
        help="seconds of signal after which to end; needs the sample rate",
    )
    add("--streams", type=int, choices=range(1, MAX_STREAMS + 1), default=2, help="sent (default %(default)s)")
    add("--fft-size", type=int, choices=FFT_SIZES, default=64, help="of the frame (default %(default)s)")
    add("--estimator", default="lmmse", help="method of channel_estimator (default %(default)s)")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.output.suffix != ".npz":
        raise ValueError(f"--output is {options.output}; a name that ends in .npz expected")
    options.frames = _num_frames(options)
    check_folders(options.output, options.samples)
    source = radio_source(options)
    if source.sample_rate is None and (options.seconds or options.samples):
        raise ValueError("--rate is missing; --seconds and --samples need it")
    num_samples = sample_count(options.seconds, source.sample_rate) if options.seconds else 0
    output = _Output(options, source)
    receiver = _Receiver(options, source, num_samples)
    interrupted = failure = None
    try:
        receiver.run(num_samples, output)
    except KeyboardInterrupt as error:
        interrupted = error
    except OSError as error:  # of the radio, or a disk: what came before it is kept
        failure = error
    if not receiver.recorder.num_frames():
        raise failure or RadioError(
            f"no frame found in {receiver.num_samples()} samples; is the transmitter on, with --streams "
            f"{options.streams} and --fft-size {options.fft_size}?"
        )
    try:
        output.write(receiver.recorder.frames())
    except OSError as error:
        failure = failure or error
    if output.archive is not None:
        _print_summary(output.archive, receiver, options)
    receiver.check_samples()
    if failure:
        raise failure
    return INTERRUPTED if interrupted else 0


def _num_frames(options: argparse.Namespace) -> int:
    """Frames after which to end: those asked for, or as many as a recording may hold.

    Raises:
        ValueError: it may not hold so many.
    """
    most = MAX_ENTRIES // (FrameFormat(options.streams, options.fft_size).num_data * options.antennas * options.streams)
    if options.frames > most:
        raise ValueError(
            f"--frames is {options.frames}; at most {most} expected: what a recording of this size may hold"
        )
    return options.frames or most


class _Receiver:
    """The flowgraph: radio -> frame_synchronizer -> FFTs -> channel_estimator -> csi_recorder, and -> SigMF."""

    def __init__(self, options: argparse.Namespace, source: Any, num_samples: int):
        gr, fft, blocks = (importlib.import_module(f"gnuradio.{name}") for name in ("gr", "fft", "blocks"))
        block = {
            name: getattr(importlib.import_module(f"gr_kaq.blocks.{name}"), name)
            for name in ("frame_synchronizer", "channel_estimator", "csi_recorder")
        }
        num_rx, num_tx, fft_size = options.antennas, options.streams, options.fft_size
        frame = FrameFormat(num_tx, fft_size)
        self.synchronizer = block["frame_synchronizer"](num_rx, num_tx, fft_size)
        self.estimator = block["channel_estimator"](num_rx, num_tx, fft_size, method=options.estimator)
        self._num_frames = options.frames
        self.recorder = block["csi_recorder"](num_rx, num_tx, fft_size, options.frames)
        self._sink = None
        self._flowgraph = gr.top_block("kaq record")
        connect = self._flowgraph.connect
        window = [fft_size**-0.5] * fft_size  # unitary: the noise variance stays
        for antenna in range(num_rx):
            transform = fft.fft_vcc(fft_size, True, window, True)
            head = [blocks.head(gr.sizeof_gr_complex, num_samples)] if num_samples else []
            connect((source, antenna), *head, (self.synchronizer, antenna))
            connect((self.synchronizer, antenna), transform, (self.estimator, antenna))
            if antenna:
                connect((self.estimator, antenna), blocks.null_sink(gr.sizeof_gr_complex * frame.data_per_stream))
        connect((self.estimator, 0), self.recorder)
        if options.samples:
            self._sink = recording_sink(options.samples, num_rx, source.sample_rate, source.frequency, num_samples)
            for antenna in range(num_rx):
                connect((source, antenna), (self._sink, antenna))

    def num_samples(self) -> int:
        """Samples of an antenna so far."""
        return self.synchronizer.nitems_read(0)

    def check_samples(self, *, running: bool = False) -> None:
        """Raise RadioError where samples are missing in the recording beside."""
        if self._sink is not None:
            self._sink.check(running=running)

    def run(self, num_samples: int, output: _Output) -> None:
        """Until so many samples were received, 0: no matter how many; or the frames that were asked for.

        Raises:
            OSError: the radio fails, or a file cannot be written any more.
        """
        settled = 0.0, -1  # since when there have been so many frames

        def done(count: int) -> bool:
            nonlocal settled
            frames, now = self.recorder.num_frames(), time.monotonic()
            if settled[1] != frames:
                settled = now, frames
            # a silent radio does not end when it has given enough, and the last frames may be on their way
            enough = 0 < num_samples <= count and now > settled[0] + SETTLE_SECONDS
            return enough or frames >= self._num_frames

        def report(count: int) -> None:
            print(f"{count} samples, {self.recorder.num_frames()} frames", file=sys.stderr, flush=True)
            self.check_samples(running=True)
            if self.recorder.num_frames() > 2 * output.num_frames:  # so that all writing takes twice that of the end
                output.write(self.recorder.frames())

        run(self._flowgraph, self.num_samples, done, report=report)


def _archive(frames: list[Any], options: argparse.Namespace, source: Any) -> dict[str, NDArray[Any]]:
    """What is written: an array per entry of `ENTRIES`, the channels, and where they were recorded."""
    frame = FrameFormat(options.streams, options.fft_size)
    carriers = frame.active_carriers[frame.data_indices[len(DATA_SYMBOLS) // 2]]  # as csi_recorder takes them
    arrays: dict[str, Any] = {"h": np.stack([recorded.h for recorded in frames])}
    for entry, name in ENTRIES.items():
        arrays[name] = np.array([recorded.entries[entry] for recorded in frames])
    arrays["carriers"] = carriers
    for name, value in (("sample_rate", source.sample_rate), ("frequency", source.frequency)):
        arrays[name] = np.float64(math.nan if value is None else value)
    return arrays


class _Output:
    """The archive on the disk.

    Args:
        options: of the command.
        source: of the samples.

    Raises:
        OSError: it cannot be written.

    Attributes:
        num_frames: that it holds.
        archive: what it holds; None: nothing was written yet.
    """

    def __init__(self, options: argparse.Namespace, source: Any):
        self.num_frames = 0
        self.archive: dict[str, NDArray[Any]] | None = None
        self._options, self._source = options, source
        self._path: Path = options.output
        self._temporary = self._path.with_name(self._path.name + ".part")
        if self._path.is_dir():
            raise RadioError(f"{self._path}: is a folder; the name of a file expected")
        self._save({})  # said now, and not after the measurement

    def write(self, frames: list[Any]) -> None:
        """Write the frames; a crash while writing leaves what was there before.

        Raises:
            OSError: not all of them could be written. As many as could are there.
        """
        count, failure = len(frames), None
        while count > self.num_frames:
            archive = _archive(frames[:count], self._options, self._source)
            try:
                self._save(archive)
            except OSError as error:
                failure = failure or error
                count //= 2
            else:
                self.num_frames, self.archive = count, archive
        if failure:
            raise RadioError(
                f"{self._path}: {failure.strerror or failure}; {self.num_frames} of {len(frames)} frames are in it"
            ) from None

    def _save(self, arrays: dict[str, NDArray[Any]]) -> None:
        try:
            with self._temporary.open("wb") as file:
                with zipfile.ZipFile(file, "w") as archive:  # as np.savez does, which leaves it open where it fails
                    for name, array in arrays.items():
                        with archive.open(f"{name}.npy", "w", force_zip64=True) as content:
                            np.lib.format.write_array(content, np.asanyarray(array), allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
            if arrays:
                os.replace(self._temporary, self._path)
        finally:
            self._temporary.unlink(missing_ok=True)


def _print_summary(archive: dict[str, NDArray[Any]], receiver: _Receiver, options: argparse.Namespace) -> None:
    h = archive["h"]
    sizes = f"{h.shape[2]} antennas, {h.shape[3]} streams, {h.shape[1]} carriers"
    print(f"{options.output}: {len(h)} frames of {sizes}")
    low, middle, high = np.nanpercentile(archive["snr_db"], [0, 50, 100])
    print(f"SNR {middle:.1f} dB (median; {low:.1f} to {high:.1f} dB)")
    power = np.mean(np.abs(h.astype(np.complex128)) ** 2, axis=(0, 1, 3))
    with np.errstate(divide="ignore"):
        relative = 10 * np.log10(power / power[0]) if power[0] else np.full(len(power), math.nan)
    print("antennas, as the detector sees them, over antenna 0: " + ", ".join(f"{x:+.1f} dB" for x in relative))
    if receiver.recorder.rejected_frames():
        print(f"{receiver.recorder.rejected_frames()} frames with a malformed estimate were left out")


def _whole(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) < 2**31:
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number, 1 or more, expected")
    return int(text)
