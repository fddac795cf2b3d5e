# SPDX-License-Identifier: GPL-3.0-or-later
"""What the processor allows: its clock and its multiply-adds per second, and how long the detectors take at best.

A multiply-add is one of real numbers; a product of complex numbers takes four. At best, nothing else takes time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import contestants as c
from .timing import Spread, Timed, ratio, spread

__all__ = ["CLOCK", "PEAK", "at_best", "best_ratio", "clock_ghz", "contestants", "multiply_adds", "peak"]

PEAK, CLOCK = "peak of", "clock cycle"
ITERATIONS = 1000  # of a microbenchmark's loop, some 50 microseconds
CYCLES_PER_ITERATION = 64  # of the one that shows the clock
GRAM, INVERSE, MATRIX, FILTER, LAYERS = "Gram matrix", "inverse", "filter matrix", "filter", "layers"
"""Stages that multiply, as kaq_speed names them."""

Results = dict[str, Any]


def contestants() -> dict[str, c.Variants]:
    """The instructions that multiply and add, a unit being one multiply-add, and the clock: to be measured in turns
    with what they limit."""

    def of_peak(index: int, multiply_adds: int) -> c.Variants:
        def run(repeats: int) -> float:
            return float(c.kernels().time_dot_product(index, ITERATIONS * repeats))

        yield lambda: Timed(run, ITERATIONS * multiply_adds)

    def of_clock() -> c.Variants:
        def run(repeats: int) -> float:
            return float(ITERATIONS * CYCLES_PER_ITERATION * repeats / c.kernels().clock_rate(ITERATIONS * repeats))

        yield lambda: Timed(run, ITERATIONS * CYCLES_PER_ITERATION)

    dots = c.kernels().dot_products()
    found = {f"{PEAK} {dot.name}": of_peak(i, dot.multiply_adds) for i, dot in enumerate(dots) if dot.available}
    return found | {CLOCK: of_clock()}


def peak(results: Results, operand: str) -> tuple[str, list[float]] | None:
    """The fastest instruction for `operand`, and its ns per multiply-add in each round. For int8, int16 where the
    processor has none."""
    start = f"{PEAK} {operand} "
    found = [
        (name.removeprefix(f"{PEAK} "), of["ns"])
        for name, of in results.items()
        if name.startswith(start) and "ns" in of
    ]
    if not found and operand == "int8":
        return peak(results, "int16")
    return min(found, key=lambda item: min(item[1]), default=None)


def clock_ghz(results: Results) -> float | None:
    """By the median of the rounds: a round that was disturbed would scale what it did not disturb."""
    cycles = results.get(CLOCK, {}).get("ns")
    return 1 / spread(cycles).median if cycles else None


def multiply_adds(num_rx: int, num_tx: int, num_vectors: int, num_layers: int = 0) -> dict[str, float]:
    """Multiply-adds per vector of an ADMM-Net's stages; without layers, of LMMSE. T vectors share an estimate's."""
    n = num_tx
    # Cholesky factor, its inverse, and the product of that with itself
    inverse = 2 * (n**3 - n) / 6 + n * (n + 1) * (n + 2) / 6
    one_matrix = num_vectors > num_rx  # as kaq::Plan decides
    return {
        GRAM: 4 * num_rx * n * (n + 1) / 2 / num_vectors,
        INVERSE: 4 * inverse / num_vectors,
        MATRIX: 4 * num_rx * n * n / num_vectors if one_matrix else 0,
        FILTER: 4 * (num_rx * n + (0 if one_matrix else n * n)),
        LAYERS: num_layers * (2 * n) ** 2,
    }


def at_best(results: Results, work: Mapping[str, float], precision: str = "fp32") -> list[float] | None:
    """ns of the work in each round, at the peaks of that round; the layers' in `precision`, all else in fp32."""
    fp32, of_layers = peak(results, "fp32"), peak(results, precision)
    if fp32 is None or of_layers is None:
        return None
    in_layers = work.get(LAYERS, 0)
    others = sum(work.values()) - in_layers
    return [others * a + in_layers * b for a, b in zip(fp32[1], of_layers[1], strict=True)]


def best_ratio(results: Results, work: Mapping[str, float]) -> Spread | None:
    """How many times as long fp32 takes as int8 where both are at their peaks."""
    fp32, int8 = at_best(results, work), at_best(results, work, "int8")
    return ratio(fp32, int8) if fp32 and int8 else None
