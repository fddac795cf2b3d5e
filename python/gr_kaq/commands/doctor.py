# SPDX-License-Identifier: GPL-3.0-or-later
"""`kaq doctor`: what gr-kaq finds on this machine, and what would cure it."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__, native

__all__ = ["Finding", "add_parser", "findings"]

OPTIONAL = {  # module: (who needs it, package of PyPI, package of Debian)
    "jsonschema": ("trained detectors", "jsonschema", "python3-jsonschema"),
    "zmq": ("testbeds and radios over ZMQ", "pyzmq", "python3-zmq"),
    "tqdm": ("kaq ber and other long commands", "tqdm", "python3-tqdm"),
    "threadpoolctl": ("kaq ber and other long commands", "threadpoolctl", "python3-threadpoolctl"),
    "scipy": ("kaq probe", "scipy", "python3-scipy"),
    "matplotlib": ("pictures", "matplotlib", "python3-matplotlib"),
    "onnxruntime": ("learned channel estimators", "onnxruntime", ""),
    "distributed": ("kaq ber --cluster", "distributed", "python3-distributed"),
}
RADIOS = {"uhd": ("USRPs", "libuhd-dev, gnuradio"), "soapy": ("SoapySDR's radios", "gnuradio, soapysdr-module-all")}
SMALL_LOCKED_MIB = 64
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
BLOCK_FILE = "kaq_detector.block.yml"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        state: ``"ok"``, ``"note"`` (something is missing that not everybody needs) or ``"fault"``.
        text: what was found.
        cure: what to do about it; empty where there is nothing to do.
    """

    state: str
    text: str
    cure: str = ""


def add_parser(commands: Any) -> None:
    """Add `doctor` to the subcommands of an ArgumentParser."""
    command = commands.add_parser(
        "doctor",
        help="look for what is missing or wrong on this machine",
        description="Look at what gr-kaq uses on this machine: Python, kernels, GNU Radio, GNU Radio Companion, "
        "radios, settings of the system. Every finding comes with its cure. The exit status is 1 if there is a fault.",
    )
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    found = list(findings())
    for finding in found:
        print(f"{finding.state:<5}  {finding.text}")
        if finding.cure:
            print(f"       -> {finding.cure}")
    return int(any(finding.state == "fault" for finding in found))


def findings() -> Iterator[Finding]:
    """All that is looked at, in order."""
    yield from _package()
    yield from _kernels()
    yield from _modules()
    yield from _gnuradio()
    yield from _system()


