# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrays as callers have them: any layout in memory gives what a contiguous copy gives, or is refused clearly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gr_kaq
from gr_kaq.detection.detector import Detector
from gr_kaq.detection.unfolded_detector import UnfoldedDetector
from tests.detection.models import admm_model, random_link


def unfolded(backend: str) -> Detector:
    return UnfoldedDetector(admm_model("16qam"), backend)


DETECTORS: dict[str, Callable[[], Detector]] = {
    "native": lambda: unfolded("native"),
    "reference": lambda: unfolded("reference"),
    "lmmse": lambda: gr_kaq.load_detector("lmmse", constellation="16qam"),
}


@pytest.fixture(params=DETECTORS, scope="module")
def detector(request) -> Detector:
    return DETECTORS[request.param]()


def misaligned(x: np.ndarray, offset: int = 1) -> np.ndarray:
    """The same values at an odd address."""
    memory = np.zeros(x.nbytes + 64, np.uint8)
    memory[offset : offset + x.nbytes] = np.frombuffer(x.tobytes(), np.uint8)
    return np.frombuffer(memory, x.dtype, x.size, offset).reshape(x.shape)


def strided(x: np.ndarray) -> np.ndarray:
    """Every other entry along each axis of a larger array."""
    larger = np.full([3 * size + 1 for size in x.shape], np.nan, x.dtype)
    view = larger[tuple(slice(1, 3 * size + 1, 3) for size in x.shape)]
    view[...] = x
    return view


def reversed_axes(x: np.ndarray) -> np.ndarray:
    """Negative strides."""
    flipped = tuple(slice(None, None, -1) for _ in x.shape)
    return x[flipped].copy()[flipped]


def read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


def within_a_record(x: np.ndarray) -> np.ndarray:
    """A field of packed records: strides that are no multiple of the item's size."""
    records = np.zeros(x.shape, np.dtype([("count", np.uint8), ("value", x.dtype)]))
    records["value"] = x
    return records["value"]


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "fortran": np.asfortranarray,
    "strided": strided,
    "reversed": reversed_axes,
    "misaligned by 1": misaligned,
    "misaligned by 3": lambda x: misaligned(x, 3),
    "misaligned by 4": lambda x: misaligned(x, 4),
    "read-only": read_only,
    "within a record": within_a_record,
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder()),
    "double precision": lambda x: x.astype(np.result_type(x.dtype, np.float64)),
    "long double": lambda x: x.astype(np.result_type(x.dtype, np.longdouble)),
    "nested lists": lambda x: x.tolist(),
    "objects": lambda x: x.astype(object),
}

ARRAYS = sorted(LAYOUTS.keys() - {"nested lists", "objects"})  # for arguments that are declared arrays of numbers


def link(detector: Detector, seed: int, channels: int, vectors: int, num_rx: int, num_tx: int):
    rng = np.random.default_rng(seed)
    _, y, h, noise_var = random_link(rng, detector, channels, vectors, num_rx, num_tx, 15.0)
    return y, h, np.full(channels, noise_var) * rng.uniform(0.5, 2.0, channels)


def assert_same(actual: gr_kaq.Detection, expected: gr_kaq.Detection) -> None:
    np.testing.assert_array_equal(actual.symbols, expected.symbols)
    np.testing.assert_array_equal(actual.llrs, expected.llrs)
    assert actual.num_invalid == expected.num_invalid
    assert actual.symbols.dtype == np.complex64 and actual.llrs.dtype == np.float32


@settings(max_examples=60)
@given(
    st.data(),
    st.integers(0, 2**32 - 1),
    st.integers(1, 20),
    st.integers(1, 9),  # nested lists of no vectors have lost their shape
    st.integers(1, 5),
    st.integers(0, 3),
)
@pytest.mark.parametrize("name", DETECTORS)
def test_any_layout_gives_what_a_contiguous_copy_gives(name, data, seed, channels, vectors, num_tx, more_rx):
    detector = DETECTORS[name]()
    y, h, noise_var = link(detector, seed, channels, vectors, num_tx + more_rx, num_tx)
    expected = detector.detect(y, h, noise_var=noise_var)
    y_as, h_as, noise_as = (LAYOUTS[data.draw(st.sampled_from(sorted(LAYOUTS)))] for _ in range(3))
    assert_same(detector.detect(y_as(y), h_as(h), noise_var=noise_as(noise_var)), expected)
    plan = detector.plan(*h.shape, num_threads=data.draw(st.integers(1, 4)))
    for _ in range(2):  # in the same buffers
        prepared = plan.prepare(h_as(h), noise_var=noise_as(noise_var), vectors_per_estimate=vectors)
        assert_same(prepared.detect(y), expected)


