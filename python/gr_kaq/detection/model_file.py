# SPDX-License-Identifier: GPL-3.0-or-later
"""The model file NAME.kaq.json: a trained detector as a few dozen readable numbers.

docs/internals/model-format.md explains the keys; model_file.schema.json is the contract that `load` checks.
"""

from __future__ import annotations

import functools
import importlib
import json
import re
from dataclasses import dataclass, field
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..files import MAX_QUOTED, one_line, parse_json, read_file
from ..signals.constellation import CONSTELLATIONS, Constellation
from ..signals.signal_model import from_db
from . import list_model_file
from .antenna_counts import AntennaCounts
from .list_model import ListModel

__all__ = ["SUFFIX", "DetectorModel", "Law", "Layer", "Model", "ModelFileError", "load", "save"]

SUFFIX = ".kaq.json"
VERSION = 1
MAX_FILE_BYTES = 1 << 18  # a model is a few kilobytes; anything larger is not one
MAX_FAULTS = 10_000  # that are looked at, for the outermost
NUMBERS = re.compile(r"(?<=\[)\s+[-+.\deE]+(?:,\s+[-+.\deE]+)*\s+(?=\])")
"""A list of numbers, which `save` writes in one line."""


class ModelFileError(ValueError):
    """A model file that cannot be used; the message names the file, the key and what was expected."""


@dataclass(frozen=True)
class Law:
    """A parameter that follows the SNR: alpha * SNR^(-1/2) + gamma, with SNR linear (arXiv 2505.12736).

    alpha = 0 is a static parameter.
    """

    alpha: float
    gamma: float

    def __call__(self, snr: ArrayLike) -> NDArray[np.float64]:
        """Value at a linear SNR (any shape)."""
        return self.alpha / np.sqrt(np.asarray(snr, np.float64)) + self.gamma


@dataclass(frozen=True)
class Layer:
    """The laws of one layer; those that the network does not have are None.

    ADMM-Net has `variance`, `dual_step`, `relaxation`. PGD-Net has `gradient_step` and at most one of `threshold`
    (soft threshold) and `variance` (constellation-aware proximal map). Quantized networks have `step`.
    """

    step: Law | None = None
    variance: Law | None = None
    dual_step: Law | None = None
    relaxation: Law | None = None
    gradient_step: Law | None = None
    threshold: Law | None = None


@dataclass(frozen=True)
class DetectorModel(AntennaCounts):
    """A trained detector.

    Args:
        name: the file is NAME.kaq.json.
        network: ``"admm"`` or ``"pgd"``.
        constellation: what the streams carry.
        activation_bits, matrix_bits: widths of the operands of the matrix-vector product; None: full precision. Layers
            may differ in the activations': a tuple then, with a width for each.
        midrise: both operands are odd integers: all 2^bits levels are used, and there is no zero, see
            `quantization.quantize_channels`. ADMM-Net.
        matrix_clip: largest matrix entry that is represented, over the largest of its row.
        stream_steps: each stream's activations have a step of their own, see `quantization.quantize_channels`.
        max_num_rx, max_num_tx, min_rx_per_tx: antenna counts that the detector accepts.
        snr_range_db: SNR that training covered. Laws are evaluated at the SNR clipped to it.
        output_variance: error variance of the output over the linear estimate's, scales the LLRs;
        output_spread: it is (1 + output_spread P_ii^2) times that in row i, P_ii the row's `Preparation.diagonal`.
        layers: K layers.
        regularization: ADMM-Net's rho over noise_var.
        training: what it was trained on, free form.
        measured_ber: BER when it was exported, see docs/internals/model-format.md.
    """

    name: str
    network: str
    constellation: Constellation
    activation_bits: int | tuple[int, ...] | None
    matrix_bits: int | None
    max_num_rx: int
    max_num_tx: int
    min_rx_per_tx: float
    snr_range_db: tuple[float, float]
    output_variance: Law
    layers: tuple[Layer, ...]
    regularization: Law | None = None
    output_spread: float = 0.0
    matrix_clip: float = 1.0
    stream_steps: bool = False
    midrise: bool = False
    training: dict[str, Any] = field(default_factory=dict)
    measured_ber: tuple[dict[str, Any], ...] = ()

    @property
    def quantized(self) -> bool:
        """Whether the detector runs in integers."""
        return self.activation_bits is not None

    @property
    def layer_bits(self) -> tuple[int, ...]:
        """Width of each layer's activations, (K,); of a quantized model."""
        bits = self.activation_bits
        assert bits is not None
        return bits if isinstance(bits, tuple) else (bits,) * len(self.layers)

    @property
    def largest_activations(self) -> tuple[int, ...]:
        """The largest integer that each layer's activations become, (K,); of a quantized model."""
        return tuple(self._largest(bits) for bits in self.layer_bits)

    @property
    def largest_entry(self) -> int:
        """The largest integer that an entry of the matrix becomes; of a quantized model."""
        assert self.matrix_bits is not None
        return self._largest(self.matrix_bits)

    def _largest(self, bits: int) -> int:
        return 2**bits - 1 if self.midrise else 2 ** (bits - 1) - 1

    @functools.cached_property
    def law_tables(self) -> dict[str, NDArray[np.float64]]:
        """Name of a law -> (3, K): alpha, gamma, and 1 where the layer has it; only laws that some layer has."""
        tables = {}
        for name in vars(self.layers[0]):
            laws = [getattr(layer, name) for layer in self.layers]
            if any(laws):
                rows = [(law.alpha, law.gamma, 1.0) if law else (0.0, 0.0, 0.0) for law in laws]
                tables[name] = np.array(rows).T
        return tables

    def law_snr(self, snr_db: ArrayLike) -> NDArray[np.float64]:
        """Linear SNR at which the laws are evaluated: clipped to what training covered."""
        low, high = self.snr_range_db
        return from_db(np.maximum(np.minimum(snr_db, high), low))


