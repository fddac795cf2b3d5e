# SPDX-License-Identifier: GPL-3.0-or-later
"""The list detector in torch is that of the reference, and its step has a gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gr_kaq.detection.channel_levels import channel_levels
from gr_kaq.detection.list_preparation import prepare_list
from gr_kaq.detection.list_reference import SoftSources, fuse
from gr_kaq.signals.signal_model import Noise
from tests.training.detector.list_detector.configs import small_config
from training.detector.list_detector.batches import draw, find_paths, weaken
from training.detector.list_detector.config import Condition, StepLaw
from training.detector.list_detector.export import list_model
from training.detector.list_detector.network import ListNet, fake_quantized

pytestmark = pytest.mark.training


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("constellation", ["qpsk", "16qam", "64qam"])
@pytest.mark.parametrize("size", [(1, 1), (4, 3), (8, 8)])
def test_metrics_propagation_and_fusion_equal_the_reference(constellation, size, quantized):
    config = small_config(
        constellation=constellation, layers=2, conditions=(Condition(size, (10.0, 20.0)),), step=StepLaw(0.03, 0.007874)
    )
    network = ListNet(config, quantized)
    torch.manual_seed(1)
    torch.nn.init.normal_(network.raw_slope)
    torch.nn.init.normal_(network.raw_damping)
    model = list_model(config, network)
    received = draw(config, torch.Generator().manual_seed(2))
    found = find_paths(model, received)
    with torch.no_grad():
        output = network(found)
    gain, noise_var = channel_levels(received.h.numpy(), Noise(noise_var=received.noise_var))
    sources = SoftSources(model, prepare_list(model, received.h.numpy(), gain, noise_var), received.y.numpy())
    for own, reference in (
        (output.of_list, sources.of_list),
        (output.of_propagation, sources.of_propagation),
        (output.llrs, fuse(model, sources.of_list, sources.of_propagation, sources.spread)),
    ):
        # the reference's metrics hold a choice in their lowest bits
        assert own.numpy() == pytest.approx(reference, rel=2e-3, abs=5e-3)
    # what was sent is in the order of the levels
    assert ((output.llrs > 0) == (found.bits > 0.5)).float().mean() > 0.75


def test_the_curves_rise():
    network = ListNet(small_config(), False)
    torch.nn.init.normal_(network.raw_slope, std=3)
    slopes = network.weights.detach().flip(-1).cumsum(-1)
    assert (slopes > -1e-6).all()


@pytest.mark.parametrize("part", ["alpha", "gamma"])
def test_the_step_has_a_gradient(part):
    config = small_config(step=StepLaw(0.1, 0.05, part))
    network = ListNet(config, True)
    found = find_paths(list_model(config, network), draw(config, torch.Generator().manual_seed(1)))
    network(found).llrs.square().mean().backward()
    gradients = {"alpha": network.raw_alpha.grad, "gamma": network.raw_gamma.grad}
    assert abs(gradients.pop(part)) > 0
    assert list(gradients.values()) == [None]


def test_fake_quantization_is_straight_through():
    x = torch.tensor([0.3, -1.26, 2.5], requires_grad=True)
    unit = torch.tensor(0.5, requires_grad=True)
    y = fake_quantized(x, unit)
    assert y.detach().tolist() == [0.5, -1.5, 2.5]
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0, 1.0]
    assert unit.grad.item() == pytest.approx(sum(round(v / 0.5) - v / 0.5 for v in (0.3, -1.26, 2.5)), abs=1e-5)


def test_the_second_half_of_the_streams_is_weaker():
    h = weaken(torch.ones(2, 4, 3, dtype=torch.complex64), 20.0)
    assert np.allclose(h[0, 0].real.numpy(), [1.0, 1.0, 0.1])