@pytest.mark.parametrize("layout", ARRAYS)
def test_a_prepared_channel_takes_any_layout_or_refuses_it(detector, layout):
    y, h, noise_var = link(detector, 1, 3, 5, 4, 3)
    prepared = detector.prepare(h, noise_var=noise_var)
    expected = prepared.detect(y)
    try:
        actual = prepared.detect(LAYOUTS[layout](y))
    except ValueError as error:
        assert str(error)
    else:
        assert_same(actual, expected)


def test_one_channel_for_all(detector):
    """Broadcast arrays have strides of zero."""
    y, h, noise_var = link(detector, 2, 1, 4, 4, 2)
    expected = detector.detect(np.repeat(y, 5, 0), np.repeat(h, 5, 0), noise_var=np.repeat(noise_var, 5))
    many = [np.broadcast_to(x, (5, *x.shape[1:])) for x in (y, h, noise_var)]
    assert_same(detector.detect(many[0], many[1], noise_var=many[2]), expected)


def test_real_and_integer_arrays(detector):
    expected = detector.detect(np.ones((3, 4), np.complex64), np.eye(4, 2, dtype=np.complex64), 20.0)
    for dtype in (bool, np.int8, np.uint64, np.float16, np.float32, np.float64):
        assert_same(detector.detect(np.ones((3, 4), dtype), np.eye(4, 2, dtype=dtype), 20), expected)


def test_a_plan_is_for_one_size(detector):
    plan = detector.plan(3, 4, 2)
    for shape in [(2, 4, 2), (3, 3, 2), (3, 4, 3), (3, 8), (24,), (1, 3, 4, 2), (0, 4, 2)]:
        with pytest.raises(ValueError, match="shape"):
            plan.prepare(np.ones(shape), snr_db=10.0)
    for noise in [{"snr_db": np.ones(2)}, {"noise_var": np.ones((3, 1))}, {"snr_db": 1.0, "noise_var": 1.0}, {}]:
        with pytest.raises(ValueError, match="snr_db|noise_var"):
            plan.prepare(np.ones((3, 4, 2)), **noise)
    for size in [(0, 4, 2), (3, 0, 2), (3, 4, 0), (-1, 4, 2)]:
        with pytest.raises(ValueError, match=r"\b0\b|-1"):
            detector.plan(*size)
    with pytest.raises(ValueError, match="num_threads 0"):
        detector.plan(3, 4, 2, num_threads=0)


def test_vectors_of_another_size_are_refused():
    prepared = unfolded("native").prepare(np.ones((3, 4, 2)), snr_db=10.0)
    for shape in [(2, 5, 4), (3, 5, 3), (3, 4), (60,), ()]:
        with pytest.raises(ValueError, match="shape"):
            prepared.detect(np.ones(shape, np.complex64))


