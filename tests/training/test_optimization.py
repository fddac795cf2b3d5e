# SPDX-License-Identifier: GPL-3.0-or-later
"""What both networks descend by."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from training.config import InvalidKey
from training.optimization import Stage, descend, learning_rate
from training.quantization.laws import Law

pytestmark = pytest.mark.training


def test_learning_rates():
    halving = Stage(50, 1e-3, halve_every=10)
    assert [learning_rate(halving, i) for i in (0, 9, 10, 49)] == [1e-3, 1e-3, 5e-4, 1e-3 / 16]
    cosine = Stage(50, 1e-3)
    assert learning_rate(cosine, 0) == 1e-3
    assert learning_rate(cosine, 25) == pytest.approx(5e-4)


def test_a_step_clips_the_gradient_and_keeps_laws_to_what_they_may_be():
    law = Law(1, 1.0, 0.0, 9.0, "dynamic_positive")
    optimizer = torch.optim.SGD(law.parameters(), lr=100.0)
    descend(optimizer, 0.5, 1e6 * law(torch.tensor([0.1])).sum(), nn.ModuleDict({"law": law}))
    assert law.alpha.item() == 0  # the loss falls with alpha
    assert law.gamma.item() == pytest.approx(1 - 0.5 / 2**0.5)  # both gradients are the same, and their norm 1


def test_a_stage_has_no_negative_number_of_iterations():
    with pytest.raises(InvalidKey, match="key iterations: at least 0 expected, got -1"):
        Stage(-1, 0.1)
