# SPDX-License-Identifier: GPL-3.0-or-later
"""Forecasts by channel clustering, after CCM (Zhao et al., arXiv 2404.01340), for complex series.

    autocorrelations -> MLP -> h_i              similarity to prototypes -> p_ik        Bernoulli(p_ik): who is of which
    prototypes attend to their members          what its prototypes know goes back to the series
    theta_i = sum over heads j of q_ij theta_j  forecast_i = theta_i x_i                q_ij from both

What the paper has of raw series is here of autocorrelations: independent taps that fade alike have nothing else in
common. The heads are filters, and start as those of Wiener for some Dopplers and SNRs.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from gr_kaq.forecasting.ccm import FEATURES, HISTORY, HORIZONS, LAGS
from gr_kaq.forecasting.fading import Fading
from gr_kaq.forecasting.series import Series
from gr_kaq.forecasting.wiener import known_wiener

from ..quantization.product import Product

__all__ = ["ForecasterNet", "cluster_loss"]

WIDTH, GATE, PROTOTYPES = 48, 128, 8
HEAD_DOPPLERS = (*np.geomspace(0.001, 0.08, 16), *np.linspace(0.1, 0.46, 14))
HEAD_SNRS_DB = (-5.0, 8.0, 20.0, 32.0)
HEADS = len(HEAD_DOPPLERS) * len(HEAD_SNRS_DB)
TEMPERATURE = 0.5  # of the relaxed Bernoulli
SCALE = 0.1  # of the similarity: squared distance of autocorrelations per lag


class ForecasterNet(nn.Module):
    """The network.

    Args:
        bits: of the operands of its products; None: floating point.
    """

    def __init__(self, bits: int | None = None):
        super().__init__()

        def product(inputs: int, outputs: int, unsigned: bool = False) -> Product:
            return Product(inputs, outputs, bits, "static", unsigned)

        self.prototypes = nn.Parameter(torch.randn(PROTOTYPES, WIDTH) * WIDTH**-0.5)
        self.embed = product(FEATURES, 2 * WIDTH)
        self.embed_again = product(2 * WIDTH, WIDTH, unsigned=True)
        self.keys = product(WIDTH, WIDTH)
        self.values = product(WIDTH, WIDTH)
        self.gate = product(2 * WIDTH, GATE)
        self.choose = product(GATE, HEADS, unsigned=True)
        self.errors = product(GATE, HORIZONS, unsigned=True)
        self.heads = product(HEADS, 2 * HORIZONS * HISTORY, unsigned=True)
        self.sharpness = nn.Parameter(torch.tensor(1.0))
        with torch.no_grad():
            self.heads.weight.copy_(_wiener_heads())
            nn.init.constant_(self.errors.bias, -2.0)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """Filters complex (B, S, HORIZONS, HISTORY), log error over power (B, S, HORIZONS), memberships (B, S, K).

        The last is the left operand of every product with weights, in their order.

        Args:
            features: (B, S, FEATURES), see `gr_kaq.forecasting.ccm`.
        """
        seen: list[Tensor] = []
        root = torch.ones(len(features))
        h = self.embed_again(self.embed(features, root, seen).relu(), root, seen)
        c = self.prototypes
        cosine = (h / h.norm(dim=-1, keepdim=True).clamp_min(1e-6)) @ (c / c.norm(dim=-1, keepdim=True)).T
        logits = 4 * self.sharpness * cosine
        p = torch.softmax(logits, -1)
        mask = p
        if self.training:  # reparametrised Bernoulli
            uniform = torch.rand_like(p).clamp(1e-6, 1 - 1e-6)
            odds = torch.log(p.clamp(1e-6, 1 - 1e-6)) - torch.log1p(-p.clamp(1e-6, 1 - 1e-6))
            mask = torch.sigmoid((odds + torch.log(uniform) - torch.log1p(-uniform)) / TEMPERATURE)
        scores = c @ self.keys(h, root, seen).transpose(-1, -2) * WIDTH**-0.5  # (B, K, S)
        attention = torch.softmax(scores, -1) * mask.transpose(-1, -2)
        attention = attention / attention.sum(-1, keepdim=True).clamp_min(1e-6)
        updated = c + attention @ self.values(h, root, seen)
        known = torch.cat([h, p @ updated], -1)
        hidden = self.gate(known, root, seen).relu()
        q = torch.softmax(self.choose(hidden, root, seen), -1)
        log_errors = self.errors(hidden, root, seen)
        flat = self.heads(q, root, seen).unflatten(-1, (2, HORIZONS, HISTORY))
        return torch.complex(flat[..., 0, :, :], flat[..., 1, :, :]), log_errors, p, seen

    def products(self) -> dict[str, Product]:
        """Every product with weights, by name, in the order of `forward`."""
        return {name: module for name, module in self.named_modules() if isinstance(module, Product)}


def cluster_loss(features: Tensor, p: Tensor) -> Tensor:
    """-tr(P^T S P) + tr((I - P P^T) S), over the number of pairs: alike series together, others apart."""
    shape = features[..., : 2 * LAGS]
    distance = torch.cdist(shape, shape) ** 2 / LAGS
    similarity = torch.exp(-distance / (2 * SCALE))
    together = p @ p.transpose(-1, -2)
    pairs = features.shape[-2] ** 2
    diagonal = torch.diagonal(similarity, dim1=-2, dim2=-1).sum(-1)
    return torch.mean((diagonal - 2 * (together * similarity).sum((-1, -2))) / pairs)


def _wiener_heads() -> Tensor:
    """Weights (2 HORIZONS HISTORY, HEADS) of filters that are best for some Dopplers and SNRs."""
    ages, ahead = np.arange(1 - HISTORY, 1.0), np.arange(1.0, HORIZONS + 1)
    columns = []
    for doppler in HEAD_DOPPLERS:
        for snr_db in HEAD_SNRS_DB:
            unit = Series(ages, np.eye(HISTORY), 10 ** (-snr_db / 10))
            forecast = known_wiener(unit, ahead, Fading(float(doppler)).correlation, np.ones(HISTORY))
            filters = forecast.values.T  # (HORIZONS, HISTORY)
            columns.append(np.stack([filters.real, filters.imag]).ravel())
    return torch.tensor(np.stack(columns, axis=1), dtype=torch.float32)
