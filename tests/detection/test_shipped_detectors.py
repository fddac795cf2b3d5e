# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures that the README claims of the shipped detectors, through the native kernel.

BER through a flowgraph is in tests/examples/qa_figures.py; here are the comparisons that need the same vectors for both
sides. `make test-long` runs them with more vectors, at more points.
"""

from __future__ import annotations

import numpy as np
import pytest

import gr_kaq
from gr_kaq import BitErrorRate
from gr_kaq.channels.flat import RayleighChannels, RecordedChannels, complex_normal

quick_and_long = pytest.mark.parametrize("effort", [1, pytest.param(10, marks=pytest.mark.long)], ids=["quick", "long"])


def count_errors(detectors, h, vectors, snr_db, seed):
    """BitErrorRate of each detector on the same `vectors` received vectors for each of h (packets, S, rx, tx)."""
    rng = np.random.default_rng(seed)
    constellation = detectors[0].constellation
    packets, subcarriers, _, num_tx = h.shape
    noise_var = num_tx / 10 ** (snr_db / 10)
    totals = [BitErrorRate() for _ in detectors]
    for start in range(0, packets, 64):
        part = h[start : start + 64]
        bits = rng.integers(0, 2, (len(part), subcarriers, vectors, num_tx * constellation.bits_per_symbol))
        y = constellation.modulate(bits) @ part.swapaxes(-1, -2)
        y += np.float32(np.sqrt(noise_var)) * complex_normal(rng, y.shape)
        noise = np.full(part.shape[:2], noise_var)
        for i, detector in enumerate(detectors):
            decided = constellation.decide(detector.detect(y, part, noise_var=noise).symbols)
            totals[i] += BitErrorRate(int(np.count_nonzero(decided != bits)), bits.size)
    return totals


@quick_and_long
@pytest.mark.parametrize(
    ("name", "twin", "snr_db", "margin_db"),
    [
        ("admm5-16qam", "admm5-16qam-fp", 20.4, 0.1),
        ("admm5-16qam-w2", "admm5-16qam-fp", 20.4, 2.5),
    ],
)
def test_quantized_is_close_to_full_precision(name, twin, snr_db, margin_db, effort):
    """At BER 1e-2, so many dB more SNR make up for the quantization: same channels, bits and noise."""
    h = RayleighChannels(16, 16, seed=5).draw(2000 * effort)
    (full,) = count_errors([gr_kaq.load_detector(twin)], h, 4, snr_db, seed=6)
    (quantized,) = count_errors([gr_kaq.load_detector(name)], h, 4, snr_db + margin_db, seed=6)
    assert full.rate == pytest.approx(1e-2, rel=0.2)
    assert quantized.rate <= full.rate


@quick_and_long
@pytest.mark.parametrize(
    ("size", "snr_db", "expectation_propagation"),
    [
        ((16, 16), 15.0, 7.22e-2),
        ((16, 16), 18.0, 1.33e-2),
        ((16, 16), 20.0, 3.08e-3),
        ((16, 16), 22.0, 9.16e-4),
        ((16, 16), 25.0, 1.44e-4),
        ((32, 16), 15.0, 3.5e-4),
        ((4, 4), 15.0, 6.84e-2),
        ((4, 4), 20.0, 1.39e-2),
        ((4, 4), 25.0, 1.94e-3),
    ],
)
def test_auto_is_better_than_expectation_propagation(size, snr_db, expectation_propagation, effort):
    """Sionna's EP with 10 iterations, as docs/report measures it."""
    h = RayleighChannels(*size, seed=7).draw(10000 * effort)
    (rate,) = count_errors([gr_kaq.load_detector("auto", constellation="16qam")], h, 4, snr_db, seed=8)
    assert (
        rate.rate < expectation_propagation if effort == 1 else rate.confidence_interval()[1] < expectation_propagation
    )


@quick_and_long
@pytest.mark.parametrize("constellation", ["qpsk", "16qam"])
def test_measured_channels_beat_lmmse_wherever_it_matters(constellation, effort):
    """At every SNR where LMMSE's BER lies between 1e-1 and 1e-3, over all packets of the recording."""
    detectors = [
        gr_kaq.load_detector("lmmse", constellation=constellation),
        gr_kaq.load_detector(f"measured-3x2-{constellation}"),
    ]
    h = RecordedChannels(gr_kaq.shipped_recording("measured_csi_3x2"), 3, 2, 56).draw(401)
    if effort == 1:
        h = h[::4]
    compared = 0
    for snr_db in range(-2, 36, 1 if effort > 1 else 3):
        lmmse, kaq = count_errors(detectors, h, 4 * effort, float(snr_db), seed=snr_db + 10)
        if 1e-3 <= lmmse.rate <= 1e-1:
            compared += 1
            assert kaq.rate < lmmse.rate, f"{snr_db} dB: {kaq} against LMMSE's {lmmse}"
    assert compared >= (3 if effort == 1 else 10)


@quick_and_long
@pytest.mark.parametrize(
    ("name", "size", "snr_db"),
    [
        ("admm5-16qam", (16, 16), 20.0),
        ("admm5-16qam-w2", (16, 16), 20.0),
        ("admm5-qpsk", (16, 16), 12.0),
        ("admm5-64qam", (16, 16), 28.0),
        ("pgd8-16qam", (64, 16), 5.0),
    ],
)
def test_better_than_lmmse(name, size, snr_db, effort):
    """Every detector of the working presets beats LMMSE at the size it was trained for."""
    detector = gr_kaq.load_detector(name)
    lmmse = gr_kaq.load_detector("lmmse", constellation=detector.constellation.name)
    h = RayleighChannels(*size, seed=3).draw(1000 * effort)
    reference, kaq = count_errors([lmmse, detector], h, 4, snr_db, seed=4)
    assert kaq.confidence_interval()[1] < reference.confidence_interval()[0]
