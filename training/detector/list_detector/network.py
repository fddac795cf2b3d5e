# SPDX-License-Identifier: GPL-3.0-or-later
"""A list detector in torch, with gradients for what is trained: `gr_kaq.detection.list_reference` is what it equals.

The search is data (`batches`). Its paths' metrics follow from the fake-quantized factor, so that the step has a
gradient; expectation propagation and the fusion are differentiable anyway.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gr_kaq.detection.list_model import LARGEST_ENTRY
from gr_kaq.detection.list_preparation import LEAST_PRECISION
from gr_kaq.detection.list_reference import LARGEST_PART, WIDE_SPREAD
from gr_kaq.signals.constellation import CONSTELLATIONS

from ...quantization.quantizers import largest as largest_integer
from .batches import Found
from .config import ListConfig

__all__ = ["ListNet", "SoftOutput", "fake_quantized"]

NO_PATH = 1e9
START_DAMPING, START_VARIANCE = 0.9, 0.01
LEAST_VARIANCE = (1e-5, 0.5)
START_SLOPE = 0.5
ALPHA_UNIT = 1 / 32
"""Alpha is trained in this unit, and gamma in the width's own step, so that Adam changes either by about as much."""


@dataclass(frozen=True)
class SoftOutput:
    """LLRs (N, bits_per_dimension, C, T) by the list, by the propagation, and of both; see `Found`."""

    of_list: Tensor
    of_propagation: Tensor
    llrs: Tensor


