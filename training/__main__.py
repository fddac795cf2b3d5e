# SPDX-License-Identifier: GPL-3.0-or-later
"""The one command: python -m training train | export | quantize | losses | allocate | compare | evaluate | ...

What is to be done is in the `commands` of `detector`, `estimator` and `forecaster`, and in
`estimator.quantize_commands`. The configuration, or the one that a run's directory holds, says which it is for.
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
from .detector.allocate import SCORES as DETECTOR_SCORES
from .estimator import commands as estimator
from .estimator import quantize_commands
from .estimator.allocate import SCORES
from .estimator.commands import PAGE
from .estimator.compare import BITS
from .estimator.config import Quantizer
from .forecaster import commands as forecaster
from .quantization.allocation import Budget
from .quantization.recipes import RECIPES

ROOMS = {"detector": detector, "estimator": estimator, "forecaster": forecaster}
RUNS = {"detector": Path("out/training"), "estimator": Path("out/estimator"), "forecaster": Path("out/forecaster")}
"""Where runs go by default."""

STUDIES = Path("out/quantized")
"""Where what quantizers do goes by default."""

FRAMES = 6000
CHANNELS = 4000
EXIT_INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        options.command(options)
    except (ConfigError, EstimatorFileError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as interrupt:
        print(f"interrupted{f'; {interrupt}' if interrupt.args else ''}", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training",
        description="Trains and exports detectors, channel estimators and forecasters. Each configuration says what it "
        "trains. training/README.md has the whole story.",
    )
    parser.add_argument("--threads", type=int, default=1, help="of torch (default 1: the matrices are small)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    adders = (
        _add_train,
        _add_export,
        _add_quantize,
        _add_losses,
        _add_allocate,
        _add_compare,
        _add_evaluate,
        _add_onnx,
    )
    for add in (*adders, _add_presets):
        add(commands)
    return parser


def _add_train(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "train",
        help="train a detector, an estimator or a forecaster from a YAML configuration",
        description="Train the full-precision twin, then the quantized network; measure both. The directory of the run "
        f"gets {SAVED} and, of a detector, checkpoint.pt, summary.json and summary.png; of an estimator, estimator.pt "
        "and history.json; of a forecaster, forecaster.pt. What was interrupted goes on where it stopped; a "
        "forecaster's run starts over.",
    )
    command.add_argument("config", metavar="CONFIG", help="path of a YAML file, or a name that presets lists")
    command.add_argument(
        "--output",
        type=Path,
        metavar="DIRECTORY",
        help="of runs; this one goes into a folder named after the configuration "
        f"(default {', '.join(f'{path} for {kind}s' for kind, path in RUNS.items())})",
    )
    _add_fresh(command)
    _add_overrides(command, "mmd.epsilon=0")
    command.set_defaults(command=_train)


def _add_export(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "export",
        help="write the files of a finished run that gr-kaq loads",
        description="Write the quantized network and its full-precision twin: NAME.kaq.json and NAME-fp.kaq.json of a "
        "detector, NAME.onnx and NAME-fp.onnx of an estimator or a forecaster.",
    )
    command.add_argument("run", type=Path, metavar="RUN", help="directory of a finished run")
    command.add_argument("--output", type=Path, metavar="DIRECTORY", help="where to write (default: the run's)")
    command.set_defaults(command=_export)


def _add_quantize(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "quantize",
        help="estimators: quantize a full-precision network by one of the recipes",
        description="Quantize the full-precision network of an estimator: fold and calibrate as the recipe says, and "
        "train on, if there are iterations. export takes the run's directory. What was interrupted goes on.",
    )
    _add_network(command)
    _add_method(command)
    command.add_argument("--bits", type=int, default=8, help="of weights and activations (default %(default)s)")
    command.add_argument("--widths", type=int, nargs="+", default=[], help="bits of each product, as allocate says")
    command.add_argument("--strength", type=float, help="of the scales, 0 to 1 (default 1; smoothquant 0.5)")
    command.add_argument(
        "--law",
        choices=("static", "dynamic"),
        default="static",
        help="of the steps; dynamic is KAQ: they follow the SNR, and the distribution is matched",
    )
    command.add_argument("--iterations", type=int, default=0, help="of training (default %(default)s: calibrate only)")
    command.add_argument("--seed", type=int, default=1, help="of everything random (default %(default)s)")
    command.add_argument("--name", help="of the exported estimator (default: of network, method and bits)")
    _add_output(command)
    _add_fresh(command)
    command.set_defaults(command=_quantize)


def _add_losses(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "losses",
        help="estimators: which product loses what, and how different the channels are",
        description="Quantize one operand at a time, and measure the loss; and the range of each channel before and "
        "after a recipe's folds. Where the largest is not twice the median, folding cannot matter.",
    )
    _add_network(command)
    _add_method(command)
    command.add_argument("--bits", type=int, default=4, help="of what is quantized (default %(default)s)")
    _add_output(command)
    _add_page(command)
    command.set_defaults(command=_losses)


def _add_allocate(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "allocate",
        help="mixed precision: a width for each product of an estimator, or each layer of a detector",
        description="Score what each product or layer loses at each width, and take the widths that lose least within "
        "a budget. --truth measures every allocation, and by how much each score misses the best. Of a detector, "
        "widths are those of the activations; all layers share the matrix.",
    )
    command.add_argument(
        "network",
        metavar="NETWORK",
        help="directory of a finished run, or a name: estimator (what ships), estimator-published, or a detector that "
        "ships, such as admm5-16qam",
    )
    command.add_argument(
        "--budget",
        required=True,
        metavar="UNIT:SHARE",
        help="bops or bytes, and a share of 8 bits everywhere: bops:0.5",
    )
    scores = tuple(score for score in SCORES if score != "random")
    command.add_argument(
        "--score",
        choices=scores,
        default="jacobian",
        help="default %(default)s. lrp (estimators) is patented: free of charge for personal and scientific purposes "
        "only",
    )
    command.add_argument("--bits", type=int, nargs="+", default=[4, 8], help="widths to choose from (default 4 8)")
    command.add_argument("--truth", action="store_true", help="measure all allocations, and the regret of every score")
    _add_output(command)
    _add_page(command)
    of_estimators = command.add_argument_group("options of an estimator")
    _add_method(of_estimators, default=None)
    of_estimators.add_argument("--frames", type=int, help=f"to calibrate on (default {FRAMES})")
    of_detectors = command.add_argument_group("options of a detector")
    of_detectors.add_argument("--channels", type=int, help=f"to measure on (default {CHANNELS})")
    _add_overrides(of_detectors, "matrix_bits=3")
    command.set_defaults(command=_allocate)


def _add_compare(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "compare",
        help="train and measure several quantization methods side by side",
        description="Of detectors: train every method of a comparison at every width and seed, from the same "
        "full-precision twins, and measure all on the same transmissions. Of an estimator: quantize the full-precision "
        "network by every method of training/estimator/compare.py, on the same batches. What is finished is skipped; "
        "of a detector, what was interrupted goes on.",
    )
    command.add_argument(
        "what",
        metavar="COMPARISON|NETWORK",
        help="YAML file of a comparison of detectors, such as training/detector/comparisons/methods.yaml; or directory "
        "of a finished estimator run, or name of an estimator",
    )
    command.add_argument(
        "--output",
        type=Path,
        metavar="DIRECTORY",
        help=f"of comparisons; this one goes into a folder of its name (default out/compare; estimators {STUDIES})",
    )
    command.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one per core, here %(default)s)"
    )
    command.add_argument(
        "--cluster", metavar="WHERE", help="of kaq ber (docs/guide/cluster.md); of detectors, with a shared --output"
    )
    of_detectors = command.add_argument_group("options of a comparison of detectors")
    _add_fresh(of_detectors)
    _add_overrides(of_detectors, "base.quantized.iterations=100")
    of_run = command.add_argument_group("options of an estimator")
    of_run.add_argument("--iterations", type=int, help="of each trained method (default 500); 0: calibrated ones only")
    of_run.add_argument("--seeds", type=int, help="repetitions (default 3)")
    of_run.add_argument("--bits", type=int, nargs="+", help=f"widths (default {' '.join(map(str, BITS))})")
    of_run.add_argument("--frames", type=int, help=f"to calibrate and train on (default {FRAMES})")
    _add_page(of_run)
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


def _add_network(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "network",
        metavar="NETWORK",
        help="directory of a finished estimator run, or a name: estimator (what ships) or estimator-published",
    )
    command.add_argument(
        "--frames", type=int, default=FRAMES, help="to calibrate and train on (default %(default)s; 10 s per 1000)"
    )


def _add_method(command: argparse._ActionsContainer, default: str | None = "mse") -> None:
    command.add_argument(
        "--method",
        choices=tuple(RECIPES),
        default=default,
        help="recipe of training/quantization/recipes.py (default mse)",
    )


def _add_output(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--output", type=Path, metavar="DIRECTORY", default=STUDIES, help="of results (default %(default)s)"
    )


def _add_page(command: argparse._ActionsContainer) -> None:
    command.add_argument(
        "--page", type=Path, metavar="FILE", help="Markdown file whose marked table is replaced (default: none)"
    )


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


def _quantize(options: argparse.Namespace) -> None:
    strength = options.strength
    if strength is None:
        strength = 0.5 if options.method == "smoothquant" else 1.0
    quantizer = Quantizer(options.bits, options.law, "mse", options.method, strength, tuple(options.widths))
    quantize_commands.quantize_network(
        options.network,
        quantizer,
        options.iterations,
        options.frames,
        options.seed,
        options.name,
        options.output,
        fresh=options.fresh,
    )


def _losses(options: argparse.Namespace) -> None:
    quantizer = Quantizer(options.bits, "static", "mse", options.method)
    quantize_commands.losses(options.network, quantizer, options.frames, options.output, options.page)


def _allocate(options: argparse.Namespace) -> None:
    budget = Budget.parse(options.budget)
    if _is_detector(options.network):
        _refuse(options, ("method", "frames"), "an estimator", "a detector", options.network)
        if options.score not in DETECTOR_SCORES:
            raise ConfigError(f"--score {options.score}: for a detector, {' or '.join(DETECTOR_SCORES)} expected")
        detector.allocate_widths(
            options.network,
            options.overrides,
            budget,
            options.score,
            options.bits,
            CHANNELS if options.channels is None else options.channels,
            options.output,
            options.page,
            truth=options.truth,
        )
        return
    _refuse(options, ("channels", "overrides"), "a detector", "an estimator", options.network)
    quantize_commands.allocate(
        options.network,
        budget,
        options.score,
        options.bits,
        options.method or "mse",
        FRAMES if options.frames is None else options.frames,
        options.output,
        options.page,
        truth=options.truth,
    )


def _is_detector(network: str) -> bool:
    """Whether a name or a run's directory is a detector's, as far as one can tell."""
    if (Path(network) / SAVED).exists():
        return _kind_of_run(Path(network)) == "detector"
    return network in presets()["detector"]


def _compare(options: argparse.Namespace) -> None:
    path = Path(options.what)
    if path.is_file():
        _refuse(
            options,
            ("iterations", "seeds", "bits", "frames", "page"),
            "an estimator",
            "the file of a comparison",
            options.what,
        )
        output = options.output or Path("out/compare")
        detector.compare_methods(path, options.overrides, output, options.jobs, options.cluster, fresh=options.fresh)
        return
    if path.is_dir() and (kind := _kind_of_run(path)) != "estimator":
        raise ConfigError(f"{path}: a {kind}'s run; the file of a comparison, or an estimator's run expected")
    _refuse(options, ("fresh", "overrides"), "a comparison of detectors", "an estimator", options.what)
    quantize_commands.compare_methods(
        options.what,
        500 if options.iterations is None else options.iterations,
        3 if options.seeds is None else options.seeds,
        options.bits or BITS,
        FRAMES if options.frames is None else options.frames,
        options.output or STUDIES,
        options.page,
        options.jobs,
        options.cluster,
    )


def _refuse(options: argparse.Namespace, names: tuple[str, ...], theirs: str, found: str, what: str) -> None:
    """Raise `ConfigError` where options are given that belong to something else."""
    for name in names:
        if getattr(options, name) not in (None, False, []):
            option = {"overrides": "set"}.get(name, name)
            raise ConfigError(f"--{option} is an option of {theirs}; {what} is {found}")


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
