# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure how fast the detectors are, side by side in one run: python -m benchmarks.speed.

Writes bench.json with every round's values, the plots and their tables. Sections that are not measured again are taken
from the bench.json that is there. With --update the tables and plots go into docs/guide/performance.md and its folder.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import markdown as md

from .machine import describe, one_thread
from .sections import SECTIONS, claims
from .settings import ROOT, Settings

EXIT_INTERRUPTED = 130
COMMAND = "python -m benchmarks.speed"
CLAIMS = "claims"
DOCUMENT = ROOT / "docs" / "guide" / "performance.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [*SECTIONS, CLAIMS]
    parser.add_argument("--quick", action="store_true", help="tiny budgets, in seconds: shows that everything runs")
    parser.add_argument(
        "--only", nargs="+", choices=names, metavar="SECTION", help=f"of {', '.join(names)} (default: all)"
    )
    parser.add_argument("--rounds", type=int, help="rounds of every section (default: as each finds right)")
    parser.add_argument("--seed", type=int, default=1, help="of channels, samples and order (default %(default)s)")
    parser.add_argument(
        "--output", type=Path, help="folder to write to (default out/bench, with --quick out/bench-quick)"
    )
    parser.add_argument("--update", action="store_true", help="write docs/guide/performance.md and its folder, too")
    options = parser.parse_args(arguments)
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds is less than 1")
    if options.update and options.quick:
        parser.error("--quick measures nothing that belongs into the documents")
    output = options.output or Path("out/bench-quick" if options.quick else "out/bench")
    settings = Settings(options.quick, options.rounds, options.seed)
    try:
        document = run(settings, options.only or names, output)
    except KeyboardInterrupt:
        print("interrupted; what was finished is written", file=sys.stderr)
        return EXIT_INTERRUPTED
    text = write(document, output, "")
    print(text)
    if options.update:
        update(document, DOCUMENT)
    return 0


def run(settings: Settings, chosen: Sequence[str], output: Path) -> dict[str, Any]:
    """Measure the chosen sections; returns bench.json with these and those that were there."""
    path = output / "bench.json"
    document = json.loads(path.read_text("utf-8")) if path.exists() else {"sections": {}}
    for name, section in SECTIONS.items():
        if name not in chosen:
            continue
        began = time.monotonic()
        load = os.getloadavg()[0]
        with one_thread():
            measured = section.measure(settings)
        made = {
            "command": f"{COMMAND}{' --quick' if settings.quick else ''} --only {name} --seed {settings.seed}",
            "seed": settings.seed,
            "seconds": round(time.monotonic() - began, 1),
            "load_before": load,
            "machine": describe(),
        }
        document["sections"][name] = rounded({"made_with": made, **measured})
        save(document, path)
    document["sections"] = {n: document["sections"][n] for n in SECTIONS if n in document["sections"]}
    document["claims"] = claims.derive(document["sections"])["claims"]
    save(document, path)
    return document


def save(document: dict[str, Any], path: Path) -> None:
    """Write JSON, each list of numbers on a line; a crash while writing leaves what was there before."""
    text = json.dumps(document, indent=1)
    text = re.sub(r"\[\s+([-+.\deE,\s]+?)\s+\]", lambda match: f"[{' '.join(match[1].split())}]", text)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_text(text + "\n", "utf-8")
    os.replace(temporary, path)


def rounded(value: Any) -> Any:
    """Floats to six significant digits."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: rounded(of) for key, of in value.items()}
    return [rounded(of) for of in value] if isinstance(value, list | tuple) else value


def bodies(document: dict[str, Any], images: Path, prefix: str) -> dict[str, str]:
    """The Markdown of each section, the aims last, with its plots written to `images`."""
    found = {}
    for name, data in document["sections"].items():
        text = SECTIONS[name].markdown(data)
        for image in SECTIONS[name].plot(data, images):
            if f"(images/{image}.png)" not in text:
                raise AssertionError(f"section {name} does not show its plot {image}")
        made = data["made_with"]
        machine = made["machine"]
        source = (
            f"Measured by `{made['command']}` on {machine['processor']}, {machine['instruction_set']}, one thread, "
            f"in {made['seconds']:.0f} s."
        )
        found[name] = md.wrapped(md.joined(text.replace("(images/", f"({prefix}"), source))
    return found | {CLAIMS: md.wrapped(claims.markdown(document))}


def write(document: dict[str, Any], output: Path, prefix: str) -> str:
    """README.md and the plots; returns its text."""
    titles = {CLAIMS: claims.TITLE, **{name: section.TITLE for name, section in SECTIONS.items()}}
    parts = [f"## {titles[name]}\n\n{text}" for name, text in bodies(document, output, prefix).items()]
    text = md.joined("<!-- SPDX-License-Identifier: GPL-3.0-or-later -->", "# Speed", *parts) + "\n"
    (output / "README.md").write_text(text, "utf-8")
    return text


def update(document: dict[str, Any], path: Path) -> None:
    """Write each section between its markers in the page, and the JSON and plots next to it."""
    folder = path.with_suffix("")
    text = path.read_text("utf-8")
    for name, body in bodies(document, folder, f"{folder.name}/").items():
        match = re.search(rf"<!-- section: {name} -->\n(.*?)<!-- end of section -->", text, re.DOTALL)
        if match is None:
            raise ValueError(f"{path} has no place for section {name}")
        text = f"{text[: match.start(1)]}\n{body}\n\n{text[match.end(1) :]}"
    path.write_text(text, "utf-8")
    save(document, folder / "bench.json")


if __name__ == "__main__":
    sys.exit(main())
