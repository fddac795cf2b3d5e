# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings that end before they should: killed, terminated or on a full disk, at a random moment.

    PYTHONPATH=build/test_modules:. /usr/bin/python3 -m benchmarks.killed_recorders --runs 200 --seed 1

Each run starts `examples/recorder.py` or `kaq record --samples` as a process, with 1 to 8 antennas, at a ZMQ peer that
sends frames over and over. Samples and channels carry what they should be, so that what is read afterwards can be
compared. A full disk is a file system of its own where that may be mounted, else a limit of the size of files.

What has to hold: everything that is in a file is right and can be read, with no sample more than was sent; the exit
status is 0 or 143 when terminated (2 where there was no frame yet) and 2 on a full disk; and what is said at the end is
what the file holds.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import zmq
from numpy.typing import NDArray

from gr_kaq.commands.long_run import import_progress
from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.radios.sigmf import RecordingError, open_recording

ROOT = Path(__file__).resolve().parents[1]
RATE = 2e6
PERIOD = 1 << 15  # samples after which the signal repeats itself
TIMEOUT_S = 120.0
KINDS = ("killed", "terminated", "full disk")
PROGRAMS = ("recorder", "kaq record")
DISK_BYTES = 1 << 20


def signal_of(num_rx: int) -> NDArray[np.complex64]:
    """A period of samples, (num_rx, PERIOD): frames of two streams, and what tells one place from another."""
    frame, rng = FrameFormat(2), np.random.default_rng(num_rx)
    samples = 1e-3 * (rng.standard_normal((num_rx, PERIOD)) + 1j * rng.standard_normal((num_rx, PERIOD)))
    h = rng.standard_normal((num_rx, 2)) + 1j * rng.standard_normal((num_rx, 2))
    for start in range(200, PERIOD - frame.frame_length, frame.frame_length + 600):
        data = frame.constellation.points[rng.integers(0, 16, (11, frame.num_data, 2))]
        samples[:, start : start + frame.frame_length] += h @ frame.modulate(data)
    return samples.astype(np.complex64)


@contextlib.contextmanager
def peer(samples: NDArray[np.complex64]) -> Iterator[str]:
    """The address of a peer that sends them over and over."""
    message, stop = np.ascontiguousarray(samples.T).tobytes(), threading.Event()
    with zmq.Context.instance().socket(zmq.PUSH) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDHWM, 4)
        address = f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"

        def send() -> None:
            while not stop.is_set():
                if socket.poll(50, zmq.POLLOUT):
                    socket.send(message)
                    stop.wait(0.01)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield address
        finally:
            stop.set()
            thread.join()


