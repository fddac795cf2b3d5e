# SPDX-License-Identifier: GPL-3.0-or-later
"""`kaq csi check`: what is odd about recorded channels, and the sound part of them."""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..channels.channel_file import read_recorded
from ..channels.recording_check import check_recording, ranges
from .long_run import check_folders

__all__ = ["add_parser"]

VALUE_BYTES, MORE_BYTES = 32, 4096  # of an array beside `h` that is kept: for each packet, and in its header


def add_parser(commands: Any) -> None:
    """Add `csi` to the subcommands of an ArgumentParser."""
    csi = commands.add_parser("csi", help="check recorded channels", description="Work on recorded channels (CSI).")
    check = csi.add_subparsers(dest="action", required=True, metavar="ACTION").add_parser(
        "check",
        help="what is odd about a recording, and its sound part",
        description="Check recorded channels, from kaq record, CSI tools of network cards, or others: padded carriers "
        "or streams, packets of another size, NaN, constants and garbage on carriers without a signal, single bad "
        "packets. Says which carriers and packets. --output writes what is left. The exit status is 1 if anything is "
        "odd. docs/guide/csi-recordings.md tells how to bring other tools' recordings into this form.",
    )
    add = check.add_argument
    add("recording", help="a NumPy archive (.npz) with `h` (packets, carriers, rx, tx)")
    add("--carriers", metavar="LIST", help="look at and keep these only, from 0, such as 0-27,29-55 (default: all)")
    add("--packets", metavar="LIST", help="the same for packets")
    add("--output", type=Path, metavar="FILE", help="write what is sound there (.npz)")
    check.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    check_folders(options.output)
    if options.output and options.output.suffix != ".npz":
        raise ValueError(f"{options.output}: a name that ends in .npz expected")
    h = read_recorded(options.recording)
    packets = _numbers("--packets", options.packets, h.shape[0])
    carriers = _numbers("--carriers", options.carriers, h.shape[1])
    print(f"{options.recording}: {_size(h)}")
    if len(packets) < len(h) or len(carriers) < h.shape[1]:
        h = h[np.ix_(packets, carriers)]
        print(f"chosen: {_size(h)}")
    report = check_recording(h)
    for finding in report.findings:
        print(f"- {finding}")
    sound = report.cut(h)
    if not report.findings:
        print("nothing is odd")
    elif not sound.size:
        print("nothing is sound")
    else:
        print(f"sound: {_size(sound)}")
        print(f"       --packets {_list(packets[report.packets])} --carriers {_list(carriers[report.carriers])}")
    if options.output and sound.size:
        kept = packets[report.packets]
        _write(options.output, options.recording, sound, kept, carriers[report.carriers])
        print(f"{options.output} is written; kaq ber auto --constellation 16qam --channel {options.output} uses it")
    return 1 if report.findings else 0


def _size(h: NDArray) -> str:
    names = ("packet", "carrier", "receive antenna", "stream")
    return ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for count, name in zip(h.shape, names, strict=True))


def _list(numbers: NDArray[np.int64]) -> str:
    return ranges(numbers, limit=len(numbers)).replace(" ", "")


def _numbers(option: str, text: str | None, count: int) -> NDArray[np.int64]:
    """Of packets or carriers, from ``"0-27,29"``; all without a text."""
    if text is None:
        return np.arange(count)
    chosen: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not (first.isdecimal() and (last or first).isdecimal() and int(first) <= int(last or first) < count):
            raise ValueError(f"{option} is {text!r}; numbers from 0 to {count - 1} such as 0-27,29 expected")
        chosen.update(range(int(first), int(last or first) + 1))
    return np.array(sorted(chosen))


def _write(path: Path, recording: str, h: NDArray, packets: NDArray[np.int64], carriers: NDArray[np.int64]) -> None:
    """The sound part, with what the recording says of each packet and carrier beside."""
    arrays: dict[str, NDArray] = {"h": h.astype(np.complex64)}
    with zipfile.ZipFile(recording) as archive:
        most = MORE_BYTES + VALUE_BYTES * max(packets.max() + 1, carriers.max() + 1, 1 << 10)
        small = [m.filename.removesuffix(".npy") for m in archive.infolist() if m.file_size <= most]
    with np.load(recording, allow_pickle=False) as beside:
        count = {name: len(beside[name]) for name in small if name != "h" and beside[name].ndim}
        for name in small:
            if name == "h":
                continue
            values = beside[name]
            if name == "carriers" and count[name] > carriers.max():
                arrays[name] = values[carriers]
            elif count.get(name, 0) > packets.max() and name != "carriers":
                arrays[name] = values[packets]
            elif not values.ndim:
                arrays[name] = values
    np.savez_compressed(path, **arrays)
