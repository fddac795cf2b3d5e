# SPDX-License-Identifier: GPL-3.0-or-later
"""A learned estimator from a file is loaded and run in a process of its own first.

ONNX Runtime computes what it can when it loads a file. So a file of a few hundred bytes may hang it, fill the memory or
end the process. Here that ends a process which has limits, and which `try_apart` starts:

    python -P -m gr_kaq.estimation.trial LABEL < file
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["PROCESSOR_SECONDS", "try_apart"]

PROCESSOR_SECONDS = 0.7
"""That loading and running may take; the estimators that ship take a tenth."""

MORE_BYTES = 96 << 20
"""Of memory, on top of what Python and ONNX Runtime have already; the estimators that ship take a third."""

WAIT_SECONDS = 30.0
"""Until the process has ended, however busy the machine is."""


def try_apart(content: bytes, label: str) -> str:
    """Load and run an estimator in a process of its own; returns what is wrong with it, or an empty text.

    Args:
        content: of the ONNX file.
        label: what messages call it.
    """
    environment = os.environ | {
        # what is found here is found there
        "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path if path),
        "OMP_NUM_THREADS": "1",  # threads reserve memory that nobody uses
        "OPENBLAS_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "1",
    }
    try:
        # an empty folder, as the file may name others, relative to the current one, that hold its weights
        with tempfile.TemporaryDirectory() as empty:
            done = subprocess.run(
                [sys.executable, "-P", "-m", __name__, label],
                input=content,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=empty,
                env=environment,
                timeout=WAIT_SECONDS,
                check=False,
            )
    except subprocess.TimeoutExpired:
        return f"{label}: did not load and run within {WAIT_SECONDS:g} s"
    except OSError as error:
        return f"{label}: cannot be tried in a process of its own: {error.strerror}"
    if done.returncode == 0:
        return done.stdout.decode("utf-8", "replace")
    reason = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
    return (
        f"{label}: did not load and run within {PROCESSOR_SECONDS:g} s of processor time and {MORE_BYTES >> 20} MiB of "
        f"memory: its trial ended with {reason}"
    )


def _main(label: str) -> None:
    """In that process: print what is wrong."""
    # what takes time and memory whatever the file is comes before the limits
    import onnxruntime  # type: ignore[import-untyped]  # noqa: F401, PLC0415

    from .learned import EstimatorFileError, LearnedEstimator  # noqa: PLC0415

    content = sys.stdin.buffer.read()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pages = Path("/proc/self/statm")
    if pages.exists():
        most = int(pages.read_text("ascii").split()[0]) * resource.getpagesize() + MORE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    signal.setitimer(signal.ITIMER_PROF, PROCESSOR_SECONDS)  # its signal ends the process
    try:
        LearnedEstimator.of_content(content, label)
    except EstimatorFileError as error:
        sys.stdout.buffer.write(str(error).encode("utf-8", "replace"))
    except MemoryError:
        sys.exit(1)


if __name__ == "__main__":
    _main(sys.argv[1])
