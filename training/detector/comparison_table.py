# SPDX-License-Identifier: GPL-3.0-or-later
"""What a comparison found: a table of bit error rates, and the loss to full precision in dB."""

from __future__ import annotations

import itertools
import math
from typing import Any

__all__ = ["curve", "loss_db", "table"]

LOSS_AT_BER = 1e-2


def loss_db(result: dict[str, Any], ber: float = LOSS_AT_BER) -> float | None:
    """How much more SNR a cell needs for a BER than its twin, in dB; None where one of them does not get there.

    Between the measured SNRs, the logarithm of the BER is taken to be linear in dB.
    """
    quantized, twin = (_snr_at(curve(result, detector), ber) for detector in ("quantized", "full_precision"))
    return None if quantized is None or twin is None else quantized - twin


def table(cells: list[dict[str, Any]]) -> str:
    """Mean BER over the seeds, and the loss to full precision with its range over the seeds."""
    lines = []
    for bits in sorted({cell["bits"] for cell in cells}, reverse=True):
        here = [cell for cell in cells if cell["bits"] == bits]
        snrs = list(curve(here[0], "quantized"))
        wide = max(len(name) for name in ["full_precision", *(cell["method"] for cell in here)])
        head = "".join(f"{snr:>7g} dB" for snr in snrs)
        lines += ["", f"{bits} bits: BER at SNR, loss at BER {LOSS_AT_BER:g} (mean, range over seeds)"]
        lines.append(f"  {'':{wide}}{head}   loss")
        first = {cell["seed"]: cell for cell in here}.values()
        rows = {name: [curve(cell, name) for cell in first] for name in ("lmmse", "full_precision")}
        for method in sorted({cell["method"] for cell in here}):
            rows[method] = [curve(cell, "quantized") for cell in here if cell["method"] == method]
        for name, curves in rows.items():
            means = "".join(f"{sum(curve[snr] for curve in curves) / len(curves):10.2e}" for snr in snrs)
            losses = [loss_db(cell) for cell in here if cell["method"] == name]
            reached = [loss for loss in losses if loss is not None]
            said = ""
            if losses:
                said = f"not reached by {len(losses) - len(reached)} of {len(losses)} seeds"
            if reached and len(reached) == len(losses):
                mean = sum(reached) / len(reached)
                said = f"{mean:.2f} dB ({min(reached):.2f} to {max(reached):.2f}, {len(reached)} seeds)"
            lines.append(f"  {name:{wide}}{means}   {said}".rstrip())
    return "\n".join(lines[1:])


def curve(result: dict[str, Any], detector: str) -> dict[float, float]:
    """BER by SNR, over all sizes and channels together."""
    errors: dict[float, int] = {}
    bits: dict[float, int] = {}
    for r in (r for r in result["ber"] if r["detector"] == detector):
        errors[r["snr_db"]] = errors.get(r["snr_db"], 0) + r["bit_errors"]
        bits[r["snr_db"]] = bits.get(r["snr_db"], 0) + r["bits"]
    return {snr: errors[snr] / bits[snr] for snr in sorted(errors)}


def _snr_at(curve: dict[float, float], ber: float) -> float | None:
    points = list(curve.items())
    for (snr, above), (next_snr, below) in itertools.pairwise(points):
        if above >= ber > below > 0:
            return snr + (next_snr - snr) * math.log(above / ber) / math.log(above / below)
    return None
