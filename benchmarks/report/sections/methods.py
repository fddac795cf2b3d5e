# SPDX-License-Identifier: GPL-3.0-or-later
"""KAQ against post-training quantization and other quantization-aware training, and KAQ's parts one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import markdown as md
from .. import plots
from ..comparisons import Cell, curve, log_ber, loss_db, of, over_seeds, paired, pooled, ratio, run, snrs
from ..plots import COLOURS, MARKERS, Style
from ..settings import Settings
from ..statistics import Interval

TITLE = "Quantization methods"

COMPARISON = "methods"
KAQ, SHIPPED, QAT = "kaq", "kaq_streams", "qat"
BASELINES = ("ptq_minmax", "ptq_percentile", "ptq_mse", "qat", "lsq", "pact")
TRAINED = ("qat", "lsq", "pact")
METHODS = (KAQ, SHIPPED, *BASELINES)
REFERENCE_SNR_DB = 20.0
LEVEL = 1e-2
CONVERGED = 1.02
"""Times the mean squared error that a method ends with: from there on it counts as converged."""
QUICK = (
    "seeds=[1, 2]",
    "bits=[4]",
    "base.full_precision.iterations=60",
    "base.quantized.iterations=50",
    "base.evaluation={snr_db: [15, 20, 25], min_errors: 30, max_bits: 20000}",
    "base.batch=[32, 2]",
)
MEANING = {
    "ptq_minmax": "post-training, step from the largest value",
    "ptq_percentile": "post-training, step from a percentile",
    "ptq_mse": "post-training, step of least squared error",
    "qat": "trained on the squared error alone, static step",
    "lsq": "LSQ (Esser 2020)",
    "pact": "PACT",
    "kaq": "KAQ as published: dynamic step, MMD",
    "kaq_streams": "what ships at low widths: a dynamic step that follows each stream, a learned clip, no MMD",
}


def measure(settings: Settings) -> dict[str, Any]:
    """Run the comparison where that is due."""
    return {"cells": run(settings, COMPARISON, settings.pick((), QUICK))}


def widths(cells: Sequence[Cell]) -> list[int]:
    """Bit widths of KAQ itself, largest first."""
    return sorted({cell["bits"] for cell in cells if cell["method"] == KAQ}, reverse=True)


def present(cells: Sequence[Cell], bits: int, methods: Sequence[str] = METHODS) -> list[str]:
    """Those of the methods that have cells at a width."""
    return [method for method in methods if of(cells, method, bits)]


def ablations(cells: Sequence[Cell], bits: int) -> dict[str, str]:
    """Variants with one part changed, in the order of the comparison, and what each is a variant of."""
    names = dict.fromkeys(c["method"] for c in cells if c["bits"] == bits and c["method"] not in METHODS)
    return {name: KAQ if name.startswith(KAQ + "_") else SHIPPED for name in names}


def reference_snr(cells: Sequence[Cell]) -> float:
    """The measured SNR next to `REFERENCE_SNR_DB`."""
    return min(snrs(cells), key=lambda snr: abs(snr - REFERENCE_SNR_DB))


def ber_ratio(cells: Sequence[Cell], method: str, other: str, bits: int) -> Interval | None:
    """BER of a method over that of another at the reference SNR, geometric mean over the seeds with its interval."""
    snr = reference_snr(cells)
    return ratio(paired(of(cells, method, bits), of(cells, other, bits), log_ber(snr)))


def mean_log_ber(cells: Sequence[Cell], method: str, bits: int, detector: str = "quantized") -> float:
    """Mean over the seeds of log10 BER at the reference SNR."""
    mean = over_seeds(of(cells, method, bits), log_ber(reference_snr(cells), detector))
    assert mean is not None
    return mean.value


def best_baseline(cells: Sequence[Cell], bits: int) -> str | None:
    """The trained baseline with the lowest mean BER at a width."""
    names = present(cells, bits, TRAINED)
    return min(names, key=lambda name: mean_log_ber(cells, name, bits)) if names else None


def iterations_to_converge(cell: Cell) -> float | None:
    """Iterations until the training error stays within `CONVERGED` times its last tenth's mean."""
    if not cell["history"]:
        return None
    errors = [mse for _, mse, _ in cell["history"]]
    last = errors[-max(1, len(errors) // 10) :]
    goal = CONVERGED * sum(last) / len(last)
    return float(next(iteration for (iteration, mse, _) in cell["history"] if mse <= goal))


def look(method: str) -> Style:
    """A method's style."""
    if method not in METHODS:
        return Style("#666666", "o")
    index = METHODS.index(method)
    return Style(
        COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)], "--" if method.startswith("ptq") else "-"
    )


