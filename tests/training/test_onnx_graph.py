# SPDX-License-Identifier: GPL-3.0-or-later
"""The builder of ONNX graphs."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
torch = pytest.importorskip("torch")

from training.onnx_graph import Graph, float_value

pytestmark = pytest.mark.training


def test_a_graph_computes_what_was_added():
    graph = Graph(share_constants=True)
    scaled = graph.add("Mul", "x", torch.nn.Parameter(torch.tensor([2.0, 3.0])))
    graph.scope = "end/"
    shifted = graph.add("Add", scaled, 1.0)
    graph.add("Reshape", shifted, graph.integers(-1), outputs=["y"])
    document = graph.model("test", [float_value("x", ["N", 2], "in")], [float_value("y", ["M"], "out")], {"a": "b"})
    assert (scaled, shifted) == ("Mul0", "end/Add1")
    assert [(entry.key, entry.value) for entry in document.metadata_props] == [("a", "b")]
    session = runtime.InferenceSession(document.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.run(["y"], {"x": np.array([[1, 1], [2, 0]], np.float32)})[0].tolist() == [3, 4, 5, 1]


@pytest.mark.parametrize("shared", [True, False])
def test_equal_constants_are_one_where_they_are_shared(shared):
    graph = Graph(share_constants=shared)
    names = [graph.constant(1.0), graph.constant(1), graph.constant([1.0]), graph.constant(1, np.int64)]
    assert len(set(names)) == (3 if shared else 4)


def test_a_node_may_have_several_outputs():
    graph = Graph(share_constants=False)
    assert graph.add("Split", "x", graph.integers(1, 1), outputs=["a", "b"], axis=0) == "a"
    assert list(graph.nodes[0].output) == ["a", "b"]
