# SPDX-License-Identifier: GPL-3.0-or-later
"""Laws: values that follow the SNR, alpha SNR^(-1/2) + gamma, with alpha and gamma to be trained."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["Law", "LawKind"]

LawKind = Literal["dynamic", "dynamic_positive", "static"]
"""What alpha may be: any number, at least 0 (for a law that starts positive), or 0."""

REFERENCE_ROOT = 0.1
"""SNR^(-1/2) at 20 dB. Laws are trained as scale (alpha SNR^(-1/2) / REFERENCE_ROOT + gamma), so that a step of Adam
changes either part by about as much."""


class Law(nn.Module):
    """alpha SNR^(-1/2) + gamma for each of `num_layers` layers.

    Args:
        num_layers: K, or 1 for what the layers share.
        start: value that gamma starts from: one, or one per layer.
        low, high: bounds of the value.
        kind: what alpha may be.
    """

    scale: Tensor

    def __init__(self, num_layers: int, start: float | Tensor, low: float, high: float, kind: LawKind):
        super().__init__()
        self.low, self.high, self.kind = low, high, kind
        self.register_buffer("scale", torch.ones(num_layers))
        self.relative_alpha = nn.Parameter(torch.zeros(num_layers), requires_grad=kind != "static")
        self.relative_gamma = nn.Parameter(torch.ones(num_layers) * start)

    def forward(self, root: Tensor) -> Tensor:
        """Values (B, num_layers) at SNR^(-1/2) of shape (B,)."""
        value = self.scale * (self.relative_alpha * (root[:, None] / REFERENCE_ROOT) + self.relative_gamma)
        return value.clamp(self.low, self.high)

    @torch.no_grad()
    def start_at(self, gamma: Tensor) -> None:
        """Make gamma (num_layers,) the value and the unit of this law, and alpha 0."""
        self.scale.copy_(gamma)
        self.relative_alpha.zero_()
        self.relative_gamma.fill_(1.0)

    @torch.no_grad()
    def load(self, alpha: Tensor, gamma: Tensor) -> None:
        """Start from these, (num_layers,) each."""
        self.relative_alpha.copy_(alpha * REFERENCE_ROOT / self.scale)
        self.relative_gamma.copy_(gamma / self.scale)

    @torch.no_grad()
    def constrain(self) -> None:
        """After a step of the optimizer: take alpha back to where it may be."""
        if self.kind == "dynamic_positive":
            self.relative_alpha.clamp_(min=0)

    @property
    def alpha(self) -> Tensor:
        """(num_layers,)."""
        return (self.scale * self.relative_alpha / REFERENCE_ROOT).detach()

    @property
    def gamma(self) -> Tensor:
        """(num_layers,)."""
        return (self.scale * self.relative_gamma).detach()
