# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks side by side in processes that an interrupt ends in good order."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

import torch

from .train import TrainingInterruptedError

__all__ = ["for_each", "termination_interrupts"]


def for_each(
    function: Callable[..., str], tasks: Sequence[tuple[Any, ...]], jobs: int, done: Callable[[str], None]
) -> None:
    """Call the function for all tasks, `done` with what it returns."""
    jobs = min(jobs, len(tasks))
    if jobs <= 1:
        for task in tasks:
            done(function(*task))
        return
    # a process each: neither torch nor BLAS is to take more than its core. Workers read this when they import NumPy
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    context = multiprocessing.get_context("spawn")  # a fork would share torch's threads, and CUDA does not survive it
    with ProcessPoolExecutor(jobs, context, _start_worker) as pool:
        try:
            for future in as_completed([pool.submit(_in_worker, function, task) for task in tasks]):
                done(future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():
                worker.terminate()  # in training, that writes a checkpoint first
            raise


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; what follows is the parent's to decide
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed cannot end its workers, which would go on training for days."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _in_worker(function: Callable[..., str], task: tuple[Any, ...]) -> str:
    try:
        return function(*task)
    except TrainingInterruptedError:
        os._exit(0)  # and not on to the next task in the queue


@contextlib.contextmanager
def termination_interrupts() -> Iterator[None]:
    """Within, SIGTERM is a KeyboardInterrupt."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
