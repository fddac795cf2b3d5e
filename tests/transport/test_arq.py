# SPDX-License-Identifier: GPL-3.0-or-later
"""Sender and receiver over a link that loses, repeats, delays and falsifies, while either is started again."""

from __future__ import annotations

import collections
import itertools
import math
import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gr_kaq.frames.frame_header import NUM_PROCESSES
from gr_kaq.transport.acknowledgement import Acknowledgement
from gr_kaq.transport.arq_receiver import MAX_BYTES, ArqReceiver
from gr_kaq.transport.arq_sender import MAX_LOG, ArqSender
from gr_kaq.transport.scheduler import TrafficClass
from gr_kaq.transport.transport_block import Forward, InvalidBlock, Segment, TransportBlock

LIFETIME_S = {0: 0.2, 1: 0.5, 2: math.inf, 3: math.inf}
SIZE = 60
sessions = st.integers(1, (1 << 32) - 1)


class Link(RuleBasedStateMachine):
    """Both ends, with whatever happens between them. PDUs are numbers, so that order and repetition show."""

    @initialize(sender=sessions, receiver=sessions)
    def begin(self, sender, receiver):
        self.now = 0.0
        self.used = {sender, receiver}
        self.sender, self.receiver = ArqSender(sender), ArqReceiver(receiver)
        self.frames, self.answers = [], []
        self.number = 0
        self.delivered = {one: [] for one in LIFETIME_S}
        self.alive = {one: set() for one in LIFETIME_S}  # submitted to the sender that runs
        self.lost_with_receiver = 0

    def took(self, pdus):
        for pdu in pdus:
            self.delivered[pdu.traffic_class].append(int.from_bytes(pdu.data[:4], "big"))
            assert pdu.data[4:] == bytes(len(pdu.data) - 4)

    @rule(traffic_class=st.sampled_from(sorted(LIFETIME_S)), length=st.integers(4, 200))
    def submit(self, traffic_class, length):
        self.number += 1
        data = self.number.to_bytes(4, "big") + bytes(length - 4)
        assert self.sender.submit(data, traffic_class, self.now, self.now + LIFETIME_S[traffic_class])
        self.alive[traffic_class].add(self.number)

    @rule(count=st.integers(1, 20), size=st.integers(33, 300))
    def transmit(self, count, size):
        for _ in range(count):
            sent = self.sender.next_transmission(self.now, 3, 2, size)
            if sent is None:
                return
            assert len(self.frames) < 1 << 12
            self.frames.append(sent)

    def arrive(self, sent, decoded):
        self.took(self.receiver.push(sent.header, sent.payload if decoded else None, self.now))
        answer = self.receiver.acknowledgement()
        if answer is not None:
            self.answers.append(answer)

    @rule(fates=st.lists(st.sampled_from(["decoded", "failed", "lost", "twice", "late"]), min_size=1, max_size=20))
    def receive(self, fates):
        for fate in fates:
            if not self.frames:
                return
            sent = self.frames.pop(0)
            if fate in ("decoded", "failed", "twice"):
                self.arrive(sent, fate != "failed")
            if fate in ("twice", "late"):
                self.frames.insert(min(len(self.frames), 7), sent)

    @rule(fates=st.lists(st.sampled_from(["arrives", "lost", "twice", "late", "falsified"]), min_size=1, max_size=20))
    def hear(self, fates):
        for fate in fates:
            if not self.answers:
                return
            answer = self.answers.pop(0)
            if fate == "falsified":
                answer = answer[:-1] + bytes([answer[-1] ^ 1])
            if fate != "lost":
                self.sender.acknowledge(answer, self.now)
            if fate in ("twice", "late"):
                self.answers.insert(min(len(self.answers), 7), answer)

    @rule(seconds=st.sampled_from([0.001, 0.05, 1.0, 5.0]))
    def wait(self, seconds):
        self.now += seconds
        self.took(self.receiver.poll(self.now))

    @rule(session=sessions)
    def start_sender_again(self, session):
        if session not in self.used:
            self.used.add(session)
            self.sender = ArqSender(session)
            self.alive = {one: set() for one in LIFETIME_S}

    @rule(session=sessions)
    def start_receiver_again(self, session):
        if session not in self.used:
            self.used.add(session)
            self.receiver = ArqReceiver(session)
            self.lost_with_receiver += 1

    @rule(data=st.binary(max_size=80))
    def noise_arrives(self, data):
        self.took(self.receiver.push(None, data, self.now))
        self.sender.acknowledge(data, self.now)

    @precondition(lambda self: self.frames)
    @rule(place=st.sampled_from([0, 5, 6, 7, 8]), value=st.integers(1, 255))
    def block_of_another_version_or_for_somebody_else(self, place, value):
        payload = bytearray(self.frames[0].payload)
        payload[place] ^= value
        self.took(self.receiver.push(None, bytes(payload), self.now))

    @invariant()
    def each_once_and_in_order(self):
        for numbers in self.delivered.values() if hasattr(self, "delivered") else ():
            assert all(first < second for first, second in itertools.pairwise(numbers))

    @invariant()
    def memory_is_bounded(self):
        if hasattr(self, "sender"):
            assert len(self.sender._log) <= MAX_LOG
            assert self.receiver.held_bytes() <= MAX_BYTES

    def teardown(self):
        """Once nothing is lost any more, everything without a deadline arrives, and nothing stays behind."""
        if not hasattr(self, "sender"):
            return
        uncertain = self.sender.counts.uncertain_pdus
        restarted = self.lost_with_receiver
        for _ in range(2000):
            self.now += 0.01
            sent = self.sender.next_transmission(self.now, 0, 1, SIZE)
            if sent is not None:
                self.frames.append(sent)
            if self.frames:
                self.arrive(self.frames.pop(0), True)
            while self.answers:
                self.sender.acknowledge(self.answers.pop(0), self.now)
            self.took(self.receiver.poll(self.now))
        assert self.sender.queued_pdus() == [0, 0, 0, 0]
        self.each_once_and_in_order()
        if not restarted and not uncertain:
            for one in (2, 3):
                assert self.alive[one] <= set(self.delivered[one])


