# SPDX-License-Identifier: GPL-3.0-or-later
"""The package as pip makes it without a compiler: what can runs in NumPy, and what cannot says what to install."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gr_kaq

SOURCES = Path(__file__).parents[1] / "python" / "gr_kaq"
OTHERS = ("jsonschema", "tqdm", "threadpoolctl", "scipy", "matplotlib", "yaml", "onnxruntime", "gnuradio", "pmt")

TESTBED = f"""
import sys
sys.modules.update(dict.fromkeys({OTHERS}))  # importing them fails
import numpy as np
from gr_kaq.testbed import Consumer, Producer
h = np.eye(3, 2, dtype=np.complex64)[None]
y = np.arange(15, dtype=np.complex64).reshape(5, 3, 1)
with Producer(3, 2, address="tcp://127.0.0.1:*") as producer, Consumer(3, address=producer.address) as consumer:
    producer.send(y, h=h, noise_var=0.1)
    received = consumer.receive()
    assert (received.items == y).all() and received.tags[0].key == "mimo_channel"
    try:
        producer.send(y, h=h * np.nan, noise_var=0.1)
    except ValueError as error:
        print(error)
from gr_kaq.testbed.command import main
main(["produce", "--help"])
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package's sources, which have no compiled part."""
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(SOURCES, folder / "gr_kaq", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def run(folder, program, code=0):
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=300, env={}, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_testbeds_need_numpy_and_pyzmq_only(package):
    printed = run(package, TESTBED)
    assert "h holds NaN or Inf" in printed and "--num-rx" in printed


def test_detectors_run_in_numpy_and_say_so_once(package):
    """With the bits of the kernel, here from the same estimate."""
    rng = np.random.default_rng(1)
    h = (rng.standard_normal((4, 4)) + 1j * rng.standard_normal((4, 4))).astype(np.complex64)
    y = (h @ np.ones((4, 5))).T.astype(np.complex64)
    np.savez(package / "link.npz", h=h, y=y)
    printed = run(
        package,
        "import gr_kaq, numpy as np; link = np.load('link.npz')\n"
        "for _ in range(2): detector = gr_kaq.load_detector('admm5-16qam')\n"
        "np.save('symbols.npy', detector.detect(link['y'], link['h'], 20.0).symbols)\n"
        "gr_kaq.load_detector('auto', constellation='qpsk').detect(link['y'], link['h'], 20.0)\n"
        "gr_kaq.load_detector('admm5-16qam', backend='native')\n",
        code=1,
    )
    assert printed.count("RuntimeWarning: detectors run in NumPy") == 1
    assert "ImportError: gr-kaq is installed without its compiled kernels" in printed and "apt install g++" in printed
    expected = gr_kaq.load_detector("admm5-16qam", backend="reference").detect(y, h, 20.0).symbols
    np.testing.assert_array_equal(np.load(package / "symbols.npy"), expected)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("_kernel.cpython-39-x86_64-linux-gnu.so", "", "for another Python (_kernel.cpython-39-x86_64-linux-gnu.so)"),
        ("_kernel.py", "version = '0.0.1'", f"of version 0.0.1, and the package is {gr_kaq.__version__}"),
    ],
)
def test_a_kernel_that_does_not_fit_is_named(package, name, text, message):
    """Of another Python, or of an installation before this one."""
    (package / "gr_kaq" / name).write_text(text)
    try:
        printed = run(package, "from gr_kaq import native; native.extension()", code=1)
    finally:
        (package / "gr_kaq" / name).unlink()
    assert message in printed and "build gr-kaq again" in printed


def test_a_source_tree_names_the_build_that_it_wants():
    printed = run(SOURCES.parent, "from gr_kaq import native; native.extension()", code=1)
    assert "source tree" in printed and "PYTHONPATH=build/test_modules" in printed


def test_the_command_needs_numpy_only_until_it_does_more(package):
    hidden = f"import sys; sys.modules.update(dict.fromkeys({(*OTHERS, 'zmq')}))"
    printed = run(package, f"{hidden}; from gr_kaq.commands.kaq import main; main(['doctor'])")
    assert "no zmq, for testbeds" in printed and "apt install g++" in printed and "no GNU Radio" in printed


def test_model_files_name_what_they_need(package):
    program = "import sys; sys.modules['jsonschema'] = None; import gr_kaq; gr_kaq.load_detector('admm5-16qam')"
    assert "ImportError: model files need Python's jsonschema" in run(package, program, code=1)
