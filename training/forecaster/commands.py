# SPDX-License-Identifier: GPL-3.0-or-later
"""What python -m training does with forecasters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch

from ..config import SAVED, ConfigError
from .config import Config
from .export import onnx_model
from .network import ForecasterNet
from .series import draw
from .train import excess_db, inputs_of
from .train import train as train_networks

__all__ = ["export", "train"]

RUN_FILE = "forecaster.pt"
HELD_OUT_SEED = 10**6


def train(source: str, overrides: Sequence[str], directory: Path, *, fresh: bool) -> None:
    """Train a forecaster, and print how far it is above the bound on scenes that it has not seen.

    Args:
        source, overrides: see `Config.load`.
        directory: of the run. Whatever was there is replaced.
        fresh: of no effect, as training takes minutes: it always starts over.

    Raises:
        ConfigError: the configuration cannot be used.
    """
    config = Config.load(source, overrides)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / RUN_FILE).unlink(missing_ok=True)
    config.save(directory)
    twin, network = train_networks(config)
    torch.save({"twin": twin.state_dict(), "network": network.state_dict()}, directory / RUN_FILE)
    batch = draw(np.random.default_rng(HELD_OUT_SEED + config.seed), 100, *config.size)
    for name, trained in (("full precision", twin), (f"INT{config.bits}", network)):
        with torch.no_grad():
            found = excess_db(batch, trained(inputs_of(batch))[0]).mean((0, 1)).numpy()
        print(f"{name}: above the bound by {np.round(found[[0, 1, 3, 7, 19]], 2)} dB, 1, 2, 4, 8, 20 frames ahead")
    print(f"wrote {directory}; export with: python -m training export {directory}")


def export(directory: Path, output: Path) -> None:
    """Write the ONNX files of a finished run, NAME.onnx and NAME-fp.onnx, and print their paths.

    Raises:
        ConfigError: the run is not finished, or has a width that ONNX has not.
    """
    config = Config.load(directory / SAVED)
    if not (directory / RUN_FILE).exists():
        raise ConfigError(f"{directory}: no {RUN_FILE}, so this is no finished run; train it first")
    if config.bits != 8:
        raise ConfigError(f"{directory}: {config.bits} bits; ONNX has 8")
    state = torch.load(directory / RUN_FILE, weights_only=True)
    output.mkdir(parents=True, exist_ok=True)
    for part, bits, suffix in (("network", config.bits, ""), ("twin", None, "-fp")):
        network = ForecasterNet(bits)
        network.load_state_dict(state[part])
        path = output / f"{config.name}{suffix}.onnx"
        onnx.save(onnx_model(network.eval(), {"description": "channel forecaster by clustering"}), path)
        print(path)
