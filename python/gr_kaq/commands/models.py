# SPDX-License-Identifier: GPL-3.0-or-later
"""`kaq models`: which detectors there are."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from ..detection.auto_detector import AUTO_DETECTORS
from ..detection.choice import PURPOSES
from ..detection.detectors import list_detectors, load_model
from ..detection.linear_detector import LINEAR_DETECTORS
from ..detection.model_card import facts, kind, reference_point, widths
from ..detection.model_file import Model
from .info import auto_facts

__all__ = ["add_parser"]

HEAD = ("name", "network", "points", "bits", "up to", "BER", "LMMSE", "at")
NETWORKS = {"lmmse": "LMMSE", "zf": "zero forcing"} | dict.fromkeys(AUTO_DETECTORS, "by size")


def add_parser(commands: Any) -> None:
    """Add `models` to the subcommands of an ArgumentParser."""
    command = commands.add_parser(
        "models",
        help="list the detectors",
        description="List the detectors that ship with gr-kaq, each with its measured BER at one point: at the first "
        "size and channel that it was measured on, where the BER is nearest to 1e-2. kaq info auto says which of them "
        "auto takes for which size.",
    )
    command.add_argument("--json", action="store_true", help="all that is known of each, as JSON")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    without_file = (*AUTO_DETECTORS, *LINEAR_DETECTORS)
    detectors = {name: None if name in without_file else load_model(name) for name in list_detectors()}
    if options.json:
        known = [facts(model) if model else _facts_without_file(name) for name, model in detectors.items()]
        print(json.dumps(known, indent=2))
        return 0
    rows: list[tuple[str, ...]] = [HEAD]
    for name, model in detectors.items():
        rows.append(_row(model) if model else (name, NETWORKS[name], "any", "", "any", "", "", ""))
    columns = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, columns, strict=True)).rstrip())
    print()
    for name in AUTO_DETECTORS:
        print(f"{name} takes one of the others, by size: {PURPOSES[name]}")
    return 0


def _facts_without_file(name: str) -> dict[str, Any]:
    return auto_facts(name) if name in AUTO_DETECTORS else {"name": name, "network": "linear"}


def _row(model: Model) -> tuple[str, ...]:
    size = f"{model.max_num_rx}x{model.max_num_tx}"
    if model.min_rx_per_tx > 1:
        size += f", rx >= {model.min_rx_per_tx:g} tx"
    return (
        model.name,
        kind(model),
        model.constellation.name,
        widths(model) if model.quantized else "float",
        size,
        *_measured(reference_point(model)),
    )


def _measured(point: Mapping[str, Any] | None) -> tuple[str, str, str]:
    if point is None:
        return "", "", ""
    own, lmmse = (
        f"{point[errors] / point['bits']:.4f}" if errors in point else ""
        for errors in ("bit_errors", "lmmse_bit_errors")
    )
    return own, lmmse, f"{point['num_rx']}x{point['num_tx']}, {point['snr_db']:g} dB"
