# SPDX-License-Identifier: GPL-3.0-or-later
"""The native LMMSE and zero forcing against LAPACK in double precision (`linear`), on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gr_kaq
from gr_kaq import native
from gr_kaq.detection import full_precision, linear
from gr_kaq.detection.linear_native import NativeLinearPlan
from gr_kaq.signals.constellation import CONSTELLATIONS

INSTRUCTION_SETS = native.instruction_sets()
SIZES = [(1, 1), (2, 1), (2, 2), (3, 2), (4, 4), (5, 3), (8, 8), (16, 4), (16, 16), (32, 7), (64, 16), (70, 20)]
FILTERS = {"lmmse": linear.lmmse, "zf": linear.zero_forcing}

# What docs/guide/detectors.md promises: of the noise's standard deviation, of sum |W| |y|, and of a symbol's LLRs.
PART_OF_NOISE, PART_OF_SUM, PART_OF_LLR = 0.1, 3e-5, 0.03


def normal(rng, *shape):
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)) / np.sqrt(2)


def random_channels(rng, count, size, condition):
    """Channels whose singular values go from 1 to 1 / condition."""
    u, s, vh = np.linalg.svd(normal(rng, count, *size), full_matrices=False)
    values = float(condition) ** -np.linspace(0, 1, s.shape[-1])
    return (u * values) @ vh


def received(rng, constellation, h, noise_var, num_vectors):
    """Vectors y (C, T, num_rx) over channels h."""
    count, num_rx, num_tx = h.shape
    bits = rng.integers(0, 2, (count, num_vectors, num_tx * constellation.bits_per_symbol))
    y = constellation.modulate(bits) @ h.swapaxes(1, 2) + np.sqrt(noise_var) * normal(rng, count, num_vectors, num_rx)
    return y.astype(np.complex64)


def assert_near_lapack(name, constellation, y, h, noise_var, *, instruction_set="", **more):
    """Symbols and LLRs are within the promise."""
    plan = NativeLinearPlan(name, constellation, *h.shape, instruction_set=instruction_set)
    out = plan.prepare(h, noise_var=noise_var, **more).detect(y)
    assert out.num_invalid == 0
    filters, variance = FILTERS[name](h, np.atleast_1d(noise_var))
    filters, variance = filters.astype(np.complex128).swapaxes(1, 2), variance[:, None].astype(np.float64)
    expected = y.astype(np.complex128) @ filters
    noise = np.where(np.isfinite(variance), np.sqrt(2 * variance), 0)
    allowed = PART_OF_NOISE * noise + PART_OF_SUM * (np.abs(y).astype(np.float64) @ np.abs(filters))
    error = np.abs(out.symbols - expected)
    assert (error <= allowed).all(), (error / allowed).max()
    # two levels are up to 2.2 apart; and distances of about 1 round
    allowed = ((5 * allowed + 1e-6) / (2 * variance))[..., None]
    for part, first in ((expected.real, 0), (expected.imag, 1)):
        llrs = full_precision.llrs(constellation, part, variance)
        error = np.abs(out.llrs[..., first::2] - llrs) - PART_OF_LLR * np.abs(llrs).max(axis=-1, keepdims=True)
        assert (error <= allowed).all(), (error / allowed).max()
    return out


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", FILTERS)
@settings(max_examples=12)
@given(st.data())
def test_is_near_lapack(size, name, data):
    """Condition numbers up to 1e6, SNR of -20 to 80 dB, streams 60 dB apart, any gain of the radio."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    constellation = CONSTELLATIONS[data.draw(st.sampled_from(list(CONSTELLATIONS)))]
    condition = 10 ** data.draw(st.floats(0, 5.9))  # zero forcing leaves out singular values below 1e-6
    h = random_channels(rng, data.draw(st.integers(1, 20)), size, condition)
    if condition < 10:
        h *= 10 ** rng.uniform(-3, 0, (len(h), 1, size[1]))
    h /= np.sqrt(np.mean(np.abs(h) ** 2, axis=(1, 2), keepdims=True))
    h = (h * 10 ** data.draw(st.floats(-14, 15))).astype(np.complex64)
    snr = 10 ** (data.draw(st.floats(-20, 80)) / 10)
    noise_var = np.sum(np.abs(h.astype(np.complex128)) ** 2, axis=(1, 2)) / size[0] / snr
    y = received(rng, constellation, h, noise_var[:, None, None], data.draw(st.integers(1, 5)))
    instruction_set = data.draw(st.sampled_from(INSTRUCTION_SETS))
    vectors = data.draw(st.sampled_from([1, 1000]))  # two matrices, or one
    assert_near_lapack(
        name, constellation, y, h, noise_var, instruction_set=instruction_set, vectors_per_estimate=vectors
    )


