# SPDX-License-Identifier: GPL-3.0-or-later
"""For `make coverage`: has the blocks' threads, which GNU Radio makes, measured as those that Python makes.

python -m coverage run -m pytest -p tests.coverage_threads
"""

import sys
import threading

from gr_kaq.blocks import base


def measure_threads_of_blocks() -> None:
    start = base._Common.start

    def start_measured(self):
        if threading.current_thread() is not threading.main_thread():
            sys.settrace(threading.gettrace())  # coverage's own, which begins a tracer of this thread
        return start(self)

    base._Common.start = start_measured


measure_threads_of_blocks()
