# SPDX-License-Identifier: GPL-3.0-or-later
"""Channels and layers in the native kernel: in int8 equal to `integer_reference` bit for bit, in fp32 as near to
`full_precision` as single precision is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..native import extension
from .kernel_plan import KernelChannels, KernelPlan
from .laws import NO_REGULARIZATION, law_bounds
from .model_file import DetectorModel, Law
from .quantization import IntegerChannels

__all__ = ["NativeChannels", "NativePlan", "network", "run_layers"]


class NativeChannels(KernelChannels):
    """The channels of a plan, and what the kernel has made of them."""

    @property
    def integers(self) -> IntegerChannels:
        """The quantized channels."""
        return IntegerChannels(**self._kernel.integers)

    def filter(self, y: NDArray[np.complex64]) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
        """b and finite, as `quantize_estimates`."""
        b, finite = self._kernel.filter(np.require(y, np.complex64, ["C", "A"]))
        return b, finite


class NativePlan(KernelPlan):
    """A `KernelPlan` for `model`.

    Args:
        model: the model.
        shape: num_channels, num_rx, num_tx.
        precision: ``"int8"``, for a quantized model, or ``"fp32"``.
        options: as for `KernelPlan`.
    """

    channels_type = NativeChannels

    def __init__(self, model: DetectorModel, *shape: int, precision: str = "int8", **options: Any):
        super().__init__(extension().Plan, network(model, precision), model.constellation, shape, **options)


def run_layers(
    model: DetectorModel, channels: IntegerChannels, b: NDArray[np.int16], instruction_set: str
) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """The integer stages alone: t of `integer_reference.detect`, and `integer_reference.llrs` of it."""
    num_channels, n, _ = channels.matrix.shape
    kernel = NativePlan(model, num_channels, 1, n // 2, instruction_set=instruction_set).kernel
    kernel.integers = vars(channels)
    t = kernel.layers(b)
    llrs = kernel.llrs(t.reshape(-1, n))
    return t, np.moveaxis(llrs, 1, -1).reshape(*t.shape, -1)


def network(model: DetectorModel, precision: str = "int8") -> Any:
    """The model as `gr_kaq._kernel` takes it."""
    bounds = law_bounds(model.constellation.half_distance)

    def bounded(name: str, law: Law) -> tuple[float, ...]:
        return (law.alpha, law.gamma, *bounds[name])

    low, high = model.snr_range_db
    # in full precision, the kernel leaves these aside
    activation_max = model.largest_activations if model.quantized else (1,) * len(model.layers)
    return extension().Network(
        type=model.network,
        precision=precision,
        bits_per_dimension=model.constellation.bits_per_dimension,
        half_distance=model.constellation.half_distance,
        matrix_max=model.largest_entry if model.quantized else 1,
        midrise=model.midrise,
        matrix_clip=model.matrix_clip,
        stream_steps=model.stream_steps,
        output_spread=model.output_spread,
        layers=[
            {name: bounded(name, law) for name, law in vars(layer).items() if law} | {"activation_max": largest}
            for layer, largest in zip(model.layers, activation_max, strict=True)
        ],
        output_variance=bounded("output_variance", model.output_variance),
        regularization=bounded("regularization", model.regularization or NO_REGULARIZATION),
        snr_low_db=low,
        snr_high_db=high,
    )