def plot(data: dict[str, Any], folder: Path) -> list[str]:
    """BER, bits, convergence, steps, ablation."""
    cells = data["cells"]
    return [
        _plot_ber(cells, folder),
        _plot_bits(cells, folder),
        _plot_convergence(cells, folder),
        _plot_steps(cells, folder),
        _plot_ablation(cells, folder),
    ]


def seed_curve(axis: Any, cells: Sequence[Cell], style: Style, name: str, detector: str = "quantized") -> None:
    """Geometric mean over the seeds, with its t interval."""
    where = snrs(cells)
    means = [over_seeds(cells, log_ber(snr, detector)) for snr in where]
    intervals = [ratio(mean) for mean in means]
    known = [(snr, i) for snr, i in zip(where, intervals, strict=True) if i is not None]
    values = [i.value for _, i in known]
    spread = None
    if all(math.isfinite(i.high) for _, i in known):
        spread = [[i.value - i.low for _, i in known], [i.high - i.value for _, i in known]]
    axis.errorbar(
        [snr for snr, _ in known],
        values,
        spread,
        color=style.colour,
        marker=style.marker,
        linestyle=style.line,
        markersize=4.5,
        linewidth=1.4,
        capsize=2,
        elinewidth=0.8,
        label=name,
    )


def _plot_ber(cells: Sequence[Cell], folder: Path) -> str:
    figure, axes = plots.axes(len(widths(cells)), width=4.4, height=4.4, sharey=True)
    for axis, bits in zip(axes[0], widths(cells), strict=True):
        plots.ber_axis(axis, f"W{bits}A{bits}")
        first = of(cells, KAQ, bits)
        for method in present(cells, bits):
            seed_curve(axis, of(cells, method, bits), look(method), method)
        seed_curve(axis, first, Style("#000000", "", "-"), "full precision", "full_precision")
        seed_curve(axis, first, Style("#000000", "x", "--"), "LMMSE", "lmmse")
        seen = [rate.value for cell in first for rate in curve(cell, "full_precision") if rate.errors]
        if seen:  # intervals of a few seeds can be so wide that they would set the scale
            axis.set_ylim(min(seen) / 3, 0.6)
    plots.legend(axes[0][0], loc="lower left")
    return plots.save(figure, folder, "methods-ber")


def _plot_bits(cells: Sequence[Cell], folder: Path) -> str:
    figure, axes = plots.axes(2, width=5.6, height=4.2)
    rate, loss = axes[0]
    snr = reference_snr(cells)
    order = widths(cells)
    for index, method in enumerate(METHODS):
        shift = 0.06 * (index - (len(METHODS) - 1) / 2)  # so that intervals do not cover each other
        style = look(method)
        for axis, intervals in (
            (rate, [ratio(over_seeds(of(cells, method, b), log_ber(snr))) for b in order]),
            (loss, [over_seeds(of(cells, method, b), lambda c: loss_db(c, LEVEL)) for b in order]),
        ):
            known = [(place, i) for place, i in enumerate(intervals) if i is not None and math.isfinite(i.high)]
            if known:
                axis.errorbar(
                    [place + shift for place, _ in known],
                    [i.value for _, i in known],
                    [[i.value - i.low for _, i in known], [i.high - i.value for _, i in known]],
                    color=style.colour,
                    marker=style.marker,
                    linestyle=style.line,
                    markersize=5,
                    linewidth=1.2,
                    capsize=2,
                    elinewidth=0.9,
                    label=method,
                )
    for detector, name, colour in (("full_precision", "full precision", "0"), ("lmmse", "LMMSE", "0.5")):
        mean = mean_log_ber(cells, KAQ, order[0], detector)
        rate.axhline(10**mean, label=name, color=colour, linestyle="--", linewidth=1)
    rate.set(yscale="log", ylabel=f"bit error rate at {snr:g} dB")
    loss.set(ylabel=f"dB lost to full precision at BER {LEVEL:g}")
    loss.axhline(0, color="0", linewidth=0.8)
    loss.set_yscale("symlog", linthresh=0.3)
    for axis in (rate, loss):
        axis.set_xlabel("bits of activations and matrix")
        axis.set_xticks(range(len(order)), [str(bits) for bits in order])
        axis.set_xlim(-0.5, len(order) - 0.5)
        plots.grid(axis)
    loss.legend(*rate.get_legend_handles_labels(), loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize="small")
    return plots.save(figure, folder, "methods-bits")


def convergence_axis(axis: Any, cells: Sequence[Cell], bits: int, methods: Sequence[str]) -> None:
    """Mean squared error over the iterations, mean over the seeds with their range."""
    for method in methods:
        histories = [cell["history"] for cell in of(cells, method, bits) if cell["history"]]
        if not histories:
            continue
        iterations = [row[0] for row in histories[0]]
        columns = list(zip(*([row[1] for row in history] for history in histories), strict=True))
        style = look(method)
        axis.fill_between(
            iterations, [min(c) for c in columns], [max(c) for c in columns], color=style.colour, alpha=0.15
        )
        axis.plot(iterations, [sum(c) / len(c) for c in columns], color=style.colour, linewidth=1.4, label=method)
    axis.set(
        title=f"W{bits}A{bits}", xlabel="iteration of the quantized stage", ylabel="mean squared error", yscale="log"
    )
    plots.grid(axis)
    plots.legend(axis, loc="upper right")


