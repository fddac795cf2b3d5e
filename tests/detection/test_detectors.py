# SPDX-License-Identifier: GPL-3.0-or-later
"""The NumPy API: shapes, errors, odd channels, and that the detectors detect."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

import gr_kaq
from gr_kaq import CONSTELLATIONS
from gr_kaq.detection import model_file
from gr_kaq.detection.unfolded_detector import UnfoldedDetector
from tests.detection.models import admm_model, random_link


@pytest.fixture
def saved(tmp_path):
    """Path of a saved test model."""

    def save(**arguments):
        return model_file.save(admm_model(**arguments), tmp_path)

    return save


def bit_error_rate(detector, snr_db, size=(8, 8), seed=1, vectors=3000):
    rng = np.random.default_rng(seed)
    bits, y, h, noise_var = random_link(rng, detector, vectors // 3, 3, *size, snr_db)
    out = detector.detect(y, h, noise_var=noise_var)
    from_llrs = (out.llrs > 0).reshape(bits.shape)
    # a float that rounds onto a decision threshold may fall either way
    assert np.mean(from_llrs != detector.constellation.decide(out.symbols)) < 1e-3
    return np.mean(from_llrs != bits)


@pytest.mark.parametrize("constellation", ["qpsk", "16qam"])
@pytest.mark.parametrize("backend", ["native", "reference"])
def test_unfolded_beats_lmmse(saved, constellation, backend):
    """Symbols, LLR signs and bits belong together, for a network that is better than what it starts from."""
    snr_db = 12.0 if constellation == "qpsk" else 20.0
    detector = gr_kaq.load_detector(saved(constellation=constellation), backend=backend)
    lmmse = gr_kaq.load_detector("lmmse", constellation=constellation)
    assert bit_error_rate(detector, snr_db) < 0.7 * bit_error_rate(lmmse, snr_db)


@pytest.mark.parametrize("constellation", CONSTELLATIONS)
@pytest.mark.parametrize("name", ["lmmse", "zf"])
@pytest.mark.parametrize("backend", ["native", "reference"])
def test_linear_detectors(constellation, name, backend):
    """On a well-conditioned channel nearly nothing goes wrong, for every constellation."""
    detector = gr_kaq.load_detector(name, constellation=constellation, backend=backend)
    assert bit_error_rate(detector, 35.0, size=(16, 2)) < 1e-4


@pytest.mark.parametrize("constellation", CONSTELLATIONS)
def test_llrs_of_lmmse_are_calibrated(constellation):
    """With Gaussian residual noise, ln P(b=1)/P(b=0) is what the LLR says: checked by counting, |LLR| around 1."""
    detector = gr_kaq.load_detector("lmmse", constellation=constellation)
    snr_db = {2: 0.0, 4: 8.0, 6: 16.0, 8: 22.0}[detector.constellation.bits_per_symbol]
    rng = np.random.default_rng(4)
    bits, y, h, noise_var = random_link(rng, detector, 2000, 20, 2, 1, snr_db)
    llrs = detector.detect(y, h, noise_var=noise_var).llrs.reshape(bits.shape)
    for low, high in ((-1.5, -0.5), (0.5, 1.5)):
        chosen = (llrs > low) & (llrs < high)
        share = np.mean(bits[chosen])
        assert np.log(share / (1 - share)) == pytest.approx(np.mean(llrs[chosen]), abs=0.15)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("backend", ["native", "reference"])
def test_quantized_is_close_to_full_precision(saved, bits, backend):
    full = bit_error_rate(gr_kaq.load_detector(saved(bits=None, name="full")), 20.0)
    quantized = bit_error_rate(gr_kaq.load_detector(saved(bits=bits), backend=backend), 20.0)
    assert quantized < (1.05 if bits == 8 else 1.5) * full


def test_leading_axes(saved):
    """(subcarriers, users) with a channel each, an SNR each or in common."""
    detector = gr_kaq.load_detector(saved())
    rng = np.random.default_rng(2)
    _, y, h, _ = random_link(rng, detector, 12, 5, 4, 3, 18.0)
    snr_db = rng.uniform(10, 25, (3, 4))
    out = detector.detect(y.reshape(3, 4, 5, 4), h.reshape(3, 4, 4, 3), snr_db)
    assert out.symbols.shape == (3, 4, 5, 3) and out.symbols.dtype == np.complex64
    assert out.llrs.shape == (3, 4, 5, 3, 4) and out.llrs.dtype == np.float32
    one = detector.detect(y[7], h[7], snr_db[1, 3])
    np.testing.assert_array_equal(out.symbols[1, 3], one.symbols)
    np.testing.assert_array_equal(out.llrs[1, 3], one.llrs)
    assert detector.detect(y, h, 20.0).symbols.shape == (12, 5, 3)
    assert detector.detect(y[:, :0], h, 20.0).symbols.shape == (12, 0, 3)


@pytest.mark.parametrize(
    "name",
    ["native", "reference", "stream steps", "full precision", "lmmse", "zf", "lmmse, reference", "zf, reference"],
)
class TestOddInput:
    """What a testbed delivers on a bad day, for every kind of detector."""

    @pytest.fixture
    def detector(self, name, saved):
        linear, _, backend = name.partition(", ")
        if linear in ("lmmse", "zf"):
            return gr_kaq.load_detector(linear, constellation="16qam", backend=backend or "native")
        if name == "full precision":
            return gr_kaq.load_detector(saved(bits=None))
        if name == "stream steps":
            return UnfoldedDetector(dataclasses.replace(admm_model(), stream_steps=True), "native")
        return gr_kaq.load_detector(saved(), backend=name)

    def test_zero_channel_says_nothing(self, detector):
        out = detector.detect(np.ones((3, 4)), np.zeros((4, 2)), 20.0)
        assert (out.symbols == 0).all() and (out.llrs == 0).all() and out.num_invalid == 0

    def test_a_dead_subcarrier_leaves_the_others_alone(self, detector):
        rng = np.random.default_rng(5)
        _, y, h, noise_var = random_link(rng, detector, 3, 4, 4, 2, 20.0)
        expected = detector.detect(y, h, noise_var=noise_var)
        h[1] = 0
        out = detector.detect(y, h, noise_var=noise_var)
        assert (out.symbols[1] == 0).all() and (out.llrs[1] == 0).all()
        if detector.name in ("lmmse", "zf"):
            np.testing.assert_allclose(out.symbols[[0, 2]], expected.symbols[[0, 2]], atol=1e-4)
        else:
            assert np.isfinite(out.llrs).all()

    @pytest.mark.parametrize("snr_db", [-40.0, 20.0, 100.0])
    def test_rank_one_channel(self, detector, snr_db):
        out = detector.detect(np.ones((3, 4)), np.ones((4, 4)), snr_db)
        assert np.isfinite(out.symbols).all() and np.isfinite(out.llrs).all()

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, complex(0, np.nan)])
    def test_bad_samples_are_counted_and_stay_where_they_are(self, detector, bad):
        rng = np.random.default_rng(6)
        _, y, h, noise_var = random_link(rng, detector, 2, 6, 4, 4, 20.0)
        expected = detector.detect(y, h, noise_var=noise_var)
        y[1, 2, 3] = bad
        out = detector.detect(y, h, noise_var=noise_var)
        assert out.num_invalid == 1
        assert (out.symbols[1, 2] == 0).all() and (out.llrs[1, 2] == 0).all()
        keep = np.ones((2, 6), bool)
        keep[1, 2] = False
        np.testing.assert_array_equal(out.symbols[keep], expected.symbols[keep])

    def test_huge_samples_saturate(self, detector):
        out = detector.detect(np.full((2, 4), 1e30), np.eye(4), 20.0)
        assert np.isfinite(out.symbols).all() and np.isfinite(out.llrs).all()

    @pytest.mark.parametrize("scale", [1e-6, 1e6])
    def test_the_gain_of_the_radio_does_not_matter(self, detector, scale):
        rng = np.random.default_rng(7)
        bits, y, h, _ = random_link(rng, detector, 50, 4, 4, 2, 15.0)
        errors = [
            np.sum((detector.detect(y * s, h * np.float32(s), 15.0).llrs > 0).reshape(bits.shape) != bits)
            for s in (1, scale)
        ]
        assert abs(errors[0] - errors[1]) <= 3

    @pytest.mark.parametrize(
        ("y", "h", "snr", "message"),
        [
            (np.ones((3, 4)), np.ones((5, 2)), 10.0, r"\(3, 4\).*\(5, 2\)"),
            (np.ones(4), np.ones((4, 2)), 10.0, "shape"),
            (np.ones((2, 3, 4)), np.ones((4, 2)), 10.0, "shape"),
            (np.ones((3, 4)), np.full((4, 2), np.nan), 10.0, "h holds NaN"),
            (np.ones((3, 4)), np.full((4, 2), 1e60), 10.0, "h holds NaN or Inf"),
            (np.ones((3, 4)), np.ones((4, 2)), np.inf, "finite"),
            (np.ones((3, 4)), np.ones((4, 2)), [1.0, 2.0], "snr_db has shape"),
            (np.ones((3, 4)), np.ones((4, 2)), None, "exactly one"),
        ],
    )
    def test_wrong_arguments(self, detector, y, h, snr, message):
        with pytest.raises(ValueError, match=message):
            detector.detect(y, h, snr)

    def test_more_streams_than_antennas(self, detector):
        y, h = np.ones((1, 2)), np.ones((2, 3))
        if detector.name == "lmmse":
            assert np.isfinite(detector.detect(y, h, 10.0).symbols).all()
        else:
            with pytest.raises(ValueError, match="num_rx=2, num_tx=3"):
                detector.detect(y, h, 10.0)


def test_wrong_names():
    with pytest.raises(ValueError, match="no detector 'nope'.*lmmse"):
        gr_kaq.load_detector("nope")
    with pytest.raises(ValueError, match="needs a constellation"):
        gr_kaq.load_detector("lmmse")
    with pytest.raises(ValueError, match="8psk"):
        gr_kaq.load_detector("lmmse", constellation="8psk")
    with pytest.raises(ValueError, match="backend 'gpu'"):
        gr_kaq.load_detector("lmmse", constellation="qpsk", backend="gpu")


def test_a_model_knows_its_constellation(saved):
    with pytest.raises(ValueError, match="16qam, not qpsk"):
        gr_kaq.load_detector(saved(), constellation="qpsk")


@pytest.mark.parametrize("name", gr_kaq.list_detectors())
def test_everything_that_ships_loads_and_detects(name):
    constellation = "16qam" if name in ("auto", "auto-fast", "lmmse", "zf") else None
    detector = gr_kaq.load_detector(name, constellation=constellation)
    assert np.mean(np.abs(detector.detect(np.ones((5, 2)), np.eye(2, 1), 30.0).symbols)) > 0.3


def test_the_run_time_needs_no_torch_and_no_gnu_radio():
    """`import gr_kaq` and a detection leave both unimported: training and blocks are other floors."""
    program = (
        "import sys; sys.modules['torch'] = sys.modules['gnuradio'] = sys.modules['pmt'] = None; import gr_kaq;"
        "gr_kaq.load_detector('lmmse', constellation='qpsk').detect([[1]], [[1]], 10)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300, env={"PYTHONPATH": ":".join(sys.path)})