TestLink = Link.TestCase
TestLink.settings = settings(max_examples=150, stateful_step_count=40)


def run(sender, receiver, seed, seconds, lose=0.3, lose_answers=0.1, delay=3, on_slot=lambda now: None, size=120):
    """A slot per millisecond: one frame and one answer; what was delivered, with its time."""
    rng = random.Random(seed)
    delivered = []
    frames, answers = collections.deque([None] * delay), collections.deque([None] * delay)
    for slot in range(int(1000 * seconds)):
        now = slot / 1000
        on_slot(now)
        frames.append(sender.next_transmission(now, 1, 1, size))
        answer = None
        if (sent := frames.popleft()) is not None:
            decoded = rng.random() >= lose
            delivered += [(now, pdu) for pdu in receiver.push(sent.header, sent.payload if decoded else None, now)]
            answer = receiver.acknowledgement()
        delivered += [(now, pdu) for pdu in receiver.poll(now)]
        answers.append(answer if rng.random() >= lose_answers else None)
        if (answer := answers.popleft()) is not None:
            sender.acknowledge(answer, now)
    return delivered


def test_numbers_wrap_around():
    """All numbers of PDUs are used again, those of blocks pass 0, and sequences of 12 bits wrap many times."""
    sender, receiver = ArqSender(0xFFF0FFF0), ArqReceiver(7)
    count = 0

    def submit(now):
        nonlocal count
        while sender.queued_pdus()[0] < 40:
            sender.submit(count.to_bytes(4, "big"), 0, now)
            count += 1

    delivered = run(sender, receiver, 1, 40, lose=0.1, on_slot=submit, size=33)
    assert len(delivered) > 66_000 and sender.counts.blocks > 33_000
    assert [int.from_bytes(pdu.data, "big") for _, pdu in delivered] == list(range(len(delivered)))


