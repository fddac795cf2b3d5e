# SPDX-License-Identifier: GPL-3.0-or-later
"""`kaq info`: the card of one detector."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ..detection.detectors import list_detectors, load_model
from ..detection.linear_detector import LINEAR_DETECTORS
from ..detection.model_card import facts, model_card

__all__ = ["add_parser"]


def add_parser(commands: Any) -> None:
    """Add `info` to the subcommands of an ArgumentParser."""
    command = commands.add_parser(
        "info",
        help="show a detector's card",
        description="Show what a model file says of its detector: layers, widths, laws, training, measured BER with "
        "95 % intervals, limits. As Markdown.",
    )
    command.add_argument("detector", metavar="NAME", help="name of a detector, or path of a *.kaq.json file")
    command.add_argument("--json", action="store_true", help="the same facts as JSON")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.detector in LINEAR_DETECTORS:
        raise ValueError(f"{options.detector} is a formula and has no model file; docs/guide/detectors.md describes it")
    model = load_model(options.detector)
    if options.json:
        print(json.dumps(facts(model), indent=2))
        return 0
    twin = f"{model.name}-fp"
    # of a file of one's own, the twin is its own neighbour at most: a shipped one may be of another training
    shipped = options.detector == model.name and twin in list_detectors()
    print(model_card(model, load_model(twin) if shipped else None, level=1))
    return 0
