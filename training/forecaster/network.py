# SPDX-License-Identifier: GPL-3.0-or-later
"""Forecasts by channel clustering, after CCM (Zhao et al., arXiv 2404.01340), for complex series.

    likelihood l_ij of each Fading j for each series i
    similarity to prototypes   s_ik = sum over j of c_kj l_ij           membership p_ik = w_k s_ik, normalised
    Bernoulli(p_ik)            who is of which                          w_k: the mean membership
    masked attention           c_kj = product over the members i of l_ij, normalised
    heads                      theta_i = sum over j of q_ij theta_j     q_ij = l_ij sum over k of p_ik / s_ik c_kj

What the paper has of raw series is here of their likelihoods: independent taps that fade alike have nothing else in
common. A prototype says how its members fade; the more there are, the surer it is. The heads are filters, and start as
those of Wiener for each `Fading` at some SNRs; each series has the few that are the most likely. A perceptron corrects
which.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from gr_kaq.forecasting.ccm import FADINGS, FEATURES, HISTORY, HORIZONS, LAGS, LEAST_LIKELY
from gr_kaq.forecasting.series import Series
from gr_kaq.forecasting.wiener import known_wiener

from ..quantization.product import Product
from ..quantization.quantizers import fake_quantize_rows
from .rounding import GROUP

__all__ = ["CANDIDATES", "NOISE_LEVELS", "ForecasterNet", "cluster_loss"]

WIDTH, PROTOTYPES, ROUNDS = 96, 8, 2
CANDIDATES = len(FADINGS)
NOISE_STEP = 0.6
NOISE_LEVELS = np.arange(-3.6, 1.3, NOISE_STEP)  # logarithms of the noise over the power
MIXED = 4  # heads of a series, each at two noise levels
SHOWN = 1 / 16  # of the log-likelihoods, to the perceptron
PROTOTYPE_DOPPLERS, PROTOTYPE_WIDTH = np.geomspace(8e-4, 0.4, PROTOTYPES), 0.8  # they start so, in nepers
LEAST_WEIGHT, LEAST = 1e-3, 1e-18  # its square can still be divided by, as gradients are
TEMPERATURE = 0.5  # of the relaxed Bernoulli
SCALE = 0.1  # of the similarity: squared distance of autocorrelations per lag


class ForecasterNet(nn.Module):
    """The network.

    Args:
        bits: of the operands of its products, and of the heads; None: floating point.
    """

    def __init__(self, bits: int | None = None):
        super().__init__()
        self.bits = bits
        self.prototypes = nn.Parameter(_doppler_prototypes())  # (PROTOTYPES, CANDIDATES), logarithms
        self.embed = Product(FEATURES + CANDIDATES, WIDTH, bits, "static")
        self.choose = Product(WIDTH, CANDIDATES, bits, "static", unsigned=True)
        self.own, self.shared = nn.Parameter(torch.tensor(1.0)), nn.Parameter(torch.tensor(1.0))
        heads, log_errors = _wiener_heads()
        self.heads = nn.Parameter(heads)  # (CANDIDATES levels, 2 HORIZONS, HISTORY)
        self.log_errors = nn.Parameter(log_errors)  # (CANDIDATES levels, HORIZONS)
        with torch.no_grad():
            self.choose.weight.mul_(0.1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """Filters complex (B, S, HORIZONS, HISTORY), log error over power (B, S, HORIZONS), memberships (B, S, K).

        The last is the left operand of every product with weights, in their order.

        Args:
            features: (B, S, FEATURES), see `gr_kaq.forecasting.ccm`.
        """
        seen: list[Tensor] = []
        log_likely = self.own * features[..., :CANDIDATES]
        likely = log_likely.exp()
        c = torch.softmax(self.prototypes, -1).expand(len(features), -1, -1)
        weights = features.new_full((len(features), 1, PROTOTYPES), 1 / PROTOTYPES)
        for _ in range(ROUNDS):
            similarity = weights * (likely @ c.transpose(-1, -2))
            p = similarity / similarity.sum(-1, keepdim=True).clamp_min(LEAST)
            members = (_bernoulli(p) if self.training else p).transpose(-1, -2)
            c = torch.softmax(self.prototypes + self.shared * (members @ log_likely), -1)
            weights = p.mean(-2, keepdim=True).clamp_min(LEAST_WEIGHT)
        similarity = weights * (likely @ c.transpose(-1, -2))
        total = similarity.sum(-1, keepdim=True).clamp_min(LEAST)
        p = similarity / total
        odds = log_likely + torch.log(((weights / total) @ c).clamp_min(LEAST))
        said = (odds - odds.amax(-1, keepdim=True)).clamp_min(LEAST_LIKELY)
        shown = torch.cat([SHOWN * features[..., :CANDIDATES], features[..., CANDIDATES:], SHOWN * said], -1)
        root = features.new_ones(len(features))
        hidden = self.embed(shown, root, seen).relu()
        top, which = torch.topk(said + self.choose(hidden, root, seen), MIXED, -1)
        level, share = noise_level(features[..., -1])
        places = (
            which[..., None] * len(NOISE_LEVELS) + level[..., None, None] + torch.arange(2, device=level.device)
        ).flatten(-2)
        q = torch.softmax(top, -1)[..., None] * torch.stack([1 - share, share], -1)[..., None, :]
        q = q.flatten(-2)[..., None]  # (B, S, 2 MIXED, 1)
        mixed = (q[..., None] * self._heads()[places]).sum(-3)
        log_errors = (q * self.log_errors[places]).sum(-2)
        return torch.complex(*mixed.unflatten(-2, (2, HORIZONS)).unbind(-3)), log_errors, p, seen

    def _heads(self) -> Tensor:
        if self.bits is None:
            return self.heads
        groups = self.heads.unflatten(-1, (-1, GROUP))
        return fake_quantize_rows(groups, self.bits, groups.new_ones(())).flatten(-2)

    def products(self) -> dict[str, Product]:
        """Every product with weights, by name, in the order of `forward`."""
        return {name: module for name, module in self.named_modules() if isinstance(module, Product)}


def _bernoulli(p: Tensor) -> Tensor:
    """Reparametrised draws."""
    p, uniform = p.clamp(1e-6, 1 - 1e-6), torch.rand_like(p).clamp(1e-6, 1 - 1e-6)
    return torch.sigmoid((torch.logit(p) + torch.logit(uniform)) / TEMPERATURE)


def noise_level(log_noise: Tensor) -> tuple[Tensor, Tensor]:
    """From the last feature: the level of noise over power below, and the share of the one above it."""
    noise = 10**log_noise
    power = torch.maximum(1 - noise, noise / HISTORY)
    at = ((torch.log10(noise / power) - float(NOISE_LEVELS[0])) / NOISE_STEP).clamp(0, len(NOISE_LEVELS) - 1)
    level = at.floor().clamp(max=len(NOISE_LEVELS) - 2)
    return level.long(), at - level


def cluster_loss(features: Tensor, p: Tensor) -> Tensor:
    """-tr(P^T S P) + tr((I - P P^T) S), over the number of pairs: alike series together, others apart."""
    shape = features[..., CANDIDATES : CANDIDATES + 2 * LAGS]
    distance = torch.cdist(shape, shape) ** 2 / LAGS
    similarity = torch.exp(-distance / (2 * SCALE))
    together = p @ p.transpose(-1, -2)
    pairs = features.shape[-2] ** 2
    diagonal = torch.diagonal(similarity, dim1=-2, dim2=-1).sum(-1)
    return torch.mean((diagonal - 2 * (together * similarity).sum((-1, -2))) / pairs)


def _doppler_prototypes() -> Tensor:
    """Logarithms of broad distributions around some Dopplers."""
    dopplers = np.array([max(fading.doppler, 7e-4) for fading in FADINGS])
    away = np.log(dopplers / PROTOTYPE_DOPPLERS[:, None]) / PROTOTYPE_WIDTH
    return torch.log_softmax(torch.tensor(-0.5 * away**2, dtype=torch.float32), -1)


def _wiener_heads() -> tuple[Tensor, Tensor]:
    """Filters that are best for each of `FADINGS` at each noise level, and the logarithms of their errors."""
    ages, ahead = np.arange(1 - HISTORY, 1.0), np.arange(1.0, HORIZONS + 1)
    heads = np.empty((CANDIDATES, len(NOISE_LEVELS), 2, HORIZONS, HISTORY))
    log_errors = np.empty((CANDIDATES, len(NOISE_LEVELS), HORIZONS))
    for level, noise in enumerate(10**NOISE_LEVELS):
        unit = Series(ages, np.eye(HISTORY), noise)
        for place, fading in enumerate(FADINGS):
            forecast = known_wiener(unit, ahead, fading.correlation, np.ones(HISTORY))
            heads[place, level] = forecast.values.T.real, forecast.values.T.imag
            log_errors[place, level] = np.log(np.maximum(forecast.error_var[0], 1e-6))
    heads, log_errors = heads.reshape(-1, 2 * HORIZONS, HISTORY), log_errors.reshape(-1, HORIZONS)
    return torch.tensor(heads, dtype=torch.float32), torch.tensor(log_errors, dtype=torch.float32)
