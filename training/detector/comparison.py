# SPDX-License-Identifier: GPL-3.0-or-later
"""What a comparison of quantization methods trains, as its file says.

A comparison is a YAML file:

    kind: comparison
    base: {preset: NAME, KEY: VALUE, ...}     a training configuration, whole or as changes to a preset
    seeds: [1, 2, 3]
    bits: [8, 4, 3, 2]                        of activations and matrix alike, where a method does not say otherwise
    methods:
      NAME: {KEY: VALUE, ...}                 what the method changes; keys nested, or with dots
      NAME: {only_bits: [4, 2], ...}          at these widths only

A cell is one method at one width from one seed. Every seed has one full-precision twin, which all its cells
start from. What the twin depends on is therefore for all methods to share, and no method changes it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import ConfigError, find, quote, read_document, set_key
from ..optimization import Stage
from ..quantization.mmd import Mmd
from .config import Config, Quantizer
from .train import NO_PART_IN_TWIN

__all__ = ["Cell", "Comparison", "load"]

KIND = "comparison"
KEYS = ("kind", "base", "seeds", "bits", "methods")
MAX_CELLS = 512  # a product of long lists would not end


@dataclass(frozen=True)
class Cell:
    """One method at one width from one seed."""

    method: str
    bits: int
    seed: int
    config: Config

    @property
    def name(self) -> str:
        """Of its directory."""
        return f"{self.method}-{self.bits}bit-seed{self.seed}"


@dataclass(frozen=True)
class Comparison:
    """What a comparison trains.

    Attributes:
        twins: configuration of the full-precision twin of each seed.
        cells: in the order of widths, methods, seeds.
    """

    twins: dict[int, Config]
    cells: tuple[Cell, ...]


def load(path: Path, overrides: Sequence[str] = ()) -> Comparison:
    """Read a comparison.

    Args:
        path: of a YAML file.
        overrides: KEY=VALUE, such as ``base.quantized.iterations=100`` or ``seeds=[1]``.

    Raises:
        ConfigError: the file is missing or no YAML, or a key is missing, unknown or does not fit.
    """
    document = read_document(path, overrides)
    if document.get("kind", KIND) != KIND:
        raise ConfigError(f"{path}: key kind: {KIND} expected, got {quote(document['kind'])}")
    if set(document) != set(KEYS):
        raise ConfigError(f"{path}: exactly the keys {', '.join(KEYS)} expected, got {quote(list(document))}")
    base, methods = document["base"], document["methods"]
    if not isinstance(base, dict) or not isinstance(methods, dict) or not methods:
        raise ConfigError(f"{path}: key base and key methods: a mapping expected")
    seeds, bits = (_integers(path, document[key], key) for key in ("seeds", "bits"))
    if "preset" in base:
        base = {**base}
        preset = read_document(find(base.pop("preset")))
        for key, value in base.items():
            set_key(preset, key, value)
        base = preset
    widths = {}
    for method, changes in methods.items():
        if not isinstance(changes, dict):
            raise ConfigError(f"{path}: key methods.{method}: a mapping expected, got {quote(changes)}")
        widths[method] = _integers(path, changes.get("only_bits", bits), f"methods.{method}.only_bits")
    if len(seeds) * sum(map(len, widths.values())) > MAX_CELLS:
        raise ConfigError(f"{path}: at most {MAX_CELLS} seeds times widths of all methods expected")
    reference = {seed: _config(path, base, {}, "base", bits[0], seed) for seed in seeds}
    cells = []
    for width in dict.fromkeys([*bits, *(b for own in widths.values() for b in own)]):
        for method, changes in methods.items():
            changes = {key: value for key, value in changes.items() if key != "only_bits"}
            for seed in seeds if width in widths[method] else ():
                config = _config(path, base, changes, f"methods.{method}", width, seed)
                twin, own = reference[seed].to_dict(), config.to_dict()
                for key in own.keys() - NO_PART_IN_TWIN:
                    if own[key] != twin[key]:
                        raise ConfigError(
                            f"{path}: key methods.{method}.{key}: changes the full-precision twin, which is for all"
                        )
                cells.append(Cell(str(method), width, seed, config))
    return Comparison({seed: _twin_config(config) for seed, config in reference.items()}, tuple(cells))


def _integers(path: Path, value: Any, key: str) -> list[int]:
    if not isinstance(value, list) or not value or not all(type(item) is int for item in value):
        raise ConfigError(f"{path}: key {key}: a list of whole numbers expected, got {quote(value)}")
    return value


def _config(path: Path, base: dict[str, Any], changes: dict[str, Any], key: str, bits: int, seed: int) -> Config:
    document = json.loads(json.dumps(base)) | {"activation_bits": bits, "matrix_bits": bits}
    try:
        for name, value in changes.items():
            set_key(document, str(name), value)
        name = f"{key.removeprefix('methods.')}-{bits}bit-seed{seed}"
        return Config.from_document({**document, "name": name, "seed": seed})
    except ConfigError as error:
        raise ConfigError(f"{path}: {key}: {error}") from None


def _twin_config(config: Config) -> Config:
    """The configuration without what a twin does not depend on, so that it stays the same when that changes."""
    return dataclasses.replace(
        config,
        name=f"twin-seed{config.seed}",
        activation_bits=8,
        matrix_bits=8,
        quantized=Stage(0, 0.0),
        quantizer=Quantizer(),
        mmd=Mmd(),
    )
