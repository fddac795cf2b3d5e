# SPDX-License-Identifier: GPL-3.0-or-later
"""The ONNX graphs, run in ONNX Runtime against the integer reference."""

import dataclasses
import json

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import gr_kaq
from gr_kaq.channels.flat import RayleighChannels, complex_normal
from gr_kaq.detection import full_precision
from gr_kaq.detection.laws import layer_values
from gr_kaq.detection.model_file import Law, save
from gr_kaq.detection.preparation import output_error, prepare
from gr_kaq.signals.signal_model import noise_var_from_snr
from tests.detection.models import admm_model
from tests.pages import programs
from training.__main__ import main
from training.detector import onnx_export
from training.detector.onnx_export import INTEGER_PRODUCT, compare, export, operators, session
from training.detector.onnx_model import graph_inputs, onnx_model

SNR_DB = 15.0


def load(name):
    return gr_kaq.load_detector(name, backend="reference").model


def inputs_of(model, num_rx, num_tx, vectors=5):
    """Inputs of a graph for one channel, and what prepared them."""
    h = RayleighChannels(num_rx, num_tx, seed=4).draw(1)[:, 0]
    noise_var = noise_var_from_snr(h, np.array([SNR_DB]))
    prepared = prepare(model, h, noise_var, np.array([SNR_DB]))
    b = complex_normal(np.random.default_rng(5), (vectors, num_tx)).view(np.float32)
    return {"b": b, **graph_inputs(prepared)[0]}, prepared


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("admm5-16qam", (16, 16)),
        ("admm5-qpsk", (8, 4)),
        ("admm5-64qam", (8, 8)),
        ("measured-3x2-16qam", (3, 2)),
        ("pgd8-16qam", (32, 16)),
        ("paper-pgd5-16qam", (16, 16)),
    ],
)
def test_the_graph_decides_as_the_reference(name, size):
    model = load(name)
    comparison = compare(model, onnx_model(model, SNR_DB), SNR_DB, size)
    assert comparison.different_bits < 5e-3
    assert comparison.typical_deviation < 0.15
    low, high = comparison.reference.confidence_interval()
    assert low <= comparison.runtime.rate <= high


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"matrix_clip": 0.5},
        {"stream_steps": True},
        {"activation_bits": 3},
        {"activation_bits": (2, 3, 4, 5, 8)},
        {"matrix_bits": 3},
    ],
    ids=lambda changes: next(iter(changes), "as trained"),
)
def test_narrow_widths(changes):
    model = dataclasses.replace(admm_model(bits=4), **changes)
    comparison = compare(model, onnx_model(model, SNR_DB), SNR_DB, (4, 4))
    assert comparison.different_bits < 5e-3
    assert comparison.runtime.rate == pytest.approx(comparison.reference.rate, rel=0.02)


def test_what_the_integer_model_saturates_the_graph_does_too():
    """A long gradient step leaves the 16 bits of the exact diagonal, a coarse activation those of the rescaling."""
    model = load("paper-pgd5-16qam")
    layers = [dataclasses.replace(layer, gradient_step=Law(0.0, 1.9)) for layer in model.layers[:2]]
    layers[1] = dataclasses.replace(layers[1], step=Law(0.0, 1.0))
    model = dataclasses.replace(model, layers=tuple(layers))
    comparison = compare(model, onnx_model(model, SNR_DB), SNR_DB, (16, 16), channels=50)
    assert comparison.different_bits < 5e-3


@pytest.mark.parametrize(("name", "products"), [("admm5-16qam", 5), ("pgd8-16qam", 7), ("paper-pgd5-16qam", 4)])
@pytest.mark.parametrize("num_tx", [None, 4])
def test_every_product_becomes_an_integer_product(name, products, num_tx, tmp_path):
    """PGD-Net starts at 0 and needs none in its first layer."""
    path = tmp_path / "optimised.onnx"
    session(onnx_model(load(name), SNR_DB, num_tx), path)
    found = operators(path)
    assert found[INTEGER_PRODUCT] == products
    assert not {"MatMul", "Gemm", "DequantizeLinear"} & set(found)


@pytest.mark.parametrize("name", ["admm5-qpsk", "admm5-16qam", "admm5-64qam"])
def test_llrs_are_those_of_t(name):
    model = load(name)
    inputs, prepared = inputs_of(model, 4, 3)
    t, llrs = session(onnx_model(model, SNR_DB)).run(["t", "llrs"], inputs)
    variance = model.constellation.half_distance**2 / prepared.precision * output_error(model, prepared)
    expected = full_precision.llrs(model.constellation, t, variance.astype(np.float32))
    assert llrs.shape == (5, 3, model.constellation.bits_per_symbol)
    assert llrs[..., 0::2] == pytest.approx(expected[:, :3], rel=1e-3, abs=1e-3)
    assert llrs[..., 1::2] == pytest.approx(expected[:, 3:], rel=1e-3, abs=1e-3)
    signs = model.constellation.decide(t[:, :3] + 1j * t[:, 3:]).reshape(llrs.shape)
    assert np.array_equal(llrs > 0, signs)


