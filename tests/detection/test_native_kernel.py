# SPDX-License-Identifier: GPL-3.0-or-later
"""The native kernel equals the NumPy reference bit for bit, on every instruction set of this machine."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gr_kaq import native
from gr_kaq.detection import integer_reference
from gr_kaq.detection.native_kernel import NativePlan, run_layers
from gr_kaq.detection.preparation import prepare
from gr_kaq.detection.quantization import (
    INT16_MAX,
    IntegerChannels,
    quantize_channels,
    quantize_estimates,
)
from gr_kaq.signals.signal_model import snr_from_noise_var
from tests.detection.models import admm_model, random_link, random_model

INSTRUCTION_SETS = native.instruction_sets()
SIZES = [(1, 1), (2, 1), (3, 2), (2, 2), (4, 4), (8, 8), (16, 4), (16, 16), (18, 17), (32, 16), (64, 16), (64, 64)]


def native_channels(model, h, noise_var, instruction_set="", vectors_per_estimate=1):
    plan = NativePlan(model, *h.shape, instruction_set=instruction_set)
    return plan.prepare(h, noise_var=noise_var, vectors_per_estimate=vectors_per_estimate)


def assert_equal(model, channels, b):
    t = integer_reference.detect(model, channels, b)
    llrs = integer_reference.llrs(model.constellation, t)
    for instruction_set in INSTRUCTION_SETS:
        native_t, native_llrs = run_layers(model, channels, b, instruction_set)
        np.testing.assert_array_equal(native_t, t, err_msg=instruction_set)
        np.testing.assert_array_equal(native_llrs, llrs, err_msg=instruction_set)


@pytest.mark.parametrize("network", ["admm", "pgd"])
@pytest.mark.parametrize("constellation", ["qpsk", "16qam", "64qam", "256qam"])
def test_equals_the_reference_on_received_vectors(network, constellation):
    """More than 10^5 vectors in all: sizes 1x1 to 64x64, SNR -10 to 40 dB, random laws, widths 2 to 8 bits."""
    rng = np.random.default_rng(zlib.crc32(f"{network} {constellation}".encode()))
    vectors = 0
    for round_ in range(5 if network == "admm" else 4):
        for num_rx, num_tx in SIZES:
            model = random_model(rng, network, constellation, (8, 8) if round_ == 0 else None)
            channels, count = 3, 100 if num_tx < 32 else 20
            snr_db = float(rng.uniform(-10, 40))
            _, y, h, noise_var = random_link(rng, model, channels, count + round_, num_rx, num_tx, snr_db)
            noise = np.full(channels, noise_var)
            prepared = prepare(model, h, noise, snr_from_noise_var(h, noise))
            b, _ = quantize_estimates(model, prepared, y)
            assert_equal(model, quantize_channels(model, prepared), b)
            vectors += channels * b.shape[1]
    assert vectors > 12500  # times eight parametrisations


def integer_channels(rng: np.random.Generator, model, num_tx: int, extreme: bool) -> IntegerChannels:
    """Integers at or near the ends of their ranges: what no real channel gives, but the types allow."""
    c, k, n = 2, len(model.layers), 2 * num_tx
    matrix_max = model.largest_entry
    rescale_max = (2**31 - 1 - 2**11) // (max(model.largest_activations) * matrix_max * (n - 1))

    def draw(low: int, high: int, *shape: int) -> np.ndarray:
        values = rng.integers(low, high, shape, endpoint=True)
        return np.where(rng.random(shape) < 0.5, low, high) if extreme else values

    def of_streams(low: int, high: int, layers: int, streams: int) -> np.ndarray:
        """The same for both rows of a stream; what all layers or all streams have in common is drawn once."""
        drawn = draw(low, high, c, layers, streams)
        return np.tile(np.broadcast_to(drawn, (c, k, num_tx)), 2)

    matrix = draw(-matrix_max, matrix_max, c, n, n).astype(np.int8)
    if model.midrise:
        matrix |= 1
    matrix[:, np.arange(n), np.arange(n)] = 0
    return IntegerChannels(
        matrix=matrix,
        diagonal=of_streams(-INT16_MAX, INT16_MAX, 1 if model.network == "admm" else k, num_tx).astype(np.int16),
        rescale=of_streams(-rescale_max, rescale_max, k, num_tx).astype(np.int32),
        inverse_step=of_streams(1, INT16_MAX, k, num_tx if model.stream_steps else 1).astype(np.int16),
        slope=draw(512, INT16_MAX, c, k, n).astype(np.int16),
        threshold=draw(0, INT16_MAX, c, k).astype(np.int16),
        first_gain=draw(-INT16_MAX, INT16_MAX, c, k).astype(np.int16),
        second_gain=draw(-INT16_MAX, INT16_MAX, c, k, n).astype(np.int16),
        llr_scale=np.ones((c, n), np.float32),
    )


@settings(max_examples=150)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["admm", "pgd"]),
    st.sampled_from(["qpsk", "16qam", "64qam", "256qam"]),
    st.sampled_from([1, 2, 15, 16, 17, 33, 49, 64]),
    st.booleans(),
)
def test_equals_the_reference_on_any_integers(seed, network, constellation, num_tx, extreme):
    """Saturation happens in the same places, also where only a hostile model or input would take it."""
    rng = np.random.default_rng(seed)
    model = random_model(rng, network, constellation)

    b = rng.integers(-INT16_MAX - 1, INT16_MAX, (2, 9, 2 * num_tx), endpoint=True).astype(np.int16)
    if extreme:
        b = np.where(b < 0, np.int16(-INT16_MAX - 1), np.int16(INT16_MAX))
    assert_equal(model, integer_channels(rng, model, num_tx, extreme), b)


@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
@pytest.mark.parametrize("network", ["admm", "pgd"])
@pytest.mark.parametrize("size", SIZES)
def test_float_stage_agrees_with_numpy(instruction_set, network, size):
    """Single precision against double: integers differ by one at most, and seldom."""
    rng = np.random.default_rng(7)
    model = random_model(rng, network, "16qam", (8, 8))
    _, y, h, noise_var = random_link(rng, model, 19, 5, *size, 15.0)
    snr_db = snr_from_noise_var(h, noise_var)[None]
    prepared = prepare(model, h, np.array([noise_var]), snr_db)
    channels = native_channels(model, h, noise_var, instruction_set)
    assert channels.instruction_set == instruction_set
    for name, expected in vars(quantize_channels(model, prepared)).items():
        actual = vars(channels.integers)[name]
        assert actual.dtype == expected.dtype and actual.shape == expected.shape
        if name == "llr_scale":
            np.testing.assert_allclose(actual, expected, rtol=1e-4)
        else:
            difference = np.abs(actual.astype(np.int64) - expected)
            tolerance = 1 + np.abs(expected.astype(np.int64)) // 10000
            assert (difference <= tolerance).all(), name
    b, finite = channels.filter(y)
    expected, _ = quantize_estimates(model, prepared, y)
    assert finite.all()
    difference = np.abs(b.astype(int) - expected)
    assert (difference <= 1 + np.abs(expected.astype(int)) // 5000).all()
    assert np.mean(difference > 0) < 0.02


@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
@pytest.mark.parametrize("size", SIZES)
def test_midrise_float_stage_agrees_with_numpy(instruction_set, size):
    """Odd integers, but for the diagonal; and for the row and column of a stream that does not arrive."""
    rng = np.random.default_rng(11)
    model = dataclasses.replace(
        admm_model(), activation_bits=2, matrix_bits=3, midrise=True, matrix_clip=0.7, stream_steps=True
    )
    _, _, h, noise_var = random_link(rng, model, 19, 1, *size, 15.0)
    h[0, :, 0] = 0
    snr_db = snr_from_noise_var(h, noise_var)[None]
    expected = quantize_channels(model, prepare(model, h, np.array([noise_var]), snr_db))
    channels = native_channels(model, h, noise_var, instruction_set)
    matrix = channels.integers.matrix
    num_tx = size[1]
    odd = matrix % 2 == 1
    assert not odd[:, np.arange(2 * num_tx), np.arange(2 * num_tx)].any()
    assert odd[1:].sum() == 18 * (2 * num_tx) * (2 * num_tx - 2)
    assert not matrix[0, :, 0].any()
    difference = np.abs(matrix.astype(int) - expected.matrix)
    assert difference.max() <= 2 and np.mean(difference > 0) < 0.001
    rescale = channels.integers.rescale
    np.testing.assert_allclose(rescale[1:], expected.rescale[1:], rtol=1e-4, atol=1)


@pytest.mark.parametrize("midrise", [False, True])
def test_float_stage_is_the_same_on_every_instruction_set(midrise):
    """All but the portable kernel fuse every product that is summed, so a recording detects alike on their machines."""
    rng = np.random.default_rng(8)
    model = dataclasses.replace(admm_model(bits=3), stream_steps=True, midrise=midrise)
    _, y, h, noise_var = random_link(rng, model, 37, 9, 16, 16, 20.0)
    fused = [name for name in INSTRUCTION_SETS if name != "portable"]
    if len(fused) < 2:
        pytest.skip(f"only {INSTRUCTION_SETS} run here")
    first, *others = (native_channels(model, h, noise_var, name) for name in fused)
    for other in others:
        for name, expected in vars(first.integers).items():
            np.testing.assert_array_equal(vars(other.integers)[name], expected)
        np.testing.assert_array_equal(other.detect(y).llrs, first.detect(y).llrs)


def test_streams_equal_detect():
    """The block's entry point reads and writes other strides, and gives the same."""
    rng = np.random.default_rng(9)
    model = admm_model("64qam")
    channels, vectors, num_rx, num_tx = 5, 70, 6, 3
    _, y, h, noise_var = random_link(rng, model, channels, vectors, num_rx, num_tx, 25.0)
    prepared = native_channels(model, h, noise_var)
    expected = prepared.detect(y)
    received = [np.ascontiguousarray(y[:, :, r].T) for r in range(num_rx)]
    symbols = [np.full((vectors, channels), np.nan, np.complex64) for _ in range(num_tx)]
    llrs = [np.full((vectors, channels * 6), np.nan, np.float32) for _ in range(num_tx)]
    assert prepared.detect_streams(received, symbols, llrs) == 0
    for j in range(num_tx):
        np.testing.assert_array_equal(symbols[j], expected.symbols[:, :, j].T)
        np.testing.assert_array_equal(llrs[j].reshape(vectors, channels, 6), expected.llrs[:, :, j].swapaxes(0, 1))


