# SPDX-License-Identifier: GPL-3.0-or-later
"""A builder of ONNX graphs: nodes and constants in the making, and the finished file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import ArrayLike, NDArray
from onnx import TensorProto, helper, numpy_helper

import gr_kaq

__all__ = ["Graph", "float_value"]

OPSET = 17
IR_VERSION = 8


class Graph:
    """Nodes and constants in the making; a value is known by its name.

    Args:
        share_constants: whether equal constants are one.

    Attributes:
        nodes: in the order that they were added.
        scope: what the names of further nodes begin with.
    """

    def __init__(self, *, share_constants: bool) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.scope = ""
        self._constants: list[onnx.TensorProto] = []
        self._known: dict[tuple[Any, ...], str] | None = {} if share_constants else None

    def constant(self, value: ArrayLike | torch.Tensor, dtype: type = np.float32) -> str:
        """A constant; returns its name."""
        array: NDArray[Any] = np.asarray(value.detach().numpy() if isinstance(value, torch.Tensor) else value, dtype)
        key = (array.tobytes(), array.shape, array.dtype.str)
        if self._known is not None and key in self._known:
            return self._known[key]
        name = f"constant{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(array, name))
        if self._known is not None:
            self._known[key] = name
        return name

    def integers(self, *values: int) -> str:
        """A constant of one dimension, such as a shape."""
        return self.constant(values, np.int64)

    def add(
        self,
        operator: str,
        *inputs: str | ArrayLike | torch.Tensor,
        outputs: Sequence[str] | None = None,
        **attributes: Any,
    ) -> str:
        """A node; returns the name of its first output.

        Args:
            operator: of ONNX.
            inputs: names; anything else becomes a constant.
            outputs: their names. None: one, which is named after the operator.
            attributes: of the operator.
        """
        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        outputs = outputs or [f"{self.scope}{operator}{len(self.nodes)}"]
        self.nodes.append(helper.make_node(operator, names, outputs, name=outputs[0], **attributes))
        return outputs[0]

    def model(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        metadata: dict[str, str],
    ) -> onnx.ModelProto:
        """The finished file, checked.

        Args:
            name: of the graph.
            inputs, outputs: see `float_value`.
            metadata: of the file.
        """
        document = helper.make_model(
            helper.make_graph(self.nodes, name, inputs, outputs, self._constants),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="gr-kaq",
            producer_version=gr_kaq.__version__,
        )
        helper.set_model_props(document, metadata)
        onnx.checker.check_model(document, full_check=True)
        return document


def float_value(name: str, shape: Sequence[int | str], note: str) -> onnx.ValueInfoProto:
    """An input or an output of single precision; names in its shape stand for any size."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape, note)
