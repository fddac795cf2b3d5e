# SPDX-License-Identifier: GPL-3.0-or-later
"""Model files are input from strangers: whatever is in one, the answer is a model or a clear ModelFileError."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gr_kaq
from gr_kaq import ModelFileError
from gr_kaq.detection import model_file
from gr_kaq.detection.model_file import Law
from tests.detection.models import admm_model, random_model
from tests.refusals import refusals

READ = """
from gr_kaq.detection import model_file
def read(path):
    model_file.load(path)
"""


@pytest.fixture
def document(tmp_path):
    return json.loads(model_file.save(admm_model(), tmp_path).read_text())


def load(tmp_path, content):
    path = tmp_path / "bad.kaq.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return model_file.load(path)


@pytest.mark.parametrize("network", ["admm", "pgd"])
@pytest.mark.parametrize("seed", range(5))
def test_round_trip(tmp_path, network, seed):
    model = random_model(np.random.default_rng(seed), network, "64qam", (4, 8))
    loaded = model_file.load(model_file.save(model, tmp_path))
    again = model_file.load(model_file.save(loaded, tmp_path))
    assert loaded == again
    assert loaded.layers[0].step.gamma == pytest.approx(model.layers[0].step.gamma, abs=1e-6)
    assert (loaded.network, loaded.activation_bits, loaded.matrix_bits) == (network, 4, 8)


def test_each_layer_may_have_a_width_of_its_own(tmp_path, document):
    assert load(tmp_path, document).layer_bits == (8, 8, 8, 8, 8)
    document["bits"]["activations"] = [2, 3, 3.0, 4, 8]
    model = load(tmp_path, document)
    assert (model.activation_bits, model.layer_bits) == ((2, 3, 3, 4, 8), (2, 3, 3, 4, 8))
    path = model_file.save(model, tmp_path)
    assert '"activations": [2, 3, 3, 4, 8]' in path.read_text()
    assert model_file.load(path) == model


def test_what_the_quantizer_adds_is_kept(tmp_path):
    model = dataclasses.replace(admm_model(bits=1), matrix_clip=0.625, stream_steps=True, midrise=True)
    loaded = model_file.load(model_file.save(model, tmp_path))
    assert (loaded.matrix_clip, loaded.stream_steps, loaded.midrise) == (0.625, True, True)
    assert (loaded.largest_entry, loaded.largest_activations) == (1, (1,) * 5)


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("matrix_clip", lambda d: d["bits"].update(matrix_clip=0.01)),
        ("matrix_clip", lambda d: d["bits"].update(matrix_clip=1.5)),
        ("stream_steps", lambda d: d["bits"].update(stream_steps=1)),
        ("midrise", lambda d: d["bits"].update(midrise="yes", activations=2, matrix=2)),
        ("activations: at most 7 expected, got 8$", lambda d: d["bits"].update(midrise=True, matrix=1)),
        ("matrix: at most 7 expected, got 8$", lambda d: d["bits"].update(midrise=True, activations=1)),
        (
            "activations.1: at least 1 expected, got 0$",
            lambda d: d["bits"].update(midrise=True, matrix=7, activations=[7, 0, 1, 1, 1]),
        ),
    ],
)
def test_what_the_quantizer_adds_is_checked(tmp_path, document, key, change):
    change(document)
    with pytest.raises(ModelFileError, match=f"key [a-z.]*{key}"):
        load(tmp_path, document)


@pytest.mark.parametrize(
    ("key", "value"), [("stream_steps", True), ("midrise", True), ("regularization", Law(0.0, 1.0))]
)
def test_pgd_has_none_of_what_only_admm_has(tmp_path, key, value):
    model = dataclasses.replace(random_model(np.random.default_rng(0), "pgd", "16qam", (4, 4)), **{key: value})
    with pytest.raises(ModelFileError, match=rf"key (bits.)?{key}: "):
        model_file.save(model, tmp_path)


def test_pgd_has_a_threshold_or_a_ramp(tmp_path):
    model = random_model(np.random.default_rng(0), "pgd", "16qam", (8, 8))
    both = dataclasses.replace(model.layers[0], threshold=Law(0.0, 1.0), variance=Law(0.0, 1.0))
    with pytest.raises(ModelFileError, match="key layers.0.variance: not allowed here"):
        model_file.save(dataclasses.replace(model, layers=(both, *model.layers[1:])), tmp_path)


def test_full_precision_round_trip(tmp_path):
    model = admm_model(bits=None)
    assert model_file.load(model_file.save(model, tmp_path)) == model
    assert not model.quantized


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not valid JSON"),
        (b"\x80\x04\x95pickle", "not valid JSON"),
        (b'{"format": "gr-kaq detector", "version": 1', "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[" * 985 + b"]" * 985, "not valid JSON|top level"),
        (b'{"version": 1' + b"9" * 100_000 + b"}", "^.{0,600}$"),
        (b'{"version": 1, "layers": ' + b"[" * 500 + b"]" * 500 + b"}", "key"),
        (b"[1, 2]", "top level"),
        (b"null", "top level"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": 1e999}', "out of range"),
        (b'{"version": 2}', "key version: 2 is not supported, 1 expected"),
        (b'{"version": "1"}', "key version"),
        (b" " * (2 << 20), "larger than"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path, content, message):
    with pytest.raises(ModelFileError, match=message):
        load(tmp_path, content)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format",), "onnx", "key format"),
        (("network",), "resnet", 'key network: one of "admm", "list", "pgd" expected, got "resnet"$'),
        (("constellation",), "bpsk", "key constellation"),
        (("bits", "activations"), 9, "key bits.activations: at most 8 expected, got 9$"),
        (
            ("bits", "activations"),
            [2, 3, 3, 4],
            "key bits.activations: a width for each of the 5 layers expected, got 4$",
        ),
        (("bits", "activations"), [2, 3, 3, 4, 9], "key bits.activations.4: at most 8 expected, got 9$"),
        (("bits", "activations"), [2, 3, 3, 4, "x"], 'key bits.activations.4: type "integer" expected, got "x"$'),
        (("bits", "activations"), [], "key bits.activations: at least 1 entries expected"),
        (("bits", "activations"), "2", 'key bits.activations: type "integer", "array" expected, got "2"$'),
        (("bits", "matrix"), 1, "key bits.matrix: at least 2 expected, got 1$"),
        (("bits",), 8, 'key bits: type "null", "object" expected, got 8$'),
        (("bits",), {"matrix": 8}, 'key bits: "activations" missing$'),
        (("bits",), None, "key layers.0.step: not allowed here$"),
        (("sizes", "max_num_tx"), 65, "key sizes.max_num_tx"),
        (("snr_range_db",), [20, 10], "key snr_range_db"),
        (("snr_range_db",), [10], "key snr_range_db: at least 2 entries expected"),
        (("layers",), [], "key layers"),
        (("layers",), [{}] * 1000, "key layers: at most 32 entries expected"),
        (("layers", 1, "variance", "alpha"), "1", "key layers.1.variance.alpha"),
        (("layers", 1, "variance", "alpha"), 10**299, "key layers.1.variance.alpha"),
        (("layers", 1, "variance", "alpha"), 10**400, "a whole number of 401 digits is out of range"),
        (("layers", 1, "variance", "alpha"), True, "key layers.1.variance.alpha"),
        (("layers", 1, "threshold"), {"alpha": 0, "gamma": 0}, 'key layers.1: "threshold" unknown$'),
        (("name",), "../../etc/passwd", "key name: a match of .* expected, got"),
        (("extra",), 1, 'top level.: "extra" unknown$'),
    ],
)
def test_a_wrong_value_is_named(tmp_path, document, path, value, message):
    target = document
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    with pytest.raises(ModelFileError, match=message):
        load(tmp_path, document)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("bits", 10**18, "key measured_ber.0.bits: at most"),
        ("seed", 10**290, "key measured_ber.0.seed: at most"),
        ("num_rx", 1e300, "key measured_ber.0.num_rx: at most"),
        ("bit_errors", 101, "key measured_ber.0.bit_errors: at most 100 expected, got 101"),
        ("lmmse_bit_errors", 101, "key measured_ber.0.lmmse_bit_errors: at most 100 expected, got 101"),
    ],
)
def test_measured_counts_are_counts(tmp_path, document, key, value, said):
    """`kaq info` divides by them; a quotient of such numbers was a traceback."""
    point = {"snr_db": 20, "bit_errors": 3, "bits": 100, "num_rx": 4, "num_tx": 4, "channel": "rayleigh", key: value}
    with pytest.raises(ModelFileError, match=said):
        load(tmp_path, document | {"measured_ber": [point]})


def test_what_replaces_second_guesses_is_named(tmp_path, document):
    with pytest.raises(ModelFileError, match="bad.kaq.json: key candidates: .* use the detector auto instead"):
        load(tmp_path, document | {"candidates": 8})


def test_every_missing_key_is_named(tmp_path, document):
    for key in document:
        damaged = copy.deepcopy(document)
        del damaged[key]
        with pytest.raises(ModelFileError, match=rf'bad.kaq.json: key .top level.: "{key}" missing$'):
            load(tmp_path, damaged)


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(ModelFileError, match="cannot be read"):
        model_file.load(tmp_path / "missing.kaq.json")
    with pytest.raises(ModelFileError, match="cannot be read"):
        model_file.load(tmp_path)
    os.mkfifo(tmp_path / "fifo.kaq.json")
    with pytest.raises(ModelFileError, match="not a regular file"):
        model_file.load(tmp_path / "fifo.kaq.json")


def test_a_whole_number_may_be_written_as_a_float(tmp_path, document):
    """JSON has one type of number; the kernel gets an integer."""
    document["bits"]["matrix"] = 8.0
    document["sizes"]["max_num_rx"] = 16.0
    model = load(tmp_path, document)
    assert isinstance(model.matrix_bits, int) and isinstance(model.max_num_rx, int)


@pytest.mark.parametrize("depth", range(960, 1000, 5))
def test_deep_nesting_is_refused(tmp_path, document, depth):
    """Wherever the interpreter's recursion limit strikes: in the parser, the validator or the error message."""
    document["layers"] = "DEEP"
    text = json.dumps(document).replace('"DEEP"', "[" * depth + "]" * depth)
    with pytest.raises(ModelFileError):
        load(tmp_path, text.encode())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=5,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_models_load_or_are_refused(tmp_path, document, data):
    """Whatever one value of a good file is replaced with; what still loads still detects."""
    document = copy.deepcopy(document)
    target, path = document, []
    while True:
        keys = list(target) if isinstance(target, dict) else list(range(len(target)))
        key = data.draw(st.sampled_from(keys))
        path.append(key)
        if not isinstance(target[key], dict | list) or not target[key] or data.draw(st.booleans()):
            break
        target = target[key]
    target[key] = data.draw(json_values)
    file = tmp_path / "bad.kaq.json"
    file.write_text(json.dumps(document))
    try:
        detector = gr_kaq.load_detector(file)
    except ModelFileError as error:
        assert str(file) in str(error)
        return
    num_rx = max(1, math.ceil(detector.model.min_rx_per_tx))  # for one stream
    if num_rx > detector.model.max_num_rx:
        return
    out = detector.detect(np.ones((3, num_rx)), np.ones((num_rx, 1)), snr_db=10.0)
    assert np.isfinite(out.symbols).all() and np.isfinite(out.llrs).all()


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_random_bytes_are_refused(tmp_path, content):
    with pytest.raises(ModelFileError):
        load(tmp_path, content)


def test_hostile_models_cost_little(tmp_path, document):
    """As many faults as there is room for: all of them were collected, in 350 MB."""
    many = {
        "empty": {"measured_ber": [{}] * 60_000},
        "numbers": {"measured_ber": [0] * 80_000},
        "layers": {"layers": [{}] * 60_000},
        "keys": {str(i): 0 for i in range(15_000)},
        "training": {"training": {str(i): [[]] for i in range(15_000)}},
        "fusion": {"network": "list", "fusion": {"knots": [0] * 40_000, "weights": [{}] * 20_000}},
    }
    paths = []
    for name, changes in many.items():
        paths.append(tmp_path / f"{name}.kaq.json")
        paths[-1].write_text(json.dumps(document | changes))
        assert paths[-1].stat().st_size < model_file.MAX_FILE_BYTES
    paths.append(tmp_path / "large.kaq.json")
    paths[-1].touch()
    os.truncate(paths[-1], 1 << 40)
    said, grown = refusals(READ, [*paths, "/dev/zero"])
    assert [bool(message) for message in said] == [name != "training" for name in many] + [True, True]
    assert all(message.isprintable() and len(message) < 1000 for message in said)
    assert grown < 200
