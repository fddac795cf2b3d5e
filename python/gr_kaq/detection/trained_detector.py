# SPDX-License-Identifier: GPL-3.0-or-later
"""What the detectors of model files have in common."""

from __future__ import annotations

from typing import Generic, TypeVar

from ..native import selected_instruction_set
from .detector import Detector
from .list_model import ListModel
from .model_file import DetectorModel

__all__ = ["TrainedDetector"]

AnyModel = TypeVar("AnyModel", DetectorModel, ListModel)


class TrainedDetector(Detector, Generic[AnyModel]):
    """A detector from a model file.

    Attributes:
        model: the model.
        backend: ``"native"`` or ``"reference"``.
        precision: ``"int8"``, the quantized model's integers, or ``"fp32"``, the same model without quantization.
    """

    model: AnyModel

    def __init__(self, model: AnyModel, backend: str, precision: str = "auto"):
        self.name, self.constellation = model.name, model.constellation
        self.model = model
        if precision == "int8" and not model.quantized:
            raise ValueError(f"detector {model.name} is in full precision; precision 'fp32' or 'auto' expected")
        self.precision = precision if precision != "auto" else "int8" if model.quantized else "fp32"
        self.backend = backend
        if self.backend == "native":
            selected_instruction_set()  # said here, and not when the first estimate arrives

    def check_size(self, num_rx: int, num_tx: int) -> None:
        self.model.check_size(num_rx, num_tx)
