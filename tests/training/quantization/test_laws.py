# SPDX-License-Identifier: GPL-3.0-or-later
"""Laws: alpha SNR^(-1/2) + gamma, within bounds."""

from __future__ import annotations

import pytest
import torch

from training.quantization.laws import Law

pytestmark = pytest.mark.training


def test_a_law_is_alpha_and_gamma_within_bounds():
    law = Law(2, 1.0, 0.5, 9.0, "dynamic")
    law.load(torch.tensor([2.0, -3.0]), torch.tensor([1.0, 4.0]))
    values = law(torch.tensor([0.1, 1.0, 10.0]))
    assert values.tolist() == [pytest.approx(row) for row in ([1.2, 3.7], [3.0, 1.0], [9.0, 0.5])]


def test_a_law_starts_at_what_was_calibrated():
    law = Law(2, 1.0, 0.0, 9.0, "dynamic")
    law.start_at(torch.tensor([0.25, 3.0]))
    assert law.alpha.tolist() == [0, 0] and law.gamma.tolist() == [0.25, 3.0]
    assert law(torch.tensor([0.7])).tolist() == [[0.25, 3.0]]


def test_the_alpha_of_a_static_law_is_not_trained():
    law = Law(1, 1.0, 0.0, 9.0, "static")
    assert not law.relative_alpha.requires_grad and law.relative_gamma.requires_grad


def test_a_positive_alpha_is_kept():
    law = Law(2, 1.0, 0.0, 9.0, "dynamic_positive")
    with torch.no_grad():
        law.relative_alpha.copy_(torch.tensor([-0.3, 0.2]))
    law.constrain()
    assert law.alpha.tolist() == pytest.approx([0, 2])
