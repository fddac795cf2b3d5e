# SPDX-License-Identifier: GPL-3.0-or-later
"""What works around faults of GNU Radio is still needed: a test fails when the installed version has not the fault."""

import os
import re
import signal
import subprocess
import sys

import pytest
from gnuradio import gr

from gr_kaq.blocks.workarounds import WORKAROUNDS

# Each ends with "fault" or "no fault". One that crashes or hangs shows a fault too.
DEMONSTRATIONS = {
    # Freed memory is overwritten (PYTHONMALLOC), so that its use shows.
    "references": """
import gc
import numpy as np
from gnuradio import blocks, gr

class Source(gr.sync_block):
    def __init__(self):
        gr.sync_block.__init__(self, "source", [], [np.float32])

    def work(self, input_items, output_items):
        return -1

tb = gr.top_block()
tb.connect(Source(), blocks.null_sink(4))
gc.collect()
tb.run()
print("no fault")
""",
    "thread state": """
import threading
import numpy as np
from gnuradio import blocks, gr

class Source(gr.sync_block):
    def __init__(self):
        gr.sync_block.__init__(self, "source", [], [np.float32])
        self.local, self.calls, self.new = threading.local(), 0, 0

    def work(self, input_items, output_items):
        self.calls += 1
        self.new += not hasattr(self.local, "seen")
        self.local.seen = True
        return -1 if self.calls == 3 else 1

tb, source = gr.top_block(), Source()
tb.connect(source, blocks.null_sink(4))
tb.run()
print("no fault" if source.new == 1 else "fault")
""",
    # Called as GNU Radio does, with a capsule for each port.
    "port arrays": """
import builtins
import ctypes
import numpy as np
from gnuradio import gr

PORTS, ITEMS = 4, 16
make = ctypes.pythonapi.PyCapsule_New
make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
buffers = np.zeros((2 * PORTS, ITEMS, 64), np.complex64)
capsules = [make(buffer.ctypes.data, None, None) for buffer in buffers]

class Nothing(gr.sync_block):
    def work(self, input_items, output_items):
        return ITEMS

    def consume_items(self, count):  # there is no flowgraph
        pass

block = Nothing("nothing", [(np.complex64, 64)] * PORTS, [(np.complex64, 64)] * PORTS)
build_class, classes = builtins.__build_class__, 0

def counted(*arguments, **options):
    global classes
    classes += 1
    return build_class(*arguments, **options)

builtins.__build_class__ = counted
block.handle_general_work(ITEMS, [ITEMS] * PORTS, capsules[:PORTS], capsules[PORTS:])
builtins.__build_class__ = build_class
print("fault" if classes >= 2 * PORTS else "no fault")
""",
    "message ports": """
import gc
from pathlib import Path
import pmt
from gnuradio import blocks, gr

class Inner(gr.hier_block2):
    def __init__(self):
        gr.hier_block2.__init__(self, "inner", gr.io_signature(1, 1, 4), gr.io_signature(1, 1, 4))
        self.message_port_register_hier_out("out")
        copy = blocks.copy(4)
        strobe = blocks.message_strobe(pmt.PMT_T, 1000)
        self.connect(self, copy, self)
        self.msg_connect(strobe, "strobe", self, "out")

def mappings_after(count):
    for _ in range(count):
        tb = gr.top_block()
        tb.connect(blocks.vector_source_f([1.0]), Inner(), blocks.null_sink(4))
        tb.run()
        del tb
    gc.collect()
    return len(Path("/proc/self/maps").read_text().splitlines())

before = mappings_after(5)
print("fault" if mappings_after(20) >= before + 20 else "no fault")
""",
    "failing start": """
import os
import threading
import numpy as np
from gnuradio import blocks, gr

class Source(gr.sync_block):
    def __init__(self):
        gr.sync_block.__init__(self, "source", [], [np.float32])

    def start(self):
        raise OSError("as told")

def say():
    print("fault", flush=True)
    os._exit(0)

threading.Timer(5, say).start()
tb, source = gr.top_block(), Source()
tb.connect(source, blocks.null_sink(4))
tb.start()
print("no fault", flush=True)
os._exit(0)
""",
    # A busy machine makes the calls fewer, and never more.
    "idle source": """
import time
import numpy as np
from gnuradio import blocks, gr

class Source(gr.sync_block):
    calls = 0

    def __init__(self):
        gr.sync_block.__init__(self, "source", [], [np.float32])

    def work(self, input_items, output_items):
        self.calls += 1
        return 0

tb, source = gr.top_block(), Source()
tb.connect(source, blocks.null_sink(4))
tb.start()
time.sleep(2)
tb.stop()
tb.wait()
print("fault" if source.calls <= 10 else "no fault")
""",
}


def test_every_workaround_has_a_demonstration_or_a_version():
    assert {name for name, workaround in WORKAROUNDS.items() if not workaround.needless_from} == DEMONSTRATIONS.keys()


@pytest.mark.parametrize("name", WORKAROUNDS)
def test_is_still_needed(name):
    workaround = WORKAROUNDS[name]
    gone = f"{workaround.remedy}: not needed with GNU Radio {gr.version()}. {workaround.reports}"
    if workaround.needless_from:
        installed = tuple(int(number) for number in re.findall(r"\d+", gr.version()))
        assert installed < workaround.needless_from, gone
    else:
        assert fault_is_there(DEMONSTRATIONS[name]), gone + ". Find out which version mended it, and note it"


def fault_is_there(program):
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONMALLOC": "debug",
        "PYTHONFAULTHANDLER": "",
    }
    command = [sys.executable, "-c", program]
    try:
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:  # memory that is used after it was freed may hold anything
        return True
    crashed = ran.returncode in (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS)
    assert crashed or ran.returncode == 0, ran.stdout + ran.stderr
    return crashed or ran.stdout.splitlines()[-1] == "fault"
