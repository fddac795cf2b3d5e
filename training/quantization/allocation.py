# SPDX-License-Identifier: GPL-3.0-or-later
"""Mixed precision: a width for each product, such that costs are least and a budget is kept."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, TypeVar

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp  # type: ignore[import-untyped]

from gr_kaq.commands.long_run import progress_bar

from ..config import ConfigError

__all__ = [
    "Allocation",
    "Budget",
    "Prices",
    "allocate",
    "allocations",
    "expect_an_allocation",
    "expect_few_allocations",
    "measure_all",
    "prices",
    "regret",
    "regret_table",
    "regrets",
    "total",
]

Allocation = tuple[int, ...]
"""Bits of each product, of both operands."""

Prices = Mapping[int, Sequence[float]]
"""What each product takes, by width."""

UNITS = ("bops", "bytes")

MOST = 4096
"""Allocations that are measured one by one."""

RANDOM_DRAWS = 200

T = TypeVar("T")


@dataclass(frozen=True)
class Budget:
    """What an allocation may use.

    Attributes:
        unit: ``"bops"`` (bit operations: multiplications times the bits of either operand) or ``"bytes"`` (of weights).
        share: of what all products take at the largest width.
    """

    unit: str
    share: float

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Of UNIT:SHARE, such as bops:0.5.

        Raises:
            ConfigError: it is none.
        """
        unit, _, share = text.partition(":")
        try:
            value = float(share)
        except ValueError:
            value = 0.0
        if unit not in UNITS or not 0 < value <= 1:
            raise ConfigError(
                f"--budget {text}: {' or '.join(UNITS)}, a colon and a share above 0, at most 1, expected"
            )
        return cls(unit, value)


def prices(unit: str, multiplications: Sequence[int], weights: Sequence[int], bits: int) -> list[float]:
    """What each product takes at a width."""
    if unit == "bops":
        return [float(count * bits * bits) for count in multiplications]
    return [count * bits / 8 for count in weights]


def total(price: Prices, allocation: Allocation) -> float:
    """What an allocation takes."""
    return sum(price[bits][i] for i, bits in enumerate(allocation))


def allocations(num_products: int, bits: Sequence[int]) -> Iterator[Allocation]:
    """All of them."""
    return itertools.product(bits, repeat=num_products)


def expect_few_allocations(source: str, num_products: int, bits: Sequence[int]) -> None:
    """Raise `ConfigError` where there are more than `MOST` allocations."""
    count = len(bits) ** num_products
    if count > MOST:
        raise ConfigError(f"{source}: {count} allocations; at most {MOST} are measured one by one")


def expect_an_allocation(price: Prices, budget: float) -> None:
    """Raise `ConfigError` where no allocation is within a budget."""
    bits = sorted(price)
    least = sum(map(min, zip(*(price[width] for width in bits), strict=True)))
    if least > budget * (1 + 1e-9):
        raise ConfigError(
            f"the budget is {budget:.4g}; the least that an allocation of {bits} bits takes is {least:.4g}"
        )


def allocate(costs: Sequence[Mapping[int, float]], price: Prices, budget: float) -> Allocation:
    """The allocation of the least sum of costs whose sum of prices is within the budget: an integer programme.

    Args:
        costs: of each product, by width.
        price: of each product.
        budget: of the sum.

    Raises:
        ConfigError: no allocation is within the budget.
    """
    expect_an_allocation(price, budget)
    bits = sorted(price)
    count = len(costs)
    cost = np.array([[product[width] for width in bits] for product in costs]).ravel()
    scale = np.abs(cost).max() or 1.0
    one_each = np.kron(np.eye(count), np.ones(len(bits)))
    taken = np.array([[price[width][i] for width in bits] for i in range(count)]).ravel()
    found = milp(
        cost / scale,
        integrality=np.ones(cost.size),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(taken / budget, -np.inf, 1 + 1e-9)],
        options={"mip_rel_gap": 0.0},
    )
    if found.x is None:
        raise ConfigError(f"the integer programme failed: {found.message}")
    chosen = found.x.reshape(count, len(bits)).argmax(1)
    return tuple(bits[i] for i in chosen)


