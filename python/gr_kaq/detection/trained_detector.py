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
        backend: ``"native"``, ``"reference"``, or ``"float"`` for a full-precision model.
    """

    model: AnyModel

    def __init__(self, model: AnyModel, backend: str):
        self.name, self.constellation = model.name, model.constellation
        self.model = model
        self.backend = backend if model.quantized else "float"
        if self.backend == "native":
            selected_instruction_set()  # said here, and not when the first estimate arrives

    def check_size(self, num_rx: int, num_tx: int) -> None:
        self.model.check_size(num_rx, num_tx)
