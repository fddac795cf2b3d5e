# SPDX-License-Identifier: GPL-3.0-or-later
"""The one command: python -m training train | export | compare | evaluate | onnx | presets.

What is to be done is in `detector.commands` and `estimator.commands`. The configuration, or the one that a run's
directory holds, says which of the two it is for.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch

from gr_kaq.estimation.learned import EstimatorFileError, list_estimators

from .config import SAVED, ConfigError, kind_of, presets
from .detector import commands as detector
from .detector import onnx_export
from .estimator import commands as estimator
from .estimator.page import PAGE

ROOMS = {"detector": detector, "estimator": estimator}
RUNS = {"detector": Path("out/training"), "estimator": Path("out/estimator")}
"""Where runs go by default."""

EXIT_INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        options.command(options)
    except (ConfigError, EstimatorFileError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        print(f"interrupted{f'; {interrupt}' if interrupt.args else ''}", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description="Trains and exports detectors and channel estimators. Each configuration says what it trains. "
        "training/README.md has the whole story.",
    )
    parser.add_argument("--threads", type=int, default=1, help="of torch (default 1: the matrices are small)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for add in (_add_train, _add_export, _add_compare, _add_evaluate, _add_onnx, _add_presets):
        add(commands)
    return parser


def _add_train(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "train",
        help="train a detector or an estimator from a YAML configuration",
        description="Train the full-precision twin, then the quantized network; measure both. The directory of the run "
        f"gets {SAVED} and, of a detector, checkpoint.pt, summary.json and summary.png; of an estimator, estimator.pt "
        "and history.json. A detector's run that was interrupted goes on where it stopped; an estimator's starts over.",
    )
    command.add_argument("config", metavar="CONFIG", help="path of a YAML file, or a name that presets lists")
    command.add_argument(
        "--output",
        type=Path,
        metavar="DIRECTORY",
        help="of runs; this one goes into a folder named after the configuration "
        f"(default {' or '.join(f'{path} for {kind}s' for kind, path in RUNS.items())})",
    )
    _add_fresh(command)
    _add_overrides(command, "mmd.epsilon=0")
    command.set_defaults(command=_train)


def _add_export(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "export",
        help="write the files of a finished run that gr-kaq loads",
        description="Write the quantized network and its full-precision twin: NAME.kaq.json and NAME-fp.kaq.json of a "
        "detector, NAME.onnx and NAME-fp.onnx of an estimator.",
    )
    command.add_argument("run", type=Path, metavar="RUN", help="directory of a finished run")
    command.add_argument("--output", type=Path, metavar="DIRECTORY", help="where to write (default: the run's)")
    command.set_defaults(command=_export)


def _add_compare(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "compare",
        help="train and measure several quantization methods side by side",
        description="Of detectors: train every method of a comparison at every width and seed, from the same "
        "full-precision twins, and measure all on the same transmissions; what is finished is skipped, what was "
        "interrupted goes on. Of an estimator: quantize the twin of a finished run by every method of "
        "training/estimator/compare.py at 8 and 4 bits, on the same batches; writes compare.json into the run's "
        "directory.",
    )
    command.add_argument(
        "what",
        type=Path,
        metavar="COMPARISON|RUN",
        help="YAML file of a comparison of detectors, such as training/detector/comparisons/methods.yaml; or directory "
        "of a finished estimator run",
    )
    of_detectors = command.add_argument_group("options of a comparison of detectors")
    of_detectors.add_argument(
        "--output",
        type=Path,
        metavar="DIRECTORY",
        help="of comparisons; this one goes into a folder named after its file (default out/compare)",
    )
    of_detectors.add_argument("--jobs", type=int, help=f"processes (default: one per core, here {os.cpu_count()})")
    _add_fresh(of_detectors)
    _add_overrides(of_detectors, "base.quantized.iterations=100")
    of_run = command.add_argument_group("options of an estimator's run")
    of_run.add_argument("--iterations", type=int, help="of each trained method (default 500)")
    of_run.add_argument("--seeds", type=int, help="repetitions (default 2)")
    of_run.add_argument(
        "--page", type=Path, metavar="FILE", help="Markdown file whose marked table is replaced (default: none)"
    )
    command.set_defaults(command=_compare)


def _add_evaluate(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "evaluate",
        help="estimators: measure MSE and speed, and write the tables of docs/guide/learned-estimator.md",
        description="Measure the MSE of LS, LMMSE and learned estimators over SNR, Doppler and delay spread, and the "
        "time that the learned ones take in ONNX Runtime. (Detectors are measured by train.)",
    )
    command.add_argument(
        "estimators",
        nargs="*",
        metavar="ESTIMATOR",
        help=f"name or ONNX file (default: {', '.join(list_estimators()) or 'none ship'})",
    )
    command.add_argument("--frames", type=int, default=100, help="for each condition (default %(default)s)")
    command.add_argument("--seed", type=int, default=7, help="of the frames (default %(default)s)")
    command.add_argument(
        "--page",
        type=Path,
        metavar="FILE",
        default=PAGE,
        help="Markdown file whose marked tables are replaced (default docs/guide/learned-estimator.md)",
    )
    command.set_defaults(command=_evaluate)


def _add_onnx(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "onnx",
        help="detectors: write ONNX graphs, one for each SNR",
        description="Write a graph per SNR, NAME_SNRdB.onnx. Each is run in ONNX Runtime against the integer "
        "reference, over i.i.d. Rayleigh channels, and the integer matrix products that ONNX Runtime makes of it are "
        "counted. (Estimators are ONNX files as export writes them.)",
    )
    command.add_argument("detector", metavar="NAME", help="a quantized detector, or the path of a *.kaq.json file")
    command.add_argument("--snr", type=float, nargs="+", required=True, metavar="DB", help="the bins' SNRs in dB")
    command.add_argument("--output", type=Path, required=True, metavar="DIRECTORY", help="where to write")
    command.add_argument("--num-tx", type=int, help="fix the number of streams, for runtimes that want static shapes")
    command.set_defaults(command=_onnx)


def _add_presets(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("presets", help="list the configurations that ship with gr-kaq")
    command.set_defaults(command=_presets)


def _add_fresh(command: argparse._ActionsContainer) -> None:
    command.add_argument("--fresh", action="store_true", help="start over, where something is found")


def _add_overrides(command: argparse._ActionsContainer, example: str) -> None:
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help=f"change a key of the YAML file, for example {example} (repeatable)",
    )


def _train(options: argparse.Namespace) -> None:
    kind = kind_of(options.config, options.overrides)
    directory = (options.output or RUNS[kind]) / Path(options.config).name.removesuffix(".yaml")
    ROOMS[kind].train(options.config, options.overrides, directory, fresh=options.fresh)


def _export(options: argparse.Namespace) -> None:
    ROOMS[_kind_of_run(options.run)].export(options.run, options.output or options.run)


def _compare(options: argparse.Namespace) -> None:
    if not options.what.is_dir():
        _refuse(options, ("iterations", "seeds", "page"), "an estimator's run", "the file of a comparison")
        jobs = os.cpu_count() or 1 if options.jobs is None else options.jobs
        output = options.output or Path("out/compare")
        detector.compare_methods(options.what, options.overrides, output, jobs, fresh=options.fresh)
    elif _kind_of_run(options.what) == "estimator":
        _refuse(options, ("output", "jobs", "fresh", "overrides"), "a comparison of detectors", "an estimator's run")
        given = {"iterations": options.iterations, "seeds": options.seeds, "page": options.page}
        estimator.compare_methods(options.what, **{key: value for key, value in given.items() if value is not None})
    else:
        raise ConfigError(f"{options.what}: a detector's run; the file of a comparison, or an estimator's run expected")


def _refuse(options: argparse.Namespace, names: tuple[str, ...], theirs: str, found: str) -> None:
    """Raise `ConfigError` where options are given that belong to something else."""
    for name in names:
        if getattr(options, name) not in (None, False, []):
            option = {"overrides": "set"}.get(name, name)
            raise ConfigError(f"--{option} is an option of {theirs}; {options.what} is {found}")


def _evaluate(options: argparse.Namespace) -> None:
    estimator.evaluate(options.estimators or list_estimators(), options.frames, options.seed, options.page)


def _onnx(options: argparse.Namespace) -> None:
    onnx_export.export(options.detector, options.snr, options.output, options.num_tx)


def _presets(options: argparse.Namespace) -> None:
    for kind, names in presets().items():
        print(f"{kind}s:")
        for name in names:
            print(f"  {name}")


def _kind_of_run(directory: Path) -> str:
    path = directory / SAVED
    if not path.exists():
        raise ConfigError(f"{directory}: no {SAVED}, so this is no directory of a run; train it first")
    return kind_of(path)


if __name__ == "__main__":
    sys.exit(main())
