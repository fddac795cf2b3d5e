# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `kaq`: which detectors there are, what is known of one, how it does on a simulated link; recording."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence

from . import __version__, ber_command, record_command
from .detectors import LINEAR_DETECTORS, UnfoldedDetector, list_detectors, load_detector
from .model_card import facts, model_card, reference_point, sizes, widths
from .model_file import DetectorModel

__all__ = ["main"]

LINEAR_DESCRIPTIONS = {"lmmse": "LMMSE", "zf": "zero forcing"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, 2 for what it cannot do, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        status = options.run(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader, such as `head`, has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that Python's last flush does not complain
        return 0
    except (ValueError, OSError, ImportError) as error:
        print(f"kaq {options.command}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kaq", description="Low-bit MIMO detectors: list, explain, measure; record channels."
    )
    parser.add_argument("--version", action="version", version=f"gr-kaq {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser(
        "models",
        help="list the detectors",
        description="List the detectors that ship with gr-kaq, each with its measured BER at one point: at the first "
        "size and channel that it was measured on, where the BER is nearest to 1e-2.",
    )
    command.add_argument("--json", action="store_true", help="all that is known of each, as JSON")
    command.set_defaults(run=_models)

    command = commands.add_parser(
        "info",
        help="show a detector's card",
        description="Show what a model file says of its detector: layers, widths, laws, training, measured BER with "
        "95 % intervals, limits. As Markdown.",
    )
    command.add_argument("detector", metavar="NAME", help="name of a detector, or path of a *.kaq.json file")
    command.add_argument("--json", action="store_true", help="the same facts as JSON")
    command.set_defaults(run=_info)

    ber_command.add_parser(commands)
    record_command.add_parser(commands)
    return parser


def _models(options: argparse.Namespace) -> int:
    detectors = {name: None if name in LINEAR_DETECTORS else _model(name) for name in list_detectors()}
    if options.json:
        known = [facts(model) if model else {"name": name, "network": "linear"} for name, model in detectors.items()]
        print(json.dumps(known, indent=2))
        return 0
    rows: list[tuple[str, ...]] = [("name", "network", "K", "constellation", "bits", "antennas", "measured BER")]
    for name, model in detectors.items():
        rows.append(_row(model) if model else (name, LINEAR_DESCRIPTIONS[name], "", "any", "", "any", ""))
    columns = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, columns, strict=True)).rstrip())
    return 0


def _row(model: DetectorModel) -> tuple[str, ...]:
    point, measured = reference_point(model), ""
    if point is not None:
        measured = f"{point['bit_errors'] / point['bits']:.1e}"
        if "lmmse_bit_errors" in point:
            measured += f" (LMMSE {point['lmmse_bit_errors'] / point['bits']:.1e})"
        measured += f" at {point['num_rx']}x{point['num_tx']}, {point['snr_db']:g} dB"
    return (
        model.name,
        f"{model.network.upper()}-Net",
        str(len(model.layers)),
        model.constellation.name,
        widths(model) if model.quantized else "float",
        sizes(model),
        measured,
    )


def _info(options: argparse.Namespace) -> int:
    if options.detector in LINEAR_DETECTORS:
        raise ValueError(f"{options.detector} is a formula and has no model file; docs/detectors.md describes it")
    model = _model(options.detector)
    if options.json:
        print(json.dumps(facts(model), indent=2))
        return 0
    twin = f"{model.name}-fp"
    # of a file of one's own, the twin is its own neighbour at most: a shipped one may be of another training
    shipped = options.detector == model.name and twin in list_detectors()
    print(model_card(model, _model(twin) if shipped else None, level=1))
    return 0


def _model(name: str) -> DetectorModel:
    detector = load_detector(name, backend="reference")  # which needs no compiled kernel
    assert isinstance(detector, UnfoldedDetector)
    return detector.model
