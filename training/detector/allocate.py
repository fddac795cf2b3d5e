# SPDX-License-Identifier: GPL-3.0-or-later
"""Mixed precision of a detector: a width of the activations for each layer, by several scores, against the truth.

Layers share the matrix, and with it its width. What a layer takes is then the width of its activations times that of
the matrix, times the entries of the matrix. The truth is measured: every allocation after calibration, without
training, on the same received vectors at one SNR. What it loses is by how many dB less the full-precision twin gets by
with for the same BER: between the SNRs of the configuration, the logarithm of the twin's BER is taken to be linear.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from gr_kaq.channels.flat import RayleighChannels
from gr_kaq.detection.detectors import load_detector
from gr_kaq.detection.model_file import DetectorModel
from gr_kaq.detection.model_file import Law as FileLaw
from gr_kaq.detection.unfolded_detector import UnfoldedDetector
from gr_kaq.links.simulated_link import Link, Transmission, detect
from gr_kaq.native import fastest_backend
from gr_kaq.signals.constellation import CONSTELLATIONS

from ..config import SAVED, ConfigError, find, read_document
from ..quantization.allocation import Allocation, measure_all
from ..quantization.quantizers import calibrated_step, fake_quantize
from .config import Config, Quantizer
from .export import detector_model
from .initial_model import start_from
from .networks import UnfoldedNet, build
from .train import CALIBRATION_BATCHES, CALIBRATION_SEED, CHECKPOINT, Run

__all__ = ["SCORES", "Problem", "Score", "load_twin"]

Score = Literal["jacobian", "measured"]
SCORES: tuple[Score, ...] = ("jacobian", "measured")

LEVEL = 1e-2
"""BER next to which the SNR lies."""

VECTORS = 4
BLOCKS = 20
"""Parts of the channels whose errors are counted apart, so that differences have an interval."""

SEED = 3_000_000
PROBES = 8


def load_twin(source: str, overrides: Sequence[str]) -> tuple[Config, UnfoldedNet]:
    """A configuration and the full-precision twin that was trained by it.

    Args:
        source: name of a detector that ships with its configuration, or the directory of a run.
        overrides: of keys that the twin does not depend on, see `Config.load`.

    Raises:
        ConfigError: there is none, or it is no unfolded network.
    """
    directory = Path(source)
    saved = directory / SAVED if (directory / SAVED).is_file() else find(source)
    if read_document(saved).get("network") == "list":
        raise ConfigError(f"{source}: a list detector; an ADMM-Net expected")
    if (directory / SAVED).is_file():
        config = Config.load(directory / SAVED, overrides)
        if not (directory / CHECKPOINT).exists():
            raise ConfigError(f"{directory}: no {CHECKPOINT}; train it first")
        return config, Run.resume(directory, Config.load(directory / SAVED)).twin
    config = Config.load(source, overrides)
    try:
        detector = load_detector(f"{config.name}-fp", backend="reference")
    except ValueError:
        raise ConfigError(f"{source}: no detector {config.name}-fp ships; the directory of a run expected") from None
    assert isinstance(detector, UnfoldedDetector)
    twin = build(config, False)
    start_from(twin, detector.model)
    return config, twin


class Problem:
    """A network, the widths that its layers may have, and what they cost.

    Args:
        config: of the detector; says the widths of the matrix and the levels.
        twin: the full-precision network.
        bits: widths to choose from.
        channels: to measure on.

    Attributes:
        price: bit operations of each layer's product by the width of its activations, at the size that is measured.
        whole: bit operations with 8 bits of either operand in all layers.

    Raises:
        ConfigError: it is not for such a network, a width is none, or there are too few channels.
    """

    def __init__(self, config: Config, twin: UnfoldedNet, bits: Sequence[int], channels: int):
        if config.network != "admm":
            raise ConfigError(f"{config.name}: a PGD-Net; an ADMM-Net expected")
        if config.channel.kind != "rayleigh":
            raise ConfigError(f"{config.name}: channels are {config.channel.kind}; rayleigh expected")
        if channels < BLOCKS:
            raise ConfigError(f"--channels {channels}: at least {BLOCKS} expected")
        if len(config.evaluation.snr_db) < 2:
            raise ConfigError(
                f"{config.name}: one SNR in evaluation.snr_db; two or more, to measure losses by, expected"
            )
        self.bits, self.twin = sorted(set(bits)), twin
        entries = (2 * config.sizes[0][1]) ** 2
        self.price = {width: [float(width * config.matrix_bits * entries)] * config.layers for width in self.bits}
        self.whole = 64.0 * entries * config.layers
        self.config = self._with_widths(config, (self.bits[-1],) * config.layers)
        self._with_widths(config, (self.bits[0],) * config.layers)  # is that a width, too?
        self._network = build(self.config, True)
        generator = torch.Generator().manual_seed(CALIBRATION_SEED + config.seed)
        run = Run.start(self.config)
        self._batches = [run.draw(generator) for _ in range(CALIBRATION_BATCHES)]
        self._network.start_from(twin, self._batches)
        self._model = detector_model(self.config, self._network)
        self._full_precision = detector_model(self.config, twin)
        self._network.layer_bits = self._network.matrix_bits = None  # of what quantization does, nothing but the scales
        self._steps = self._calibrated_steps()
        self._channels = channels
        self._twin_curve = {snr: self._twin_rate(snr) for snr in config.evaluation.snr_db}
        self.snr_db = min(self._twin_curve, key=lambda snr: abs(math.log(self._twin_curve[snr] / LEVEL)))
        self._sent = self._transmission(self.snr_db)

    @staticmethod
    def _with_widths(config: Config, widths: Allocation) -> Config:
        own = config.quantizer
        clip: Literal["max", "mse"] = "max" if own.matrix_clip == "max" else "mse"
        quantizer = Quantizer("fixed", "mse", "static", own.streams, clip, own.levels)
        return dataclasses.replace(config, activation_bits=widths, quantizer=quantizer)

    @property
    def names(self) -> list[str]:
        """Of the layers."""
        return [f"layers.{k}" for k in range(self.config.layers)]

    def model(self, allocation: Allocation) -> DetectorModel:
        """The detector with these widths, calibrated."""
        layers = [
            dataclasses.replace(layer, step=FileLaw(0.0, round(self._steps[bits][k], 6)))
            for k, (layer, bits) in enumerate(zip(self._model.layers, allocation, strict=True))
        ]
        return dataclasses.replace(self._model, activation_bits=tuple(allocation), layers=tuple(layers))

    def errors(self, allocation: Allocation) -> list[int]:
        """Bit errors of an allocation, of each of `BLOCKS` parts of the channels."""
        return _errors(self.model(allocation), self._sent)

    def loss(self, errors: Sequence[int]) -> float:
        """dB that errors are worth."""
        rate = sum(errors) / self._sent.bits.size
        snrs = sorted(self._twin_curve, reverse=True)  # np.interp wants rising rates
        logs = [math.log(self._twin_curve[snr]) for snr in snrs]
        return self.snr_db - float(np.interp(math.log(max(rate, 1e-9)), logs, snrs))

    def interval(self, errors: Sequence[int], others: Sequence[int]) -> float:
        """Half the width of the 95 % interval of the difference of two losses, on the same channels (jackknife)."""
        own, other = np.array(errors), np.array(others)
        left_out = [self._difference(own.sum() - a, other.sum() - b) for a, b in zip(own, other, strict=True)]
        return 1.96 * math.sqrt((BLOCKS - 1) * float(np.var(left_out)))

    def _difference(self, errors: int, others: int) -> float:
        scale = BLOCKS / (BLOCKS - 1)
        return self.loss([errors * scale]) - self.loss([others * scale])  # type: ignore[list-item]

    def costs(self, score: Score) -> list[dict[int, float]]:
        """What each layer adds at each width, by a score; in units of the score."""
        return self._measured() if score == "measured" else self._jacobian()

    def truth(self, path: Path) -> dict[Allocation, list[int]]:
        """Errors of every allocation, kept in a file, see `measure_all`."""
        of = {**self.config.to_dict(), "channels": self._channels, "snr_db": self.snr_db}
        return measure_all(path, of, self.config.layers, self.bits, self.errors)

    def _measured(self) -> list[dict[int, float]]:
        """Each layer at each width, the others at the largest: added bit error rate."""
        widest = [self.bits[-1]] * self.config.layers
        found: list[dict[int, float]] = []
        whole = sum(self.errors(tuple(widest)))
        for k in range(self.config.layers):
            changed = {bits: tuple([*widest[:k], bits, *widest[k + 1 :]]) for bits in self.bits}
            found.append({b: (sum(self.errors(a)) - whole) / self._sent.bits.size for b, a in changed.items()})
        return found

    def _jacobian(self) -> list[dict[int, float]]:
        """Added squared error of the soft output, to second order: see `quantization.sensitivity`."""
        generator = torch.Generator().manual_seed(self.config.seed)
        run = Run.start(dataclasses.replace(self.config, snr_db=(self.snr_db - 0.5, self.snr_db + 0.5)))
        batch = run.draw(generator)
        output = self._network(batch)
        noises = [{bits: self._noise(q.detach(), k, bits) for bits in self.bits} for k, q in enumerate(output.operands)]
        found = [dict.fromkeys(self.bits, 0.0) for _ in noises]
        soft = output.outputs[-1]
        for _ in range(PROBES):
            signs = 2.0 * torch.randint(2, soft.shape, generator=generator) - 1
            gradients = torch.autograd.grad(soft, output.operands, signs.to(soft), retain_graph=True)
            for k, gradient in enumerate(gradients):
                for bits, noise in noises[k].items():
                    found[k][bits] += float((gradient * noise).sum(-1).square().mean()) / PROBES
        return found

    def _noise(self, operand: torch.Tensor, k: int, bits: int) -> torch.Tensor:
        step = torch.tensor(self._steps[bits][k])
        return fake_quantize(operand, step, bits, midrise=self.config.quantizer.midrise) - operand

    def _calibrated_steps(self) -> dict[int, list[float]]:
        """Of each layer, by width."""
        with torch.no_grad():
            outputs = [self._network(batch) for batch in self._batches]
        operands = [torch.cat([o.operands[k].flatten() for o in outputs]) for k in range(self.config.layers)]
        midrise = self.config.quantizer.midrise
        return {bits: [float(calibrated_step(q, bits, "mse", midrise=midrise)) for q in operands] for bits in self.bits}

    def _transmission(self, snr_db: float) -> Transmission:
        channel_seed, link_seed = np.random.SeedSequence(SEED).spawn(2)
        channels = RayleighChannels(*self.config.sizes[0], seed=channel_seed)
        constellation = CONSTELLATIONS[self.config.constellation]
        return Link(channels, constellation, snr_db, num_vectors=VECTORS, seed=link_seed).draw(self._channels)

    def _twin_rate(self, snr_db: float) -> float:
        sent = self._transmission(snr_db)
        return max(1, sum(_errors(self._full_precision, sent))) / sent.bits.size


def _errors(model: DetectorModel, sent: Transmission) -> list[int]:
    detector = UnfoldedDetector(model, fastest_backend())
    wrong = model.constellation.decide(detect(detector, sent).symbols) != sent.bits
    return [int(np.count_nonzero(part)) for part in np.array_split(wrong, BLOCKS)]
