# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan does that is shared: by threads, it says so; by a process that fork() makes, it works."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

from gr_kaq.detection.native_kernel import NativePlan
from tests.detection.models import admm_model

FORK = """
import os, sys, threading
import numpy as np
import gr_kaq

name, num_threads, while_running = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "running"
rng = np.random.default_rng(1)
h, y = (rng.standard_normal((32, n, 8)).astype(np.float32).view(np.complex64) for n in (4, 300))
detector = gr_kaq.load_detector(name)
plan = detector.plan(*h.shape, num_threads=num_threads)

def detect():
    return plan.prepare(h, snr_db=20).detect(y).llrs

expected = detect()
stop = threading.Event()
def in_another_thread():
    while not stop.is_set():
        detect()
thread = threading.Thread(target=in_another_thread)
if while_running:
    thread.start()
for attempt in range(8):
    child = os.fork()
    if child == 0:
        try:
            same = (detect() == expected).all()
            grandchild = os.fork()
            if grandchild == 0:
                os._exit(0 if (detect() == expected).all() else 4)
            same = same and os.waitpid(grandchild, 0)[1] == 0
            own = detector.plan(*h.shape, num_threads=num_threads)  # with threads of its own
            same = same and (own.prepare(h, snr_db=20).detect(y).llrs == expected).all()
            del own
            status = 0 if same else 2
        except RuntimeError as error:
            status = 0 if while_running and "another thread is using this plan" in str(error) else 3
        del plan  # which has nobody to wait for
        os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
if while_running:
    thread.join()
assert (detect() == expected).all()
print("done")
"""


@pytest.mark.parametrize("name", ["admm5-16qam", "admm5-16qam-fp", "list8-16qam"])
@pytest.mark.parametrize("num_threads", [1, 2, 5])
@pytest.mark.parametrize("state", ["idle", "running"])
def test_a_plan_works_in_a_process_that_fork_makes(name, num_threads, state):
    """It has none of the threads that it waits for. Where one was at work, the plan says that it is in use."""
    command = [sys.executable, "-B", "-c", FORK, name, str(num_threads), state]
    found = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (found.returncode, found.stdout) == (0, "done\n"), found.stderr


def test_every_use_of_a_plan_by_two_threads_is_an_error():
    """Not only of `prepare` and `detect`: an estimate would be overwritten while the layers read it."""
    rng = np.random.default_rng(1)
    plan = NativePlan(admm_model(), 32, 4, 4)
    h, y = (rng.standard_normal((32, n, 8)).astype(np.float32).view(np.complex64) for n in (4, 7))
    channels = plan.prepare(h, snr_db=20)
    integers, (b, _) = vars(channels.integers), channels.filter(y)
    kernel = plan.kernel
    many = np.tile(b, (1, 4000, 1))

    def set_integers():
        kernel.integers = integers

    uses = {
        "get integers": lambda: kernel.integers,
        "set integers": set_integers,
        "filter": lambda: kernel.filter(y),
        "layers": lambda: kernel.layers(b),
        "llrs": lambda: kernel.llrs(b.reshape(-1, 8)),
        "prepare": lambda: plan.prepare(h, snr_db=20),
    }
    for use in uses.values():
        use()
    refused: dict[str, str] = {}
    for _ in range(200):
        thread = threading.Thread(target=lambda: kernel.layers(many))
        thread.start()
        for name, use in uses.items():
            try:
                use()
            except RuntimeError as error:
                refused[name] = str(error)
        thread.join()
        if len(refused) == len(uses):
            break
    assert set(refused) == set(uses)
    assert all("another thread is using this plan" in said for said in refused.values())
