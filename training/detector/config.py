# SPDX-License-Identifier: GPL-3.0-or-later
"""The training of a detector as a YAML file: every key, its default and its meaning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from gr_kaq.signals.constellation import CONSTELLATIONS

from ..config import Configuration, InvalidKey, ascending, at_least, one_of
from ..optimization import Stage
from ..quantization.laws import LawKind
from ..quantization.mmd import Mmd
from ..quantization.quantizers import Calibration

__all__ = ["Accepts", "Channel", "Config", "CsiError", "Evaluation", "Quantizer"]

BITS, MIDRISE_BITS = range(2, 9), range(1, 8)
"""What is an int8."""


@dataclass(frozen=True)
class Channel:
    """Where channels come from, see `batches`.

    Args:
        kind: ``"rayleigh"``, ``"kronecker"`` or ``"recorded"``.
        correlation: kronecker: highest correlation of neighbouring antennas; each channel draws its own below it.
        file: recorded: archive with `h` (packets, subcarriers, num_rx, num_tx, 2).
        training_packets: recorded: first and one past the last packet to train on. The others are held out.
    """

    kind: Literal["rayleigh", "kronecker", "recorded"] = "rayleigh"
    correlation: float = 0.0
    file: str | None = None
    training_packets: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.correlation < 1:
            raise InvalidKey("correlation", f"at least 0 and below 1 expected, got {self.correlation}")
        if (self.kind == "recorded") != (self.file is not None):
            raise InvalidKey("file", "goes with kind: recorded")
        if self.kind == "recorded" and self.training_packets is None:
            raise InvalidKey("training_packets", "needed with kind: recorded")


@dataclass(frozen=True)
class Accepts:
    """Antenna counts that the exported detector takes."""

    max_num_rx: int
    max_num_tx: int
    min_rx_per_tx: float = 1.0

    def takes(self, num_rx: int, num_tx: int) -> bool:
        """Whether so many antennas and streams are among them."""
        return num_tx <= self.max_num_tx and self.min_rx_per_tx * num_tx <= num_rx <= self.max_num_rx

    def __str__(self) -> str:
        return (
            f"up to {self.max_num_rx} receive antennas and {self.max_num_tx} streams, at least {self.min_rx_per_tx:g} "
            "antennas for each stream"
        )


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

    def __post_init__(self) -> None:
        ascending("snr_bias_db", self.snr_bias_db)
        at_least("channel", self.channel, 0)


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
        levels: ``"midtread"`` (integers around 0, 2^bits - 1 of them) or ``"midrise"`` (odd integers: 2^bits levels, no
            zero; see `gr_kaq.detection.quantization`). ADMM-Net.
    """

    step: Literal["straight_through", "lsq", "pact", "fixed"] = "straight_through"
    start: Calibration = "lsq"
    law: LawKind = "dynamic"
    streams: Literal["common", "own"] = "common"
    matrix_clip: Literal["max", "mse", "learned"] = "max"
    levels: Literal["midtread", "midrise"] = "midtread"

    def __post_init__(self) -> None:
        if self.step == "fixed" and self.law != "static":
            raise InvalidKey("law", f"static expected with step: fixed, got {self.law!r}")

    @property
    def midrise(self) -> bool:
        """Whether the levels are."""
        return self.levels == "midrise"


@dataclass(frozen=True)
class Evaluation:
    """BER at the end: bits are simulated until every detector has `min_errors` errors, or up to `max_bits`."""

    snr_db: tuple[float, ...]
    min_errors: int = 1000
    max_bits: int = 20_000_000


@dataclass(frozen=True)
class Config(Configuration):
    """One training run.

    Args:
        name: of the exported model; its full-precision twin is NAME-fp.
        network: ``"admm"`` or ``"pgd"``.
        layers: K.
        constellation: ``"qpsk"``, ``"16qam"``, ``"64qam"`` or ``"256qam"``.
        activation_bits, matrix_bits: 2 to 8, midrise 1 to 7. Of the activations, a list has a width for each layer.
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
        initial_model: detector whose parameters training starts from: the name of a shipped one, or the path of a
            *.kaq.json file. The steps of its activations are calibrated anew. It is measured along with the others.
        intermediate_weight: weight of the intermediate layers' mean squared error.
        batch: channels, and vectors per channel, of a batch.
        seed: of everything random.
    """

    kind: ClassVar[str] = "detector"

    network: Literal["admm", "pgd"]
    layers: int
    constellation: str
    activation_bits: int | tuple[int, ...]
    matrix_bits: int
    sizes: tuple[tuple[int, int], ...]
    accepts: Accepts
    snr_db: tuple[float, float]
    full_precision: Stage
    quantized: Stage
    evaluation: Evaluation
    channel: Channel = Channel()
    proximal: Literal["ramp", "soft_threshold"] = "ramp"
    laws: Literal["dynamic", "static"] = "dynamic"
    quantizer: Quantizer = Quantizer()
    mmd: Mmd = field(default_factory=Mmd)
    csi_error: CsiError = CsiError()
    initial_model: str | None = None
    intermediate_weight: float = 0.2
    batch: tuple[int, int] = (128, 4)
    seed: int = 1

    def __post_init__(self) -> None:
        one_of("constellation", self.constellation, CONSTELLATIONS)
        if len(self.layer_bits) != self.layers:
            raise InvalidKey(
                "activation_bits", f"a width for each of the {self.layers} layers expected, got {len(self.layer_bits)}"
            )
        allowed = MIDRISE_BITS if self.quantizer.midrise else BITS
        for bits in self.layer_bits:
            one_of("activation_bits", bits, allowed)
        one_of("matrix_bits", self.matrix_bits, allowed)
        at_least("layers", self.layers, 1)
        if not self.sizes:
            raise InvalidKey("sizes", "at least one size expected")
        at_least("sizes", min(map(min, self.sizes)), 1)
        for num_rx, num_tx in self.sizes:  # said now, and not when the trained detector is to be measured
            if not self.accepts.takes(num_rx, num_tx):
                raise InvalidKey("sizes", f"{num_rx}x{num_tx} is not among what accepts allows: {self.accepts}")
        at_least("batch", min(self.batch), 1)
        at_least("full_precision.iterations", self.full_precision.iterations, 1)
        if self.snr_db[0] >= self.snr_db[1]:
            raise InvalidKey("snr_db", f"the first value has to be below the second, got {list(self.snr_db)}")
        if self.channel.kind == "recorded" and len(self.sizes) > 1:
            raise InvalidKey("sizes", f"one size with channel.kind: recorded, got {len(self.sizes)}")
        if self.network == "admm":
            one_of("proximal", self.proximal, ("ramp",))
        else:
            one_of("quantizer.streams", self.quantizer.streams, ("common",))
            one_of("quantizer.levels", self.quantizer.levels, ("midtread",))

    @property
    def layer_bits(self) -> tuple[int, ...]:
        """Width of each layer's activations, (K,)."""
        bits = self.activation_bits
        return bits if isinstance(bits, tuple) else (bits,) * self.layers
