# SPDX-License-Identifier: GPL-3.0-or-later
"""Fake quantization: values and gradients."""

from __future__ import annotations

import pytest
import torch

from training.quantization.quantizers import (
    PERCENTILE,
    calibrated_clip,
    calibrated_step,
    fake_quantize,
    fake_quantize_rows,
    largest,
)

pytestmark = pytest.mark.training


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_activations_lie_on_the_grid(bits):
    v = torch.linspace(-50, 50, 4001)
    levels = fake_quantize(v, torch.tensor(0.25), bits) / 0.25
    assert torch.equal(levels, levels.round())
    assert levels.abs().max() == largest(bits)
    inside = v.abs() < 0.25 * largest(bits)
    assert (levels[inside] * 0.25 - v[inside]).abs().max() <= 0.125 + 1e-6


@pytest.mark.parametrize("bits", [1, 2, 3, 7])
def test_midrise_activations_are_all_odd_multiples_of_the_step(bits):
    v = torch.linspace(-50, 50, 4001)
    levels = fake_quantize(v, torch.tensor(0.25), bits, midrise=True) / 0.25
    odd = torch.arange(1 - 2**bits, 2**bits, 2).float()
    assert torch.equal(levels.unique(), odd)
    inside = v.abs() < 0.25 * 2**bits
    assert (levels[inside] * 0.25 - v[inside]).abs().max() <= 0.25 + 1e-6


def test_midrise_rows_keep_their_zeros():
    matrix = torch.tensor([[0.0, 0.9, -0.31, 1e-6], [0.0, 0.0, 0.0, 0.0]])
    quantized = fake_quantize_rows(matrix, 2, torch.ones(()), midrise=True)  # in steps of 0.3
    assert torch.allclose(quantized, torch.tensor([[0.0, 0.9, -0.3, 0.3], [0.0, 0.0, 0.0, 0.0]]))


@pytest.mark.parametrize("method", ["lsq", "minmax", "percentile", "mse"])
def test_midrise_steps_are_calibrated(method):
    """All levels of a width are used, so that what is lost is less than without."""
    v = torch.randn(20_000, generator=torch.Generator().manual_seed(1))
    error = {}
    for midrise in (False, True):
        step = calibrated_step(v, 2, method, midrise=midrise)
        error[midrise] = float((fake_quantize(v, step, 2, midrise=midrise) - v).square().mean())
    assert error[True] < 0.9 * error[False]
    if method == "mse":
        assert error[True] == pytest.approx(0.1188, abs=0.004)  # of four uniform levels (Max 1960)


def test_rounding_is_half_to_even():
    v = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5])
    assert fake_quantize(v, torch.tensor(1.0), 8).tolist() == [0, 2, 2, 0, -2]


def test_gradients_of_activations():
    v = torch.tensor([0.3, -0.6, 1.2, 40.0, -40.0], requires_grad=True)
    step = torch.tensor(0.5, requires_grad=True)
    fake_quantize(v, step, 4).sum().backward()
    assert v.grad.tolist() == [1, 1, 1, 0, 0]
    inside = sum(round(x / 0.5) - x / 0.5 for x in (0.3, -0.6, 1.2))
    assert step.grad.item() == pytest.approx(inside + 7 - 7, abs=1e-5)


def test_rows_have_their_own_step_and_pass_the_gradient():
    matrix = torch.tensor([[0.0, 0.7, -0.31], [7.0, 0.0, 3.2], [0.0, 0.0, 0.0]], requires_grad=True)
    quantized = fake_quantize_rows(matrix, 4, torch.ones(()))
    assert torch.allclose(quantized, torch.tensor([[0.0, 0.7, -0.3], [7.0, 0.0, 3.0], [0.0, 0.0, 0.0]]))
    quantized.sum().backward()
    assert torch.equal(matrix.grad, torch.ones(3, 3))


