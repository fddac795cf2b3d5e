# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure what is missing and write the report: python -m benchmarks.report.

Every section writes data/SECTION.json and its plots; README.md is made of all of them. A section whose JSON is there is
not measured again; --missing measures the points that it lacks, say of a channel that is new. An interrupted section
goes on where it stopped; while it runs, data/SECTION.partial.txt has a table of what is there.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import gr_kaq
from gr_kaq import native
from gr_kaq.commands.arguments import add_workers

from . import markdown as md
from . import peers
from .points import forget_partial, keep_points, write_json
from .sections import SECTIONS
from .settings import ROOT, Settings

EXIT_INTERRUPTED = 130
COMMAND = "python -m benchmarks.report"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny budgets, in minutes: shows that everything runs")
    parser.add_argument(
        "--output", type=Path, help="folder of the report (default docs/report, with --quick out/report-quick)"
    )
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, metavar="SECTION", help=f"of {', '.join(SECTIONS)} (default: all)"
    )
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--fresh", action="store_true", help="measure again what is there")
    again.add_argument(
        "--missing", action="store_true", help="measure the points that a section which is there lacks (near_ml only)"
    )
    add_workers(parser, jobs=2)
    options = parser.parse_args(arguments)
    output = options.output or (Path("out/report-quick") if options.quick else ROOT / "docs" / "report")
    settings = Settings(output, options.quick, options.jobs, options.cluster)
    try:
        run(settings, SECTIONS, options.only or list(SECTIONS), options.fresh, options.missing)
    except KeyboardInterrupt:
        said = "".join(f"; what is finished: {path}" for path in sorted(settings.data.glob("*.partial.txt")))
        print(f"interrupted{said}; the same command goes on where it stopped", file=sys.stderr)
        return EXIT_INTERRUPTED
    except (OSError, ValueError, ImportError) as error:
        if options.cluster is None:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        settings.close()
    print(f"wrote {output / 'README.md'}")
    return 0


def run(
    settings: Settings, sections: dict[str, ModuleType], chosen: Sequence[str], fresh: bool, missing: bool = False
) -> None:
    """Measure the chosen sections where that is due, then write the report of all that has been measured.

    Args:
        settings: how to measure, and where to.
        sections: all of them, by name.
        chosen: those to measure.
        fresh: measure again what is there.
        missing: measure the points that a section which is there lacks, where it has `finished`.
    """
    for name, section in sections.items():
        if name not in chosen:
            continue
        path = settings.data / f"{name}.json"
        earlier: dict[str, Any] | None = None
        kept = 0
        if path.exists() and not fresh and not getattr(section, "DERIVED", False):
            earlier = _document(path)
            if earlier["made_with"]["models"] != _models():
                print(f"{name}: the detectors that ship have changed since it was measured", file=sys.stderr)
            if not missing or not hasattr(section, "finished"):
                print(f"{name}: {path} is there; --fresh measures again", file=sys.stderr)
                continue
            finished = section.finished(settings, earlier)
            kept = len(finished)
            if kept < len(earlier["points"]):
                raise SystemExit(f"{name}: some points of {path} could not be measured here, and would be lost")
            keep_points(settings, name, finished)
        if fresh:
            forget_partial(settings, name)
        began = time.monotonic()
        data = section.measure(settings)
        seconds = round(time.monotonic() - began, 1)
        made_with = _made_with(settings, name, "--fresh" if earlier is None else "--missing", seconds)
        if earlier is not None:
            made_with |= {"kept_points": kept, "kept_from": earlier["made_with"]}
        if earlier is None or len(data["points"]) > kept:
            write_json(path, {"section": name, "made_with": made_with, **data})
        forget_partial(settings, name)
    _write(settings, sections)


def _write(settings: Settings, sections: dict[str, ModuleType]) -> None:
    documents = {name: _document(path) for name in sections if (path := settings.data / f"{name}.json").exists()}
    bodies = []
    for name, document in documents.items():
        section = sections[name]
        text = section.markdown(document)
        for image in section.plot(document, settings.images):
            if f"(images/{image}.png)" not in text:
                raise AssertionError(f"section {name} does not show its plot {image}")
        made = document["made_with"]
        source = f"Data: [data/{name}.json](data/{name}.json), made by `{made['command']}`."
        if "kept_from" in made:
            source += f" {made['kept_points']} of its points were there, by `{made['kept_from']['command']}`."
        bodies.append(md.joined(f"## {section.TITLE}", text, source))
    missing = [name for name in sections if name not in documents]
    # the answers first, then what they rest on
    order = sorted(range(len(bodies)), key=lambda i: not getattr(sections[list(documents)[i]], "DERIVED", False))
    machines = sorted({d["made_with"]["machine"] for d in documents.values()})
    head = md.joined(
        "<!-- SPDX-License-Identifier: GPL-3.0-or-later -->\n<!-- Generated by python -m benchmarks.report -->",
        "# Report: low-bit unfolded MIMO detectors",
        "**Quick mode: budgets so small that the numbers mean little.**" if settings.quick else "",
        "How good are the detectors, beside others, and is it true what the paper says of its method? `make report` "
        "measures what is missing in `data/`. It writes this page, `images/`, and the JSON behind every plot. "
        f"`{COMMAND} --only SECTION --fresh` measures a section again.",
        "SNR is the mean received signal power over the noise power per receive antenna, num_tx / noise_var. WxAy says "
        "that the matrix has x bits and the activations y. The *twin* of a quantized detector is the full-precision "
        "one that it was trained from.",
        f"Measured on: {'; '.join(machines)}." if machines else "",
        f"Not measured yet: {', '.join(missing)}." if missing else "",
    )
    settings.output.mkdir(parents=True, exist_ok=True)
    text = md.wrapped(md.joined(head, *(bodies[i] for i in order)))
    (settings.output / "README.md").write_text(text + "\n", "utf-8")


def _document(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))


def _made_with(settings: Settings, section: str, how: str, seconds: float) -> dict[str, Any]:
    return {
        "command": f"{COMMAND}{' --quick' if settings.quick else ''} --only {section} {how}",
        "seed": settings.seed,
        "seconds": seconds,
        "machine": f"{_processor()}, {native.selected_instruction_set()}{_gpu()}",
        "versions": {"gr_kaq": gr_kaq.__version__, "python": platform.python_version(), **_versions()},
        "models": _models(),
    }


def _versions() -> dict[str, str]:
    """Of the packages that a number could depend on; those that are not installed are left out."""
    found = {}
    for package in ("numpy", "torch", "sionna-no-rt", "sionna"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _models() -> list[str]:
    return [name for name in gr_kaq.list_detectors() if not name.endswith("-fp")]


def _gpu() -> str:
    """Which one computes what Sionna's detectors say; nothing where the CPU does."""
    try:
        where = peers.device()
    except ImportError:
        return ""
    return "" if where == peers.CPU else f", Sionna on {importlib.import_module('torch').cuda.get_device_name(where)}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), platform.machine())


if __name__ == "__main__":
    sys.exit(main())
