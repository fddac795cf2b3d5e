# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands: python -m training.estimator train | export | compare | evaluate."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

from gr_kaq.estimation.learned import WINDOW, EstimatorFileError
from gr_kaq.frames.frame_format import NUM_SYMBOLS

from ..config import SAVED, ConfigError, presets
from . import compare, evaluate
from .config import Config
from .export import error_db, export, held_out_windows, linear, refined
from .network import EstimatorNet
from .page import add_page, replace_blocks
from .train import quantize, train_twin, training_windows

RUN_FILE = "estimator.pt"


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        return options.command(options)
    except (ConfigError, EstimatorFileError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.estimator", description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="of torch (default 1)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser(
        "train",
        help="train an estimator from a YAML configuration",
        description="Train the full-precision twin, then the quantized network. Writes estimator.pt, config.yaml and "
        "history.json.",
    )
    _add_config(command)
    command.add_argument("--output", type=Path, default=Path("out/estimator"), help="directory of runs")
    command.set_defaults(command=_train)

    command = commands.add_parser("export", help="write NAME.onnx and NAME-fp.onnx of a finished run")
    command.add_argument("run", type=Path, help="directory of a finished run")
    command.add_argument("--output", type=Path, help="directory to write to (default: the run's)")
    command.set_defaults(command=_export)

    command = commands.add_parser(
        "compare",
        help="quantize a run's twin with several methods, side by side",
        description="Every method of training/estimator/compare.py at 8 and 4 bits, from the same twin, on the same "
        "batches. Writes compare.json into the run's directory.",
    )
    command.add_argument("run", type=Path, help="directory of a finished run")
    command.add_argument("--iterations", type=int, default=500, help="of each trained method (default %(default)s)")
    command.add_argument("--seeds", type=int, default=2, help="repetitions (default %(default)s)")
    add_page(command, None)
    command.set_defaults(command=_compare)

    command = commands.add_parser(
        "evaluate",
        help="measure MSE and speed of estimators, and write docs/learned-estimator.md's tables",
        description="MSE over SNR, Doppler and delay spread of LS, LMMSE and learned estimators, and the time that "
        "these take in ONNX Runtime.",
    )
    evaluate.add_arguments(command)
    command.set_defaults(command=evaluate.command)
    return parser


def _add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument("config", help=f"path of a YAML file, or one of {', '.join(presets()['estimator'])}")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="change a key of the YAML file, for example quantizer.law=static (repeatable)",
    )


def _train(options: argparse.Namespace) -> int:
    config = Config.load(options.config, options.overrides)
    directory = options.output / Path(options.config).name.removesuffix(".yaml")
    data = training_windows(config)
    twin, twin_history = train_twin(config, data)
    network, history = quantize(config, data, twin)
    directory.mkdir(parents=True, exist_ok=True)
    config.save(directory)
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
    print(f"wrote {directory}; export with: python -m training.estimator export {directory}")
    return 0


def _load_run(directory: Path) -> tuple[Config, EstimatorNet, EstimatorNet]:
    if not (directory / RUN_FILE).exists():
        raise ConfigError(f"{directory}: no {RUN_FILE}, so this is no finished run; train it first")
    config = Config.load(directory / SAVED)
    state = torch.load(directory / RUN_FILE, weights_only=True)
    twin, network = EstimatorNet(config, quantized=False), EstimatorNet(config, quantized=True)
    twin.load_state_dict(state["twin"])
    network.load_state_dict(state["network"])
    return config, twin, network


def _export(options: argparse.Namespace) -> int:
    config, twin, network = _load_run(options.run)
    for path in export(config, twin, network, options.output or options.run):
        print(path)
    return 0


def _compare(options: argparse.Namespace) -> int:
    config, twin, _ = _load_run(options.run)
    result = compare.run(config, twin, options.iterations, options.seeds)
    path = options.run / "compare.json"
    path.write_text(json.dumps(result, indent=1), "utf-8")
    print(compare.table(result))
    if options.page is not None:
        replace_blocks(options.page, {f"kaq {config.name}": compare.table(result)})
    print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
