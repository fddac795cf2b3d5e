#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kills the ends of a link that repeats what is lost, one or the other, and looks at what was delivered in all.

    PYTHONPATH=build/test_modules:. /usr/bin/python3 benchmarks/killed_links.py [--seconds 300]

The link is that of examples/arq_link.py, between two processes. The sender sends the times at which it was asked for
PDUs, so that they ascend also across its restarts; all receivers write what they deliver into one file, in the order in
which they do. Each time 20 more PDUs have come through, and up to a second later, one of the two is killed (SIGKILL)
and started again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "examples"))

STEP, STALLED_S = 20, 60.0
NUMBER_BYTES, PDU_BYTES = 8, 108
ROLES = ("send", "receive")


def run_role(role: str, folder: Path, snr_db: float) -> None:
    """One end of the link, until it is killed."""
    import pmt  # noqa: PLC0415  # not for who kills
    from arq_link import Node, add_link_arguments  # noqa: PLC0415
    from gnuradio import gr  # noqa: PLC0415

    from gr_kaq.blocks.pdu import make_pdu, pdu_bytes  # noqa: PLC0415

    class times(gr.basic_block):
        """Sends as many PDUs as are wanted."""

        def __init__(self) -> None:
            gr.basic_block.__init__(self, "times", [], [])
            self.message_port_register_in(pmt.intern("ready"))
            self.set_msg_handler(pmt.intern("ready"), self.handle)
            self.message_port_register_out(pmt.intern("pdus"))

        def handle(self, message: Any) -> None:
            for _ in range(pmt.to_long(message)):
                data = time.monotonic_ns().to_bytes(NUMBER_BYTES, "big")
                self.message_port_pub(pmt.intern("pdus"), make_pdu(data + bytes(PDU_BYTES - NUMBER_BYTES)))

    class log(gr.basic_block):
        """Writes what is delivered."""

        def __init__(self) -> None:
            gr.basic_block.__init__(self, "log", [], [])
            self._file = os.open(folder / "delivered", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            self.message_port_register_in(pmt.intern("pdus"))
            self.set_msg_handler(pmt.intern("pdus"), self.handle)

        def handle(self, message: Any) -> None:
            os.write(self._file, pdu_bytes(message)[:NUMBER_BYTES])

    parser = argparse.ArgumentParser()
    add_link_arguments(parser)
    options = parser.parse_args(["--folder", str(folder), "--snr-db", str(snr_db)])
    if role == "send":
        node, end = Node(options, "sender", "receiver", sends=True), times()
        node.msg_connect(node.sender, "ready", end, "ready")
        node.msg_connect(end, "pdus", node.sender, "pdus")
    else:
        node, end = Node(options, "receiver", "sender", receives=True), log()
        node.msg_connect(node.receiver, "pdus", end, "pdus")
    node.run_until(lambda: False, lambda: role)


def kill_ends(seconds: float, snr_db: float, seed: int) -> dict[str, Any]:
    """Kill for so long, and see what was delivered."""
    rng = random.Random(seed)
    kills = dict.fromkeys(ROLES, 0)
    stalled = 0
    with tempfile.TemporaryDirectory() as name:
        delivered = Path(name) / "delivered"
        delivered.touch()

        def start(role: str) -> subprocess.Popen:
            command = [sys.executable, __file__, "--role", role, "--folder", name, "--snr-db", str(snr_db)]
            return subprocess.Popen(command, stdout=subprocess.DEVNULL)

        ends = {role: start(role) for role in ROLES}
        began = time.monotonic()
        try:
            while time.monotonic() - began < seconds:
                enough = delivered.stat().st_size + STEP * NUMBER_BYTES
                waited_from = time.monotonic()
                while delivered.stat().st_size < enough and time.monotonic() - waited_from < STALLED_S:
                    time.sleep(0.05)
                stalled += delivered.stat().st_size < enough
                time.sleep(rng.random())
                role = rng.choice(ROLES)
                ends[role].send_signal(signal.SIGKILL)
                ends[role].wait()
                kills[role] += 1
                ends[role] = start(role)
        finally:
            for end in ends.values():
                end.kill()
                end.wait()
        data = delivered.read_bytes()
    numbers = [int.from_bytes(bytes(one), "big") for one in zip(*[iter(data)] * NUMBER_BYTES, strict=False)]
    wrong = sum(first >= second for first, second in itertools.pairwise(numbers))
    return {"kills": kills, "stalled": stalled, "pdus": len(numbers), "repeated_or_out_of_order": wrong}


def main() -> int:
    """Kill, and show; the exit status is 1 if anything came twice or out of order, or nothing came any more."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0, help="how long (default: %(default)g)")
    parser.add_argument("--snr-db", type=float, default=16.0, help="of the fading channel (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=1, help="of who is killed, and when (default: %(default)s)")
    parser.add_argument("--role", choices=ROLES, help=argparse.SUPPRESS)  # of a process that is to be killed
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        run_role(options.role, options.folder, options.snr_db)
        return 0
    outcome = kill_ends(options.seconds, options.snr_db, options.seed)
    print(json.dumps(outcome))
    return int(outcome["repeated_or_out_of_order"] > 0 or outcome["stalled"] > 0 or not outcome["pdus"])


if __name__ == "__main__":
    sys.exit(main())
