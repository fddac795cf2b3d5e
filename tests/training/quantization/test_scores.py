# SPDX-License-Identifier: GPL-3.0-or-later
"""Scores of products and the allocation that follows from them."""

import itertools

import pytest
import torch

from training.config import ConfigError
from training.quantization.allocation import Budget, allocate, allocations, prices, regret, regret_table, regrets, total
from training.quantization.log_sqrt2 import log_sqrt2_codes, log_sqrt2_quantize
from training.quantization.quantizers import calibrated_row_clips, calibrated_step
from training.quantization.relevance import contributions, relevances
from training.quantization.sensitivity import noise_of_products

from .toy import inputs, toy

pytestmark = pytest.mark.training


def without_biases(network):
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
    return network


def test_relevance_is_conserved_without_biases():
    """All of it passes the output's operand; project and expand see what the residual path does not carry."""
    network, x = without_biases(toy()), inputs(grids=4)
    output, _ = network(x)
    seed = torch.randn(output.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
    total = (output * seed).sum()
    project, combine, expand, contract, last = (r.sum() for r in relevances(network, lambda: network(x), seed))
    assert last == pytest.approx(float(total), rel=1e-9)
    assert expand == pytest.approx(float(contract), rel=1e-9), "through ReLU"
    assert project == pytest.approx(float(combine), rel=1e-9), "through attention"


def test_biases_take_their_share_of_relevance():
    network, x = toy(), inputs(grids=4)
    seed = torch.ones_like(network(x)[0])
    sums = [float(r.sum()) for r in relevances(network, lambda: network(x), seed)]
    assert sums[2] != pytest.approx(sums[3], rel=1e-3)


def test_contributions_are_shares_and_the_network_is_left_as_it_was():
    network, x = toy(), inputs(grids=4)
    expected, _ = network(x)
    shares = contributions(network, lambda: network(x), torch.ones_like(expected))
    assert sum(shares) == pytest.approx(1) and min(shares) > 0
    assert torch.equal(network(x)[0], expected)


@pytest.mark.parametrize("part", ["weights", "activations"])
@pytest.mark.parametrize("bits", [4, 6])
def test_the_jacobian_foretells_the_error_of_a_product(part, bits):
    network, x = toy(bits), inputs(seed=3)
    for product in network.products().values():
        product.activation_bits = product.weight_bits = None
    expected, seen = network(x)
    found = noise_of_products(
        lambda: network(x)[0],
        network.products(),
        [bits],
        torch.ones(len(x), dtype=x.dtype),
        torch.Generator().manual_seed(0),
        probes=64,
    )
    for (name, product), operand in zip(network.products().items(), seen, strict=True):
        if part == "weights":
            product.weight_bits, product.clip = bits, calibrated_row_clips(product.weight.detach(), bits)
        else:
            product.activation_bits = bits
            product.step.start_at(calibrated_step(operand.detach().flatten(), bits, "mse", product.unsigned).reshape(1))
        error = float((network(x)[0] - expected).square().flatten(1).sum(1).mean())
        product.weight_bits = product.activation_bits = None
        assert getattr(found[name][bits], part) == pytest.approx(error, rel=0.4), name


def test_the_integer_programme_finds_the_best_of_all():
    generator = torch.Generator().manual_seed(5)
    bits = (2, 4, 8)
    for _ in range(20):
        costs = [
            dict(zip(bits, sorted(torch.rand(3, generator=generator).tolist(), reverse=True), strict=True))
            for _ in range(4)
        ]
        counts = torch.randint(1, 50, (4,), generator=generator).tolist()
        price = {width: prices("bops", counts, counts, width) for width in bits}
        budget = 0.4 * sum(price[8])
        found = allocate(costs, price, budget)
        sums = {
            a: sum(c[w] for c, w in zip(costs, a, strict=True))
            for a in itertools.product(bits, repeat=4)
            if sum(price[w][i] for i, w in enumerate(a)) <= budget
        }
        assert sums[found] == min(sums.values())


def test_a_budget_that_no_allocation_meets_is_named():
    price = {width: prices("bytes", [10, 20], [100, 200], width) for width in (4, 8)}
    with pytest.raises(ConfigError, match="the least that an allocation of .4, 8. bits takes is 150"):
        allocate([{4: 1.0, 8: 0.0}] * 2, price, 100)


@pytest.mark.parametrize("text", ["bops", "bops:0", "bops:2", "time:0.5", "bytes:x", "bops:nan"])
def test_a_bad_budget_is_named(text):
    with pytest.raises(ConfigError, match="budget"):
        Budget.parse(text)


def test_regret_is_over_the_best_within_the_budget():
    loss = {(4, 4): 1.0, (4, 8): 0.4, (8, 4): 0.7, (8, 8): 0.1}
    price = {(4, 4): 1.0, (4, 8): 2.0, (8, 4): 2.0, (8, 8): 3.0}
    assert set(allocations(2, (4, 8))) == set(loss)
    found = regret({1.0: (4, 4), 2.0: (8, 4), 3.0: (8, 8)}, loss, price)
    assert list(found.values()) == pytest.approx([0, 0.3, 0])


def test_regrets_of_scores_at_every_budget_and_of_random_allocations_that_use_it_up():
    price = {4: [1.0, 2.0], 8: [2.0, 4.0]}
    truth = {(4, 4): 1.0, (8, 4): 0.4, (4, 8): 0.5, (8, 8): 0.1}
    assert [total(price, allocation) for allocation in truth] == [3, 4, 5, 6]
    costs = {"right": [{4: 0.6, 8: 0.0}, {4: 0.5, 8: 0.0}], "wrong": [{4: 0.1, 8: 0.0}, {4: 0.9, 8: 0.0}]}
    found = regrets(truth, price, costs, 1)
    assert found["right"]["largest"] == found["right"]["mean"] == 0
    assert found["wrong"]["chosen"] == [[3, [4, 4], 1.0], [4, [8, 4], 0.4], [5, [4, 8], 0.5], [6, [8, 8], 0.1]]
    assert (found["wrong"]["largest"], found["wrong"]["mean"]) == pytest.approx((0.1, 0.025))
    # at 5, either product can have 8 bits; elsewhere, one allocation cannot be widened
    assert found["random"]["largest"] == pytest.approx(0.1)
    assert found["random"]["mean"] == pytest.approx(0.0125, abs=0.005)
    assert "| wrong | 0.100 dB | 0.025 dB |" in regret_table(found)


def test_log_sqrt2_has_levels_half_an_octave_apart():
    levels = 2.0 ** (-torch.arange(0, 15) / 2)
    assert torch.allclose(log_sqrt2_quantize(levels, 4), levels, rtol=1e-6)
    assert torch.equal(log_sqrt2_codes(levels, 1.0, 4), torch.arange(0.0, 15))
    values = torch.rand(1000, generator=torch.Generator().manual_seed(0)) * 0.99 + 0.01
    assert float((log_sqrt2_quantize(values, 4) / values).log2().abs().max()) < 0.2501
    assert log_sqrt2_quantize(torch.tensor([0.0, 1e-6]), 4).tolist() == [0, 0]
