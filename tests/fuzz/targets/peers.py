# SPDX-License-Identifier: GPL-3.0-or-later
"""What talks to other processes over ZMQ: peers that send nonsense, die, and come back."""

from __future__ import annotations

import logging
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from gr_kaq.blocks.base import ports
from gr_kaq.blocks.zmq_sample_sink import zmq_sample_sink
from gr_kaq.blocks.zmq_sample_source import zmq_sample_source
from gr_kaq.testbed import consumer, zmq_frames
from tests.fuzz.target import Target, within
from tests.fuzz.values import Choices

__all__ = ["Consumer", "SampleSink", "SampleSource"]

REASK_S = 0.3


class Peer:
    """The other side: a socket that can be killed and made anew, at the same address."""

    def __init__(self, kind: int, address: str, bind: bool):
        self.kind, self.bind, self.address = kind, bind, address
        self.context = zmq.Context()
        self.open()

    def open(self) -> None:
        self.socket = self.context.socket(self.kind)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RCVHWM, 10000)
        if self.kind == zmq.SUB:
            self.socket.setsockopt(zmq.SUBSCRIBE, b"")
        if self.bind:
            for _ in range(200):  # a port of one that died may take a while
                try:
                    self.socket.bind(self.address)
                    break
                except zmq.ZMQError:
                    time.sleep(0.01)
            self.address = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)
        else:
            self.socket.connect(self.address)

    def kill(self) -> None:
        """Die, with all that has not gone out, and come back."""
        self.socket.close()
        self.open()

    def close(self) -> None:
        self.context.destroy(linger=0)


class SampleSource(Target):
    """Samples are numbered: what comes out has to be what was sent, in order, and all of it if no peer died."""

    name = "zmq_sample_source"

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        self.num_rx = choices.randint(1, 3)
        self.pattern = choices.choice(("pull", "pull", "sub", "req"))
        kind = {"pull": zmq.PUSH, "sub": zmq.PUB, "req": zmq.REP}[self.pattern]
        self.peer = Peer(kind, "tcp://127.0.0.1:*", True)
        self.block = zmq_sample_source([self.peer.address], self.num_rx, self.pattern)
        self.outputs = ports(np.complex64, 1, self.num_rx)
        self.sent = self.bad = 0
        self.killed = False

    def actions(self, case: Any) -> list[Callable[[], Any]]:
        case.collector.keep = True
        return [lambda: self._send(case)] * 4 + [self._kill] * self.choices.one_in(2)

    def _send(self, case: Any) -> None:
        """One message, as the block takes it, or with a wrong length or form."""
        choices = self.choices
        if self.pattern == "req":
            if not self.peer.socket.poll(50):
                return
            self.peer.socket.recv_multipart()
        count = choices.choice((1, 7, 100, 5000))
        if choices.one_in(3):
            size = 8 * self.num_rx
            message = choices.choice(
                (
                    [b""],
                    [choices.randbytes(size * count + choices.randint(1, size - 1))],
                    [bytes(size), bytes(size)],
                    [b"\xf0\x5f\x01" + bytes(16) + choices.randbytes(5)],
                    [b"x" * 3, b""],
                )
            )
            if not self._offer(message):
                return
            self.bad += 1
        else:
            numbers = np.arange(self.sent, self.sent + count)
            if not self._offer([np.repeat(numbers, self.num_rx).astype("<c8").tobytes()]):
                return
            self.sent += count

    def _offer(self, message: list[bytes]) -> bool:
        try:
            self.peer.socket.send_multipart(message, zmq.NOBLOCK)
            return True
        except zmq.ZMQError:  # nobody is connected yet
            return False

    def _kill(self) -> None:
        self.killed = True
        self.peer.kill()

    def equal_rate(self) -> bool:
        return False

    def _exact(self, case: Any) -> bool:
        return not (self.killed or not case.exact or self.pattern == "sub")

    def lower_bounds(self, case: Any) -> dict[str, tuple[int, int]]:
        if not self._exact(case):
            return {}
        return {
            "samples that came out": (case.collector.taken, self.sent),
            "bad_messages": (self.block.bad_messages(), self.bad),
        }

    def finish(self, case: Any) -> None:
        case.tb.stop()

    def faults(self, case: Any) -> Iterator[str]:
        kept = case.collector.kept
        for antenna in range(self.num_rx):
            numbers = np.concatenate([items[antenna] for items in kept]).real if kept else np.zeros(0)
            if (np.diff(numbers) <= 0).any():
                yield "order: samples came twice, or in another order"
            if self._exact(case) and len(numbers) != self.sent:
                yield f"samples: {len(numbers)} came out of {self.sent}"
        yield from within("bad_messages", self.block.bad_messages(), self.bad if self._exact(case) else 0, self.bad)

    def close(self) -> None:
        self.peer.close()


