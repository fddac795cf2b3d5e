# SPDX-License-Identifier: GPL-3.0-or-later
"""The paper's claims and this project's own figures, one by one, from the other sections' JSON."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .. import markdown as md
from ..comparisons import log_ber, loss_db, of, over_seeds, paired, ratio
from ..names import EP, LMMSE, label
from ..references import is_reference
from ..settings import ROOT, Settings
from ..simulate import pair_of, rate_of
from ..statistics import MIN_RATIO_ERRORS, Interval, t_interval
from . import coded, detectors, low_bits, methods, robustness, training_settings

TITLE = "The claims, one by one"
DERIVED = True
"""Made of the other sections, so it is never up to date by itself."""

CONFIRMED, NOT_CONFIRMED, UNDECIDED, NOT_MEASURED = "confirmed", "**not confirmed**", "undecided", "not measured"
LEVEL = "**not confirmed** (level)"

PAPER, CHECKS, FIGURES = "The paper claims", "The paper leaves open", "The figures this project aims at"
SPEED = ROOT / "docs" / "guide" / "performance" / "bench.json"
RECIPES = ROOT / "docs" / "guide" / "quantization" / "methods.json"
"""What `python -m training compare` found of estimators, a list of cells for each network."""

LOW_BITS_LIMITS = {3: 0.25, 2: 1.5}
"""dB that a detector may lose at the bit operations of so many bits of either operand."""

Claim = dict[str, str]


def at_most(value: Interval | None, limit: float) -> str:
    """The answer to 'at most `limit`': undecided where the limit lies within the interval."""
    if value is None:
        return NOT_MEASURED
    if value.high <= limit:
        return CONFIRMED
    return NOT_CONFIRMED if value.low > limit else UNDECIDED


def below(value: Interval | None, limit: float) -> str:
    """The answer to 'less than `limit`', beyond the interval: level counts as not confirmed."""
    if value is None:
        return NOT_MEASURED
    if not math.isfinite(value.high):
        return UNDECIDED
    if value.high < limit:
        return CONFIRMED
    return NOT_CONFIRMED if value.low > limit else LEVEL


def measure(settings: Settings) -> dict[str, Any]:
    """Answer every claim for which there is data; the others are not measured."""
    data = {}
    for name in ("detectors", "robustness", "coded", "methods", "low_bits", "paper", "training_settings"):
        path = settings.data / f"{name}.json"
        if path.exists():
            data[name] = json.loads(path.read_text("utf-8"))
    found: list[Claim] = []
    for source, make, section in (
        (PAPER, _lower_ber, "methods"),
        (PAPER, _published_network, "paper"),
        (PAPER, _convergence, "methods"),
        (PAPER, _latency_claim, None),
        (CHECKS, _latency, None),
        (CHECKS, _estimation_errors, "robustness"),
        (CHECKS, _epsilon, "training_settings"),
        (CHECKS, _dynamic_step, "methods"),
        (CHECKS, _transfer, None),
        (FIGURES, _int8, "detectors"),
        (FIGURES, _few_bits, "methods"),
        (FIGURES, _best_baseline, "methods"),
        (FIGURES, _low_bits, "low_bits"),
        (FIGURES, _recipes, None),
        (FIGURES, _flagship, "detectors"),
        (FIGURES, _snr_off, "robustness"),
        (FIGURES, _coded, "coded"),
        (FIGURES, _never_worse, "robustness"),
        (FIGURES, _never_worse_coded, "coded"),
    ):
        if section is not None and section not in data:
            rows: Iterable[tuple[str, str, str]] = [(_first_line(make), NOT_MEASURED, "-")]
        else:
            rows = make(data[section] if section else {})
        behind = data[section]["made_with"]["command"] if section in data else "-"
        for claim, answer, number in rows:
            keys = {"source": source, "claim": claim, "answer": answer, "number": number}
            found.append({**keys, "section": section or "-", "command": behind})
    return {"claims": found}


def _first_line(function: Any) -> str:
    return (function.__doc__ or "").partition("\n")[0].rstrip(".")


Rows = Iterator[tuple[str, str, str]]


def _lower_ber(data: dict[str, Any]) -> Rows:
    """KAQ has a lower BER than quantization-aware training with a static step on the squared error alone."""
    cells = data["cells"]
    for bits in methods.widths(cells):
        for other in methods.present(cells, bits, ("qat", "kaq_no_mmd", "kaq_static_step")):
            value = methods.ber_ratio(cells, methods.KAQ, other, bits)
            claim = f"Lower BER than `{other}`, ADMM-Net W{bits}A{bits}, {methods.reference_snr(cells):g} dB"
            yield claim, below(value, 1), f"BER x {methods.ratio_text(value)}"
    for bits in methods.widths(cells):
        loss = over_seeds(of(cells, methods.KAQ, bits), loss_db)
        number = f"{md.decibels(loss)} dB at BER 1e-2" if loss else "BER 1e-2 not reached"
        yield f"Close to full precision, ADMM-Net W{bits}A{bits}", at_most(loss, 0.3) if loss else NOT_CONFIRMED, number


def _published_network(data: dict[str, Any]) -> Rows:
    """The published PGD-Net: KAQ against QAT and full precision."""
    cells = data["cells"]
    snr = methods.reference_snr(cells)
    for bits in methods.widths(cells):
        kaq, qat = of(cells, methods.KAQ, bits), of(cells, methods.QAT, bits)
        value = ratio(paired(kaq, qat, log_ber(snr)))
        text = methods.ratio_text(value)
        yield f"Lower BER than QAT, PGD-Net as published W{bits}A{bits}, {snr:g} dB", below(value, 1), f"BER x {text}"
        full = ratio(over_seeds(kaq, lambda c: log_ber(snr)(c) - log_ber(snr, "full_precision")(c)))
        claim = f"Close to full precision (BER at most 1.1 times), PGD-Net as published W{bits}A{bits}, {snr:g} dB"
        yield claim, at_most(full, 1.1), f"BER x {methods.ratio_text(full)}"
        lmmse = ratio(over_seeds(kaq, lambda c: log_ber(snr)(c) - log_ber(snr, "lmmse")(c)))
        claim = f"(Not claimed:) better than LMMSE, PGD-Net as published W{bits}A{bits}, {snr:g} dB"
        yield claim, below(lmmse, 1), f"BER x {methods.ratio_text(lmmse)}"


def _convergence(data: dict[str, Any]) -> Rows:
    """KAQ converges faster."""
    cells = data["cells"]
    for bits in methods.widths(cells):
        for other in methods.present(cells, bits, methods.TRAINED):
            own, others = of(cells, methods.KAQ, bits), of(cells, other, bits)
            value = paired(own, others, methods.iterations_to_converge)
            number = "-" if value is None else f"{value.value:+.0f} [{value.low:+.0f}, {value.high:+.0f}] iterations"
            yield f"Converges in fewer iterations than `{other}`, W{bits}A{bits}", below(value, 0), number


def _speed() -> dict[str, Any]:
    """Sections of what `make bench` measured last for docs/guide/performance.md."""
    return json.loads(SPEED.read_text("utf-8"))["sections"] if SPEED.exists() else {}


def _latency_claim(data: dict[str, Any]) -> Rows:
    """About 20 % lower latency than in floating point."""
    points = _speed().get("roofline", {}).get("points", [])
    point = next((p for p in points if (p["num_rx"], p["num_tx"], p["num_vectors"]) == (16, 16, 14)), None)
    if point is None:
        yield _first_line(_latency_claim), NOT_MEASURED, "`make bench` measures it"
        return
    int8, fp32 = (statistics.median(point["results"][f"{kind} layers"]["ns"]) for kind in ("int8", "fp32"))
    number = f"{100 * (1 - int8 / fp32):.0f} % lower: {int8:.0f} ns per vector in all layers, {fp32:.0f} ns in fp32"
    answer = CONFIRMED if int8 <= 0.8 * fp32 else NOT_CONFIRMED
    yield _first_line(_latency_claim), answer, f"{number} ({point['model']}, 16x16; docs/guide/performance.md)"


def _latency(data: dict[str, Any]) -> Rows:
    """Latency of the INT8 network on a real processor, inside the flowgraph."""
    latency = _speed().get("latency")
    if latency is None:
        yield _first_line(_latency), NOT_MEASURED, "`make bench` measures it"
        return
    rate = statistics.median(latency["rates"][latency["detector"]]["flowgraph, symbols"])
    number = f"{latency['detector']}: {1e9 / rate:.0f} ns per vector in the flowgraph (docs/guide/performance.md)"
    yield _first_line(_latency), "measured", number


def _estimation_errors(data: dict[str, Any]) -> Rows:
    """BER when the SNR estimate is off by up to 3 dB, and when the channel estimate carries noise."""
    first = robustness.general(data)[0]
    for name in robustness.perturbed(data):
        ours, lmmse = (md.decibels(robustness.cost(data, name, d, 1e-2)) for d in (first, LMMSE))
        yield f"{label(first)}, {name}: dB lost at BER 1e-2", "measured", f"{ours} dB (LMMSE: {lmmse} dB)"


def _epsilon(data: dict[str, Any]) -> Rows:
    """epsilon in {0, 0.01, 0.1, 1}: distribution match against detection."""
    for batch, cells in data["batches"].items():
        for method in training_settings.EPSILONS[1:]:
            value = training_settings.epsilon_ratio(cells, method)
            claim = f"epsilon {method.removeprefix('eps_')} has a lower BER than 0, W4A4, batch {batch}"
            yield claim, below(value, 1), f"BER x {methods.ratio_text(value)}"


def _dynamic_step(data: dict[str, Any]) -> Rows:
    """Ablation of the dynamic step."""
    cells = data["cells"]
    for bits in methods.widths(cells):
        for other in methods.present(cells, bits, ("kaq_static_step", "kaq_positive_alpha", "streams_static")):
            base = methods.ablations(cells, bits)[other]
            value = methods.ber_ratio(cells, base, other, bits)
            yield (
                f"The dynamic step beats `{other}`, W{bits}A{bits}",
                below(value, 1),
                f"BER x {methods.ratio_text(value)}",
            )
        negative, total = methods.signs(cells, methods.KAQ, bits)
        yield f"Signs of the learned alpha, W{bits}A{bits}", "measured", f"{negative} of {total} negative"


def _transfer(data: dict[str, Any]) -> Rows:
    """Transfer of KAQ to another network than a detector."""
    yield _first_line(_transfer), "measured", "[learned estimator](../guide/learned-estimator.md#does-kaq-transfer)"


def _int8(data: dict[str, Any]) -> Rows:
    """INT8 within 0.05 dB of full precision at BER 1e-2 and 1e-3."""
    for level in detectors.INT8_LEVELS:
        for name, loss in detectors.int8_losses(data, "16x16-16qam", level).items():
            claim = f"INT8 within 0.05 dB of full precision at BER {level:g}: {label(name)}, 16x16"
            yield claim, at_most(loss, 0.05), f"{md.decibels(loss)} dB"


def _few_bits(data: dict[str, Any]) -> Rows:
    """W4A4 with KAQ within 0.3 dB at BER 1e-2; W3 and W2 reported."""
    cells = data["cells"]
    for bits in methods.widths(cells):
        for method in methods.present(cells, bits, (methods.KAQ, methods.SHIPPED)):
            loss = over_seeds(of(cells, method, bits), loss_db)
            number = f"{md.decibels(loss)} dB" if loss else "BER 1e-2 not reached"
            if bits == 4:
                answer = at_most(loss, 0.3) if loss else NOT_CONFIRMED
                yield f"W4A4 with `{method}` within 0.3 dB of full precision at BER 1e-2", answer, number
            elif bits < 4:
                yield f"W{bits}A{bits} with `{method}`, dB lost at BER 1e-2", "measured", number


def _best_baseline(data: dict[str, Any]) -> Rows:
    """KAQ better than the best trained baseline by a margin outside the interval over the seeds."""
    cells = data["cells"]
    for bits in methods.widths(cells):
        best = methods.best_baseline(cells, bits)
        if bits > 4 or best is None:
            continue
        for method in methods.present(cells, bits, (methods.KAQ, methods.SHIPPED)):
            value = methods.ber_ratio(cells, method, best, bits)
            claim = f"W{bits}A{bits}: `{method}` better than the best trained baseline (`{best}`)"
            yield claim, below(value, 1), f"BER x {methods.ratio_text(value)} at {methods.reference_snr(cells):g} dB"


def _low_bits(data: dict[str, Any]) -> Rows:
    """A detector at the bit operations of W3A3 loses at most 0.25 dB at BER 1e-2, at those of W2A2 at most 1.5 dB."""
    cells = data["cells"]
    for bits in low_bits.budgets(cells):
        for method in low_bits.methods(cells, bits):
            loss = over_seeds(of(cells, method, bits), loss_db)
            limit = LOW_BITS_LIMITS[bits]
            number = f"{md.decibels(loss)} dB" if loss else "BER 1e-2 not reached"
            claim = f"`{method}` at the bit operations of W{bits}A{bits} loses at most {limit:g} dB at BER 1e-2"
            yield claim, at_most(loss, limit) if loss else NOT_CONFIRMED, number


def _recipes(data: dict[str, Any]) -> Rows:
    """Recipes of the transformer world on learned estimators (docs/guide/quantization.md)."""
    networks = json.loads(RECIPES.read_text("utf-8")) if RECIPES.exists() else {}

    def calibrated(network: str, method: str) -> Interval | None:
        cell = next((c for c in networks.get(network, ()) if (c["method"], c["bits"]) == (method, 4)), None)
        if cell is None:
            return None
        return Interval(cell["db"], cell["db"] - cell["interval"], cell["db"] + cell["interval"])

    page = "([quantization](../guide/quantization.md))"
    for network, method, limit in (
        ("estimator", "RepQ-ViT, 0.5", 0.045),
        ("estimator-ls", "RepQ-ViT, every product", 7.0),
    ):
        loss = calibrated(network, method)
        claim = f"`{network}`, 4 bits after calibration, {method}: at most {limit:g} dB lost {page}"
        yield claim, at_most(loss, limit), f"{loss.value:+.3f} [{loss.low:+.3f}, {loss.high:+.3f}] dB" if loss else "-"
    base = calibrated("estimator-published", "post-training, MSE-optimal")
    for method in ("RepQ-ViT", "MergeQuant"):
        own = calibrated("estimator-published", method)
        if own is None or base is None:
            yield f"`estimator-published`, 4 bits: {method} wins at least 1 dB {page}", NOT_MEASURED, "-"
            continue
        # as if the frames were not the same: the interval of the difference is narrower
        half = math.hypot(own.high - own.value, base.high - base.value)
        lost = Interval(own.value - base.value, own.value - base.value - half, own.value - base.value + half)
        claim = f"`estimator-published`, 4 bits: {method} at least 1 dB ahead of MSE-optimal calibration {page}"
        yield claim, at_most(lost, -1), f"{md.decibels(lost)} dB"
    for fold in ("RepQ-ViT", "MergeQuant"):
        for network, cells in networks.items():
            folded, plain = (
                {c["seed"]: c["db"] for c in cells if (c["method"], c["bits"]) == (name, 4)}
                for name in (f"QAT from {fold}", "QAT, weights clipped")
            )
            if folded and folded.keys() == plain.keys():
                more = t_interval([folded[seed] - plain[seed] for seed in folded])
                claim = f"`{network}`, 4 bits: training from {fold} ends below plain training {page}"
                yield claim, below(more, 0), f"{md.decibels(more)} dB"


def _flagship(data: dict[str, Any]) -> Rows:
    """The flagship at or below EP x10 at 16x16 and 4x4, and at or below 3.5e-4 at 32x16 and 15 dB."""
    for which in ("16x16-16qam", "4x4-16qam"):
        for point in detectors.case(data, which):
            first = point["detectors"][0]
            pair = pair_of(point, EP)
            enough = pair is not None and min(pair.first.errors, pair.second.errors) >= MIN_RATIO_ERRORS
            claim = f"{label(first)} at or below Sionna EP x10: {which.replace('-', ', ')}, {point['snr_db']:g} dB"
            if pair is None or enough:
                yield claim, at_most(pair.ratio() if pair else None, 1), f"BER x {md.ratio(pair)}"
            else:
                yield claim, UNDECIDED, md.ratio(pair)
    for point in detectors.case(data, "32x16-16qam"):
        first = point["detectors"][0]
        rate = rate_of(point, first)
        if point["snr_db"] == 15 and rate is not None:
            claim = f"{label(first)} at or below 3.5e-4: 32x16, 16qam, 15 dB"
            yield claim, at_most(Interval(rate.value, *rate.interval()), 3.5e-4), md.rate(rate)


def _snr_off(data: dict[str, Any]) -> Rows:
    """SNR off by 3 dB costs at most 0.3 dB."""
    for detector in robustness.general(data):
        for name in ("SNR -3 dB", "SNR +3 dB"):
            for level in robustness.COST_LEVELS:
                value = robustness.cost(data, name, detector, level)
                claim = f"{label(detector)}: {name} costs at most 0.3 dB at BER {level:g}"
                yield claim, at_most(value, 0.3), f"{md.decibels(value)} dB"


def _coded(data: dict[str, Any]) -> Rows:
    """Coded: at least 1 dB better than LMMSE at 10 % block error rate at 16x16."""
    for link in coded.WITH_PEER:
        for name in coded.detectors(data, link) if link in coded.links(data) else ():
            if name != LMMSE and not is_reference(name):
                value = coded.gain(data, link, name)
                answer = at_most(None if value is None else Interval(-value.value, -value.high, -value.low), -1)
                claim = f"Coded, {label(name)}, {link}: at least 1 dB better than LMMSE at 10 % block error rate"
                yield claim, answer, f"{md.decibels(value)} dB"


def _never_worse(data: dict[str, Any]) -> Rows:
    """Never worse than LMMSE in any row of the robustness table."""
    names = robustness.row_names(data)
    first = robustness.general(data)[0]
    flagged = [name for name in names if robustness.worse_than_lmmse(data, name)]
    number = f"worse in {len(flagged)} of {len(names)} rows" + (f": {', '.join(flagged)}" if flagged else "")
    claim = f"{label(first)}: uncoded BER never above LMMSE's in any row of the robustness table"
    yield claim, NOT_CONFIRMED if flagged else CONFIRMED, number


def _never_worse_coded(data: dict[str, Any]) -> Rows:
    """Coded: never worse than LMMSE."""
    for link in coded.links(data):
        name = coded.detectors(data, link)[0]
        value = coded.gain(data, link, name)
        answer = at_most(None if value is None else Interval(-value.value, -value.high, -value.low), 0)
        claim = f"Coded, {label(name)}: not worse than LMMSE at 10 % block error rate, {link}"
        yield claim, answer, f"{md.decibels(value)} dB better"


def plot(data: dict[str, Any], folder: Path) -> list[str]:
    """None."""
    return []


def markdown(data: dict[str, Any]) -> str:
    """A table per source."""
    parts = [
        "Numbers are computed from the data of the sections below, by `python -m benchmarks.report --only claims`. The "
        "brackets hold 95 % intervals.",
        md.table(
            ["words", "meaning"],
            [
                ["confirmed", "beyond the 95 % interval"],
                ["undecided", "the interval holds the limit"],
                ["level", "the interval holds equality"],
                ["BER x 0.8", "the BER is 0.8 times that of what is compared with"],
                ["close to full precision", "0.3 dB at BER 1e-2, or 1.1 times its BER"],
            ],
        ),
    ]
    for source in dict.fromkeys(claim["source"] for claim in data["claims"]):
        rows = [
            [claim["claim"], claim["answer"], claim["number"], f"`{claim['section']}`"]
            for claim in data["claims"]
            if claim["source"] == source
        ]
        parts += [f"### {source}", md.table(["claim", "answer", "number", "section"], rows)]
    return md.joined(*parts)
