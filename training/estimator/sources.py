# SPDX-License-Identifier: GPL-3.0-or-later
"""The full-precision networks that quantizers start from: of a finished run, of an estimator that ships, or stored.

An estimator that ships is an ONNX file, which holds the weights of its network; weights of others that are too large
to be trained in passing lie in training/data/NAME.npz, in half precision, for the configuration NAME.
"""

from __future__ import annotations

import io
import json
from importlib import resources
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

import gr_kaq.estimation
from gr_kaq.estimation.learned import SUFFIX, list_estimators
from gr_kaq.files import read_file

from ..config import ROOT, SAVED, ConfigError, presets
from .config import Config
from .network import EstimatorNet
from .onnx_model import onnx_model

__all__ = ["RUN_FILE", "load_twin", "store_twin"]

RUN_FILE = "estimator.pt"
STORED = ROOT / "training" / "data"
MAX_FILE_BYTES = 16 << 20


def load_twin(source: str) -> tuple[Config, EstimatorNet]:
    """The configuration and the full-precision network.

    Args:
        source: directory of a finished run, name of an estimator that ships, or of stored weights.

    Raises:
        ConfigError: there is no such network.
    """
    if Path(source).is_dir():
        path = Path(source) / RUN_FILE
        if not path.exists():
            raise ConfigError(f"{source}: no {RUN_FILE}, so this is no finished run; train it first")
        config = Config.load(Path(source) / SAVED)
        twin = EstimatorNet(config, quantized=False)
        twin.load_state_dict(torch.load(path, weights_only=True, map_location="cpu")["twin"])
        return config, twin
    if f"{source}-fp" in list_estimators():
        return _shipped(f"{source}-fp{SUFFIX}")
    stored = STORED / f"{source}.npz"
    if source in presets()["estimator"] and stored.exists():
        config = Config.load(source)
        twin = EstimatorNet(config, quantized=False)
        with np.load(io.BytesIO(read_file(stored, MAX_FILE_BYTES)), allow_pickle=False) as archive:
            twin.load_state_dict({name: torch.from_numpy(archive[name].astype(np.float32)) for name in archive.files})
        return config, twin
    known = [name.removesuffix("-fp") for name in list_estimators() if name.endswith("-fp")]
    known += [path.stem for path in STORED.glob("*.npz") if path.stem in presets()["estimator"]]
    raise ConfigError(f"{source}: directory of a finished run, or one of {', '.join(known)} expected")


def store_twin(twin: EstimatorNet, path: Path) -> None:
    """Write weights in half precision, for `load_twin`."""
    np.savez_compressed(path, **{name: value.numpy().astype(np.float16) for name, value in twin.state_dict().items()})


def _shipped(file: str) -> tuple[Config, EstimatorNet]:
    """The network in an ONNX file that `onnx_model` wrote: its constants come in the order of those of any other."""
    content = resources.files(gr_kaq.estimation).joinpath("estimators", file).read_bytes()
    document = onnx.load_model_from_string(content)
    metadata = {entry.key: entry.value for entry in document.metadata_props}
    config = Config.from_document({"kind": Config.kind, **json.loads(metadata["training"])})
    twin = EstimatorNet(config, quantized=False)
    for parameter in twin.parameters():
        torch.nn.init.normal_(parameter)
    like = onnx_model(twin, "like", {})
    found = [
        (numpy_helper.to_array(theirs), numpy_helper.to_array(ours))
        for theirs, ours in zip(document.graph.initializer, like.graph.initializer, strict=True)
    ]
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.copy_(torch.from_numpy(_matching(parameter.numpy(), found).copy()))
    return config, twin


def _matching(own: np.ndarray, found: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """What the file has in place of a parameter, which may be transposed or flattened there."""
    for theirs, ours in found:
        if ours.size == own.size:
            if np.array_equal(ours.ravel(), own.ravel()):
                return theirs.reshape(own.shape)
            if np.array_equal(ours, own.T):
                return theirs.T
    raise AssertionError("a parameter that is no constant of the graph")
