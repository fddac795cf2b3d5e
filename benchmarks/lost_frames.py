# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether `kaq receive --explain` names the right cause: frames that are lost for a known one.

    python -m benchmarks.lost_frames --frames 1000 --seed 1

A receiver for two streams of 16-QAM and 64 carriers gets a frame with one thing wrong, drawn at random like everything
else: 2 to 4 antennas, TDL-A to -C with 30 to 200 ns, up to 100 Hz, 18 to 28 dB, up to half a carrier spacing off in
frequency. Those that are decoded all the same are left out.
"""

from __future__ import annotations

import argparse
import collections
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gr_kaq.channels.interference import Interferer
from gr_kaq.channels.radio_channel import RadioChannel
from gr_kaq.commands.long_run import import_progress
from gr_kaq.detection.detectors import load_detector
from gr_kaq.diagnosis.causes import Cause, Diagnosis, Diagnostician
from gr_kaq.diagnosis.frame_reading import FrameReader
from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.frames.payload import PayloadCoder, max_payload
from gr_kaq.frames.synchronization import Synchronizer
from gr_kaq.signals.bit_errors import BitErrorRate

EXPECTED = FrameFormat(2, 64, "16qam")
SPACING = 31250.0
RATE = SPACING * EXPECTED.fft_size
Samples = NDArray[np.complex64]


@dataclass
class Scene:
    """What is sent, and what is on the way."""

    frame_format: FrameFormat
    num_rx: int
    snr_db: float
    offset: float
    interferer: Interferer | None = None
    mix: Callable[[Samples], Samples] = field(default=lambda sent: sent)
    spoil: Callable[[Samples, int], Samples] = field(default=lambda received, start: received)


def usual(rng: np.random.Generator) -> Scene:
    """Nothing is wrong."""
    return Scene(EXPECTED, int(rng.integers(2, 5)), rng.uniform(18, 28), rng.uniform(-0.5, 0.5) * SPACING)


def far_off(scene: Scene, rng: np.random.Generator) -> None:
    """Beyond six carrier spacings."""
    scene.offset = rng.choice([-1, 1]) * rng.uniform(6.3, 13.7) * SPACING


def mirrored(scene: Scene, rng: np.random.Generator) -> None:
    """I and Q are swapped somewhere, which is a mirrored spectrum and a turn."""
    scene.spoil = lambda received, start: (1j * received.conj()).astype(np.complex64)


def other_streams(scene: Scene, rng: np.random.Generator) -> None:
    """One, three or four."""
    scene.frame_format = FrameFormat(int(rng.choice([1, 3, 4])))


def other_constellation(scene: Scene, rng: np.random.Generator) -> None:
    """Of every stream."""
    scene.frame_format = FrameFormat(2, 64, str(rng.choice(["qpsk", "64qam", "256qam"])))


def dead_antenna(scene: Scene, rng: np.random.Generator) -> None:
    """One of two: zeros, or noise 40 dB below the other."""
    scene.num_rx = 2
    antenna, level = int(rng.integers(2)), 0.0 if rng.random() < 0.5 else 0.01

    def spoil(received: Samples, start: int) -> Samples:
        noise = rng.standard_normal(received.shape[1]) + 1j * rng.standard_normal(received.shape[1])
        received[antenna] = level * np.std(received) * noise
        return received

    scene.spoil = spoil


def saturated(scene: Scene, rng: np.random.Generator) -> None:
    """Real and imaginary parts are clipped far below what they need."""
    level = rng.uniform(0.1, 0.5)

    def spoil(received: Samples, start: int) -> Samples:
        frame = received[:, start : start + EXPECTED.frame_length]
        most = level * np.sqrt(np.mean(np.abs(frame) ** 2, axis=1, keepdims=True))
        return (np.clip(received.real, -most, most) + 1j * np.clip(received.imag, -most, most)).astype(np.complex64)

    scene.spoil = spoil


def gain_step(scene: Scene, rng: np.random.Generator) -> None:
    """Behind the preamble, 6 to 30 dB up or down, of all antennas."""
    place = int(rng.integers(EXPECTED.preamble_length, EXPECTED.frame_length))
    step = np.float32(10 ** (rng.choice([-1, 1]) * rng.uniform(6, 30) / 20))

    def spoil(received: Samples, start: int) -> Samples:
        received[:, start + place :] *= step
        return received

    scene.spoil = spoil


def missing_samples(scene: Scene, rng: np.random.Generator) -> None:
    """Somewhere behind the first training symbol, 8 to 600."""
    count = int(rng.integers(8, 600))
    first = EXPECTED.preamble_length + EXPECTED.symbol_length
    place = int(rng.integers(first, EXPECTED.frame_length - count - EXPECTED.symbol_length))
    scene.spoil = lambda received, start: np.delete(received, slice(start + place, start + place + count), axis=1)


def jammed(scene: Scene, rng: np.random.Generator) -> None:
    """Two to 16 carriers, from a direction or not."""
    width = rng.uniform(2, 16)
    middle = rng.uniform(-24 + width / 2, 24 - width / 2)
    band = ((middle - width / 2) * SPACING, (middle + width / 2) * SPACING)
    direction = None if rng.random() < 0.5 else float(rng.uniform(-60, 60))
    scene.interferer = Interferer(band, power_db=float(rng.uniform(-5, 15)), direction=direction)


def weak(scene: Scene, rng: np.random.Generator) -> None:
    """Antennas enough to tell the streams apart, but 2 to 6 dB."""
    scene.num_rx, scene.snr_db = int(rng.integers(3, 5)), rng.uniform(2, 6)


def alike(scene: Scene, rng: np.random.Generator) -> None:
    """One stream 20 to 30 dB weaker than the other, or both nearly from the same place."""
    share, turn = 10 ** (-rng.uniform(20, 30) / 20), np.exp(1j * rng.uniform(0, 2 * np.pi))
    together = rng.random() < 0.5
    matrix = np.array([[2**-0.5, 2**-0.5 * turn], [0, share]]) if together else np.diag([1, share])
    scene.mix = lambda sent: (matrix @ sent).astype(np.complex64)


SCENES: dict[Cause, Callable[[Scene, np.random.Generator], None]] = {
    Cause.CARRIER_OFFSET: far_off,
    Cause.MIRRORED: mirrored,
    Cause.STREAM_COUNT: other_streams,
    Cause.CONSTELLATION: other_constellation,
    Cause.DEAD_ANTENNA: dead_antenna,
    Cause.SATURATION: saturated,
    Cause.GAIN_STEP: gain_step,
    Cause.MISSING_SAMPLES: missing_samples,
    Cause.INTERFERENCE: jammed,
    Cause.WEAK: weak,
    Cause.CHANNEL: alike,
}


def received(scene: Scene, rng: np.random.Generator) -> tuple[Samples, bytes]:
    """Samples with one frame, and its payload."""
    frame = scene.frame_format
    num_rx = max(scene.num_rx, frame.num_tx)
    channel = RadioChannel(
        num_rx,
        frame.num_tx,
        sample_rate=RATE,
        profile=str(rng.choice(["tdl-a", "tdl-b", "tdl-c"])),
        delay_spread=rng.uniform(30e-9, 200e-9),
        doppler=rng.uniform(0, 100),
        snr_db=scene.snr_db,
        carrier_offset=scene.offset,
        interferer=scene.interferer,
        seed=int(rng.integers(1 << 31)),
    )
    coder, payload = PayloadCoder(frame), rng.bytes(max_payload(frame))
    lead = int(rng.integers(600, 1000))
    sent = np.zeros((frame.num_tx, lead + frame.frame_length + 2000), np.complex64)
    sent[:, lead : lead + frame.frame_length] = scene.mix(frame.modulate(frame.map_bits(coder.encode(payload))))
    return scene.spoil(channel.process(sent), lead + channel.latency), payload


class Receivers:
    """One for each number of antennas."""

    def __init__(self) -> None:
        self._reader = FrameReader(EXPECTED, load_detector("auto", constellation=EXPECTED.constellation_name))
        self._diagnosticians: dict[int, Diagnostician] = {}

    def diagnose(self, samples: Samples, payload: bytes) -> Diagnosis | None:
        """Why the frame is lost; None: it is not."""
        num_rx = len(samples)
        frames = [self._reader.read(found) for found in Synchronizer(EXPECTED, num_rx).push(samples)]
        if any(frame.reading.payload == payload for frame in frames):
            return None
        if num_rx not in self._diagnosticians:
            self._diagnosticians[num_rx] = Diagnostician(self._reader, num_rx)
        return self._diagnosticians[num_rx].explain(samples, frames[0].reading.start if frames else 0)


def confusion(count: int, seed: int, progress: Callable[[], object]) -> dict[Cause, collections.Counter[Cause]]:
    """How often each cause was taken for each, over so many frames that were lost."""
    receivers, rng = Receivers(), np.random.default_rng(seed)
    table: dict[Cause, collections.Counter[Cause]] = {cause: collections.Counter() for cause in SCENES}
    done = 0
    while done < count:
        cause = list(SCENES)[int(rng.integers(len(SCENES)))]
        scene = usual(rng)
        SCENES[cause](scene, rng)
        diagnosis = receivers.diagnose(*received(scene, rng))
        if diagnosis:
            table[cause][diagnosis.cause] += 1
            done += 1
            progress()
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1000, help="that are lost (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="default %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there, too")
    options = parser.parse_args()
    with import_progress()(total=options.frames, unit="frame") as bar:
        table = confusion(options.frames, options.seed, bar.update)
    right = sum(row[cause] for cause, row in table.items())
    print("| cause | frames | named | taken for |\n|---|---|---|---|")
    for cause, row in table.items():
        others = ", ".join(f"{other} ({count})" for other, count in row.most_common() if other != cause)
        print(f"| {cause} | {row.total()} | {row[cause]} | {others} |")
    low, high = BitErrorRate(right, options.frames).confidence_interval()
    print(f"\n{right} of {options.frames} right: {right / options.frames:.1%} [{low:.1%}, {high:.1%}]")
    if options.json:
        content: dict[str, Any] = {str(cause): {str(o): n for o, n in row.items()} for cause, row in table.items()}
        options.json.write_text(json.dumps({"seed": options.seed, "table": content}, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
