# SPDX-License-Identifier: GPL-3.0-or-later
"""Live video through a fade of 10 dB: what is seen with priorities, and what first come, first served shows.

    python -m benchmarks.video --output out/video.json --plot out/video.png --frames out/video-frames.png

FFmpeg (of the distribution) makes a test pattern, 320x180 at 25 pictures per second, and encodes it with libx264 in
layers: a base of 200 kbit/s, and enhancements of 400, 700 and 1000 kbit/s, of which the source sends one, as
`gr_kaq.transport.rate_control` has it. Each coded picture is a PDU that is of use for 200 ms. The
`benchmarks.lossy_link` fades by 10 dB from second 4 to second 8, on top of its Rayleigh fading.

What came in time is decoded by FFmpeg: a picture of a layer, if all of its layer since the last key picture is there.
The best layer is shown; where there is none, the picture before stays. FFmpeg says the PSNR of what is shown, against
the pattern. Ways of scheduling:

    fifo          both layers in one queue, the enhancement always at 1000 kbit/s, nothing given up
    fifo-rate     one queue, nothing given up; the enhancement follows the rate
    priorities    base before enhancement, what is too late is given up; the enhancement always at 1000 kbit/s
    priorities-rate    the same; the enhancement follows the rate
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.lossy_link import SLOT_S, LossyLink
from gr_kaq.commands.long_run import check_folders, check_picture
from gr_kaq.transport.arq_receiver import ArqReceiver
from gr_kaq.transport.arq_sender import ArqSender
from gr_kaq.transport.rate_control import RateControl

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
from layered_video import (
    GROUP,
    RATE,
    Layer,
    encode,
    make_pattern,
    psnr,
    rgb,
    shown_pictures,
)

BASE_KBITS, ENHANCEMENT_KBITS = 200, (400, 700, 1000)
LIFETIME_S, TARGET_WAIT_S = 0.2, 0.06
FADE_DB, FADE_S, RAMP_S = 10.0, (4.0, 8.0), 0.3
POLICIES = ("fifo", "fifo-rate", "priorities", "priorities-rate")


def fade(mean_db: float) -> Any:
    """Mean SNR over time: less by 10 dB for four seconds."""
    down, up = FADE_S
    return lambda times: (
        mean_db - FADE_DB * np.clip(np.minimum((times - down) / RAMP_S, (up + RAMP_S - times) / RAMP_S), 0, 1)
    )


@dataclass
class Shown:
    """What a way of scheduling shows.

    Attributes:
        policy: its name.
        psnr_db: of each picture.
        raw: all of them, as raw video.
        source: of each: "enhancement", "base" or "frozen".
        kbits: rate of the enhancement at each picture.
    """

    policy: str
    psnr_db: NDArray[np.float64]
    raw: bytes
    source: list[str]
    kbits: list[int]


def show(policy: str, layers: list[Layer], link: LossyLink, pattern: Path, seed: int) -> Shown:
    """Send the layers over the link, and see."""
    priorities, follows = policy.startswith("priorities"), policy.endswith("-rate")
    base, *enhancements = layers
    num_pictures = len(base.pictures)
    sender, receiver = ArqSender(1 + seed), ArqReceiver(1 + seed)
    rates = [125.0 * (BASE_KBITS + layer.kbits) for layer in enhancements]
    control = RateControl(rates[0] / 1.3, 1.3 * rates[-1], TARGET_WAIT_S)
    kbits: list[int] = []
    chosen = enhancements[-1]

    def submit(now: float) -> None:
        nonlocal chosen
        waited = max(sender.oldest_wait(one, now) for one in (0, 1))
        control.update(now, sender.counts.delivered_bytes, waited)
        if len(kbits) == num_pictures or len(kbits) / RATE > now:
            return
        number = len(kbits)
        if follows and number % GROUP == 0:
            fitting = [layer for layer, rate in zip(enhancements, rates, strict=True) if rate <= control.rate]
            chosen = fitting[-1] if fitting else enhancements[0]
        kbits.append(chosen.kbits)
        for place, layer in enumerate((base, chosen)):
            data = number.to_bytes(2, "big") + layers.index(layer).to_bytes(1, "big") + layer.pictures[number]
            deadline = number / RATE + LIFETIME_S if priorities else math.inf
            sender.submit(data, place if priorities else 0, now, deadline)

    came: list[set[int]] = [set() for _ in layers]
    for now, delivered in link.run(sender, receiver, submit):
        for pdu in delivered:
            number = int.from_bytes(pdu.data[:2], "big")
            if now <= number / RATE + LIFETIME_S:
                came[pdu.data[2]].add(number)

    raw, places = shown_pictures(layers, came, pattern.parent)
    source = ["frozen" if place is None else "enhancement" if place else "base" for place in places]
    return Shown(policy, psnr(raw, pattern), raw, source, kbits)


def during_fade(values: NDArray[Any]) -> NDArray[Any]:
    """Those of the pictures in the fade."""
    times = np.arange(len(values)) / RATE
    return values[(times >= FADE_S[0]) & (times < FADE_S[1] + RAMP_S)]


def summary(shown: Shown) -> dict[str, Any]:
    """In numbers."""
    fading = during_fade(shown.psnr_db)
    sources = during_fade(np.array(shown.source))
    return {
        "policy": shown.policy,
        "psnr_db_mean": float(shown.psnr_db.mean()),
        "psnr_db_mean_in_fade": float(fading.mean()),
        "psnr_db_least": float(shown.psnr_db.min()),
        "share_below_30_db": float((shown.psnr_db < 30).mean()),
        "share_below_30_db_in_fade": float((fading < 30).mean()),
        "pictures": {name: shown.source.count(name) for name in ("enhancement", "base", "frozen")},
        "pictures_in_fade": {name: int((sources == name).sum()) for name in ("enhancement", "base", "frozen")},
    }


def plot(all_shown: list[Shown], snr_db: NDArray[np.float64], path: Path) -> None:
    """PSNR over time, above the SNR."""
    from matplotlib.figure import Figure  # noqa: PLC0415  # only who wants a picture

    figure = Figure(figsize=(10, 6), layout="constrained")
    above, middle, below = figure.subplots(3, 1, sharex=True, height_ratios=(3, 1, 1))
    for shown, style in zip(all_shown, (":", "--", "-", "-."), strict=True):
        times = np.arange(len(shown.psnr_db)) / RATE
        above.plot(times, shown.psnr_db, style, label=shown.policy)
        middle.step(times, shown.kbits, style, where="post")
    above.axhline(30, color="k", linewidth=0.7)
    above.set(ylabel="PSNR (dB)", ylim=(0, 65), title="what is shown, against the test pattern")
    above.legend(ncols=4, loc="lower left")
    middle.set(ylabel="enhancement\n(kbit/s)")
    below.plot(SLOT_S * np.arange(len(snr_db)), snr_db, linewidth=0.7)
    below.set(ylabel="SNR (dB)", xlabel="time (s)")
    for axes in (above, middle, below):
        axes.axvspan(*FADE_S, alpha=0.1)
        axes.grid(True, alpha=0.3)
    figure.savefig(path, dpi=110)


def draw_pictures(all_shown: list[Shown], pattern: Path, path: Path) -> None:
    """What is shown before, in and after the fade."""
    from matplotlib.figure import Figure  # noqa: PLC0415  # only who wants a picture

    moments = (3.0, 5.0, 6.5, 8.5)
    rows = [("sent", pattern.read_bytes()), *((shown.policy, shown.raw) for shown in all_shown)]
    figure = Figure(figsize=(3.2 * len(moments), 1.95 * len(rows)), layout="constrained")
    for axes_row, (name, raw) in zip(figure.subplots(len(rows), len(moments)), rows, strict=True):
        for axes, moment in zip(axes_row, moments, strict=True):
            number = round(moment * RATE)
            axes.imshow(rgb(raw, number, pattern.parent))
            axes.set(xticks=[], yticks=[], title=f"{name}, {moment:g} s")
    figure.savefig(path, dpi=75)


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--seconds", type=float, default=12.0, help="of the video (default: %(default)g)")
    add("--snr-db", type=float, default=18.0, help="mean, before the fade (default: %(default)g)")
    add("--doppler", type=float, default=5.0, help="largest Doppler shift in Hz (default: %(default)g)")
    add("--seeds", type=int, default=1, help="how many fading channels; plots show the first (default: %(default)s)")
    add("--output", type=Path, help="JSON")
    add("--plot", type=Path, help="picture of the PSNR over time")
    add("--frames", type=Path, help="picture of what is shown")
    options = parser.parse_args()
    if options.seconds < FADE_S[1] + 1 or options.seeds < 1:
        parser.error(f"--seconds of {FADE_S[1] + 1:g} or more and --seeds of 1 or more expected")
    return options


def main() -> int:
    """Send, decode and show; the exit status."""
    options = parse_options()
    try:
        check_folders(options.output)
        check_picture(options.plot)
        check_picture(options.frames)
        results = measure(options)
    except (ValueError, ImportError, OSError) as error:
        print(f"video: {error}", file=sys.stderr)
        return 1
    print("policy           PSNR mean   in fade   least   below 30 dB   in fade: enhancement  base  frozen")
    for one in results:
        there = one["pictures_in_fade"]
        print(
            f"{one['policy']:15}  {one['psnr_db_mean']:6.1f} dB  {one['psnr_db_mean_in_fade']:5.1f} dB  "
            f"{one['psnr_db_least']:4.1f} dB  {one['share_below_30_db']:11.3f}  "
            f"{there['enhancement']:20}  {there['base']:4}  {there['frozen']:6}"
        )
    if options.output:
        settings = {name: str(value) for name, value in vars(options).items()}
        options.output.write_text(json.dumps({"settings": settings, "results": results}, indent=1) + "\n")
    return 0


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """All ways of scheduling, over each of the channels."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        pattern = make_pattern(Path(folder), options.seconds)
        layers = [encode(pattern, kbits) for kbits in (BASE_KBITS, *ENHANCEMENT_KBITS)]
        for seed in range(options.seeds):
            all_shown = []
            for policy in POLICIES:
                link = LossyLink(options.seconds + 1, fade(options.snr_db), doppler=options.doppler, seed=seed)
                all_shown.append(show(policy, layers, link, pattern, seed))
                results.append({"seed": seed} | summary(all_shown[-1]))
            if seed == 0 and options.plot:
                plot(all_shown, link.snr_db[: int(options.seconds / SLOT_S)], options.plot)
            if seed == 0 and options.frames:
                draw_pictures(all_shown, pattern, options.frames)
    return results


if __name__ == "__main__":
    sys.exit(main())
