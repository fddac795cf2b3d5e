# SPDX-License-Identifier: GPL-3.0-or-later
"""The C++ kernel behind the NumPy API; equal to `integer_reference` bit for bit.

The kernel for the best instruction set of the processor is chosen at run time; the environment variable
GR_KAQ_INSTRUCTION_SET names another of `instruction_sets()`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .detection import Detection, PreparedChannels
from .model_file import DetectorModel
from .preparation import layer_values
from .quantization import IntegerChannels, IntegerMetric

__all__ = ["NativeChannels", "instruction_sets", "run_layers", "selected_instruction_set"]

_PROX_NONE, _PROX_SOFT_THRESHOLD, _PROX_RAMP = range(3)  # as in lib/network.h
_METRIC = "metric_"
_LAWS = ("step", "variance", "dual_step", "relaxation", "gradient_step", "threshold")


def _extension() -> Any:
    """The extension, imported when first used: the linear and the reference detectors do without it."""
    try:
        from . import _kernel  # noqa: PLC0415
    except ImportError as error:
        raise ImportError(
            "the native kernel gr_kaq._kernel is not built; build and install gr-kaq, or use backend='reference'"
        ) from error
    return _kernel


def instruction_sets() -> list[str]:
    """Instruction sets that this build has a kernel for and this processor runs, the fastest first."""
    return list(_extension().instruction_sets())


class NativeChannels(PreparedChannels):
    """`model` prepared for C channels; see `PreparedChannels`.

    Args:
        model: a quantized model.
        h: complex64 (C, num_rx, num_tx).
        noise_var, snr_db: both (1,) or both (C,).
        instruction_set: one of `instruction_sets()`; empty: the best, or the environment's choice.
    """

    def __init__(
        self,
        model: DetectorModel,
        h: NDArray[np.complex64],
        noise_var: NDArray[np.float64],
        snr_db: NDArray[np.float64],
        instruction_set: str = "",
    ):
        values = layer_values(model, snr_db)
        laws = {name: law for name in _LAWS if (law := getattr(values, name)) is not None}
        self._channels = _extension().prepare(
            _network(model),
            instruction_set,
            np.ascontiguousarray(h),
            noise_var,
            laws,
            values.output_variance,
            values.regularization,
        )
        self._num_tx = h.shape[-1]
        self._bits_per_symbol = model.constellation.bits_per_symbol

    @property
    def instruction_set(self) -> str:
        """The kernel in use."""
        return str(self._channels.instruction_set)

    @property
    def integers(self) -> IntegerChannels:
        """The quantized channels."""
        arrays = dict(self._channels.integers)
        names = [field.name for field in dataclasses.fields(IntegerMetric) if _METRIC + field.name in arrays]
        metric = IntegerMetric(**{name: arrays.pop(_METRIC + name) for name in names}) if names else None
        if metric is not None:
            flags = {name: getattr(metric, name).astype(np.bool_) for name in ("soft_first", "searched")}
            metric = dataclasses.replace(metric, **flags)
        return IntegerChannels(**arrays, metric=metric)

    def filter(self, y: NDArray[np.complex64]) -> tuple[NDArray[np.int16], NDArray[np.int16] | None, NDArray[np.bool_]]:
        """b, the matched filter's output and finite, as `quantize_estimates` and `quantize_matched`."""
        b, matched, finite = self._channels.filter(np.ascontiguousarray(y))
        return b, matched, finite

    def detect(self, y: NDArray[np.complex64]) -> Detection:
        symbols = np.empty((*y.shape[:2], self._num_tx), np.complex64)
        llrs = np.empty((*symbols.shape, self._bits_per_symbol), np.float32)
        num_invalid = self._channels.detect(np.ascontiguousarray(y), symbols, llrs)
        return Detection(symbols, llrs, num_invalid)

    def detect_streams(
        self,
        received: Sequence[NDArray[np.complex64]],
        symbols: Sequence[NDArray[np.complex64]],
        llrs: Sequence[NDArray[np.float32]] = (),
    ) -> int:
        return int(self._channels.detect_streams(list(received), list(symbols), list(llrs)))


def selected_instruction_set() -> str:
    """The one that detectors use: the fastest, or the one that GR_KAQ_INSTRUCTION_SET names.

    Raises:
        ImportError: the kernel is not built.
        ValueError: the environment names one that is not available; the message lists those that are.
    """
    return str(_extension().selected_instruction_set())


def run_layers(
    model: DetectorModel,
    channels: IntegerChannels,
    b: NDArray[np.int16],
    matched: NDArray[np.int16] | None,
    instruction_set: str,
) -> tuple[NDArray[np.int16], NDArray[np.int16], NDArray[np.int32]]:
    """The integer stages alone: t and soft of `integer_reference.detect`, and `integer_reference.llrs` of soft."""
    arrays = dict(vars(channels))
    if (metric := arrays.pop("metric")) is not None:
        arrays |= {_METRIC + name: array for name, array in vars(metric).items()}
    kernel = _extension().from_integers(_network(model), instruction_set, arrays)
    t, soft = kernel.layers(b, matched)
    llrs = kernel.llrs(soft.reshape(-1, soft.shape[-1]))
    return t, soft, np.moveaxis(llrs, 1, -1).reshape(*t.shape, -1)


def _network(model: DetectorModel) -> Any:
    assert model.activation_bits is not None and model.matrix_bits is not None
    prox = [
        _PROX_SOFT_THRESHOLD if layer.threshold else _PROX_RAMP if layer.variance else _PROX_NONE
        for layer in model.layers
    ]
    return _extension().Network(
        model.network,
        model.constellation.bits_per_dimension,
        model.constellation.half_distance,
        2 ** (model.activation_bits - 1) - 1,
        2 ** (model.matrix_bits - 1) - 1,
        model.matrix_clip,
        model.stream_steps,
        model.output_spread,
        model.candidates,
        prox,
    )
