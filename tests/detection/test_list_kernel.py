# SPDX-License-Identifier: GPL-3.0-or-later
"""The native list detector equals its NumPy specification bit for bit, on every instruction set of this machine."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gr_kaq import native
from gr_kaq.detection.channel_levels import channel_levels
from gr_kaq.detection.list_model import FusionWeights, ListModel, PropagationLayer, Step
from gr_kaq.detection.list_native import NativeListPlan
from gr_kaq.detection.list_preparation import prepare_list
from gr_kaq.detection.list_reference import ListReferenceChannels, SoftSources
from gr_kaq.signals.constellation import CONSTELLATIONS
from gr_kaq.signals.signal_model import Noise

INSTRUCTION_SETS = native.instruction_sets()
SIZES = [(1, 1), (2, 1), (2, 2), (3, 2), (4, 4), (5, 3), (8, 8), (16, 4), (16, 16), (32, 7), (64, 16)]


def random_model(rng, constellation="16qam", **changes):
    """A model with random weights: bits of the LLRs are then those of what they are made of."""
    of = CONSTELLATIONS[constellation]

    def curves():
        return tuple(tuple(float(w) for w in row) for row in rng.normal(size=(of.bits_per_dimension, 4)))

    fields = {
        "survivors": 8,
        "matrix_bits": int(rng.choice([4, 8, 16])),
        "step": Step(rng.choice([1 / 8, 1 / 64]), rng.choice([1 / 31, 1 / 127])),
        "layers": tuple(
            PropagationLayer(rng.uniform(0.3, 1), 10 ** rng.uniform(-4, -1)) for _ in range(rng.integers(3))
        ),
        "knots": (0.5, 2.0, 8.0, 16.0),
        "fusion": tuple(FusionWeights(n, curves(), curves(), curves(), curves()) for n in (2, 4, 16)),
    }
    return ListModel(**{"name": "random", "constellation": of, **fields, **changes})


def random_link(rng, constellation, num_channels, num_vectors, num_rx, num_tx, snr_db):
    """Received vectors y (C, T, num_rx), channels with streams and channels of very unequal power, and noise_var."""
    shape = (num_channels, num_rx, num_tx)
    h = (rng.normal(size=shape) + 1j * rng.normal(size=shape)) * 10.0 ** rng.uniform(-2, 0, (num_channels, 1, num_tx))
    h = (h * 10.0 ** rng.uniform(-6, 6)).astype(np.complex64)
    noise_var = np.mean(np.abs(h) ** 2) * num_tx / 10 ** (snr_db / 10)
    bits = rng.integers(0, 2, (num_channels, num_vectors, num_tx * constellation.bits_per_symbol))
    noise = rng.normal(size=(2, num_channels, num_vectors, num_rx)) * np.sqrt(noise_var / 2)
    y = constellation.modulate(bits) @ h.swapaxes(-1, -2) + noise[0] + 1j * noise[1]
    return y.astype(np.complex64), h, noise_var


def reference(model, y, h, noise):
    gain, noise_var = channel_levels(h, noise)
    channels = prepare_list(model, h, gain, np.broadcast_to(noise_var, gain.shape))
    return ListReferenceChannels(model, channels).detect(y)


def assert_same_bits(a, b, name):
    np.testing.assert_array_equal(a.symbols, b.symbols, err_msg=name)
    np.testing.assert_array_equal(a.llrs, b.llrs, err_msg=name)
    assert a.num_invalid == b.num_invalid, name


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("constellation", CONSTELLATIONS)
@settings(max_examples=3)
@given(st.data())
def test_equals_the_reference(size, constellation, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    model = random_model(rng, constellation, survivors=data.draw(st.sampled_from([8, 16])))
    num_channels, num_vectors = data.draw(st.sampled_from([(1, 1), (1, 35), (3, 4), (7, 2), (17, 1)]))
    snr_db = data.draw(st.floats(-10, 60))
    y, h, noise_var = random_link(rng, model.constellation, num_channels, num_vectors, *size, snr_db)
    if num_channels > 2:
        h[1] = 0
        h[2, :, 0] = 0
        y[2, 0, 0] = 1e38
    if num_vectors > 1:
        y[0, 1, 0] = rng.choice([np.nan, np.inf])
    known = data.draw(st.sampled_from(["snr_db", "noise_var"]))
    value = snr_db if known == "snr_db" else np.full(num_channels, noise_var)
    expected = reference(model, y, h, Noise(**{known: np.atleast_1d(value)}))
    assert np.isfinite(expected.llrs).all()
    for instruction_set in INSTRUCTION_SETS:
        prepared = NativeListPlan(model, *h.shape, instruction_set=instruction_set).prepare(h, **{known: value})
        assert prepared.instruction_set == instruction_set
        assert_same_bits(prepared.detect(y), expected, instruction_set)


@pytest.mark.parametrize("distance", [0, 1e-6, 1e-3])
@pytest.mark.parametrize("snr_db", [50, 60, 90])
def test_nearly_singular_channels_give_finite_llrs(distance, snr_db):
    rng = np.random.default_rng(1)
    model = random_model(rng)
    y, h, _ = random_link(rng, model.constellation, 100, 1, 64, 16, snr_db)
    h = h[:, :, :1] + np.float32(distance) * h  # all streams from about one direction
    gain, noise_var = channel_levels(h, Noise(snr_db=np.atleast_1d(float(snr_db))))
    sources = SoftSources(model, prepare_list(model, h, gain, noise_var), y)
    assert np.isfinite(sources.of_list).all()
    assert np.isfinite(sources.of_propagation).all()


@pytest.mark.parametrize("num_channels", [1, 5, 16, 37])
def test_streams_and_threads_give_the_same_bits(num_channels):
    rng = np.random.default_rng(num_channels)
    model = random_model(rng)
    y, h, noise_var = random_link(rng, model.constellation, num_channels, 23, 4, 4, 20)
    expected = NativeListPlan(model, *h.shape).prepare(h, noise_var=noise_var).detect(y)
    received = [np.ascontiguousarray(y[:, :, r].T) for r in range(4)]
    for num_threads in (1, 3):
        symbols = [np.empty((23, num_channels), np.complex64) for _ in range(4)]
        llrs = [np.empty((23, num_channels * 4), np.float32) for _ in range(4)]
        prepared = NativeListPlan(model, *h.shape, num_threads=num_threads).prepare(h, noise_var=noise_var)
        assert prepared.detect_streams(received, symbols, llrs) == 0
        for stream in range(4):
            np.testing.assert_array_equal(symbols[stream].T, expected.symbols[:, :, stream])
            by_channel = llrs[stream].reshape(23, num_channels, 4).swapaxes(0, 1)
            np.testing.assert_array_equal(by_channel, expected.llrs[:, :, stream])
        without_llrs = [np.empty_like(s) for s in symbols]
        prepared.detect_streams(received, without_llrs)
        np.testing.assert_array_equal(without_llrs, symbols)


def test_plan_is_not_shared_by_threads():
    rng = np.random.default_rng(1)
    model = random_model(rng)
    y, h, noise_var = random_link(rng, model.constellation, 64, 2000, 4, 4, 20)
    prepared = NativeListPlan(model, *h.shape).prepare(h, noise_var=noise_var)
    expected, outcomes = prepared.detect(y), []

    def detect():
        try:
            outcomes.append(prepared.detect(y))
        except RuntimeError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=detect) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for outcome in outcomes:
        if isinstance(outcome, str):
            assert "another thread is using this plan" in outcome
        else:
            assert_same_bits(outcome, expected, "thread")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"survivors": 12}, "survivors is 12"),
        ({"knots": ()}, "0 knots"),
        ({"knots": (1.0, 2.0)}, "4 weights of a curve; one for each of the 2 knots"),
        ({"step": Step(-1, 0)}, "alpha and gamma are -1"),
        ({"layers": (PropagationLayer(1.5, 0.1),)}, "damping is 1.5"),
        ({"fusion": ()}, "no weights"),
    ],
)
def test_says_what_a_network_has_wrong(changes, complaint):
    model = random_model(np.random.default_rng(1), **changes)
    with pytest.raises(ValueError, match=complaint):
        NativeListPlan(model, 1, 2, 2)
