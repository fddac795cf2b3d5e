# SPDX-License-Identifier: GPL-3.0-or-later
"""Unfolded networks in fp32: near the NumPy code, the same bits on every instruction set that fuses, clear errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gr_kaq
from gr_kaq import native
from gr_kaq.channels.flat import RayleighChannels
from gr_kaq.detection.native_kernel import NativePlan
from gr_kaq.links.simulated_link import Link, detect
from tests.detection.models import random_link, random_model

UNFOLDED = [n for n in gr_kaq.list_detectors() if not n.startswith(("auto", "list", "lmmse", "zf"))]
FUSING = [name for name in native.instruction_sets() if name != "portable"]


def assert_near(given, expected, half_distance):
    """Within 1e-3 of half the distance of levels, and LLRs within 2e-3 of 1 + themselves."""
    assert given.num_invalid == expected.num_invalid
    np.testing.assert_allclose(given.symbols, expected.symbols, rtol=1e-3, atol=1e-3 * half_distance)
    np.testing.assert_allclose(given.llrs, expected.llrs, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", UNFOLDED)
@pytest.mark.parametrize("snr_db", [0.0, 12.0, 25.0])
def test_shipped_detectors_in_fp32(name, snr_db):
    kernel, numpy = (gr_kaq.load_detector(name, precision="fp32", backend=b) for b in ("native", "reference"))
    for size in [(2, 2), (3, 2), (4, 4), (5, 3), (16, 16), (64, 16)]:
        try:
            kernel.check_size(*size)
        except ValueError:
            continue
        sent = Link(RayleighChannels(*size, seed=1), kernel.constellation, snr_db, seed=2).draw(40)
        assert_near(detect(kernel, sent), detect(numpy, sent), kernel.constellation.half_distance)


@settings(max_examples=40)
@given(
    network=st.sampled_from(["admm", "pgd"]),
    constellation=st.sampled_from(["qpsk", "16qam", "64qam", "256qam"]),
    size=st.sampled_from([(1, 1), (2, 1), (3, 2), (5, 5), (8, 8), (18, 17)]),
    channels=st.integers(1, 20),
    count=st.integers(0, 9),
    seed=st.integers(0, 2**32 - 1),
)
def test_instruction_sets_agree(network, constellation, size, channels, count, seed):
    rng = np.random.default_rng(seed)
    model = random_model(rng, network, constellation, (8, 8))
    _, y, h, noise_var = random_link(rng, model, channels, count, *size, float(rng.uniform(0, 40)))
    outputs = []
    for name in FUSING:
        plan = NativePlan(model, *h.shape, precision="fp32", instruction_set=name)
        outputs.append(plan.prepare(h, noise_var=noise_var, vectors_per_estimate=max(count, 1)).detect(y))
    for out in outputs[1:]:
        np.testing.assert_array_equal(out.symbols, outputs[0].symbols)
        np.testing.assert_array_equal(out.llrs, outputs[0].llrs)


def test_auto_is_the_models_own():
    assert gr_kaq.load_detector("admm5-16qam").precision == "int8"
    assert gr_kaq.load_detector("admm5-16qam-fp").precision == "fp32"
    assert gr_kaq.load_detector("list8-16qam-fp").precision == "fp32"


def test_what_has_no_such_precision_says_so():
    with pytest.raises(ValueError, match="unknown precision 'fp16'; one of auto, int8, fp32 expected"):
        gr_kaq.load_detector("admm5-16qam", precision="fp16")
    with pytest.raises(ValueError, match="admm5-16qam-fp is in full precision; precision 'fp32' or 'auto' expected"):
        gr_kaq.load_detector("admm5-16qam-fp", precision="int8")
    with pytest.raises(ValueError, match="list8-16qam runs in its integers only; its twin list8-16qam-fp is in fp32"):
        gr_kaq.load_detector("list8-16qam", precision="fp32")
    with pytest.raises(ValueError, match="lmmse has no choice of precision"):
        gr_kaq.load_detector("lmmse", constellation="16qam", precision="fp32")
