#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check whether the antennas of a receiver are aligned: in time, in phase, in gain.

Receives frames of gr-kaq's transmitter with any radio, or from a recording, and compares every antenna with antenna 0
(the first that hears anything).
The impulse response of each antenna, from the preamble and the first training symbol, tells

    start      by how many samples it is late: 0 within a fraction of a sample, if the radios start together
    offset     carrier offset over antenna 0's, from its own preamble: 0 if they share the 10 MHz reference
    drift      how fast its phase over antenna 0's turns: 0 if they share the local oscillators
    phase      how much it wanders around that drift (standard deviation)
    gain, SNR  to be about the same with antennas of the same kind

and in how many frames it was dead (no signal) or saturated. The antennas have to hear the same transmitter; where it
comes through a splitter and cables of equal length, all of it should be 0. The exit status is 1 if an antenna starts a
sample or more away from antenna 0, drifts by more than a radian between frames, is dead or saturated.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gnuradio import gr
from numpy.typing import NDArray

from gr_kaq.frames.frame_format import FFT_SIZES, MAX_STREAMS, NUM_SYMBOLS, TRAINING_SYMBOLS, FrameFormat
from gr_kaq.frames.synchronization import FoundFrame, Synchronizer, carrier_offset
from gr_kaq.radios import add_radio_arguments, positive_number, radio_source, recording_sink, run, sample_count
from gr_kaq.radios.sigmf import Collection, Recording, open_recording

PIECE = 1 << 16
TOLERANCE = 1.0  # samples
SEARCH = 4  # transform sizes to either side, in which an antenna's own frame is looked for
LEAST_PEAK = 20.0  # over the median of the correlation, where a frame is
HEADER = "antenna  start [samples]  offset [Hz]  drift [Hz]  phase [deg]  gain [dB]  SNR [dB]  frames  dead  saturated"
ROW = "{:15.2f}  {:11.1f}  {:10.2f}  {:11.1f}  {:9.1f}  {:8.1f}"
STEADY = 1.0  # radians from frame to frame; 1.6 is the median of random phases


