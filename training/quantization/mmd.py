# SPDX-License-Identifier: GPL-3.0-or-later
"""Maximum mean discrepancy between the activations of the quantized network and of its full-precision twin.

As published (arXiv 2505.12736): the biased V-statistic with a Gaussian kernel,

    MMD = mean_ij K(a_i, a_j) + mean_ij K(q_i, q_j) - 2 mean_ij K(a_i, q_j)    K(a, q) = exp(-|a - q|^2 / (2 sigma^2))

A sample is the activation vector of one received vector, n numbers, or one of its entries. The cost is quadratic in
the number of samples, so it is taken over NUM_SAMPLES of a batch. The linear-time estimate (Gretton 2012, section 6)
takes all samples of a batch, each in one pair only; it has no bias, and more variance.

A bandwidth that minimises the MMD sees nothing (sigma -> infinity), so by default it maximises it. Maximising the
published statistic fails too: at sigma -> 0 all that is left of it is its bias, 2 / N for N samples, which is more
than 4-bit quantization ever gives. The bandwidth therefore ascends the U-statistic, the same without i = j.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["Mmd", "MmdLoss", "linear_statistic", "squared_distances", "u_statistic", "v_statistic"]

NUM_SAMPLES = 192
FIXED_FACTORS = (0.5, 1.0, 2.0)
SMALLEST_BANDWIDTH = 1e-3


@dataclass(frozen=True)
class Mmd:
    """Settings of the distribution match between the quantized network and its full-precision twin.

    Args:
        epsilon: its weight in the loss; 0 leaves plain quantization-aware training.
        bandwidth: ``"ascent"`` (learned, maximises the MMD), ``"fixed"`` (median heuristic, three kernels) or
            ``"descent"`` (learned along with everything else, as published; goes blind).
        samples: ``"vector"`` (the activations of a received vector) or ``"scalar"`` (one of them).
        estimator: ``"full"`` (quadratic in the number of samples) or ``"linear"`` (pairs of samples, Gretton 2012).
    """

    epsilon: float = 0.1
    bandwidth: Literal["ascent", "fixed", "descent"] = "ascent"
    samples: Literal["vector", "scalar"] = "vector"
    estimator: Literal["full", "linear"] = "full"


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """|a_i - b_j|^2 of samples (N, n) and (M, n)."""
    return (a.square().sum(-1)[:, None] + b.square().sum(-1) - 2 * a @ b.mT).clamp_min(0)


def v_statistic(a: Tensor, b: Tensor, sigmas: Tensor) -> Tensor:
    """MMD of samples (N, n) and (M, n), averaged over the bandwidths `sigmas` (S,)."""
    scale = -0.5 / sigmas.square()[:, None, None]

    def mean_kernel(x: Tensor, y: Tensor) -> Tensor:
        return torch.exp(scale * squared_distances(x, y)).mean()

    return mean_kernel(a, a) + mean_kernel(b, b) - 2 * mean_kernel(a, b)


def u_statistic(a: Tensor, b: Tensor, sigmas: Tensor) -> Tensor:
    """The same for paired samples (N, n) without the pairs i = j: no bias, and 0 for sigma -> 0 and -> infinity."""
    scale = -0.5 / sigmas.square()[:, None, None]
    unpaired = 1 - torch.eye(len(a), device=a.device)

    def mean_kernel(x: Tensor, y: Tensor) -> Tensor:
        return (torch.exp(scale * squared_distances(x, y)) * unpaired).mean() / unpaired.mean()

    return mean_kernel(a, a) + mean_kernel(b, b) - 2 * mean_kernel(a, b)


def linear_statistic(a: Tensor, b: Tensor, sigmas: Tensor) -> Tensor:
    """The same for paired samples (N, n) from N / 2 pairs of neighbours: no bias where neighbours are independent."""
    scale = -0.5 / sigmas.square()[:, None]
    even = len(a) // 2 * 2
    first, second = slice(0, even, 2), slice(1, even, 2)

    def mean_kernel(x: Tensor, y: Tensor) -> Tensor:
        return torch.exp(scale * (x - y).square().sum(-1)).mean()

    same = mean_kernel(a[first], a[second]) + mean_kernel(b[first], b[second])
    return same - mean_kernel(a[first], b[second]) - mean_kernel(a[second], b[first])


def _one_entry_each(rows: Tensor) -> Tensor:
    """(N, 1) of rows (N, n): the first one's first entry, the second one's second ..."""
    columns = torch.arange(len(rows), device=rows.device) % rows.shape[1]
    return rows.gather(1, columns[:, None])


class MmdLoss(nn.Module):
    """The sum of the layers' MMD.

    Args:
        activations: the twin's on a first batch, one tensor (..., n) per layer. The median distance of their samples
            is each layer's bandwidth (the median heuristic), or what learning it starts from.
        settings: see `Mmd`.
    """

    def __init__(self, activations: list[Tensor], settings: Mmd):
        super().__init__()
        self.settings = settings
        samples = [a.reshape(-1, a.shape[-1])[:NUM_SAMPLES] for a in activations]
        if settings.samples == "scalar":
            samples = [_one_entry_each(rows) for rows in samples]
        medians = [squared_distances(a, a).flatten().median().sqrt() for a in samples]
        # per sqrt(n), so that a bandwidth fits every number of streams
        sigma = torch.stack([m / a.shape[-1] ** 0.5 for m, a in zip(medians, samples, strict=True)])
        # of scalars that are decided bits, half of the distances are next to nothing
        sigma = sigma.clamp_min(SMALLEST_BANDWIDTH)
        factors = torch.tensor(FIXED_FACTORS if settings.bandwidth == "fixed" else (1.0,), device=sigma.device)
        self.log_sigma = nn.Parameter((sigma[:, None] * factors).log(), requires_grad=settings.bandwidth != "fixed")

    def forward(self, twin: list[Tensor], quantized: list[Tensor], generator: torch.Generator) -> Tensor:
        """Sum over the layers.

        Args:
            twin, quantized: activations of the same received vectors, (B, T, n) per layer.
            generator: draws the samples: one permutation of the received vectors, whatever the settings.
        """
        linear = self.settings.estimator == "linear"
        published, unbiased = (linear_statistic, linear_statistic) if linear else (v_statistic, u_statistic)
        order = torch.randperm(twin[0].shape[:-1].numel(), generator=generator)
        chosen = order if linear else order[:NUM_SAMPLES]
        total = torch.zeros((), device=twin[0].device)
        for full, rounded, log_sigma in zip(twin, quantized, self.log_sigma, strict=True):
            a, b = self._samples(full, chosen), self._samples(rounded, chosen)
            sigmas = log_sigma.exp() * a.shape[-1] ** 0.5
            if self.settings.bandwidth == "ascent":
                total = total + published(a, b, sigmas.detach())
                seen = unbiased(a, b.detach(), sigmas)
                total = total - (seen - seen.detach())  # adds 0, and the gradient that descent turns into ascent
            else:
                total = total + published(a, b, sigmas)
        return total

    def _samples(self, activations: Tensor, chosen: Tensor) -> Tensor:
        """Samples (N, n), or scalar ones (N, 1), of the received vectors `chosen`; neighbours are of different ones."""
        rows = activations.reshape(-1, activations.shape[-1])[chosen]
        if self.settings.samples == "vector":
            return rows
        return rows.mT.reshape(-1, 1) if self.settings.estimator == "linear" else _one_entry_each(rows)
