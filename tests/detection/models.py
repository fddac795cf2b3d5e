# SPDX-License-Identifier: GPL-3.0-or-later
"""Detector models for tests: two that detect well without training files, and random ones within the schema."""

from __future__ import annotations

import numpy as np

from gr_kaq.detection.list_model import FusionWeights, ListModel, PropagationLayer, Step
from gr_kaq.detection.model_file import DetectorModel, Law, Layer
from gr_kaq.signals.constellation import CONSTELLATIONS


def admm_model(constellation: str = "16qam", bits: int | None = 8, name: str = "test-admm") -> DetectorModel:
    """An ADMM-Net with the parameters of a short training run; `bits` None for full precision."""
    point = CONSTELLATIONS[constellation]
    peak = (point.num_levels - 1) * point.half_distance
    step = Law(0.0, 2 * peak / max(1, 2 ** (bits - 1) - 1)) if bits else None
    layers = tuple(
        Layer(step, Law(0.0, variance), Law(0.0, dual_step), Law(0.0, relaxation))
        for variance, dual_step, relaxation in (
            (8.0, 6.8, 1.3),
            (4.3, 6.5, 1.65),
            (4.5, 7.5, 1.5),
            (3.5, 3.8, 1.2),
            (1.8, 2.2, 1.15),
        )
    )
    return DetectorModel(
        name, "admm", point, bits, bits, 64, 64, 1.0, (0.0, 30.0), Law(4.3, 0.7), layers, Law(0.0, 5.1)
    )


def random_model(
    rng: np.random.Generator, network: str, constellation: str, bits: tuple[int, int] | None = None
) -> DetectorModel:
    """A model with random laws: nonsense as a detector, but all of the arithmetic is exercised.

    `bits` of activations and matrix; without, random ones, every other time a width for each layer, and of
    ADMM-Nets midrise.
    """

    def law(low: float, high: float) -> Law:
        return Law(float(rng.uniform(-0.3, 0.3)) * high, float(rng.uniform(low, high)))

    def layer() -> Layer:
        step = law(0.001, 1.0) if rng.random() < 0.7 else law(1e-4, 0.02)
        if network == "admm":
            return Layer(step, law(0.01, 5.0), law(0.0, 8.0), law(0.0, 2.0))
        prox = rng.integers(3)
        return Layer(
            step,
            gradient_step=law(0.0, 2.0),
            threshold=law(0.0, 0.2) if prox == 1 else None,
            variance=law(0.01, 5.0) if prox == 2 else None,
        )

    layers = tuple(layer() for _ in range(int(rng.integers(1, 7))))
    activation_bits: int | tuple[int, ...]
    midrise = False
    if bits is not None:
        activation_bits, matrix_bits = bits
    else:
        midrise = network == "admm" and bool(rng.integers(2))
        drawn = tuple((rng.integers(2, 9, 1 + len(layers)) - midrise).tolist())
        matrix_bits, activation_bits = drawn[0], drawn[1:] if rng.integers(2) else drawn[1]
    return DetectorModel(
        "random",
        network,
        CONSTELLATIONS[constellation],
        activation_bits,
        matrix_bits,
        64,
        64,
        1.0,
        (-10.0, 40.0),
        law(0.1, 3.0),
        layers,
        law(0.5, 5.0) if network == "admm" else None,
        output_spread=float(rng.uniform(0, 4)) if network == "admm" else 0.0,
        matrix_clip=float(rng.choice([1.0, rng.uniform(0.1, 1)])),
        stream_steps=network == "admm" and bool(rng.integers(2)),
        midrise=midrise,
    )


def random_complex(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """complex64, of unit variance in either part."""
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)


def random_link(
    rng: np.random.Generator, model: DetectorModel, channels: int, vectors: int, num_rx: int, num_tx: int, snr_db: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """bits (C, T, num_tx * bits_per_symbol), y (C, T, num_rx), i.i.d. Rayleigh h (C, num_rx, num_tx), noise_var."""

    def noise(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / np.sqrt(2)

    bits = rng.integers(0, 2, (channels, vectors, num_tx * model.constellation.bits_per_symbol))
    h = noise(channels, num_rx, num_tx)
    noise_var = num_tx / 10 ** (snr_db / 10)
    y = model.constellation.modulate(bits) @ h.swapaxes(1, 2) + np.sqrt(noise_var) * noise(channels, vectors, num_rx)
    return bits, y.astype(np.complex64), h.astype(np.complex64), noise_var


def list_model(constellation: str = "16qam", bits: int | None = 16, name: str = "test-list", **changes) -> ListModel:
    """A list detector that detects well without training; `bits` None for full precision."""
    point = CONSTELLATIONS[constellation]
    keys = {
        "survivors": 8,
        "step": Step(0.0625, 0.007874) if bits else Step(0.0, 0.0),
        "layers": (PropagationLayer(0.9, 0.02),),
        "knots": (2.0, 8.0),
        "fusion": tuple(
            FusionWeights(
                max_num_tx, *(((low, round(0.5 - low, 6)),) * point.bits_per_dimension for low in (0.1, 0.3, 0.4, 0.2))
            )
            for max_num_tx in (4, 16)
        ),
    }
    return ListModel(name, point, matrix_bits=bits, **{**keys, **changes})