def measure_all(
    path: Path, of: dict[str, Any], num_products: int, bits: Sequence[int], measure: Callable[[Allocation], T]
) -> dict[Allocation, T]:
    """What every allocation gives, kept in a file; what is there is not measured again.

    Args:
        path: of the file.
        of: what is measured, as JSON-compatible values, with its name.
        num_products, bits: of the allocations.
        measure: gives a JSON-compatible value.

    Raises:
        ConfigError: the file is of something else.
    """
    stored = json.loads(path.read_text("utf-8")) if path.exists() else {"of": of, "measured": {}}
    if stored.get("of") != of:
        raise ConfigError(f"{path}: holds allocations of something else; remove it, or choose another --output")
    measured = stored["measured"]
    wanted = {allocation: " ".join(map(str, allocation)) for allocation in allocations(num_products, bits)}
    missing = [allocation for allocation, key in wanted.items() if key not in measured]
    bar = progress_bar(
        missing, f"{of['name']} allocations", len(wanted), initial=len(wanted) - len(missing), mininterval=0.5
    )
    for i, allocation in enumerate(bar, 1):
        measured[wanted[allocation]] = measure(allocation)
        if i % 8 == 0 or i == len(missing):
            path.write_text(json.dumps(stored), "utf-8")
    return {allocation: measured[key] for allocation, key in wanted.items()}


def regret(
    chosen: Mapping[float, Allocation], loss: Mapping[Allocation, float], price: Mapping[Allocation, float]
) -> dict[float, float]:
    """By how much more than the best allocation within each budget the chosen one loses."""
    return {
        budget: loss[own] - min(value for other, value in loss.items() if price[other] <= budget * (1 + 1e-9))
        for budget, own in chosen.items()
    }


def regrets(
    truth: Mapping[Allocation, float], price: Prices, costs: Mapping[Any, Sequence[Mapping[int, float]]], seed: int
) -> dict[str, Any]:
    """Regret of each score at every budget that some allocation takes exactly, in the unit of the losses.

    Random allocations are those of the budget's that no product can be widened in.

    Args:
        truth: of all allocations, what they lose.
        price: of each product.
        costs: of each product by width, by score.
        seed: of the random ones.
    """
    bits = sorted(price)
    taken = {allocation: total(price, allocation) for allocation in truth}
    budgets = sorted(set(taken.values()))
    found: dict[str, Any] = {}
    for score, own in costs.items():
        chosen = {budget: allocate(own, price, budget) for budget in budgets}
        values = regret(chosen, truth, taken)
        found[score] = {
            "largest": max(values.values()),
            "mean": mean(values.values()),
            "chosen": [[budget, list(chosen[budget]), truth[chosen[budget]]] for budget in budgets],
        }
    generator = random.Random(seed)
    drawn: list[float] = []
    for budget in budgets:
        best = min(loss for allocation, loss in truth.items() if taken[allocation] <= budget)
        full = [a for a in truth if taken[a] <= budget and not any(taken[w] <= budget for w in _wider(a, bits))]
        drawn += [truth[generator.choice(full)] - best for _ in range(RANDOM_DRAWS)]
    found["random"] = {"largest": max(drawn), "mean": mean(drawn), "chosen": []}
    return found


def regret_table(found: Mapping[str, Any]) -> str:
    """What `regrets` gave, in dB, as Markdown."""
    lines = ["| score | largest regret | mean regret |", "|---|---|---|"]
    lines += [f"| {s} | {r['largest']:.3f} dB | {r['mean']:.3f} dB |" for s, r in found.items()]
    return "\n".join(lines)


def _wider(allocation: Allocation, bits: Sequence[int]) -> list[Allocation]:
    """Those with one product a step wider."""
    found = []
    for i, width in enumerate(allocation):
        wider = [other for other in bits if other > width]
        if wider:
            found.append((*allocation[:i], min(wider), *allocation[i + 1 :]))
    return found
