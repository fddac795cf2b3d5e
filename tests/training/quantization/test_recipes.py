# SPDX-License-Identifier: GPL-3.0-or-later
"""What all folds have to keep: the network, and the codes of the channel-wise quantizer."""

import copy

import pytest
import torch

from training.config import ConfigError
from training.quantization import mergequant, repq, smoothquant
from training.quantization.product import Norm, Rows, merge
from training.quantization.quantizers import calibrated_step, limits
from training.quantization.ranges import calibration_rows, spread
from training.quantization.recipes import RECIPES, prepare

from .toy import HEADS, HIDDEN, WIDTH, inputs, toy

pytestmark = pytest.mark.training

METHODS = [name for name, recipe in RECIPES.items() if recipe.scales is not None]


def quantized(method, bits=4, strength=1.0, seed=0):
    """A toy network made ready by a method, not yet rounding, the one it was, and the operands of both."""
    before = toy(bits, seed)
    for product in before.products().values():
        product.activation_bits = product.weight_bits = None
    _, seen = before(inputs())
    after = copy.deepcopy(before)
    for product in after.products().values():
        product.activation_bits = product.weight_bits = bits
    prepared = prepare(method, after.sites(), [x.detach() for x in seen], strength)
    for product in after.products().values():
        product.activation_bits = product.weight_bits = None
    merge(after.sites())
    return before, after, seen, prepared


@pytest.mark.parametrize("strength", [1.0, 0.5])
@pytest.mark.parametrize("method", [name for name in METHODS if name != "mergequant"])
def test_a_fold_leaves_the_float_network_what_it_was(method, strength):
    before, after, _, prepared = quantized(method, strength=strength)
    x = inputs(seed=1)
    expected = before(x)[0].detach()
    assert torch.allclose(expected, after(x)[0], rtol=0, atol=1e-9 * float(expected.abs().max()))
    for (expected, _), found in zip(prepared, after(inputs())[1], strict=True):
        assert torch.allclose(expected, found, rtol=1e-9, atol=1e-9)
    changed = [
        not torch.equal(a.weight, b.weight)
        for a, b in zip(*(n.products().values() for n in (before, after)), strict=True)
    ]
    assert all(changed) if RECIPES[method].everywhere else changed[0] and not changed[4]


@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("index", range(5))
def test_the_tensors_codes_are_those_of_the_channels_bit_for_bit(index, bits):
    network = toy()
    _, seen = network(inputs())
    site = network.sites()[index]
    x = seen[index].detach()
    calibrated = repq.channels(site, calibration_rows(site.name, x), bits)
    r, b = calibrated.reparametrized()
    expected = repq.channel_codes(x, calibrated, bits, site.product.unsigned)
    site.product.r, site.product.b = r, b
    merge([site])
    folded = network(inputs())[1][index]
    found = repq.tensor_codes(folded, calibrated.step.mean(), bits, site.product.unsigned)
    assert torch.equal(expected, found)
    assert found.unique().numel() > 2 ** (bits - 1) - 1
    assert (found.min(), found.max()) == limits(bits, site.product.unsigned)


def test_the_equations_of_the_paper():
    """gamma' = gamma / r1, beta' = (beta + s r2) / r1, W' = W diag(r1), bias' = bias - W (s r2), r2 = z - z~."""
    network = toy()
    site = network.sites()[0]
    gamma, beta = network.norm.weight.detach().clone(), network.norm.bias.detach().clone()
    weight, bias = network.project.weight.detach().clone(), network.project.bias.detach().clone()
    calibrated = repq.channels(site, network(inputs())[1][0].detach().flatten(0, -2), 4)
    r1, r2 = calibrated.step / calibrated.step.mean(), -calibrated.middle / calibrated.step  # z of symmetric codes
    site.product.r, site.product.b = calibrated.reparametrized()
    merge([site])
    assert torch.allclose(network.norm.weight, gamma / r1)
    assert torch.allclose(network.norm.bias, (beta + calibrated.step * r2) / r1)
    assert torch.allclose(network.project.weight, weight * r1)
    assert torch.allclose(network.project.bias, bias - weight @ (calibrated.step * r2))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bits", [4, 8])
def test_merging_changes_nothing_of_a_quantized_network(method, bits):
    network, x = toy(bits), inputs()
    for product in network.products().values():
        product.activation_bits = product.weight_bits = None
    seen = [operand.detach() for operand in network(x)[1]]
    for product in network.products().values():
        product.activation_bits = product.weight_bits = bits
    for product, (_, step) in zip(
        network.products().values(), prepare(method, network.sites(), seen, 1.0), strict=True
    ):
        product.step.start_at(torch.tensor([0.1]) if step is None else step.reshape(1))
    before = network(x)[0].detach()
    merge(network.sites())
    after = network(x)[0].detach()
    assert all(product.r is None and product.b is None for product in network.products().values())
    assert (before - after).abs().mean() < 1e-6 * before.abs().mean(), "steps are float32, all else is double"