class SampleSink(Target):
    name = "zmq_sample_sink"

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        self.num_tx = choices.randint(1, 3)
        self.pattern = choices.choice(("push", "push", "pub", "rep"))
        with zmq.Context() as context, context.socket(zmq.PULL) as free:
            port = free.bind_to_random_port("tcp://127.0.0.1")
        self.address = address = f"tcp://127.0.0.1:{port}"
        self.failed_starts, self.patience = 0, REASK_S
        self.block = zmq_sample_sink([address], self.num_tx, self.pattern)
        kind = {"push": zmq.PULL, "pub": zmq.SUB, "rep": zmq.REQ}[self.pattern]
        self.peer = Peer(kind, address, False)
        self.inputs = ports(np.complex64, 1, self.num_tx)
        self.came: list[np.ndarray] = []
        self.next = 0
        self.killed, self.asked = False, 0.0  # when the last request went out

    def piece(self, count: int) -> list[np.ndarray]:
        numbers = np.arange(self.next, self.next + count, dtype=np.complex64)[:, None]
        self.next += count
        return [numbers] * self.num_tx

    def actions(self, case: Any) -> list[Callable[[], Any]]:
        return [self._take] * 2 + [self._kill] * self.choices.one_in(2)

    def _take(self) -> None:
        """All that has come."""
        peer = self.peer.socket
        for _ in range(1000):
            if self.pattern == "rep" and not self.asked:
                peer.send(self.choices.choice((b"\xff", b"", b"nonsense" * 1000)))
                self.asked = time.monotonic()
            if not peer.poll(2):
                # the sink was closed, and the request with it
                if self.asked and time.monotonic() > self.asked + self.patience:
                    self.patience *= 2  # on a busy machine, it takes a while to connect
                    self._kill()
                return
            message = peer.recv_multipart()
            self.asked = 0.0
            self.came.append(np.frombuffer(message[0], "<c8").reshape(-1, self.num_tx))

    def _kill(self) -> None:
        self.killed, self.asked = time.monotonic(), False
        self.peer.kill()

    def while_stopped(self, case: Any) -> None:
        """Somebody else has the address: the flowgraph ends, and starts when the address is free."""
        if self.choices.one_in(2):
            return
        case.note("start, and the address is taken")
        with socket.socket() as thief:  # of ZMQ, it would keep the peer from connecting again
            for _ in range(200):
                try:
                    thief.bind(("127.0.0.1", int(self.address.rpartition(":")[2])))
                    break
                except OSError:  # a connection of before is not gone yet
                    time.sleep(0.01)
            else:
                return
            case.tb.start()
            case.wait()
        self.failed_starts += 1

    def meanwhile(self) -> None:
        self._take()

    def lower_bounds(self, case: Any) -> dict[str, tuple[int, int]]:
        self._take()
        came = sum(map(len, self.came))
        exact = not (self.killed or not case.exact or self.pattern == "pub")
        return {"samples that came out": (came, case.fed)} if exact else {"items read": (case.feeder.given, case.fed)}

    def faults(self, case: Any) -> Iterator[str]:
        self._take()
        values = np.concatenate(self.came).real if self.came else np.zeros((0, self.num_tx))
        if (np.diff(values, axis=0) <= 0).any() or (values != values[:, :1]).any():
            yield "order: samples came twice, in another order, or on another stream"
        yield from within("failed_starts", self.block.failed_starts(), self.failed_starts, self.failed_starts)

    def close(self) -> None:
        self.peer.close()


