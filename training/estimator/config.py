# SPDX-License-Identifier: GPL-3.0-or-later
"""A learned estimator's training as a YAML file: every key, its default and its meaning. Unknown keys are errors."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gr_kaq.channels.fading import PROFILES
from gr_kaq.frames.frame_format import FFT_SIZES, MAX_STREAMS

from ..detector.config import ConfigError, Mmd, Stage, build, one_of, plain, read_document

__all__ = ["Config", "Data", "Network", "Quantizer", "load", "preset_names"]

PRESETS = Path(__file__).resolve().parent / "configs"
DEFAULT_MMD = Mmd()


@dataclass(frozen=True)
class Data:
    """The frames that an estimator is trained on, see `frames`.

    Args:
        num_rx, num_tx: numbers of antennas and streams that the frames are drawn from, in equal shares.
        fft_sizes: sizes that the frames are drawn from, in equal shares.
        profiles: of `gr_kaq.channels.fading.PROFILES`, in equal shares.
        snr_db: lowest and highest SNR, uniform in dB.
        doppler_hz: lowest and highest maximum Doppler shift, uniform; every tenth frame has none at all.
        delay_spread_ns: lowest and highest RMS delay spread, uniform in its logarithm.
        timing: largest shift of the receiver's timing, in samples at 64 carriers, uniform.
        windows: how many of a frame's are kept, chosen at random: those of one frame are alike.
    """

    num_rx: tuple[int, ...] = (2, 4)
    num_tx: tuple[int, ...] = (1, 2, 4)
    fft_sizes: tuple[int, ...] = (64, 64, 64, 64, 64, 64, 64, 256)
    profiles: tuple[str, ...] = ("tdl-a", "tdl-b", "tdl-c")
    snr_db: tuple[float, float] = (-3.0, 28.0)
    doppler_hz: tuple[float, float] = (100.0, 1100.0)
    delay_spread_ns: tuple[float, float] = (30.0, 350.0)
    timing: float = 1.0
    windows: int = 8


@dataclass(frozen=True)
class Network:
    """Shape of the network, see `network.EstimatorNet`.

    Args:
        base: the estimate that the network corrects: ``"lmmse"`` (it sees by how much LS differs), or ``"ls"``, as
            published.
        unit: of corrections, and of the difference of LS and LMMSE: ``"noise"`` (SNR^(-1/2)) or ``"channel"`` (1).
        patch: carriers and symbols of a patch.
        width: of a token.
        heads: of the attention.
        layers: of the encoder.
        hidden: width of the feed-forward part.
    """

    base: str = "lmmse"
    unit: str = "noise"
    patch: tuple[int, int] = (4, 14)
    width: int = 48
    heads: int = 1
    layers: int = 1
    hidden: int = 96


@dataclass(frozen=True)
class Quantizer:
    """How the quantized network comes about from its full-precision twin.

    Args:
        bits: of weights and activations.
        law: ``"dynamic"`` (alpha SNR^(-1/2) + gamma) or ``"static"`` (alpha = 0).
        start: calibration of the activations' steps, see `training.quantization.quantizers.calibrated_step`.
    """

    bits: int = 8
    law: str = "dynamic"
    start: str = "mse"


@dataclass(frozen=True)
class Config:
    """One training.

    Args:
        name: of the exported estimator; its full-precision twin is NAME-fp.
        full_precision: the stage that trains the twin.
        quantized: the stage that trains the quantized network; 0 iterations are post-training quantization.
        frames: to be trained on.
        held_out: frames to measure on.
        data: what they are drawn from.
        network: its shape.
        quantizer: of the quantized network.
        mmd: distribution match.
        batch: grids of a batch, a pair's real and imaginary part being two.
        seed: of everything random.
    """

    name: str
    full_precision: Stage
    quantized: Stage
    frames: int = 24000
    held_out: int = 1000
    data: Data = Data()
    network: Network = Network()
    quantizer: Quantizer = Quantizer()
    mmd: Mmd = DEFAULT_MMD
    batch: int = 256
    seed: int = 1

    def __post_init__(self) -> None:
        one_of("network.base", self.network.base, ("lmmse", "ls"))
        one_of("network.unit", self.network.unit, ("noise", "channel"))
        one_of("quantizer.bits", self.quantizer.bits, range(2, 9))
        one_of("quantizer.law", self.quantizer.law, ("dynamic", "dynamic_positive", "static"))
        one_of("quantizer.start", self.quantizer.start, ("lsq", "minmax", "percentile", "mse"))
        for key, values, allowed in (
            ("data.num_tx", self.data.num_tx, range(1, MAX_STREAMS + 1)),
            ("data.fft_sizes", self.data.fft_sizes, FFT_SIZES),
            ("data.profiles", self.data.profiles, PROFILES),
        ):
            if not values:
                raise ConfigError(f"key {key}: at least one value expected")
            for value in values:
                one_of(key, value, allowed)
        positive: dict[str, int] = {
            "frames": self.frames,
            "held_out": self.held_out,
            "batch": self.batch // 2,
            "full_precision.iterations": self.full_precision.iterations,
            "data.num_rx": min(self.data.num_rx, default=0),
            "data.windows": self.data.windows,
            "network.layers": self.network.layers,
            "network.width": self.network.width,
            "network.heads": self.network.heads,
            "network.hidden": self.network.hidden,
        }
        for key, value in positive.items():
            if value < 1:
                raise ConfigError(f"key {key}: too small, got {value}")
        if self.network.width % self.network.heads:
            raise ConfigError(f"key network.heads: has to divide network.width, {self.network.width}")
        carriers, symbols = self.network.patch
        if carriers < 1 or symbols < 1 or 52 % carriers or 14 % symbols:
            raise ConfigError("key network.patch: has to divide 52 carriers and 14 symbols")
        for key, (low, high) in (
            ("data.snr_db", self.data.snr_db),
            ("data.doppler_hz", self.data.doppler_hz),
            ("data.delay_spread_ns", self.data.delay_spread_ns),
        ):
            if low > high:
                raise ConfigError(f"key {key}: the first value has to be at most the second")
        if self.data.delay_spread_ns[0] <= 0 or self.data.doppler_hz[0] < 0:
            raise ConfigError("keys data.delay_spread_ns and data.doppler_hz: positive values expected")

    def to_dict(self) -> dict[str, Any]:
        """The configuration as JSON-compatible values."""
        return plain(dataclasses.asdict(self))


def preset_names() -> list[str]:
    """Configurations that ship in training/estimator/configs/."""
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
    document = read_document(path, overrides)
    try:
        return build(Config, document, "")
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