@pytest.mark.parametrize("snr_db", [0, 20, 40, 50, 60])
@pytest.mark.parametrize("size", [(2, 2), (4, 4), (16, 16)])
@pytest.mark.parametrize("name", FILTERS)
def test_is_near_lapack_on_rayleigh_channels(name, size, snr_db):
    """Many of them: some are nearly singular."""
    rng = np.random.default_rng(snr_db)
    h = normal(rng, 40000 // size[1] ** 2, *size).astype(np.complex64)
    noise_var = size[1] / 10 ** (snr_db / 10)
    y = received(rng, CONSTELLATIONS["16qam"], h, noise_var, 4)
    assert_near_lapack(name, CONSTELLATIONS["16qam"], y, h, noise_var, vectors_per_estimate=4)


@pytest.mark.parametrize("vectors", [1, 1000])
@pytest.mark.parametrize("name", FILTERS)
class TestRankDeficient:
    """What has no inverse."""

    @pytest.mark.parametrize("snr_db", [-20, 20, 80])
    def test_two_streams_from_one_direction(self, name, vectors, snr_db):
        rng = np.random.default_rng(1)
        h = random_channels(rng, 9, (6, 4), 3).astype(np.complex64)
        h[::2, :, 2] = h[::2, :, 0]
        noise_var = np.sum(np.abs(h[0]) ** 2) / 6 / 10 ** (snr_db / 10)
        y = received(rng, CONSTELLATIONS["qpsk"], h, noise_var, 3)
        assert_near_lapack(name, CONSTELLATIONS["qpsk"], y, h, noise_var, vectors_per_estimate=vectors)

    def test_without_noise(self, name, vectors):
        rng = np.random.default_rng(2)
        h = random_channels(rng, 5, (6, 4), 3).astype(np.complex64)
        h[::2, :, 2] = h[::2, :, 0]
        y = received(rng, CONSTELLATIONS["qpsk"], h, 0.0, 3)
        assert_near_lapack(name, CONSTELLATIONS["qpsk"], y, h, 0.0, vectors_per_estimate=vectors)

    def test_a_stream_that_does_not_arrive(self, name, vectors):
        rng = np.random.default_rng(3)
        h = random_channels(rng, 20, (6, 4), 3).astype(np.complex64)
        h[3, :, 1] = 0
        y = received(rng, CONSTELLATIONS["64qam"], h, 1e-3, 3)
        out = assert_near_lapack(name, CONSTELLATIONS["64qam"], y, h, 1e-3, vectors_per_estimate=vectors)
        assert (out.symbols[3, :, 1] == 0).all() and (out.llrs[3, :, 1] == 0).all()
        assert (out.symbols[3, :, 0] != 0).all() and (out.llrs[3, :, 0] != 0).all()

    def test_fewer_antennas_than_streams(self, name, vectors):
        if name == "zf":
            with pytest.raises(ValueError, match="zf needs num_rx >= num_tx >= 1; got num_rx=3, num_tx=5"):
                gr_kaq.load_detector("zf", constellation="qpsk").plan(1, 3, 5)
            return
        rng = np.random.default_rng(4)
        for noise_var in (1.0, 1e-4, 0.0):
            h = normal(rng, 4, 3, 5).astype(np.complex64)
            y = received(rng, CONSTELLATIONS["16qam"], h, noise_var, 3)
            assert_near_lapack(name, CONSTELLATIONS["16qam"], y, h, noise_var, vectors_per_estimate=vectors)


@settings(max_examples=30)
@given(st.data())
def test_bits_depend_on_nothing_but_the_channel(data):
    """Not on instruction sets that fuse products, layout, threads, or the other channels."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    name = data.draw(st.sampled_from(list(FILTERS)))
    num_channels, num_vectors = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    constellation = CONSTELLATIONS[data.draw(st.sampled_from(list(CONSTELLATIONS)))]
    size = data.draw(st.sampled_from(SIZES))
    h = random_channels(rng, num_channels, size, 10).astype(np.complex64)
    h[rng.random(num_channels) < 0.2, :, 0] = h[0, :, -1]  # some need double precision
    noise_var = np.full(num_channels, 10.0 ** data.draw(st.integers(-8, 0)))
    y = received(rng, constellation, h, noise_var[:, None, None], num_vectors)
    vectors = data.draw(st.sampled_from([1, 1000]))

    def plan(channels=num_channels, **more):
        return NativeLinearPlan(name, constellation, channels, *size, **more)

    def prepared(plan, part=slice(None)):
        return plan.prepare(h[part], noise_var=noise_var[part], vectors_per_estimate=vectors)

    expected = prepared(plan()).detect(y)
    for instruction_set in INSTRUCTION_SETS:
        out = prepared(plan(instruction_set=instruction_set)).detect(y)
        if instruction_set != "portable":
            np.testing.assert_array_equal(out.symbols, expected.symbols, instruction_set)
            np.testing.assert_array_equal(out.llrs, expected.llrs, instruction_set)
    channel = data.draw(st.integers(0, num_channels - 1))
    single = prepared(plan(1), slice(channel, channel + 1)).detect(y[channel : channel + 1])
    np.testing.assert_array_equal(single.symbols[0], expected.symbols[channel])
    np.testing.assert_array_equal(single.llrs[0], expected.llrs[channel])
    streams = [np.empty((num_vectors, num_channels), np.complex64) for _ in range(size[1])]
    llrs = [np.empty((num_vectors, num_channels * constellation.bits_per_symbol), np.float32) for _ in streams]
    antennas = [np.ascontiguousarray(y[:, :, r].T) for r in range(size[0])]
    prepared(plan(num_threads=data.draw(st.integers(1, 4)))).detect_streams(antennas, streams, llrs)
    for j, (stream, of_stream) in enumerate(zip(streams, llrs, strict=True)):
        np.testing.assert_array_equal(stream.T, expected.symbols[:, :, j])
        by_channel = of_stream.reshape(num_vectors, num_channels, -1).swapaxes(0, 1)
        np.testing.assert_array_equal(by_channel, expected.llrs[:, :, j])


@pytest.mark.parametrize("name", FILTERS)
def test_backends(name):
    """Native is the default, and near the reference."""
    rng = np.random.default_rng(5)
    h = normal(rng, 10, 6, 4).astype(np.complex64)
    y = received(rng, CONSTELLATIONS["16qam"], h, 0.1, 7)
    detector = gr_kaq.load_detector(name, constellation="16qam")
    reference = gr_kaq.load_detector(name, constellation="16qam", backend="reference")
    assert (detector.backend, reference.backend) == ("native", "reference")
    assert detector.prepare(h, noise_var=0.1).instruction_set == native.selected_instruction_set()
    out, expected = (of.detect(y, h, noise_var=0.1) for of in (detector, reference))
    np.testing.assert_allclose(out.symbols, expected.symbols, rtol=0, atol=1e-4)
    np.testing.assert_allclose(out.llrs, expected.llrs, rtol=1e-4, atol=1e-2)


def test_says_what_is_wrong(monkeypatch):
    constellation = CONSTELLATIONS["qpsk"]
    with pytest.raises(ValueError, match="type is 'mmse'; lmmse or zf expected"):
        NativeLinearPlan("mmse", constellation, 1, 2, 2)
    with pytest.raises(ValueError, match="instruction set 'avx9' is not available here"):
        NativeLinearPlan("zf", constellation, 1, 2, 2, instruction_set="avx9")
    with pytest.raises(ValueError, match="h holds NaN or Inf"):
        NativeLinearPlan("zf", constellation, 1, 2, 2).prepare(np.full((1, 2, 2), np.nan), snr_db=10.0)
    monkeypatch.setenv("GR_KAQ_INSTRUCTION_SET", "avx9")
    with pytest.raises(ValueError, match="instruction set 'avx9' is not available here"):
        gr_kaq.load_detector("lmmse", constellation="qpsk")
