# SPDX-License-Identifier: GPL-3.0-or-later
"""Blocks of symbols: detector, channel predictor and simulator, QAM source, BER meter; the source of interference."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pmt

from gr_kaq.blocks.band_noise_source import band_noise_source
from gr_kaq.blocks.base import ports, python_to_pmt
from gr_kaq.blocks.ber_meter import ber_meter
from gr_kaq.blocks.channel_predictor import channel_predictor
from gr_kaq.blocks.channel_simulator import CHANNELS, RADIO_CHANNELS, channel_simulator
from gr_kaq.blocks.csi_pmt import channel_to_pmt
from gr_kaq.blocks.detector import detector
from gr_kaq.blocks.qam_source import qam_source
from gr_kaq.signals.constellation import CONSTELLATIONS
from tests.fuzz.target import Tag, Target, Verdict, verdicts, within
from tests.fuzz.targets.beams import beam
from tests.fuzz.values import NUMBERS, Choices

__all__ = [
    "BandNoise",
    "BerMeter",
    "Detector",
    "Predictor",
    "QamSource",
    "Simulator",
    "estimate",
    "hostile_paths",
    "name_message",
]

MODELS = ("lmmse", "zf", "auto", "auto-fast", "admm5-16qam", "list8-16qam")


def hostile_paths(folder: Path) -> list[str]:
    """Names of files that are no model, and that hang, fill or fool who reads them."""
    fifo, large, text, nested = (folder / name for name in ("fifo", "large.json", "text.kaq.json", "nested.kaq.json"))
    if not fifo.exists():
        os.mkfifo(fifo)
        with large.open("wb") as file:
            file.truncate(1 << 33)
        text.write_bytes(b"\xff\xfe{]")
        nested.write_text('{"a":' * 5000)
    return [*map(str, (folder, fifo, large, text, nested)), "/dev/zero", "/dev/null", "no-such-model", ""]


def name_message(choices: Choices, folder: Path, names: tuple[str, ...]) -> tuple[Any, Verdict]:
    """A message with a name: of something, of a file that is hostile, or no name."""
    if choices.one_in(2):
        return pmt.intern(choices.choice(names)), None
    if choices.one_in(3):
        return pmt.intern(choices.choice(hostile_paths(folder))), False
    message = choices.pmt()
    return message, None if message is not None and pmt.is_symbol(message) else False


def estimate(choices: Choices, shape: tuple[int, int, int], snr_inside: bool) -> tuple[Any, Verdict]:
    """A channel estimate, valid or with something wrong."""
    h = choices.numpy.normal(size=(*shape, 2)).astype(np.float32).view(np.complex64)[..., 0]
    given: dict[str, Any] = {"noise_var": 10 ** choices.uniform(-3, 1)} if choices.one_in(2) else {}
    if snr_inside:
        given["snr_db"] = choices.uniform(0, 30)
    kind = choices.randrange(12)
    if kind >= 10:  # noise that is not white: valid, or no covariance, or of another size
        root = choices.numpy.normal(size=(choices.choice((1, shape[0])), shape[1], shape[1])).astype(np.complex64)
        covariance = root @ root.conj().swapaxes(1, 2) + np.eye(shape[1], dtype=np.complex64)
        if kind == 10:
            if choices.one_in(2):
                given["noise_var"] = choices.numpy.uniform(0, 2, shape[0])
            return channel_to_pmt(h, noise_cov=covariance, **given), True
        spoilt = choices.randrange(4)
        if spoilt == 0:
            covariance[choices.randrange(len(covariance))] *= -1
        elif spoilt == 1:
            covariance[0, 0, 0] = choices.choice((np.nan, np.inf, -1.0))
        elif spoilt == 2:
            covariance = np.concatenate([covariance] * (shape[0] + 1))
        else:
            return channel_to_pmt(h, noise_var=np.ones(shape[0] + 1)), False
        return channel_to_pmt(h, noise_cov=covariance, **given), False
    if kind < 5:
        return channel_to_pmt(h, seq=choices.randrange(1000), **given), True
    if kind == 5:  # at the ends of the range: valid or not
        scale = choices.choice((1e-30, 1e-16, 1e-12, 1e12, 1e18, 0))
        with np.errstate(all="ignore"):
            return channel_to_pmt((h * np.float32(scale)).astype(np.complex64), **given), None
    if kind == 6:
        with np.errstate(all="ignore"):
            h[choices.randrange(shape[0])] = choices.choice((np.nan, np.inf, np.complex64(complex(0, -np.inf))))
        return channel_to_pmt(h, **given), False
    if kind == 7:
        return channel_to_pmt(h[..., :-1] if choices.one_in(2) else np.concatenate([h, h]), **given), False
    if kind == 8:  # one entry is anything, or one more
        key = choices.choice(("h", "shape", "noise_var", "noise_cov", "snr", "seq", "more"))
        value = channel_to_pmt(h, seq=1, **given)
        return pmt.dict_add(pmt.dict_delete(value, pmt.intern(key)), pmt.intern(key), choices.pmt()), None
    return choices.pmt(), None


class Detector(Target):
    name = "detector"
    message_inputs = ("csi", "model")
    message_outputs = ("stats",)

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        num_tx = choices.choice((1, 2, 2, 3, 4))
        num_rx = num_tx + choices.choice((0, 0, 1, 4))
        self.shape = (choices.choice((1, 1, 2, 7, 16)), num_rx, num_tx)
        self.constellation = choices.choice(("16qam", "16qam", *CONSTELLATIONS))
        of_size = [name for name in MODELS if self.constellation == "16qam" or "-16qam" not in name]
        llrs, vectors = choices.one_in(2), choices.one_in(3)
        self.block = detector(
            choices.choice(of_size),
            num_rx,
            num_tx,
            self.shape[0],
            self.constellation,
            output_llrs=llrs,
            vector_ports=vectors,
            max_csi_age=choices.choice((0, 0, 1, 50)),
            backend=choices.choice(("native", "native", "native", "reference")),
            stats_interval_s=choices.choice((0, 0.01, 1)),
        )
        bits = CONSTELLATIONS[self.constellation].bits_per_symbol

        def of(dtype: Any, length: int, count: int) -> list[Any]:
            return ports(dtype, length * count, 1) if vectors else ports(dtype, length, count)

        self.inputs = of(np.complex64, self.shape[0], num_rx)
        self.outputs = of(np.complex64, self.shape[0], num_tx)
        self.tagged = (0, len(self.outputs)) if llrs else (0,)
        self.outputs += of(np.float32, self.shape[0] * bits, num_tx) if llrs else []

    def tags(self, count: int) -> list[Tag]:
        choices = self.choices
        return super().tags(count) + choices.some(lambda: self._csi(count), choices.choice((4, 4, 40)))

    def _csi(self, count: int) -> Tag:
        choices = self.choices
        port = choices.randrange(len(self.inputs)) if choices.one_in(10) else 0
        item = choices.choice((0, count - 1, choices.randrange(count)))
        if choices.one_in(3):
            value = pmt.from_double(choices.uniform(0, 30)) if choices.one_in(2) else choices.pmt()
            return port, item, pmt.intern("snr"), value, None
        return port, item, pmt.intern("mimo_channel"), *estimate(choices, self.shape, False)

    def message(self, port: str) -> tuple[Any, Verdict]:
        if port == "csi":
            return estimate(self.choices, self.shape, True)
        return name_message(self.choices, self.folder, MODELS)

    def setters(self) -> list[Callable[[], Any]]:
        choices, block = self.choices, self.block
        return [
            lambda: block.set_model(choices.choice(MODELS)),
            lambda: block.set_model(choices.choice(hostile_paths(self.folder))),
            lambda: block.set_max_csi_age(choices.choice((0, 1, 100, -1, 2**70))),
        ]

    def finite(self, case: Any) -> bool:
        return True  # whatever comes

    def lower_bounds(self, case: Any) -> dict[str, tuple[int, int]]:
        counted = self.block.csi_updates() + self.block.rejected_csi()
        refused = verdicts([verdict for _, verdict in case.messages["model"]])[False]
        return {
            "messages on csi": (counted, len(case.messages["csi"])),
            "refused messages on model": (self.block.rejected_messages(), refused),
        }

    def faults(self, case: Any) -> Iterator[str]:
        block = self.block
        read = [tag for tag in case.tags if tag[0] == 0 and tag[2] in map(pmt.intern, ("snr", "mimo_channel"))]
        earlier = [tag for tag in case.earlier_tags if tag[0] == 0]
        messages = verdicts([verdict for _, verdict in case.messages["csi"]])
        tags = verdicts([tag[4] for tag in read])
        at = len({tag[1] for tag in read if tag[4]})  # an update is all that is valid at one item
        total = block.csi_updates() + block.rejected_csi()
        low = messages.total() + (tags[False] + at) * case.complete
        yield from within("csi_updates + rejected_csi", total, low, messages.total() + len(read) + len(earlier))
        high = messages[False] + messages[None] + tags[False] + tags[None] + len(earlier)
        yield from within("rejected_csi", block.rejected_csi(), messages[False] + tags[False] * case.complete, high)
        models = verdicts([verdict for _, verdict in case.messages["model"]])
        yield from within("rejected_messages", block.rejected_messages(), models[False], models[False] + models[None])
        yield from case.taken("items", block.items())
        if case.exact:
            fed = sum(tag[0] == 0 for tag in case.tags)
            for port in self.tagged:
                yield from within(f"tags on output {port}", case.collector.tags[port], fed, fed)


def interference(choices: Choices) -> tuple[Any, Verdict]:
    """A message that says who interferes, valid or not."""
    if choices.one_in(2):
        return choices.pmt(), None
    entries = {
        "band": choices.choice(([-1e5, 1e5], [2e5, 1e5], [0.0, 0.0], [-1e9, 1e9], [0.0, np.nan], [1.0])),
        "power_db": choices.choice(NUMBERS),
        "kind": choices.choice(("noise", "tone", "")),
        "period": choices.choice((0.0, 1e-4, -1.0, np.inf)),
        "duty": choices.choice((1.0, 0.3, 0.0, np.nan)),
        "on": choices.choice(("all", "data", "training", "preamble", "")),
        "direction": choices.choice((0.0, 90.0, 91.0)),
        "fft_size": choices.choice((64, 256, 65, 64.0)),
    }
    given = {key: value for key, value in entries.items() if choices.one_in(2)}
    return python_to_pmt(given), None


class BandNoise(Target):
    name = "band_noise_source"
    message_inputs = ("interference",)

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        kind, period = choices.choice(("noise", "tone")), choices.choice((0.0, 1e-3))
        self.block = band_noise_source(2e6, (-1e5, 1e5), kind=kind, period=period, duty=choices.choice((1.0, 0.3)))
        self.outputs = ports(np.complex64, 1, 1)

    def message(self, port: str) -> tuple[Any, Verdict]:
        return interference(self.choices)

    def setters(self) -> list[Callable[[], Any]]:
        number = self.choices.choice(NUMBERS)
        return [lambda: self.block.set_band((-1e5, number)), lambda: self.block.set_power_db(number)]

    def finish(self, case: Any) -> None:
        case.tb.stop()


class Predictor(Target):
    name = "channel_predictor"
    message_outputs = ("csi_forecast", "stats")

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        self.shape = (choices.choice((1, 1, 2, 7, 16)), choices.randint(1, 4), choices.randint(1, 3))
        spacing = choices.choice((1, 1, 2, 5))
        self.block = channel_predictor(
            self.shape[1],
            self.shape[2],
            self.shape[0],
            spacing=spacing,
            reach=spacing * choices.choice((1, 2, 8)),
            history=choices.choice((4, 8, 32)),
            stats_interval_s=choices.choice((0, 0.01, 1)),
        )
        self.inputs = ports(np.complex64, self.shape[0], 1)
        self.outputs = ports(np.complex64, self.shape[0], 1)

    def tags(self, count: int) -> list[Tag]:
        choices = self.choices
        found = super().tags(count)
        for item in sorted({choices.randrange(count) for _ in range(choices.choice((0, 2, 8)))}):
            key = pmt.intern("mimo_channel")
            found.append((0, item, key, *estimate(choices, self.shape, False)))
        return found

    def finite(self, case: Any) -> bool:
        return False  # samples pass as they are

    def lower_bounds(self, case: Any) -> dict[str, tuple[int, int]]:
        return {"items read": (self.block.nitems_read(0), case.fed)} if case.complete else {}

    def faults(self, case: Any) -> Iterator[str]:
        block = self.block
        read = {
            key: [tag[4] for tag in case.tags + case.earlier_tags if tag[2] is not None and pmt.eq(tag[2], key)]
            for key in map(pmt.intern, ("mimo_channel", "snr"))
        }
        given, both = verdicts(read[pmt.intern("mimo_channel")]), sum(map(len, read.values()))
        yield from within("rejected_csi", block.rejected_csi(), given[False] * case.exact, both)
        yield from within("estimates", block.estimates(), given[True] * case.exact, given[True] + given[None])
        if case.exact:
            total = len(case.tags) + block.forecasts()
            yield from within("tags on the output", case.collector.tags[0], total, total)


class Simulator(Target):
    name = "channel_simulator"
    message_inputs = ("interference", "beam")

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        num_tx, num_rx = choices.randint(1, 4), choices.randint(1, 5)
        channel = choices.choice((*CHANNELS[:2], *RADIO_CHANNELS))
        num_subcarriers = 1 if channel in RADIO_CHANNELS else choices.choice((1, 3, 16))
        self.tagging = channel not in RADIO_CHANNELS
        self.size = choices.choice(((4, 4), (8, 1)))
        self.array = None
        if channel in RADIO_CHANNELS and choices.one_in(2):
            self.array = {
                "size": self.size,
                "angles_deg": (choices.uniform(-90, 90), 0.0),
                "speed_deg": choices.choice(((0.0, 0.0), (1e5, -1e5), (20.0, 0.0))),
                "rice_db": choices.choice((np.inf, 10.0, -np.inf)),
            }
        self.block = channel_simulator(
            num_tx,
            num_rx,
            num_subcarriers,
            channel=channel,
            snr_db=choices.choice((-40, 0, 20, 100)),
            items_per_estimate=choices.choice((1, 14, 1000)),
            seed=choices.getrandbits(60),
            flat=choices.one_in(2),
            rx_correlation=choices.choice((0, 0.5, 0.999)),
            estimation_error_db=choices.choice((None, -20, 60)),
            snr_error_db=choices.choice((0, -100, 100)),
            doppler=choices.choice((0, 100)),
            carrier_offset=choices.choice((0, 1e4)),
            clock_offset_ppm=choices.choice((0, 50)),
            phase_noise=choices.choice((0, 10)),
            timing_offset=choices.choice((0, 1.5)),
            array=self.array,
        )
        self.inputs = ports(np.complex64, num_subcarriers, num_tx)
        self.outputs = ports(np.complex64, num_subcarriers, num_rx)

    def message(self, port: str) -> tuple[Any, Verdict]:
        if port == "interference":
            return interference(self.choices)
        message, verdict = beam(self.choices, self.size)
        return message, verdict if self.array else False

    def lower_bounds(self, case: Any) -> dict[str, tuple[int, int]]:
        refused = verdicts([verdict for _, verdict in case.messages["beam"]])[False]
        return {"refused messages on beam": (self.block.rejected_messages(), refused)}

    def setters(self) -> list[Callable[[], Any]]:
        block, number = self.block, self.choices.choice((*NUMBERS, 10.0, -20.0, 60.0))
        return [
            lambda: block.set_snr_db(number),
            lambda: block.set_estimation_error_db(self.choices.choice((None, number))),
            lambda: block.set_snr_error_db(number),
            lambda: block.set_carrier_offset(number),
        ]

    def faults(self, case: Any) -> Iterator[str]:
        if case.exact:
            fed = sum(tag[0] == 0 for tag in case.tags)
            total = fed + 2 * self.block.estimates() * self.tagging
            beams = 1 + len(case.messages["beam"]) if self.array else 0
            yield from within("tags on output 0", case.collector.tags[0], total, total + beams)

    def finite(self, case: Any) -> bool:
        return False  # samples that are NaN pass through


class QamSource(Target):
    name = "qam_source"

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        num_tx, num_subcarriers = choices.randint(1, 4), choices.choice((1, 2, 64))
        self.num_items = choices.choice((1, 100, 5000))
        self.block = qam_source(
            num_tx, num_subcarriers, choices.choice(list(CONSTELLATIONS)), choices.getrandbits(60), self.num_items
        )
        self.outputs = ports(np.complex64, num_subcarriers, num_tx)

    def lower_bounds(self, case: Any) -> dict[str, tuple[int, int]]:
        return {"items that came out": (case.collector.taken, self.num_items)} if case.complete else {}

    def faults(self, case: Any) -> Iterator[str]:
        low, high = (self.num_items, self.num_items) if case.complete else (0, np.inf)  # unlock() has it begin anew
        yield from within("items that came out", case.collector.taken, low, high)


class BerMeter(Target):
    name = "ber_meter"
    message_outputs = ("ber",)

    def __init__(self, choices: Choices, folder: Path):
        super().__init__(choices, folder)
        num_tx, num_subcarriers = choices.randint(1, 4), choices.choice((1, 2, 64))
        constellation = choices.choice(list(CONSTELLATIONS))
        soft, bits = choices.one_in(2), CONSTELLATIONS[constellation].bits_per_symbol
        self.skipped = choices.choice((0, 0, 1, 1000))
        self.block = ber_meter(
            num_tx,
            num_subcarriers,
            constellation,
            choices.getrandbits(60),
            input="llrs" if soft else "symbols",
            skip_items=self.skipped,
            publish_interval_s=choices.choice((0, 0.01, 1)),
        )
        width = num_subcarriers * (bits if soft else 1)
        self.bits = num_tx * num_subcarriers * bits
        self.inputs = ports(np.float32 if soft else np.complex64, width, num_tx)

    def setters(self) -> list[Callable[[], Any]]:
        return [self.block.reset, lambda: self.block.set_condition(self.choices.random())]

    def lower_bounds(self, case: Any) -> dict[str, tuple[int, int]]:
        return {"items read": (self.block.nitems_read(0), case.fed)} if case.complete else {}

    def faults(self, case: Any) -> Iterator[str]:
        block = self.block
        items = block.bits() / self.bits + block.skipped_items()
        low = 0 if case.set or not case.complete else max(0, case.fed - self.skipped)
        high = low if case.exact and not case.set else case.fed + case.fed_before
        yield from within("items compared or skipped", items, low, high)
        yield from within("bit_errors", block.bit_errors(), 0, block.bits())