def test_no_strength_means_no_scale():
    calibrated = repq.Channels(torch.zeros(3), torch.tensor([0.1, 1.0, 10.0]))
    assert torch.equal(calibrated.reparametrized(0.0)[0], torch.ones(3))
    assert calibrated.reparametrized(0.5)[0].log().diff().tolist() == pytest.approx([1.1513, 1.1513], rel=1e-3)


def test_outliers_cost_less_once_they_are_folded():
    x = inputs(seed=2)
    errors = {}
    for method in ("mse", "repq", "repq-all", "mergequant"):
        before, after, _, prepared = quantized(method)
        for product, (operand, step) in zip(after.products().values(), prepared, strict=True):
            product.activation_bits = product.weight_bits = 4
            calibrated = calibrated_step(operand.flatten(), 4, "mse", product.unsigned)
            product.step.start_at((calibrated if step is None else step).reshape(1))
        errors[method] = (after(x)[0] - before(x)[0]).detach().square().mean().item()
    assert errors["repq"] < 0.7 * errors["mse"]
    assert errors["repq-all"] < 0.7 * errors["mse"] and errors["mergequant"] < errors["mse"]


def test_migration_gives_the_codes_of_the_channels():
    before, _, seen, prepared = quantized("mergequant")
    for site, x, (operand, step) in zip(before.sites(), seen, prepared, strict=True):
        steps = mergequant.channel_steps(site, x.detach().flatten(0, -2), 4)
        channel = torch.round(x / steps).clamp(*limits(4, site.product.unsigned))
        tensor = torch.round(operand / step).clamp(*limits(4, site.product.unsigned))
        untouched = [c for c in range(x.shape[-1]) if torch.allclose(x[..., c] / steps[c], operand[..., c] / step)]
        assert len(untouched) >= 0.7 * x.shape[-1]
        assert torch.equal(channel[..., untouched], tensor[..., untouched])


@pytest.mark.parametrize("index", range(4))
def test_channels_are_split_without_a_change_and_the_width_stays(index):
    """What is left out has weights of zero here, so that the output may not change at all."""
    network = toy()
    site = network.sites()[index]
    width = HIDDEN if index == 3 else WIDTH
    weak = [c for c in range(width) if c % 12 == 11]
    with torch.no_grad():
        site.product.weight[:, weak] = 0
    x = inputs()
    expected, seen = network(x)
    rows = seen[index].detach().flatten(0, -2)
    weights_before = site.product.weight.detach().clone()
    steps = torch.ones(width, dtype=x.dtype)
    steps[3] = 5.0
    select = mergequant.reconstruct(site, rows, steps)
    assert select is not None and (select == 3).sum() > 1
    left_out = sorted(set(range(width)) - set(select.tolist()))
    assert left_out and not (rows[:, left_out] @ weights_before[:, left_out].mT).any()
    found, operands = network(x)
    assert operands[index].shape == seen[index].shape
    assert torch.allclose(expected, found, rtol=0, atol=1e-10 * float(expected.detach().abs().max()))
    assert (site.product.select is None) == isinstance(site.feed, Rows)
    if isinstance(site.feed, Rows) and site.feed.groups == HEADS:
        own = width // HEADS
        assert all(int(c) // own == i // own for i, c in enumerate(select)), "heads do not mix"


def test_alike_channels_are_left_alone():
    network = toy()
    _, seen = network(inputs())
    assert mergequant.reconstruct(network.sites()[1], seen[1].detach().flatten(0, -2), torch.ones(WIDTH)) is None


def test_smoothquant_shares_the_difficulty():
    network = toy()
    site = network.sites()[0]
    rows = network(inputs())[1][0].detach().flatten(0, -2)
    r, b = smoothquant.scales(site, rows, 0.5)
    assert not b.any()
    site.product.r, site.product.b = r, b
    merge([site])
    balance = (rows / r).abs().amax(0) / site.product.weight.abs().amax(0)
    assert float(balance.max() / balance.min()) == pytest.approx(1, rel=1e-6)


def test_bad_calibration_sets_are_named():
    network = toy(4)
    seen = [torch.ones(20, x.shape[-1], dtype=x.dtype) for x in network(inputs())[1]]
    with pytest.raises(ConfigError, match="project: 20 vectors to calibrate on; at least 256 expected"):
        prepare("repq", network.sites(), seen, 1.0)
    with pytest.raises(ConfigError, match="combine: .* not finite"):
        calibration_rows("combine", torch.full((300, 4), torch.nan))


def test_the_spread_of_the_channels_is_seen():
    rows = torch.randn(1000, 9, generator=torch.Generator().manual_seed(0)).clamp(-2, 2)
    assert spread(rows).max_over_median < 1.3
    rows[:, 4] *= 50
    assert spread(rows).max_over_median > 20


def test_norms_only_is_what_is_published():
    for method in ("repq", "lrp-qvit", "smoothquant"):
        before, after, _, _ = quantized(method)
        for site, other in zip(before.sites(), after.sites(), strict=True):
            if not isinstance(site.feed, Norm | Rows):
                assert torch.equal(site.product.weight, other.product.weight)
        assert after.output.scale is None
