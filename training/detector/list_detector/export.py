# SPDX-License-Identifier: GPL-3.0-or-later
"""From a trained list detector to the model that gr_kaq loads."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from gr_kaq.detection.list_model import Curves, FusionWeights, ListModel, PropagationLayer, Step
from gr_kaq.signals.constellation import CONSTELLATIONS

from .config import ListConfig
from .network import ListNet

__all__ = ["list_model"]


def list_model(config: ListConfig, network: ListNet) -> ListModel:
    """The model of a trained network; `measured_ber` is left empty.

    Full-precision twins are called NAME-fp. In the file, numbers have six decimals, and the weights
    of the fusion four; that is what is evaluated too.
    """
    weights = network.weights.detach()

    def curves(rows: torch.Tensor) -> Curves:
        return tuple(tuple(_rounded(row, 4)) for row in rows)

    step = Step(*_rounded(torch.stack([network.alpha, network.gamma]))) if network.quantized else Step(0.0, 0.0)
    return ListModel(
        name=config.name if network.quantized else config.name + "-fp",
        constellation=CONSTELLATIONS[config.constellation],
        survivors=config.survivors,
        matrix_bits=config.matrix_bits if network.quantized else None,
        step=step,
        layers=tuple(
            PropagationLayer(*pair)
            for pair in zip(_rounded(network.damping), _rounded(network.least_variance), strict=True)
        ),
        knots=config.knots,
        fusion=tuple(
            FusionWeights(
                max_num_tx, curves(group[0, 0]), curves(group[1, 0]), curves(group[0, 1]), curves(group[1, 1])
            )
            for max_num_tx, group in zip(config.groups, weights, strict=True)
        ),
        **dataclasses.asdict(config.accepts),
        snr_range_db=config.snr_db,
        training=_training(config, network.quantized),
    )


def _rounded(values: torch.Tensor, decimals: int = 6) -> list[float]:
    return [round(value, decimals) for value in values.detach().tolist()]


def _training(config: ListConfig, quantized: bool) -> dict[str, Any]:
    document = config.to_dict()
    for key in ("name", "network", "layers", "constellation", "survivors", "matrix_bits", "knots", "groups"):
        del document[key]
    for key in ("accepts", "evaluation", *(() if quantized else ("quantized", "step", "mmd"))):
        del document[key]
    return {**document, "torch": str(torch.__version__)}
