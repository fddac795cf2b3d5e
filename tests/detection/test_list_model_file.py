# SPDX-License-Identifier: GPL-3.0-or-later
"""The model file of a list detector: it comes back as it was, and what is wrong in it is named."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

import gr_kaq
from gr_kaq import ListDetector, ModelFileError
from gr_kaq.channels.flat import RayleighChannels
from gr_kaq.detection import model_file
from gr_kaq.detection.model_card import description, facts, model_card
from gr_kaq.links.simulated_link import Link, count_bit_errors
from tests.detection.models import admm_model, list_model


@pytest.fixture
def document(tmp_path):
    return json.loads(model_file.save(list_model(), tmp_path).read_text())


def load(tmp_path, document):
    path = tmp_path / "bad.kaq.json"
    path.write_text(json.dumps(document))
    return model_file.load(path)


@pytest.mark.parametrize("bits", [None, 8, 16])
@pytest.mark.parametrize("constellation", ["qpsk", "16qam", "64qam", "256qam"])
def test_round_trip(tmp_path, constellation, bits):
    model = list_model(constellation, bits, survivors=16, snr_range_db=(3.0, 30.0), training={"seed": 1})
    assert model_file.load(model_file.save(model, tmp_path)) == model
    assert model.quantized == (bits is not None)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("survivors",), 4, "key survivors: one of 8, 16 expected, got 4$"),
        (("bits", "matrix"), 17, "key bits.matrix: at most 16 expected, got 17$"),
        (("bits", "matrix"), 1, "key bits.matrix: at least 2 expected, got 1$"),
        (("bits", "activations"), 8, 'key bits: "activations" unknown$'),
        (("bits",), None, "key step: not allowed here$"),
        (("step",), {"alpha": 1}, 'key step: "gamma" missing$'),
        (("step", "alpha"), "1", "key step.alpha"),
        (("step", "gamma"), 2, "key step.gamma: at most 1 expected, got 2$"),
        (("step", "alpha"), 0, "key step.alpha: at least 1e-06 expected, got 0$"),
        (("layers",), [], "key layers: at least 1 entries expected"),
        (("layers",), [{"damping": 0.5, "least_variance": 0.1}] * 5, "key layers: at most 4 entries expected"),
        (("layers", 0, "damping"), 1.5, "key layers.0.damping: at most 1 expected, got 1.5$"),
        (("layers", 0, "least_variance"), 0, "key layers.0.least_variance: at least 1e-06 expected, got 0$"),
        (("layers", 0, "step"), {}, 'key layers.0: "step" unknown$'),
        (("fusion", "knots"), [], "key fusion.knots: at least 1 entries expected"),
        (("fusion", "knots"), [8, 2], "key fusion.knots: ascending values expected"),
        (("fusion", "knots"), [0, 2], "key fusion.knots.0: at least 0.001 expected, got 0$"),
        (("fusion", "weights"), [], "key fusion.weights: at least 1 entries expected"),
        (("fusion", "weights", 1, "max_num_tx"), 4, "key fusion.weights: ascending values of max_num_tx expected$"),
        (("fusion", "weights", 1, "max_num_tx"), 8, r"weights: up to 16 streams .sizes.max_num_tx. expected, got 8$"),
        (("fusion", "weights", 0, "list_wide"), [[1, 2]], r"weights.0.list_wide: 2 rows expected, .*, got 1$"),
        (("fusion", "weights", 0, "list_wide", 1), [1], r"weights.0.list_wide.1: 2 weights expected, .*, got 1$"),
        (("fusion", "weights", 0, "list_wide", 1, 0), 1e9, "weights.0.list_wide.1.0: at most 1000 expected"),
        (("fusion", "weights", 0), {"max_num_tx": 4}, 'weights.0: "list_narrow", .* missing$'),
        (("fusion", "extra"), 1, 'key fusion: "extra" unknown$'),
        (("regularization",), {"alpha": 0, "gamma": 1}, "key regularization: not allowed here$"),
        (("output_variance",), {"alpha": 0, "gamma": 1}, "key output_variance: not allowed here$"),
        (("output_spread",), 0, "key output_spread: not allowed here$"),
        (("snr_range_db",), [20, 10], "key snr_range_db"),
    ],
)
def test_a_wrong_value_is_named(tmp_path, document, path, value, message):
    target = document
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    with pytest.raises(ModelFileError, match=message):
        load(tmp_path, document)


def test_every_missing_key_is_named(tmp_path, document):
    for key in document:
        if key == "network":  # what is missing depends on it
            continue
        damaged = copy.deepcopy(document)
        del damaged[key]
        with pytest.raises(ModelFileError, match=rf'bad.kaq.json: key .top level.: "{key}" missing$'):
            load(tmp_path, damaged)


@pytest.mark.parametrize("key", ["survivors", "step", "fusion"])
def test_an_unfolded_network_has_none_of_these(tmp_path, document, key):
    unfolded = json.loads(model_file.save(admm_model(), tmp_path).read_text())
    with pytest.raises(ModelFileError, match=f"key {key}: not allowed here$"):
        load(tmp_path, {**unfolded, key: document[key]})


@pytest.mark.parametrize("bits", [None, 16])
def test_it_loads_as_a_detector_and_detects(tmp_path, bits):
    path = model_file.save(list_model(bits=bits), tmp_path)
    detector = gr_kaq.load_detector(path, backend="reference")
    assert isinstance(detector, ListDetector)
    assert (detector.backend, detector.precision) == ("reference", "int8" if bits else "fp32")
    linear = gr_kaq.load_detector("lmmse", constellation="16qam")
    link = Link(RayleighChannels(4, 4, seed=1), detector.constellation, 20.0, seed=2)
    own, lmmse = count_bit_errors([detector, linear], link, min_errors=100, max_bits=30_000)
    assert 0 < own.errors < lmmse.errors / 5
    with pytest.raises(ValueError, match="takes 1 to 64 receive"):
        detector.plan(1, 65, 4)


def test_samples_that_are_no_numbers_are_counted(tmp_path):
    detector = ListDetector(list_model(), "reference")
    y = np.ones((3, 4), np.complex64)
    y[1, 2] = np.nan
    out = detector.detect(y, np.eye(4), snr_db=20)
    assert out.num_invalid == 1
    assert not out.symbols[1].any() and not out.llrs[1].any() and np.isfinite(out.llrs).all()
    assert out.symbols[0].any()


def test_the_card_and_the_facts():
    model = list_model()
    assert description(model) == "list of 8, EP x1, 16qam, W16; up to 64x16"
    card = model_card(model, list_model(bits=None, name="test-list-fp"))
    assert "| network | list of 8 paths, and 1 layer of expectation propagation |" in card
    step = "step 1/127 of its row's largest entry, at most 0.0625 of the noise's standard deviation"
    assert f"| widths | matrix up to 16 bits; {step} |" in card
    assert "| up to 4 | 0, list | 0.50 -> 0.50 | 0.40 -> 0.20 |" in card
    assert "| widths | full precision" in model_card(list_model(bits=None))
    known = json.loads(json.dumps(facts(model)))
    assert (
        known["network"] == "list" and known["survivors"] == 8 and known["step"] == {"alpha": 0.0625, "gamma": 0.007874}
    )
