# SPDX-License-Identifier: GPL-3.0-or-later
"""The learned estimator without ONNX Runtime: what goes into the network and what comes out, and clear errors."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gr_kaq.channels.flat import complex_normal
from gr_kaq.estimation.estimator import Observation
from gr_kaq.estimation.learned import (
    WINDOW,
    EstimatorFileError,
    LearnedEstimator,
    LearnedInterpolator,
    grids,
    list_estimators,
    network_input,
)
from gr_kaq.frames.frame_format import NUM_SYMBOLS, TRAINING_SYMBOLS, FrameFormat


def observation(frame_format, noise_var, snr_db=12.0):
    training = np.zeros(
        (3, len(noise_var), frame_format.num_tx, frame_format.num_active // frame_format.comb), np.complex64
    )
    return Observation(training, 0.0, 0.0, np.array(noise_var, float), 0.4, 0.02, snr_db)


@settings(max_examples=30)
@given(
    num_rx=st.integers(1, 4),
    num_tx=st.integers(1, 4),
    fft_size=st.sampled_from([64, 256]),
    seed=st.integers(0, 1000),
)
def test_the_channel_comes_back_from_the_grids(num_rx, num_tx, fft_size, seed):
    """A network that changed nothing would change nothing."""
    frame_format = FrameFormat(num_tx, fft_size)
    rng = np.random.default_rng(seed)
    wiener = complex_normal(rng, (NUM_SYMBOLS, frame_format.num_active, num_rx, num_tx))
    seen = observation(frame_format, rng.uniform(1e-6, 10, num_rx))
    given_ = network_input(frame_format, seen, wiener[list(TRAINING_SYMBOLS)], wiener)
    count = 2 * num_rx * num_tx * frame_format.num_active // WINDOW
    assert (given_.ls.shape, given_.lmmse.shape) == ((count, WINDOW, 3), (count, WINDOW, NUM_SYMBOLS))
    channel, finite = given_.channel(given_.lmmse)
    assert finite
    np.testing.assert_allclose(channel, wiener, rtol=1e-5)
    np.testing.assert_array_equal(given_.ls, given_.lmmse[..., list(TRAINING_SYMBOLS)])


@pytest.mark.parametrize("num_tx, fft_size, num_symbols", [(8, 256, 14), (2, 512, 14), (2, 64, 28)])
def test_frames_that_no_estimator_is_trained_for_are_refused(num_tx, fft_size, num_symbols):
    size = f"num_tx is {num_tx}, fft_size {fft_size}, num_symbols {num_symbols}"
    with pytest.raises(ValueError, match=f"{size}; learned .* 4 streams, 256 carriers, and 14 symbols"):
        LearnedInterpolator(FrameFormat(num_tx, fft_size, num_symbols=num_symbols), "estimator")


def test_windows_are_neighbouring_carriers_of_one_pair():
    """Real parts, then imaginary parts; windows outermost, then antennas, then streams."""
    carrier, rx, tx = np.ogrid[:208, :2, :3]
    channel = np.broadcast_to(carrier + 1j * (10 * rx + tx), (3, 208, 2, 3)).astype(np.complex64)
    channel += 1000 * np.arange(3)[:, None, None, None]
    real, imaginary = grids(channel, np.array([1, 2], np.float32)).reshape(2, 4, 2, 3, WINDOW, 3)
    window, rx, tx, carrier, symbol = np.ogrid[:4, :2, :3, :WINDOW, :3]
    np.testing.assert_array_equal(real, (52 * window + carrier + 1000 * symbol) * (1 + rx) + 0 * tx)
    np.testing.assert_array_equal(imaginary, (10 * rx + tx) * (1 + rx) + 0 * (window + carrier + symbol))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_grid_that_is_not_finite_is_noticed(value):
    frame_format = FrameFormat(2, 256)
    h = np.ones((NUM_SYMBOLS, frame_format.num_active, 2, 2), np.complex64)
    given_ = network_input(frame_format, observation(frame_format, [1.0, 1.0]), h[:3], h)
    for place in ((0, 0, 0), (31, 51, 13), (16, 20, 5)):
        refined = given_.lmmse.copy()
        refined[place] = value
        assert not given_.channel(refined)[1]


def test_the_network_sees_the_same_whatever_the_gain():
    """Radios have any gain, and antennas their own noise: the network was trained on equal noise and mean power 1."""
    frame_format = FrameFormat(2, 64)
    rng = np.random.default_rng(1)
    h = complex_normal(rng, (NUM_SYMBOLS, frame_format.num_active, 3, 2))
    gain = np.array([1e-4, 1.0, 300.0], np.float32)
    plain = network_input(frame_format, observation(frame_format, [0.1] * 3, 10 * np.log10(2 / 0.1)), h[:3], h)
    scaled = h * gain[:, None]
    loud = network_input(
        frame_format, observation(frame_format, 0.1 * gain**2, 10 * np.log10(2 / 0.1)), scaled[:3], scaled
    )
    np.testing.assert_allclose(loud.ls, plain.ls, rtol=1e-5)
    assert np.mean(plain.ls**2) == pytest.approx(0.5, abs=0.05)


def test_statistics_do_not_depend_on_the_number_of_carriers():
    for fft_size in (64, 256):
        frame_format = FrameFormat(2, fft_size)
        seen = observation(frame_format, [1.0, 1.0])
        seen = Observation(**{**vars(seen), "delay_spread": 0.01 * fft_size})
        h = np.ones((NUM_SYMBOLS, frame_format.num_active, 2, 2), np.complex64)
        snr, delay_spread, doppler = network_input(frame_format, seen, h[:3], h).statistics
        assert snr == pytest.approx(10**1.2 / 2)
        assert (delay_spread, doppler) == (pytest.approx(0.01), pytest.approx(0.02))


def test_a_dead_antenna_stays_dead_and_finite():
    frame_format = FrameFormat(1, 64)
    h = np.ones((NUM_SYMBOLS, frame_format.num_active, 2, 1), np.complex64)
    h[:, :, 1] = 0
    given_ = network_input(frame_format, observation(frame_format, [0.1, 0.0]), h[:3], h)
    assert np.isfinite(given_.lmmse).all()
    channel, finite = given_.channel(given_.lmmse)
    assert finite and np.isfinite(channel).all() and not channel[:, :, 1].any()


def test_estimators_ship():
    assert {"estimator", "estimator-fp"} <= set(list_estimators())


@pytest.mark.parametrize("name", ["no-such-estimator", "/no/such/file.onnx", "", "a\0b"])
def test_an_unknown_name_says_what_there_is(name):
    with pytest.raises(EstimatorFileError, match="estimator-fp"):
        LearnedEstimator(name)


def test_without_onnx_runtime_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # what Python does for a module that is not there
    with pytest.raises(ImportError, match="pip install onnxruntime.*or take lmmse"):
        LearnedEstimator("estimator")


def test_threads_have_to_be_at_least_one():
    with pytest.raises(ValueError, match="num_threads"):
        LearnedEstimator("estimator", num_threads=0)