def _package() -> Iterator[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding("ok", f"gr-kaq {__version__} in {Path(__file__).parents[1]}, Python {python} ({sys.executable})")
    others = [
        path
        for path in dict.fromkeys(sys.path)
        if path and (Path(path) / "gr_kaq" / "__init__.py").exists() and Path(path) != Path(__file__).parents[2]
    ]
    if others:
        yield Finding("note", f"another gr-kaq lies in {', '.join(others)}", "uninstall one: make uninstall, pip, apt")
    for parent in Path(__file__).parents:
        if (guide := parent / "share/doc/gr-kaq/index.html").exists():
            yield Finding("ok", f"the guide, docs/ in texts: {guide}")


def _kernels() -> Iterator[Finding]:
    try:
        selected, known = native.selected_instruction_set(), native.instruction_sets()
    except (ImportError, ValueError) as error:
        yield Finding("fault", "detectors run in NumPy, some 100 times slower, or not at all", str(error))
        return
    if selected == "portable" and platform.machine() in ("x86_64", "AMD64", "aarch64", "arm64"):
        yield Finding("note", "kernel portable: this processor or GR_KAQ_INSTRUCTION_SET allows no faster one")
    elif selected != known[0]:
        yield Finding("note", f"kernel {selected}, but {known[0]} is faster", "unset GR_KAQ_INSTRUCTION_SET")
    else:
        yield Finding("ok", f"kernel {selected}, of {', '.join(known)}")


def _modules() -> Iterator[Finding]:
    old = tuple(map(int, np.__version__.split(".")[:2])) < (1, 24)
    yield Finding("fault" if old else "ok", f"NumPy {np.__version__}", "NumPy 1.24 or later" if old else "")
    for module, (user, package, debian) in OPTIONAL.items():
        try:
            importlib.import_module(module)
        except ImportError as error:
            cure = f"pip install {package}" + (
                f", or apt install {debian}" if debian else " (in a virtual environment)"
            )
            yield Finding("note", f"no {module}, for {user} ({error})", cure)
            continue
        try:
            yield Finding("ok", f"{module} {metadata.version(package)}, for {user}")
        except metadata.PackageNotFoundError:
            yield Finding("ok", f"{module}, for {user}")


def _gnuradio() -> Iterator[Finding]:
    try:
        gr = importlib.import_module("gnuradio.gr")
    except ImportError as error:
        cure = "apt install gnuradio, or radioconda; without it, the NumPy API and gr_kaq.testbed work"
        if sys.executable != "/usr/bin/python3" and _system_has_gnuradio():
            cure = "it is there for /usr/bin/python3: python3 -m venv --system-site-packages with that one"
        yield Finding("note", f"no GNU Radio for this Python ({error}): no blocks", cure)
        return
    version = str(gr.version())
    if version.startswith(("3.7", "3.8", "3.9")):
        yield Finding("fault", f"GNU Radio {version}", "GNU Radio 3.10")
        return
    yield Finding("ok", f"GNU Radio {version}")
    complaints: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: complaints.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("gr_kaq.blocks.access").addHandler(handler)
    access = importlib.import_module("gr_kaq.blocks.access")
    if access._gnuradio.__name__.endswith("._gnuradio"):
        yield Finding("ok", "blocks use GNU Radio by compiled code")
    else:
        what = complaints[0] if complaints else "blocks use GNU Radio's own Python, which is slower: this is a wheel"
        yield Finding("note", what, "make install, or the Debian or conda package, compile that part")
    yield _companion(gr)
    for name, (user, package) in RADIOS.items():
        try:
            importlib.import_module(f"gnuradio.{name}")
            yield Finding("ok", f"gnuradio.{name}, for {user}")
        except ImportError as error:
            yield Finding("note", f"no gnuradio.{name}, for {user} ({error})", f"apt install {package}")


def _system_has_gnuradio() -> bool:
    command = ["/usr/bin/python3", "-c", "import gnuradio.gr"]
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _companion(gr: Any) -> Finding:
    """Whether GNU Radio Companion finds the blocks."""
    seen = [Path(path) for path in os.environ.get("GRC_BLOCKS_PATH", "").split(os.pathsep) if path]
    preferences = gr.prefs()
    for key in ("global_blocks_path", "local_blocks_path"):
        seen += [Path(path) for path in preferences.get_string("grc", key, "").split(os.pathsep) if path]
    seen += [Path(gr.prefix()) / "share/gnuradio/grc/blocks", Path.home() / ".grc_gnuradio"]
    if any((folder / BLOCK_FILE).exists() for folder in seen):
        return Finding("ok", "GNU Radio Companion finds the blocks")
    package = Path(__file__).resolve().parents[1]
    places = [parent / "share/gnuradio/grc/blocks" for parent in Path(__file__).parents] + [package.parents[1] / "grc"]
    ours = next((folder for folder in places if (folder / BLOCK_FILE).exists()), None)
    cure = f"export GRC_BLOCKS_PATH={ours}" if ours else "install gr-kaq again: its files for GRC are nowhere"
    return Finding("fault", "GNU Radio Companion does not find the blocks", cure)


def _system() -> Iterator[Finding]:
    try:
        import resource  # noqa: PLC0415  # Windows has none

        limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
        if limit not in (-1, resource.RLIM_INFINITY) and limit < SMALL_LOCKED_MIB << 20:
            cure = "for USRPs at high rates: '@users - memlock unlimited' in /etc/security/limits.d/gr-kaq.conf"
            yield Finding("note", f"locked memory is limited to {limit / 2**20:.0f} MiB", cure)
        else:
            yield Finding("ok", "locked memory is not limited to little")
    except ImportError:
        pass
    if not GOVERNOR.exists():
        yield Finding("ok", "the processor's clock is not governed by this system")
        return
    governor = GOVERNOR.read_text("utf-8").strip()
    cure = "" if governor == "performance" else "for radios at high rates: cpupower frequency-set -g performance"
    yield Finding("ok" if not cure else "note", f"the processor's clock follows the governor {governor}", cure)
