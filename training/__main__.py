# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands: python -m training train | export | compare | onnx | presets."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch

from gr_kaq.detection import model_file

from .config import SAVED, ConfigError, presets
from .detector import compare, evaluate, onnx_export, summary
from .detector.config import Config
from .detector.export import detector_model
from .detector.initial_model import initial_model
from .detector.train import CHECKPOINT, Run, TrainingInterruptedError, train

EXIT_INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        return options.command(options)
    except (ConfigError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("--threads", type=int, default=1, help="of torch (default 1: the matrices are small)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser(
        "train",
        help="train a detector from a YAML configuration",
        description="Train the full-precision twin, then the quantized network; measure both. Writes checkpoint.pt, "
        "config.yaml, summary.json and summary.png. A run that was interrupted goes on where it stopped.",
    )
    command.add_argument("config", help="path of a YAML file, or the name of a preset")
    command.add_argument(
        "--output",
        type=Path,
        default=Path("out/training"),
        help="directory of runs (default %(default)s); this one goes into a folder named after the configuration file",
    )
    _add_common(command, "mmd.epsilon=0")
    command.set_defaults(command=_train)

    command = commands.add_parser(
        "compare",
        help="train and measure several methods side by side",
        description="Train every method of a comparison at every width and seed, from the same full-precision twins, "
        "and measure all on the same transmissions. What is finished is skipped, what was interrupted goes on.",
    )
    command.add_argument(
        "comparison", type=Path, help="path of a YAML file, such as training/detector/comparisons/methods.yaml"
    )
    command.add_argument(
        "--output",
        type=Path,
        default=Path("out/compare"),
        help="directory of comparisons (default %(default)s); this one goes into a folder named after its file",
    )
    command.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one per core, here %(default)s)"
    )
    _add_common(command, "base.quantized.iterations=100")
    command.set_defaults(command=_compare)

    command = commands.add_parser(
        "export",
        help="write the model files of a finished run",
        description="Write NAME.kaq.json and its full-precision twin NAME-fp.kaq.json.",
    )
    command.add_argument("run", type=Path, help="directory of a finished run")
    command.add_argument("--output", type=Path, help="directory to write to (default: the run's)")
    command.set_defaults(command=_export)

    command = commands.add_parser(
        "onnx",
        help="write a detector as ONNX graphs, one for each SNR",
        description="Write a graph per SNR, NAME_SNRdB.onnx. Each is run in ONNX Runtime against the integer "
        "reference, over i.i.d. Rayleigh channels, and the integer matrix products that ONNX Runtime makes of it are "
        "counted.",
    )
    command.add_argument("detector", metavar="NAME", help="a quantized detector, or the path of a *.kaq.json file")
    command.add_argument("--snr", type=float, nargs="+", required=True, metavar="DB", help="the bins' SNRs in dB")
    command.add_argument("--output", type=Path, required=True, metavar="DIRECTORY", help="where to write")
    command.add_argument("--num-tx", type=int, help="fix the number of streams, for runtimes that want static shapes")
    command.set_defaults(command=_onnx)

    command = commands.add_parser("presets", help="list the configurations that ship with gr-kaq")
    command.set_defaults(command=_presets)
    return parser


def _add_common(command: argparse.ArgumentParser, example: str) -> None:
    command.add_argument("--fresh", action="store_true", help="start over, where something is found")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help=f"change a key of the YAML file, for example {example} (repeatable)",
    )


def _train(options: argparse.Namespace) -> int:
    config = Config.load(options.config, options.overrides)
    directory = options.output / Path(options.config).name.removesuffix(".yaml")
    resuming = (directory / CHECKPOINT).exists() and not options.fresh
    run = Run.resume(directory, config) if resuming else Run.start(config)
    directory.mkdir(parents=True, exist_ok=True)
    config.save(directory)
    if resuming:
        print(f"{directory}: going on from a checkpoint", file=sys.stderr)
    else:
        (directory / summary.SUMMARY).unlink(missing_ok=True)
    try:
        train(run, directory)
    except TrainingInterruptedError:
        print(f"interrupted; the same command goes on from {directory / CHECKPOINT}", file=sys.stderr)
        return EXIT_INTERRUPTED
    models = [detector_model(config, network) for network in (run.twin, run.network)]
    before = initial_model(config)
    if before is not None:
        models.insert(0, before)
    results = evaluate.measure(config, models)
    summary.write(directory, config, run.history, results, run.seconds)
    print(summary.table(results))
    print(f"wrote {directory}/{summary.SUMMARY} and summary.png; export with: python -m training export {directory}")
    return 0


def _export(options: argparse.Namespace) -> int:
    if not (options.run / summary.SUMMARY).exists():
        raise ConfigError(f"{options.run}: no {summary.SUMMARY}, so this is no finished run; train it first")
    config = Config.load(options.run / SAVED)
    run = Run.resume(options.run, config)
    results = summary.read_results(options.run)
    directory = options.output or options.run
    directory.mkdir(parents=True, exist_ok=True)
    for network in (run.network, run.twin):
        model = evaluate.with_measured_ber(detector_model(config, network), results)
        print(model_file.save(model, directory))
    return 0


def _compare(options: argparse.Namespace) -> int:
    comparison = compare.load(options.comparison, options.overrides)
    directory = options.output / options.comparison.name.removesuffix(".yaml")
    if options.jobs < 1:
        raise ConfigError(f"--jobs is {options.jobs}; at least 1 expected")
    try:
        compare.run(comparison, directory, options.jobs, fresh=options.fresh)
    except (KeyboardInterrupt, TrainingInterruptedError):
        print(f"interrupted; the same command goes on from what is in {directory}", file=sys.stderr)
        return EXIT_INTERRUPTED
    print(compare.table(compare.results(directory)))
    print(f"wrote {directory}/{compare.CELLS}/*/{compare.RESULT}")
    return 0


def _onnx(options: argparse.Namespace) -> int:
    onnx_export.export(options.detector, options.snr, options.output, options.num_tx)
    return 0


def _presets(options: argparse.Namespace) -> int:
    print("\n".join(presets()["detector"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
