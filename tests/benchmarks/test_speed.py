# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark suite: its arithmetic, that what it compares computes the same, and that every section runs.

No test asserts a time.
"""

import json
import re
from functools import partial
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from benchmarks.speed import __main__ as driver
from benchmarks.speed import contestants as c
from benchmarks.speed import limits, results, timing
from benchmarks.speed.data import Link
from benchmarks.speed.sections import SECTIONS, choice, claims, growth, latency, roofline, stages, table
from benchmarks.speed.settings import ROOT, Settings
from benchmarks.speed.timing import Timed
from gr_kaq.detection import linear
from gr_kaq.detection.native_kernel import network


def clock(ns_per_unit, units=10.0, log=None, name=""):
    """Something that takes a known time, without taking it."""

    def run(repeats):
        if log is not None:
            log.append(name)
        return ns_per_unit * units * repeats / 1e9

    return Timed(run, units, name)


def built():
    try:
        return c.kernels()
    except ImportError as error:
        return pytest.skip(str(error))


# -- arithmetic


def test_measure_keeps_the_fastest_variant_and_every_round():
    variants = [partial(clock, 30.0, name="slow"), partial(clock, 20.0, name="fast")]
    found = timing.measure({"a": iter(variants), "b": [partial(clock, 60.0)]}, 5, 1e-6, np.random.default_rng(1))
    assert found["a"]["variant"] == "fast"
    assert found["a"]["ns"] == pytest.approx([20.0] * 5)
    assert results.times_as_long(found, "b", "a") == timing.Spread(*[pytest.approx(3.0)] * 3)
    assert results.time_of(found, "a").median == pytest.approx(20.0)


def test_measure_says_why_a_contestant_is_missing():
    def refuses():
        raise ValueError("needs num_rx >= num_tx\nand more")

    def fails_at_once():
        raise ImportError("no torch")
        yield

    found = timing.measure(
        {"a": [refuses], "b": fails_at_once(), "c": [refuses, partial(clock, 1.0)]}, 1, 1e-6, np.random.default_rng(1)
    )
    assert found["a"] == {"missing": "needs num_rx >= num_tx"}
    assert found["b"] == {"missing": "no torch"}
    assert found["c"]["ns"] == pytest.approx([1.0])
    assert results.time_of(found, "a") is None
    assert results.times_as_long(found, "a", "c") is None


def test_measure_shuffles_the_order():
    log = []
    names = "abcdef"
    contestants = {name: [partial(clock, 1e9, 1.0, log, name)] for name in names}  # a second for each repetition
    timing.measure(contestants, 20, 1e-9, np.random.default_rng(1))
    rounds = ["".join(log[-12 * (i + 1) : len(log) - 12 * i][::2]) for i in range(20)]
    assert all(sorted(order) == list(names) for order in rounds)
    assert len(set(rounds)) > 10


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (1234.5, "1234"), (12.345, "12.3"), (0.012345, "0.0123"), (-3.0, "-3.00")]
)
def test_numbers_have_three_digits(value, text):
    assert timing.number(value) == text


def test_ratios_are_formed_within_a_round():
    assert timing.ratio([10.0, 20.0, 90.0], [1.0, 2.0, 10.0]) == timing.Spread(10.0, 9.0, 10.0)


# -- what is compared computes the same

SIZES = [(4, 4, 5, 3), (16, 16, 18, 9), (9, 5, 33, 1), (20, 7, 16, 8)]


def lmmse_of(link):
    filters, _ = linear.lmmse(link.h, np.atleast_1d(link.noise_var))
    return link.y @ filters.swapaxes(-1, -2)


def off(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("size", SIZES)
def test_forms_of_numpy_are_lmmse(size):
    link = Link(*size)
    expected = lmmse_of(link)
    for name, form in c.NUMPY_FORMS.items():
        found = form(link)
        if name.endswith("biased"):
            found = found * (expected / found).mean(axis=1, keepdims=True)  # a factor for each stream
        assert off(found, expected) < 1e-3, name


@pytest.mark.parametrize("size", SIZES[:2])
def test_forms_of_torch_are_lmmse(size):
    torch = pytest.importorskip("torch")
    link = Link(*size)
    expected = lmmse_of(link)
    arguments = torch.from_numpy(link.h), torch.from_numpy(link.y), torch.eye(link.num_tx), link.noise_var
    for method in ("cholesky", "inverse"):
        for name, form in c.torch_forms(method).items():
            found = form(*arguments).numpy()
            if name.endswith("biased"):
                found = found * (expected / found).mean(axis=1, keepdims=True)
            assert off(found, expected) < 1e-3, name


def symbols(data):
    return data.symbols.transpose(2, 1, 0)


@pytest.mark.parametrize("precision", stages.PRECISIONS)
@pytest.mark.parametrize("size", SIZES)
def test_the_last_stages_are_the_whole(size, precision):
    kernels, link, name = built(), Link(*size), stages.instruction_set()
    model = network(c.load_model(c.ADMM, any_size=True), precision)
    found = []
    for stage in ("", stages.OF_ESTIMATES[-1]):
        data = c.native_data(link)
        plan = kernels.Plan(model, data, name, stage)
        plan.prepare(data, 1)
        plan.detect(data, True, 1)
        found.append((symbols(data).copy(), data.llrs.copy()))
    for whole, staged in zip(*found, strict=True):
        np.testing.assert_array_equal(staged, whole)
    assert np.mean(np.abs(found[0][0] - lmmse_of(link))) < 0.5


def test_stages_have_the_names_of_the_kernels():
    kernels = built()
    names = [*stages.OF_ESTIMATES, *stages.OF_VECTORS[:2], stages.LAYERS_ALONE]
    assert kernels.stages(stages.instruction_set()) == names
    assert kernels.stages("portable") == []
    data = c.native_data(Link(2, 2, 2, 1))
    with pytest.raises(ValueError, match="no stage dreams"):
        kernels.Plan(network(c.load_model(c.ADMM)), data, stages.instruction_set(), "dreams")


def test_multiply_adds_add_up():
    # 16x16: 136 entries of 16 complex products; 680, 680 and 816; 256 each for both matrices of the filter
    work = limits.multiply_adds(16, 16, 1, 5)
    assert work == {
        "Gram matrix": 4 * 136 * 16,
        "inverse": 4 * (680 + 680 + 816),
        "filter matrix": 0,
        "filter": 4 * 512,
        "layers": 5 * 32**2,
    }
    assert limits.multiply_adds(16, 4, 32)["filter matrix"] == 4 * 16 * 16 / 32
    assert limits.multiply_adds(16, 4, 32)["filter"] == 4 * 64


def test_at_best_is_by_the_fastest_instruction():
    found = {
        "peak of int8 fast": {"ns": [0.01, 0.02]},
        "peak of int8 slow": {"ns": [0.04, 0.04]},
        "peak of fp32 any": {"ns": [0.1, 0.1]},
        "int8 layers": {"ns": [1e-9, 1e-9]},
        limits.CLOCK: {"ns": [0.25, 0.5]},
    }
    work = {"filter": 100.0, "layers": 1000.0}
    assert limits.at_best(found, work, "int8") == pytest.approx([20, 30])
    assert limits.at_best(found, work) == pytest.approx([110, 110])
    assert limits.best_ratio(found, work).high == pytest.approx(5.5)
    assert limits.clock_ghz(found) == pytest.approx(1 / 0.375) and limits.clock_ghz({}) is None
    assert limits.at_best({}, work) is None
    without_int8 = {"peak of int16 any": {"ns": [1.0]}}
    assert limits.peak(without_int8, "int8") == ("int16 any", [1.0])


def test_microbenchmarks_count_something():
    kernels = built()
    available = [i for i, dot in enumerate(kernels.dot_products()) if dot.available]
    assert available
    assert all(kernels.time_dot_product(i, 10) > 0 for i in available)
    assert kernels.clock_rate(1000) > 0
    assert kernels.read_bandwidth(4096, 1 << 16) > 0
    with pytest.raises(ValueError, match="512"):
        kernels.read_bandwidth(10, 100)


# -- the sections


@pytest.fixture
def small(monkeypatch):
    """Sections at less than even the quick budget, without the libraries that are slow to load."""
    built()
    monkeypatch.setattr(table, "QUICK_SIZES", ((4, 2),))
    monkeypatch.setattr(table, "QUICK_VECTORS", (1, 3))
    everything = table.contestants
    slow = (results.SIONNA_LMMSE, results.EP, results.KBEST, results.TORCH_CHOLESKY, results.TORCH_INVERSE)
    monkeypatch.setattr(table, "contestants", lambda link: {k: v for k, v in everything(link).items() if k not in slow})
    monkeypatch.setattr(roofline, "LEVELS", {"L1": 16 << 10, "L2": 64 << 10})
    return Settings(quick=True, rounds=2)


def run_section(section, settings, tmp_path):
    data = driver.rounded(section.measure(settings))
    assert json.loads(json.dumps(data)) == data
    text = section.markdown(data)
    for image in section.plot(data, tmp_path):
        assert f"(images/{image}.png)" in text
        assert (tmp_path / f"{image}.png").stat().st_size > 1000
    return data, text


def test_table(small, tmp_path):
    data, text = run_section(table, small, tmp_path)
    assert len(data["points"]) == 2
    found = data["points"][1]["results"]
    assert all(len(found[name]["ns"]) == 2 for name in (results.INT8, results.FP32, results.LMMSE, results.LIST))
    assert text.count("| 4x2 | 3 |") == 3
    assert {claim.answer for claim in claims.claims({"table": data}) if claim.key != "never-slower"} == {
        claims.NOT_MEASURED
    }


@pytest.mark.parametrize("section", [roofline, growth, choice], ids=["roofline", "growth", "choice"])
def test_other_sections(section, small, tmp_path):
    run_section(section, small, tmp_path)


def test_stages(small, tmp_path):
    data, text = run_section(stages, small, tmp_path)
    point = data["points"][0]
    for precision in stages.PRECISIONS:
        times, best = stages.per_vector(point, precision), stages.bounds(data, point, precision)
        assert tuple(times) == stages.STAGES
        assert set(best) == {"Gram matrix", "inverse", "filter", "layers"}
        whole = stages.least(point, "filter matrix", precision) / point["num_vectors"]
        assert sum(times.values()) == pytest.approx(whole + stages.least(point, "LLRs", precision))
        assert stages.title(point, precision) in text


def test_latency(small, tmp_path, monkeypatch):
    pytest.importorskip("gnuradio")
    monkeypatch.setattr(latency, "ITEMS_PER_ESTIMATE", 3)
    data, _ = run_section(latency, small, tmp_path)
    assert set(data["rates"][latency.DETECTORS[0]]) == {
        f"{who}, {k}" for who in (latency.KERNEL, *latency.FLOWGRAPHS) for k in (latency.SYMBOLS, latency.LLRS)
    }
    for found in data["latencies_us"].values():
        assert all(sorted(values) == values and values[0] > 0 for values in found.values())


# -- the claims


def point(num_rx, num_tx, num_vectors, **ns):
    return {
        "num_rx": num_rx,
        "num_tx": num_tx,
        "num_vectors": num_vectors,
        "num_layers": 5,
        "results": {name.replace("_", " "): {"ns": values} for name, values in ns.items()},
    }


def test_claims_follow_from_the_data():
    at_14 = point(16, 16, 14)
    at_14["results"] = {
        results.INT8: {"ns": [100.0, 110.0]},
        results.FP32: {"ns": [140.0, 187.0]},
        results.NUMPY: {"ns": [800.0, 800.0]},
        results.LMMSE: {"ns": [80.0, 125.0]},
        "peak of int8 any": {"ns": [0.002, 0.002]},
        "peak of fp32 any": {"ns": [0.01, 0.01]},
        limits.CLOCK: {"ns": [0.25, 0.25]},
    }
    sections = {"table": {"points": [at_14], "num_layers": 5}}
    found = {claim.text: claim for claim in claims.claims(sections) if claim.value}
    assert len(found) == 4
    faster, least, time, lmmse = found.values()
    assert faster.answer == claims.MET + " (rounds disagree)"
    assert faster.shown == "1.55 [1.40, 1.70]"
    shared = 4 * (136 * 16 + 680 + 680 + 816) / 14 + 4 * 512
    assert faster.best == pytest.approx((shared + 5 * 1024) / (shared + 1024))
    assert least.answer == claims.MET and "16x16, T = 14" in least.note
    assert time.answer == claims.NOT_MET
    assert time.shown == "150 [143, 157]; 105 ns at 4.00 GHz"
    assert time.best == pytest.approx((0.01 * shared + 0.002 * 5 * 1024) / 0.25 / 2.8)
    assert lmmse.answer == claims.MET + " (rounds disagree)"
    assert lmmse.best == pytest.approx(800 / (0.01 * shared))
    text = claims.markdown(claims.derive(sections), lambda: {"time": "It multiplies."})
    assert "*time*: It multiplies." in text
    assert "*lmmse*" not in text
    assert "no reason" in claims.markdown(claims.derive(sections), dict)


def test_reasons_have_keys_of_claims():
    assert set(claims.reasons()) <= {claim.key for claim in claims.claims({})}


def test_reasons_are_read(tmp_path):
    path = tmp_path / "reasons.md"
    path.write_text("# Title\n\n## never-slower\n\nBecause\nof this.\n\n## time\nNo.\n")
    assert claims.reasons(path) == {"never-slower": "Because of this.", "time": "No."}
    assert claims.reasons(tmp_path / "none.md") == {}


# -- the driver


@pytest.fixture
def fake(monkeypatch):
    """Two sections that take no time."""
    measured = []

    def section(name):
        def measure(settings):
            measured.append(name)
            return {"value": 1 / 3 + len(measured)}

        def plot(data, folder):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.png").write_bytes(b"")
            return [name]

        markdown = lambda data: f"value {data['value']} ![x](images/{name}.png)"  # noqa: E731
        return SimpleNamespace(TITLE=f"Section {name}", measure=measure, plot=plot, markdown=markdown)

    fakes: dict[str, ModuleType] = {name: section(name) for name in ("table", "roofline")}
    monkeypatch.setattr(driver, "SECTIONS", fakes)
    monkeypatch.setattr(driver.claims, "derive", lambda sections: {"claims": []})
    return measured


def test_driver_measures_what_was_chosen_and_keeps_the_rest(fake, tmp_path, capsys):
    assert driver.main(["--quick", "--output", str(tmp_path)]) == 0
    assert driver.main(["--quick", "--only", "roofline", "--output", str(tmp_path)]) == 0
    assert fake == ["table", "roofline", "roofline"]
    document = json.loads((tmp_path / "bench.json").read_text())
    assert document["sections"]["table"]["value"] == 1.33333
    assert document["sections"]["roofline"]["value"] == 3.33333
    made = document["sections"]["roofline"]["made_with"]
    assert made["command"] == "python -m benchmarks.speed --quick --only roofline --seed 1"
    assert {"processor", "instruction_set", "versions"} <= set(made["machine"])
    assert "## Section table" in capsys.readouterr().out


def test_driver_writes_between_the_markers(fake, tmp_path):
    page = tmp_path / "performance.md"
    places = "".join(
        f"<!-- section: {name} -->\nold\n<!-- end of section -->\nby hand\n" for name in (*driver.SECTIONS, "claims")
    )
    page.write_text(places)
    document = driver.run(Settings(quick=True), list(driver.SECTIONS), tmp_path / "out")
    driver.update(document, page)
    driver.update(document, page)
    text = page.read_text()
    assert "old" not in text and text.count("by hand") == 3
    assert "![x](performance/table.png)" in text
    assert {path.name for path in (tmp_path / "performance").iterdir()} == {"bench.json", "table.png", "roofline.png"}
    page.write_text("no places")
    with pytest.raises(ValueError, match="no place for section"):
        driver.update(document, page)


def test_the_page_has_a_place_for_every_section():
    text = (ROOT / "docs" / "guide" / "performance.md").read_text("utf-8")
    opening, *others = SECTIONS
    assert re.findall(r"<!-- section: (\w+) -->", text) == [opening, "claims", *others]


@pytest.mark.parametrize("arguments", [["--only", "nothing"], ["--rounds", "0"], ["--quick", "--update"]])
def test_driver_refuses(arguments, capsys):
    with pytest.raises(SystemExit):
        driver.main(arguments)
    assert "usage" in capsys.readouterr().err


def test_lists_of_numbers_take_one_line(tmp_path):
    document = {"a": [1.5, -2e-9, 3], "b": ["x", "y"], "c": [], "d": [[1, 2], [3]]}
    driver.save(document, tmp_path / "bench.json")
    text = (tmp_path / "bench.json").read_text()
    assert "[1.5, -2e-09, 3]" in text
    assert json.loads(text) == document
