# SPDX-License-Identifier: GPL-3.0-or-later
"""Training: it learns, it resumes bit for bit, and the commands do what they say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from gr_kaq import native
from tests.training.detector.configs import small_config
from training.config import ConfigError
from training.detector.config import Channel, CsiError, Evaluation, Quantizer
from training.detector.evaluate import measure, measure_again
from training.detector.export import detector_model
from training.detector.train import Run, symbol_loss, train
from training.optimization import Stage
from training.quantization.mmd import Mmd

pytestmark = pytest.mark.training


def finish(run, directory):
    train(run, directory)
    return run


def assert_same_run(a, b):
    assert a.history == b.history
    assert torch.equal(a.generator.get_state(), b.generator.get_state())
    for one, other in ((a.twin, b.twin), (a.network, b.network), (a.mmd, b.mmd)):
        for (name, x), (_, y) in zip(one.state_dict().items(), other.state_dict().items(), strict=True):
            assert torch.equal(x, y), name


@pytest.mark.parametrize("interrupted_after", [7, 30, 43])
def test_resuming_is_bit_identical(tmp_path, interrupted_after):
    config = small_config()
    whole = finish(Run.start(config), tmp_path / "whole")
    run = Run.start(config)
    for _ in range(interrupted_after):
        if run.stage == 0 and run.iteration == config.full_precision.iterations:
            run.begin_stage(1)
        run.step()
    run.save(tmp_path / "parts")
    assert_same_run(whole, finish(Run.resume(tmp_path / "parts", config), tmp_path / "parts"))


def test_the_seed_decides(tmp_path):
    runs = [finish(Run.start(small_config(seed=seed)), tmp_path / str(i)) for i, seed in enumerate((1, 1, 2))]
    assert_same_run(runs[0], runs[1])
    assert runs[0].history != runs[2].history


def test_a_twin_is_shared_bit_for_bit(tmp_path):
    config = small_config()
    whole = finish(Run.start(config), tmp_path / "whole")
    train(
        Run.start(small_config(name="twin", activation_bits=3, quantized=Stage(0, 0.1))),
        tmp_path / "twin",
        last_stage=0,
    )
    run = Run.from_twin(tmp_path / "twin", config)
    assert run.stage == 0 and run.iteration == config.full_precision.iterations
    assert_same_run(whole, finish(run, tmp_path / "other"))
    with pytest.raises(ConfigError, match="intermediate_weight"):
        Run.from_twin(tmp_path / "twin", small_config(intermediate_weight=0.5))


def test_methods_train_on_the_same_batches(tmp_path):
    states = []
    for changes in (
        {},
        {"quantizer": Quantizer("pact", "minmax", "static")},
        {"mmd": Mmd(samples="scalar", estimator="linear")},
    ):
        run = finish(Run.start(small_config(quantized=Stage(3, 0.01), **changes)), tmp_path / str(len(states)))
        states.append(run.generator.get_state())
    assert all(torch.equal(states[0], state) for state in states)


def test_no_iterations_are_post_training_quantization(tmp_path):
    config = small_config(
        quantized=Stage(0, 0.01), quantizer=Quantizer("fixed", "mse", "static"), activation_bits=4, matrix_bits=4
    )
    run = finish(Run.start(config), tmp_path)
    twin, network = detector_model(config, run.twin), detector_model(config, run.network)
    assert network.output_variance == twin.output_variance and network.regularization == twin.regularization
    assert all(a.variance == b.variance and a.step is None for a, b in zip(twin.layers, network.layers, strict=True))
    assert all(layer.step.alpha == 0 and layer.step.gamma > 0 for layer in network.layers)
    assert_same_run(run, Run.resume(tmp_path, config))


def test_a_positive_alpha_stays_positive(tmp_path):
    changes = {
        "sizes": ((4, 4),),
        "activation_bits": 3,
        "full_precision": Stage(10, 0.03),
        "quantized": Stage(15, 0.03),
    }
    free, positive = (
        finish(Run.start(small_config(quantizer=Quantizer(law=law), **changes)), tmp_path / law).network.step.alpha
        for law in ("dynamic", "dynamic_positive")
    )
    assert (free < 0).any()
    assert (positive >= 0).all()


def test_pact_s_clip_values_decay(tmp_path):
    quantizer = Quantizer("pact", "minmax", "static")
    config = small_config(quantizer=quantizer, activation_bits=4, matrix_bits=4, mmd=Mmd(0.0))
    untrained = Run.start(dataclasses.replace(config, quantized=Stage(0, 0.1)))
    starting = finish(untrained, tmp_path / "start").network.step.gamma
    run = finish(Run.start(config), tmp_path / "run")
    assert (run.network.step.gamma < starting).all()
    assert run.history[-1]["loss"] > run.history[-1]["mse"]


@pytest.mark.parametrize("channel", [Channel(), Channel("kronecker", 0.5)])
def test_earlier_results_are_measured_again_on_the_same_transmissions(channel):
    config = small_config(channel=channel, evaluation=Evaluation((10.0, 15.0), 200, 50_000))
    run = Run.start(config)
    model = detector_model(config, run.twin)
    results = measure(config, [model], progress=False)
    own = [r for r in results if r["detector"] == "small-fp"]
    assert len(own) == 4 and all(r["bit_errors"] >= 200 or r["bits"] >= 50_000 for r in own)
    assert measure_again(config, [model], results) == own
    assert measure(config, [model], seed=7, progress=False)[0]["bit_errors"] != results[0]["bit_errors"]


def test_recorded_channels_are_measured_in_whole_rounds(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "h.npz"
    np.savez(path, h=rng.integers(-1000, 1000, (5, 8, 3, 2, 2)).astype(np.int16))
    channel = Channel("recorded", file=str(path), training_packets=(0, 3))
    config = small_config(channel=channel, sizes=((3, 2),), evaluation=Evaluation((8.0,), 10, 100_000))
    results = measure(config, [], progress=False)
    held_out, everything = results
    assert "held out" in held_out["channel"] and "all packets" in everything["channel"]
    per_packet = 8 * 20 * 2 * 4
    assert held_out["bits"] % (2 * per_packet) == 0 and everything["bits"] % (5 * per_packet) == 0


def test_reference_and_native_kernel_measure_the_same(monkeypatch):
    pytest.importorskip("gr_kaq._kernel")
    config = small_config(activation_bits=4, evaluation=Evaluation((15.0,), 100, 20_000))
    run = Run.start(config)
    run.begin_stage(1)
    model = detector_model(config, run.network)
    fast = measure(config, [model], progress=False)

    def missing():
        raise ImportError

    monkeypatch.setattr(native, "instruction_sets", missing)
    slow = measure(config, [model], progress=False)
    # the preparation is in single precision in one and in double in the other, so that an integer may differ by one
    assert [r["bit_errors"] for r in slow] == pytest.approx([r["bit_errors"] for r in fast], rel=0.02)


def test_another_configuration_does_not_resume(tmp_path):
    Run.start(small_config()).save(tmp_path)
    with pytest.raises(ConfigError, match=r"seed.*--fresh"):
        Run.resume(tmp_path, small_config(seed=9))


@pytest.mark.parametrize(
    "changes",
    [
        {"network": "pgd", "sizes": ((8, 2),)},
        {"network": "pgd", "proximal": "soft_threshold", "laws": "static", "quantizer": Quantizer(law="static")},
        {"channel": Channel("kronecker", 0.7), "mmd": Mmd(1.0, "fixed"), "activation_bits": 4, "matrix_bits": 4},
        {"constellation": "qpsk", "mmd": Mmd(0.1, "descent"), "activation_bits": 2},
        {"quantizer": Quantizer("fixed", "percentile", "static"), "activation_bits": 4},
        {"quantizer": Quantizer("lsq", "lsq", "static"), "mmd": Mmd(0.1, samples="scalar"), "activation_bits": 3},
        {"quantizer": Quantizer("pact", "minmax", "static"), "mmd": Mmd(0.1, estimator="linear")},
        {
            "quantizer": Quantizer("straight_through", "mse", "dynamic_positive"),
            "csi_error": CsiError((-3.0, 3.0), 1.0),
        },
    ],
)
def test_every_kind_of_run_trains(tmp_path, changes):
    run = finish(Run.start(small_config(**changes)), tmp_path)
    last = run.history[-1]
    assert last["stage"] == "quantized" and last["mse"] > 0 and last["mmd"] != 0
    first = run.history[0]
    assert last["mse"] < 2 * first["mse"]


def test_training_lowers_the_loss(tmp_path):
    config = small_config(sizes=((16, 16),), snr_db=(16.0, 22.0), full_precision=Stage(100, 0.03))
    run = Run.start(config)
    batches = [run.draw(run.generator) for _ in range(10)]

    def loss(network):
        with torch.no_grad():
            return sum(float(symbol_loss(config, batch, network(batch))) for batch in batches)

    before = loss(run.twin)
    train(run, tmp_path)
    assert loss(run.twin) < 0.9 * before
    assert loss(run.network) < 0.9 * before
