# SPDX-License-Identifier: GPL-3.0-or-later
"""Learned estimators in ONNX Runtime: those that ship do what they promise, and bad files are named."""

import json
import os
import sys
import warnings
from importlib import resources

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from gr_kaq.estimation.estimator import LinearInterpolator, WienerInterpolator
from gr_kaq.estimation.learned import (
    FILE_FORMAT,
    SIGNATURE,
    EstimatorFileError,
    LearnedEstimator,
    LearnedInterpolator,
    list_estimators,
)
from gr_kaq.estimation.trial import try_apart
from tests.fuzz.contents import CORPUS, KINDS, try_content
from tests.refusals import refusals
from training.estimator.frames import Conditions, FrameSource, format_of

pytestmark = pytest.mark.training


METADATA = {"format": FILE_FORMAT, "range": "[[0.1, 1e-4, 0], [1000, 0.02, 0.05]]"}


def file_of(path, nodes, signature=SIGNATURE, dtype=TensorProto.FLOAT, metadata=None, constants=()):
    """An ONNX file with this signature whose output the nodes compute."""
    values = {name: helper.make_tensor_value_info(name, dtype, shape) for name, shape in signature.items()}
    outputs = [values.pop("refined")] if "refined" in values else [values.pop("other")]
    graph = helper.make_graph(nodes, "test", list(values.values()), outputs, list(constants))
    document = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(document, METADATA if metadata is None else metadata)
    path.write_bytes(document.SerializeToString())
    return path


def frame(snr_db=15.0, doppler_hz=400.0, num_tx=2, fft_size=64, seed=1):
    source = FrameSource(1.0, seed)
    return source.draw(Conditions(format_of(num_tx, fft_size), "tdl-a", snr_db, doppler_hz, 100.0, 3))


ADD = [helper.make_node("Identity", ["lmmse"], ["refined"])]


def test_a_network_that_changes_nothing_gives_the_lmmse_estimate(tmp_path):
    path = file_of(tmp_path / "a.onnx", ADD)
    for num_tx, fft_size in ((2, 64), (4, 256)):
        seen = frame(num_tx=num_tx, fft_size=fft_size)
        frame_format = seen.conditions.frame_format
        found = LearnedInterpolator(frame_format, path)(seen.observation)
        np.testing.assert_allclose(found, WienerInterpolator(frame_format)(seen.observation), rtol=1e-4, atol=1e-6)


def test_what_is_not_finite_is_replaced_and_counted(tmp_path):
    nodes = [
        helper.make_node("Sub", ["lmmse", "lmmse"], ["zero"]),
        helper.make_node("Div", ["zero", "zero"], ["refined"]),
    ]
    seen = frame()
    frame_format = seen.conditions.frame_format
    interpolator = LearnedInterpolator(frame_format, LearnedEstimator(file_of(tmp_path / "a.onnx", nodes)))
    with pytest.warns(RuntimeWarning, match="a.onnx fails, and leaves frames to LMMSE: .* not finite") as said:
        for count in (1, 2):
            np.testing.assert_array_equal(
                interpolator(seen.observation), WienerInterpolator(frame_format)(seen.observation)
            )
            assert interpolator.fallbacks == count
    assert len(said) == 1


def test_frames_that_it_fails_on_are_left_to_lmmse(tmp_path):
    """It passes the trial, and fails on as many windows as four streams have: every frame was lost."""
    nodes = [
        helper.make_node("Shape", ["lmmse"], ["count"], start=0, end=1),
        helper.make_node("Gather", ["allowed", "count"], ["zero"]),
        helper.make_node("Add", ["lmmse", "zero"], ["refined"]),
    ]
    allowed = numpy_helper.from_array(np.zeros((40, 1, 1), np.float32), "allowed")
    path = file_of(tmp_path / "later.onnx", nodes, constants=[allowed])
    for num_tx, fft_size, fallbacks in ((2, 64, 0), (4, 256, 2)):
        seen = frame(num_tx=num_tx, fft_size=fft_size)
        frame_format = seen.conditions.frame_format
        interpolator = LearnedInterpolator(frame_format, path)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            for _ in range(2):
                found = interpolator(seen.observation)
        lmmse = WienerInterpolator(frame_format)(seen.observation)
        np.testing.assert_allclose(found, lmmse, rtol=1e-4, atol=1e-6)
        assert interpolator.fallbacks == fallbacks
        assert ["later.onnx fails" in str(warning.message) for warning in said] == [True] * bool(fallbacks)


