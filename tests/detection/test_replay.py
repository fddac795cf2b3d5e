# SPDX-License-Identifier: GPL-3.0-or-later
"""The integer stages equal the reference in every build and on every kernel, also on processors that are emulated.

lib/tests/replay.cc runs the cases that are written here. Builds that are tried: the one that holds the package under
test, `make test-compilers`'s and `make test-aarch64`'s, or the programs that the variables in PROGRAMS name. A kernel
that the processor does not run, and a build that is not there, is skipped and said so.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import gr_kaq
from gr_kaq import CONSTELLATIONS
from gr_kaq.detection import integer_reference
from gr_kaq.detection.model_file import DetectorModel
from gr_kaq.detection.preparation import prepare
from gr_kaq.detection.quantization import (
    INT16_MAX,
    IntegerChannels,
    quantize_channels,
    quantize_estimates,
)
from gr_kaq.signals.signal_model import snr_from_noise_var
from tests.detection.models import random_link, random_model
from tests.detection.test_native_kernel import integer_channels

EMULATOR = ["qemu-aarch64", "-cpu", "max", "-L", "/usr/aarch64-linux-gnu"]
SOURCES = Path(__file__).parents[2] / "lib"
BUILD = Path(gr_kaq.__file__).parents[2]
PROGRAMS = {  # build: (variable that names the program, where it is otherwise, emulator, target that builds it)
    "native": ("KAQ_REPLAY", BUILD / "lib/tests/replay", [], "build"),
    "clang": ("KAQ_REPLAY_CLANG", BUILD / "clang/tests/replay", [], "test-compilers"),
    "aarch64": ("KAQ_REPLAY_AARCH64", BUILD / "aarch64/tests/replay", EMULATOR, "test-aarch64"),
}


def why_not(program: str | Path, emulator: list[str], target: str) -> str | None:
    """Why a build cannot be tried, if so."""
    for needed in (*emulator[:1], program):
        if shutil.which(needed) is None:
            return f"there is no {needed}"
    newest = max(path.stat().st_mtime for path in SOURCES.rglob("*.*"))
    if target != "build" and Path(program).stat().st_mtime < newest:  # that one is of the build under test
        return f"{program} is older than its sources"
    return None


def kernels() -> list:
    """A parameter (command, kernel) for each kernel of each build, those that do not run here marked as skipped."""
    parameters = []
    for build, (variable, path, emulator, target) in PROGRAMS.items():
        program = os.environ.get(variable, path)
        reason = None if variable in os.environ else why_not(program, emulator, target)
        if reason:
            reason = f"not run: the build {build}: {reason}; see `make {target}`"
            parameters.append(pytest.param([], "", id=build, marks=pytest.mark.skip(reason=reason)))
            continue
        command = [*emulator, str(program)]
        listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
        for kernel, state in (line.split() for line in listed.splitlines()):
            reason = f"not run: the kernel {kernel}: this processor lacks it"
            marks = [] if state == "available" else [pytest.mark.skip(reason=reason)]
            parameters.append(pytest.param(command, kernel, id=f"{build}-{kernel}", marks=marks))
    return parameters


Case = tuple[DetectorModel, IntegerChannels, np.ndarray]


def case_of_integers(rng: np.random.Generator, network: str, constellation: str, num_tx: int, extreme: bool) -> Case:
    """Any integers, or those at the ends of their ranges: what no real channel gives, but the types allow."""
    model = random_model(rng, network, constellation)
    vectors = int(rng.integers(1, 7))

    b = rng.integers(-INT16_MAX - 1, INT16_MAX, (2, vectors, 2 * num_tx), endpoint=True).astype(np.int16)
    if extreme:
        b = np.where(b < 0, np.int16(-INT16_MAX - 1), np.int16(INT16_MAX))
    return model, integer_channels(rng, model, num_tx, extreme), b


def case_of_a_link(rng: np.random.Generator, network: str, constellation: str, num_tx: int) -> Case:
    """What a receiver meets: Rayleigh channels and noise, at -10 to 40 dB."""
    model = random_model(rng, network, constellation)
    channels, num_rx = 3, int(rng.integers(num_tx, 65))
    _, y, h, noise_var = random_link(rng, model, channels, 10, num_rx, num_tx, float(rng.uniform(-10, 40)))
    noise = np.full(channels, noise_var)
    prepared = prepare(model, h, noise, snr_from_noise_var(h, noise))
    b, _ = quantize_estimates(model, prepared, y)
    return model, quantize_channels(model, prepared), b


def all_cases() -> list[Case]:
    """Every number of streams with both networks."""
    rng = np.random.default_rng(5)
    cases = []
    for index, (network, constellation) in enumerate(itertools.product(("admm", "pgd"), CONSTELLATIONS)):
        for num_tx in (1, 2, *range(3 + index % 4, 64, 4), 64):
            cases.append(case_of_integers(rng, network, constellation, num_tx, extreme=False))
            cases.append(case_of_integers(rng, network, constellation, num_tx, extreme=True))
            cases.append(case_of_a_link(rng, network, constellation, num_tx))
    return cases


def to_bytes(case: Case) -> bytes:
    """As replay.cc reads it."""
    model, channels, b = case
    prox = [1 if layer.threshold else 2 if layer.variance else 0 for layer in model.layers]
    header = [
        ["admm", "pgd"].index(model.network),
        model.constellation.bits_per_dimension,
        model.largest_entry,
        len(model.layers),
        *b.shape[:2],
        b.shape[2] // 2,
        int(model.midrise),
        *prox,
        *model.largest_activations,
    ]
    names = ["matrix", "diagonal", "rescale", "slope", "inverse_step", "threshold", "first_gain", "second_gain"]
    arrays = [np.array(header, np.int32), *(getattr(channels, name) for name in names), b]
    return b"".join(array.astype(array.dtype.newbyteorder("<")).tobytes() for array in arrays)


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """The cases, what the reference makes of them, and their file."""
    cases = all_cases()
    path = tmp_path_factory.mktemp("replay") / "cases"
    path.write_bytes(b"".join(to_bytes(case) for case in cases))
    expected = []
    for model, channels, b in cases:
        t = integer_reference.detect(model, channels, b)
        expected.append((t, np.moveaxis(integer_reference.llrs(model.constellation, t), -1, 2)))
    return cases, expected, path


@pytest.mark.parametrize(("command", "kernel"), kernels())
def test_equals_the_reference(command, kernel, cases, tmp_path):
    models, expected, path = cases
    results = tmp_path / "results"
    run = subprocess.run([*command, kernel, path, results], capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr
    content, place = results.read_bytes(), 0
    for (model, *_), arrays in zip(models, expected, strict=True):
        for name, array in zip(("t", "llrs"), arrays, strict=True):
            actual = np.frombuffer(content, array.dtype.newbyteorder("<"), array.size, place).reshape(array.shape)
            place += array.nbytes
            size = array.shape[-1] // 2
            np.testing.assert_array_equal(actual, array, f"{name}: {model.network} {model.constellation.name} {size}")
    assert place == len(content)


@pytest.fixture(scope="module")
def digests():
    """By what was run, kernel, and where: what each kernel of each build makes of some links."""
    found: dict[str, dict[str, dict[str, str]]] = {"plan": {}, "fp32": {}, "list": {}, "linear": {}}
    for parameter in kernels():
        command, kernel = parameter.values
        if not parameter.marks:
            run = subprocess.run([*command, kernel], capture_output=True, text=True, check=True, timeout=300)
            for line in run.stdout.splitlines():
                what, digest = line.split()
                found[what].setdefault(kernel, {})[parameter.id] = digest
    return found


@pytest.mark.parametrize("what", ["plan", "fp32", "linear"])
def test_floating_point_stages_depend_on_neither_processor_nor_compiler(digests, what):
    """Two kinds of kernels: those that fuse every sum of products, and the portable one that fuses none."""
    portable = digests[what].get("portable", {})
    assert len(set(portable.values())) <= 1, portable
    fused = {
        place: digest
        for kernel, of_kernel in digests[what].items()
        if kernel != "portable"
        for place, digest in of_kernel.items()
    }
    assert len(set(fused.values())) <= 1, fused


def test_list_detectors_are_the_same_on_every_instruction_set_and_compiler(digests):
    """The portable kernel computes what fused products give."""
    everywhere = {place: digest for of_kernel in digests["list"].values() for place, digest in of_kernel.items()}
    print(f"list detector: {everywhere}")
    assert len(set(everywhere.values())) <= 1, everywhere