Model = DetectorModel | ListModel
"""What a model file describes."""


def load(path: str | Path) -> Model:
    """Read and check a model file.

    Raises:
        ModelFileError: the file is missing, truncated, not of this format and version, or a value is out of range.
    """
    path = Path(path)
    try:
        return _from_document(parse_json(read_file(path, MAX_FILE_BYTES)), str(path))
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror}") from None
    except ModelFileError:
        raise
    except (ValueError, RecursionError) as error:  # a document may be too deep for the schema's validator, too
        raise ModelFileError(f"{path}: not valid JSON: {one_line(error)}") from None


def save(model: Model, directory: str | Path) -> Path:
    """Write `model` to directory/NAME.kaq.json and return that path."""
    path = Path(directory) / (model.name + SUFFIX)
    document = _to_document(model)
    _from_document(document, str(path))  # never write what `load` would refuse
    text = NUMBERS.sub(lambda match: " ".join(match[0].split()), json.dumps(document, indent=2))
    path.write_text(text + "\n", "utf-8")
    return path


@functools.cache
def _validator() -> Any:
    text = resources.files(__package__).joinpath("model_file.schema.json").read_text("utf-8")
    try:
        draft = importlib.import_module("jsonschema").Draft7Validator  # here, so that testbeds do without it
    except ImportError as error:
        raise ImportError(f"model files need Python's jsonschema ({error}); apt or pip can install it") from None
    return draft(json.loads(text))


def _complaint(error: Any) -> str:
    """What is wrong, in our own words: those of jsonschema are others in each version."""
    keyword, expected, found = error.validator, error.validator_value, error.instance
    if keyword == "not":
        return "not allowed here"
    if keyword == "required":
        return f"{_quoted(*(name for name in expected if name not in found))} missing"
    if keyword == "additionalProperties":
        return f"{_quoted(*(name for name in found if name not in error.schema['properties']))} unknown"
    wanted = {
        "enum": "one of {}",
        "type": "type {}",
        "minimum": "at least {}",
        "maximum": "at most {}",
        "minItems": "at least {} entries",
        "maxItems": "at most {} entries",
        "pattern": "a match of {}",
    }.get(keyword, "{}")
    alternatives = expected if isinstance(expected, list) else [expected]
    return f"{wanted.format(_quoted(*alternatives))} expected, got {_quoted(found)}"


def _quoted(*values: Any) -> str:
    return ", ".join(json.dumps(value) for value in values)[:MAX_QUOTED]


