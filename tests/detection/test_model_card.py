# SPDX-License-Identifier: GPL-3.0-or-later
"""The cards say what the model files hold, and the documentation shows them as they are."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

import gr_kaq
from gr_kaq.detection.auto_detector import AUTO_DETECTORS
from gr_kaq.detection.linear_detector import LINEAR_DETECTORS
from gr_kaq.detection.model_card import compare_with_lmmse, description, facts, model_card, rate, reference_point
from tests.detection.models import admm_model

DOCUMENT = Path(__file__).parents[2] / "docs" / "guide" / "model-cards.md"
NAMES = [name for name in gr_kaq.list_detectors() if name not in (*AUTO_DETECTORS, *LINEAR_DETECTORS)]
QUANTIZED = [n for n in NAMES if not n.endswith("-fp")]


def load(name):
    return gr_kaq.load_detector(name, backend="reference").model


def point(errors=100, lmmse=200, **changes):
    return {
        "snr_db": 20.0,
        "bit_errors": errors,
        "bits": 10_000,
        "num_rx": 4,
        "num_tx": 4,
        "channel": "iid rayleigh",
        "lmmse_bit_errors": lmmse,
        **changes,
    }


@pytest.mark.parametrize("name", QUANTIZED)
def test_the_documented_card_is_up_to_date(name):
    twin = load(f"{name}-fp") if f"{name}-fp" in NAMES else None
    assert model_card(load(name), twin) in DOCUMENT.read_text("utf-8"), "run benchmarks/detector_table.py --update"


def test_no_card_without_a_model():
    assert re.findall(r"^## (.*)$", DOCUMENT.read_text("utf-8"), re.MULTILINE) == QUANTIZED


def test_the_card_tells_of_sizes_bits_laws_and_limits():
    model = load("pgd8-16qam")
    card = model_card(model)
    assert "at least 2 receive antennas per stream" in card
    assert "needs streams of about equal power" in card
    assert "power differences up to 30 dB" in model_card(load("admm5-16qam-w2"))
    assert "activations 8 bits; matrix 8 bits" in card
    signs = re.search(r"\| step of the activations.*? \| (.*?) \|", card)[1].split()
    assert signs == ["0" if layer.step.alpha == 0 else "+-"[layer.step.alpha < 0] for layer in model.layers]
    gradient = re.search(r"\| step of the gradient.*", card)[0].split("|")[3].split()
    assert max(map(float, gradient)) <= 2.0  # as used: a law that leaves its bounds is clipped
    assert "Worse than LMMSE at 16x16, iid rayleigh: 0, 5, 10, 15, 20, 25 dB" in model_card(load("paper-pgd5-16qam"))


def test_the_card_lists_the_widths_of_layers_that_differ():
    model = dataclasses.replace(admm_model(), activation_bits=(2, 3, 3, 3, 4), matrix_bits=3)
    assert "activations 2, 3, 3, 3, 4 bits, layer by layer; matrix 3 bits" in model_card(model)
    assert "W3A(2, 3, 3, 3, 4)" in description(model)
    assert facts(model)["activation_bits"] == [2, 3, 3, 3, 4]
    assert "matrix 3 bits; all levels, and no zero (midrise)" in model_card(dataclasses.replace(model, midrise=True))


def test_the_card_shows_every_measured_point_with_its_interval_and_lmmse():
    model = load("admm5-16qam")
    card = model_card(model)
    for measured in model.measured_ber:
        assert f"| {rate(measured)} | {rate(measured, 'lmmse_bit_errors')} |" in card


def test_a_model_without_training_and_measurements_has_a_card():
    model = dataclasses.replace(admm_model(), matrix_clip=0.5, stream_steps=True)
    card = model_card(model)
    assert "None in the file." in card and "does not say what" in card
    assert "clipped at 0.5" in card and "a step per stream" in card
    assert reference_point(model) is None


def test_free_form_training_cannot_break_the_card():
    model = dataclasses.replace(admm_model(), training={"a|b": {"c": [], "d": "x|y\nz"}, "e": [1, [2]], "f": None})
    assert "- a|b.d: x\\|y z\n" in model_card(model)


@pytest.mark.parametrize(("errors", "lmmse", "sign"), [(100, 200, -1), (200, 100, 1), (100, 110, 0)])
def test_comparison_with_lmmse(errors, lmmse, sign):
    assert compare_with_lmmse(point(errors, lmmse)) == sign


def test_nothing_is_said_of_an_lmmse_that_was_not_measured():
    unknown = point()
    del unknown["lmmse_bit_errors"]
    assert compare_with_lmmse(unknown) == 0 and rate(unknown, "lmmse_bit_errors") == ""
    card = model_card(dataclasses.replace(admm_model(), measured_ber=(unknown,)))
    assert f"| 20 | {rate(unknown)} |  |" in card


def test_the_reference_point_is_of_the_first_size_and_near_one_per_cent():
    points = (point(2000), point(90, snr_db=22.0), point(0, snr_db=30.0), point(100, num_rx=8))
    assert reference_point(dataclasses.replace(admm_model(), measured_ber=points)) is points[1]


@pytest.mark.parametrize("name", NAMES)
def test_facts_are_json(name):
    known = json.loads(json.dumps(facts(load(name)), allow_nan=False))
    model = load(name)
    assert known["layers"] == len(model.layers)
    assert len(known["propagation"] if known["network"] == "list" else next(iter(known["laws"].values()))) == len(
        model.layers
    )
    assert known["measured_ber"][0]["ber"] == model.measured_ber[0]["bit_errors"] / model.measured_ber[0]["bits"]
