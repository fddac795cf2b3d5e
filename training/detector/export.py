# SPDX-License-Identifier: GPL-3.0-or-later
"""From a trained network to the model file that gr_kaq loads."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from gr_kaq.detection.model_file import DetectorModel, Layer
from gr_kaq.detection.model_file import Law as FileLaw
from gr_kaq.signals.constellation import CONSTELLATIONS

from ..quantization.laws import Law
from .config import Config
from .networks import CLIP_RANGE, AdmmNet, UnfoldedNet

__all__ = ["detector_model"]


def detector_model(config: Config, network: UnfoldedNet) -> DetectorModel:
    """The model of a trained network; `measured_ber` is left empty.

    Full-precision twins are called NAME-fp. In the file, numbers have six decimals, which is what is evaluated too.
    """
    quantized = network.step is not None
    laws = {name: _file_laws(law) for name, law in network.laws().items()}
    shared = {name: laws.pop(name)[0] for name in ("output_variance", "regularization") if name in laws}
    layers = []
    for k in range(config.layers):
        layers.append(Layer(**{name: per_layer[k] for name, per_layer in laws.items() if k < len(per_layer)}))
    spread = max(0.0, float(network.output_spread.detach())) if isinstance(network, AdmmNet) else 0.0
    return DetectorModel(
        name=config.name if quantized else config.name + "-fp",
        network=config.network,
        constellation=CONSTELLATIONS[config.constellation],
        activation_bits=config.activation_bits if quantized else None,
        matrix_bits=config.matrix_bits if quantized else None,
        **dataclasses.asdict(config.accepts),
        snr_range_db=config.snr_db,
        output_variance=shared["output_variance"],
        layers=tuple(layers),
        regularization=shared.get("regularization"),
        output_spread=round(spread, 6),
        matrix_clip=round(float(network.matrix_clip.detach().clamp(*CLIP_RANGE)), 6) if quantized else 1.0,
        stream_steps=quantized and config.quantizer.streams == "own",
        midrise=quantized and config.quantizer.midrise,
        training=_training(config, quantized),
    )


def _file_laws(law: Law) -> list[FileLaw]:
    pairs = zip(law.alpha.tolist(), law.gamma.tolist(), strict=True)
    return [FileLaw(round(alpha, 6), round(gamma, 6)) for alpha, gamma in pairs]


def _training(config: Config, quantized: bool) -> dict[str, Any]:
    document = config.to_dict()
    said_elsewhere = {"name", "network", "layers", "constellation", "activation_bits", "matrix_bits", "accepts"}
    for key in said_elsewhere | {"snr_db", "evaluation"}:
        del document[key]
    if not quantized:
        for key in ("quantized", "quantizer", "mmd"):
            del document[key]
    return {**document, "torch": str(torch.__version__)}
