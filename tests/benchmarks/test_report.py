# SPDX-License-Identifier: GPL-3.0-or-later
"""The report: its arithmetic on cases with a known answer, its driver, its simulation, what it says without Sionna."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from benchmarks.report import __main__ as driver
from benchmarks.report import comparisons, deep_points, markdown, names, points, simulate
from benchmarks.report.peers import PeersUnavailableError
from benchmarks.report.sections import (
    SECTIONS,
    claims,
    coded,
    detectors,
    low_bits,
    methods,
    near_ml,
    published_points,
    robustness,
)
from benchmarks.report.settings import Settings
from benchmarks.report.statistics import (
    Interval,
    Pair,
    Rate,
    crossing,
    distance,
    paired_distance,
    t_interval,
)


@pytest.fixture
def settings(tmp_path):
    return Settings(tmp_path / "report", quick=True, jobs=1)


# -- arithmetic


def test_interval_of_independent_errors_is_wilson():
    rng = np.random.default_rng(1)
    rate = Rate.of(rng.binomial(64, 0.1, 5000), 64 * 5000)
    assert rate.design_effect == pytest.approx(1, abs=0.1)
    low, high = rate.interval()
    assert (high - low) / 2 == pytest.approx(1.96 * math.sqrt(0.1 * 0.9 / rate.trials), rel=0.1)
    assert low < 0.1 < high


def test_interval_knows_of_clusters():
    """All 64 bits of a channel wrong or none: as many independent trials as channels."""
    rng = np.random.default_rng(1)
    rate = Rate.of(64 * rng.binomial(1, 0.1, 5000), 64 * 5000)
    assert rate.design_effect == pytest.approx(64, rel=0.01)
    low, high = rate.interval()
    assert (high - low) / 2 == pytest.approx(1.96 * math.sqrt(0.1 * 0.9 / 5000), rel=0.05)


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(500):
        of_channel = rng.beta(0.5, 9.5, 400)
        low, high = Rate.of(rng.binomial(32, of_channel), 32 * 400).interval()
        covered += low <= 0.05 <= high
    assert 0.92 <= covered / 500 <= 0.98


def test_rate_without_errors_or_trials():
    assert Rate(0, 1000, 10, 0).interval()[0] == 0 < Rate(0, 1000, 10, 0).interval()[1] < 0.01
    assert math.isnan(Rate().value)
    assert Rate().interval() == (0, 1)


def test_rates_add_up():
    errors = np.arange(100)
    whole = Rate.of(errors, 6400)
    assert Rate.of(errors[:30], 1920) + Rate.of(errors[30:], 4480) == whole


def test_pairing_narrows_the_interval():
    rng = np.random.default_rng(3)
    common = rng.binomial(64, rng.beta(0.5, 4.5, 2000))
    other = common + rng.binomial(1, 0.05, 2000)
    pair = Pair.of(other, common, 64 * 2000)
    difference = pair.difference()
    assert difference.value == pytest.approx(0.05 / 64, rel=0.3)
    assert difference.low > 0
    alone = Rate.of(other, 64 * 2000).interval()
    assert difference.high - difference.low < (alone[1] - alone[0]) / 10
    ratio = pair.ratio()
    assert ratio.low <= pair.first.value / pair.second.value <= ratio.high


def straight(snr_db: float, decades_per_db: float = 0.25, shift: float = 0.0) -> Rate:
    """BER 10^(-2) at 20 dB + shift, on a straight line in log10."""
    trials = 10**9
    errors = round(trials * 10 ** (-2 - decades_per_db * (snr_db - 20 - shift)))
    return Rate(errors, trials, 10**6, round(errors**2 / 10**6) + errors)


def test_crossing_of_a_straight_line():
    snrs = [16.0, 18.0, 21.0, 24.0]
    where = crossing(snrs, [straight(snr) for snr in snrs], 1e-2)
    assert where is not None
    assert where.snr_db == pytest.approx(20, abs=1e-3)
    assert where.slope == pytest.approx(-0.25, abs=1e-3)
    assert 0 < where.error_db < 0.01
    assert crossing(snrs, [straight(snr) for snr in snrs], 1e-6) is None
    assert crossing(snrs[::-1], [straight(snr) for snr in snrs[::-1]], 1e-2) == where


def test_distance_of_shifted_lines():
    snrs = [16.0, 18.0, 21.0, 24.0]
    first = crossing(snrs, [straight(snr) for snr in snrs], 1e-2)
    second = crossing(snrs, [straight(snr, shift=0.7) for snr in snrs], 1e-2)
    found = distance(first, second)
    assert found is not None
    assert found.value == pytest.approx(0.7, abs=1e-3)
    assert found.low < 0.7 < found.high
    assert distance(first, None) is None


def test_paired_distance_of_shifted_lines():
    snrs = [16.0, 18.0, 21.0, 24.0]
    pairs = [Pair(straight(snr, shift=0.04), straight(snr), 10**6) for snr in snrs]
    found = paired_distance(snrs, pairs, 1e-2)
    assert found is not None
    assert found.value == pytest.approx(0.04, abs=1e-3)
    assert paired_distance(snrs, pairs, 1e-9) is None


@pytest.mark.parametrize(("count", "quantile"), [(2, 12.706), (3, 4.303), (11, 2.228), (12, 2.201), (31, 2.042)])
def test_t_interval(count, quantile):
    values = list(np.random.default_rng(count).standard_normal(count))
    found = t_interval(values)
    assert found is not None
    assert found.value == pytest.approx(np.mean(values))
    assert found.high - found.value == pytest.approx(quantile * np.std(values, ddof=1) / count**0.5, rel=1e-3)


def test_t_interval_of_one_seed_knows_nothing():
    assert t_interval([0.3]) == Interval(0.3, -math.inf, math.inf)
    assert t_interval([]) is None


# -- the driver


def section(name: str, calls: list[str], *, shows: str | None = None) -> Any:
    """A section that notes when it is measured."""

    def measure(settings: Settings) -> dict[str, Any]:
        calls.append(name)
        return {"value": len(calls)}

    def plot(data, folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.png").write_bytes(b"")
        return [name]

    shown = name if shows is None else shows
    return SimpleNamespace(
        TITLE=f"Section {name}",
        measure=measure,
        plot=plot,
        markdown=lambda data: f"value {data['value']} ![x](images/{shown}.png)",
    )


def test_driver_skips_finished_sections_and_writes_all(settings):
    calls: list[str] = []
    sections: dict[str, ModuleType] = {name: section(name, calls) for name in "ab"}
    driver.run(settings, sections, ["a"], fresh=False)
    assert calls == ["a"]
    assert "Not measured yet: b" in (settings.output / "README.md").read_text()
    driver.run(settings, sections, ["a", "b"], fresh=False)
    assert calls == ["a", "b"]
    text = (settings.output / "README.md").read_text()
    assert "## Section a" in text and "## Section b" in text and "Not measured yet" not in text
    driver.run(settings, sections, ["a"], fresh=True)
    assert calls == ["a", "b", "a"]
    document = json.loads((settings.data / "a.json").read_text())
    assert document["value"] == 3
    assert document["made_with"]["command"].endswith("--only a --fresh")


def test_driver_refuses_a_plot_that_is_not_shown(settings):
    with pytest.raises(AssertionError, match="does not show"):
        driver.run(settings, {"a": section("a", [], shows="other")}, ["a"], fresh=False)


def test_command_line_names_the_sections(capsys):
    with pytest.raises(SystemExit):
        driver.main(["--only", "nothing"])
    assert "detectors" in capsys.readouterr().err


# -- points


def test_points_resume_after_an_interruption(settings):
    calls = []

    def work(job):
        if job["n"] == 2 and not resumed:
            raise KeyboardInterrupt
        calls.append(job["n"])
        return {"square": job["n"] ** 2}

    jobs = [{"n": n} for n in range(4)]
    resumed = False
    with pytest.raises(KeyboardInterrupt):
        points.run_points(settings, "s", work, jobs)
    with points.partial_path(settings, "s").open("a") as file:
        file.write('{"job": {"n": 2}, "resu')  # as a crash leaves it
    resumed = True
    assert points.run_points(settings, "s", work, jobs) == [{"square": n**2} for n in range(4)]
    assert calls == [0, 1, 2, 3]
    assert points.run_points(settings, "s", work, jobs)[3] == {"square": 9}
    assert calls == [0, 1, 2, 3]


def test_points_in_processes(settings):
    jobs = [bit_error_job(snr_db=snr) for snr in (10.0, 14.0)]
    alone = points.run_points(settings, "s", simulate.bit_errors, jobs)
    other = Settings(settings.output / "other", quick=True, jobs=2)
    assert points.run_points(other, "s", simulate.bit_errors, jobs) == alone


def test_a_table_shows_what_is_there_of_an_unfinished_section(settings):
    def work(job):
        if job["snr_db"] == 14.0:
            raise KeyboardInterrupt
        return simulate.bit_errors(job)

    jobs = [bit_error_job(snr_db=snr, detectors=["lmmse"]) for snr in (10.0, 12.0, 14.0)]
    with pytest.raises(KeyboardInterrupt):
        points.run_points(settings, "s", work, jobs, points.rate_cells)
    rates = [markdown.rate(Rate.read(simulate.bit_errors(job)["rates"]["lmmse"])) for job in jobs[:2]]
    table = points.partial_table_path(settings, "s")
    assert table.read_text() == markdown.table(["snr_db", "LMMSE"], zip(("10.0", "12.0"), rates, strict=True)) + "\n"
    points.forget_partial(settings, "s")
    assert not table.exists()


def deep_job() -> dict[str, Any]:
    """LMMSE has enough errors in the first unit, the first detector has not, exact ML neither."""
    return bit_error_job(
        channel=simulate.iid(4, 4),
        snr_db=22.0,
        detectors=["list8-16qam", "lmmse", "admm5-16qam-fp", "exact-max-log"],
        min_errors=1000,
        max_bits=20_000,
        peer_max_bits=4_000,
    )


@pytest.fixture
def small_units(monkeypatch):
    monkeypatch.setattr(deep_points, "FAST", deep_points.Budget(100_000, 4, 2))
    monkeypatch.setattr(deep_points, "REFERENCES", deep_points.Budget(16_000, 12, 4))


def test_deep_points_go_on_where_there_are_few_errors(tmp_path, small_units):
    settings = Settings(tmp_path, jobs=1)
    (result,) = deep_points.run_deep_points(settings, "s", [deep_job()])
    first = simulate.bit_errors(deep_job())
    rates = {name: Rate.read(rate) for name, rate in result["rates"].items()}
    before = {name: Rate.read(rate) for name, rate in first["rates"].items()}
    assert before["list8-16qam"].errors < 100 <= before["lmmse"].errors
    assert all(rates[name].errors >= 100 for name in ("list8-16qam", "lmmse", "exact-max-log"))
    assert rates["list8-16qam"].trials == rates["lmmse"].trials > before["lmmse"].trials
    assert rates["admm5-16qam-fp"] == before["admm5-16qam-fp"]
    pairs = {name: Pair.read(pair) for name, pair in result["pairs"].items()}
    assert pairs["lmmse"].first == rates["list8-16qam"]
    assert all(pairs[name].second == rates[name] for name in ("lmmse", "exact-max-log"))
    assert pairs["exact-max-log"].first.trials == rates["exact-max-log"].trials
    # every unit has random numbers of its own, and those of the same number the same ones
    lines = [json.loads(line) for line in points.partial_path(settings, "s").read_text().splitlines()]
    counts = {(tuple(u["job"]["detectors"]), u["job"].get("piece", 0)): u["result"]["rates"] for u in lines}
    assert len({json.dumps(rates) for rates in counts.values()}) == len(lines) >= 4
    assert [u["job"].get("piece", 0) for u in lines].count(0) == 1
    table = points.partial_table_path(settings, "s").read_text()
    assert all(markdown.rate(rate) in table for rate in rates.values())


def test_deep_points_are_the_same_whatever_runs_them(tmp_path, small_units):
    jobs = [deep_job(), {**deep_job(), "snr_db": 25.0}]
    settings = Settings(tmp_path / "one", jobs=1)
    alone = deep_points.run_deep_points(settings, "s", jobs)
    other = Settings(tmp_path / "two", jobs=2)
    try:
        assert deep_points.run_deep_points(other, "s", jobs) == alone
    finally:
        other.close()


def needed(units: list[tuple[int, int]]) -> int:
    """Of a detector with these errors and bits in its units so far."""
    series = deep_points.point_series(bit_error_job(detectors=["admm5-16qam"]))["admm5-16qam"]
    return series.needed([{"rates": {"admm5-16qam": asdict(Rate(e, bits, 1, e * e))}} for e, bits in units])


def test_units_of_a_deep_point_are_planned_by_its_errors():
    first, further = 4_000_000, deep_points.FAST.bits
    assert needed([]) == 1
    assert needed([(100, first)]) == 1
    assert needed([(1, first)]) == 1 + 4  # 4e8 bits, less the first 4e6
    assert needed([(0, first)]) == 2
    within_reach = [(0, first)] + [(6, further)] * deep_points.FAST.trial
    assert needed(within_reach) == 1 + 17
    out_of_reach = [(0, first)] + [(1, further)] * deep_points.FAST.trial
    assert needed(out_of_reach[:-1]) == 1 + deep_points.FAST.trial
    assert needed(out_of_reach) == len(out_of_reach)
    without_errors = [(0, first)] + [(0, further)] * deep_points.FAST.trial
    assert needed(without_errors) == len(without_errors)


def test_few_errors_are_named():
    point = simulate.bit_errors(bit_error_job(min_errors=1, max_bits=100, detectors=["admm5-16qam", "lmmse"]))
    point = {"snr_db": 12.0, **point}
    errors = point["rates"]["lmmse"]["errors"]
    assert f"LMMSE at 12 dB ({errors} in " in detectors.few_errors([point], ["lmmse"])
    point["rates"]["lmmse"]["errors"] = 100
    assert detectors.few_errors([point], ["lmmse"]) == ""


# -- the simulation


def bit_error_job(**changes: Any) -> dict[str, Any]:
    job = {
        "channel": simulate.iid(4, 2),
        "csi": {},
        "constellation": "16qam",
        "snr_db": 12.0,
        "num_vectors": 4,
        "detectors": ["admm5-16qam", "lmmse", "admm5-16qam-fp"],
        "min_errors": 50,
        "max_bits": 40_000,
        "peer_max_bits": 0,
        "seed": 1,
    }
    return {**job, **changes}


def test_bit_errors_counts_on_the_same_transmissions():
    result = simulate.bit_errors(bit_error_job())
    rates = {name: Rate.read(rate) for name, rate in result["rates"].items()}
    assert len({rate.trials for rate in rates.values()}) == 1
    assert all(rate.errors >= 50 and rate.clusters > 0 for rate in rates.values())
    assert set(result["pairs"]) == {"lmmse", "admm5-16qam-fp"}
    pair = Pair.read(result["pairs"]["admm5-16qam-fp"])
    assert pair.first == rates["admm5-16qam"] and pair.second == rates["admm5-16qam-fp"]
    assert json.loads(json.dumps(result)) == result


def test_bit_errors_sees_estimation_errors_on_the_same_signals():
    """The same signals, told a little else: nearly the same errors."""
    perfect, off = (
        Rate.read(simulate.bit_errors(bit_error_job(csi=csi, detectors=["lmmse"]))["rates"]["lmmse"])
        for csi in ({}, {"snr_bias_db": 0.01})
    )
    assert abs(perfect.errors - off.errors) <= 3
    worse = Rate.read(simulate.bit_errors(bit_error_job(csi={"channel": 2.0}))["rates"]["lmmse"])
    assert worse.value > 1.2 * perfect.value


def test_level_snrs_are_where_lmmse_has_these_rates():
    job = {"channel": simulate.iid(4, 4), "csi": {}, "constellation": "16qam", "levels": [0.1, 0.02, 1e-9]}
    found = simulate.level_snrs({**job, "max_bits": 100_000, "seed": 1})["snr_db"]
    assert set(found) == {"0.1", "0.02"}
    for level, snr_db in found.items():
        point = simulate.bit_errors(
            bit_error_job(channel=job["channel"], snr_db=snr_db, detectors=["lmmse"], min_errors=3000, max_bits=400_000)
        )
        assert Rate.read(point["rates"]["lmmse"]).value == pytest.approx(float(level), rel=0.25)


def test_recorded_channels_are_found():
    job = bit_error_job(channel=simulate.recorded("measured_csi_3x2", 3, 2, 56), min_errors=1, max_bits=1)
    assert Rate.read(simulate.bit_errors(job)["rates"]["lmmse"]).errors > 0


# -- the sections


@pytest.fixture
def small(monkeypatch, settings):
    """Sections at a tenth of even the quick budget, without Sionna."""
    for module in (detectors, coded):
        monkeypatch.setattr(module, "missing_peers", lambda: "Sionna is missing; install it")
    monkeypatch.setattr(detectors, "CASES", {k: (4, 2, *v[2:]) for k, v in detectors.CASES.items()})
    monkeypatch.setattr(detectors, "SIZES", detectors.SIZES[:1])
    wanted = {robustness.PERFECT, "SNR +3 dB", "Kronecker 0.9"}
    rows = [row for row in robustness.rows() if row.name in wanted]
    monkeypatch.setattr(robustness, "rows", lambda: rows)
    monkeypatch.setattr(near_ml, "QUICK_CASES", near_ml.QUICK_CASES[:1])
    monkeypatch.setattr(methods, "run", lambda *_: comparison_cells())
    return settings


def comparison_cells(bits: tuple[int, ...] = (8, 4)) -> list[dict[str, Any]]:
    """A comparison with known losses: KAQ 0.1 dB, every other method 0.5 dB, and a little from seed to seed."""
    cells = []
    for width in bits:
        for method in (*methods.METHODS, "kaq_static_step"):
            for seed in (1, 2, 3):
                shift = (0.1 if method == methods.KAQ else 0.5) + 0.01 * seed
                snrs = (15.0, 20.0, 25.0)

                def rows(shift: float, snrs: tuple[float, ...] = snrs) -> list[list[float]]:
                    return [[s, straight(s, shift=shift).errors, 10**9] for s in snrs]

                ber = {"quantized": rows(shift), "full_precision": rows(0.01 * seed), "lmmse": rows(8)}
                history = [[25 * (i + 1), 1 / (i + 1), 0.01] for i in range(20)]
                steps = [{"alpha": -0.1, "gamma": 0.2}] * 5
                keys = {"method": method, "bits": width, "seed": seed, "steps": steps, "seconds": 1.0}
                cells.append({**keys, "ber": ber, "history": history})
    return cells


def test_report_of_measured_sections(small):
    chosen = {name: SECTIONS[name] for name in ("detectors", "near_ml", "robustness", "coded", "methods", "claims")}
    driver.run(small, chosen, list(chosen), fresh=False)
    text = (small.output / "README.md").read_text()
    shown = set(re.findall(r"\(images/([^)]+\.png)\)", text))
    assert shown == {path.name for path in small.images.iterdir()}
    for name in chosen:
        assert f"## {SECTIONS[name].TITLE}" in text
        assert (small.data / f"{name}.json").exists()
    assert text.index(claims.TITLE) < text.index(detectors.TITLE)
    assert not list(small.data.glob("*.partial.jsonl"))
    assert "Sionna is missing" in text
    assert "sionna-ep10" not in json.loads((small.data / "detectors.json").read_text())["points"][0]["detectors"]


def test_without_itpp_there_are_no_distances(small, monkeypatch):
    monkeypatch.setattr(near_ml.references, "present", lambda *names: [])
    driver.run(small, {"near_ml": SECTIONS["near_ml"]}, ["near_ml"], fresh=False)
    text = (small.output / "README.md").read_text()
    assert "| 2x2, 16qam | LMMSE |" in text and "exact ML |" not in text.partition("| dB above exact ML |")[2]
    assert not small.images.exists()


def test_missing_points_are_measured_and_the_others_kept(small, monkeypatch):
    """2x2 comes first, 3x2 later: with 64-QAM its batches are rounded up to whole vectors."""
    sections = {"near_ml": SECTIONS["near_ml"]}
    first, second = near_ml.Case((2, 2), "16qam", 26), near_ml.Case((3, 2), "64qam", 26)
    monkeypatch.setattr(near_ml, "QUICK_CASES", (second,))
    driver.run(small, sections, ["near_ml"], fresh=False)
    path = small.data / "near_ml.json"
    before = json.loads(path.read_text())
    driver.run(small, sections, ["near_ml"], fresh=False, missing=True)
    assert json.loads(path.read_text()) == before, "nothing is missing"
    monkeypatch.setattr(near_ml, "QUICK_CASES", (first, second))
    measured = []
    errors_at_level = near_ml.errors_at_level
    monkeypatch.setattr(near_ml, "errors_at_level", lambda job: measured.append(job["case"]) or errors_at_level(job))
    driver.run(small, sections, ["near_ml"], fresh=False, missing=True)
    after = json.loads(path.read_text())
    assert set(measured) == {first.name}
    assert [p for p in after["points"] if p["case"] == second.name] == before["points"]
    assert near_ml.cases(after) == [first.name, second.name]
    assert after["made_with"]["command"].endswith("--only near_ml --missing")
    assert after["made_with"]["kept_from"] == before["made_with"]
    text = (small.output / "README.md").read_text()
    assert re.search(rf"{len(before['points'])}\s+of its points were there", text)
    monkeypatch.setattr(near_ml, "QUICK_CASES", (first,))
    with pytest.raises(SystemExit, match="would be lost"):
        driver.run(small, sections, ["near_ml"], fresh=False, missing=True)
    assert json.loads(path.read_text()) == after


def test_without_sionna_delay_lines_are_not_measured(small, monkeypatch):
    monkeypatch.setattr(near_ml, "QUICK_CASES", (near_ml.QUICK_CASES[0], near_ml.CASES[-1]))
    monkeypatch.setattr(near_ml.references, "missing", lambda name: "Sionna is missing; install it")
    driver.run(small, {"near_ml": SECTIONS["near_ml"]}, ["near_ml"], fresh=False)
    text = (small.output / "README.md").read_text()
    assert "| 4x4, 16qam, CDL-D | all | not measured |" in text
    assert "Sionna is missing" in text


def test_published_points_stand_beside_ours(small):
    driver.run(small, {"published_points": SECTIONS["published_points"]}, ["published_points"], fresh=False)
    text = (small.output / "README.md").read_text()
    for size in published_points.sizes():
        assert f"### {size}: " in text
    row = next(line for line in text.splitlines() if line.startswith("| 15 |"))
    assert row.endswith("| 3.88e-01 | 2.51e-01 | 2.16e-01 |")


def test_few_bits_are_judged_by_their_budget(small, monkeypatch):
    """Cells that lose 0.1 dB, and others that lose 0.5 dB, within the bit operations of 3 and 2 bits."""
    names = {methods.KAQ: "midrise", "qat": low_bits.MIDTREAD}
    cells = [c | {"method": names[c["method"]]} for c in comparison_cells((3, 2)) if c["method"] in names]
    monkeypatch.setattr(low_bits, "run", lambda *_: cells)
    driver.run(small, {"low_bits": low_bits, "claims": claims}, ["low_bits", "claims"], fresh=False)
    assert "| W3A3 | `midrise` | " in (small.output / "README.md").read_text()
    found = {c["claim"]: c for c in json.loads((small.data / "claims.json").read_text())["claims"]}
    claim = "`{}` at the bit operations of W{}A{} loses at most {} dB at BER 1e-2"
    assert found[claim.format("midrise", 3, 3, 0.25)]["answer"] == claims.CONFIRMED
    assert found[claim.format("midtread", 3, 3, 0.25)]["answer"] == claims.NOT_CONFIRMED
    assert found[claim.format("midtread", 2, 2, 1.5)]["answer"] == claims.CONFIRMED
    recipes = [c for name, c in found.items() if "4 bits after calibration" in name]
    assert len(recipes) == 2 and all("dB" in c["number"] for c in recipes)


def test_claims_follow_from_the_data(small):
    driver.run(small, {"methods": methods, "claims": claims}, ["methods", "claims"], fresh=False)
    found = {c["claim"]: c for c in json.loads((small.data / "claims.json").read_text())["claims"]}
    assert found["Lower BER than `qat`, ADMM-Net W4A4, 20 dB"]["answer"] == claims.CONFIRMED
    loss = found["W4A4 with `kaq` within 0.3 dB of full precision at BER 1e-2"]
    assert loss["answer"] == claims.CONFIRMED
    assert loss["number"].startswith("+0.10 [")
    assert found["Converges in fewer iterations than `qat`, W4A4"]["answer"] == claims.LEVEL
    assert found["Signs of the learned alpha, W4A4"]["number"] == "15 of 15 negative"
    assert found["Transfer of KAQ to another network than a detector"]["answer"] == "measured"
    assert any(c["answer"] == claims.NOT_MEASURED and "Never worse" in name for name, c in found.items())


@pytest.mark.parametrize(
    ("interval", "limit", "answer"),
    [
        (Interval(0.1, 0.0, 0.2), 0.3, claims.CONFIRMED),
        (Interval(0.5, 0.4, 0.6), 0.3, claims.NOT_CONFIRMED),
        (Interval(0.3, 0.1, 0.5), 0.3, claims.UNDECIDED),
        (None, 0.3, claims.NOT_MEASURED),
    ],
)
def test_answers(interval, limit, answer):
    assert claims.at_most(interval, limit) == answer


def test_losses_over_seeds_are_paired():
    cells = comparison_cells((4,))
    loss = comparisons.over_seeds(comparisons.of(cells, "kaq", 4), comparisons.loss_db)
    assert loss is not None
    assert loss.value == pytest.approx(0.1, abs=1e-3)
    own, other = comparisons.of(cells, "kaq", 4), comparisons.of(cells, "qat", 4)
    difference = comparisons.paired(own, other, comparisons.loss_db)
    assert difference is not None
    assert difference.value == pytest.approx(-0.4, abs=1e-3)
    assert difference.high - difference.low < 0.01


def test_long_histories_become_means():
    history = [[float(i), 2.0 * i, 1.0] for i in range(1, 251)]
    assert comparisons.thinned(history[:100]) == history[:100]
    assert comparisons.thinned(history)[:2] == [[3.0, 4.0, 1.0], [6.0, 10.0, 1.0]]
    assert comparisons.thinned(history)[-1] == [250.0, 500.0, 1.0]
    assert comparisons.thinned([]) == []


def test_missing_sionna_is_explained(monkeypatch):
    def missing(name):
        raise PeersUnavailableError("pip install sionna")

    monkeypatch.setattr(simulate, "sionna_module", missing)
    assert simulate.missing_peers() == "pip install sionna"


def test_ratios_of_few_errors_are_not_quoted():
    few, many = Rate(99, 10**6, 1000, 120), Rate(200, 10**6, 1000, 300)
    assert markdown.ratio(Pair(few, many, 200)) == "(99 : 200 errors)"
    assert markdown.ratio(Pair(few + few, many, 200)).startswith("0.99 [")
    assert markdown.ratio(None) == "-"


def test_names_that_are_not_installed_are_left_out():
    assert names.installed("no-such-detector", "admm5-16qam", "lmmse") == ["admm5-16qam", "lmmse"]
