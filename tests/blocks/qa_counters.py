# SPDX-License-Identifier: GPL-3.0-or-later
"""Counters are declared once: what is counted, read, published and documented is the same."""

import inspect
import re
import runpy
import sys
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
import yaml

import gr_kaq
from gr_kaq.blocks.base import KaqBlock
from gr_kaq.blocks.beam_driver import beam_driver
from gr_kaq.blocks.channel_estimator import channel_estimator
from gr_kaq.blocks.counters import Counters, counter, counters_of_ports, entries, reading
from gr_kaq.blocks.csi_recorder import csi_recorder
from gr_kaq.blocks.zmq_sample_source import zmq_sample_source

ROOT = Path(__file__).resolve().parents[2]
PAGE = runpy.run_path(str(ROOT / "docs" / "internals" / "counters_page.py"))


@pytest.fixture
def blocks(tmp_path):
    """One of each block that counts."""
    (tmp_path / "file").write_bytes(b"some")
    made = [
        gr_kaq.arq_receiver(),
        gr_kaq.arq_sender(2),
        gr_kaq.band_noise_source(2e6, (0.0, 1e5)),
        gr_kaq.beam_combiner((2, 2)),
        gr_kaq.beam_search((4, 4)),
        gr_kaq.beam_view((4, 4)),
        beam_driver(None),
        gr_kaq.ber_meter(2),
        gr_kaq.channel_predictor(2, 2),
        gr_kaq.channel_simulator(1, 1),
        gr_kaq.data_aided_decoder(2, 2),
        gr_kaq.detector("lmmse", 2, 2, constellation="16qam"),
        gr_kaq.frame_decoder(2),
        gr_kaq.frame_explainer(2, 2),
        gr_kaq.frame_synchronizer(3, 2),
        gr_kaq.frame_transmitter(2),
        gr_kaq.link_adapter(2),
        gr_kaq.link_decoder(2, 2),
        gr_kaq.pdu_file_sink(tmp_path / "received"),
        gr_kaq.pdu_file_source(tmp_path / "file", 2),
        gr_kaq.receiver_publisher(2, 2, address="tcp://127.0.0.1:*"),
        gr_kaq.receiver_status(2),
        channel_estimator(2, 2),
        csi_recorder(2, 2),
        zmq_sample_source(["tcp://127.0.0.1:1"], 2),
    ]
    return {type(block).__name__: block for block in made}


def test_every_entry_is_a_getter_and_every_counter_an_entry(blocks):
    assert blocks.keys() == PAGE["counting_blocks"]().keys()
    for block in blocks.values():
        declared = [entry.name for entry in entries(type(block))]
        assert list(block.stats()) == declared
        assert {f.name for f in fields(block.counters)} <= set(declared)
        for name, value in block.stats().items():
            assert repr(getattr(block, name)()) == repr(value)  # NaN is not equal to itself
        for entry in entries(type(block)):
            getter = getattr(type(block), entry.name)
            assert entry.unit and entry.meaning.endswith(".")
            assert getter.__name__ == entry.name and f"Unit: {entry.unit}." in getter.__doc__


def test_every_counter_is_counted(blocks):
    """One that nothing increments would say that all is well."""
    for block in blocks.values():
        modules = {inspect.getmodule(of) for of in type(block).__mro__ if of.__module__.startswith("gr_kaq.blocks.")}
        rooms = "gr_kaq.transport."  # whose state machines count for their blocks
        modules |= {sys.modules[of] for of in sys.modules if of == f"{rooms}{type(block).__name__}"}
        source = "".join(map(inspect.getsource, modules))
        for name in vars(block.counters).keys() - vars(Counters()).keys():
            assert re.search(rf"self\.count(er)?s\.{name}(\[\w+\])? (\+?=|= self)", source), name


def test_the_page_is_up_to_date():
    assert (ROOT / "docs" / "guide" / "counters.md").read_text() == PAGE["page"](), "run counters_page.py"


def test_grc_names_what_a_probe_can_read(blocks):
    """The dict of a message port, or what Function Probes can read, is listed in full."""
    listed = re.compile(r"(?:: dict with|Function Probes can read) ([\w, ()%]+)[.;]")
    for name, block in blocks.items():
        path = ROOT / "grc" / f"kaq_{name}.block.yml"
        if path.exists():
            document = yaml.safe_load(path.read_text())["documentation"]
            published = block.result() if name == "ber_meter" else block.stats()
            lists = [set(re.split(", | and ", re.sub(r" \([^)]*\)", "", match))) for match in listed.findall(document)]
            assert set(published) in lists, f"{path.name}: {', '.join(published)} expected"


@dataclass
class SomeCounters(Counters):
    things: int = counter("things", "Things seen.")
    things_of_ports: list[int] = counters_of_ports("things", "Things seen on each port.")


class Counting(KaqBlock[SomeCounters]):
    def __init__(self):
        super().__init__("counting", [], [])
        self.counters.things_of_ports = [0, 0]

    @reading("things per port")
    def mean(self) -> float:
        """Mean
        over the ports."""
        return sum(self.counters.things_of_ports) / 2


class CountingMore(Counting):
    def mean(self) -> float:
        return 0.0


def test_blocks_count_for_themselves():
    first, second = Counting(), Counting()
    first.counters.things += 3
    first.counters.things_of_ports[1] += 1
    first.things_of_ports().append(7)
    common = vars(Counters())
    assert first.stats() == common | {"things": 3, "things_of_ports": [0, 1], "mean": 0.5}
    assert second.stats() == common | {"things": 0, "things_of_ports": [0, 0], "mean": 0.0}


def test_what_a_getter_says_of_itself():
    assert (Counting.things.__name__, Counting.things.__module__) == ("things", __name__)
    assert Counting.things.__doc__ == "Things seen.\n\nUnit: things."
    assert Counting.mean.__doc__.endswith("over the ports.\n\nUnit: things per port.")
    assert entries(Counting)[-1].meaning == "Mean over the ports."


def test_a_method_that_replaces_a_reading_is_none():
    assert [entry.name for entry in entries(CountingMore)] == [*vars(Counters()), "things", "things_of_ports"]


def test_a_counter_and_a_method_of_one_name_are_refused():
    with pytest.raises(TypeError, match="Twice.things is declared as a counter, and defined too"):

        class Twice(KaqBlock[SomeCounters]):
            def things(self):
                return 0
