# SPDX-License-Identifier: GPL-3.0-or-later
"""Maximum mean discrepancy: its value, and what becomes of the bandwidth."""

from __future__ import annotations

import math

import pytest
import torch

from training.quantization.mmd import Mmd, MmdLoss, linear_statistic, u_statistic, v_statistic

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
    loss = MmdLoss([samples()], Mmd(bandwidth="fixed"))
    generator = torch.Generator().manual_seed(1)
    assert loss([samples()], [samples()], generator).item() == pytest.approx(0, abs=1e-6)
    near, far = (loss([samples()], [samples(scale)], generator).item() for scale in (1.1, 2.0))
    assert 0 < near < far


@pytest.mark.parametrize("kind", ["vector", "scalar"])
@pytest.mark.parametrize("estimator", ["full", "linear"])
@pytest.mark.parametrize(("bandwidth", "sees_more"), [("ascent", True), ("descent", False)])
def test_a_bandwidth_learned_by_descent_goes_blind(bandwidth, sees_more, estimator, kind):
    loss = MmdLoss([samples()], Mmd(bandwidth=bandwidth, samples=kind, estimator=estimator))
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.05)
    start = None
    for _ in range(100):
        value = loss([samples()], [samples(2.5)], generator)
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
    loss = MmdLoss([samples()], Mmd())
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.05)
    start = loss.log_sigma.item()
    for _ in range(100):
        value = loss([samples()], [samples(1.02)], torch.Generator().manual_seed(1))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    assert abs(loss.log_sigma.item() - start) < 2


def test_fixed_bandwidths_are_not_trained():
    loss = MmdLoss([samples(), samples()], Mmd(bandwidth="fixed"))
    assert loss.log_sigma.shape == (2, 3)
    assert not [p for p in loss.parameters() if p.requires_grad]


def test_gradient_reaches_the_quantized_activations_only():
    quantized = samples(1.5).requires_grad_()
    MmdLoss([samples()], Mmd())([samples()], [quantized], torch.Generator().manual_seed(1)).backward()
    assert quantized.grad.abs().sum() > 0


def test_linear_time_estimate_is_the_mean_over_pairs():
    a, b, sigma = samples()[0, :5], samples(2.0, 1)[0, :5], 1.3  # the fifth has no neighbour

    def kernel(x, y):
        return math.exp(-float((x - y).square().sum()) / (2 * sigma**2))

    pairs = [(0, 1), (2, 3)]
    expected = sum(kernel(a[i], a[j]) + kernel(b[i], b[j]) - kernel(a[i], b[j]) - kernel(a[j], b[i]) for i, j in pairs)
    assert linear_statistic(a, b, torch.tensor([sigma])).item() == pytest.approx(expected / 2, rel=1e-4)


def test_linear_time_estimate_is_unbiased():
    a, b, sigmas = samples()[0], samples(1.3, 1)[0], torch.tensor([1.0, 3.0])
    generator = torch.Generator().manual_seed(1)
    orders = (torch.randperm(len(a), generator=generator) for _ in range(1000))
    estimates = torch.stack([linear_statistic(a[order], b[order], sigmas) for order in orders])
    error = estimates.std() / len(estimates) ** 0.5
    assert abs(estimates.mean() - u_statistic(a, b, sigmas)) < 4 * error
    assert (estimates < 0).any()


def test_scalar_samples_do_not_see_what_joins_the_entries():
    shared = samples()[..., :1]
    together, apart = shared.expand(-1, -1, 6), samples()  # the same distribution of each entry
    differences = {}
    for kind in ("vector", "scalar"):
        loss = MmdLoss([apart], Mmd(samples=kind))
        differences[kind] = loss([apart], [together], torch.Generator().manual_seed(1)).item()
    assert differences["scalar"] < 0.01
    assert differences["vector"] > 0.03


def test_every_kind_of_sample_uses_the_same_random_numbers():
    states = []
    for kind in ("vector", "scalar"):
        for estimator in ("full", "linear"):
            generator = torch.Generator().manual_seed(1)
            MmdLoss([samples()], Mmd(samples=kind, estimator=estimator))([samples()], [samples(2.0)], generator)
            states.append(generator.get_state())
    assert all(torch.equal(states[0], state) for state in states)
