# SPDX-License-Identifier: GPL-3.0-or-later
"""The native floating-point stage, single precision, against the same in double precision with LAPACK (preparation.py).

Channels are built to a condition number: random unitary factors, singular values in geometric progression. What is
inverted is G + rho I, whose condition number kappa the regularization bounds. Errors in single precision grow with
kappa; how much, the constants below say, which are about 1.5 times the worst that was measured.
docs/internals/testing.md shows the table of worst errors:

    PYTHONPATH=build/test_modules /usr/bin/python3 -m pytest -s tests/detection/test_float_stage.py -k condition
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

import gr_kaq
from gr_kaq import native
from gr_kaq.detection.model_file import DetectorModel, Law
from gr_kaq.detection.native_kernel import NativePlan
from gr_kaq.detection.preparation import COMMON_FLOOR, STREAM_FLOOR, prepare
from gr_kaq.detection.quantization import HALF_DISTANCE, INT16_MAX, IntegerChannels, quantize_channels, state_unit
from gr_kaq.detection.unfolded_detector import UnfoldedDetector
from gr_kaq.signals.signal_model import noise_var_from_snr

SIZES = [(2, 2), (4, 4), (8, 8), (16, 4), (16, 16), (33, 17), (64, 64)]
CONDITIONS = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6]
SNRS_DB = [0.0, 20.0, 40.0, 60.0]

# Largest errors in units of 2^-24 kappa; see `Errors`
LIMITS = {"estimate": 48.0, "diagonal": 5.0, "matrix": 5.0, "precision": 24.0}
LARGEST_NOISE = {0.0: 0.06, 20.0: 0.06, 40.0: 0.06, 60.0: 8.0}
"""Of `Errors.noise` at each SNR, with the regularization of the shipped detectors."""


def shipped(name: str, **changes) -> DetectorModel:
    model = gr_kaq.load_detector(name).model
    return dataclasses.replace(model, max_num_rx=64, max_num_tx=64, min_rx_per_tx=1.0, **changes)


def unitary(rng: np.random.Generator, count: int, size: int) -> NDArray[np.complex128]:
    """Random unitary matrices, uniformly (the QR factors of Gaussian matrices, with the signs of R undone)."""
    gaussian = rng.standard_normal((count, size, size)) + 1j * rng.standard_normal((count, size, size))
    q, r = np.linalg.qr(gaussian)
    diagonal = np.einsum("cii->ci", r)
    return q * (diagonal / np.abs(diagonal))[:, None, :]


def conditioned_channels(
    rng: np.random.Generator, count: int, num_rx: int, num_tx: int, condition: float
) -> NDArray[np.complex64]:
    """Channels (count, num_rx, num_tx) with this ratio of their largest and smallest singular value."""
    singular_values = condition ** (-np.arange(num_tx) / max(1, num_tx - 1))
    h = unitary(rng, count, num_rx)[:, :, :num_tx] * singular_values @ unitary(rng, count, num_tx)
    h *= np.sqrt(num_rx * num_tx / np.sum(singular_values**2))
    return h.astype(np.complex64)


def received(
    rng: np.random.Generator, model: DetectorModel, h: NDArray[np.complex64], vectors: int, noise_var: float
) -> tuple[NDArray[np.integer], NDArray[np.complex64]]:
    """Bits, and what is received when they are sent over h."""
    count, num_rx, num_tx = h.shape
    bits = rng.integers(0, 2, (count, vectors, num_tx * model.constellation.bits_per_symbol))
    noise = rng.standard_normal((2, count, vectors, num_rx)) * np.sqrt(noise_var / 2)
    y = model.constellation.modulate(bits) @ h.swapaxes(1, 2) + noise[0] + 1j * noise[1]
    return bits, y.astype(np.complex64)


def represented(channels: IntegerChannels) -> NDArray[np.float64]:
    """The matrix that the integers of the first layer stand for, (C, n, n)."""
    return channels.rescale[:, 0, :, None] / 2.0**12 * channels.matrix * channels.inverse_step[:, 0, None, :] / 2.0**15


@dataclasses.dataclass
class Errors:
    """Worst errors of the native stage.

    Attributes:
        estimate: of b, over half_distance, beyond the 1/1024 that its rounding to 1/512 makes.
        noise: the same over the standard deviation that noise and regularization give the exact b's error.
        diagonal: of P_ii, which is between 0 and 1, beyond the 2^-16 of its rounding.
        matrix: of an entry P_ij that the integers represent, beyond what rounding to another integer makes.
        precision: of a row's precision, relative; it is the LLRs' too.
    """

    estimate: float = 0.0
    noise: float = 0.0
    diagonal: float = 0.0
    matrix: float = 0.0
    precision: float = 0.0

    def include(self, other: Errors) -> None:
        for name, value in vars(other).items():
            setattr(self, name, max(getattr(self, name), value))


def kappa(model: DetectorModel, h: NDArray[np.complex64], noise_var: float, regularization: float) -> float:
    """The largest condition number of G + R; 1 for a network that inverts nothing."""
    if model.network != "admm":
        return 1.0
    wide = h.astype(np.complex128)
    gram = wide.conj().swapaxes(-1, -2) @ wide
    powers = np.einsum("cii->ci", gram).real
    noise_var = np.maximum(noise_var, COMMON_FLOOR * powers.mean(axis=-1, keepdims=True))
    rho = np.maximum(regularization * noise_var, STREAM_FLOOR * powers)
    return float(np.linalg.cond(gram + rho[:, :, None] * np.eye(powers.shape[-1])).max())


def stage_errors(model: DetectorModel, size: tuple[int, int], condition: float, snr_db: float) -> tuple[Errors, float]:
    """The worst errors on any instruction set, and kappa."""
    rng = np.random.default_rng([*size, int(condition), int(snr_db)])
    h = conditioned_channels(rng, 8, *size, condition)
    noise_var = np.atleast_1d(noise_var_from_snr(h, snr_db))
    _, y = received(rng, model, h, 20, noise_var[0])
    prepared = prepare(model, h, noise_var, np.array([snr_db]))
    expected = quantize_channels(model, prepared)
    matrix = represented(expected)
    row_largest = 2 ** (model.matrix_bits - 1) - 1
    # another integer, or another factor of the row
    largest_step = float(expected.inverse_step[:, 0].max())  # times an int, NumPy 2 would keep it int16
    step = np.abs(matrix).max(axis=-1) / row_largest + row_largest * largest_step / 2.0**27
    estimate = y.astype(np.complex128) @ prepared.filter.swapaxes(-1, -2)
    b = np.concatenate([estimate.real, estimate.imag], axis=-1) / state_unit(model)
    diagonal = prepared.diagonal
    if model.network == "pgd":
        diagonal = 1 - prepared.values.gradient_step[:, :1] * diagonal
    diagonal = np.clip(diagonal, -INT16_MAX / 2**15, INT16_MAX / 2**15)

    worst = Errors()
    for instruction_set in native.instruction_sets():
        plan = NativePlan(model, *h.shape, instruction_set=instruction_set)
        for vectors_per_estimate in (1, 1000):  # the two ways to filter
            channels = plan.prepare(h, noise_var=noise_var[0], vectors_per_estimate=vectors_per_estimate)
            integers = channels.integers
            of_b = np.maximum(np.abs(channels.filter(y)[0] - b) - 0.5, 0.0) / HALF_DISTANCE
            of_diagonal = np.abs(integers.diagonal[:, 0] / 2.0**15 - diagonal) - 2.0**-16
            of_matrix = np.abs(represented(integers) - matrix) - step[..., None]
            worst.include(
                Errors(
                    estimate=float(of_b.max()),
                    noise=float((of_b * np.sqrt(prepared.precision)[:, None, :]).max()),
                    diagonal=float(of_diagonal.max()),
                    matrix=float(of_matrix.max()),
                    precision=float(np.abs(integers.llr_scale / expected.llr_scale - 1).max()),
                )
            )
    regularization = float(prepared.values.regularization[0])
    return worst, kappa(model, h, noise_var[0], regularization)


@pytest.mark.parametrize("name", ["admm5-16qam", "admm5-64qam", "pgd8-16qam"])
def test_errors_follow_the_condition_number(name):
    model = shipped(name)
    print(f"\n{name}: worst errors over sizes {SIZES}, instruction sets {native.instruction_sets()}")
    print("| SNR | condition of H | kappa | b / half distance | b / its noise | P_ii | P_ij | precision |")
    print("|---|---|---|---|---|---|---|---|")
    for snr_db in SNRS_DB:
        for condition in CONDITIONS:
            worst, worst_kappa = Errors(), 0.0
            for size in SIZES:
                errors, inverted = stage_errors(model, size, condition, snr_db)
                for error, limit in LIMITS.items():
                    allowed = limit * 2.0**-24 * max(inverted, 16.0)
                    assert getattr(errors, error) <= allowed, (size, condition, snr_db, error)
                worst.include(errors)
                worst_kappa = max(worst_kappa, inverted)
            row = " | ".join(f"{value:.1e}" for value in (worst_kappa, *vars(worst).values()))
            print(f"| {snr_db:g} dB | {condition:.0e} | {row} |")
            assert worst.noise < LARGEST_NOISE[snr_db]


@pytest.mark.parametrize("regularization", [0.05, 100.0])
def test_results_are_finite_with_any_regularization(regularization):
    """Also with a regularization that no detector has been trained to, on channels that need more."""
    model = shipped("admm5-16qam", regularization=Law(0.0, regularization))
    rng = np.random.default_rng(1)
    for size in SIZES:
        for condition in CONDITIONS[::2]:
            for snr_db in SNRS_DB:
                h = conditioned_channels(rng, 3, *size, condition)
                noise_var = float(noise_var_from_snr(h, snr_db))
                _, y = received(rng, model, h, 5, noise_var)
                out = UnfoldedDetector(model, "native").detect(y, h, noise_var=noise_var)
                assert out.num_invalid == 0
                assert np.isfinite(out.symbols).all() and np.isfinite(out.llrs).all(), (size, condition, snr_db)


@pytest.mark.parametrize("name", ["admm5-16qam", "admm5-64qam"])
@pytest.mark.parametrize("size", [(4, 4), (16, 16)])
@pytest.mark.parametrize("snr_db", [20.0, 40.0, 60.0])
@pytest.mark.parametrize("condition", [1e2, 1e4, 1e6])
def test_the_same_bit_error_rate_as_with_double_precision(name, size, snr_db, condition):
    """What single precision changes, it makes right as often as wrong; by 2 % more errors at most, 20 % at 60 dB."""
    model = shipped(name)
    rng = np.random.default_rng([*size, int(condition), int(snr_db)])
    count = 400 // size[1]
    h = conditioned_channels(rng, count, *size, condition)
    noise_var = float(noise_var_from_snr(h, snr_db))
    bits, y = received(rng, model, h, 20, noise_var)
    errors = []
    for backend in ("native", "reference"):
        symbols = UnfoldedDetector(model, backend).detect(y, h, noise_var=noise_var).symbols
        decided = model.constellation.decide(symbols).reshape(bits.shape)
        errors.append(np.sum(decided != bits, axis=(1, 2)))  # of each channel
    difference = errors[0] - errors[1]
    print(f"{name} {size} {snr_db:g} dB {condition:.0e}: {errors[0].sum()} and {errors[1].sum()} of {bits.size}")
    chance = np.sqrt(np.sum(difference**2))
    assert abs(difference.sum()) <= 3 + 3.5 * chance + (0.02 if snr_db < 60 else 0.2) * errors[1].sum()
