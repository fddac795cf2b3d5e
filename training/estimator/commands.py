# SPDX-License-Identifier: GPL-3.0-or-later
"""What python -m training does with learned channel estimators."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from gr_kaq.estimation.learned import WINDOW, LearnedEstimator
from gr_kaq.frames.frame_format import NUM_SYMBOLS

from ..config import ROOT, SAVED, ConfigError
from ..page import replace_blocks
from .config import Config
from .evaluate import SQUARE, measure, mse_table, plot, speed, speed_table, summary
from .export import error_db, held_out_windows, linear, refined
from .export import export as export_files
from .network import EstimatorNet
from .sources import RUN_FILE, load_twin
from .train import quantize, train_twin, training_windows

__all__ = ["PAGE", "begin_run", "evaluate", "export", "train"]

PAGE = ROOT / "docs" / "guide" / "learned-estimator.md"


def train(source: str, overrides: Sequence[str], directory: Path, *, fresh: bool) -> None:
    """Train an estimator, and print its error on frames that were held out.

    Args:
        source, overrides: see `Config.load`.
        directory: of the run; one that was interrupted goes on.
        fresh: start over.

    Raises:
        ConfigError: the configuration cannot be used, or the directory holds another one's run.
    """
    config = Config.load(source, overrides)
    checkpoints = [directory / f"{stage}.checkpoint.pt" for stage in ("full_precision", "quantized")]
    begin_run(config, directory, [*checkpoints, directory / RUN_FILE], fresh=fresh)
    data = training_windows(config)
    start = load_twin(config.start)[1] if config.start else None
    twin, twin_history = train_twin(config, data, checkpoint=checkpoints[0], start=start)
    network, history = quantize(config, data, twin, checkpoint=checkpoints[1])
    (directory / "history.json").write_text(
        json.dumps({"full_precision": twin_history, "quantized": history}, indent=1), "utf-8"
    )
    torch.save({"twin": twin.state_dict(), "network": network.state_dict()}, directory / RUN_FILE)
    held_out = held_out_windows(config)
    for name, estimate in (
        ("LS", linear(held_out)),
        ("LMMSE", held_out.lmmse),
        ("full precision", refined(twin, held_out)),
        (f"INT{config.quantizer.bits}", refined(network, held_out)),
    ):
        print(f"{name:15s}{error_db(held_out, estimate):7.2f} dB relative to LMMSE")
    print(f"{twin.multiplications() / (WINDOW * NUM_SYMBOLS):.0f} multiplications per carrier and symbol")
    print(f"wrote {directory}; export with: python -m training export {directory}")


def export(directory: Path, output: Path) -> None:
    """Write the ONNX files of a finished run, and print their paths.

    Raises:
        ConfigError: the run is not finished, or has a width that ONNX has not.
    """
    for path in export_files(*_load_run(directory), output):
        print(path)


def evaluate(names: Sequence[str], frames: int, seed: int, page: Path) -> None:
    """Measure the error and the speed of estimators; write tables, numbers and plot.

    Args:
        names: of estimators that ship, or ONNX files.
        frames: for each condition.
        seed: of the frames.
        page: Markdown file that gets the tables; mse.json and mse.png go into the folder of its name.

    Raises:
        ConfigError: there are too few frames, or the page has no place for the tables.
        EstimatorFileError: one is no estimator.
    """
    if frames < 2:
        raise ConfigError(f"--frames is {frames}; at least 2 expected, as there are intervals")
    estimators = {LearnedEstimator(name).name: name for name in names}
    cells = measure(estimators, frames, seed)
    times = {name: speed(LearnedEstimator(source)) for name, source in estimators.items()}
    folder = page.with_suffix("")
    folder.mkdir(exist_ok=True)
    (folder / "mse.json").write_text(json.dumps({"seed": seed, "cells": cells, "us": times}, indent=1), "utf-8")
    plot(cells, folder / "mse.png")
    square, others = ([cell for cell in cells if (cell["set"] == SQUARE) is wanted] for wanted in (True, False))
    replace_blocks(
        page,
        {
            "summary": summary(cells, frames, seed),
            "mse": mse_table(square, "delay_spread_ns", "doppler_hz", "snr_db"),
            "others": mse_table(others, "set", "doppler_hz", "snr_db"),
            "speed": speed_table(times),
        },
    )
    print(f"wrote {page}, {folder}/mse.json and mse.png")


def begin_run(config: Config, directory: Path, files: Sequence[Path], *, fresh: bool) -> None:
    """Write the configuration into the directory of a run.

    Args:
        config: of the run.
        directory: of the run.
        files: that hold how far it got, and that are removed to start over.
        fresh: start over.

    Raises:
        ConfigError: there is a run of another configuration.
    """
    directory.mkdir(parents=True, exist_ok=True)
    if fresh:
        for path in files:
            path.unlink(missing_ok=True)
    elif any(path.exists() for path in files) and (directory / SAVED).exists():
        stored, given = Config.load(directory / SAVED).to_dict(), config.to_dict()
        different = sorted(key for key in given if stored[key] != given[key])
        if different:
            raise ConfigError(
                f"{directory}: holds a run with another configuration (differs in: {', '.join(different)}); "
                "start over with --fresh, or choose another --output"
            )
    config.save(directory)


def _load_run(directory: Path) -> tuple[Config, EstimatorNet, EstimatorNet]:
    """Configuration, twin and quantized network."""
    config, twin = load_twin(str(directory))
    network = EstimatorNet(config, quantized=True)
    network.load_state_dict(torch.load(directory / RUN_FILE, weights_only=True, map_location="cpu")["network"])
    return config, twin, network