@contextlib.contextmanager
def small_disk() -> Iterator[Path | None]:
    """A file system that is soon full; None where none may be mounted."""
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", folder]
        try:
            subprocess.run(mount, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            yield None
            return
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


class Run:
    """One recording that ends too soon, and what is wrong with what it leaves."""

    def __init__(self, rng: np.random.Generator, disk: Path | None):
        self.kind, self.program = KINDS[int(rng.integers(3))], PROGRAMS[int(rng.integers(2))]
        self.num_rx, self.delay = int(rng.integers(1, 9)), float(rng.exponential(1.0))
        self._disk = disk
        self.faults: list[str] = []
        self.num_samples = 0

    def __str__(self) -> str:
        return f"{self.program}, {self.num_rx} antennas, {self.kind}: {'; '.join(self.faults)}"

    def go(self) -> None:
        """Start, end, and look at what there is."""
        samples = signal_of(self.num_rx)
        with tempfile.TemporaryDirectory() as folder:
            place = self._disk if self.kind == "full disk" and self._disk else Path(folder)
            with peer(samples) as address:
                status, shown = self._end(self._start(address, place))
            self._look(samples, place, status, shown)
            if place == self._disk:
                for path in place.iterdir():
                    path.unlink()

    def _start(self, address: str, folder: Path) -> subprocess.Popen[str]:
        radio = ["--radio", "zmq", "--args", address, "--antennas", str(self.num_rx), "--rate", str(RATE)]
        if self.program == "recorder":
            words = [str(ROOT / "examples" / "recorder.py"), *radio, "--output", str(folder / "r"), "--seconds", "100"]
        else:
            words = [
                "-m",
                "gr_kaq",
                "record",
                *radio,
                "--output",
                str(folder / "r.npz"),
                "--samples",
                str(folder / "r"),
            ]
        limit: list[str] = []
        if self.kind == "full disk" and not self._disk:
            limit = ["prlimit", f"--fsize={DISK_BYTES}"]
        return subprocess.Popen(
            [*limit, sys.executable, "-u", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _end(self, process: subprocess.Popen[str]) -> tuple[int, list[str]]:
        """The exit status, and the lines that were shown."""
        assert process.stdout
        lines: list[str] = []
        if self.kind != "full disk":
            for line in process.stdout:  # one a second, once it receives
                lines.append(line)
                if re.match(r"\d", line):
                    break
            time.sleep(self.delay)
            process.send_signal(signal.SIGKILL if self.kind == "killed" else signal.SIGTERM)
        try:
            rest, _ = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.faults.append(f"still running after {TIMEOUT_S:g} s")
            process.kill()
            rest, _ = process.communicate()
        return process.returncode, [*"".join([*lines, rest]).splitlines()]

    def _look(self, samples: NDArray[np.complex64], folder: Path, status: int, shown: list[str]) -> None:
        text = "\n".join(shown)
        if "Traceback" in text:
            self.faults.append("a traceback")
        expected = {"killed": {-signal.SIGKILL}, "terminated": {0, 143}, "full disk": {2}}[self.kind]
        if self.kind == "terminated" and status == 2 and "no frame found" in text:
            return  # it was ended before its first frame, and says so
        if status not in expected:
            self.faults.append(f"exit status {status}: {shown[-1:]}")
        try:
            recording = open_recording(folder / "r", self.num_rx)
        except RecordingError as error:
            if self.kind != "killed":  # who is killed at once has nothing
                self.faults.append(str(error))
            return
        read = recording.read()
        self.num_samples = read.shape[1]
        wanted = np.tile(samples, -(-self.num_samples // PERIOD))[:, : self.num_samples]
        if not np.array_equal(read, wanted):
            self.faults.append("samples that were not sent")
        if self.kind == "full disk" and not re.search(rf"\b{self.num_samples} of \d+ samples", text):
            self.faults.append(f"{self.num_samples} samples are there; {shown[-2:]}")
        if self.kind == "terminated" and self.program == "recorder" and f" {self.num_samples} samples" not in text:
            self.faults.append(f"{self.num_samples} samples are there; {shown[-2:]}")
        archive = folder / "r.npz"
        if archive.exists():
            with np.load(archive) as content:
                told = re.search(r": (\d+) frames of", text)
                if self.kind == "terminated" and not (told and int(told[1]) == len(content["h"])):
                    self.faults.append(f"{len(content['h'])} frames are there; {shown[-3:]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default %(default)s")
    options = parser.parse_args()
    rng, runs = np.random.default_rng(options.seed), []
    with small_disk() as disk, import_progress()(total=options.runs, unit="run") as bar:
        print(f"full disk: {'a file system' if disk else 'a limit'} of {DISK_BYTES >> 20} MiB")
        for _ in range(options.runs):
            run = Run(rng, disk)
            run.go()
            runs.append(run)
            if run.faults:
                bar.write(str(run), file=sys.stderr)
            bar.update()
    counts = Counter((run.program, run.kind) for run in runs)
    faults = Counter((run.program, run.kind) for run in runs if run.faults)
    for program, kind in sorted(counts):
        print(f"{program:12} {kind:12} {counts[program, kind]:4} runs, {faults[program, kind]} with a fault")
    print(f"{sum(run.num_samples for run in runs)} samples of an antenna read again")
    return 1 if faults else 0


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main())