def test_clipped_rows_and_the_gradient_of_the_clip():
    matrix = torch.tensor([[0.0, 0.7, -0.31, 0.14]])
    clip = torch.tensor(0.5, requires_grad=True)
    quantized = fake_quantize_rows(matrix, 4, clip)  # in steps of 0.05, up to 0.35
    assert torch.allclose(quantized, torch.tensor([[0.0, 0.35, -0.3, 0.15]]))
    quantized.sum().backward()
    # of the step (0.1 times the clip): 7 where clipped, round(v / step) - v / step elsewhere
    assert clip.grad.item() == pytest.approx(0.1 * (7 + (-6 + 6.2) + (3 - 2.8)), abs=1e-5)


@pytest.mark.parametrize(("bits", "low", "high"), [(8, 0.9, 1.0), (4, 0.7, 1.0), (2, 0.3, 0.65)])
def test_calibrated_clip_falls_with_the_bits(bits, low, high):
    """Normal entries: with fewer steps, clipping the largest costs less than coarse steps for all."""
    matrices = torch.randn(200, 32, 32, generator=torch.Generator().manual_seed(1))
    assert low <= calibrated_clip(matrices, bits) <= high


def test_lsq_s_gradient_is_scaled():
    v = torch.tensor([0.3, -0.6, 1.2, 40.0], requires_grad=True)
    step = torch.tensor(0.5, requires_grad=True)
    fake_quantize(v, step, 4, "lsq").sum().backward()
    inside = (1 - 0.6) + (-1 + 1.2) + (2 - 2.4)  # round(v / step) - v / step
    assert step.grad.item() == pytest.approx((inside + 7) / (4 * 7) ** 0.5, abs=1e-5)
    assert v.grad.tolist() == [1, 1, 1, 0]


def test_pact_s_gradient_is_that_of_the_clip_value():
    v = torch.tensor([0.3, -0.6, 3.6, -40.0, -41.0], requires_grad=True)  # clipped at 3.5
    step = torch.tensor(0.5, requires_grad=True)
    weight = torch.tensor([1.0, 1.0, 5.0, 1.0, 1.0])
    (weight * fake_quantize(v, step, 4, "pact")).sum().backward()
    assert step.grad.item() == pytest.approx(7 * (5 - 1 - 1))
    assert v.grad.tolist() == [1, 1, 0, 0, 0]


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_all_gradients_have_the_same_values(bits):
    v, step = torch.linspace(-5, 5, 1001), torch.tensor(0.37)
    plain, *others = (fake_quantize(v, step, bits, gradient) for gradient in ("straight_through", "lsq", "pact"))
    for other in others:
        assert torch.allclose(plain, other, atol=1e-5)


def normal(count=200_000):
    return 3 * torch.randn(count, generator=torch.Generator().manual_seed(4))


def test_calibrations_by_hand():
    v = torch.tensor([[-1.0, 3.0]])
    assert calibrated_step(v, 8, "lsq").item() == pytest.approx(4 / 127**0.5)
    assert calibrated_step(v, 4, "minmax").item() == pytest.approx(3 / 7)
    assert calibrated_step(torch.arange(1, 10_001) / 10_000, 2, "percentile").item() == pytest.approx(PERCENTILE)


def test_percentile_of_a_normal_distribution():
    assert calibrated_step(normal(), 4, "percentile").item() == pytest.approx(3 * 3.2905 / 7, rel=0.02)


@pytest.mark.parametrize(("bits", "step"), [(2, 1.2240), (3, 0.6508 * 1.0), (4, 0.3352)])
def test_mse_step_of_a_normal_distribution(bits, step):
    v = normal()
    found = calibrated_step(v, bits, "mse").item()

    def error(other):
        return (fake_quantize(v, torch.tensor(other), bits) - v).square().mean().item()

    assert found == pytest.approx(3 * step, rel=0.05)
    assert error(found) < 1.001 * min(error(found * factor) for factor in (0.9, 0.95, 1.05, 1.1))
