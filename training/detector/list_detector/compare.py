# SPDX-License-Identifier: GPL-3.0-or-later
"""Laws of the quantization step side by side, from one full-precision twin.

A comparison is a YAML file:

    kind: comparison
    base: {preset: NAME, KEY: VALUE, ...}     a list detector's configuration, whole or as changes to a preset
    bits: [8, 6, 4]                           of the factor's entries
    methods:
      NAME: {KEY: VALUE, ...}                 what the method changes: step, mmd, quantized

The twin is trained once. Each method starts from it at each width, and all are measured on the same transmissions.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...config import ConfigError, InvalidKey, find, read_document, set_key
from . import evaluate
from .config import ListConfig
from .export import list_model
from .train import ListRun, train

__all__ = ["compare", "configurations"]

RESULTS = "results.json"
OF_METHODS = frozenset({"step", "mmd", "quantized"})


def configurations(path: Path, overrides: Sequence[str] = ()) -> list[ListConfig]:
    """One for each width and method, NAME-BITSbit.

    Raises:
        ConfigError: a key is missing, unknown or does not fit.
    """
    document = read_document(path, overrides)
    missing = [key for key in ("base", "bits", "methods") if not document.get(key)]
    if missing:
        raise ConfigError(f"{path}: key {missing[0]}: missing")
    base = dict(document["base"])
    try:
        whole = read_document(find(base.pop("preset"))) if "preset" in base else {}
        for key, value in base.items():
            set_key(whole, key, value)
        out = []
        for bits in document["bits"]:
            for name, changes in document["methods"].items():
                changed = json.loads(json.dumps(whole))
                for key, value in (changes or {}).items():
                    if key.split(".")[0] not in OF_METHODS:
                        raise InvalidKey(f"methods.{name}.{key}", f"one of {', '.join(sorted(OF_METHODS))} expected")
                    set_key(changed, key, value)
                changed |= {"matrix_bits": bits, "name": f"{name}-{bits}bit"}
                out.append(ListConfig.from_document(changed))
        return out
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def compare(path: Path, overrides: Sequence[str], directory: Path) -> list[dict[str, Any]]:
    """Train the twin and all methods, measure them, and write results.json; see `evaluate.measure` for what is in it.

    Raises:
        ConfigError: the comparison cannot be used.
    """
    configs = configurations(path, overrides)
    first = ListRun.start(
        dataclasses.replace(configs[0], quantized=dataclasses.replace(configs[0].quantized, iterations=0))
    )
    train(first)
    models = [dataclasses.replace(list_model(first.config, first.twin), name="full-precision")]
    for config in configs:
        run = ListRun.start(config)
        run.twin.load_state_dict(first.twin.state_dict())
        train(run, twin=False)
        model = list_model(config, run.network)
        print(f"{config.name}: step min({model.step.alpha:g}, {model.step.gamma:g} * largest entry)")
        models.append(model)
    results = evaluate.measure(configs[0], models)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / RESULTS).write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    return results
