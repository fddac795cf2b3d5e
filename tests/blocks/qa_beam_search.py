# SPDX-License-Identifier: GPL-3.0-or-later
"""The beam search in flowgraphs: through the whole receiver, and with frames, tags and arrays that misbehave."""

import threading
import time

import numpy as np
import pmt
import pytest
from gnuradio import blocks, gr, zeromq

import gr_kaq
from gr_kaq.beams.planar_array import Beam, PlanarArray
from gr_kaq.blocks.beam_driver import beam_driver
from gr_kaq.blocks.beam_pmt import beam_to_pmt
from gr_kaq.blocks.pdu import make_pdu
from tests.blocks.flowgraphs import TaggedSource

TIMEOUT_S = 300
RATE = 1e6  # a fraction of what the receiver can do


class Messages(gr.sync_block):
    """Keeps the messages of a port; has a port to send some."""

    def __init__(self):
        gr.sync_block.__init__(self, "messages", [], [])
        self.received = []
        self.message_port_register_in(pmt.intern("in"))
        self.set_msg_handler(pmt.intern("in"), self.keep)
        self.message_port_register_out(pmt.intern("out"))

    def keep(self, message):
        self.received.append(message)

    def send(self, message):
        self.message_port_pub(pmt.intern("out"), message)


def wait_for(condition):
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


class Sender(gr.sync_block):
    """Hands PDUs to a transmitter, one for each that it wants."""

    def __init__(self):
        gr.sync_block.__init__(self, "sender", [], [])
        self.message_port_register_in(pmt.intern("ready"))
        self.message_port_register_out(pmt.intern("pdus"))
        self.set_msg_handler(pmt.intern("ready"), self.send)
        self.sent = 0

    def send(self, message):
        for _ in range(pmt.to_long(message) if pmt.is_integer(message) else 1):
            self.sent += 1
            self.message_port_pub(pmt.intern("pdus"), make_pdu(self.sent.to_bytes(4, "big"), pmt.make_dict()))


class Link:
    """Transmitter, channel with an array, receiver, beam search."""

    def __init__(self, array, snr_db, num_tx=1, num_rx=2, beam_connected=True, **search):
        self.tb = gr.top_block()
        self.sender = Sender()
        self.transmitter = gr_kaq.frame_transmitter(num_tx, constellation="qpsk")
        self.channel = gr_kaq.channel_simulator(
            num_tx, num_rx, channel="tdl-d", delay_spread=50e-9, snr_db=snr_db, seed=3, array=array
        )
        self.receiver = gr_kaq.mimo_receiver(num_rx, num_tx, constellation="qpsk")
        self.search = gr_kaq.beam_search(array["size"], **search)
        self.decoded = Messages()
        self.beams = Messages()
        tb = self.tb
        tb.msg_connect(self.transmitter, "ready", self.sender, "ready")
        tb.msg_connect(self.sender, "pdus", self.transmitter, "pdus")
        for stream in range(num_tx):
            # beside other programs, the receiver must not lag behind: a late frame counts as none
            tb.connect((self.transmitter, stream), blocks.throttle(8, RATE), (self.channel, stream))
            tb.connect((self.receiver, stream), blocks.null_sink(8 * self.receiver.frame_format.data_per_stream))
        for antenna in range(num_rx):
            tb.connect((self.channel, antenna), (self.receiver, antenna))
        tb.connect((self.channel, 0), self.search)
        tb.msg_connect(self.receiver, "frames", self.search, "frames")
        tb.msg_connect(self.receiver, "pdus", self.decoded, "in")
        tb.msg_connect(self.search, "beam", self.beams, "in")
        if beam_connected:
            tb.msg_connect(self.search, "beam", self.channel, "beam")

    def __enter__(self):
        self.tb.start()
        return self

    def __exit__(self, *error):
        self.tb.stop()
        self.tb.wait()


def test_a_beam_is_found_and_frames_are_decoded_that_were_lost_before():
    array = {"size": (8, 8), "angles_deg": (23.0, -31.0), "beam": (0, 0)}
    with Link(array, 22.0, budget=64, patience=100_000) as link:
        assert not link.decoded.received
        wait_for(lambda: not link.search.searching() and link.search.first() == link.channel.beam().first)
        before = len(link.decoded.received)
        wait_for(lambda: len(link.decoded.received) > before + 50)
        at_end = link.receiver.stats()["decoder"]
    # 8 * 0.5 * sin: 1.56, -2.06
    assert link.channel.beam() in (Beam(2, 6), Beam(1, 6))
    assert link.search.stats()["internal_errors"] == 0
    assert link.search.pilots() + link.search.missing_frames() == 64
    assert at_end["frames"] > 50


