# SPDX-License-Identifier: GPL-3.0-or-later
"""The torch networks are the networks that gr_kaq runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gr_kaq.detection import full_precision
from gr_kaq.detection.model_file import load, save
from gr_kaq.detection.preparation import prepare
from gr_kaq.detection.unfolded_detector import UnfoldedDetector
from gr_kaq.signals.constellation import CONSTELLATIONS
from tests.training.detector.configs import small_config
from training.detector.batches import draw_batch, to_real
from training.detector.config import Quantizer
from training.detector.export import detector_model
from training.detector.networks import build

pytestmark = pytest.mark.training

NETWORKS = [
    ("admm", "ramp", "16qam", (8, 8)),
    ("admm", "ramp", "qpsk", (4, 3)),
    ("admm", "ramp", "64qam", (16, 16)),
    ("pgd", "ramp", "16qam", (16, 4)),
    ("pgd", "soft_threshold", "16qam", (16, 16)),
]


def networks(network, proximal, constellation, bits=8, spread=0.15, quantizer=None):
    """A twin and a quantized network with laws away from their starting values, and a batch for them."""
    config = small_config(
        network=network,
        proximal=proximal,
        constellation=constellation,
        activation_bits=bits,
        matrix_bits=bits if isinstance(bits, int) else 5,
        quantizer=quantizer or Quantizer(),
    )
    generator = torch.Generator().manual_seed(3)
    twin = build(config, False)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(spread * torch.randn(parameter.shape, generator=generator))
    return config, twin, build(config, True), generator


def batch_for(config, size, snr_db, generator, count=400):
    return draw_batch(config.channel, None, CONSTELLATIONS[config.constellation], (count, 4), size, snr_db, generator)


def bit_errors(constellation, t, x):
    points = CONSTELLATIONS[constellation]

    def bits(v):
        n = v.shape[-1] // 2
        return points.decide(v[..., :n] + 1j * v[..., n:])

    return int(np.count_nonzero(bits(t) != bits(x)))


@pytest.mark.parametrize(("network", "proximal", "constellation", "size"), NETWORKS)
def test_full_precision_is_the_package_s(network, proximal, constellation, size, tmp_path):
    config, twin, _, generator = networks(network, proximal, constellation)
    batch = batch_for(config, size, (0, 30), generator)  # beyond snr_db at either end, so that laws are clipped
    with torch.no_grad():
        expected = twin(batch).t.numpy()
    model = load(save(detector_model(config, twin), tmp_path))
    prepared = prepare(model, batch.h.numpy(), batch.noise_var.numpy().astype(float), batch.snr_db.numpy())
    got = full_precision.detect(model, prepared, batch.y.numpy())
    error = np.abs(got - expected)
    # a value on the edge of a very steep ramp may fall to either side
    assert np.mean(error < 1e-4) > 0.998
    assert np.median(error) < 1e-5


@pytest.mark.parametrize("bits", [8, 4, (3, 5, 8)])
@pytest.mark.parametrize(
    ("network", "proximal", "constellation", "size", "streams"),
    [
        (*case, streams)
        for case in NETWORKS
        for streams in (("common", "own", "midrise") if case[0] == "admm" else ("common",))
    ],
)
def test_quantized_is_the_integer_reference(network, proximal, constellation, size, streams, bits, tmp_path):
    midrise = streams == "midrise"
    if midrise and bits != 4:
        bits = 7 if bits == 8 else (2, 3, 7)
    streams = "own" if midrise else streams
    quantizer = Quantizer(
        streams=streams,
        matrix_clip="max" if streams == "common" else "learned",
        levels="midrise" if midrise else "midtread",
    )
    config, twin, quantized, generator = networks(network, proximal, constellation, bits, 0.05, quantizer)
    span = {"qpsk": (8, 14), "16qam": (14, 20), "64qam": (22, 28)}[constellation]
    batch = batch_for(config, size, span, generator, 1000)
    quantized.start_from(twin, [batch])
    with torch.no_grad():
        expected = quantized(batch).t.numpy()
    model = load(save(detector_model(config, quantized), tmp_path))
    assert (model.stream_steps, model.midrise) == (streams == "own", midrise)
    detection = UnfoldedDetector(model, "reference").detect(
        batch.y.numpy(), batch.h.numpy(), noise_var=batch.noise_var.numpy()
    )
    got = to_real(torch.from_numpy(detection.symbols)).numpy()
    unit = model.constellation.half_distance / 512
    error = np.abs(got - expected) / unit
    if bits in (7, 8):  # at 4 bits a step is hundreds of state units, and one that flips moves all rows
        assert np.median(error) < 8
    assert np.corrcoef(got.ravel(), expected.ravel())[0, 1] > 0.99
    x = batch.x.numpy()
    torch_errors, integer_errors = bit_errors(constellation, expected, x), bit_errors(constellation, got, x)
    assert torch_errors > 100
    assert abs(torch_errors - integer_errors) < 0.05 * torch_errors + 10


def test_quantized_starts_as_its_twin():
    config, twin, quantized, generator = networks("admm", "ramp", "16qam", bits=8)
    batch = batch_for(config, (8, 8), (15, 20), generator)
    quantized.start_from(twin, [batch])
    with torch.no_grad():
        difference = (quantized(batch).t - twin(batch).t).abs().median()
    assert 0 < difference < 0.01


@pytest.mark.parametrize(("network", "proximal", "constellation", "size"), NETWORKS)
def test_every_parameter_gets_a_gradient(network, proximal, constellation, size):
    quantizer = Quantizer(streams="own" if network == "admm" else "common", matrix_clip="learned")
    config, twin, quantized, generator = networks(network, proximal, constellation, 4, 0.0, quantizer)
    batch = batch_for(config, size, (15, 30), generator)
    quantized.start_from(twin, [batch])
    output = quantized(batch)
    sum((o - batch.x).square().mean() for o in output.outputs + output.intermediate).backward()
    for name, parameter in quantized.named_parameters():
        gradient = parameter.grad
        assert gradient is not None and torch.isfinite(gradient).all(), name
        # nothing is multiplied in PGD-Net's first layer, whose x is 0
        skip = 1 if network == "pgd" and name.startswith("step") else 0
        assert (gradient.flatten()[skip:] != 0).all(), name


def test_static_laws_have_no_alpha():
    config = small_config(quantizer=Quantizer(law="static"), laws="static")
    trainable = [name for name, p in build(config, True).named_parameters() if p.requires_grad]
    assert trainable and not any("alpha" in name for name in trainable)


def test_fixed_steps_are_not_trained():
    config = small_config(quantizer=Quantizer(step="fixed", law="static"))
    network = build(config, True)
    assert not [p for p in network.step.parameters() if p.requires_grad]
    assert [p for p in network.variance.parameters() if p.requires_grad]


def test_steps_are_calibrated_on_all_batches():
    config, twin, _, generator = networks("admm", "ramp", "16qam", bits=4)
    batches = [batch_for(config, size, (5, 25), generator, 50) for size in ((8, 8), (4, 4))]
    with torch.no_grad():
        per_batch = [[v.abs().max() for v in twin(batch).activations] for batch in batches]
    network = build(small_config(activation_bits=4, quantizer=Quantizer("fixed", "minmax", "static")), True)
    network.start_from(twin, batches)
    expected = torch.tensor(per_batch).amax(0) / 7
    assert torch.allclose(network.step.gamma, expected)
    assert not network.step.alpha.any()
    assert torch.allclose(network.clip_values(batches[0]), 7 * expected)
