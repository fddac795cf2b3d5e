# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of a comparison: losses between the measured SNRs, means and ranges over the seeds."""

from __future__ import annotations

import pytest

from training.detector.comparison_table import loss_db, table

pytestmark = pytest.mark.training


def cell(quantized, twin, **more):
    def part(detector, rates):
        return [
            {"detector": detector, "snr_db": snr, "bit_errors": round(1e6 * rate), "bits": 10**6}
            for snr, rate in rates.items()
        ]

    lmmse = part("lmmse", dict.fromkeys(twin, 0.1))
    ber = part("quantized", quantized) + part("full_precision", twin) + lmmse
    return {"method": "kaq", "bits": 4, "seed": 1, "ber": ber, **more}


def test_loss_is_interpolated_in_the_logarithm():
    twin = {10.0: 1e-1, 20.0: 1e-3}  # 1e-2 at 15 dB
    late = cell({10.0: 1e-1, 20.0: 1e-2, 22.0: 1e-3}, twin)
    assert loss_db(late) == pytest.approx(5.0)
    assert loss_db(cell(twin, twin)) == pytest.approx(0.0)
    never = cell({10.0: 1e-1, 20.0: 2e-2}, twin, seed=2)
    assert loss_db(never) is None
    assert "not reached by 1 of 1" in table([never])
    other = cell({10.0: 1e-1, 20.0: 2e-3}, twin, seed=2)
    text = table([cell(twin, twin), other])
    loss = loss_db(other)
    assert f"{loss / 2:.2f} dB (0.00 to {loss:.2f}, 2 seeds)" in text
    assert "1.50e-03" in text  # mean of 1e-3 and 2e-3
