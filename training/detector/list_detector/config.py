# SPDX-License-Identifier: GPL-3.0-or-later
"""The training of a list detector as a YAML file: every key, its default and its meaning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from gr_kaq.signals.constellation import CONSTELLATIONS

from ...config import Configuration, InvalidKey, ascending, at_least, one_of
from ...optimization import Stage
from ...quantization.mmd import Mmd
from ..config import Accepts

__all__ = ["Condition", "ListConfig", "ListEvaluation", "Place", "StepLaw"]


@dataclass(frozen=True)
class Condition:
    """A size, and the SNRs in dB that it is trained at: uniform between the two."""

    size: tuple[int, int]
    snr_db: tuple[float, float]

    def __post_init__(self) -> None:
        at_least("size", min(self.size), 1)
        ascending("snr_db", self.snr_db)


@dataclass(frozen=True)
class StepLaw:
    """The step of a row of the factor, see `gr_kaq.detection.list_model.Step`.

    Args:
        alpha, gamma: what training starts from. gamma None: the width's own, 1 / (2^(W-1) - 1). The default alpha is so
            large that the step does not follow the noise.
        train: ``"alpha"``, ``"gamma"``, ``"both"`` or ``"none"``: what training moves.
    """

    alpha: float = 100.0
    gamma: float | None = None
    train: Literal["alpha", "gamma", "both", "none"] = "none"


@dataclass(frozen=True)
class Place:
    """Where BER is measured: a size, SNRs in dB, and the channel, see `ListConfig`."""

    size: tuple[int, int]
    snr_db: tuple[float, ...]
    correlation: float = 0.0
    power_spread_db: float = 0.0


@dataclass(frozen=True)
class ListEvaluation:
    """BER at the end: until every detector has `min_errors` errors, or up to `max_bits`."""

    places: tuple[Place, ...]
    min_errors: int = 200
    max_bits: int = 400_000


@dataclass(frozen=True)
class ListConfig(Configuration):
    """One training run.

    Args:
        name: of the exported model; its full-precision twin is NAME-fp.
        network: ``"list"``.
        constellation: ``"qpsk"``, ``"16qam"``, ``"64qam"`` or ``"256qam"``.
        survivors: K of the search, 8 or 16.
        layers: of expectation propagation, 1 to 4.
        matrix_bits: largest width of the factor's entries, 2 to 16.
        conditions: sizes and SNRs that the batches are drawn from, in equal shares.
        accepts: antenna counts that the exported detector takes.
        full_precision: the stage that trains the twin.
        quantized: the stage that trains the quantized detector, which starts as its twin.
        evaluation: where BER is measured.
        correlation: a third of the batches have channels of the Kronecker model, each with an exponential correlation
            drawn from 0 to this at either end.
        power_spreads_db: another third have half of their streams weaker, by one of these.
        knots: of the fusion, see `gr_kaq.detection.list_model`.
        groups: largest num_tx of each set of fusion weights.
        step: law of the quantization step.
        mmd: match of the LLRs' distribution to the twin's.
        batch: channels of 4 streams, and vectors per channel, of a batch. Of other sizes as many channels as have
            as many streams.
        seed: of everything random.
    """

    kind: ClassVar[str] = "detector"

    network: Literal["list"]
    constellation: str
    survivors: int
    layers: int
    matrix_bits: int
    conditions: tuple[Condition, ...]
    accepts: Accepts
    full_precision: Stage
    quantized: Stage
    evaluation: ListEvaluation
    correlation: float = 0.7
    power_spreads_db: tuple[float, ...] = (10.0, 20.0)
    knots: tuple[float, ...] = (1.0, 4.0, 16.0, 64.0)
    groups: tuple[int, ...] = (2, 4, 8, 16)
    step: StepLaw = StepLaw()
    mmd: Mmd = field(default_factory=Mmd)
    batch: tuple[int, int] = (64, 4)
    seed: int = 1

    def __post_init__(self) -> None:
        one_of("constellation", self.constellation, CONSTELLATIONS)
        one_of("survivors", self.survivors, (8, 16))
        one_of("layers", self.layers, range(1, 5))
        one_of("matrix_bits", self.matrix_bits, range(2, 17))
        at_least("batch", min(self.batch), 1)
        at_least("full_precision.iterations", self.full_precision.iterations, 1)
        if not self.conditions:
            raise InvalidKey("conditions", "at least one expected")
        for key, size in [
            *(("conditions", c.size) for c in self.conditions),
            *(("evaluation.places", p.size) for p in self.evaluation.places),
        ]:
            if not self.accepts.takes(*size):
                raise InvalidKey(key, f"{size[0]}x{size[1]} is not among what accepts allows: {self.accepts}")
        if not 0 <= self.correlation < 1:
            raise InvalidKey("correlation", f"at least 0 and below 1 expected, got {self.correlation}")
        for key in ("knots", "groups"):
            values = getattr(self, key)
            if not values or list(values) != sorted(set(values)) or values[0] <= 0:
                raise InvalidKey(key, f"ascending positive values expected, got {list(values)}")
        if self.groups[-1] < max(self.accepts.max_num_tx, *(c.size[1] for c in self.conditions)):
            raise InvalidKey("groups", f"up to the largest number of streams expected, got {list(self.groups)}")

    @property
    def snr_db(self) -> tuple[float, float]:
        """Lowest and highest SNR of the batches."""
        return min(c.snr_db[0] for c in self.conditions), max(c.snr_db[1] for c in self.conditions)