@dataclass(frozen=True)
class AntennaFrame:
    """A frame at one antenna, on its own.

    Attributes:
        start: its first sample, with a fraction.
        carrier_offset: in cycles per sample.
        response: frequency response (num_tx, num_active / comb) without mean delay, of the first training symbol.
        snr_db: signal over noise.
    """

    start: float
    carrier_offset: float
    response: NDArray[np.complex128]
    snr_db: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Receive and compare; the exit status."""
    options = parse_options(arguments)
    frame = FrameFormat(options.streams, options.fft_size)
    try:
        if options.radio == "recording":
            recording = open_recording(options.args, options.antennas)
            return check(recording, frame, options.antennas, options.seconds)
        with tempfile.TemporaryDirectory() as folder:
            recording = record(options, Path(folder) / "samples")
            return check(recording, frame, options.antennas, options.seconds)
    except (ValueError, OSError) as error:
        print(f"alignment_check: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def record(options: argparse.Namespace, path: Path) -> Recording | Collection:
    """Record what the radio receives."""
    source = radio_source(options)
    if source.sample_rate is None:
        raise ValueError("--rate is missing; offsets in Hz follow from it")
    wanted = sample_count(options.seconds, source.sample_rate)
    sink = recording_sink(path, options.antennas, source.sample_rate, source.frequency, wanted)
    flowgraph = gr.top_block("alignment check")
    for antenna in range(options.antennas):
        flowgraph.connect((source, antenna), (sink, antenna))
    run(flowgraph, sink.num_samples, lambda count: count >= wanted)
    return open_recording(path, options.antennas)


def check(recording: Recording | Collection, frame: FrameFormat, num_rx: int, seconds: float) -> int:
    """Compare the antennas and print what was found; the exit status."""
    found = find_frames(recording, frame, num_rx, sample_count(seconds, recording.sample_rate))
    if not found:
        print("no frame found; is the transmitter on, with these --streams and --fft-size?")
        return 1
    measured = [[measure(recording, frame, antenna, f) for f in found] for antenna in range(num_rx)]
    heard = [sum(f is not None for f in frames) for frames in measured]
    reference = next(antenna for antenna in range(num_rx) if heard[antenna] >= max(heard) / 2)
    deaf = "".join(f"; antenna {antenna} hears none" for antenna in range(reference))
    print(f"{len(found)} frames of {frame.num_tx} streams; antennas compared with antenna {reference}{deaf}")
    print(HEADER)
    good = True
    for antenna, frames in enumerate(measured):
        dead, saturated = (sum(bool(getattr(f, fault)[antenna]) for f in found) for fault in ("dead", "saturated"))
        pairs = [(a, b) for a, b in zip(frames, measured[reference], strict=True) if a is not None and b is not None]
        row, aligned = compare(pairs, recording.sample_rate)
        good &= aligned and not dead and not saturated
        print(f"{antenna:7}  {row}  {len(pairs):6}  {dead:4}  {saturated:9}{'' if aligned else '  not aligned'}")
    print("aligned" if good else "NOT aligned: see docs/guide/hardware.md")
    return 0 if good else 1


def find_frames(
    recording: Recording | Collection, frame: FrameFormat, num_rx: int, num_samples: int
) -> list[FoundFrame]:
    """The frames within the first `num_samples`."""
    synchronizer = Synchronizer(frame, num_rx)
    found: list[FoundFrame] = []
    for start in range(0, min(num_samples, recording.num_samples), PIECE):
        found += synchronizer.push(recording.read(start, PIECE)[:num_rx])
    return found


def measure(
    recording: Recording | Collection, frame: FrameFormat, antenna: int, found: FoundFrame
) -> AntennaFrame | None:
    """Look for a frame around where all antennas together have it; None if this one does not hear it."""
    reach = SEARCH * frame.fft_size
    begin = max(0, found.start - reach)
    samples = recording.read(begin, found.start - begin + frame.frame_length + reach)[antenna].astype(np.complex128)
    samples *= np.exp(-2j * np.pi * found.carrier_offset * np.arange(len(samples)))
    streams = frame.known_samples[:, : frame.preamble_length + frame.symbol_length]
    lags = len(samples) - frame.frame_length + 1
    window = samples[: lags + streams.shape[1] - 1]
    profile = np.sum([np.abs(np.correlate(window, stream, "valid")) ** 2 for stream in streams], axis=0)
    place = int(np.argmax(profile))
    if not profile[place] > LEAST_PEAK * np.median(profile):
        return None
    samples = samples[place : place + frame.frame_length]
    period = frame.preamble_period  # the first and the last touch what comes before and after
    rest = carrier_offset(samples[None, period : frame.preamble_length - period], period)
    delay, response = impulse(frame.demodulate(samples[None])[:, 0], frame)
    return AntennaFrame(begin + place + delay, found.carrier_offset + rest, response, snr_db(samples, frame))


def impulse(grid: NDArray[np.complex64], frame: FrameFormat) -> tuple[float, NDArray[np.complex128]]:
    """Mean delay in samples, and frequency response without it, (num_tx, carriers), from a grid (14, carriers)."""
    symbol, places = TRAINING_SYMBOLS[0], frame.training_indices[0]
    known = np.take_along_axis(frame.known_grid[symbol], places, axis=-1)
    response = grid[symbol][places] / known.astype(np.complex128)
    carriers = frame.active_carriers[places]
    regular = np.diff(carriers) == frame.comb  # not across carrier 0
    products = response[:, 1:] * response[:, :-1].conj()
    delay = -np.angle(np.sum(products[regular])) * frame.fft_size / (2 * np.pi * frame.comb)
    return delay, response * np.exp(2j * np.pi * carriers * delay / frame.fft_size)


def snr_db(samples: NDArray[np.complex128], frame: FrameFormat) -> float:
    """Power on the active carriers over that on the guards, where there is noise only (if the radio lets it pass)."""
    first = frame.preamble_length + frame.cp_length - frame.timing_advance
    starts = first + frame.symbol_length * np.arange(NUM_SYMBOLS)
    spectrum = np.abs(np.fft.fft(samples[starts[:, None] + np.arange(frame.fft_size)], norm="ortho")) ** 2
    noise = np.mean(spectrum[:, frame.guard_carriers % frame.fft_size])
    signal = np.mean(spectrum[:, frame.active_carriers % frame.fft_size]) - noise
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(max(signal, 0) / noise)) if noise else np.inf


def compare(pairs: list[tuple[AntennaFrame, AntennaFrame]], sample_rate: float) -> tuple[str, bool]:
    """A row of the table of an antenna's frames and the reference's, and whether they are aligned."""
    if not pairs:
        return f"{'hears no frame':<{len(ROW.format(*[0.0] * 6))}}", False
    start = np.median([own.start - other.start for own, other in pairs])
    offset = np.mean([own.carrier_offset - other.carrier_offset for own, other in pairs]) * sample_rate
    products = np.array([np.vdot(other.response, own.response) for own, other in pairs])
    time = np.array([other.start for _, other in pairs]) / sample_rate
    phase = np.unwrap(np.angle(products))
    drift = wander = 0.0
    steady = True
    if len(pairs) > 2:
        drift, first = np.polyfit(time - time[0], phase, 1)
        wander = np.std(phase - drift * (time - time[0]) - first)
        steady = bool(np.median(np.abs(np.angle(products[1:] * products[:-1].conj()))) < STEADY)
    power = [np.sum(np.abs([frame.response for frame in frames]) ** 2) for frames in zip(*pairs, strict=True)]
    gain = 10 * np.log10(power[0] / power[1])
    snr = np.median([own.snr_db for own, _ in pairs])
    row = ROW.format(start, offset, drift / (2 * np.pi), np.degrees(wander), gain, snr)
    return row, bool(abs(start) < TOLERANCE and steady)


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_radio_arguments(parser)
    add = parser.add_argument
    add("--streams", type=int, choices=range(1, MAX_STREAMS + 1), default=2, help="sent (default %(default)s)")
    add("--fft-size", type=int, choices=FFT_SIZES, default=64, help="of the frame (default %(default)s)")
    add("--seconds", type=positive_number, default=1.0, help="of signal (default %(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
