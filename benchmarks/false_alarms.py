# SPDX-License-Identifier: GPL-3.0-or-later
"""How often the synchronizer sees a frame in noise, how often it finds one that is there, and how fast.

    python -m benchmarks.false_alarms --num-rx 1 2 4 --seconds 100 --snr -5 0 5 10 --frames 1000
    python -m benchmarks.false_alarms --interference tone --power-db 10 --snr 15 --frames 1000

False alarms: white noise on all antennas, at 1 Msample/s; the bound is the upper end of the one-sided 95 % interval of
a Poisson process, 3 / seconds where there was none. Detection: frames with 300 ns of TDL-A (3GPP TR 38.901), 5 kHz and
20 ppm of 2.4 GHz at most off the carrier, each with its own channel, which is scaled so that the frame has this SNR
exactly (mean over antennas and carriers). With --interference it is there all the time, with a power over that of the
frame, or over that of the noise where there is no frame: an offset at 0 Hz, a tone, band noise on a sixteenth of the
sample rate (independent at each antenna), or white noise from one direction. Frequency and direction are drawn anew for
each frame, and every 0.4 s of noise. Early and late: the first and the last start that was found, in samples from
that of the first path. Speed: of noise, and of frames one behind the other, in one thread.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from gr_kaq.channels.flat import complex_normal
from gr_kaq.channels.interference import NARROWEST, Interference, Interferer
from gr_kaq.channels.radio_channel import RadioChannel
from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.frames.synchronization import Synchronizer
from gr_kaq.signals.signal_model import from_db

CARRIER_SPACING = 31250.0
OFFSET_HZ = 5e3 + 20e-6 * 2.4e9
DELAY_SPREAD, DOPPLER_HZ = 300e-9, 100.0
PIECE = 4096
PIECES_ALIKE = 100  # of noise with the same interference
KINDS = ("dc", "tone", "band", "direction")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-rx", type=int, nargs="+", default=[1, 2, 4], help="antennas (default 1 2 4)")
    parser.add_argument("--num-tx", type=int, default=2, help="streams (default %(default)s)")
    parser.add_argument("--fft-size", type=int, default=64, help="carriers (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of noise at 1 Msample/s (default %(default)s)")
    parser.add_argument("--snr", type=float, nargs="+", default=[-5.0, 0.0, 5.0, 10.0], help="default -5 0 5 10")
    parser.add_argument("--frames", type=int, default=200, help="for each SNR (default %(default)s)")
    parser.add_argument("--interference", choices=KINDS, help="default: none")
    parser.add_argument("--power-db", type=float, default=0.0, help="of the interference (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    frame = FrameFormat(options.num_tx, options.fft_size)
    for num_rx in options.num_rx:
        print(f"{num_rx} antennas, {options.num_tx} streams, {options.fft_size} carriers", flush=True)
        if options.seconds > 0:
            print_false_alarms(frame, num_rx, options)
        for snr_db in options.snr if options.frames else ():
            print_detection(frame, num_rx, snr_db, options)
        print_speed(frame, num_rx, options.seed)
    return 0


def interference(options: argparse.Namespace, num_rx: int, rng: np.random.Generator) -> Interference | None:
    """Such as the command line says, at another frequency or from another direction each time; none: there is none."""
    if options.interference is None:
        return None
    centre, direction = rng.uniform(-0.45, 0.45), rng.uniform(-60.0, 60.0)
    centre, width, kind = {
        "dc": (0.0, NARROWEST, "tone"),
        "tone": (centre, NARROWEST, "tone"),
        "band": (centre, 1 / 16, "noise"),
        "direction": (0.0, 1.0, "noise"),
    }[options.interference]
    interferer = Interferer(
        band=(centre - width / 2, centre + width / 2),
        power_db=options.power_db,
        kind=kind,
        direction=direction if options.interference == "direction" else None,
    )
    return Interference(interferer, num_rx, 1.0, int(rng.integers(2**63)))


def print_false_alarms(frame: FrameFormat, num_rx: int, options: argparse.Namespace) -> None:
    """A line each time that the noise listened to has doubled, and at the end."""
    rng = np.random.Generator(np.random.SFC64([options.seed, num_rx]))
    synchronizer, events, shown, pieces = Synchronizer(frame, num_rx), 0, 10.0, 0
    while (heard := synchronizer.position * 1e-6) < options.seconds:
        if pieces % PIECES_ALIKE == 0:
            besides = interference(options, num_rx, rng)
        pieces += 1
        noise = complex_normal(rng, (num_rx, PIECE))
        events += len(synchronizer.push(noise + besides.draw(PIECE) if besides else noise))
        if heard > shown:
            shown *= 2
            print(f"  {describe(events, heard)}", flush=True)
    print(f"  {describe(events, heard)}", flush=True)


def describe(events: int, seconds: float) -> str:
    """How many in how long, and the bound."""
    bound = chi2.ppf(0.95, 2 * (events + 1)) / 2 / seconds
    return f"noise: {events} false alarms in {seconds:.0f} s; below {bound:.1e} per second (95 %)"


def print_detection(frame: FrameFormat, num_rx: int, snr_db: float, options: argparse.Namespace) -> None:
    """One line: what was found of the frames."""
    seed, count = options.seed, options.frames
    rng, others_rng = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 3])
    starts, errors, others = [], [], 0
    sample_rate = CARRIER_SPACING * frame.fft_size
    for number in range(count):
        synchronizer = Synchronizer(frame, num_rx)
        offset = rng.uniform(-OFFSET_HZ, OFFSET_HZ)
        besides = interference(options, num_rx, others_rng)
        samples, start = receive(frame, num_rx, snr_db, offset, [seed, number], rng, besides)
        found = synchronizer.push(samples)
        near = [each for each in found if abs(each.start - start) <= frame.cp_length]
        others += len(found) - len(near)
        starts += [each.start - start for each in near]
        errors += [each.carrier_offset * sample_rate - offset for each in near]
    spread = f"early {min(starts)}, late {max(starts)} samples; " if starts else ""
    rms = f"carrier offset {np.sqrt(np.mean(np.square(errors))):.0f} Hz RMS; " if starts else ""
    print(f"  {snr_db:5.1f} dB: {len(starts)} of {count} frames found; {spread}{rms}{others} that are none", flush=True)


def receive(
    frame: FrameFormat,
    num_rx: int,
    snr_db: float,
    offset: float,
    seed: list[int],
    rng: np.random.Generator,
    besides: Interference | None,
) -> tuple[NDArray[np.complex64], int]:
    """Samples (num_rx, n) with one frame, and where its first path begins."""
    channel = RadioChannel(
        num_rx,
        frame.num_tx,
        sample_rate=CARRIER_SPACING * frame.fft_size,
        profile="tdl-a",
        delay_spread=DELAY_SPREAD,
        doppler=DOPPLER_HZ,
        carrier_offset=offset,
        seed=np.random.SeedSequence(seed),
    )
    before = int(rng.integers(frame.frame_length))
    sent = modulate(frame, rng)
    received = channel.process(np.pad(sent, ((0, 0), (before, frame.frame_length // 2))))
    start = before + channel.latency
    power = float(np.mean(np.abs(received[:, start : start + frame.frame_length]) ** 2))
    noise_var = power * frame.fft_size / frame.num_active / from_db(snr_db)
    received += np.float32(np.sqrt(noise_var)) * complex_normal(rng, received.shape)
    if besides:
        received += np.float32(np.sqrt(power)) * besides.draw(received.shape[-1])
    return received, start


def modulate(frame: FrameFormat, rng: np.random.Generator) -> NDArray[np.complex64]:
    """A frame with random data."""
    return frame.modulate(frame.map_bits(rng.integers(0, 2, frame.coded_bits, np.uint8)))


def print_speed(frame: FrameFormat, num_rx: int, seed: int) -> None:
    """One line: samples per antenna and second of processor time."""
    rng = np.random.default_rng([seed, 2])
    noise = complex_normal(rng, (num_rx, 100 * PIECE))
    taps = complex_normal(rng, (num_rx, frame.num_tx))
    frames = np.concatenate([taps @ modulate(frame, rng) for _ in range(100 * PIECE // frame.frame_length)], axis=-1)
    frames += np.float32(0.05) * complex_normal(rng, frames.shape)
    speeds = []
    for samples in (noise, frames):
        synchronizer, began = Synchronizer(frame, num_rx), time.process_time()
        for first in range(0, samples.shape[-1], PIECE):
            synchronizer.push(samples[:, first : first + PIECE])
        speeds.append(samples.shape[-1] / (time.process_time() - began) / 1e6)
    print(f"  speed: noise {speeds[0]:.1f}, frames one behind the other {speeds[1]:.1f} Msample/s for each antenna")


if __name__ == "__main__":
    sys.exit(main())
