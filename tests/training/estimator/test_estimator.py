# SPDX-License-Identifier: GPL-3.0-or-later
"""The learned estimator's training: network, quantization, ONNX file, commands."""

import dataclasses
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from gr_kaq.estimation.learned import LearnedEstimator
from training.config import ConfigError, presets
from training.estimator.config import Config, Data, Network, Quantizer
from training.estimator.export import error_db, held_out_windows, linear, refined, statistics_range
from training.estimator.frames import Conditions, FrameSource, format_of, interpolators
from training.estimator.genie import genie_lmmse
from training.estimator.network import EstimatorNet, interpolated
from training.estimator.onnx_model import onnx_model
from training.estimator.train import draw_batch, quantize, train_twin, training_windows
from training.estimator.windows import windows
from training.optimization import Stage
from training.page import replace_blocks

pytestmark = pytest.mark.training

SMALL = Config(
    name="small",
    full_precision=Stage(iterations=40, learning_rate=0.003),
    quantized=Stage(iterations=4, learning_rate=0.0005),
    frames=40,
    held_out=20,
    data=Data(num_rx=(2,), num_tx=(2,), fft_sizes=(64,), snr_db=(10.0, 20.0)),
    network=Network(base="ls", width=16, hidden=32, heads=1),
    batch=64,
)
SHAPES = {
    "shipped": Network(),
    "as published": Network(base="ls", unit="channel", heads=2),
    "two dimensions of patches": Network(patch=(4, 7), width=16, heads=2, hidden=16, layers=2),
    "by way of the grid": Network(base="ls", entry="grid", patch=(3, 2), width=16, heads=2, hidden=16, layers=2),
}


