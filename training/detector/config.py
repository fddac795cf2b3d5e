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

from gr_kaq.signals.constellation import CONSTELLATIONS

__all__ = [
    "ROOT",
    "Channel",
    "Config",
    "ConfigError",
    "CsiError",
    "Mmd",
    "Quantizer",
    "Stage",
    "build",
    "from_document",
    "load",
    "one_of",
    "plain",
    "preset_names",
    "read_document",
    "set_key",
]

ROOT = Path(__file__).resolve().parents[2]
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
        iterations: batches. 0 of the quantized stage is post-training quantization: its twin with calibrated steps.
        learning_rate: Adam's, at the start. It falls to zero along a cosine, or
        halve_every: is halved every so many iterations.
    """

    iterations: int
    learning_rate: float
    halve_every: int | None = None


@dataclass(frozen=True)
class CsiError:
    """What the receiver gets wrong in training, drawn for each channel; 0 draws nothing.

    See `gr_kaq.links.simulated_link.CsiError`.

    Args:
        snr_bias_db: lowest and highest difference of the estimated and the true SNR.
        channel: highest error variance of an entry of the channel estimate, in units of noise_var / num_tx.
    """

    snr_bias_db: tuple[float, float] = (0.0, 0.0)
    channel: float = 0.0


@dataclass(frozen=True)
class Quantizer:
    """The steps of the activations and of the matrix.

    Args:
        step: how training moves them: ``"straight_through"`` (the gradient of the fake quantization), ``"lsq"`` (the
            same, scaled as LSQ does), ``"pact"`` (the clip value's gradient and decay) or ``"fixed"`` (not at all).
        start: calibration on the twin's activations that they start from: ``"lsq"`` (2 mean|v| / sqrt(Qp), on one
            batch), ``"minmax"``, ``"percentile"`` or ``"mse"``.
        law: ``"dynamic"`` (alpha SNR^(-1/2) + gamma), ``"dynamic_positive"`` (alpha >= 0) or ``"static"`` (alpha = 0).
        streams: ``"common"`` (all streams have the step of the law) or ``"own"`` (each stream's step follows its error
            variance, and the columns of the matrix with it; see `gr_kaq.detection.quantization`). ADMM-Net.
        matrix_clip: largest matrix entry that is represented, over the largest of its row: ``"max"`` (1), ``"mse"``
            (least squared error of the twin's matrices) or ``"learned"`` (starts from that).
    """

    step: str = "straight_through"
    start: str = "lsq"
    law: str = "dynamic"
    streams: str = "common"
    matrix_clip: str = "max"


@dataclass(frozen=True)
class Mmd:
    """The distribution match between the quantized network and its full-precision twin.

    Args:
        epsilon: its weight in the loss; 0 leaves plain quantization-aware training.
        bandwidth: ``"ascent"`` (learned, maximises the MMD), ``"fixed"`` (median heuristic, three kernels) or
            ``"descent"`` (learned along with everything else, as published; goes blind).
        samples: ``"vector"`` (the activations of a received vector) or ``"scalar"`` (one of them).
        estimator: ``"full"`` (quadratic in the number of samples) or ``"linear"`` (pairs of samples, Gretton 2012).
    """

    epsilon: float = 0.1
    bandwidth: str = "ascent"
    samples: str = "vector"
    estimator: str = "full"


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
        quantizer: the activations' steps, and their law.
        mmd: distribution match.
        csi_error: of the receiver's estimates in training.
        candidates: of the exported detector, see docs/design.md; 0 to 16, ADMM-Net only. Has no part in training.
        initial_model: detector whose parameters training starts from: the name of a shipped one, or the path of a
            *.kaq.json file. The steps of its activations are calibrated anew. It is measured along with the others.
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
    quantizer: Quantizer = Quantizer()
    mmd: Mmd = Mmd()
    csi_error: CsiError = CsiError()
    candidates: int = 0
    initial_model: str | None = None
    intermediate_weight: float = 0.2
    batch: tuple[int, int] = (128, 4)
    seed: int = 1

    def __post_init__(self) -> None:
        one_of("network", self.network, ("admm", "pgd"))
        one_of("constellation", self.constellation, CONSTELLATIONS)
        one_of("proximal", self.proximal, ("ramp", "soft_threshold") if self.network == "pgd" else ("ramp",))
        one_of("laws", self.laws, ("static", "dynamic"))
        one_of("quantizer.step", self.quantizer.step, ("straight_through", "lsq", "pact", "fixed"))
        one_of("quantizer.start", self.quantizer.start, ("lsq", "minmax", "percentile", "mse"))
        laws = ("static",) if self.quantizer.step == "fixed" else ("dynamic", "dynamic_positive", "static")
        one_of("quantizer.law", self.quantizer.law, laws)
        one_of(
            "quantizer.streams", self.quantizer.streams, ("common", "own") if self.network == "admm" else ("common",)
        )
        one_of("quantizer.matrix_clip", self.quantizer.matrix_clip, ("max", "mse", "learned"))
        one_of("mmd.bandwidth", self.mmd.bandwidth, ("ascent", "fixed", "descent"))
        one_of("mmd.samples", self.mmd.samples, ("vector", "scalar"))
        one_of("mmd.estimator", self.mmd.estimator, ("full", "linear"))
        one_of("candidates", self.candidates, range(17) if self.network == "admm" else (0,))
        one_of("channel.kind", self.channel.kind, ("rayleigh", "kronecker", "recorded"))
        for key, bits in (("activation_bits", self.activation_bits), ("matrix_bits", self.matrix_bits)):
            one_of(key, bits, range(2, 9))
        positive: dict[str, float] = {
            "layers": self.layers,
            "batch": min(self.batch),
            "sizes": min(map(min, self.sizes), default=0),
            "full_precision.iterations": self.full_precision.iterations,
        }
        for key, value in positive.items():
            if value < 1:
                raise ConfigError(f"key {key}: has to be at least 1")
        not_negative: dict[str, float] = {
            "quantized.iterations": self.quantized.iterations,
            "csi_error.channel": self.csi_error.channel,
        }
        for key, value in not_negative.items():
            if value < 0:
                raise ConfigError(f"key {key}: has to be at least 0")
        if self.snr_db[0] >= self.snr_db[1]:
            raise ConfigError("key snr_db: the first value has to be below the second")
        if self.csi_error.snr_bias_db[0] > self.csi_error.snr_bias_db[1]:
            raise ConfigError("key csi_error.snr_bias_db: the first value has to be at most the second")
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
        return plain(dataclasses.asdict(self))


def preset_names() -> list[str]:
    """Configurations that ship in training/detector/configs/."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def load(source: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a configuration.

    Args:
        source: path of a YAML file, or one of `preset_names()`.
        overrides: KEY=VALUE, a dot between nested keys, the value in YAML.

    Raises:
        ConfigError: the file is missing or no YAML, a key is unknown or missing, or a value does not fit.
    """
    document = read_document(source, overrides)
    try:
        return from_document(document)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from None


def read_document(source: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read the YAML of a configuration, without a check of its keys; see `load`."""
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
        set_key(document, key, value)
    return document


def set_key(document: dict[str, Any], key: str, value: Any) -> None:
    """Set a key, a dot between nested ones. A mapping changes what it names and leaves the other keys."""
    *parents, last = key.split(".")
    inner = document
    for parent in parents:
        inner = inner.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"key {key}: {parent} has no keys of its own")
    if isinstance(value, dict) and isinstance(inner.get(last), dict):
        for name, item in value.items():
            set_key(inner[last], str(name), item)
    else:
        inner[last] = value


def from_document(document: dict[str, Any]) -> Config:
    """The configuration that a mapping holds.

    Raises:
        ConfigError: a key is unknown or missing, or a value does not fit.
    """
    return build(Config, document, "")


def one_of(key: str, value: Any, allowed: Any) -> None:
    if value not in allowed:
        raise ConfigError(f"key {key}: one of {', '.join(map(str, allowed))} expected, got {value!r}")


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, tuple) else value


def build(cls: type, document: Any, prefix: str) -> Any:
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
        return build(hint, value, key + ".")
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