def test_streams_of_a_wrong_shape_are_refused():
    """The extension writes through pointers: nothing may get past its checks."""
    model = admm_model()
    prepared = native_channels(model, np.ones((4, 2, 2), np.complex64), 0.1)
    good = [np.zeros((3, 4), np.complex64) for _ in range(2)]
    read_only = np.zeros((3, 4), np.complex64)
    read_only.flags.writeable = False
    bad = [
        (good[:1], good, []),
        (good, good[:1], []),
        (good, [good[0], np.zeros((2, 4), np.complex64)], []),
        (good, [good[0], np.zeros((3, 4), np.complex128)], []),
        (good, [good[0], np.zeros((3, 8), np.complex64)[:, ::2]], []),
        (good, [good[0], read_only], []),
        (good, good, [np.zeros((3, 4), np.float32)] * 2),
        ([], [], []),
    ]
    for received, symbols, llrs in bad:
        with pytest.raises(ValueError, match="stream"):
            prepared.detect_streams(received, symbols, llrs)


def test_a_network_takes_its_arguments_by_name():
    """Each exactly once, of the right type; what the values are is checked in lib."""
    good = {
        "type": "pgd",
        "precision": "int8",
        "bits_per_dimension": 2,
        "half_distance": 0.3,
        "matrix_max": 127,
        "midrise": False,
        "matrix_clip": 1.0,
        "stream_steps": False,
        "output_spread": 0.0,
        "layers": [{"step": (0.0, 0.1, 0.01, 1.0), "gradient_step": (0.0, 1.0, 0.0, 2.0), "activation_max": 127}],
        "output_variance": (0.0, 1.0, 0.1, 10.0),
        "regularization": (0.0, 1.0, 0.1, 10.0),
        "snr_low_db": 0.0,
        "snr_high_db": 30.0,
    }
    make = native.extension().Network
    make(**good)
    for name in good:
        with pytest.raises(TypeError, match=f"Network: {name} is missing"):
            make(**{key: value for key, value in good.items() if key != name})
    with pytest.raises(TypeError, match="takes 14 arguments; 15 given"):
        make(**good, colour="blue")
    with pytest.raises(TypeError, match="matrix_max is 'three'; another type expected"):
        make(**good | {"matrix_max": "three"})
    layer = good["layers"][0]
    with pytest.raises(TypeError, match="activation_max is 'three'; another type expected"):
        make(**good | {"layers": [layer | {"activation_max": "three"}]})
    with pytest.raises(TypeError, match="activation_max of a layer is missing"):
        make(**good | {"layers": [{}]})
    with pytest.raises(TypeError, match="regularization is"):
        make(**good | {"regularization": (1.0, 2.0)})
    for name, value, message in [
        ("type", "amp", "network type 'amp' given; 'admm' or 'pgd' expected"),
        ("bits_per_dimension", 5, "bits_per_dimension is 5; 1 to 4 expected"),
        ("stream_steps", True, "stream_steps is true; a PGD-Net has one step for all streams"),
        ("layers", [{"activation_max": 127}], "layer 0: step may be as low as 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            make(**good | {name: value})


def test_environment_chooses_the_instruction_set():
    """GR_KAQ_INSTRUCTION_SET is how tests and doubting users reach every path; a wrong name says what there is."""
    program = (
        "import numpy as np; import gr_kaq;"
        "prepared = gr_kaq.load_detector('admm5-16qam').prepare(np.ones((1, 1, 1)), snr_db=0.0);"
        "print(prepared.instruction_set)"
    )

    def run(name):
        environment = os.environ | {"GR_KAQ_INSTRUCTION_SET": name, "PYTHONPATH": os.pathsep.join(["", *sys.path])}
        return subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=300, check=False
        )

    for name in INSTRUCTION_SETS:
        assert run(name).stdout.strip() == name
    refused = run("z80").stderr
    assert "'z80'" in refused and "one of" in refused and "load_detector" in refused


def test_the_kernel_releases_the_gil():
    """A flowgraph's other Python blocks run while a vector is detected."""
    rng = np.random.default_rng(3)
    model = admm_model()
    _, y, h, noise_var = random_link(rng, model, 64, 3000, 16, 16, 20.0)
    prepared = native_channels(model, h, noise_var)
    thread = threading.Thread(target=prepared.detect, args=(y,))
    progress = 0
    thread.start()
    while thread.is_alive():
        progress += 1
    assert progress > 100


def test_a_numpy_that_pybind11_does_not_know_is_refused():
    """pybind11 of Debian 12 reads the arrays of NumPy 2 at wrong places: all that was encoded was zeros."""
    if native.extension().pybind11 >= (2, 12):
        pytest.skip("the pybind11 of this build knows NumPy 2")
    program = "import numpy; numpy.__version__ = '2.0.0'; from gr_kaq import native; native.extension()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert "ImportError: gr-kaq's kernels cannot be loaded (built with pybind11 2." in done.stderr
    assert "needs a NumPy below 2; this is NumPy 2.0.0)" in done.stderr
