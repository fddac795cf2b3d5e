# SPDX-License-Identifier: GPL-3.0-or-later
"""A training run as a YAML file: every key, its default and its meaning. Unknown keys are errors."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gr_kaq.constellation import CONSTELLATIONS

__all__ = ["ROOT", "Channel", "Config", "ConfigError", "Stage", "load", "preset_names"]

ROOT = Path(__file__).resolve().parent.parent
"""The repository. Paths in a configuration are relative to it."""

PRESETS = Path(__file__).resolve().parent / "configs"


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the key."""


@dataclass(frozen=True)
class Channel:
    """Where channels come from, see `batches`.

    Args:
        kind: ``"rayleigh"``, ``"kronecker"`` or ``"recorded"``.
        correlation: kronecker: highest correlation of neighbouring antennas; each channel draws its own below it.
        file: recorded: archive with `h` (packets, subcarriers, num_rx, num_tx, 2).
        training_packets: recorded: first and one past the last packet to train on. The others are held out.
    """

    kind: str = "rayleigh"
    correlation: float = 0.0
    file: str | None = None
    training_packets: tuple[int, int] | None = None


@dataclass(frozen=True)
class Accepts:
    """Antenna counts that the exported detector takes."""

    max_num_rx: int
    max_num_tx: int
    min_rx_per_tx: float = 1.0


@dataclass(frozen=True)
class Stage:
    """One of the two stages.

    Args:
        iterations: batches.
        learning_rate: Adam's, at the start. It falls to zero along a cosine, or
        halve_every: is halved every so many iterations.
    """

    iterations: int
    learning_rate: float
    halve_every: int | None = None


@dataclass(frozen=True)
class Mmd:
    """The distribution match between the quantized network and its full-precision twin.

    Args:
        epsilon: its weight in the loss; 0 leaves plain quantization-aware training.
        bandwidth: ``"ascent"`` (learned, maximises the MMD), ``"fixed"`` (median heuristic, three kernels) or
            ``"descent"`` (learned along with everything else, as published; goes blind).
    """

    epsilon: float = 0.1
    bandwidth: str = "ascent"


@dataclass(frozen=True)
class Evaluation:
    """BER at the end: bits are simulated until every detector has `min_errors` errors, or up to `max_bits`."""

    snr_db: tuple[float, ...]
    min_errors: int = 1000
    max_bits: int = 20_000_000


