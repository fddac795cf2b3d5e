# SPDX-License-Identifier: GPL-3.0-or-later
"""ADMM-Net and PGD-Net over the real-valued model, as torch modules: what `gr_kaq` runs, with gradients.

docs/design.md states both networks. The preparation, the bounds of the laws and the layers are those of
preparation.py, full_precision.py and integer_reference.py in gr_kaq/detection; the roundings of the 16-bit state are
left out, the quantization of activations and matrices is in. B channels, T vectors each, n = 2 num_tx rows, K layers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gr_kaq.detection.preparation import COMMON_FLOOR, STREAM_FLOOR
from gr_kaq.detection.quantization import STREAM_SCALE_LIMIT
from gr_kaq.signals.constellation import CONSTELLATIONS, Constellation

from ..quantization.laws import Law
from ..quantization.quantizers import calibrated_clip, calibrated_step, fake_quantize, fake_quantize_rows, largest
from .batches import Batch, to_real
from .config import Config

__all__ = ["AdmmNet", "NetworkOutput", "PgdNet", "UnfoldedNet", "build"]

CLIP_RANGE = (0.1, 1.0)
"""Bounds of matrix_clip in the model file."""


@dataclass(frozen=True)
class NetworkOutput:
    """What a network says of a batch.

    Attributes:
        t: (B, T, n), the estimate on which the bits are decided.
        outputs: each (B, T, n), what the loss compares with the symbols.
        intermediate: per layer but the last, (B, T, n): its estimate of the symbols.
        activations: per layer, (B, T, n): the operand of its matrix-vector product, quantized if the network is.
        operands: per layer, the same as it is multiplied: scaled, where each stream has its own step.
        matrix: (B, n, n), the other operand, before it is quantized.
    """

    t: Tensor
    outputs: list[Tensor]
    intermediate: list[Tensor]
    activations: list[Tensor]
    operands: list[Tensor]
    matrix: Tensor


class UnfoldedNet(nn.Module):
    """Common to both networks.

    Args:
        config: the run.
        quantized: whether this is the quantized network or its full-precision twin.
    """

    variance: Law | None

    def __init__(self, config: Config, quantized: bool):
        super().__init__()
        self.constellation: Constellation = CONSTELLATIONS[config.constellation]
        self.num_layers = config.layers
        self.snr_db = config.snr_db
        self.quantizer = config.quantizer
        self.layer_bits = config.layer_bits if quantized else None
        self.matrix_bits = config.matrix_bits if quantized else None
        d = self.constellation.half_distance
        self.output_variance = Law(1, 1.0, 1e-3, 1e3, config.laws)
        self.step = Law(config.layers, d, d / 256, 16 * d, config.quantizer.law) if quantized else None
        if self.step is not None and config.quantizer.step == "fixed":
            self.step.requires_grad_(False)
        self.own_steps = quantized and config.quantizer.streams == "own"
        self.matrix_clip = nn.Parameter(
            torch.ones(()), requires_grad=quantized and config.quantizer.matrix_clip == "learned"
        )

    @abstractmethod
    def forward(self, batch: Batch) -> NetworkOutput:
        """Detect a batch."""

    def laws(self) -> dict[str, Law]:
        """The laws by their names in the model file."""
        return {name: module for name, module in self.named_children() if isinstance(module, Law)}

    def start_from(self, twin: UnfoldedNet, batches: list[Batch]) -> None:
        """Take over the parameters of the full-precision twin; activation steps are calibrated on its activations."""
        assert self.step is not None and self.layer_bits is not None
        own = self.laws()
        for name, law in twin.laws().items():
            own[name].load_state_dict(law.state_dict())
        with torch.no_grad():
            outputs = [twin(batch) for batch in batches]
            layers = zip(*(output.activations for output in outputs), strict=True)
            seen = [torch.cat([v.flatten() for v in layer]) for layer in layers]
            # PGD-Net's first product is with x = 0, which no step spoils
            missing = self.num_layers - len(seen)
            widths = self.layer_bits[missing:]
            midrise = self.quantizer.midrise
            steps = [
                calibrated_step(v, bits, self.quantizer.start, midrise=midrise)
                for v, bits in zip(seen, widths, strict=True)
            ]
            if self.quantizer.matrix_clip != "max" and self.matrix_bits is not None:
                clips = [calibrated_clip(_hollow(output.matrix), self.matrix_bits, midrise) for output in outputs]
                self.matrix_clip.copy_(torch.stack(clips).mean())
        used = torch.stack(steps)
        self.step.start_at(torch.cat([used[:1].expand(missing), used]).clamp(2 * self.step.low, self.step.high / 2))

    def clip_values(self, batch: Batch) -> Tensor:
        """Largest magnitude of the quantized activations, (B, K)."""
        assert self.step is not None and self.layer_bits is not None
        steps = self.step(self._root(batch))
        return steps * torch.tensor(
            [largest(bits, self.quantizer.midrise) for bits in self.layer_bits], device=steps.device
        )

    def _root(self, batch: Batch) -> Tensor:
        """SNR^(-1/2) that the laws are evaluated at, (B,)."""
        return 10 ** (-batch.snr_db.clamp(*self.snr_db) / 20)

    def _linear_part(
        self, matrix: Tensor
    ) -> tuple[Callable[[Tensor, int, Tensor | None], tuple[Tensor, Tensor, Tensor]], Tensor]:
        """The product with matrix (B, num_tx, num_tx) complex, with an exact diagonal and the rest quantized.

        Returns a function of v (B, T, n), the layer and its step (B,), which gives the product, the activations used,
        and the operand; and the rest (B, n, n), as it is quantized: with its columns scaled if each stream has its own
        step.
        """
        real = torch.cat([torch.cat([matrix.real, -matrix.imag], 2), torch.cat([matrix.imag, matrix.real], 2)], 1)
        diagonal = real.diagonal(dim1=1, dim2=2)
        scale = self._stream_scale(diagonal)[:, None, :]
        rest = (real - torch.diag_embed(diagonal)) / scale
        off_diagonal = rest
        if self.matrix_bits is not None:
            clip, midrise = self.matrix_clip.clamp(*CLIP_RANGE), self.quantizer.midrise
            if midrise:
                rest = _hollow(rest)
            off_diagonal = fake_quantize_rows(rest, self.matrix_bits, clip, midrise)

        def product(v: Tensor, k: int, step: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
            q = v * scale
            if self.layer_bits is not None:
                assert step is not None
                gradient = "straight_through" if self.quantizer.step == "fixed" else self.quantizer.step
                midrise = self.quantizer.midrise
                q = fake_quantize(q, step[:, None, None], self.layer_bits[k], gradient, midrise=midrise)
            return v * diagonal[:, None, :] + q @ off_diagonal.mT, q / scale, q

        return product, rest

    def _stream_scale(self, diagonal: Tensor) -> Tensor:
        """What the activations of each stream are multiplied by before the common step, (B, n)."""
        if not self.own_steps:
            return torch.ones_like(diagonal)
        relative = (diagonal / diagonal.mean(1, keepdim=True)).sqrt()
        return relative.clamp(1 / STREAM_SCALE_LIMIT, STREAM_SCALE_LIMIT)

    def _steps(self, root: Tensor) -> list[Tensor] | list[None]:
        return [None] * self.num_layers if self.step is None else list(self.step(root).unbind(1))

    def _ramp(self, t: Tensor, variance: Tensor) -> Tensor:
        """Constellation-aware proximal map, see `gr_kaq.detection.full_precision.ramp`; variance broadcasts to t."""
        d, levels = self.constellation.half_distance, self.constellation.num_levels
        slope = (d * d / variance).clamp_min(1)
        outermost = (levels - 2) * d
        threshold = (2 * d * torch.floor((t.detach() + d) / (2 * d))).clamp(-outermost, outermost)
        return threshold + (slope * (t - threshold)).clamp(-d, d)

    def _posterior_mean(self, t: Tensor, variance: Tensor) -> Tensor:
        """E[s | t] of a PAM symbol in Gaussian noise of this variance per real dimension."""
        levels = self.constellation.half_distance * torch.as_tensor(
            self.constellation.levels, dtype=torch.float32, device=t.device
        )
        weights = torch.softmax(-(t[..., None] - levels).square() / (2 * variance[..., None]), dim=-1)
        return weights @ levels


def _hollow(rest: Tensor) -> Tensor:
    """Without what rounding has left of the diagonal's imaginary part; midrise, it would become an odd integer."""
    part = torch.eye(rest.shape[-1] // 2, dtype=torch.bool, device=rest.device)
    return rest.masked_fill(part.repeat(2, 2), 0.0)


def _gram(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Gram matrices (B, num_tx, num_tx), their diagonals (B, num_tx) and the noise variance with its floor (B, 1)."""
    gram = batch.h.mH @ batch.h
    powers = gram.diagonal(dim1=1, dim2=2).real
    return gram, powers, torch.maximum(batch.noise_var[:, None], COMMON_FLOOR * powers.mean(1, keepdim=True))


class AdmmNet(UnfoldedNet):
    """ADMM-Net: one regularised inverse per channel, then relaxation, ramp and dual update in each layer."""

    def __init__(self, config: Config, quantized: bool):
        super().__init__(config, quantized)
        num_layers = config.layers
        self.variance = Law(num_layers, torch.linspace(4, 1, num_layers + 1)[:-1], 1e-3, 1e3, config.laws)
        self.dual_step = Law(num_layers, 2.0, 0.0, 64.0, config.laws)
        self.relaxation = Law(num_layers, 1.0, 0.0, 2.0, config.laws)
        self.regularization = Law(1, 3.5, 0.05, 100.0, config.laws)
        self.output_spread = nn.Parameter(torch.ones(()))

    def start_from(self, twin: UnfoldedNet, batches: list[Batch]) -> None:
        """See `UnfoldedNet.start_from`."""
        assert isinstance(twin, AdmmNet)
        super().start_from(twin, batches)
        self.output_spread.data.copy_(twin.output_spread)

    def forward(self, batch: Batch) -> NetworkOutput:
        """See `UnfoldedNet.forward`."""
        assert self.variance is not None
        root = self._root(batch)
        gram, powers, noise_var = _gram(batch)
        rho = self.regularization(root) * noise_var
        relative = (STREAM_FLOOR * powers / rho).clamp_min(1)
        rho, noise_var = rho * relative, noise_var * relative
        inverse = torch.linalg.inv(gram + torch.diag_embed(rho))
        b = to_real((batch.y @ batch.h.conj()) @ inverse.mT)
        error = (noise_var * inverse.diagonal(dim1=1, dim2=2).real / 2).repeat(1, 2)[:, None, :]
        product, rest = self._linear_part(inverse * rho[:, None, :])
        diagonal = (rho * inverse.diagonal(dim1=1, dim2=2).real).repeat(1, 2)[:, None, :]
        variance, dual_step, relaxation = (
            law(root)[:, None, None, :] for law in (self.variance, self.dual_step, self.relaxation)
        )

        x, z, u = b, torch.zeros_like(b), torch.zeros_like(b)
        intermediate, activations, operands = [], [], []
        for k, step in enumerate(self._steps(root)):
            s = z + relaxation[..., k] * (x - z)
            z = self._ramp(s + u, variance[..., k] * error)
            u = u + (dual_step[..., k] * diagonal).clamp_max(2) * (s - z)
            moved, used, operand = product(z - u, k, step)
            x = b + moved
            intermediate.append(z)
            activations.append(used)
            operands.append(operand)
        spread = 1 + self.output_spread.clamp_min(0) * diagonal.square()
        soft = self._posterior_mean(x, self.output_variance(root)[..., None] * error * spread)
        return NetworkOutput(x, [soft], intermediate, activations, operands, rest)


class PgdNet(UnfoldedNet):
    """PGD-Net: a gradient step on |y - H x|^2 and a proximal map in each layer; no inverse.

    With the soft threshold it is the paper's, whose loss is that of the last estimate itself; the output variance is
    then fitted on the side. With the ramp, the last layer has no proximal map, and its posterior mean is the output.
    """

    def __init__(self, config: Config, quantized: bool):
        super().__init__(config, quantized)
        num_layers, d = config.layers, self.constellation.half_distance
        self.soft_threshold = config.proximal == "soft_threshold"
        self.gradient_step = Law(num_layers, 0.1 if self.soft_threshold else 0.5, 0.0, 2.0, config.laws)
        self.threshold = Law(num_layers, 0.05, 0.0, 16 * d, config.laws) if self.soft_threshold else None
        ramps = num_layers - 1
        starts = torch.linspace(4, 1, num_layers)[:-1]
        self.variance = None if self.soft_threshold else Law(ramps, starts, 1e-3, 1e3, config.laws)

    def forward(self, batch: Batch) -> NetworkOutput:
        """See `UnfoldedNet.forward`."""
        root = self._root(batch)
        gram, powers, noise_var = _gram(batch)
        scale = powers.mean(1)[:, None, None]
        b = to_real((batch.y @ batch.h.conj()) / scale)
        noise_var = torch.maximum(noise_var, STREAM_FLOOR * powers)
        error = (noise_var / (powers + noise_var) / 2).repeat(1, 2)[:, None, :]
        product, rest = self._linear_part(gram / scale)
        gradient_step = self.gradient_step(root)[:, None, None, :]

        x = torch.zeros_like(b)
        intermediate, activations, operands = [], [], []
        for k, step in enumerate(self._steps(root)):
            moved, used, operand = product(x, k, step)
            if k:
                intermediate.append(x)
                activations.append(used)
                operands.append(operand)
            x = x + gradient_step[..., k] * (b - moved)
            if self.threshold is not None:
                x = torch.sign(x.detach()) * (x.abs() - self.threshold(root)[:, None, None, k]).clamp_min(0)
            elif self.variance is not None and k < self.num_layers - 1:
                x = self._ramp(x, self.variance(root)[:, None, None, k] * error)
        soft = self._posterior_mean(
            x.detach() if self.soft_threshold else x, self.output_variance(root)[..., None] * error
        )
        return NetworkOutput(x, [x, soft] if self.soft_threshold else [soft], intermediate, activations, operands, rest)


def build(config: Config, quantized: bool) -> UnfoldedNet:
    """The network of a run, with its starting values."""
    return (AdmmNet if config.network == "admm" else PgdNet)(config, quantized)
