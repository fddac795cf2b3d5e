# SPDX-License-Identifier: GPL-3.0-or-later
"""`kaq info`: the card of one detector, of a learned channel estimator, or what `auto` chooses and why."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any

from ..detection.auto_detector import AUTO_DETECTORS
from ..detection.choice import ELSEWHERE, PURPOSES, RULES, choose
from ..detection.detectors import list_detectors, load_model
from ..detection.linear_detector import LINEAR_DETECTORS
from ..detection.model_card import facts, model_card
from ..estimation.estimator_card import estimator_card, estimator_facts
from ..estimation.learned import SUFFIX as ESTIMATOR_SUFFIX
from ..estimation.learned import LearnedEstimator, list_estimators
from ..signals.constellation import CONSTELLATIONS
from .arguments import parse_size

__all__ = ["add_parser", "auto_facts"]


def add_parser(commands: Any) -> None:
    """Add `info` to the subcommands of an ArgumentParser."""
    command = commands.add_parser(
        "info",
        help="show the card of a detector or a channel estimator",
        description="Show what a model file says of its detector: layers, widths, laws, training, measured BER with "
        "95 % intervals, limits. As Markdown. Of auto and auto-fast: which detector they take for which size, and why. "
        "Of a learned channel estimator: its error, and method, bits and ranges of each product (needs ONNX Runtime).",
    )
    command.add_argument(
        "detector",
        metavar="NAME",
        help="name of a detector or channel estimator, or path of a *.kaq.json or *.onnx file",
    )
    command.add_argument(
        "--size",
        type=parse_size,
        metavar="NxM",
        help="of auto and auto-fast: the choice for N receive antennas and M streams only",
    )
    command.add_argument(
        "--constellation", choices=CONSTELLATIONS, help="of auto and auto-fast: the choice for this constellation only"
    )
    command.add_argument("--json", action="store_true", help="the same facts as JSON")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.detector in AUTO_DETECTORS:
        return _run_auto(options.detector, options.size, options.constellation, options.json)
    if options.size or options.constellation:
        raise ValueError(f"--size and --constellation belong to {' and '.join(AUTO_DETECTORS)}")
    if options.detector in list_estimators() or options.detector.endswith(ESTIMATOR_SUFFIX):
        facts_of_estimator = estimator_facts(LearnedEstimator(options.detector))
        print(json.dumps(facts_of_estimator, indent=2) if options.json else estimator_card(facts_of_estimator))
        return 0
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


def _run_auto(name: str, size: tuple[int, int] | None, constellation: str | None, as_json: bool) -> int:
    """The table behind a detector that chooses, or its choices for one size."""
    carried = [constellation] if constellation else list(CONSTELLATIONS)
    if size:
        choices = [{"constellation": c, **vars(choose(name, c, *size))} for c in carried]
        if as_json:
            print(json.dumps({"name": name, "num_rx": size[0], "num_tx": size[1], "choices": choices}, indent=2))
            return 0
        for choice in choices:
            print(f"{size[0]}x{size[1]}, {choice['constellation']}: {choice['detector']} ({choice['reason']})")
        return 0
    print(json.dumps(auto_facts(name, carried), indent=2) if as_json else "\n".join(_table(name, carried)))
    return 0


def auto_facts(name: str, constellations: Sequence[str] = tuple(CONSTELLATIONS)) -> dict[str, Any]:
    """What `auto` or `auto-fast` chooses for these constellations, and why; JSON types only."""
    return {
        "name": name,
        "network": "auto",
        "chosen_by": PURPOSES[name],
        "rules": [vars(rule) for rule in RULES[name] if rule.constellation in constellations],
        "elsewhere": vars(ELSEWHERE),
    }


def _table(name: str, constellations: Sequence[str]) -> Iterator[str]:
    """The same as Markdown."""
    yield f"# {name}"
    yield ""
    yield f"Chooses a detector by size and constellation: {PURPOSES[name]}."
    yield ""
    yield "| constellation | streams | takes | why |"
    yield "|---|---|---|---|"
    for rule in RULES[name]:
        if rule.constellation in constellations:
            streams = (
                f"{rule.min_num_tx} to {rule.max_num_tx}" if rule.min_num_tx < rule.max_num_tx else rule.max_num_tx
            )
            tall = f", num_rx >= {rule.min_rx_per_tx:g} num_tx" if rule.min_rx_per_tx > 1 else ""
            yield f"| {rule.constellation} | {streams}{tall} | {rule.detector} | {rule.reason} |"
    yield f"| any | elsewhere | {ELSEWHERE.detector} | {ELSEWHERE.reason} |"
