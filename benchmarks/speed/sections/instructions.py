# SPDX-License-Identifier: GPL-3.0-or-later
"""How many instructions the stages execute: figures that no other load on the machine touches.

callgrind counts the kernels whose instructions it knows. Single-stepping a process counts any, and tells wide vector
instructions, integer dot products and fused multiply-adds apart.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.report import markdown as md
from gr_kaq import native

from .. import contestants as c
from ..settings import Settings
from ..timing import number

TITLE = "Instructions"

CASES = (("admm", 16, 16), ("pgd", 64, 16))
OURS = ("ours-prepare", "ours-detect", "ours-llrs")
STAGES = (*OURS, "fp32-prepare", "fp32-detect", "lmmse-prepare", "lmmse-detect")
NUM_CHANNELS = 16
CALLGRIND_KNOWS = ("avx2", "portable")  # valgrind 3.19 has no AVX-512


def measure(settings: Settings) -> dict[str, Any]:
    """Count everything that this machine can count."""
    num_vectors = settings.pick(14, 2)
    cases = settings.pick(CASES, (("admm", 2, 2),))
    stages = settings.pick(STAGES, ("ours-prepare", "ours-detect"))
    jobs: list[tuple[str, str, tuple[str, int, int], str]] = []
    for case in cases:
        jobs += [("single steps", native.selected_instruction_set(), case, stage) for stage in stages]
        if shutil.which("valgrind"):
            known = [name for name in CALLGRIND_KNOWS if name in native.instruction_sets()]
            jobs += [("callgrind", name, case, s) for name in known for s in OURS if s in stages]
    counts, missing = [], [] if shutil.which("valgrind") else ["callgrind: valgrind is not installed"]
    for method, instruction_set, case, stage in tqdm(jobs, unit="count", desc="instructions"):
        network, num_rx, num_tx = case
        work = [stage, network, str(num_rx), str(num_tx), str(NUM_CHANNELS), str(num_vectors)]
        try:
            found = (single_steps if method == "single steps" else callgrind)(work, instruction_set)
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            missing.append(f"{method}, {instruction_set}, {stage}: {error}")
            continue
        units = NUM_CHANNELS if stage.endswith("prepare") else NUM_CHANNELS * num_vectors
        keys = {"method": method, "instruction_set": instruction_set, "stage": stage, "network": network}
        counts.append({**keys, "num_rx": num_rx, "num_tx": num_tx, "units": units, "counts": found})
    return {"num_channels": NUM_CHANNELS, "num_vectors": num_vectors, "counts": counts, "missing": missing}


def program() -> str:
    """The executable with the fixed work, next to the compiled module."""
    return str(Path(c.kernels().__file__).with_name("kaq_fixed_work"))


def single_steps(work: list[str], instruction_set: str) -> dict[str, int]:
    """What one repetition executes, by kind."""
    done = _run([program(), "count", *work], instruction_set)
    return dict(json.loads(done.stdout))


def callgrind(work: list[str], instruction_set: str) -> dict[str, int]:
    """Instructions of one repetition: the difference between three and one, halved."""

    def total(repeats: int) -> int:
        with tempfile.TemporaryDirectory() as folder:
            tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out"]
            done = _run([*tool, program(), "run", str(repeats), *work], instruction_set)
        match = re.search(r"Collected : (\d+)", done.stderr)
        if match is None:
            raise ValueError("callgrind said nothing")
        return int(match[1])

    return {"instructions": (total(3) - total(1)) // 2}


def _run(command: list[str], instruction_set: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "GR_KAQ_INSTRUCTION_SET": instruction_set}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise ValueError(done.stderr.strip().rpartition("\n")[2] or f"exit status {done.returncode}")
    return done


def markdown(data: dict[str, Any]) -> str:
    """A row per count."""
    rows = []
    for count in data["counts"]:
        found, units = count["counts"], count["units"]

        def per_unit(key: str, found: dict[str, int] = found, units: int = units) -> str:
            return number(found[key] / units) if key in found else "-"

        what = "channel" if count["stage"].endswith("prepare") else "vector"
        kinds = [per_unit(key) for key in ("instructions", "bits_512", "bits_256", "integer_dot", "fused")]
        size = f"{count['num_rx']}x{count['num_tx']}"
        rows.append([count["network"], size, count["stage"], count["instruction_set"], count["method"], what, *kinds])
    head = (
        "network", "size", "stage", "kernel", "counted by", "per", "instructions", "512-bit", "256-bit",
        "integer dot products", "fused multiply-adds",
    )  # fmt: skip
    return md.joined(
        f"{data['num_channels']} channels, T = {data['num_vectors']}; `-llrs` is `-detect` with LLRs. The baselines "
        "are those of the widest registers, LMMSE and fp32 network with a channel in each lane.",
        md.table(head, rows),
        "\n".join(f"- Not counted: {text}." for text in data["missing"]),
    )


def plot(data: dict[str, Any], folder: Path) -> list[str]:
    """None."""
    return []