READ = """
import resource, sys
from gr_kaq.estimation.learned import LearnedEstimator
def read(path):
    try:
        LearnedEstimator(path)
    finally:
        child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
        print(f"children {child} MiB", file=sys.stderr)
        assert child < 200
"""


def hostile(directory):
    """Files and what is said of them."""

    def constant(name, value, dtype=np.int64):
        return numpy_helper.from_array(np.array(value, dtype), name)

    def loop(count):
        scalars = {"i": TensorProto.INT64, "go": TensorProto.BOOL, "v": TensorProto.FLOAT}
        inputs = [helper.make_tensor_value_info(name, dtype, []) for name, dtype in scalars.items()]
        outputs = [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("sum", TensorProto.FLOAT, []),
        ]
        body = [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["v", "v"], ["sum"])]
        graph = helper.make_graph(body, "body", inputs, outputs)
        return helper.make_node("Loop", [count, "true", "nothing"], ["zero"], body=graph)

    def write(name, nodes, *constants):
        return file_of(directory / f"{name}.onnx", nodes, constants=constants)

    add = helper.make_node("Add", ["lmmse", "zero"], ["refined"])
    nothing, true = constant("nothing", 0.0, np.float32), constant("true", True, bool)
    beyond = "did not load and run within 0.7 s of processor time and 96 MiB"

    fill = [helper.make_node("ConstantOfShape", ["size"], ["all"]), helper.make_node("ReduceSum", ["all"], ["zero"])]
    yield write("fill", [*fill, add], constant("size", [40_000, 40_000])), "does not run|no ONNX file|" + beyond
    product = [helper.make_node("Mul", ["row", "column"], ["all"]), helper.make_node("ReduceSum", ["all"], ["zero"])]
    row = np.zeros((1, 30_000), np.float32)
    large = numpy_helper.from_array(row, "row"), numpy_helper.from_array(row.T.copy(), "column")
    yield write("product", [*product, add], *large), "does not run|no ONNX file|" + beyond
    yield write("loop", [loop("count"), add], constant("count", 1 << 62), nothing, true), beyond
    of_data = [
        helper.make_node("ReduceSumSquare", ["lmmse"], ["power"], keepdims=0),
        helper.make_node("Mul", ["power", "many"], ["scaled"]),
        helper.make_node("Cast", ["scaled"], ["count"], to=TensorProto.INT64),
    ]
    many = constant("many", 1e12, np.float32)
    yield write("loop of data", [*of_data, loop("count"), add], many, nothing, true), beyond

    weights = numpy_helper.from_array(np.zeros((52, 14), np.float32), "zero")
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    for location in ("here.bin", "fifo.bin", "../here.bin", "/dev/zero"):
        outside = TensorProto.FromString(weights.SerializeToString())
        for key, value in (("location", location), ("offset", "0"), ("length", str(52 * 14 * 4))):
            entry = outside.external_data.add()
            entry.key, entry.value = key, value
        yield write(f"outside {location.replace('/', '_')}", [add], outside), "no ONNX file"

    os.mkfifo(directory / "fifo.onnx")
    yield directory / "fifo.onnx", "not a regular file"
    yield "/dev/zero", "not a regular file"
    huge = directory / "huge.onnx"
    with huge.open("wb") as file:
        file.truncate(1 << 34)
    yield huge, "larger than"


def test_hostile_files_cost_little(tmp_path, monkeypatch):
    """Of what runs for ever, the processor time of the trial is all that is lost."""
    (tmp_path / "here.bin").write_bytes(bytes(1 << 14))
    os.mkfifo(tmp_path / "fifo.bin")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    files, expected = zip(*hostile(tmp_path), strict=True)
    said, grown = refusals(READ, files)
    for path, message, parts in zip(files, said, expected, strict=True):
        assert str(path) in message and message.isprintable(), path
        assert any(part in message for part in parts.split("|")), message
    assert grown < 200