def _from_document(document: Any, origin: str) -> Model:
    """The model that a parsed file describes, or a `ModelFileError` that names the first key that is wrong."""
    # Said first, as every other complaint about a later version's file would mislead.
    if isinstance(document, dict) and document.get("version", VERSION) != VERSION:
        found = repr(document["version"])[:MAX_QUOTED]
        raise ModelFileError(f"{origin}: key version: {found} is not supported, {VERSION} expected")
    if isinstance(document, dict) and "candidates" in document:  # in files of an earlier day
        raise ModelFileError(
            f"{origin}: key candidates: second guesses are gone, use the detector auto instead; without this key the "
            "file still is its network"
        )
    faults = [
        (tuple(error.absolute_path), _complaint(error))
        for error in islice(_validator().iter_errors(document), MAX_FAULTS)
    ]
    if faults:
        path, complaint = min(faults, key=lambda fault: (len(fault[0]), fault))  # the outermost
        key = ".".join(str(part) for part in path) or "(top level)"
        raise ModelFileError(f"{origin}: key {key}: {complaint}")
    low, high = document["snr_range_db"]
    if low >= high:
        raise ModelFileError(
            f"{origin}: key snr_range_db: the first value has to be below the second, got {[low, high]}"
        )
    for number, point in enumerate(document["measured_ber"]):
        for key in ("bit_errors", "lmmse_bit_errors"):
            errors, bits = point.get(key, 0), point["bits"]
            if errors > bits:
                raise ModelFileError(
                    f"{origin}: key measured_ber.{number}.{key}: at most {bits} expected, got {errors}"
                )
    sizes = document["sizes"]
    common: dict[str, Any] = {
        "name": document["name"],
        "constellation": CONSTELLATIONS[document["constellation"]],
        # 8.0 is an integer to JSON Schema
        "max_num_rx": int(sizes["max_num_rx"]),
        "max_num_tx": int(sizes["max_num_tx"]),
        "min_rx_per_tx": float(sizes["min_rx_per_tx"]),
        "snr_range_db": (float(low), float(high)),
        "training": document["training"],
        "measured_ber": tuple(document["measured_ber"]),
    }
    if document["network"] == ListModel.network:
        try:
            return list_model_file.model(document, common)
        except ValueError as error:
            raise ModelFileError(f"{origin}: {error}") from None
    bits = document["bits"] or {}
    activations = bits.get("activations")
    if isinstance(activations, list) and len(activations) != len(document["layers"]):
        raise ModelFileError(
            f"{origin}: key bits.activations: a width for each of the {len(document['layers'])} layers expected, got "
            f"{len(activations)}"
        )
    return DetectorModel(
        **common,
        network=document["network"],
        activation_bits=_widths(activations),
        matrix_bits=int(bits["matrix"]) if bits else None,
        output_variance=Law(**document["output_variance"]),
        layers=tuple(Layer(**{k: Law(**law) for k, law in layer.items()}) for layer in document["layers"]),
        regularization=Law(**document["regularization"]) if "regularization" in document else None,
        output_spread=float(document.get("output_spread", 0.0)),
        matrix_clip=float(bits.get("matrix_clip", 1.0)),
        stream_steps=bits.get("stream_steps", False),
        midrise=bits.get("midrise", False),
    )


def _widths(found: Any) -> int | tuple[int, ...] | None:
    """Of the activations: as a file has them."""
    if found is None:
        return None
    return tuple(map(int, found)) if isinstance(found, list) else int(found)


def _to_document(model: Model) -> dict[str, Any]:
    """What `_from_document` reads, with numbers rounded to six decimals."""
    own = list_model_file.keys(model) if isinstance(model, ListModel) else _unfolded_keys(model)
    return {
        "format": "gr-kaq detector",
        "version": VERSION,
        "name": model.name,
        "network": model.network,
        "constellation": model.constellation.name,
        "bits": own.pop("bits"),
        "sizes": {
            "max_num_rx": model.max_num_rx,
            "max_num_tx": model.max_num_tx,
            "min_rx_per_tx": model.min_rx_per_tx,
        },
        "snr_range_db": list(model.snr_range_db),
        **own,
        "training": model.training,
        "measured_ber": list(model.measured_ber),
    }


def _unfolded_keys(model: DetectorModel) -> dict[str, Any]:
    """Keys of an unfolded network's document."""

    def law(value: Law) -> dict[str, float]:
        return {"alpha": round(float(value.alpha), 6), "gamma": round(float(value.gamma), 6)}

    bits: dict[str, Any] | None = None
    if model.quantized:
        activations = model.activation_bits
        bits = {
            "activations": list(activations) if isinstance(activations, tuple) else activations,
            "matrix": model.matrix_bits,
        }
        if model.matrix_clip != 1:
            bits["matrix_clip"] = round(float(model.matrix_clip), 6)
        for key in ("stream_steps", "midrise"):
            if getattr(model, key):
                bits[key] = True
    keys: dict[str, Any] = {
        "bits": bits,
        "output_variance": law(model.output_variance),
        "layers": [{k: law(v) for k, v in vars(layer).items() if v is not None} for layer in model.layers],
    }
    if model.regularization is not None:
        keys["regularization"] = law(model.regularization)
    if model.output_spread:
        keys["output_spread"] = round(float(model.output_spread), 6)
    return keys