def test_without_a_search_nothing_is_decoded():
    array = {"size": (8, 8), "angles_deg": (23.0, -31.0), "beam": (0, 0)}
    with Link(array, 22.0, beam_connected=False) as link:
        wait_for(lambda: link.sender.sent > 200)
    assert len(link.decoded.received) == 0


def test_a_user_who_moves_is_followed():
    array = {"size": (8, 8), "angles_deg": (0.0, 0.0), "speed_deg": (20.0, 0.0)}
    with Link(array, 25.0, budget=20, policy="after-holobeam", tracking=True, hold=2, patience=40000) as link:
        wait_for(lambda: link.search.first() == 2)  # 22 degrees and more, after about 1.1 s of the signal
        assert link.channel.beam().second in (0, 1, 7)
        received = len(link.decoded.received)
    assert received > 100 and link.search.searches() == 1


def test_an_array_that_says_nothing_is_asked_again_and_again():
    array = {"size": (4, 4)}
    with Link(array, 20.0, budget=12, beam_connected=False, patience=5000) as link:
        wait_for(lambda: link.search.unconfirmed_beams() > 3)
        assert len({pmt.write_string(message) for message in link.beams.received}) == 1  # the first one, always
    assert link.search.pilots() == 0 and link.search.ignored_frames() > 0


class Alone:
    """A search with samples, tags and frames of a test's own."""

    def __init__(self, tags=(), count=100000, **arguments):
        self.source = TaggedSource(np.zeros((count, 1, 1), np.complex64), tags, 100)
        self.search = gr_kaq.beam_search((4, 4), "exhaustive", 16, **arguments)
        self.beams, self.frames = Messages(), Messages()
        self.tb = gr.top_block()
        self.tb.connect(self.source, self.search)
        self.tb.msg_connect(self.search, "beam", self.beams, "in")
        self.tb.msg_connect(self.frames, "out", self.search, "frames")
        self.done = threading.Event()

    def __enter__(self):
        self.tb.start()
        wait_for(lambda: self.beams.received)
        return self

    def __exit__(self, *error):
        self.tb.stop()
        self.tb.wait()

    def samples(self, count):
        self.source.limit += count
        wait_for(lambda: self.search.nitems_read(0) >= self.source.limit)


def frame(sample, snr_db, other=None):
    entries = {"sample": pmt.from_uint64(sample), "snr": pmt.from_double(snr_db), **(other or {})}
    made = pmt.make_dict()
    for key, value in entries.items():
        made = pmt.dict_add(made, pmt.intern(key), value)
    return made


def sent_beam(message):
    return Beam(*(pmt.to_long(pmt.dict_ref(message, pmt.intern(name), pmt.PMT_NIL)) for name in Beam._fields))


def test_the_best_of_all_beams_wins_and_stays():
    with Alone(confirmed=False, settling=10) as alone:
        for number in range(16):
            beam = sent_beam(alone.beams.received[-1])
            alone.frames.send(frame(1000 * number + 500, 20.0 if beam[:2] == (2, 3) else 0.0))
            alone.samples(1000)
            wait_for(lambda number=number: alone.search.pilots() == number + 1)
        wait_for(lambda: sent_beam(alone.beams.received[-1])[:2] == (2, 3))
        assert not alone.search.searching()
        alone.samples(90000 - alone.source.limit)
        assert alone.search.missing_frames() == 0  # nobody waits for any more
    assert (alone.search.first(), alone.search.second()) == (2, 3)


def test_each_pilot_is_told_with_its_beam_and_its_snr():
    with Alone(confirmed=False, patience=1000) as alone:
        pilots = Messages()
        alone.tb.lock()
        alone.tb.msg_connect(alone.search, "pilots", pilots, "in")
        alone.tb.unlock()
        alone.samples(500)
        alone.frames.send(frame(400, 7.5))
        wait_for(lambda: len(pilots.received) == 1)
        alone.samples(2000)  # and no frame comes
        wait_for(lambda: len(pilots.received) > 1)
    heard, unheard = (pmt.to_python(message) for message in pilots.received[:2])
    assert heard["snr"] == pytest.approx(7.5) and (heard["first"], heard["second"], heard["first_width"]) == (0, 0, 1)
    assert "snr" not in unheard and (unheard["first"], unheard["second"]) != (0, 0)