def _plot_convergence(cells: Sequence[Cell], folder: Path) -> str:
    low = [bits for bits in widths(cells) if bits in (2, 4)]
    figure, axes = plots.axes(len(low), width=5.2)
    for axis, bits in zip(axes[0], low, strict=True):
        convergence_axis(axis, cells, bits, (KAQ, SHIPPED, *TRAINED))
    return plots.save(figure, folder, "methods-convergence")


def _plot_steps(cells: Sequence[Cell], folder: Path) -> str:
    order = widths(cells)
    figure, axes = plots.axes(len(order), 2, width=3.4, height=2.6, sharex=True)
    for column, bits in enumerate(order):
        for method in present(cells, bits, (KAQ, SHIPPED)):
            for index, cell in enumerate(of(cells, method, bits)):
                layers = range(1, len(cell["steps"]) + 1)
                for row, key in enumerate(("alpha", "gamma")):
                    axes[row][column].plot(
                        layers,
                        [step[key] for step in cell["steps"]],
                        color=look(method).colour,
                        marker=MARKERS[index % len(MARKERS)],
                        linestyle=":",
                        label=f"{method}, seed {cell['seed']}",
                    )
                    axes[row][column].set_xticks(list(layers))
        axes[0][column].axhline(0, color="0", linewidth=0.8)
        axes[0][column].set_title(f"W{bits}A{bits}", fontsize="medium")
        axes[1][column].set_xlabel("layer")
        for row in (0, 1):
            plots.grid(axes[row][column])
    axes[0][0].set_ylabel("alpha of the step")
    axes[1][0].set_ylabel("gamma of the step")
    handles = axes[0][0].get_legend_handles_labels()
    axes[0][-1].legend(*handles, loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize="small")
    return plots.save(figure, folder, "methods-steps")


def _plot_ablation(cells: Sequence[Cell], folder: Path) -> str:
    low = [bits for bits in widths(cells) if ablations(cells, bits)]
    figure, axes = plots.axes(max(1, len(low)), width=4.6, height=4.2, sharey=True)
    for axis, bits in zip(axes[0], low, strict=False):
        names = ablations(cells, bits)
        for position, (name, base) in enumerate(names.items()):
            interval = ber_ratio(cells, name, base, bits)
            if interval is None:
                continue
            spread = None
            if math.isfinite(interval.high):
                spread = [[interval.value - interval.low], [interval.high - interval.value]]
            colour = look(base).colour
            axis.errorbar(interval.value, position, xerr=spread, marker=look(base).marker, color=colour, capsize=3)
        axis.axvline(1, color="0", linewidth=0.8)
        axis.set_yticks(range(len(names)), [f"{name} / {base}" for name, base in names.items()], fontsize="small")
        axis.set(title=f"W{bits}A{bits}", xlabel=f"BER ratio at {reference_snr(cells):g} dB")
        plots.grid(axis)
    axes[0][0].invert_yaxis()
    return plots.save(figure, folder, "methods-ablation")


def signs(cells: Sequence[Cell], method: str, bits: int) -> tuple[int, int]:
    """How many of a method's alphas at a width, over layers and seeds, are negative; and how many there are."""
    alphas = [step["alpha"] for cell in of(cells, method, bits) for step in cell["steps"]]
    return sum(alpha < 0 for alpha in alphas), len(alphas)


