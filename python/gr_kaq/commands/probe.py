# SPDX-License-Identifier: GPL-3.0-or-later
"""`kaq probe`: how much noise in one band at a time receivers stand, and the channel that follows."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..channels.profiles import PROFILES
from ..detection.detectors import load_detector
from ..frames.frame_format import EVERYWHERE, FFT_SIZES, PARTS, FrameFormat
from ..signals.constellation import CONSTELLATIONS
from .arguments import number, parse_seed, parse_size, whole_number
from .long_run import check_folders, exit_status, import_progress
from .optional import import_optional

if TYPE_CHECKING:
    from ..probes.channel_fit import Channel
    from ..probes.probe import Probe, ProbedReceiver
    from ..probes.probed_link import Receiver

__all__ = ["add_parser"]

AXES = ("carriers", "delay", "space", "symbols")
HEAT_FRAMES, HEAT_STEP_DB, HEAT_MARGIN_DB = 20, 3.0, 9.0


def add_parser(commands: Any) -> None:
    """Add `probe` to the subcommands of an ArgumentParser."""
    command = commands.add_parser(
        "probe",
        help="find what noise receivers are deaf to",
        description="Probe receivers with noise in one band at a time: of carriers, of delays of the channel estimate, "
        "of directions, or of OFDM symbols. For each band it finds the power at which so many blocks are wrong, "
        "relative to the received signal, and from these the bandwidth, centre and peak of each receiver's channel. "
        "All see the same frames. Ctrl-C prints the receivers that are done.",
    )
    add = command.add_argument
    add("--axis", choices=AXES, default="carriers", help="what is divided into bands (default %(default)s)")
    add("--bands", type=whole_number, help="how many (default: 13 of carriers, 32 of delays, 14 symbols)")
    add(
        "--on",
        choices=(EVERYWHERE, *PARTS),
        default=EVERYWHERE,
        help="where the noise is, with --axis carriers (default %(default)s)",
    )
    add("--receivers", nargs="+", default=["ls", "lmmse"], metavar="ESTIMATOR", help="estimators (default: ls lmmse)")
    add("--detectors", nargs="+", default=["auto"], metavar="NAME", help="each with every estimator (default: auto)")
    add(
        "--known-statistics",
        action="store_true",
        help="noise variance, delay spread and Doppler as they are without the interference, instead of estimates",
    )
    add("--target", type=number(0.001, 0.9), default=0.1, help="block error rate of a threshold (default %(default)s)")
    add("--size", type=parse_size, default=(2, 2), help="receive antennas x streams (default 2x2)")
    add("--fft-size", type=int, choices=FFT_SIZES, default=FFT_SIZES[0], help="carriers (default %(default)s)")
    add("--constellation", choices=CONSTELLATIONS, default="16qam", help="of every stream (default %(default)s)")
    add("--snr", type=number(-20, 100), default=25.0, metavar="DB", help="of white noise (default %(default)g)")
    add("--channel", choices=PROFILES, default="tdl-a", help="profile of the fading (default %(default)s)")
    add("--delay-spread", type=number(0, 1e-5), default=100e-9, metavar="S", help="in seconds (default %(default)g)")
    add("--doppler", type=number(0, 2000), default=200.0, metavar="HZ", help="in Hz (default %(default)g)")
    add("--frames", type=whole_number, default=2000, help="at most for a threshold (default %(default)s)")
    add(
        "--max-error",
        type=number(0.01, 10),
        default=0.3,
        metavar="DB",
        help="standard error of a threshold that is enough (default %(default)g)",
    )
    add("--seed", type=parse_seed, default=1, help="of channels, payloads and noise (default 1)")
    add("--json", type=Path, metavar="FILE", help="write the figures there, too")
    add("--plot", type=Path, metavar="FOLDER", help="write sensitivity.png and heat_map.png there")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    progress_bar = import_progress()
    import_optional("scipy.optimize", "it", "python3-scipy")
    if options.plot:  # said now, and not after minutes of simulation
        import_optional("matplotlib.figure", "--plot", "python3-matplotlib")
    check_folders(options.json)
    if options.plot and not options.plot.is_dir():
        raise ValueError(f"{options.plot}: the folder does not exist")
    from ..probes.axes import make_axis  # noqa: PLC0415 - SciPy is optional
    from ..probes.probe import Probe, TargetUnreachable  # noqa: PLC0415
    from ..probes.probed_link import Link, Receiver  # noqa: PLC0415

    num_rx, num_tx = options.size
    link = Link(
        FrameFormat(num_tx, options.fft_size, options.constellation),
        num_rx,
        snr_db=options.snr,
        profile=options.channel,
        delay_spread=options.delay_spread,
        doppler=options.doppler,
        seed=options.seed,
    )
    axis = make_axis(link, options.axis, options.bands, options.on)
    probe = Probe(axis, target=options.target, num_frames=options.frames, max_error_db=options.max_error)
    detectors = [load_detector(name, constellation=options.constellation) for name in options.detectors]
    for detector in detectors:
        detector.at_size(num_rx, num_tx)  # which raises now, and not after the first frames
    receivers = [
        Receiver(link, estimator, detector, options.known_statistics)
        for detector in detectors
        for estimator in options.receivers
    ]
    results: list[ProbedReceiver] = []
    refused: list[str] = []
    interrupted = False
    with progress_bar(total=len(receivers) * len(axis.edges), unit="band") as bar:
        try:
            for receiver in receivers:
                bar.set_description_str(receiver.name)
                try:
                    results.append(probe.run(receiver, lambda band: bar.update()))
                except TargetUnreachable as error:
                    refused.append(str(error))
                    bar.update(len(axis.edges))
        except KeyboardInterrupt:
            interrupted = True
    title = (
        f"{num_rx}x{num_tx}, {options.constellation}, {options.channel}, {options.snr:g} dB, {options.axis}"
        f"{'' if options.on == EVERYWHERE else f' on {options.on}'}, {options.target:.0%} block errors"
    )
    print(title)
    for result in results:
        _print_bands(result)
    _print_channels(results, axis.unit)
    for reason in refused:
        print(f"refused: {reason}")
    if options.json:
        settings = {key: value for key, value in vars(options).items() if key not in ("run", "json", "plot", "command")}
        content = {**settings, "unit": axis.unit, "refused": refused, "receivers": [each.as_json() for each in results]}
        options.json.write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    if options.plot and results and not interrupted:
        done = [r for r in receivers if (r.estimator, r.detector.name) in {(x.estimator, x.detector) for x in results}]
        _plot(options.plot, probe, done, results, title, progress_bar)
    if not results and not interrupted:
        return 2
    return exit_status(interrupted)


def _print_bands(result: ProbedReceiver) -> None:
    clean = f"{result.clean.errors} of {result.clean.bits} blocks wrong"
    print(f"\n{result.estimator} + {result.detector}; without interference {clean}")
    with_response = any(math.isfinite(band.response_db) for band in result.bands)
    head = "   from      to   power, dB      density, dB  frames"
    print(head + ("  response, dB    analytic" if with_response else ""))
    for band in result.bands:
        threshold = band.threshold
        line = f"{band.low:7.1f} {band.high:7.1f}  "
        if math.isfinite(threshold.level_db):
            line += f"{threshold.level_db:6.2f} ± {threshold.error_db:4.2f}       {band.density_db:6.2f}"
            line += f"   {threshold.frames:5d}"
        else:
            line += f"not reached                 {threshold.frames:5d}"
        if with_response:
            line += f"  {band.response_db:6.2f} ± {band.response_error_db:4.2f}     {band.analytic_db:6.2f}"
        if band.fallbacks:
            line += f"  {band.fallbacks:.0%} left to LMMSE"
        print(line)


def _print_channels(results: Iterable[ProbedReceiver], unit: str) -> None:
    """The comparison: bandwidth, centre and peak of each, with 95 % intervals."""
    rows = [("receiver", "by equal", f"bandwidth, {unit}", f"half-power width, {unit}", f"centre, {unit}", "peak, dB")]
    for result in results:
        for name, channel in (("power", result.of_power), ("density", result.of_density)):
            if channel is not None:
                rows.append((f"{result.estimator} + {result.detector}", name, *_channel_row(channel)))
    if len(rows) > 1:
        print()
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        for row in rows:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _channel_row(channel: Channel) -> tuple[str, str, str, str]:
    def text(values: Sequence[float]) -> str:
        value, low, high = (f"{v:.1f}" if math.isfinite(v) else "flat" for v in values)
        return f"{value} [{low}, {high}]"

    centre = "-" if channel.flat else text(channel.centre)
    return text(channel.bandwidth), text(channel.half_power_width), centre, text(channel.peak_db)


def _plot(
    folder: Path,
    probe: Probe,
    receivers: Sequence[Receiver],
    results: Sequence[ProbedReceiver],
    title: str,
    progress_bar: Callable[..., AbstractContextManager[Any]],
) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415

    from ..probes.plots import plot_heat_map, plot_sensitivity  # noqa: PLC0415

    figure = Figure(figsize=(8, 5), layout="constrained")
    plot_sensitivity(figure, probe.axis, results, title, folder / "sensitivity.png")
    reached = [b.threshold.level_db for r in results for b in r.bands if math.isfinite(b.threshold.level_db)]
    if not reached:
        return
    low, high = min(reached) - HEAT_MARGIN_DB, max(reached) + HEAT_MARGIN_DB
    levels = np.arange(HEAT_STEP_DB * round(low / HEAT_STEP_DB), high + HEAT_STEP_DB / 2, HEAT_STEP_DB)
    rates = np.zeros((len(receivers), len(probe.axis.edges), len(levels)))
    with progress_bar(total=rates.size, unit="cell", desc="heat map") as bar:
        for place in np.ndindex(rates.shape):
            receiver, band, level = place
            rates[place] = probe.block_error_rate(receivers[receiver], band, float(levels[level]), HEAT_FRAMES)
            bar.update()
    figure = Figure(figsize=(2 + 3.5 * len(receivers), 4), layout="constrained")
    names = [receiver.name for receiver in receivers]
    plot_heat_map(figure, probe.axis, names, levels.tolist(), rates, probe.target, folder / "heat_map.png")