def test_statistics_beyond_the_training_leave_the_lmmse_estimate(tmp_path):
    """What a network does there, nobody has seen: on flat channels of 256 carriers it cost 2.5 dB."""
    nodes = [helper.make_node("Neg", ["lmmse"], ["refined"])]
    seen = frame()
    frame_format = seen.conditions.frame_format
    for number, (low, high) in enumerate(
        (([0.1, 0, 0], [1, 1, 1]), ([0, 0.02, 0], [1e3, 1, 1]), ([0, 0, 0], [1e3, 1, 1e-9]))
    ):
        metadata = {**METADATA, "range": json.dumps([low, high])}
        path = file_of(tmp_path / f"{number}.onnx", nodes, metadata=metadata)
        interpolator = LearnedInterpolator(frame_format, path)
        np.testing.assert_array_equal(
            interpolator(seen.observation), WienerInterpolator(frame_format)(seen.observation)
        )
        assert (interpolator.outside, interpolator.fallbacks) == (1, 0)


def test_a_damaged_file_is_named(tmp_path):
    whole = file_of(tmp_path / "a.onnx", ADD).read_bytes()
    path = tmp_path / "damaged.onnx"
    for content in (b"", b"no ONNX", whole[: len(whole) // 2], bytes(1000), b"\xff" * 1000):
        path.write_bytes(content)
        with pytest.raises(EstimatorFileError, match=r"damaged\.onnx"):
            LearnedEstimator(path)


@pytest.mark.parametrize("count", [60, pytest.param(3000, marks=pytest.mark.long)])
def test_flipped_bytes_never_end_the_process(tmp_path, count):
    """Whatever is in a file, the worst is an error that a block can catch; without the trial, too."""
    whole = file_of(tmp_path / "a.onnx", ADD).read_bytes()
    rng = np.random.default_rng(1)
    for number in range(count):
        content = bytearray(whole)
        for place in rng.integers(0, len(whole), 1 + number % 3):
            content[place] = rng.integers(0, 256)
        faults = [try_apart(bytes(content), "flipped.onnx")] if number % 10 == 0 else []
        try:
            LearnedEstimator.of_content(bytes(content), "flipped.onnx")
            faults.append("")
        except EstimatorFileError as error:
            faults.append(str(error))
        assert len(set(faults)) == 1, faults
        assert not faults[0] or (faults[0].startswith("flipped.onnx: ") and faults[0].isprintable())


@pytest.mark.parametrize("count", [30, pytest.param(2000, marks=pytest.mark.long)])
def test_a_mutated_graph_is_refused_or_loses_no_frame(tmp_path, count):
    kind, rng = KINDS["estimators"], np.random.default_rng(1)
    once_failed = [path.read_bytes() for path in sorted((CORPUS / "estimators").glob("*"))]
    for content in (*once_failed, *(kind.draw(rng) for _ in range(count))):
        fault, _, _ = try_content(kind, content, tmp_path)
        assert not fault, fault


WRONG = {
    "no format": ({"metadata": {}}, "format"),
    "another format": ({"metadata": {"format": "gr-kaq channel estimator 99"}}, "99"),
    "no range": ({"metadata": {"format": FILE_FORMAT}}, "range"),
    "range of Inf": ({"metadata": {**METADATA, "range": "[[0, 0, 0], [1e300, 1, 1]]"}}, "range"),
    "range of huge numbers": ({"metadata": {**METADATA, "range": f"[[0, 0, 0], [{'9' * 5000}, 1, 1]]"}}, "range"),
    "range that is deep": ({"metadata": {**METADATA, "range": "[" * 100_000}}, "range"),
    "long format": ({"metadata": {"format": "x\n" * 10_000}}, "^.{,700}$"),
    "range that is no JSON": ({"metadata": {**METADATA, "range": "[[1, 2"}}, "range"),
    "range of NaN": ({"metadata": {**METADATA, "range": "[[NaN, 0, 0], [1, 1, 1]]"}}, "range"),
    "range upside down": ({"metadata": {**METADATA, "range": "[[2, 0, 0], [1, 1, 1]]"}}, "range"),
    "carriers": ({"signature": {**SIGNATURE, "ls": ["N", 48, 3]}}, "ls is"),
    "symbols": ({"signature": {**SIGNATURE, "lmmse": ["N", 52, 12], "refined": ["N", 52, 12]}}, "lmmse is"),
    "fixed N": ({"signature": {**SIGNATURE, "ls": [1, 52, 3]}}, "ls is"),
    "double": ({"dtype": TensorProto.DOUBLE}, "double"),
    "missing": ({"signature": {k: v for k, v in SIGNATURE.items() if k != "ls"}}, "no input or output ls"),
    "one more": ({"signature": {"pilots": [3], **SIGNATURE}}, "unknown input or output 'pilots'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_named(case, tmp_path):
    arguments, said = WRONG[case]
    with pytest.raises(EstimatorFileError, match=said) as error:
        LearnedEstimator(file_of(tmp_path / "wrong.onnx", ADD, **arguments))
    assert "wrong.onnx" in str(error.value)


def test_a_network_that_does_not_run_is_found_when_it_is_loaded(tmp_path):
    """In a stream it would be too late."""
    seven = numpy_helper.from_array(np.array([7, 52, 14]), "seven")
    halved = [
        helper.make_node("Split", ["lmmse"], ["first", "second"], axis=0),
        helper.make_node("Identity", ["first"], ["refined"]),
    ]
    wrong = [
        helper.make_node("Reshape", ["lmmse", "seven"], ["reshaped"]),
        helper.make_node("Concat", ["reshaped", "lmmse"], ["refined"], axis=0),
    ]
    for name, nodes, constants, said in (("a", wrong, [seven], "does not run"), ("b", halved, [], "same shape")):
        path = file_of(tmp_path / f"{name}.onnx", nodes, constants=constants)
        with pytest.raises(EstimatorFileError, match=said):
            LearnedEstimator(path)


def test_a_detector_graph_is_no_estimator(tmp_path):
    node = helper.make_node("Identity", ["b"], ["other"])
    path = file_of(tmp_path / "t.onnx", [node], {"b": ["T", 8], "other": ["T", 8]}, metadata={"name": "admm5"})
    with pytest.raises(EstimatorFileError, match="format"):
        LearnedEstimator(path)


@pytest.mark.parametrize("name", list_estimators())
def test_what_ships_says_what_it_is(name):
    estimator = LearnedEstimator(name)
    assert estimator.name == name
    assert json.loads(estimator.metadata["training"])["data"]["profiles"]
    mse = json.loads(estimator.metadata["mse"])["db"]
    assert mse["estimator"] < mse["lmmse"] < mse["ls"] - 3
    assert len(estimator.metadata["description"]) > 50


@pytest.fixture(scope="module")
def errors():
    """Mean squared error in dB of each estimate, over SNR and Doppler, on frames that were not trained on."""
    frame_format = format_of(4, 64)
    estimates = {"ls": LinearInterpolator(frame_format), "lmmse": WienerInterpolator(frame_format)}
    estimates.update({name: LearnedInterpolator(frame_format, name) for name in ("estimator", "estimator-fp")})
    found = {}
    for snr_db in (0.0, 10.0, 25.0):
        for doppler_hz in (200.0, 1000.0):
            source = FrameSource(1.0, 12345)
            sums = dict.fromkeys(estimates, 0.0)
            for i in range(24):
                profile = ("tdl-a", "tdl-b", "tdl-c")[i % 3]
                seen = source.draw(Conditions(frame_format, profile, snr_db, doppler_hz, (50.0, 120.0, 300.0)[i // 8]))
                for name, interpolate in estimates.items():
                    sums[name] += float(np.mean(np.abs(interpolate(seen.observation) - seen.channel) ** 2))
            found[snr_db, doppler_hz] = {name: 10 * np.log10(value / 24) for name, value in sums.items()}
    return found


def test_what_ships_is_3_db_better_than_ls_everywhere(errors):
    for condition, db in errors.items():
        assert db["estimator"] < db["ls"] - 3, condition


def test_what_ships_is_better_than_lmmse_on_the_whole_and_nowhere_much_worse(errors):
    gains = {condition: db["lmmse"] - db["estimator"] for condition, db in errors.items()}
    assert np.mean(list(gains.values())) > 0
    assert min(gains.values()) > -0.1, gains


def test_int8_costs_less_than_a_fifth_of_a_db(errors):
    for condition, db in errors.items():
        assert db["estimator"] < db["estimator-fp"] + 0.2, condition


def test_what_ships_uses_integer_products():
    content = resources.files("gr_kaq.estimation").joinpath("estimators", "estimator.onnx").read_bytes()
    operators = [node.op_type for node in onnx.load_from_string(content).graph.node]
    assert operators.count("MatMulInteger") == 6