def test_a_view_keeps_what_was_seen_last_in_all_that_a_beam_covers():
    view, sender, tb = gr_kaq.beam_view((4, 4)), Messages(), gr.top_block()
    tb.msg_connect(sender, "out", view, "pilots")
    tb.start()

    def pilot(beam, snr=None):
        message = beam_to_pmt(beam)
        return message if snr is None else pmt.dict_add(message, pmt.intern("snr"), snr)

    for message in (
        pilot(Beam(0, 1, 2, 4), pmt.from_double(5.0)),  # over the end of the first axis
        pilot(Beam(3, 1), pmt.from_double(12.0)),
        pilot(Beam(1, 2)),
        pilot(Beam(4, 0), pmt.from_double(1.0)),
        pilot(Beam(2, 2), pmt.from_double(float("nan"))),
        pmt.intern("no beam"),
    ):
        sender.send(message)
    wait_for(lambda: view.rejected_messages() == 3)
    tb.stop()
    tb.wait()
    nan, inf = np.nan, np.inf
    expected = [[5, 5, 5, 5], [nan, nan, -inf, nan], [nan, nan, nan, nan], [5, 12, 5, 5]]
    np.testing.assert_array_equal(view.snr_db, expected)
    assert view.internal_errors() == 0


def test_frames_from_before_the_switch_and_while_it_settles_do_not_count():
    tags = [(0, 400, "beam", beam_to_pmt(Beam(1, 1))), (0, 500, "beam", beam_to_pmt(Beam(0, 0)))]
    with Alone(tags, settling=100) as alone:
        alone.samples(450)
        alone.frames.send(frame(449, 50.0))  # of another beam's tag
        alone.samples(550)
        for sample in (0, 499, 599):
            alone.frames.send(frame(sample, 50.0))
        wait_for(lambda: alone.search.ignored_frames() == 4)
        assert len(alone.beams.received) == 1
        alone.frames.send(frame(600, 3.0))
        wait_for(lambda: len(alone.beams.received) == 2)
        assert alone.search.pilots() == 1


def test_a_frame_that_comes_after_its_time_does_not_count():
    with Alone(confirmed=False, patience=1000) as alone:
        alone.samples(1500)  # the first beam's time is over
        wait_for(lambda: len(alone.beams.received) == 2)
        alone.frames.send(frame(900, 50.0))
        wait_for(lambda: alone.search.ignored_frames() == 1)
        assert alone.search.missing_frames() == 1 and alone.search.pilots() == 0
        assert len(alone.beams.received) == 2 and alone.search.internal_errors() == 0


def test_frames_that_do_not_come_count_as_no_power():
    with Alone(confirmed=False, patience=1000) as alone:
        while alone.search.searching():
            alone.samples(2000)
        assert alone.search.missing_frames() == 16


@pytest.mark.parametrize(
    "message",
    [
        pmt.PMT_NIL,
        pmt.from_double(3.0),
        pmt.make_dict(),
        frame(5, float("nan")),
        frame(5, float("inf")),
        frame(5, 1e9),
        frame(5, 0.0, {"snr": pmt.intern("high")}),
        frame(5, 0.0, {"sample": pmt.from_double(5.0)}),
        pmt.cons(pmt.intern("sample"), pmt.from_long(3)),
    ],
    ids=range(9),
)
def test_frames_that_are_none_are_counted_and_change_nothing(message):
    with Alone(confirmed=False) as alone:
        alone.samples(100)
        alone.frames.send(message)
        wait_for(lambda: alone.search.invalid_frames() == 1)
        assert len(alone.beams.received) == 1 and alone.search.pilots() == 0
        assert alone.search.internal_errors() == 0


def test_a_frame_that_is_yet_to_come_does_not_keep_the_search_waiting():
    with Alone(confirmed=False, patience=1000) as alone:
        alone.samples(500)
        for sample in (1501, 2**63, 2**64 - 1):
            alone.frames.send(frame(sample, 20.0))
        wait_for(lambda: alone.search.invalid_frames() == 3)
        assert alone.search.pilots() == 0
        alone.frames.send(frame(1500, 20.0))  # of a receiver that is ahead of this block
        wait_for(lambda: alone.search.pilots() == 1)