def test_a_plan_goes_on_after_a_refusal(detector):
    y, h, noise_var = link(detector, 4, 5, 3, 4, 2)
    plan = detector.plan(*h.shape)
    expected = plan.prepare(h, noise_var=noise_var).detect(y)
    bad = h.copy()
    bad[2, 1, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        plan.prepare(bad, noise_var=noise_var)
    assert_same(plan.prepare(h, noise_var=noise_var).detect(y), expected)


@pytest.mark.parametrize(("channels", "vectors"), [(0, 3), (2, 0), (0, 0)])
def test_no_vectors_or_no_channels(detector, channels, vectors):
    """Zero vectors are detected; zero channels are refused."""
    y, h = np.ones((channels, vectors, 4), np.complex64), np.ones((channels, 4, 2), np.complex64)
    if channels == 0:
        with pytest.raises(ValueError, match="shape"):
            detector.detect(y, h, 10.0)
        return
    out = detector.detect(y, h, 10.0)
    assert out.symbols.shape == (channels, 0, 2) and out.llrs.shape == (channels, 0, 2, 4) and out.num_invalid == 0


@pytest.mark.parametrize("shape", [(1, 0, 2), (1, 2, 0), (0, 2, 2), (0, 0, 0)])
def test_no_antennas_or_no_streams(detector, shape):
    with pytest.raises(ValueError, match="shape"):
        detector.prepare(np.zeros(shape, np.complex64), snr_db=10.0)


@pytest.mark.parametrize(
    "bad",
    [
        np.array([[["one", "two"], ["three", "four"]]]),
        np.zeros((1, 2, 2), np.dtype([("re", "f4"), ("im", "f4")])),
    ],
)
def test_what_is_no_number_is_refused(detector, bad):
    with pytest.raises((ValueError, TypeError)):
        detector.prepare(bad, snr_db=10.0)
    with pytest.raises((ValueError, TypeError)):
        detector.detect(bad, np.ones((1, 2, 2)), 10.0)


def streams(count: int, vectors: int, width: int, dtype: type) -> list[np.ndarray]:
    return [np.full((vectors, width), np.nan, dtype) for _ in range(count)]


@pytest.mark.parametrize("vectors", [0, 1, 7])
@pytest.mark.parametrize("what", ["received", "symbols", "llrs"])
@pytest.mark.parametrize("layout", ARRAYS)
def test_streams_of_any_layout_or_refused(detector, layout, what, vectors):
    """Every value is read and written as if the buffers were contiguous, or nothing is touched."""
    channels, num_tx = 6, 2
    y, h, noise_var = link(detector, 3, channels, vectors, 3, num_tx)
    prepared = detector.prepare(h, noise_var=noise_var)
    expected = prepared.detect(y)
    buffers = {
        "received": [np.ascontiguousarray(y[:, :, r].T) for r in range(3)],
        "symbols": streams(num_tx, vectors, channels, np.complex64),
        "llrs": streams(num_tx, vectors, channels * 4, np.float32),
    }
    buffers[what][1] = LAYOUTS[layout](buffers[what][1])
    try:
        assert prepared.detect_streams(*buffers.values()) == 0
    except ValueError as error:
        assert "stream" in str(error) or "read-only" in str(error)
        assert (layout, what) != ("read-only", "received")
        return
    assert vectors == 0 or (layout, what) not in (("read-only", "symbols"), ("read-only", "llrs"))
    for j in range(num_tx):
        np.testing.assert_array_equal(buffers["symbols"][j], expected.symbols[:, :, j].T)
        llrs = np.asarray(buffers["llrs"][j]).reshape(vectors, channels, 4)
        np.testing.assert_array_equal(llrs, expected.llrs[:, :, j].swapaxes(0, 1))


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    channels=st.integers(1, 20),
    vectors=st.integers(0, 40),
    size=st.sampled_from([(1, 1), (3, 2), (4, 4)]),
    before=st.integers(0, 3),
    after=st.integers(0, 3),
)
@pytest.mark.parametrize("name", [*DETECTORS, "list"])
def test_streams_that_share_rows(name, seed, channels, vectors, size, before, after):
    """In one array, or parts of its rows: the same bits as in arrays of their own, and nothing else written."""
    detector = gr_kaq.load_detector("list8-16qam") if name == "list" else DETECTORS[name]()
    num_rx, num_tx = size
    y, h, noise_var = link(detector, seed, channels, vectors, num_rx, num_tx)
    prepared = detector.prepare(h, noise_var=noise_var)
    apart = [
        [np.ascontiguousarray(y[:, :, r].T) for r in range(num_rx)],
        streams(num_tx, vectors, channels, np.complex64),
        streams(num_tx, vectors, channels * 4, np.float32),
    ]
    wide, shared = [], []
    for of in apart:
        width = of[0].shape[1]
        wide.append(np.full((vectors, before + len(of) * width + after), np.nan, of[0].dtype))
        within = wide[-1][:, before : before + len(of) * width]
        shared.append(within.reshape(vectors, len(of), width).swapaxes(0, 1))
        assert np.shares_memory(shared[-1], wide[-1]) or vectors == 0
    shared[0][:] = apart[0]
    assert prepared.detect_streams(*shared) == prepared.detect_streams(*apart) == 0
    for together, alone, buffer in zip(shared, apart, wide, strict=True):
        np.testing.assert_array_equal(together, np.stack(alone))
        assert np.isnan(buffer).sum() == vectors * (before + after)
    if vectors:
        np.testing.assert_array_equal(shared[1], prepared.detect(y).symbols.transpose(2, 1, 0))


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda rows: rows[0], r"streams of shape \(T, 6\) expected; shape \(6,\)"),
        (lambda rows: rows[:, :, :4], r"stream 0 of shape \(5, 6\) expected; shape \(5, 4\)"),
        (lambda rows: rows[:2], "3 streams expected; 2 given"),
        (lambda rows: [rows[0], rows[1], rows[2].copy()], "stream 2 has rows 48 bytes apart; 144 expected"),
        (lambda rows: rows[:, ::-1], "stream 0 has rows -144 bytes apart; 48 or more"),
        (lambda rows: rows[:, :, ::-1], "stream 0 has rows that are not contiguous"),
        (lambda rows: np.lib.stride_tricks.as_strided(rows, rows.shape, (48, 8, 8)), "rows 8 bytes apart"),
    ],
)
def test_streams_that_share_rows_wrongly(spoil, message):
    prepared = unfolded("native").prepare(np.ones((6, 3, 2), np.complex64), noise_var=0.1)
    rows = np.zeros((5, 3, 6), np.complex64).swapaxes(0, 1)
    symbols = streams(2, 5, 6, np.complex64)
    assert prepared.detect_streams(rows, symbols) == 0
    with pytest.raises(ValueError, match=message):
        prepared.detect_streams(spoil(rows), symbols)