@pytest.mark.parametrize("seed", range(4))
def test_either_side_is_started_again(seed):
    """A hundred times in ten seconds, with a backlog: each PDU at most once, in order, and few are lost."""
    rng = random.Random(seed)
    fresh = iter(rng.sample(range(1, 1 << 32), 300))
    sender, receiver = ArqSender(next(fresh)), ArqReceiver(next(fresh))
    delivered, frames, answers = [], collections.deque([None] * 3), collections.deque([None] * 3)
    number = lost = 0
    for slot in range(10_000):
        now = slot / 1000
        if rng.random() < 0.005:
            lost += sender.queued_pdus()[0]
            sender = ArqSender(next(fresh))
        if rng.random() < 0.005:
            receiver = ArqReceiver(next(fresh))
            lost += 30  # at most, that waited for earlier ones, or may have been delivered
        while sender.queued_pdus()[0] < 20:
            sender.submit(number.to_bytes(4, "big") + bytes(rng.randrange(150)), 0, now)
            number += 1
        frames.append(sender.next_transmission(now, 1, 1, 120))
        if (sent := frames.popleft()) is not None:
            delivered += receiver.push(sent.header, sent.payload if rng.random() < 0.7 else None, now)
            answers.append(receiver.acknowledgement() if rng.random() < 0.9 else None)
        else:
            answers.append(None)
        if (answer := answers.popleft()) is not None:
            sender.acknowledge(answer, now)
    numbers = [int.from_bytes(pdu.data[:4], "big") for pdu in delivered]
    assert numbers == sorted(set(numbers))
    assert number - lost <= len(numbers) and len(numbers) > 2000


def test_every_block_is_sent_in_all_versions_and_then_split():
    """Nobody decodes the large blocks: what they carry arrives in small ones."""
    sender, receiver = ArqSender(1), ArqReceiver(2)
    sender.submit(bytes(range(200)), 1, 0.0)
    versions = collections.defaultdict(list)
    delivered = []
    for slot in range(100):
        now = slot / 100
        sent = sender.next_transmission(now, 5, 1, 300 if slot < 20 else 80)
        if sent is None:
            continue
        versions[sent.header.sequence].append(sent.header.redundancy_version)
        decoded = len(sent.payload) == 80 or slot == 0
        delivered += receiver.push(sent.header, sent.payload if decoded else None, now)
        sender.acknowledge(receiver.acknowledgement(), now)
    assert [pdu.data for pdu in delivered] == [bytes(range(200))]
    assert all(one == [0, 1, 2, 3][: len(one)] for one in versions.values())
    assert max(map(len, versions.values())) == 4
    assert sender.counts.abandoned_blocks > 1


def fade(frames, pdus):
    """A sender whose channel fades after the receiver was met: (sequence, version) of so many frames that are lost."""
    sender, receiver = ArqSender(1), ArqReceiver(2)
    for _ in range(pdus):
        sender.submit(bytes(60), 1, 0.0)
    seen = []
    for slot in range(frames + 1):
        sent = sender.next_transmission(slot / 100, 0, 1, 80)
        receiver.push(sent.header, sent.payload if not slot else None, slot / 100)
        sender.acknowledge(receiver.acknowledgement(), slot / 100)
        seen.append((sent.header.sequence, sent.header.redundancy_version))
    return sender, receiver, seen[1:]


def test_the_last_version_waits_in_a_fade_until_another_block_arrives():
    sender, receiver, seen = fade(7, pdus=50)
    first = seen[0][0]
    assert seen == [(first, 0), (first, 1), (first, 2), (first + 1, 0), (first + 1, 1), (first + 1, 2), (first + 2, 0)]
    following = []
    for slot in range(8, 12):
        sent = sender.next_transmission(slot / 100, 0, 1, 80)
        receiver.push(sent.header, sent.payload, slot / 100)
        sender.acknowledge(receiver.acknowledgement(), slot / 100)
        following.append((sent.header.sequence, sent.header.redundancy_version))
    assert following == [(first + 2, 1), (first, 3), (first + 1, 3), (first + 3, 0)]
    assert sender.counts.abandoned_blocks == 0


