# SPDX-License-Identifier: GPL-3.0-or-later
"""`kaq record`: the channels that one's own radio sees, in a file that `training` and `kaq ber` read."""

from __future__ import annotations

import argparse
import importlib
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..frames.frame_format import DATA_SYMBOLS, FFT_SIZES, MAX_STREAMS, FrameFormat
from ..radios import RadioError, add_radio_arguments, positive_number, radio_source, recording_sink, run

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
        "Ctrl-C; what was received is written. docs/guide/hardware.md says how to set up radios.",
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
    for path in (options.output, options.samples):
        if path and not path.absolute().parent.is_dir():
            raise ValueError(f"{path}: the folder does not exist")
    source = radio_source(options)
    if source.sample_rate is None and (options.seconds or options.samples):
        raise ValueError("--rate is missing; --seconds and --samples need it")
    num_samples = math.ceil(options.seconds * source.sample_rate) if options.seconds else 0
    receiver = _Receiver(options, source, num_samples)
    interrupted = failure = None
    try:
        receiver.run(num_samples, options.frames)
    except KeyboardInterrupt as error:
        interrupted = error
    except RadioError as error:  # what came before it is kept
        failure = error
    frames = receiver.recorder.frames()
    if not frames:
        raise failure or RadioError(
            f"no frame found in {receiver.num_samples()} samples; is the transmitter on, with --streams "
            f"{options.streams} and --fft-size {options.fft_size}?"
        )
    archive = _archive(frames, options, source)
    _write(options.output, archive)
    _print_summary(archive, receiver, options)
    if failure:
        raise failure
    return 130 if interrupted else 0


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
        self.recorder = block["csi_recorder"](num_rx, num_tx, fft_size, options.frames)
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
            sink = recording_sink(options.samples, num_rx, source.sample_rate, source.frequency, num_samples)
            for antenna in range(num_rx):
                connect((source, antenna), (sink, antenna))

    def num_samples(self) -> int:
        """Samples of an antenna so far."""
        return self.synchronizer.nitems_read(0)

    def run(self, num_samples: int, num_frames: int) -> None:
        """Until so many samples or frames were received; 0: no matter how many."""

        settled = 0.0, -1  # since when there have been so many frames

        def done(count: int) -> bool:
            nonlocal settled
            frames, now = self.recorder.num_frames(), time.monotonic()
            if settled[1] != frames:
                settled = now, frames
            # a silent radio does not end when it has given enough, and the last frames may be on their way
            enough = 0 < num_samples <= count and now > settled[0] + SETTLE_SECONDS
            return enough or 0 < num_frames <= frames

        def report(count: int) -> None:
            print(f"{count} samples, {self.recorder.num_frames()} frames", file=sys.stderr, flush=True)

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


def _write(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write the archive; a crash while writing leaves what was there before."""
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        np.savez(file, **arrays)
    os.replace(temporary, path)


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