def random_inputs(num_grids=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ls = torch.randn(num_grids, 52, 3, generator=generator)
    lmmse = torch.randn(num_grids, 52, 14, generator=generator)
    return ls, lmmse, torch.tensor([[30.0, 0.004, 0.02]])


def random_network(shape, quantized, bits=8, method="plain"):
    """With weights everywhere: a fresh network's last ones are zero."""
    torch.manual_seed(3)
    config = dataclasses.replace(SMALL, network=shape, quantizer=Quantizer(bits=bits, method=method))
    twin = EstimatorNet(config, quantized=False)
    torch.nn.init.normal_(twin.output.weight, std=0.05)
    if not quantized:
        return twin
    ls, lmmse, statistics = random_inputs(256, seed=1)
    network = EstimatorNet(config, quantized=True)
    network.start_from(twin, twin(ls, lmmse, statistics.repeat(256, 1))[1])
    for product in network.products().values():
        product.step.relative_alpha.data.fill_(0.05)  # so that the steps do follow the SNR
    network.merge()
    return network


@pytest.mark.parametrize("base", ["ls", "lmmse"])
def test_an_untrained_network_changes_nothing(base):
    """Training begins at the error of the base estimate."""
    network = EstimatorNet(dataclasses.replace(SMALL, network=Network(base=base)), quantized=False)
    ls, lmmse, statistics = random_inputs()
    out, _ = network(ls, lmmse, statistics.repeat(len(ls), 1))
    assert torch.equal(out, interpolated(ls) if base == "ls" else lmmse)


def test_training_lowers_the_error():
    data = training_windows(SMALL, progress=False)
    config = dataclasses.replace(SMALL, full_precision=Stage(iterations=120, learning_rate=0.01))
    twin, history = train_twin(config, data, progress=False)
    held_out = held_out_windows(SMALL)
    assert error_db(held_out, refined(twin, held_out)) < error_db(held_out, linear(held_out)) - 0.5
    assert history


def test_the_seed_decides():
    data = training_windows(SMALL, progress=False)
    weights = []
    for seed in (1, 1, 2):
        config = dataclasses.replace(SMALL, seed=seed, full_precision=Stage(iterations=3, learning_rate=0.003))
        twin, _ = train_twin(config, data, progress=False)
        network, _ = quantize(config, data, twin, progress=False)
        weights.append(network.output.weight.detach())
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_quantization_trains_steps_and_distributions():
    data = training_windows(SMALL, progress=False)
    twin, _ = train_twin(SMALL, data, progress=False)
    network, _ = quantize(SMALL, data, twin, progress=False)
    alphas = [float(product.step.alpha) for product in network.products().values()]
    assert all(alpha != 0 for alpha in alphas)
    static = dataclasses.replace(SMALL, quantizer=Quantizer(law="static"))
    network, _ = quantize(static, data, twin, progress=False)
    assert all(float(product.step.alpha) == 0 for product in network.products().values())


@pytest.mark.parametrize("bits", [3, 8])
def test_operands_are_integers_of_their_width_whose_step_follows_the_snr(bits):
    network = random_network(Network(), quantized=True, bits=bits)
    ls, lmmse, statistics = random_inputs()
    seen = {}
    for snr in (1.0, 100.0):
        statistics[:, 0] = snr
        _, operands = network(ls, lmmse, statistics.repeat(len(ls), 1))
        for (name, product), operand in zip(network.products().items(), operands, strict=True):
            step = product.step(torch.tensor([snr**-0.5])).item()
            integers = (operand / step).detach()
            assert torch.allclose(integers, integers.round(), atol=1e-3), name
            assert integers.abs().max() <= 2 ** (bits - 1) - 1 + 1e-3
            seen.setdefault(name, []).append(step)
    assert all(low > high for low, high in seen.values())


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("bits", [None, 8, 4])
def test_onnx_runtime_computes_what_torch_does(shape, bits, tmp_path):
    network = random_network(shape, bits is not None, bits or 8, "plain" if bits == 8 else "mergequant")
    metadata = {"format": "gr-kaq channel estimator 1", "name": "test", "range": json.dumps(statistics_range(Data()))}
    path = tmp_path / "test.onnx"
    path.write_bytes(onnx_model(network, "test", metadata).SerializeToString())
    ls, lmmse, statistics = random_inputs()
    for snr in (0.3, 20.0, 5000.0):  # the last one beyond the range, where both clip
        statistics[0, 0] = snr
        with torch.no_grad():
            expected = network(ls, lmmse, statistics.repeat(len(ls), 1))[0].numpy()
        found = LearnedEstimator(path).refine(ls.numpy(), lmmse.numpy(), statistics[0].numpy())
        correction = expected - (interpolated(ls) if shape.base == "ls" else lmmse).numpy()
        # quantized values next to a rounding boundary fall either way
        tolerance = {None: 1e-5, 8: 0.03, 4: 0.1}[bits]
        assert np.std(found - expected) < tolerance * np.std(correction)


@pytest.mark.parametrize(("bits", "method"), [(8, "plain"), (4, "repq-all"), (6, "mergequant")])
def test_the_products_are_integer_in_onnx_runtime(bits, method, tmp_path):
    """Otherwise they would be a simulation, slower than floating point."""
    document = onnx_model(random_network(Network(), quantized=True, bits=bits, method=method), "test", {})
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(document.SerializeToString(), options, providers=["CPUExecutionProvider"])
    operators = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert operators.count("MatMulIntegerToFloat") == 6
    # attention's own two; what the statistics determine takes four more, on single rows
    assert sum(operators.count(name) for name in ("MatMul", "FusedMatMul", "Gemm")) == 7


def test_batches_are_the_frames_turned_and_mirrored():
    """More channels for nothing: the magnitudes are the frames', forwards or backwards, the phases are not."""
    data = training_windows(SMALL, progress=False)
    batch = draw_batch(data, 64, torch.Generator().manual_seed(0))
    turned = torch.complex(*batch.ls.chunk(2))
    both = torch.stack([data.ls, data.ls.flip(1)])
    distance = (turned.abs()[:, None, None] - both.abs()).abs().amax((3, 4)).min(2).values
    assert distance.min(1).values.max() < 1e-4
    assert 0.2 < (distance[:, 0] < distance[:, 1]).float().mean() < 0.8
    assert not torch.isclose(turned[:, None, None], both).all((3, 4)).any()


def test_the_genie_is_better_than_what_the_receiver_knows():
    """It is the target of the training: on the channels that it knows nothing may be better."""
    frame_format = format_of(2, 64)
    linear, wiener = interpolators(frame_format)
    source = FrameSource(1.0, 1)
    errors = []
    for i in range(60):
        profile = ("tdl-a", "tdl-b", "tdl-c")[i % 3]
        frame = source.draw(Conditions(frame_format, profile, 15.0, 600.0, 150.0, 2))
        estimates = (linear(frame.observation), wiener(frame.observation), genie_lmmse(frame))
        errors.append([np.mean(np.abs(h - frame.channel) ** 2) for h in estimates])
    ls, lmmse, genie = 10 * np.log10(np.mean(errors, axis=0))
    assert genie < lmmse - 0.1 and lmmse < ls - 3


def test_ls_over_time_is_what_the_receiver_has():
    frame = FrameSource(1.0, 1).draw(Conditions(format_of(2, 64), "tdl-a", 10.0, 300.0, 100.0, 2))
    ls = interpolators(frame.conditions.frame_format)[0](frame.observation)
    data = windows(iter([frame]), 4, 0)
    found = linear(data)
    expected = torch.from_numpy(ls.transpose(2, 3, 1, 0).reshape(4, 52, 14))
    ratio = found[:, None] / expected[None]
    assert (ratio.flatten(2).std(2) < 1e-3).sum() == 4, "each window is one of the frame's pairs, but for its scale"


def test_windows_carry_the_statistics_of_their_frame():
    source = FrameSource(0.0, 1)
    conditions = [Conditions(format_of(1, 64), "tdl-a", snr_db, 300.0, 100.0, 2) for snr_db in (0.0, 20.0)]
    frames = [source.draw(condition) for condition in conditions]
    data = windows(iter(frames), 8, 0)
    assert data.truth.shape == data.target.shape == (4, 52, 14)
    for frame, own in zip(frames, data.statistics.split(2), strict=True):
        snr = np.mean(np.abs(frame.channel) ** 2) / frame.noise_var
        assert torch.equal(own[0], own[1])
        assert own[0, 0].item() == pytest.approx(snr, rel=0.5)
        assert own[0, 1].item() == pytest.approx(100e-9 * 31250, rel=2)


BAD_KEYS = {
    "network.base": "mmse",
    "network.unit": "volt",
    "network.heads": 5,
    "network.patch": [4, 5],
    "network.width": 0,
    "quantizer.bits": 9,
    "quantizer.law": "fast",
    "data.profiles": ["tdl-z"],
    "data.num_tx": [5],
    "data.fft_sizes": [],
    "data.snr_db": [20, 10],
    "data.delay_spread_ns": [0, 10],
    "data.band_noise": 2.0,
    "data.band_noise_db": [0, -10],
    "frames": 0,
    "batch": 1,
    "colour": "blue",
}


def test_band_noise():
    """It raises the error in its band only; the target there is the truth. Frames without it are as they were."""
    plain, noisy = (
        FrameSource(0.0, 3).draw(Conditions(format_of(2, 64), "tdl-a", 30.0, 100.0, 100.0, 2, band))
        for band in (None, (20, 4, 0.01))
    )
    assert np.any(plain.observation.training != noisy.observation.training)
    places = format_of(2, 64).training_indices[0, 0]
    off = np.abs(noisy.observation.training[0, :, 0] - plain.observation.training[0, :, 0]).mean(axis=0)
    assert off[(places >= 20) & (places < 24)].min() > 3 * off[(places < 18) | (places > 26)].max()
    cut = windows(iter([noisy]), 8, 1)
    assert torch.equal(cut.target, cut.truth)
    drawn = [frame.conditions.band_noise for frame in FrameSource(1.0, 1).random(Data(band_noise=0.5), 60)]
    bands = [band for band in drawn if band]
    assert 15 <= len(bands) <= 45 and all(first + count <= 208 and 1e-3 <= power <= 1 for first, count, power in bands)
    untouched = [frame.conditions for frame in FrameSource(1.0, 1).random(Data(), 5)]
    assert all(conditions.band_noise is None for conditions in untouched)


def test_training_starts_from_a_network():
    config = dataclasses.replace(SMALL, full_precision=Stage(1, 1e-12))
    data = training_windows(config, progress=False)
    start = EstimatorNet(dataclasses.replace(config, seed=5), quantized=False)
    for parameter in start.parameters():
        torch.nn.init.normal_(parameter)
    trained, _ = train_twin(config, data, progress=False, start=start)
    for a, b in zip(trained.parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("key", BAD_KEYS)
def test_a_bad_key_is_named(key):
    with pytest.raises(ConfigError, match=key.split(".")[-1]):
        Config.load("estimator", [f"{key}={json.dumps(BAD_KEYS[key])}"])


def test_presets_load():
    for name in presets()["estimator"]:
        assert Config.load(name).name


def test_a_page_without_markers_is_left_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- begin: summary -->\n<!-- end: summary -->\n")
    with pytest.raises(ConfigError, match="begin: mse"):
        replace_blocks(page, {"summary": "text", "mse": "text"})
    assert "text" not in page.read_text()