def test_the_last_version_does_not_wait_where_nothing_else_can_be_sent():
    _, _, seen = fade(4, pdus=1)
    assert [version for _, version in seen] == [0, 1, 2, 3]
    _, _, seen = fade(60, pdus=50)
    assert [version for _, version in seen] == [0, 1, 2] * NUM_PROCESSES + [3, 0, 1, 2] * 3 + [3, 0, 1]
    sequences = [sequence for sequence, version in seen if version == 3]
    assert sequences == sorted(sequences), "the oldest goes first"


def test_new_data_bit_toggles_with_each_block_of_a_process():
    sender, receiver = ArqSender(5), ArqReceiver(9)
    seen: dict[int, list] = collections.defaultdict(list)
    original = sender.next_transmission

    def recorded(*arguments):
        sent = original(*arguments)
        if sent is not None:
            seen[sent.header.process].append((sent.header.sequence, sent.header.new_data))
        return sent

    sender.next_transmission = recorded
    run(sender, receiver, 3, 3, on_slot=lambda now: sender.submit(bytes(100), 0, now))
    assert len(seen) > 8
    for sent in seen.values():
        for (sequence, bit), (next_sequence, next_bit) in itertools.pairwise(sent):
            assert (sequence == next_sequence) == (bit == next_bit)


def test_late_pdus_are_given_up_and_skipped():
    """Half of what is offered fits; what is delivered was sent before its deadline, and the class never stalls."""
    sender, receiver = ArqSender(3), ArqReceiver(4)
    number = 0

    def submit(now):
        nonlocal number
        sender.submit(number.to_bytes(4, "big") + bytes(150), 0, now, now + 0.05)
        number += 1

    delivered = run(sender, receiver, 5, 10, on_slot=submit)
    numbers = [int.from_bytes(pdu.data[:4], "big") for _, pdu in delivered]
    assert numbers == sorted(set(numbers)) and len(numbers) > 2000
    assert max(now - number / 1000 for (now, _), number in zip(delivered, numbers, strict=True)) < 0.06
    assert sender.counts.expired_pdus + sender.counts.delivered_pdus >= number - 100
    assert max(sender.queued_pdus()) < 100


