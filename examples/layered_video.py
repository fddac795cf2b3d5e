# SPDX-License-Identifier: GPL-3.0-or-later
"""Video in two layers by FFmpeg: encoded, decoded from the pictures that came, and compared with what was sent.

The source is FFmpeg's test pattern, 320x180 at 25 pictures per second. Each layer is a stream of its own by libx264,
with a key picture every second. A coded picture can be decoded if all of its layer since the last key picture is there.
`video_link.py` and `benchmarks/video.py` use it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, RATE, GROUP = 320, 180, 25, 25
RAW = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(RATE)]
PICTURE_BYTES = WIDTH * HEIGHT * 3 // 2
DELIMITER = re.compile(rb"\x00\x00\x00\x01\x09")


def ffmpeg(*arguments: Any) -> str:
    """Run FFmpeg; what it says.

    Raises:
        OSError: it is not there, or has failed.
    """
    if not shutil.which("ffmpeg"):
        raise OSError("ffmpeg is not there: install the package of this name")
    done = subprocess.run(
        ["ffmpeg", "-hide_banner", "-nostdin", "-y", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise OSError(f"FFmpeg failed: {done.stderr.strip().splitlines()[-1]}")
    return done.stderr


def make_pattern(folder: Path, seconds: float) -> Path:
    """A file with the test pattern, as raw video."""
    pattern = folder / "pattern.yuv"
    source = f"testsrc2=size={WIDTH}x{HEIGHT}:rate={RATE}:duration={seconds}"
    ffmpeg("-f", "lavfi", "-i", source, "-f", "rawvideo", "-pix_fmt", "yuv420p", pattern)
    return pattern


@dataclass
class Layer:
    """One layer: its rate, and its coded pictures."""

    kbits: int
    pictures: list[bytes]

    def decode(self, came: set[int], folder: Path) -> dict[int, bytes]:
        """The pictures that can be decoded, as raw video, from the numbers of those that came in time."""
        whole = []
        for number in range(len(self.pictures)):
            first = number - number % GROUP
            if all(earlier in came for earlier in range(first, number + 1)):
                whole.append(number)
        if not whole:
            return {}
        coded, raw = folder / "came.264", folder / "came.yuv"
        coded.write_bytes(b"".join(self.pictures[number] for number in whole))
        ffmpeg("-f", "h264", "-r", RATE, "-i", coded, "-fps_mode", "passthrough", *RAW[:4], raw)
        data = raw.read_bytes()
        if len(data) != len(whole) * PICTURE_BYTES:
            raise OSError(f"FFmpeg has decoded {len(data) // PICTURE_BYTES} of {len(whole)} pictures")
        return {number: data[PICTURE_BYTES * i : PICTURE_BYTES * (i + 1)] for i, number in enumerate(whole)}


def encode(pattern: Path, kbits: int) -> Layer:
    """A layer of the pattern with this rate."""
    coded = pattern.with_name(f"{kbits}.264")
    options = f"scenecut=0:aud=1:repeat-headers=1:keyint={GROUP}"
    rate = ["-b:v", f"{kbits}k", "-maxrate", f"{kbits}k", "-bufsize", f"{kbits // 4}k"]
    ffmpeg(
        *(*RAW, "-i", pattern, "-c:v", "libx264", "-preset", "medium", "-tune", "zerolatency"),
        *(*rate, "-bf", 0, "-threads", 1, "-x264-params", options, "-f", "h264", coded),
    )
    data = coded.read_bytes()
    begins = [match.start() for match in DELIMITER.finditer(data)]
    return Layer(kbits, [data[begin:end] for begin, end in zip(begins, [*begins[1:], len(data)], strict=True)])


def shown_pictures(layers: Sequence[Layer], came: Sequence[set[int]], folder: Path) -> tuple[bytes, list[int | None]]:
    """What is shown: of each picture the last layer that can be decoded; where there is none, the one before stays.

    Args:
        layers: the better, the later.
        came: numbers of the pictures of each that came in time.
        folder: for files in between.

    Returns:
        Raw video, and the place of the layer of each picture; None: it stood still.
    """
    decoded = [layer.decode(one, folder) for layer, one in zip(layers, came, strict=True)]
    picture = bytes(WIDTH * HEIGHT) + bytes([128]) * (WIDTH * HEIGHT // 2)
    raw, places = [], []
    for number in range(len(layers[0].pictures)):
        place = max((place for place, one in enumerate(decoded) if number in one), default=None)
        if place is not None:
            picture = decoded[place][number]
        raw.append(picture)
        places.append(place)
    return b"".join(raw), places


def psnr(raw: bytes, pattern: Path) -> NDArray[np.float64]:
    """Of each picture against the pattern in dB, by FFmpeg; that of equal ones counts as 100 dB."""
    shown, statistics = pattern.with_name("shown.yuv"), pattern.with_name("psnr.txt")
    shown.write_bytes(raw)
    ffmpeg(*RAW, "-i", shown, *RAW, "-i", pattern, "-lavfi", f"psnr=stats_file={statistics}", "-f", "null", "-")
    values = re.findall(r"psnr_avg:(\S+)", statistics.read_text())
    return np.array([min(100.0, float(value)) for value in values])


def rgb(raw: bytes, number: int, folder: Path) -> NDArray[np.uint8]:
    """One picture of raw video, (HEIGHT, WIDTH, 3)."""
    one, image = folder / "one.yuv", folder / "one.rgb"
    one.write_bytes(raw[PICTURE_BYTES * number : PICTURE_BYTES * (number + 1)])
    ffmpeg(*RAW, "-i", one, "-f", "rawvideo", "-pix_fmt", "rgb24", image)
    return np.frombuffer(image.read_bytes(), np.uint8).reshape(HEIGHT, WIDTH, 3)
