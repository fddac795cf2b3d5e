# SPDX-License-Identifier: GPL-3.0-or-later
"""Fake quantization: values and gradients."""

from __future__ import annotations

import pytest
import torch

from training.quantizers import fake_quantize, fake_quantize_rows, largest, starting_step

pytestmark = pytest.mark.training


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_activations_lie_on_the_grid(bits):
    v = torch.linspace(-50, 50, 4001)
    levels = fake_quantize(v, torch.tensor(0.25), bits) / 0.25
    assert torch.equal(levels, levels.round())
    assert levels.abs().max() == largest(bits)
    inside = v.abs() < 0.25 * largest(bits)
    assert (levels[inside] * 0.25 - v[inside]).abs().max() <= 0.125 + 1e-6


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
    quantized = fake_quantize_rows(matrix, 4)
    assert torch.allclose(quantized, torch.tensor([[0.0, 0.7, -0.3], [7.0, 0.0, 3.0], [0.0, 0.0, 0.0]]))
    quantized.sum().backward()
    assert torch.equal(matrix.grad, torch.ones(3, 3))


def test_starting_step_is_lsq_s():
    assert starting_step(torch.tensor([-1.0, 3.0]), 8).item() == pytest.approx(4 / 127**0.5)