def test_the_urgent_class_passes_a_full_queue():
    """Class 3 fills every process; a PDU of class 0 still goes at once."""
    sender, receiver = ArqSender(3), ArqReceiver(4)
    asked = {}

    def submit(now):
        while sender.queued_bytes()[3] < 20_000:
            sender.submit(bytes(500), 3, now)
        if now > 0.5 and round(1000 * now) % 50 == 25:
            asked[len(asked)] = now
            sender.submit(bytes([len(asked) - 1]), 0, now)

    delivered = run(sender, receiver, 6, 10, lose=0.3, on_slot=submit)
    urgent = [(now, pdu.data[0]) for now, pdu in delivered if pdu.traffic_class == 0]
    assert [number for _, number in urgent] == list(range(len(asked)))
    delays = sorted(now - asked[number] for now, number in urgent)
    assert delays[len(delays) // 2] < 0.01 and delays[-1] < 0.06


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_minimum_share(share):
    """Class 0 could take everything: class 1 starves, unless it has a share."""
    sender, receiver = ArqSender(3, [TrafficClass(), TrafficClass(min_share=share)]), ArqReceiver(4)

    def submit(now):
        for one in (0, 1):
            while sender.queued_bytes()[one] < 5000:
                sender.submit(bytes(100), one, now)

    delivered = run(sender, receiver, 6, 10, lose=0.1, on_slot=submit)
    counts = collections.Counter(pdu.traffic_class for _, pdu in delivered)
    assert counts[1] / counts.total() == pytest.approx(share, abs=0.02)


def test_rate_of_a_class():
    """A token bucket of 10 kB/s on a link of some 90."""
    sender, receiver = ArqSender(3, [TrafficClass(rate=10_000, burst=1000)]), ArqReceiver(4)

    def submit(now):
        while sender.queued_bytes()[0] < 5000:
            sender.submit(bytes(100), 0, now)

    delivered = run(sender, receiver, 6, 10, lose=0.0, on_slot=submit)
    assert 100 * len(delivered) / 10 == pytest.approx(10_000, rel=0.1)


def test_the_delay_of_a_pdu_has_its_wait_in_the_queue_in_it():
    sender, receiver = ArqSender(5), ArqReceiver(9)
    sender.submit(b"a", 0, 0.0)
    run(sender, receiver, 1, 0.1, lose=0, lose_answers=0)  # they meet
    sender.submit(b"b", 1, 1.0)
    sent = sender.next_transmission(3.0, 1, 1, SIZE)
    receiver.push(sent.header, sent.payload, 3.5)
    assert sender.delay_s(1) == 0
    sender.acknowledge(receiver.acknowledgement(), 4.0)
    assert sender.delay_s(1) == 3 and 0 < sender.delay_s(0) < 0.1 and sender.delay_s(2) == sender.delay_s(3) == 0


def test_acknowledgements_that_never_come():
    """Nothing is forgotten, memory stays bounded, and the link is asked less and less often."""
    sender = ArqSender(3)
    receiver = ArqReceiver(4)
    run(sender, receiver, 1, 1, on_slot=lambda now: sender.submit(bytes(100), 0, now))
    before = sender.counts.transmissions
    for slot in range(1000, 100_000):
        sender.next_transmission(slot / 1000, 1, 1, 120)
    assert sender.counts.transmissions - before < 16 * 120
    assert sender.queued_pdus()[0] > 0
    received, delivered = receiver.counts.delivered_pdus, 0
    for slot in range(100_000, 120_000):
        now = slot / 1000
        sent = sender.next_transmission(now, 1, 1, 120)
        if sent is not None:
            delivered += len(receiver.push(sent.header, sent.payload, now))
            sender.acknowledge(receiver.acknowledgement(), now)
    assert sender.queued_pdus()[0] == 0
    assert received + delivered == sender.counts.pdus == 1000


def test_queue_overflow_is_refused():
    sender = ArqSender(3)
    taken = sum(sender.submit(bytes(10), 0, 0.0) for _ in range(5000))
    assert taken == 4096 and sender.counts.refused_pdus == 904
    taken = sum(sender.submit(bytes(60_000), 1, 0.0) for _ in range(100))
    assert taken == (1 << 22) // 60_000
    assert not sender.submit(bytes(10), 2, 1.0, deadline=1.0)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: ArqSender(0), "session is 0; 1 to 4294967295 expected"),
        (lambda: ArqReceiver(1 << 32), "session is 4294967296; 1 to "),
        (lambda: ArqSender(1, num_processes=16), "num_processes is 16; 1 to 15"),
        (lambda: ArqSender(1, versions=()), "versions is empty"),
        (lambda: ArqSender(1, versions=(4,)), "redundancy_version is 4; 0 to 3"),
        (lambda: ArqSender(1, []), "0 traffic classes; 1 to 4"),
        (lambda: ArqSender(1, [TrafficClass(0.6), TrafficClass(0.6)]), "the minimum shares exceed 1"),
        (lambda: TrafficClass(min_share=2), "min_share is 2; 0 to 1"),
        (lambda: TrafficClass(rate=0), "rate is 0; a number above 0"),
        (lambda: TrafficClass(burst=0), "burst is 0; at least 1"),
        (lambda: ArqSender(1).submit(b"", 0, 0.0), "the PDU has 0 bytes; 1 to 65535"),
        (lambda: ArqSender(1).submit(b"a", 4, 0.0), "traffic class is 4; 0 to 3"),
        (lambda: ArqSender(1).submit(b"a", 0, 0.0, math.nan), "deadline is NaN"),
        (lambda: ArqSender(1).next_transmission(0.0, 0, 1, 32), "size is 32; at least 33"),
        (lambda: Acknowledgement(1, 1, 0, 0, 0, 0, bytes(65)).pack(), "the report has 65 bytes; at most 64"),
        (lambda: TransportBlock(1, 1, 0).pack(10), "the block has 11 bytes; at most 10"),
    ],
)
def test_wrong_arguments(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def block(*parts, sender=5, receiver=9, sequence=5):
    return TransportBlock(sender, receiver, sequence, parts).pack(200)


def segment(number=0, offset=0, data=b"abc", last=True, lifetime_s=None, traffic_class=0):
    return Segment(traffic_class, number, offset, data, last, lifetime_s)


@pytest.mark.parametrize(
    ("payload", "counted"),
    [
        (b"", "other_versions"),
        (b"\x02" + bytes(50), "other_versions"),
        (b"\x01" + bytes(5), "malformed_blocks"),
        (b"\x01" + bytes(50), "malformed_blocks"),  # session 0
        (block(segment())[:-1] + b"\x01", "malformed_blocks"),  # no zeros behind
        (block(segment())[:12] + b"\x01", "malformed_blocks"),  # cut
        (block(segment(offset=65_535, data=b"a")), "malformed_blocks"),
        (block(segment(number=513)), "malformed_blocks"),  # beyond the window
    ],
)
def test_blocks_that_are_none(payload, counted):
    receiver = ArqReceiver(9)
    assert receiver.push(None, payload, 0.0) == []
    assert getattr(receiver.counts, counted) == 1
    assert receiver.counts.blocks == 0 and receiver.held_bytes() == 0


def test_segments_that_contradict_each_other():
    receiver = ArqReceiver(9)
    receiver.push(None, block(segment(offset=3)), 0.0)  # ends at 6
    assert receiver.push(None, block(segment(offset=5, last=False), sequence=6), 0.0) == []
    assert receiver.push(None, block(segment(offset=0, data=b"a"), sequence=7), 0.0) == []
    assert receiver.counts.malformed_blocks == 2
    (pdu,) = receiver.push(None, block(segment(offset=0, last=False), sequence=8), 0.0)
    assert pdu.data == b"abcabc"


def test_memory_of_a_receiver_is_bounded():
    """A peer that never completes a PDU."""
    receiver = ArqReceiver(9)
    for number in range(500):
        receiver.push(None, block(segment(number, 65_000, last=False), sequence=5 + number), 0.0)
    assert receiver.held_bytes() <= MAX_BYTES
    assert receiver.counts.overflows > 300


def test_given_out_at_its_deadline():
    """PDU 0 does not come: 1 waits for it, but not beyond its own deadline; then 0 is too late."""
    receiver = ArqReceiver(9)
    assert receiver.push(None, block(segment(1, lifetime_s=0.2)), 1.0) == []
    assert receiver.next_deadline() == 1.2
    assert receiver.poll(1.19) == []
    (pdu,) = receiver.poll(1.2)
    assert pdu.data == b"abc" and receiver.skipped_pdus() == 1
    assert receiver.push(None, block(segment(0), sequence=6), 1.3) == []
    assert receiver.repeated_segments() == 1


def test_a_sender_that_is_gone():
    """What it left is given out in order; its late blocks are none."""
    receiver = ArqReceiver(9)
    late = block(segment(0, data=b"late"), sequence=4)
    receiver.push(None, block(segment(1)), 0.0)
    delivered = receiver.push(None, block(segment(0, data=b"new"), sender=6, sequence=6), 0.0)
    assert [pdu.data for pdu in delivered] == [b"abc", b"new"]
    assert receiver.push(None, late, 0.0) == [] and receiver.counts.late_blocks == 1


def test_blocks_and_acknowledgements_travel():
    parts = (Forward(3, 65_535), segment(65_535, 0, b"x", False, 1.5, 2), segment(7, 65_000, bytes(99)))
    content = TransportBlock(1, (1 << 32) - 1, 65_535, parts)
    assert TransportBlock.unpack(content.pack(300)) == content
    exact = sum(len(part.pack()) for part in parts) + 11
    assert TransportBlock.unpack(content.pack(exact)) == content
    answer = Acknowledgement(1, 2, 65_535, 1 << 63 | 1, 4095, 3, bytes(range(64)))
    assert Acknowledgement.unpack(answer.pack()) == answer
    assert answer.has(65_535) and answer.has(65_535 - 63) and not answer.has(65_535 - 1) and not answer.has(0)
    for place in range(len(answer.pack())):
        data = bytearray(answer.pack())
        data[place] ^= 0x10
        with pytest.raises(InvalidBlock):
            Acknowledgement.unpack(bytes(data))
