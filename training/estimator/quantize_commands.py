# SPDX-License-Identifier: GPL-3.0-or-later
"""What python -m training does to the full-precision network of an estimator: quantize, compare, losses, allocate."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..config import ConfigError
from ..optimization import DEVICE
from ..page import add_picture, add_results, replace_blocks
from ..quantization.allocation import (
    Budget,
    expect_an_allocation,
    expect_few_allocations,
    regret_table,
    regrets,
    total,
)
from ..quantization.allocation import allocate as choose
from ..quantization.allocation_plot import plot_allocations
from ..quantization.mmd import Mmd
from ..quantization.recipes import Method
from ..workers import opened
from . import compare
from .allocate import SCORES, Problem, Score
from .commands import begin_run
from .config import Config, Quantizer
from .export import held_out_windows
from .figures import plot_losses, plot_ranges
from .losses import Reference, attention_losses, channel_ranges, product_losses
from .network import EstimatorNet
from .sources import RUN_FILE, load_twin
from .train import calibration_windows, quantize, training_windows

__all__ = ["allocate", "compare_methods", "losses", "quantize_network"]

CHECKPOINT = "quantized.checkpoint.pt"


def quantize_network(
    source: str,
    quantizer: Quantizer,
    iterations: int,
    frames: int,
    seed: int,
    name: str | None,
    output: Path,
    *,
    fresh: bool,
) -> None:
    """Quantize a network, and write a run that `export` takes.

    Args:
        source: see `sources.load_twin`.
        quantizer: how.
        iterations: of training; 0 calibrates only.
        frames: to calibrate and train on.
        seed: of everything random.
        name: of the exported estimator; None: that of the network, the method and the bits.
        output: directory of runs.
        fresh: start over.

    Raises:
        ConfigError: there is no such network, or it cannot be quantized so.
    """
    config, twin = _source(source, frames)
    widths = f"w{quantizer.bits}" if not quantizer.widths else "w" + "".join(map(str, quantizer.widths))
    name = name or f"{config.name}-{quantizer.method}-{widths}"
    own = dataclasses.replace(
        config,
        name=name,
        quantizer=quantizer,
        quantized=dataclasses.replace(config.quantized, iterations=iterations),
        mmd=config.mmd if quantizer.law == "dynamic" else Mmd(epsilon=0.0),
        seed=seed,
    )
    directory = output / name
    begin_run(own, directory, [directory / CHECKPOINT, directory / RUN_FILE], fresh=fresh)
    data = training_windows(own)
    network, history = quantize(own, data, twin, checkpoint=directory / CHECKPOINT)
    state = {"twin": twin.cpu().state_dict(), "network": network.cpu().state_dict()}
    torch.save(state, directory / RUN_FILE)
    reference = Reference(twin, held_out_windows(own))
    loss = reference.loss(network)
    result = {"db": loss.db, "interval": loss.interval, "twin_db": reference.db, "history": history}
    (directory / "quantize.json").write_text(json.dumps(result, indent=1), "utf-8")
    print(f"full precision {reference.db:+.3f} dB relative to LMMSE; quantized {loss.db:+.3f} ± {loss.interval:.3f} dB")
    print(f"wrote {directory}; export with: python -m training export {directory}")


def compare_methods(
    source: str,
    iterations: int,
    seeds: int,
    bits: Sequence[int],
    frames: int,
    output: Path,
    page: Path | None,
    jobs: int,
    cluster: str | None,
) -> None:
    """Quantize a network by several methods, those that are missing; write a table and a plot of all.

    Args:
        source: see `sources.load_twin`.
        iterations: of trained methods; 0 leaves those out.
        seeds: of trained methods, from that of the network's configuration on.
        bits: widths.
        frames: to calibrate and train on.
        output: directory; the results go into a folder named after the network.
        page: Markdown file that gets the table, see `page.replace_blocks`.
        jobs, cluster: see `training.workers.opened`.

    Raises:
        ConfigError: there is no such network, or the page has no place for the table.
        KeyboardInterrupt: interrupted; what is finished was printed.
    """
    config, _ = _source(source, frames)
    unknown = sorted(set(bits) - set(compare.BITS))
    if unknown or not bits:
        raise ConfigError(f"--bits {' '.join(map(str, bits))}: some of {', '.join(map(str, compare.BITS))} expected")
    directory = output / config.name
    own_seeds = range(config.seed, config.seed + seeds)
    wanted = compare.cells(bits, own_seeds, trained=iterations > 0)
    missing = [cell for cell in wanted if not (directory / cell.file).exists()]
    try:
        with opened(jobs, cluster, max(1, len(missing))) as workers:
            compare.run(source, frames, missing, iterations, directory, workers)
    except KeyboardInterrupt:
        if found := compare.results(directory):
            print(compare.table(found))
        raise KeyboardInterrupt(f"the same command goes on from what is in {directory}") from None
    results = compare.results(directory)
    text = compare.table(results)
    print(text)
    plot_losses(results, directory / "losses.png")
    if page is not None:
        replace_blocks(page, {f"methods {config.name}": text})
        add_picture(page, directory / "losses.png", f"losses-{config.name}")
        compact = [{key: value for key, value in cell.items() if key != "laws"} for cell in results]
        add_results(page, "methods.json", config.name, compact)
    print(f"wrote {directory}")


def losses(source: str, quantizer: Quantizer, frames: int, output: Path, page: Path | None) -> None:
    """Measure which product loses what, and the ranges of the channels; print and write tables and a plot.

    Raises:
        ConfigError: there is no such network, or the page has no place for the tables.
    """
    config, twin = _source(source, frames)
    config = dataclasses.replace(
        config, quantizer=quantizer, quantized=dataclasses.replace(config.quantized, iterations=0)
    )
    data, reference = calibration_windows(config), Reference(twin, held_out_windows(config))
    found: dict[str, Any] = {
        "bits": quantizer.bits,
        "method": quantizer.method,
        "twin_db": reference.db,
        "losses": product_losses(config, twin, data, reference),
        "ranges": channel_ranges(config, twin, data),
        "attention": attention_losses(twin, quantizer.bits, reference),
    }
    directory = output / config.name
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"products-{quantizer.method}-{quantizer.bits}bit.json"
    path.write_text(json.dumps(found, indent=1), "utf-8")
    picture = directory / f"ranges-{quantizer.method}-{quantizer.bits}bit.png"
    plot_ranges(found["ranges"], picture)
    text = _product_table(found)
    print(text)
    if page is not None:
        replace_blocks(page, {f"products {config.name}": text})
        add_picture(page, picture, f"ranges-{config.name}")
    print(f"wrote {path}")


def allocate(
    source: str,
    budget: Budget,
    score: Score,
    bits: Sequence[int],
    method: Method,
    frames: int,
    output: Path,
    page: Path | None,
    *,
    truth: bool,
) -> None:
    """Choose a width for each product within a budget; on demand, measure all allocations and every score's regret.

    Raises:
        ConfigError: there is no such network, no allocation within the budget, or there are too many to measure.
    """
    config, twin = _source(source, frames)
    bits = sorted(set(bits))
    quantizer = [Quantizer(law="static", method=method, bits=width) for width in bits][-1]
    config = dataclasses.replace(config, quantizer=quantizer)
    if truth:
        expect_few_allocations(source, len(twin.products()), bits)
    held_out = held_out_windows(config)
    problem = Problem(config, twin, bits, calibration_windows(config), Reference(twin, held_out))
    price, whole = problem.price(budget.unit), problem.whole(budget.unit)
    limit = budget.share * whole
    expect_an_allocation(price, limit)
    scored: list[Score] = [s for s in SCORES if s != "random"] if truth else [score]
    costs = {name: problem.costs(name) for name in scored}
    chosen = choose(costs[score], price, limit)
    loss = problem.reference.loss(problem.network(chosen))
    for name, width in zip(problem.names, chosen, strict=True):
        print(f"{name:20s}{width:2d} bits")
    share = total(price, chosen) / whole
    print(f"{budget.unit} {share:.3f} of 8 bits everywhere, {loss.db:+.3f} ± {loss.interval:.3f} dB after calibration")
    print(f"quantize with: --method {method} --widths {' '.join(map(str, chosen))}")
    directory = output / config.name
    directory.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {
        "names": problem.names,
        "bits": list(bits),
        "method": method,
        "unit": budget.unit,
        "budget": limit,
        "score": score,
        "chosen": list(chosen),
        "db": loss.db,
        "interval": loss.interval,
        "costs": costs,
    }
    if truth:
        measured = problem.truth(directory / f"allocations-{method}-{''.join(map(str, bits))}.json")
        found["regrets"] = regrets(measured, price, costs, config.seed)
        picture = directory / f"allocations-{budget.unit}.png"
        plot_allocations(measured, price, found["regrets"], budget.unit, whole, picture)
        text = regret_table(found["regrets"])
        print(text)
        if page is not None:
            replace_blocks(page, {f"regret {config.name} {budget.unit}": text})
            if budget.unit == "bops":  # bytes are shown as a table only
                add_picture(page, picture, f"allocations-{config.name}")
    (directory / f"allocate-{budget.unit}.json").write_text(json.dumps(found, indent=1), "utf-8")
    print(f"wrote {directory}")


def _source(source: str, frames: int) -> tuple[Config, EstimatorNet]:
    if frames < 1:
        raise ConfigError(f"--frames is {frames}; at least 1 expected")
    config, twin = load_twin(source)
    return dataclasses.replace(config, frames=frames), twin.to(DEVICE)


def _product_table(found: dict[str, Any]) -> str:
    ranges = {entry["product"]: entry for entry in found["ranges"]}
    lines = [
        f"The twin: {found['twin_db']:+.3f} dB relative to LMMSE. {found['bits']} bits, `{found['method']}`.",
        "",
        "| product | behind | weights | activations | channels, max / median | the same, folded |",
        "|---|---|---|---|---|---|",
    ]
    for entry in found["losses"]:
        if entry["product"] == "all":
            whole = entry["both"]
            lines.append(f"| all | | {whole['db']:+.3f} ± {whole['interval']:.3f} dB, both | | | |")
            continue
        own = ranges[entry["product"]]
        cells = " | ".join(
            f"{entry[part]['db']:+.3f} ± {entry[part]['interval']:.3f} dB" for part in ("weights", "activations")
        )
        lines.append(
            f"| {entry['product']} | {own['feed']} | {cells} | {own['max_over_median']:.2f} | "
            f"{own['max_over_median_after']:.2f} |"
        )
    lines += [
        f"| attention's weights, {entry['levels']} | softmax | | {entry['db']:+.3f} ± {entry['interval']:.3f} dB | | |"
        for entry in found["attention"]
    ]
    return "\n".join(lines)
