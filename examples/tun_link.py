#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""IP over the fading link of arq_link.py: ping, TCP and whatever runs over it. One process on each side, `a` and `b`.

    tun_link.py a        makes the interface kaq0 with the address 10.77.0.1 here, and 10.77.0.2 is on the other side
    tun_link.py b        the other way round

Each packet is a PDU. Small ones (up to 128 bytes: acknowledgements of TCP, ping) are of class 0, others of class 2, and
none lives longer than --lifetime. It needs the right to make a TUN device (CAP_NET_ADMIN). Both sides on one computer
need network namespaces: docs/guide/link.md shows them.
"""

import argparse
import fcntl
import os
import select
import struct
import subprocess
import sys
import threading
from typing import Any

import pmt
from arq_link import Node, add_link_arguments, receiving, sending, threaded_block

from gr_kaq.blocks.base import python_to_pmt
from gr_kaq.blocks.pdu import make_pdu, pdu_bytes

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
MTU, QUEUE = 1400, 50  # packets that wait in the system: more of them only make delay
SMALL, SMALL_CLASS, OTHER_CLASS = 128, 0, 2
ADDRESSES = {"a": "10.77.0.1", "b": "10.77.0.2"}


class tun_device(threaded_block):
    """Packets of a TUN interface as PDUs, as many as are wanted, and the other way round."""

    def __init__(self, name: str, address: str, peer: str, lifetime_s: float):
        threaded_block.__init__(self, "TUN device")
        self._device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self._device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
        for command in (
            ["addr", "add", address, "peer", peer, "dev", name],
            ["link", "set", name, "mtu", str(MTU), "txqueuelen", str(QUEUE), "up"],
        ):
            subprocess.run(["ip", *command], check=True)
        self._lifetime_s = lifetime_s
        self.sent = self.received = self.refused = 0
        self._wanted = threading.Semaphore(0)
        for port, handler in (("ready", self.handle_ready), ("pdus", self.handle_pdu)):
            self.message_port_register_in(pmt.intern(port))
            self.set_msg_handler(pmt.intern(port), handler)
        self.message_port_register_out(pmt.intern("pdus"))

    def handle_ready(self, message: Any) -> None:
        """A message on port `ready`: how many packets are wanted."""
        self._wanted.release(pmt.to_long(message))

    def handle_pdu(self, message: Any) -> None:
        """A message on port `pdus`: a packet for the system."""
        try:
            os.write(self._device, pdu_bytes(message))
            self.received += 1
        except OSError:  # the system has no room, or knows no such packet
            self.refused += 1

    def run(self) -> None:
        """Read packets while they are wanted."""
        while not self.ended.is_set():
            if not self._wanted.acquire(timeout=0.1):
                continue
            while not self.ended.is_set() and not select.select([self._device], [], [], 0.1)[0]:
                pass
            if self.ended.is_set():
                return
            packet = os.read(self._device, 1 << 16)
            traffic_class = SMALL_CLASS if len(packet) <= SMALL else OTHER_CLASS
            metadata = python_to_pmt({"class": traffic_class, "deadline": self._lifetime_s})
            self.message_port_pub(pmt.intern("pdus"), make_pdu(packet, metadata))
            self.sent += 1


def run(options: argparse.Namespace) -> int:
    """Run one side until Ctrl-C; the exit status."""
    other = "b" if options.side == "a" else "a"
    node = Node(options, options.side, other, sends=True, receives=True, min_shares=(0.0, 0.0, 0.2, 0.0))
    tun = tun_device(options.name, ADDRESSES[options.side], ADDRESSES[other], options.lifetime)
    node.msg_connect(node.sender, "ready", tun, "ready")
    node.msg_connect(tun, "pdus", node.sender, "pdus")
    node.msg_connect(node.receiver, "pdus", tun, "pdus")

    def report() -> str:
        expired = node.sender.expired_pdus()
        return f"{tun.sent} packets out, {expired} too late, {tun.received} in; {sending(node)}; {receiving(node)}"

    node.run_until(lambda: False, report)
    return 0


def main() -> int:
    """Run one side; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=list(ADDRESSES), help="which end of the link this is")
    parser.add_argument("--name", default="kaq0", help="of the interface (default: %(default)s)")
    parser.add_argument("--lifetime", type=float, default=2.0, help="of a packet, in seconds (default: %(default)g)")
    add_link_arguments(parser)
    try:
        return run(parser.parse_args())
    except (ValueError, OSError, ImportError, subprocess.CalledProcessError) as error:
        print(f"tun_link: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
