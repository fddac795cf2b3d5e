# SPDX-License-Identifier: GPL-3.0-or-later
"""Maximum mean discrepancy between the activations of the quantized network and of its full-precision twin.

As published (arXiv 2505.12736): the biased V-statistic with a Gaussian kernel,

    MMD = mean_ij K(a_i, a_j) + mean_ij K(q_i, q_j) - 2 mean_ij K(a_i, q_j)    K(a, q) = exp(-|a - q|^2 / (2 sigma^2))

A sample is the activation vector of one received vector, n numbers. The cost is quadratic in the number of samples, so
it is taken over NUM_SAMPLES of a batch.

A bandwidth that minimises the MMD sees nothing (sigma -> infinity), so by default it maximises it. Maximising the
published statistic fails too: at sigma -> 0 all that is left of it is its bias, 2 / N for N samples, which is more
than 4-bit quantization ever gives. The bandwidth therefore ascends the U-statistic, the same without i = j.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["MmdLoss", "squared_distances", "u_statistic", "v_statistic"]

NUM_SAMPLES = 192
FIXED_FACTORS = (0.5, 1.0, 2.0)


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
    unpaired = 1 - torch.eye(len(a))

    def mean_kernel(x: Tensor, y: Tensor) -> Tensor:
        return (torch.exp(scale * squared_distances(x, y)) * unpaired).mean() / unpaired.mean()

    return mean_kernel(a, a) + mean_kernel(b, b) - 2 * mean_kernel(a, b)


class MmdLoss(nn.Module):
    """The sum of the layers' MMD.

    Args:
        activations: the twin's on a first batch, one tensor (..., n) per layer. The median distance of their samples
            is each layer's bandwidth (the median heuristic), or what learning it starts from.
        bandwidth: ``"ascent"``, ``"fixed"`` or ``"descent"``, see `config.Mmd`.
    """

    def __init__(self, activations: list[Tensor], bandwidth: str):
        super().__init__()
        self.bandwidth = bandwidth
        samples = [a.reshape(-1, a.shape[-1])[:NUM_SAMPLES] for a in activations]
        medians = [squared_distances(a, a).flatten().median().sqrt() for a in samples]
        # per sqrt(n), so that a bandwidth fits every number of streams
        sigma = torch.stack([m / a.shape[-1] ** 0.5 for m, a in zip(medians, samples, strict=True)])
        factors = torch.tensor(FIXED_FACTORS if bandwidth == "fixed" else (1.0,))
        self.log_sigma = nn.Parameter((sigma[:, None] * factors).log(), requires_grad=bandwidth != "fixed")

    def forward(self, twin: list[Tensor], quantized: list[Tensor], generator: torch.Generator) -> Tensor:
        """Sum over the layers.

        Args:
            twin, quantized: activations of the same received vectors, (B, T, n) per layer.
            generator: draws the samples.
        """
        rows = twin[0].shape[:-1].numel()
        chosen = torch.randperm(rows, generator=generator)[:NUM_SAMPLES]
        total = torch.zeros(())
        for full, rounded, log_sigma in zip(twin, quantized, self.log_sigma, strict=True):
            n = full.shape[-1]
            a, b = full.reshape(-1, n)[chosen], rounded.reshape(-1, n)[chosen]
            sigmas = log_sigma.exp() * n**0.5
            if self.bandwidth == "ascent":
                total = total + v_statistic(a, b, sigmas.detach())
                seen = u_statistic(a, b.detach(), sigmas)
                total = total - (seen - seen.detach())  # adds 0, and the gradient that descent turns into ascent
            else:
                total = total + v_statistic(a, b, sigmas)
        return total
