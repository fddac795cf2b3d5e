# SPDX-License-Identifier: GPL-3.0-or-later
"""Maximum mean discrepancy: its value, and what becomes of the bandwidth."""

from __future__ import annotations

import math

import pytest
import torch

from training.mmd import MmdLoss, u_statistic, v_statistic

pytestmark = pytest.mark.training


def samples(scale=1.0, seed=0):
    return scale * torch.randn(8, 40, 6, generator=torch.Generator().manual_seed(seed))


def test_v_statistic_is_the_published_sum():
    a, b, sigma = samples()[0, :5], samples(2.0, 1)[0, :7], 1.3

    def kernel(x, y):
        return math.exp(-float((x - y).square().sum()) / (2 * sigma**2))

    def mean(xs, ys):
        return sum(kernel(x, y) for x in xs for y in ys) / (len(xs) * len(ys))

    expected = mean(a, a) + mean(b, b) - 2 * mean(a, b)
    assert v_statistic(a, b, torch.tensor([sigma])).item() == pytest.approx(expected, rel=1e-4)


def test_same_samples_match_and_others_do_not():
    loss = MmdLoss([samples()], "fixed")
    generator = torch.Generator().manual_seed(1)
    assert loss([samples()], [samples()], generator).item() == pytest.approx(0, abs=1e-6)
    near, far = (loss([samples()], [samples(scale)], generator).item() for scale in (1.1, 2.0))
    assert 0 < near < far


@pytest.mark.parametrize(("bandwidth", "sees_more"), [("ascent", True), ("descent", False)])
def test_a_bandwidth_learned_by_descent_goes_blind(bandwidth, sees_more):
    loss = MmdLoss([samples()], bandwidth)
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.05)
    start = None
    for _ in range(100):
        value = loss([samples()], [samples(1.5)], generator)
        start = value.item() if start is None else start
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    assert value.item() > start if sees_more else value.item() < 0.5 * start


def test_ascent_does_not_end_at_the_bias_of_the_published_statistic():
    a, b = samples()[0], samples(1.02)[0]  # as alike as quantization leaves them
    tiny = torch.tensor([0.02])
    assert v_statistic(a, b, tiny).item() == pytest.approx(2 / len(a), rel=0.2)
    assert u_statistic(a, b, tiny).item() == pytest.approx(0, abs=1e-6)
    loss = MmdLoss([samples()], "ascent")
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.05)
    start = loss.log_sigma.item()
    for _ in range(100):
        value = loss([samples()], [samples(1.02)], torch.Generator().manual_seed(1))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    assert abs(loss.log_sigma.item() - start) < 2


def test_fixed_bandwidths_are_not_trained():
    loss = MmdLoss([samples(), samples()], "fixed")
    assert loss.log_sigma.shape == (2, 3)
    assert not [p for p in loss.parameters() if p.requires_grad]


def test_gradient_reaches_the_quantized_activations_only():
    quantized = samples(1.5).requires_grad_()
    MmdLoss([samples()], "ascent")([samples()], [quantized], torch.Generator().manual_seed(1)).backward()
    assert quantized.grad.abs().sum() > 0