class ListNet(nn.Module):
    """What a list detector is trained in.

    Args:
        config: what to train.
        quantized: whether the factor is.
    """

    level_values: Tensor
    level_bits: Tensor
    knots: Tensor

    def __init__(self, config: ListConfig, quantized: bool):
        super().__init__()
        self.config, self.quantized = config, quantized
        point = CONSTELLATIONS[config.constellation]
        self.register_buffer("level_values", torch.as_tensor(point.levels, dtype=torch.float32))
        self.register_buffer("level_bits", torch.as_tensor(point.level_bits, dtype=torch.bool))
        self.register_buffer("knots", torch.tensor(config.knots))
        self.raw_damping = nn.Parameter(torch.full((config.layers,), math.log(START_DAMPING / (1 - START_DAMPING))))
        self.log_variance = nn.Parameter(torch.full((config.layers,), math.log(START_VARIANCE)))
        # (groups, narrow or wide, list or propagation, bits, knots): slopes up to each knot, before the softplus
        shape = (len(config.groups), 2, 2, point.bits_per_dimension, len(config.knots))
        self.raw_slope = nn.Parameter(torch.full(shape, math.log(math.expm1(START_SLOPE))))
        self.width_step = 1 / min(largest_integer(config.matrix_bits), LARGEST_ENTRY)
        gamma = self.width_step if config.step.gamma is None else config.step.gamma
        moves = config.step.train if quantized else "none"
        self.raw_alpha = nn.Parameter(
            torch.tensor(config.step.alpha / ALPHA_UNIT), requires_grad=moves in ("alpha", "both")
        )
        self.raw_gamma = nn.Parameter(torch.tensor(gamma / self.width_step), requires_grad=moves in ("gamma", "both"))

    @property
    def alpha(self) -> Tensor:
        """Part of the step that follows the noise."""
        return self.raw_alpha * ALPHA_UNIT

    @property
    def gamma(self) -> Tensor:
        """Part of the step that follows the channel."""
        return self.raw_gamma * self.width_step

    @property
    def damping(self) -> Tensor:
        """(layers,)."""
        return torch.sigmoid(self.raw_damping)

    @property
    def least_variance(self) -> Tensor:
        """(layers,), over the symbol's energy."""
        return self.log_variance.exp().clamp(*LEAST_VARIANCE)

    @property
    def weights(self) -> Tensor:
        """(groups, narrow or wide, list or propagation, bits, knots), as in `FusionWeights`.

        The slope of a curve between two knots is the sum of the weights from the second one on. Slopes are positive, so
        that the curves rise.
        """
        slope = nn.functional.softplus(self.raw_slope)
        return torch.cat([slope[..., :-1] - slope[..., 1:], slope[..., -1:]], -1)

    @torch.no_grad()
    def start_from(self, twin: ListNet) -> None:
        """Take the twin's parameters but for the step."""
        for name in ("raw_damping", "log_variance", "raw_slope"):
            getattr(self, name).copy_(getattr(twin, name))

    def forward(self, found: Found) -> SoftOutput:
        """LLRs of what the search found."""
        coefficients = found.coefficients
        if self.quantized:
            unit = torch.maximum(torch.minimum(self.alpha, self.gamma * found.largest), found.largest * self.width_step)
            coefficients = fake_quantized(coefficients, unit.clamp_min(1e-30)[:, None])
        of_list, spread = self._list_llrs(found, *self._metrics(found, coefficients))
        of_propagation = self._propagation_llrs(found)
        return SoftOutput(of_list, of_propagation, self._fused(of_list, of_propagation, spread))

    def _metrics(self, found: Found, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Squared distances, but for a constant, with a^2 l^2 of the regularization taken off each level.

        Returns:
            Of each survivor with its best levels of the last stream, (K, C, T), and LLRs of the last stream's bits,
            (2, bits, C, T).
        """
        others = found.paths.shape[0]
        interference = torch.einsum("mjc,jkct->mkct", coefficients[:, :others], found.paths)
        residual = found.rotated[:, None] - interference
        distance = residual[:others] - found.diagonal[:others, None, :, None] * found.paths
        highest = self.level_values[-1].square()
        metric = (distance.square() + found.prior * (highest - found.paths.square())).sum(0)
        metric = metric.masked_fill(found.missing, NO_PATH)
        levels = self.level_values[:, None, None, None]
        last = residual[others:, None] - found.diagonal[others:, None, None, :, None] * levels
        last = last.square() + found.prior * (highest - levels.square())  # (2, L, K, C, T)
        nearest = last.amin(1)
        of_last = []
        for q in (0, 1):
            rest = metric + nearest[1 - q]
            for bits in self.level_bits.T:
                zero, one = ((rest + last[q, select].amin(0)).amin(0) for select in (~bits, bits))
                of_last.append(zero - one)
        llrs = torch.stack(of_last).unflatten(0, (2, -1))
        return metric + nearest.sum(0), llrs

    def _list_llrs(self, found: Found, metric: Tensor, of_last: Tensor) -> tuple[Tensor, Tensor]:
        """LLRs, and the spread (C, T)."""
        best, winner = metric.min(0)
        worst = metric.masked_fill(found.missing, -NO_PATH).amax(0)
        index = ((found.paths + self.level_values[-1]) / 2).round().long()
        bits = self.level_bits[index].movedim(-1, 1)  # (N - 2, bits, K, C, T)
        expanded = winner[None, None, None].expand(*bits.shape[:2], 1, *winner.shape)
        decided = bits.gather(2, expanded)
        other = metric.masked_fill(bits == decided, NO_PATH).amin(2)
        magnitude = torch.where(other < NO_PATH, other - best, worst - best)
        llrs = torch.where(decided[:, :, 0], magnitude, -magnitude)
        return torch.cat([llrs, of_last]), worst - best

    def _propagation_llrs(self, found: Found) -> Tensor:
        """(N, bits, C, T), by the layers of expectation propagation."""
        n = found.gram.shape[0]
        matched = found.matched.permute(1, 2, 0)  # (C, T, n)
        gram = found.gram.movedim(-1, 0)[:, None]
        regularized = gram + found.prior * torch.eye(n)
        estimate = torch.linalg.solve(regularized[:, 0], matched.mT).mT
        mean = estimate * found.mean_gain.T[:, None]
        precision = found.precision.T[:, None].expand(mean.shape)
        site = torch.full(mean.shape, found.prior)
        site_mean = torch.zeros_like(mean)
        for damping, least in zip(self.damping, self.least_variance, strict=True):
            re, variance_re = self._posterior(mean.real, precision)
            im, variance_im = self._posterior(mean.imag, precision)
            inverse = 1 / torch.maximum(variance_re + variance_im, least / found.prior)
            target = inverse - precision
            usable = target > 0
            new_mean = torch.complex(re, im) * inverse - mean * precision
            site = torch.where(usable, site + damping * (target - site), site)
            site_mean = torch.where(usable, site_mean + damping * (new_mean - site_mean), site_mean)
            covariance = torch.linalg.inv(gram + torch.diag_embed(site).to(gram.dtype))
            solved = (covariance @ (matched + site_mean)[..., None])[..., 0]
            inverse = 1 / covariance.diagonal(dim1=-2, dim2=-1).real
            precision = (inverse - site).clamp_min(float(LEAST_PRECISION))
            mean = (solved * inverse - site_mean) / precision
        parts = torch.stack([self._gaussian_llrs(part, precision) for part in (mean.real, mean.imag)], 1)
        return parts.permute(4, 1, 0, 2, 3).flip(0).reshape(2 * n, self.level_bits.shape[1], *mean.shape[:2])

    def _posterior(self, mean: Tensor, precision: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of a PAM level, given mean = level + noise of variance 1 / (2 precision)."""
        weight = torch.softmax(-precision[..., None] * (mean[..., None] - self.level_values).square(), -1)
        first = (weight * self.level_values).sum(-1)
        return first, (weight * (self.level_values - first[..., None]).square()).sum(-1)

    def _gaussian_llrs(self, mean: Tensor, precision: Tensor) -> Tensor:
        """(bits, C, T, n)."""
        distance = (mean[..., None] - self.level_values).square()
        out = []
        for bits in self.level_bits.T:
            out.append(precision * (distance[..., ~bits].amin(-1) - distance[..., bits].amin(-1)))
        return torch.stack(out)

    def _fused(self, of_list: Tensor, of_propagation: Tensor, spread: Tensor) -> Tensor:
        num_tx = of_list.shape[0] // 2
        group = next(i for i, largest in enumerate(self.config.groups) if num_tx <= largest)
        narrow, wide = self.weights[group]  # (list or propagation, bits, knots) each
        part = (spread / float(WIDE_SPREAD)).clamp_max(1.0)
        sources = []
        for source, low, high in zip((of_list, of_propagation), narrow, wide, strict=True):
            clipped = torch.minimum(source.abs()[..., None], self.knots)
            # (bits, 1, 1, knots) weights at either end, blended over (C, T)
            first = (clipped * low[:, None, None]).sum(-1)
            second = (clipped * high[:, None, None]).sum(-1)
            sources.append(first + part * (second - first))
        from_list, from_propagation = sources
        limited = torch.minimum(from_propagation, float(LARGEST_PART) * from_list)
        from_propagation = torch.where(spread > float(WIDE_SPREAD), limited, from_propagation)
        return from_list * of_list.sign() + from_propagation * of_propagation.sign()


def fake_quantized(x: Tensor, unit: Tensor) -> Tensor:
    """round(x / unit) unit, half to even.

    The gradient is that of the straight-through estimator: rounding's is 1.
    """
    ratio = x / unit
    return (ratio + (torch.round(ratio) - ratio).detach()) * unit
