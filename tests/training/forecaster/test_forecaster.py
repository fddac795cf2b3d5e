# SPDX-License-Identifier: GPL-3.0-or-later
"""The clustering network: its series, its losses, and the same in ONNX Runtime."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from gr_kaq.forecasting.ccm import FADINGS, FEATURES, HISTORY, HORIZONS, ClusteringNetwork, features
from gr_kaq.forecasting.predictors import clustered_wiener
from gr_kaq.forecasting.series import Series
from training.__main__ import main
from training.forecaster.config import Config
from training.forecaster.export import onnx_model
from training.forecaster.network import NOISE_LEVELS, ForecasterNet, cluster_loss
from training.forecaster.rounding import GROUP, rounded_heads
from training.forecaster.series import Batch, draw, expected_error
from training.forecaster.train import excess_db, inputs_of, loss_of, train
from training.quantization.quantizers import fake_quantize_rows

pytestmark = pytest.mark.training

AHEAD = np.arange(1.0, HORIZONS + 1)


@pytest.fixture(scope="module")
def trained():
    return train(Config("test", steps=16))


def saved(network, path):
    onnx.save(onnx_model(network, {"description": "test"}), path)
    return ClusteringNetwork(path)


def test_series_have_the_statistics_that_they_come_with():
    batch = draw(np.random.default_rng(0), 60)
    scaled = (batch.samples / batch.powers.sqrt()[..., None]).to(torch.complex128)
    white = torch.linalg.solve(batch.covariance.to(torch.complex128), scaled[..., None])[..., 0]
    quadratic = torch.sum(scaled.conj() * white, -1).real  # of N values with this covariance: N
    assert quadratic.mean() == pytest.approx(HISTORY, rel=0.03)


def test_no_filter_errs_less_than_the_least_error():
    batch = draw(np.random.default_rng(1), 4)
    best = torch.linalg.solve(batch.covariance.to(torch.complex128), batch.across.to(torch.complex128))
    best = best.transpose(-1, -2).conj().to(torch.complex64)
    assert torch.allclose(expected_error(batch, best), batch.least, atol=2e-3)
    assert (expected_error(batch, 0.9 * best) > batch.least - 2e-3).all()
    assert torch.allclose(expected_error(batch, 0 * best), torch.ones(()), atol=1e-6)


def test_phase_and_scale_change_no_feature():
    batch = draw(np.random.default_rng(2), 1)
    samples, noise = batch.samples.numpy(), batch.noise.numpy()
    np.testing.assert_allclose(features(samples, noise), features(3e-3j * samples, 9e-6 * noise), atol=1e-3)


def test_series_together_that_are_alike_lower_the_clustering_loss():
    x = torch.cat([torch.zeros(4, FEATURES), torch.ones(4, FEATURES)])[None]
    right = torch.eye(2).repeat_interleave(4, 0)[None]
    assert cluster_loss(x, right) < cluster_loss(x, torch.full((1, 8, 2), 0.5))
    assert cluster_loss(x, right) < cluster_loss(x, torch.eye(2).repeat(4, 1)[None])


def test_training_brings_filters_nearer_to_the_bound(trained):
    batch = draw(np.random.default_rng(3), 20)
    with torch.no_grad():
        before, after = (excess_db(batch, net(inputs_of(batch))[0]).mean() for net in (ForecasterNet(), trained[0]))
    assert after < before


@pytest.mark.long
def test_training_on_many_series_stays_finite():
    """With 96 of them some fit to no cluster, and what is divided by there was too small for gradients."""
    for network in train(Config("test", steps=20, size=(4, 4))):
        assert all(torch.isfinite(each).all() for each in network.parameters())


def test_heads_are_rounded_where_series_have_no_power():
    network = ForecasterNet()
    heads = network.heads.detach()
    ones = torch.ones(())
    found = torch.from_numpy(rounded_heads(heads.numpy(), 10**NOISE_LEVELS, 8))

    def quantized(weights):
        return fake_quantize_rows(weights.unflatten(-1, (-1, GROUP)), 8, ones).flatten(-2)

    torch.testing.assert_close(quantized(found), found, atol=1e-5, rtol=0)
    ages = np.arange(HISTORY)
    for place, level in ((5, 2), (30, 3), (100, 2)):  # slow, fast, and with a line
        covariance = torch.from_numpy(FADINGS[place].correlation(ages[:, None] - ages)).to(torch.complex64)
        head = place * len(NOISE_LEVELS) + level
        wrong = []
        for other in (found, quantized(heads)):
            away = torch.complex(*(other[head] - heads[head]).unflatten(0, (2, HORIZONS)))
            wrong.append(float(torch.sum((away @ covariance) * away.conj()).real))
        assert wrong[0] < 0.7 * wrong[1]


@pytest.mark.parametrize("quantized", [False, True])
def test_onnx_runtime_gives_the_same_filters_for_any_number_of_series(trained, tmp_path, quantized):
    network = trained[quantized]
    run = saved(network, tmp_path / "ccm.onnx")
    for num_rx, num_tx in ((2, 2), (4, 4)):
        batch = draw(np.random.default_rng(4), 1, num_rx, num_tx)
        with torch.no_grad():
            weights, log_errors, p, _ = network(inputs_of(batch))
        series = Series(np.arange(HISTORY), batch.samples[0].numpy(), batch.noise[0].numpy())
        filters, errors, memberships = run.filters(series)
        scale = float(weights.abs().max())
        np.testing.assert_allclose(filters, weights[0], atol=(0.02 if quantized else 1e-4) * scale)
        np.testing.assert_allclose(np.log(errors), log_errors[0], atol=0.3 if quantized else 1e-3)
        np.testing.assert_allclose(memberships, p[0], atol=0.05 if quantized else 1e-4)


def test_the_network_is_a_predictor(trained, tmp_path):
    run = saved(trained[0], tmp_path / "ccm.onnx")
    batch = draw(np.random.default_rng(5), 1)
    values = batch.samples[0].numpy()
    series = Series(1e-3 * np.arange(HISTORY), values, batch.noise[0].numpy())
    forecast = run(series, 1e-3 * AHEAD[[0, 4]])
    assert forecast.values.shape == forecast.error_var.shape == (len(values), 2) and (forecast.error_var > 0).all()
    turned = run(Series(series.times, 1j * values, series.noise_var), 1e-3 * AHEAD[[0, 4]])
    np.testing.assert_allclose(turned.values, 1j * forecast.values, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("fault", ["missing", "irregular", "few", "far"])
def test_what_it_is_not_made_for_is_forecast_by_clustered_wiener(trained, tmp_path, fault):
    run = saved(trained[0], tmp_path / "ccm.onnx")
    batch = draw(np.random.default_rng(6), 1)
    values, times, ahead = batch.samples[0].numpy().copy(), np.arange(float(HISTORY)), np.array([1.0])
    if fault == "missing":
        values[0, 5] = np.nan
    elif fault == "irregular":
        times[5] += 0.4
    elif fault == "few":
        values, times = values[:, 8:], times[8:]
    else:
        ahead = np.array([40.0])
    series = Series(times, values, batch.noise[0].numpy())
    np.testing.assert_array_equal(run(series, ahead).values, clustered_wiener(series, ahead).values)


def test_what_is_no_network_is_refused(tmp_path):
    (tmp_path / "no.onnx").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"no\.onnx.*a forecaster in ONNX expected"):
        ClusteringNetwork(tmp_path / "no.onnx")


def test_a_run_is_trained_and_exported(tmp_path, capsys):
    assert main(["train", "forecaster", "--set", "steps=8", "--output", str(tmp_path)]) == 0
    run = tmp_path / "forecaster"
    assert f"export with: python -m training export {run}" in capsys.readouterr().out
    assert main(["export", str(run)]) == 0
    assert capsys.readouterr().out.split() == [str(run / "forecaster.onnx"), str(run / "forecaster-fp.onnx")]
    batch = draw(np.random.default_rng(7), 1)
    series = Series(np.arange(HISTORY), batch.samples[0].numpy(), batch.noise[0].numpy())
    quantized, twin = (ClusteringNetwork(path).filters(series)[0] for path in sorted(run.glob("*.onnx"), reverse=True))
    assert np.isfinite(quantized).all() and np.abs(quantized - twin).max() > 0


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("steps=0", "key steps: at least 1 expected, got 0"),
        ("bits=9", "key bits: one of 2, 3, 4, 5, 6, 7, 8 expected, got 9"),
        ("size=[0, 2]", "key size: at least 1 expected, got 0"),
        ("seed=-1", "key seed: at least 0 expected, got -1"),
    ],
)
def test_what_cannot_be_trained_is_said(tmp_path, capsys, key, said):
    assert main(["train", "forecaster", "--set", key, "--output", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err


def test_what_cannot_be_exported_is_said(tmp_path, capsys):
    Config("test", bits=4).save(tmp_path)
    assert main(["export", str(tmp_path)]) == 2
    assert "no forecaster.pt, so this is no finished run" in capsys.readouterr().err
    (tmp_path / "forecaster.pt").touch()
    assert main(["export", str(tmp_path)]) == 2
    assert "4 bits; ONNX has 8" in capsys.readouterr().err


@pytest.mark.parametrize("bits", [None, 8])
def test_training_computes_on_one_device(bits):
    """Fake tensors compute shapes and devices only, and raise where two devices meet: here the CPU and another one."""
    other = torch.device("meta")
    batch, network = draw(np.random.default_rng(4), 3), ForecasterNet(bits)
    inputs = inputs_of(batch)
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:

        def faked(value):
            return fake.from_tensor(value.detach()) if isinstance(value, torch.Tensor) else value

        state = {name: faked(value).to(other).requires_grad_() for name, value in network.state_dict().items()}
        batch = Batch(**{field.name: faked(getattr(batch, field.name)) for field in dataclasses.fields(Batch)})

        def there(x):
            return torch.func.functional_call(network, state, x)

        loss, excess = loss_of(there, batch.to(other), faked(inputs).to(other))
        loss.backward()
        assert loss.device == excess.device == state["heads"].grad.device == other
        for mixed in ((batch, faked(inputs).to(other)), (batch.to(other), faked(inputs))):
            with pytest.raises(RuntimeError, match="two devices"):
                loss_of(there, *mixed)