def test_a_tag_that_is_no_beam_confirms_none():
    tags = [(0, 100, "beam", beam_to_pmt(Beam(4, 0))), (0, 101, "beam", pmt.PMT_T)]
    with Alone(tags) as alone:
        alone.samples(500)
        alone.frames.send(frame(400, 20.0))
        wait_for(lambda: alone.search.ignored_frames() == 1)
        assert alone.search.rejected_tags() == 2 and alone.search.internal_errors() == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"policy": "best"}, "unknown policy"),
        ({"budget": 3}, "budget is 3"),
        ({"policy": "parametric-coherent"}, "complex amplitudes"),
        ({"settling": -1}, "settling is -1"),
        ({"patience": 0}, "patience is 0"),
        ({"hold": -1}, "hold is -1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        gr_kaq.beam_search((4, 4), **arguments)


def through(channel, messages, count=20000):
    """Ones through a channel whose beam changes halfway."""
    source = TaggedSource(np.ones((count, 1, 1), np.complex64))
    sink, sender, tb = blocks.vector_sink_c(), Messages(), gr.top_block()
    tb.connect(source, channel, sink)
    tb.msg_connect(sender, "out", channel, "beam")
    tb.start()
    source.limit = count // 2
    wait_for(lambda: channel.nitems_written(0) >= count // 2)
    before = channel.beam()
    for message in messages:
        sender.send(message)
    wait_for(lambda: not messages or channel.rejected_messages() or channel.beam() != before)
    source.limit = count
    wait_for(lambda: len(sink.data()) == count)
    tb.stop()
    tb.wait()
    return np.array(sink.data()), [(t.offset, sent_beam(t.value)) for t in sink.tags() if str(t.key) == "beam"]


def simulator(array, **settings):
    return gr_kaq.channel_simulator(1, 1, channel="tdl-flat", snr_db=100.0, seed=1, array=array, **settings)


def test_the_simulator_switches_beams_where_its_tag_says():
    channel = simulator({"size": (4, 4), "beam": (0, 0), "angles_deg": (0.0, 30.0)})  # beam (0, 1)
    y, tags = through(channel, [beam_to_pmt(Beam(0, 1))])
    assert [beam for _, beam in tags] == [Beam(0, 0), Beam(0, 1)]
    at = tags[1][0]
    assert np.abs(y[100 : at - 20]).max() < 1e-3
    assert np.abs(y[at + 20 :]).min() > 0.1


@pytest.mark.parametrize(
    "message", [pmt.PMT_T, pmt.make_dict(), beam_to_pmt(Beam(4, 0)), beam_to_pmt(Beam(0, 0, 5, 1)), pmt.intern("x")]
)
def test_a_beam_that_the_array_does_not_have_leaves_the_one_in_force(message):
    channel = simulator({"size": (4, 4)})
    y, tags = through(channel, [message])
    assert channel.rejected_messages() == 1 and len(tags) == 1
    assert np.abs(y[100:] / y[100] - 1).max() < 0.01


def test_an_aligned_beam_changes_nothing_and_motion_changes_the_gain_smoothly():
    plain, _ = through(simulator(None), [])
    aligned, _ = through(simulator({"size": (4, 4)}), [])
    assert np.abs(np.abs(aligned) - np.abs(plain))[50:].max() < 1e-3
    moving, _ = through(simulator({"size": (16, 1), "speed_deg": (500.0, 0.0)}), [])  # 5 degrees in 10 ms
    gain = np.abs(moving[50:]) / np.abs(plain[50:])
    assert gain[0] > 0.99 and gain[-1] < 0.7 and np.abs(np.diff(gain)).max() < 1e-3


@pytest.mark.parametrize(
    ("array", "message"),
    [
        ({"angles_deg": (0, 0)}, "no size"),
        ({"size": (0, 4)}, "size is"),
        ({"size": (4, 4), "beam": (4, 0)}, "first of the beam is 4"),
        ({"size": (4, 4), "colour": 1}, "colour"),
        ({"size": (4, 4), "angles_deg": (0, 91)}, "angles_deg is"),
        ({"size": (4, 4), "rice_db": float("nan")}, "rice_db is NaN"),
    ],
)
def test_arrays_that_cannot_be_are_refused(array, message):
    with pytest.raises(ValueError, match=message):
        simulator(array)
    with pytest.raises(ValueError, match="symbols, not of samples"):
        gr_kaq.channel_simulator(1, 1, array={"size": (4, 4)})


def test_a_combiner_makes_the_beam_of_its_elements_and_tags_it():
    array = PlanarArray(2, 2)
    wave = array.steering(np.array([0.5, 0.0]))  # of beam (1, 0)
    count = 4000
    source = TaggedSource(np.broadcast_to(wave, (count, 1, 4)).copy())
    combiner, sink, sender, tb = gr_kaq.beam_combiner((2, 2)), blocks.vector_sink_c(), Messages(), gr.top_block()
    for port in range(4):
        tb.connect((source, port), (combiner, port))
    tb.connect(combiner, sink)
    tb.msg_connect(sender, "out", combiner, "beam")
    tb.start()
    source.limit = count // 2
    wait_for(lambda: len(sink.data()) == count // 2)
    sender.send(pmt.intern("no beam"))
    sender.send(beam_to_pmt(Beam(2, 0)))
    wait_for(lambda: combiner.rejected_messages() == 2)
    sender.send(beam_to_pmt(Beam(1, 0)))
    wait_for(lambda: not combiner.nmsgs(pmt.intern("beam")))
    time.sleep(0.05)
    source.limit = count
    wait_for(lambda: len(sink.data()) == count)
    tb.stop()
    tb.wait()
    y = np.array(sink.data())
    assert [(tag.offset, sent_beam(tag.value)) for tag in sink.tags()] == [(0, Beam(0, 0)), (2000, Beam(1, 0))]
    assert np.abs(y[:2000]).max() < 1e-6 and y[2000:] == pytest.approx(2 * np.ones(2000), abs=1e-6)


class Array:
    """A driver whose array may go away."""

    def __init__(self):
        self.array, self.beams, self.connected = PlanarArray(4, 4), [], True

    def set_beam(self, beam):
        if not self.connected:
            raise OSError("unplugged")
        self.beams.append(beam)


def test_a_driver_gets_the_beams_and_may_fail():
    array, sender, tb = Array(), Messages(), gr.top_block()
    driver = beam_driver(array)
    tb.msg_connect(sender, "out", driver, "beam")
    tb.start()
    for message in (beam_to_pmt(Beam(1, 2)), pmt.PMT_T, beam_to_pmt(Beam(4, 0))):
        sender.send(message)
    wait_for(lambda: driver.rejected_messages() == 2)
    array.connected = False
    sender.send(beam_to_pmt(Beam(2, 2)))
    wait_for(lambda: driver.failures() == 1)
    array.connected = True
    sender.send(beam_to_pmt(Beam(3, 3)))
    wait_for(lambda: driver.beams() == 2)
    tb.stop()
    tb.wait()
    assert array.beams == [Beam(1, 2), Beam(3, 3)] and driver.internal_errors() == 0


@pytest.mark.parametrize("over_zmq", [False, True])
def test_a_search_goes_on_while_its_array_does_not_answer(over_zmq):
    array, alone = Array(), Alone(confirmed=False, patience=10**6)
    driver = beam_driver(array)
    if over_zmq:
        sink = zeromq.pub_msg_sink("tcp://127.0.0.1:*", 100)
        source, pings = zeromq.sub_msg_source(sink.last_endpoint(), 100), Messages()
        alone.tb.msg_connect(pings, "out", sink, "in")
        alone.tb.msg_connect(alone.search, "beam", sink, "in")
        alone.tb.msg_connect(source, "out", driver, "beam")
    else:
        alone.tb.msg_connect(alone.search, "beam", driver, "beam")
    with alone:
        if over_zmq:  # a subscriber hears only what is sent once it is connected
            wait_for(lambda: pings.send(pmt.PMT_T) or driver.rejected_messages())
        for number in range(16):
            array.connected = not 4 <= number < 8
            told = driver.beams() + driver.failures()
            beam = sent_beam(alone.beams.received[-1])
            alone.frames.send(frame(0, 20.0 if beam[:2] == (2, 3) else 0.0))
            wait_for(lambda told=told: driver.beams() + driver.failures() > told)
    assert not alone.search.searching() and driver.failures() == 4
    assert len(set(array.beams)) == len(array.beams) - 1 and array.beams[-1] == Beam(2, 3)
    assert alone.search.internal_errors() == driver.internal_errors() == 0
