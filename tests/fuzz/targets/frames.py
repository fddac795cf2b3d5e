# SPDX-License-Identifier: GPL-3.0-or-later
"""Blocks of frames: transmitter, synchronizer, channel estimator, decoder, the receiver, and the link of both ends."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pmt
from gnuradio import blocks, gr

from gr_kaq.blocks.base import ports
from gr_kaq.blocks.channel_estimator import channel_estimator
from gr_kaq.blocks.csi_recorder import csi_recorder
from gr_kaq.blocks.data_aided_decoder import data_aided_decoder
from gr_kaq.blocks.frame_decoder import frame_decoder
from gr_kaq.blocks.frame_explainer import frame_explainer
from gr_kaq.blocks.frame_synchronizer import frame_synchronizer
from gr_kaq.blocks.frame_transmitter import frame_transmitter
from gr_kaq.blocks.mimo_receiver import mimo_receiver
from gr_kaq.blocks.pdu import InvalidPdu, make_pdu, pdu_bytes
from gr_kaq.blocks.receiver_publisher import receiver_publisher
from gr_kaq.blocks.receiver_status import receiver_status
from gr_kaq.frames.frame_format import NUM_SYMBOLS, FrameFormat
from gr_kaq.frames.payload import PayloadCoder, max_payload
from gr_kaq.signals.constellation import CONSTELLATIONS
from tests.fuzz.plumbing import connect_silence
from tests.fuzz.target import Tag, Target, Verdict, verdicts, within
from tests.fuzz.targets.symbols import MODELS, estimate, hostile_paths, name_message
from tests.fuzz.values import NULL, Choices

__all__ = [
    "DataAidedDecoder",
    "Decoder",
    "Estimator",
    "Explainer",
    "Link",
    "Publisher",
    "Receiver",
    "Recorder",
    "Status",
    "Synchronizer",
    "Transmitter",
    "pdu",
]

METHODS = ("lmmse", "lmmse-memory", "lmmse-frequency", "ls", "estimator", "estimator-fp")
FRAME = pmt.intern("frame")


@cache
def modulated(frame: FrameFormat) -> np.ndarray:
    """Samples of a few frames: (frames, num_tx, frame_length)."""
    rng, coder = np.random.default_rng(1), PayloadCoder(frame)
    payloads = [rng.bytes(max_payload(frame)) for _ in range(3)]
    return np.stack([frame.modulate(frame.map_bits(coder.encode(payload))) for payload in payloads])


def antenna_samples(choices: Choices, frame: FrameFormat, num_rx: int) -> np.ndarray:
    """Samples of all antennas, (n, num_rx): frames, noise, and what no radio gives."""
    sent = choices.choice(modulated(frame))
    h = choices.numpy.normal(size=(num_rx, frame.num_tx, 2)).astype(np.float32).view(np.complex64)[..., 0]
    samples = (h @ sent).T
    noise = choices.numpy.normal(size=(*samples.shape, 2)).astype(np.float32).view(np.complex64)[..., 0]
    samples = samples + noise * np.float32(choices.choice((0.01, 0.1, 1)))
    if choices.one_in(4):  # cut off
        samples = samples[: choices.randrange(len(samples)) + 1]
    if choices.one_in(4):
        samples = samples * np.exp(2j * np.pi * choices.uniform(-0.05, 0.05) * np.arange(len(samples)))[:, None]
    if choices.one_in(3):
        start = choices.randrange(len(samples))
        part = samples[start : start + choices.choice((1, 10, 500))]
        part[:] = choices.samples(part.shape)
    if choices.one_in(4):
        samples[:, choices.randrange(num_rx)] = choices.choice((0, 1, np.nan))
    return np.concatenate([samples, choices.samples((choices.randrange(1, 300), num_rx))]).astype(np.complex64)


def time_tags(choices: Choices, count: int, num_rx: int) -> list[Tag]:
    """What a radio says of its clock, and what none does."""

    def draw() -> Tag:
        key = choices.choice(("rx_time", "rx_rate"))
        if choices.one_in(2):
            value = choices.pmt()
        elif key == "rx_rate":
            value = choices.choice((pmt.from_double(2e6), choices.number()))
        else:
            whole = choices.choice((pmt.from_uint64(choices.randrange(9)), choices.number(), NULL))
            value = pmt.make_tuple(whole, choices.choice((pmt.from_double(choices.random()), choices.number(), NULL)))
        return choices.randrange(num_rx), choices.randrange(count), pmt.intern(key), value, None

    return choices.some(draw, 8)


def frame_value(choices: Choices) -> Any:
    """The value of a tag `frame`: as the synchronizer has it, or anything."""
    if choices.one_in(3):
        return choices.pmt()
    entries = pmt.make_dict()
    for key, value in (("seq", pmt.from_uint64(1)), ("sample", pmt.from_uint64(9)), ("carrier_offset", choices.pmt())):
        entries = pmt.dict_add(entries, pmt.intern(key), value)
    for number in range(100 if choices.one_in(20) else 0):
        entries = pmt.dict_add(entries, pmt.intern(f"more {number}"), pmt.PMT_T)
    return entries


def pdu(choices: Choices, limit: int) -> tuple[Any, Verdict]:
    """A PDU of at most `limit` bytes, a longer one, or none."""
    kind = choices.randrange(12)
    if kind < 8:
        return make_pdu(choices.randbytes(choices.choice((1, limit, choices.randint(1, limit))))), True
    if kind == 8:
        long = 20_000_000 if choices.one_in(60) else 100_000
        data = pmt.deserialize_str(b"\x0a\x00" + long.to_bytes(4, "big") + b"\x01\x00" + bytes(long))
        return pmt.cons(choices.pmt(), data), False
    if kind == 9:
        return make_pdu(b""), False
    if kind == 10:
        return pmt.cons(choices.pmt(), choices.vector(kind=choices.choice(("s8", "f32", "c32", "u16")))), False
    message = choices.pmt()
    while message is not None and pmt.is_eof_object(message):  # that ends the block
        message = choices.pmt()
    return message, None


def is_dict(value: Any) -> bool:
    return value is not None and pmt.is_dict(value)


def small_frame(choices: Choices) -> FrameFormat:
    """A frame format, the smaller ones more often."""
    return FrameFormat(
        choices.choice((1, 2, 2, 4)), choices.choice((64, 64, 64, 256)), choices.choice(list(CONSTELLATIONS))
    )


class Synchronizer(Target):
    name = "frame_synchronizer"
    message_outputs = ("stats",)

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        self.frame = small_frame(choices)
        self.num_rx = choices.randint(1, 4)
        self.block = frame_synchronizer(self.num_rx, self.frame.num_tx, self.frame.fft_size, stats_interval_s=0.01)
        self.inputs = ports(np.complex64, 1, self.num_rx)
        self.outputs = ports(np.complex64, self.frame.fft_size, self.num_rx)
        self.invalid = 0

    def items(self) -> int:
        self.next = antenna_samples(self.choices, self.frame, self.num_rx)
        return len(self.next)

    def piece(self, count: int) -> list[np.ndarray]:
        self.invalid += int(np.count_nonzero(~np.isfinite(self.next)))
        return list(self.next.T.copy()[..., None])

    def tags(self, count: int) -> list[Tag]:
        return super().tags(count) + time_tags(self.choices, count, self.num_rx)

    def equal_rate(self) -> bool:
        return False

    def faults(self, case: Any) -> Iterator[str]:
        block, came = self.block, case.collector.taken
        if case.exact:
            yield from within("items that came out", came, NUM_SYMBOLS * block.frames(), NUM_SYMBOLS * block.frames())
            yield from within("invalid_samples", block.invalid_samples(), self.invalid, self.invalid)
            timed = [tag for tag in case.tags if tag[2] in (pmt.intern("rx_time"), pmt.intern("rx_rate"))]
            yield from within("rejected_tags", block.rejected_tags(), 0, len(timed))


class Estimator(Target):
    name = "channel_estimator"
    message_inputs = ("method",)
    message_outputs = ("stats",)

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        self.frame = small_frame(choices)
        self.num_rx = choices.randint(1, 4)
        shown = choices.one_in(2)
        self.block = channel_estimator(
            self.num_rx,
            self.frame.num_tx,
            self.frame.fft_size,
            method=choices.choice(METHODS[:4]),
            output_channel=shown,
            stats_interval_s=0.01,
        )
        self.inputs = ports(np.complex64, self.frame.fft_size, self.num_rx)
        self.outputs = ports(np.complex64, self.frame.data_per_stream, self.num_rx)
        self.outputs += ports(np.float32, self.frame.num_active * self.num_rx * self.frame.num_tx, 1) if shown else []

    def items(self) -> int:
        return self.choices.randint(1, 60)

    def tags(self, count: int) -> list[Tag]:
        choices, step = self.choices, self.choices.choice((14, 14, 14, 15, 28, 5))
        starts = range(choices.randrange(3), count, step)
        return super().tags(count) + [(0, item, FRAME, frame_value(choices), None) for item in starts]

    def message(self, port: str) -> tuple[Any, Verdict]:
        return name_message(self.choices, self.folder, METHODS)

    def setters(self) -> list[Callable[[], Any]]:
        choices, block = self.choices, self.block
        return [
            lambda: block.set_method(choices.choice(METHODS)),
            lambda: block.set_method(choices.choice(hostile_paths(self.folder))),
        ]

    def equal_rate(self) -> bool:
        return False

    def lower_bounds(self, case: Any) -> dict[str, tuple[int, int]]:
        refused = verdicts([verdict for _, verdict in case.messages["method"]])[False]
        return {"refused messages on method": (self.block.rejected_messages(), refused)}

    def faults(self, case: Any) -> Iterator[str]:
        block = self.block
        starts = sorted({tag[1] for tag in case.tags if tag[0] == 0 and tag[2] is not None and pmt.eq(tag[2], FRAME)})
        pairs = list(itertools.pairwise([*starts, case.fed]))
        frames = sum(stop - start >= NUM_SYMBOLS for start, stop in pairs)
        cut = sum(stop - start < NUM_SYMBOLS for start, stop in pairs[:-1])
        if case.exact:
            yield from within("frames", block.frames(), frames, frames)
            yield from within("items that came out", case.collector.taken, frames, frames)
            yield from within("incomplete_frames", block.incomplete_frames(), max(0, cut - NUM_SYMBOLS), cut)
        messages = verdicts([verdict for _, verdict in case.messages["method"]])
        high = messages[False] + messages[None]
        yield from within("rejected_messages", block.rejected_messages(), messages[False], high)


class Decoder(Target):
    name = "frame_decoder"
    message_outputs = ("stats", "pdus")

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        self.frame = small_frame(choices)
        frame = self.frame
        self.block = frame_decoder(frame.num_tx, frame.fft_size, frame.constellation_name, stats_interval_s=0.01)
        width = frame.data_per_stream * frame.constellation.bits_per_symbol
        self.inputs = ports(np.float32, width, frame.num_tx)

    def items(self) -> int:
        return self.choices.randint(1, 12)

    def tags(self, count: int) -> list[Tag]:
        choices = self.choices
        return super().tags(count) + choices.some(
            lambda: (0, choices.randrange(count), FRAME, frame_value(choices), None), 12
        )

    def lower_bounds(self, case: Any) -> dict[str, tuple[int, int]]:
        return {"frames": (self.block.frames(), case.fed)} if case.complete else {}

    def faults(self, case: Any) -> Iterator[str]:
        block = self.block
        yield from case.taken("frames", block.frames())
        yield from within("block_errors", block.block_errors(), 0, block.frames())
        if case.exact:
            wrong = sum(
                tag[0] == 0 and tag[2] is not None and pmt.eq(tag[2], FRAME) and not is_dict(tag[3])
                for tag in case.tags
            )
            yield from within("malformed_tags", block.malformed_tags(), wrong, wrong)


class DataAidedDecoder(Decoder):
    name = "data_aided_decoder"
    message_inputs = ("model",)

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        frame, num_rx = self.frame, self.frame.num_tx + choices.randint(0, 1)
        self.shape = frame.data_per_stream, num_rx, frame.num_tx
        self.block = data_aided_decoder(
            num_rx,
            frame.num_tx,
            frame.fft_size,
            frame.constellation_name,
            detector=choices.choice(("lmmse", "auto")),
            passes=choices.choice((1, 2)),
            stats_interval_s=0.01,
        )
        self.inputs += ports(np.complex64, frame.data_per_stream, num_rx)

    def items(self) -> int:
        return self.choices.randint(1, 4)

    def tags(self, count: int) -> list[Tag]:
        choices = self.choices
        found = super().tags(count)
        for item in range(count):
            value = frame_value(choices)
            for key in ("delay_spread", "doppler") if is_dict(value) else ():
                number = choices.number() if choices.one_in(4) else pmt.from_double(choices.uniform(0, 2))
                with contextlib.suppress(Exception):  # a dict may hold anything
                    value = pmt.dict_add(value, pmt.intern(key), number)
            found.append((0, item, FRAME, value, None))
            if choices.one_in(2):
                found.append((0, item, pmt.intern("mimo_channel"), *estimate(choices, self.shape, False)))
        return found

    def message(self, port: str) -> tuple[Any, Verdict]:
        return name_message(self.choices, self.folder, MODELS)

    def setters(self) -> list[Callable[[], Any]]:
        return [lambda: self.block.set_model(self.choices.choice(MODELS))]

    def faults(self, case: Any) -> Iterator[str]:
        block = self.block
        yield from super().faults(case)
        failed = block.block_errors() + block.rescued_frames()
        yield from within("refined_frames", block.refined_frames() + block.frames_without_csi(), failed, failed)
        yield from within("rescued_frames", block.rescued_frames(), 0, block.refined_frames())


class Recorder(Target):
    name = "csi_recorder"

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        self.frame = FrameFormat(choices.randint(1, 2), 64)
        self.shape = (self.frame.data_per_stream, choices.randint(1, 3), self.frame.num_tx)
        self.block = csi_recorder(self.shape[1], self.shape[2], max_frames=choices.choice((0, 0, 2)))
        self.inputs = ports(np.complex64, self.frame.data_per_stream, 1)

    def items(self) -> int:
        return self.choices.randint(1, 12)

    def tags(self, count: int) -> list[Tag]:
        choices = self.choices
        found = super().tags(count)
        for item in range(count):
            if choices.one_in(2):
                found.append((0, item, FRAME, frame_value(choices), None))
            if choices.one_in(2):
                found.append((0, item, pmt.intern("mimo_channel"), *estimate(choices, self.shape, False)))
        return found

    def lower_bounds(self, case: Any) -> dict[str, tuple[int, int]]:
        return {"items read": (self.block.nitems_read(0), case.fed)} if case.complete else {}

    def faults(self, case: Any) -> Iterator[str]:
        block = self.block
        yield from within("frames", block.num_frames() + block.rejected_frames(), 0, case.fed + case.fed_before)


class Explainer(Target):
    name = "frame_explainer"
    message_inputs = ("lost",)
    message_outputs = ("explanations", "stats")

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        frame = small_frame(choices)
        num_rx = choices.randint(1, 3)
        arguments = (num_rx, frame.num_tx, frame.fft_size, frame.constellation_name)
        self.block = frame_explainer(*arguments, detector="lmmse", stats_interval_s=0.01)
        self.inputs = ports(np.complex64, 1, num_rx)

    def items(self) -> int:
        return self.choices.randint(1, 8000)

    def message(self, port: str) -> tuple[Any, Verdict]:
        return frame_value(self.choices), None

    def lower_bounds(self, case: Any) -> dict[str, tuple[int, int]]:
        return {"items read": (self.block.nitems_read(0), case.fed)} if case.complete else {}


class Publisher(Target):
    name = "receiver_publisher"
    message_inputs = ("stats",)
    message_outputs = ("model", "estimator")

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        frame, num_rx = FrameFormat(choices.randint(1, 2), 64), choices.randint(1, 3)
        interval = choices.choice((0.001, 0.01, 1.0))
        self.block = receiver_publisher(num_rx, frame.num_tx, address="tcp://127.0.0.1:*", interval_s=interval)
        data = ports(np.complex64, frame.data_per_stream, 2)
        self.inputs = [*data, *ports(np.float32, frame.num_active * num_rx * frame.num_tx, 1)]

    def items(self) -> int:
        return self.choices.randint(1, 12)

    def message(self, port: str) -> tuple[Any, Verdict]:
        message = self.choices.pmt()
        return message, is_dict(message)

    def lower_bounds(self, case: Any) -> dict[str, tuple[int, int]]:
        return {"items read": (self.block.nitems_read(0), case.fed)} if case.complete else {}


class Status(Target):
    name = "receiver_status"
    message_inputs = ("stats",)

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        self.block = receiver_status(2, interval_s=choices.choice((0.001, 0.01, 1.0)))

    def wire(self, tb: gr.top_block) -> None:
        connect_silence(tb, self.block, "stats")

    def message(self, port: str) -> tuple[Any, Verdict]:
        choices = self.choices
        if choices.one_in(3):
            message = choices.pmt()
            return message, is_dict(message)
        message = pmt.make_dict()
        for name in ("overlapping_frames", "frames", "block_errors", "interfered_frames", "snr_db"):
            if not choices.one_in(4):
                value = choices.pmt() if choices.one_in(8) else choices.number()
                message = pmt.dict_add(message, pmt.intern(name), value)
        return message, True

    def _refused(self, case: Any) -> int:
        return verdicts([verdict for _, verdict in case.messages["stats"]])[False]

    def lower_bounds(self, case: Any) -> dict[str, tuple[int, int]]:
        return {"refused messages on stats": (self.block.rejected_messages(), self._refused(case))}

    def finish(self, case: Any) -> None:
        case.tb.stop()

    def faults(self, case: Any) -> Iterator[str]:
        refused = self._refused(case)
        yield from within("rejected_messages", self.block.rejected_messages(), refused, refused)
        self.block.status(10.0)


class Transmitter(Target):
    name = "frame_transmitter"
    message_inputs = ("pdus", "acks")
    message_outputs = ("ready",)

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        self.frame = small_frame(choices)
        frame = self.frame
        self.waits = choices.one_in(2)
        self.gap = choices.choice((0, 1, 256))
        self.block = frame_transmitter(
            frame.num_tx,
            frame.fft_size,
            frame.constellation_name,
            gap_length=self.gap,
            idle="wait" if self.waits else "zeros",
        )
        self.outputs = ports(np.complex64, 1, frame.num_tx)

    def message(self, port: str) -> tuple[Any, Verdict]:
        message, verdict = pdu(self.choices, max_payload(self.frame))
        return (message, verdict) if port == "pdus" else (message, False)  # frames without a header carry none

    def setters(self) -> list[Callable[[], Any]]:
        return [lambda: self.block.set_amplitude(self.choices.choice((0.25, 1, 0, float("nan"))))]

    def _counted(self) -> int:
        block = self.block
        return block.frames() + block.bad_pdus() + block.dropped_pdus() + block.queued_pdus()

    def lower_bounds(self, case: Any) -> dict[str, tuple[int, int]]:
        return {"messages on pdus": (self._counted(), len(case.messages["pdus"]))}

    def finish(self, case: Any) -> None:
        case.post("pdus", pmt.PMT_EOF)

    def faults(self, case: Any) -> Iterator[str]:
        block, total = self.block, len(case.messages["pdus"])
        yield from within("PDUs counted", self._counted(), total, total)
        pdus = verdicts([verdict for _, verdict in case.messages["pdus"]])
        yield from within("bad_pdus", block.bad_pdus(), pdus[False] - block.dropped_pdus(), pdus[False] + pdus[None])
        if case.exact:
            samples = block.frames() * (self.frame.frame_length + self.gap)
            high = samples if self.waits else np.inf
            yield from within("items that came out", case.collector.taken, samples, high)
        if any(not pmt.is_integer(message) for message in case.listeners["ready"].messages):
            yield "a message on ready is no number"


class Receiver(Target):
    name = "mimo_receiver"
    message_inputs = ("model",)
    message_outputs = ("pdus", "frames", "stats")

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        self.frame = small_frame(choices)
        frame, self.num_rx = self.frame, self.frame.num_tx + choices.randint(0, 1)
        self.monitor = choices.one_in(3)
        self.block = mimo_receiver(
            self.num_rx,
            frame.num_tx,
            frame.fft_size,
            frame.constellation_name,
            detector=choices.choice(("lmmse", "zf", "auto", "auto-fast")),
            estimator=choices.choice(METHODS[:4]),
            data_aided_passes=choices.choice((0, 0, 1)),
            monitor=self.monitor,
        )
        self.inputs = ports(np.complex64, 1, self.num_rx)
        self.outputs = ports(np.complex64, frame.data_per_stream, frame.num_tx)
        if self.monitor:
            self.outputs += ports(np.complex64, frame.data_per_stream, self.num_rx)
            self.outputs += ports(np.float32, frame.num_active * self.num_rx * frame.num_tx, 1)

    def message_block(self, port: str, is_input: bool) -> Any:
        return self.block.detector if is_input else self.block

    def parts(self) -> list[Any]:
        return [self.block.synchronizer, self.block.estimator, self.block.detector, self.block.decoder]

    def items(self) -> int:
        self.next = antenna_samples(self.choices, self.frame, self.num_rx)
        return len(self.next)

    def piece(self, count: int) -> list[np.ndarray]:
        return list(self.next.T.copy()[..., None])

    def tags(self, count: int) -> list[Tag]:
        return super().tags(count) + time_tags(self.choices, count, self.num_rx)

    def message(self, port: str) -> tuple[Any, Verdict]:
        return name_message(self.choices, self.folder, MODELS)

    def setters(self) -> list[Callable[[], Any]]:
        choices, block = self.choices, self.block
        return [
            lambda: block.set_model(choices.choice(MODELS)),
            lambda: block.set_estimator(choices.choice(METHODS)),
            lambda: block.handle_model(choices.pmt()),
            lambda: block.handle_estimator(choices.pmt()),
            lambda: block.set_condition(choices.random()),
            block.block_error_rate,
        ]

    def equal_rate(self) -> bool:
        return False

    def lower_bounds(self, case: Any) -> dict[str, tuple[int, int]]:
        refused = verdicts([verdict for _, verdict in case.messages["model"]])[False]
        return {"refused messages on model": (self.block.detector.rejected_messages(), refused)}

    def faults(self, case: Any) -> Iterator[str]:
        synchronizer, estimator, detector, decoder = self.parts()
        if not case.exact:
            return
        frames = synchronizer.frames()
        yield from within("frames estimated", estimator.frames() + estimator.incomplete_frames(), frames, frames)
        for part, count in (("detector", detector.items()), ("decoder", decoder.frames())):
            yield from within(f"frames of the {part}", count, estimator.frames(), estimator.frames())
        yield from within("items that came out", case.collector.taken, decoder.frames(), decoder.frames())
        yield from within("csi_updates", detector.csi_updates(), estimator.frames(), estimator.frames())
        right = decoder.frames() - decoder.block_errors()
        yield from within("PDUs", case.listeners["pdus"].count, 0, right)


class Link(Target):
    """Both ends: whatever happens in between, every payload that was taken comes out, once and in order."""

    name = "link"
    message_inputs = ("pdus",)
    message_outputs = ("pdus",)

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        frame = self.frame = small_frame(choices)
        layout = (frame.num_tx, frame.fft_size, frame.constellation_name)
        self.transmitter = frame_transmitter(*layout, idle="zeros", gap_length=choices.choice((16, 256)))
        self.receiver = mimo_receiver(frame.num_tx, *layout, detector=choices.choice(("lmmse", "auto")))
        self.block = self.receiver

    def wire(self, tb: gr.top_block) -> None:
        for stream in range(self.frame.num_tx):
            tb.connect((self.transmitter, stream), (self.receiver, stream))
            sink = blocks.null_sink(gr.sizeof_gr_complex * self.frame.data_per_stream)
            tb.connect((self.receiver, stream), sink)

    def message_block(self, port: str, is_input: bool) -> Any:
        return self.transmitter if is_input else self.receiver

    def parts(self) -> list[Any]:
        receiver = self.receiver
        return [self.transmitter, receiver.synchronizer, receiver.estimator, receiver.detector, receiver.decoder]

    def message(self, port: str) -> tuple[Any, Verdict]:
        return pdu(self.choices, max_payload(self.frame))

    def setters(self) -> list[Callable[[], Any]]:
        choices = self.choices
        return [
            lambda: self.receiver.set_model(choices.choice(("lmmse", "auto", "no-such-model"))),
            lambda: self.receiver.set_estimator(choices.choice(("lmmse", "ls"))),
        ]

    def _sent(self, case: Any) -> list[bytes]:
        payloads = []
        for message, _ in case.messages["pdus"]:
            with contextlib.suppress(InvalidPdu):  # any PMT may be a PDU by chance
                payloads.append(pdu_bytes(message, max_payload(self.frame)))
        return [payload for payload in payloads if payload]

    def lower_bounds(self, case: Any) -> dict[str, tuple[int, int]]:
        block = self.transmitter
        counted = block.frames() + block.bad_pdus() + block.dropped_pdus() + block.queued_pdus()
        bounds = {"messages on pdus": (counted, len(case.messages["pdus"]))}
        if case.exact:
            bounds["payloads"] = case.listeners["pdus"].count, len(self._sent(case)) - block.dropped_pdus()
        return bounds

    def finish(self, case: Any) -> None:
        case.post("pdus", pmt.PMT_EOF)

    def faults(self, case: Any) -> Iterator[str]:
        came = [pdu_bytes(message) for message in case.listeners["pdus"].messages]
        sent = self._sent(case)
        if not case.exact or self.transmitter.dropped_pdus():
            rest = iter(sent)
            if not all(payload in rest for payload in came):
                yield "order: payloads came out that were not sent, or in another order"
            said = sum(part.dropped_items() for part in self.parts())
            synchronizer = self.receiver.synchronizer
            said += synchronizer.incomplete_frames() + synchronizer.cut_frames()
            said += self.receiver.estimator.items_without_frame() + self.receiver.estimator.incomplete_frames()
            said += self.transmitter.cut_bursts()
            if not case.interrupted and not self.transmitter.dropped_pdus() and len(came) < len(sent) and not said:
                yield f"unsaid loss: {len(came)} payloads came out of {len(sent)}"
        elif came != sent:
            yield f"payloads: {len(came)} came out of {len(sent)}, or others"
