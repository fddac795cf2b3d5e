# SPDX-License-Identifier: GPL-3.0-or-later
"""A trained network as a detector."""

from __future__ import annotations

from ..native import selected_instruction_set
from .detector import Detector
from .full_precision_plan import FullPrecisionPlan
from .model_file import DetectorModel
from .native_kernel import NativePlan
from .plan import Plan
from .reference_plan import ReferencePlan

__all__ = ["UnfoldedDetector"]


class UnfoldedDetector(Detector):
    """A trained network from a model file.

    Attributes:
        model: the model.
        backend: ``"native"``, ``"reference"``, or ``"float"`` for a full-precision model.
    """

    def __init__(self, model: DetectorModel, backend: str):
        self.name, self.constellation = model.name, model.constellation
        self.model = model
        self.backend = backend if model.quantized else "float"
        if self.backend == "native":
            selected_instruction_set()  # said here, and not when the first estimate arrives

    def check_size(self, num_rx: int, num_tx: int) -> None:
        self.model.check_size(num_rx, num_tx)

    def _plan(self, shape: tuple[int, int, int], num_threads: int) -> Plan:
        if self.backend == "native":
            return NativePlan(self.model, *shape, num_threads=num_threads)
        return (ReferencePlan if self.backend == "reference" else FullPrecisionPlan)(self.model, shape)