class Consumer(Target):
    """The testbed's receiver, which is no block: it takes GNU Radio's header with its tags from whoever sends."""

    name = "consumer"
    restarts = False

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        logging.getLogger("gr_kaq.testbed").setLevel(logging.ERROR)
        logging.disable(logging.WARNING)
        self.peer = Peer(zmq.PUSH, "tcp://127.0.0.1:*", True)
        self.consumer = consumer.Consumer(
            choices.randint(1, 3), choices.choice((1, 4)), address=self.peer.address, timeout=5, max_frame_bytes=1 << 20
        )
        self.size = 8 * int(np.prod(self.consumer._item_shape))
        self.sent = 0
        self.received = 0
        self.wrong = 0

    def parts(self) -> list[Any]:
        return []

    def wire(self, tb: Any) -> None:
        """There is no flowgraph."""

    def actions(self, case: Any) -> list[Callable[[], Any]]:
        return [self._send] * 6 + [self._receive]

    def _send(self) -> None:
        """A frame, whole or damaged; a good one behind it, as the end of what is to be received."""
        choices = self.choices
        count = choices.randint(1, 50)
        tags = choices.some(self._tag, 5)
        frame = zmq_frames.encode_frame(bytes(self.size * count), 1000, tags)
        kind = choices.randrange(6)
        if kind == 0:  # cut short
            frame = frame[: choices.randrange(len(frame))]
        elif kind == 1:  # bits turned
            damaged = bytearray(frame)
            for _ in range(choices.choice((1, 3, 30))):
                damaged[choices.randrange(min(len(damaged), 200))] ^= 1 << choices.randrange(8)
            frame = bytes(damaged)
        elif kind == 2:  # a count, a length or a depth that is a lie
            frame = b"\xf0\x5f\x01" + struct.pack("<QQ", 0, choices.choice((2**64 - 1, 10**6, 1)))
            frame += choices.choice((b"", bytes(8) + b"\x07" * 100000, bytes(8) + b"\x0a\x0b\xff\xff\xff\xff\x00"))
        elif kind == 3:
            frame = choices.randbytes(choices.choice((0, 1, 18, 19, 20, 1000)))
        parts = [frame] if not choices.one_in(10) else [frame, b""]
        try:
            self.peer.socket.send_multipart(parts, zmq.NOBLOCK)
            self.sent += 1
        except zmq.ZMQError:
            pass

    def _tag(self) -> zmq_frames.Tag:
        choices = self.choices
        value = choices.choice((None, True, 1.5, 1j, "x", [1, [2]], (1, None), {"a": 1}, np.zeros(3, np.complex64)))
        return zmq_frames.Tag(1000, choices.choice(("snr", "x")), value)

    def _receive(self) -> None:
        try:
            while True:
                self.consumer.receive(0.02)
                self.received += 1
        except TimeoutError:
            pass

    def lower_bounds(self, case: Any) -> dict[str, tuple[int, int]]:
        self._receive()
        return {"frames taken or refused": (self.received + self.consumer.num_rejected, self.sent)}

    def finish(self, case: Any) -> None:
        case.tb.stop()

    def faults(self, case: Any) -> Iterator[str]:
        yield from within("frames", self.received + self.consumer.num_rejected, self.sent, self.sent)

    def close(self) -> None:
        self.consumer.close()
        self.peer.close()
