# SPDX-License-Identifier: GPL-3.0-or-later
"""What pilots say about a direction: probabilities that are borne out, with powers and with complex amplitudes."""

import numpy as np
import pytest

from gr_kaq.beams.direction_posterior import DirectionPosterior
from gr_kaq.beams.planar_array import PlanarArray

ARRAY = PlanarArray(8, 8)


def pilots(beams, beam, snr_db, rng, coherent):
    wave = ARRAY.steering(np.array(beam) / ARRAY.shape) * np.exp(2j * np.pi * rng.random())
    noise = rng.standard_normal((len(beams), 2)).view(np.complex128)[:, 0] * np.sqrt(0.5)
    received = 10 ** (snr_db / 20) * (ARRAY.weights(beams) @ wave) + noise
    return received if coherent else np.abs(received) ** 2 - 1


def test_before_any_pilot_all_beams_are_alike():
    posterior = DirectionPosterior(ARRAY)
    assert posterior.of_beams() == pytest.approx(np.full((8, 8), 1 / 64))
    assert posterior.expected_gains() == pytest.approx(np.full((8, 8), 1 / 64), rel=0.01)
    assert 0.1 < posterior.of_high_snr() < 0.2


@pytest.mark.parametrize("coherent", [False, True])
def test_the_beam_and_the_snr_of_a_strong_user_are_certain(coherent):
    posterior, rng = DirectionPosterior(ARRAY, coherent=coherent), np.random.default_rng(1)
    beams = ARRAY.narrow_beams()
    posterior.add(beams, pilots(beams, (5.2, 2.8), 20, rng, coherent))
    assert posterior.of_beams()[5, 3] > 0.9 and posterior.of_high_snr() > 0.9
    assert np.argmax(posterior.expected_gains()) == 5 * 8 + 3


@pytest.mark.parametrize("coherent", [False, True])
def test_probabilities_are_borne_out(coherent):
    """Of beams that are said to be right with some probability, about that share is, at the SNRs that are expected."""
    rng, beams = np.random.default_rng(2), ARRAY.narrow_beams()
    said, right = [], []
    for _ in range(600):
        snr_db = rng.choice([0, 5, 10], p=np.array([1, 0.56, 0.32]) / 1.88)
        at = rng.uniform(0, 8, 2)
        posterior = DirectionPosterior(ARRAY, coherent=coherent)
        posterior.add(beams, pilots(beams, at, snr_db, rng, coherent))
        probabilities = posterior.of_beams().ravel()
        said.append(probabilities.max())
        right.append(np.argmax(probabilities) == np.dot(np.rint(at).astype(int) % 8, (8, 1)))
    assert np.mean(said) == pytest.approx(np.mean(right), abs=0.08)


def test_one_lucky_pilot_does_not_outweigh_many():
    posterior = DirectionPosterior(ARRAY)
    beams = np.array([(1, 1, 1, 1)] * 6 + [(5, 5, 1, 1)])
    posterior.add(beams, np.array([2.5] * 6 + [6.0]))
    assert posterior.of_beams()[1, 1] > 3 * posterior.of_beams()[5, 5]


def test_wide_beams_say_which_row():
    posterior, rng = DirectionPosterior(ARRAY), np.random.default_rng(4)
    beams = np.array([(row, 0, 1, 8) for row in range(8)] * 4)
    posterior.add(beams, pilots(beams, (6.1, 3.4), 20, rng, False))
    rows = posterior.of_beams().sum(1)
    assert np.argmax(rows) == 6 and rows[6] > 0.9
    assert posterior.of_beams()[6] == pytest.approx(np.full(8, rows[6] / 8))


def test_rewards_that_are_far_above_the_model_still_find_the_beam():
    for snr_db in (40, 60):
        posterior, rng = DirectionPosterior(ARRAY), np.random.default_rng(5)
        beams = ARRAY.narrow_beams()
        posterior.add(beams, pilots(beams, (2.3, 7.4), snr_db, rng, False))
        assert np.argmax(posterior.of_beams()) == 2 * 8 + 7
