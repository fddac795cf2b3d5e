# SPDX-License-Identifier: GPL-3.0-or-later
"""`pip install .` as a new user runs it: with a compiler and without, and beside the system's GNU Radio.

`make test-wheel` runs these: they build wheels, in a folder of their own, and pip finds what they need.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[1]
LINK = """
import sys, numpy as np, gr_kaq
detector = gr_kaq.load_detector("admm5-16qam")
h = np.eye(4, dtype=np.complex64) + 0.1
symbols = gr_kaq.CONSTELLATIONS["16qam"].points[:12].reshape(3, 4)
assert abs(detector.detect((h @ symbols.T).T, h, 30.0).symbols - symbols).max() < 0.1
print(detector.backend)
"""
NOTHING = {"CXX": "/nonexistent", "CC": "/nonexistent"}


def run(*command, cwd, **environment):
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "GRC_BLOCKS_PATH")}
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def venv(folder, *options):
    run(sys.executable, "-m", "venv", *options, folder, cwd=folder)
    return folder / "bin"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Builds a wheel with the compiler, "native", or without, "reference"; once."""
    folder = tmp_path_factory.mktemp("wheels")
    bin_folder = venv(folder)

    @functools.cache
    def build(backend):
        environment = NOTHING if backend == "reference" else {}
        run(bin_folder / "pip", "wheel", "--no-deps", "-w", folder / backend, ROOT, cwd=folder, **environment)
        (built,) = (folder / backend).iterdir()
        return built

    return build


@pytest.mark.parametrize(
    ("backend", "tag"), [("native", f"-cp3{sys.version_info.minor}-"), ("reference", "-py3-none-any.whl")]
)
def test_tags(wheel, backend, tag):
    assert tag in wheel(backend).name


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_in_a_venv_of_its_own(wheel, backend, tmp_path):
    bin_folder = venv(tmp_path)
    run(bin_folder / "pip", "install", "-q", f"{wheel(backend)}[zmq]", cwd=tmp_path)
    assert run(bin_folder / "python", "-W", "ignore", "-c", LINK, cwd=tmp_path).split() == [backend]
    assert "admm5-16qam" in run(bin_folder / "kaq", "models", cwd=tmp_path)
    ber = run(bin_folder / "kaq", "ber", "admm5-16qam", "--snr", "15", "--target-errors", "50", cwd=tmp_path)
    assert ber.count("15 dB") == 2
    assert "--num-rx" in run(bin_folder / "python", "-m", "gr_kaq.testbed", "produce", "--help", cwd=tmp_path)
    package = next((tmp_path / "lib").glob("python*/site-packages/gr_kaq"))
    assert (package / "py.typed").exists()


@pytest.mark.parametrize("numpy", ["numpy==1.24.*", "numpy>=2"])
def test_a_producer_needs_numpy_and_pyzmq_only(wheel, numpy, tmp_path):
    bin_folder = venv(tmp_path)
    if numpy != "numpy>=2" and sys.version_info >= (3, 12):
        pytest.skip("NumPy 1.24 is older than this Python")
    run(bin_folder / "pip", "install", "-q", numpy, "pyzmq", cwd=tmp_path)
    run(bin_folder / "pip", "install", "-q", "--no-deps", wheel("reference"), cwd=tmp_path)
    address = f"ipc://{tmp_path}/frames"
    command = [bin_folder / "python", "-m", "gr_kaq.testbed"]
    common = ["--address", address, "--estimates", "5", "--vectors", "20"]
    with subprocess.Popen(
        list(map(str, [*command, "produce", *common])), cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as produce:
        program = (
            "from gr_kaq.testbed import Consumer\n"
            f"with Consumer(4, address={address!r}) as consumer:\n"
            "    print(sum(len(consumer.receive().items) for _ in range(5)))"
        )
        assert run(bin_folder / "python", "-c", program, cwd=tmp_path).split() == ["100"]
        assert "sent 5 estimates, 100 items" in produce.communicate(timeout=20)[1]


def test_blocks_beside_gnu_radio(wheel, tmp_path):
    """GRC finds them, and a flowgraph runs, though nothing was compiled."""
    pytest.importorskip("gnuradio")
    bin_folder = venv(tmp_path, "--system-site-packages")
    run(bin_folder / "pip", "install", "-q", "--no-deps", wheel("reference"), cwd=tmp_path)
    blocks = tmp_path / "share" / "gnuradio" / "grc" / "blocks"
    assert {path.name for path in blocks.iterdir()} == {path.name for path in (ROOT / "grc").glob("*.yml")}
    script = ROOT / "examples" / "measured_channel.py"
    assert "lmmse" in run(bin_folder / "python", script, "--snr", "15", "--target-errors", "50", cwd=tmp_path)
    grc = ROOT / "examples" / "measured_channel.grc"
    grcc = shutil.which("grcc")
    run(bin_folder / "python", grcc, "-o", tmp_path, grc, cwd=tmp_path, GRC_BLOCKS_PATH=str(blocks))
    assert (tmp_path / "measured_channel_flowgraph.py").exists()