def test_one_stream_and_a_dead_channel():
    """The off-diagonal matrix of one stream is zero, and so is everything of a channel of zeros."""
    for network in ("admm5-16qam", "pgd8-16qam"):
        model = load(network)
        inputs, _ = inputs_of(model, 2, 1)
        run = session(onnx_model(model, SNR_DB)).run
        assert all(np.isfinite(output).all() for output in run(None, inputs))
        dead = {name: np.zeros_like(value) for name, value in inputs.items()}
        assert all(np.isfinite(output).all() for output in run(None, dead))


def test_fixed_and_open_shapes():
    model = load("admm5-16qam")

    def shape(document, index):
        dims = document.graph.input[index].type.tensor_type.shape.dim
        return [d.dim_param or d.dim_value for d in dims]

    assert shape(onnx_model(model, SNR_DB), 0) == ["T", "n"]
    assert shape(onnx_model(model, SNR_DB, 4), 0) == ["T", 8]
    with pytest.raises(ValueError, match="1 to 16 streams"):
        onnx_model(model, SNR_DB, 17)


def test_metadata():
    model = load("admm5-16qam")
    document = onnx_model(model, 12.5)
    known = {entry.key: entry.value for entry in document.metadata_props}
    assert (known["name"], known["network"], known["constellation"]) == ("admm5-16qam", "admm", "16qam")
    assert (known["snr_db"], known["gr_kaq_version"]) == ("12.5", gr_kaq.__version__)
    assert json.loads(known["bits"]) == {"activations": 8, "matrix": 8}
    laws = json.loads(known["laws"])
    assert laws["step"][0] == {"alpha": model.layers[0].step.alpha, "gamma": model.layers[0].step.gamma}
    assert set(laws) >= {"variance", "relaxation", "dual_step", "regularization", "output_variance"}


def test_the_laws_are_those_of_the_bin():
    model = load("admm5-16qam")
    low, high = (layer_values(model, np.array([snr_db])) for snr_db in (10.0, 20.0))
    assert not np.array_equal(low.relaxation, high.relaxation)
    inputs, _ = inputs_of(model, 4, 4)
    first, second = (session(onnx_model(model, snr_db)).run(["t"], inputs)[0] for snr_db in (10.0, 20.0))
    assert np.abs(first - second).max() > 1e-3


def test_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(onnx_export, "VECTORS", 2)
    model = dataclasses.replace(admm_model(name="own"), max_num_rx=4, max_num_tx=4)
    path = save(model, tmp_path)
    assert main(["onnx", str(path), "--snr", "10", "12.5", "--output", str(tmp_path / "graphs")]) == 0
    assert capsys.readouterr().out.count("integer matrix products in ONNX Runtime: 5 of 5") == 2
    assert sorted(p.name for p in (tmp_path / "graphs").iterdir()) == ["own_10dB.onnx", "own_12.5dB.onnx"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lmmse", "--snr", "10"], "is a formula"),
        (["list8-16qam", "--snr", "10"], "list8-16qam has no graph"),
        (["admm5-16qam-fp", "--snr", "10"], "full precision"),
        (["nothing", "--snr", "10"], "no detector 'nothing'"),
        (["admm5-16qam", "--snr", "nan"], "finite"),
        (["admm5-16qam", "--snr", "10", "--num-tx", "99"], "1 to 16 streams"),
    ],
)
def test_what_cannot_be_exported(arguments, message, tmp_path, capsys):
    assert main(["onnx", *arguments, "--output", str(tmp_path / "graphs")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "graphs").exists()


def test_the_program_of_the_page_runs_as_printed(tmp_path, monkeypatch, capsys):
    (program,) = programs("docs/guide/onnx.md")
    export("admm5-16qam", [15.0], tmp_path / "out" / "onnx")
    capsys.readouterr()
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(program, names)
    detected = gr_kaq.load_detector("admm5-16qam").detect(
        names["y"][None].astype(np.complex64), names["h"].astype(np.complex64), noise_var=float(names["noise_var"][0])
    )
    hard = gr_kaq.CONSTELLATIONS["16qam"].decide(detected.symbols.reshape(20, 4))
    assert np.mean(hard != (names["llrs"].reshape(20, 16) > 0)) < 0.01
    assert capsys.readouterr().out.endswith(" of 320 bits wrong\n")


@pytest.mark.parametrize("name", ["admm5-16qam", "pgd8-16qam"])
def test_every_scale_is_a_constant(name):
    """Of the graph, as TensorRT and others want it; the issue of another project that met this: TensorRT#1285."""
    graph = onnx_model(load(name), SNR_DB).graph
    constants = {each.name for each in graph.initializer}
    quantizing = [node for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(quantizing) > 5
    assert {value for node in quantizing for value in node.input[1:]} <= constants


def test_no_vectors_at_all():
    model = load("admm5-16qam")
    inputs, _ = inputs_of(model, 4, 4, vectors=0)
    t, llrs = session(onnx_model(model, SNR_DB)).run(["t", "llrs"], inputs)
    assert t.shape == (0, 8) and llrs.shape == (0, 4, 4)