def ratio_text(interval: Interval | None) -> str:
    """A ratio with its interval."""
    if interval is None:
        return "-"
    if not math.isfinite(interval.high):
        return f"{interval.value:.2f} (one seed)"
    return f"{interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def markdown(data: dict[str, Any]) -> str:
    """Plots and tables."""
    cells = data["cells"]
    seeds = sorted({cell["seed"] for cell in cells})
    snr = reference_snr(cells)
    rows = []
    for bits in widths(cells):
        for method in present(cells, bits):
            here = of(cells, method, bits)
            means = [f"{rate.value:.2e}" for rate in pooled(here)]
            loss = over_seeds(here, lambda c: loss_db(c, LEVEL))
            done = over_seeds(here, iterations_to_converge)
            converged = f"{done.value:.0f}" if done is not None and method in (KAQ, SHIPPED, *TRAINED) else "-"
            against = "-" if method == KAQ else ratio_text(ber_ratio(cells, method, KAQ, bits))
            rows.append([f"W{bits}A{bits}", method, *means, md.decibels(loss), against, converged])
    ablation = [
        [
            f"W{bits}A{bits}",
            name,
            base,
            ratio_text(ber_ratio(cells, name, base, bits)),
            _loss_difference(cells, name, base, bits),
        ]
        for bits in widths(cells)
        for name, base in ablations(cells, bits).items()
    ]
    learned = [
        [f"W{bits}A{bits}", method, str(cell["seed"]), *(f"{s['alpha']:+.4f}, {s['gamma']:.4f}" for s in cell["steps"])]
        for bits in widths(cells)
        for method in present(cells, bits, (KAQ, SHIPPED))
        for cell in of(cells, method, bits)
    ]
    layers = len(learned[0]) - 3 if learned else 0
    said = "; ".join("W{0}A{0}: {1} of {2}".format(bits, *signs(cells, KAQ, bits)) for bits in widths(cells))
    return md.joined(
        "Which way to quantize is best? Every method has the same ADMM-Net, twin, batches and iterations, at 16x16, "
        "16-QAM, i.i.d. Rayleigh. BER is measured with the integer detector, on the same transmissions for all methods "
        f"and seeds. So intervals are of the training alone. Seeds: {', '.join(map(str, seeds))}. Intervals are "
        "Student's t over the seeds (95 %), of paired differences where two methods are compared. Widths are of "
        "activations and matrix alike.",
        md.table(["method", "what it is"], [[f"`{name}`", what] for name, what in MEANING.items()]),
        md.figure("methods-ber", "BER versus SNR for every method and width"),
        md.figure(
            "methods-bits", f"BER at {snr:g} dB, and dB lost at BER {LEVEL:g}, versus bits (missing: not reached)"
        ),
        md.table(
            [
                "width",
                "method",
                *(f"BER at {s:g} dB" for s in snrs(cells)),
                f"dB lost at BER {LEVEL:g}",
                f"BER / KAQ's at {snr:g} dB",
                "iterations to converge",
            ],
            rows,
        ),
        f"'Converged' is the first iteration whose squared error is within {100 * (CONVERGED - 1):.0f} % of the "
        "method's own mean over the last tenth of its training.",
        md.figure("methods-convergence", "training error by iteration (mean over the seeds; shaded: their range)"),
        "### Learned steps",
        f"Delta = alpha SNR^(-1/2) + gamma per layer. Negative alphas of `kaq`: {said}. A negative one makes the step "
        "smaller at low SNR.",
        md.figure("methods-steps", "alpha and gamma that KAQ learned, by layer"),
        md.table(["width", "method", "seed", *(f"layer {k + 1}: alpha, gamma" for k in range(layers))], learned),
        "### One part changed",
        md.figure(
            "methods-ablation",
            "BER of each variant over that of its base, paired by seed (above 1: worse)",
        ),
        md.table(
            ["width", "variant", "of", f"BER ratio at {snr:g} dB", f"dB more at BER {LEVEL:g}"],
            ablation,
        ),
        "### Why the distribution match does not help",
        "The table has two means over the seeds, at the end of training. One is the distribution match: the sum over "
        "the layers of the MMD between the activations of the network and of its twin, at the bandwidth of each "
        "method. The other is the squared error of the soft output.",
        "Where the match is weighted, the MMD falls and the squared error rises. So the activations of a quantized "
        "network that detects as well as it can are *not* distributed like its twin's. The network makes up for coarse "
        "steps with other relaxations and dual steps, and the match holds it back from that. The match compares "
        "distributions, not the activations of the same received vector. And the squared error already determines "
        "every parameter (some tens of numbers).",
        "What pays is where the step's law is applied. The SNR of each stream after the linear estimate differs within "
        "one channel. With a step for each stream (`kaq_streams`), the dynamic step beats the static one "
        "(`streams_static`). With one step for all streams it does not.",
        md.table(["width", "method", "MMD", "squared error"], _matches(cells)),
    )


def _matches(cells: Sequence[Cell]) -> list[list[str]]:
    """MMD and squared error at the end of training, by width and method."""
    rows = []
    for bits in widths(cells):
        for method in present(cells, bits, (KAQ, "kaq_no_mmd", "kaq_eps_1", SHIPPED, "streams_mmd", "qat")):
            ends = [cell["history"][-4:] for cell in of(cells, method, bits) if cell["history"]]
            if not ends:
                continue
            mse, mmd = (sum(row[i] for end in ends for row in end) / sum(map(len, ends)) for i in (1, 2))
            rows.append([f"W{bits}A{bits}", method, f"{mmd:.3f}", f"{mse:.4f}"])
    return rows


def _loss_difference(cells: Sequence[Cell], name: str, base: str, bits: int) -> str:
    return md.decibels(paired(of(cells, name, bits), of(cells, base, bits), lambda cell: loss_db(cell, LEVEL)))