@dataclass(frozen=True)
class Config:
    """One training run.

    Args:
        name: of the exported model; its full-precision twin is NAME-fp.
        network: ``"admm"`` or ``"pgd"``.
        layers: K.
        constellation: ``"qpsk"``, ``"16qam"``, ``"64qam"`` or ``"256qam"``.
        activation_bits, matrix_bits: 2 to 8.
        sizes: [num_rx, num_tx] that the batches are drawn from, in equal shares.
        accepts: antenna counts that the exported detector takes.
        snr_db: lowest and highest SNR of the batches, uniform in dB.
        full_precision: the stage that trains the twin.
        quantized: the stage that trains the quantized network, which starts as its twin.
        evaluation: where BER is measured.
        channel: channel model.
        proximal: ``"ramp"`` (constellation-aware), or ``"soft_threshold"`` (PGD-Net as published).
        laws: ``"dynamic"`` (alpha SNR^(-1/2) + gamma) or ``"static"`` (alpha = 0) for the network's parameters.
        step_law: the same for the quantization steps.
        mmd: distribution match.
        intermediate_weight: weight of the intermediate layers' mean squared error.
        batch: channels, and vectors per channel, of a batch.
        seed: of everything random.
    """

    name: str
    network: str
    layers: int
    constellation: str
    activation_bits: int
    matrix_bits: int
    sizes: tuple[tuple[int, int], ...]
    accepts: Accepts
    snr_db: tuple[float, float]
    full_precision: Stage
    quantized: Stage
    evaluation: Evaluation
    channel: Channel = Channel()
    proximal: str = "ramp"
    laws: str = "dynamic"
    step_law: str = "dynamic"
    mmd: Mmd = Mmd()
    intermediate_weight: float = 0.2
    batch: tuple[int, int] = (128, 4)
    seed: int = 1

    def __post_init__(self) -> None:
        _one_of("network", self.network, ("admm", "pgd"))
        _one_of("constellation", self.constellation, CONSTELLATIONS)
        _one_of("proximal", self.proximal, ("ramp", "soft_threshold") if self.network == "pgd" else ("ramp",))
        _one_of("laws", self.laws, ("static", "dynamic"))
        _one_of("step_law", self.step_law, ("static", "dynamic"))
        _one_of("mmd.bandwidth", self.mmd.bandwidth, ("ascent", "fixed", "descent"))
        _one_of("channel.kind", self.channel.kind, ("rayleigh", "kronecker", "recorded"))
        for key, bits in (("activation_bits", self.activation_bits), ("matrix_bits", self.matrix_bits)):
            _one_of(key, bits, range(2, 9))
        positive = {
            "layers": self.layers,
            "batch": min(self.batch),
            "sizes": min(map(min, self.sizes), default=0),
            "full_precision.iterations": self.full_precision.iterations,
            "quantized.iterations": self.quantized.iterations,
        }
        for key, value in positive.items():
            if value < 1:
                raise ConfigError(f"key {key}: has to be at least 1")
        if self.snr_db[0] >= self.snr_db[1]:
            raise ConfigError("key snr_db: the first value has to be below the second")
        if not 0 <= self.channel.correlation < 1:
            raise ConfigError("key channel.correlation: has to be at least 0 and below 1")
        if (self.channel.kind == "recorded") != (self.channel.file is not None):
            raise ConfigError("key channel.file: goes with kind: recorded")
        if self.channel.kind == "recorded" and self.channel.training_packets is None:
            raise ConfigError("key channel.training_packets: needed with kind: recorded")
        if self.channel.kind == "recorded" and len(self.sizes) > 1:
            raise ConfigError("key sizes: one size with kind: recorded")

    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON-compatible values."""
        return _plain(dataclasses.asdict(self))


def preset_names() -> list[str]:
    """Configurations that ship in training/configs/."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def load(source: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration.

    Args:
        source: path of a YAML file, or one of `preset_names()`.
        overrides: KEY=VALUE, a dot between nested keys, the value in YAML.

    Raises:
        ConfigError: the file is missing or no YAML, a key is unknown or missing, or a value does not fit.
    """
    path = PRESETS / f"{source}.yaml" if str(source) in preset_names() else Path(source)
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
        changes = {key: yaml.safe_load(value) for key, _, value in (text.partition("=") for text in overrides)}
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}; a path or one of {', '.join(preset_names())} expected"
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{path}: a mapping of keys expected")
    for key, value in changes.items():
        *parents, last = key.split(".")
        inner = document
        for parent in parents:
            inner = inner.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"key {key}: {parent} has no keys of its own")
        inner[last] = value
    try:
        return _build(Config, document, "")
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _one_of(key: str, value: Any, allowed: Any) -> None:
    if value not in allowed:
        raise ConfigError(f"key {key}: one of {', '.join(map(str, allowed))} expected, got {value!r}")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _build(cls: type, document: Any, prefix: str) -> Any:
    """A dataclass from a mapping, checked against its type hints."""
    if not isinstance(document, dict):
        raise ConfigError(f"key {prefix.rstrip('.')}: a mapping expected, got {document!r}")
    hints = typing.get_type_hints(cls)
    for key in document:
        if key not in hints:
            raise ConfigError(f"key {prefix}{key}: unknown; one of {', '.join(hints)} expected")
    for field in dataclasses.fields(cls):
        if field.name not in document and field.default is dataclasses.MISSING:
            raise ConfigError(f"key {prefix}{field.name}: missing")
    return cls(**{key: _convert(hints[key], value, prefix + str(key)) for key, value in document.items()})


def _convert(hint: Any, value: Any, key: str) -> Any:
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        hint = next(option for option in typing.get_args(hint) if option is not type(None))
    if dataclasses.is_dataclass(hint):
        assert isinstance(hint, type)
        return _build(hint, value, key + ".")
    if typing.get_origin(hint) is tuple:
        inner = typing.get_args(hint)
        if not isinstance(value, list | tuple) or (inner[-1] is not Ellipsis and len(value) != len(inner)):
            raise ConfigError(f"key {key}: a list{_length(inner)} expected, got {value!r}")
        inner = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        return tuple(_convert(h, v, key) for h, v in zip(inner, value, strict=True))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or isinstance(value, bool):
        raise ConfigError(f"key {key}: {hint.__name__} expected, got {value!r}")
    return value


def _length(inner: tuple[Any, ...]) -> str:
    return "" if inner[-1] is Ellipsis else f" of {len(inner)}"
