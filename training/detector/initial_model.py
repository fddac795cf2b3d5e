# SPDX-License-Identifier: GPL-3.0-or-later
"""Fine-tuning: training that starts from the parameters of an existing detector."""

from __future__ import annotations

import torch

from gr_kaq.detection.detectors import load_detector
from gr_kaq.detection.model_file import SUFFIX, DetectorModel
from gr_kaq.detection.unfolded_detector import UnfoldedDetector

from ..config import ROOT, ConfigError
from .config import Config
from .networks import AdmmNet, UnfoldedNet

__all__ = ["initial_model", "start_from"]


def initial_model(config: Config) -> DetectorModel | None:
    """The detector that the configuration names, None where it names none.

    Raises:
        ConfigError: there is no such detector, or it is of another architecture than the configuration's.
    """
    name = config.initial_model
    if name is None:
        return None
    try:
        detector = load_detector(str(ROOT / name) if name.endswith(SUFFIX) else name, backend="reference")
    except ValueError as error:  # linear detectors too: they need a constellation
        raise ConfigError(f"key initial_model: {error}") from None
    if not isinstance(detector, UnfoldedDetector):
        raise ConfigError(f"key initial_model: {name} is no unfolded network")
    model = detector.model
    if model.name in (config.name, f"{config.name}-fp"):
        raise ConfigError(f"key name: {config.name} is the initial model's; another one expected")
    for key, own, wanted in (
        ("network", model.network, config.network),
        ("layers", len(model.layers), config.layers),
        ("constellation", model.constellation.name, config.constellation),
        ("proximal", "soft_threshold" if "threshold" in model.law_tables else "ramp", config.proximal),
    ):
        if own != wanted:
            raise ConfigError(f"key initial_model: {model.name} has {key} {own}, and the configuration {wanted}")
    for size in config.sizes:
        try:
            model.check_size(*size)
        except ValueError as error:
            raise ConfigError(f"key initial_model: {error}") from None
    return model


def start_from(twin: UnfoldedNet, model: DetectorModel) -> None:
    """Give the full-precision twin the laws of a detector of its architecture, but for the steps, which it has none of.

    Raises:
        ConfigError: the network's laws are static, and the detector's are not.
    """
    for name, law in twin.laws().items():
        shared = getattr(model, name, None)
        table = torch.tensor([[shared.alpha], [shared.gamma]] if shared else model.law_tables[name][:2])
        alpha, gamma = table[:, : len(law.scale)].float().to(law.scale.device)
        if law.kind == "static" and alpha.any():
            raise ConfigError(f"key laws: static, but {name} of {model.name} follows the SNR")
        law.load(alpha, gamma)
    if isinstance(twin, AdmmNet):
        twin.output_spread.data.fill_(model.output_spread)
