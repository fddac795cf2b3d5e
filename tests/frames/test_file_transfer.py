# SPDX-License-Identifier: GPL-3.0-or-later
"""File transfer: the file arrives whole or not at all, whatever is lost, repeated or wrong."""

import itertools
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gr_kaq.frames.file_transfer import HEADER, MIN_PDU_BYTES, FileReceiver, FileSender


@pytest.fixture
def sent(tmp_path):
    path = tmp_path / "sent"
    path.write_bytes(random.Random(0).randbytes(5000))
    return path


@settings(max_examples=60)
@given(
    content=st.integers(0, 3000).flatmap(lambda n: st.just(random.Random(n).randbytes(n))),
    pdu_bytes=st.integers(MIN_PDU_BYTES, 300),
    loss=st.floats(0, 0.8),
    seed=st.integers(0, 1000),
)
def test_the_carousel_gets_every_file_through(content, pdu_bytes, loss, seed):
    """PDUs lost, doubled and out of order."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as directory:
        source, target = Path(directory, "source"), Path(directory, "target")
        source.write_bytes(content)
        receiver = FileReceiver(target)
        sender = FileSender(source, pdu_bytes)
        while not receiver.complete():
            batch = [pdu for pdu in itertools.islice(sender, 10) for _ in range(rng.choice((1, 1, 2)))]
            rng.shuffle(batch)
            for pdu in batch:
                assert len(pdu) <= pdu_bytes
                if rng.random() >= loss:
                    assert target.exists() == receiver.complete()
                    receiver.push(pdu)
        assert target.read_bytes() == content
        assert receiver.progress() == (sender.num_blocks, sender.num_blocks)
        assert receiver.malformed() == receiver.foreign() == receiver.wrong_digests() == 0
        assert sorted(path.name for path in Path(directory).iterdir()) == ["source", "target"]


def test_one_turn_is_enough_when_nothing_is_lost(sent, tmp_path):
    pdus = list(FileSender(sent, 100, repeats=1))
    assert len(pdus) == 55 + 2  # blocks of 92 bytes, and an announcement before every 32 of them
    assert list(FileSender(sent, 100, repeats=3)) == 3 * pdus
    receiver = FileReceiver(tmp_path / "received")
    assert [receiver.push(pdu) for pdu in pdus] == [False] * 56 + [True]
    assert receiver.push(pdus[-1]) and receiver.duplicates() == 1


def test_an_empty_file(tmp_path):
    (tmp_path / "empty").touch()
    (pdu,) = FileSender(tmp_path / "empty", 100, repeats=1)
    assert FileReceiver(tmp_path / "received").push(pdu)
    assert (tmp_path / "received").read_bytes() == b""


def test_other_pdus_are_counted_and_do_no_harm(sent, tmp_path):
    other = tmp_path / "other"
    other.write_bytes(b"other" * 1000)
    pdus, others = list(FileSender(sent, 100, repeats=1)), list(FileSender(other, 100, repeats=1))
    receiver = FileReceiver(tmp_path / "received")
    receiver.push(pdus[5])
    assert receiver.early() == 1 and receiver.progress() == (0, 0)
    receiver.push(pdus[0])
    for pdu in others:
        receiver.push(pdu)
    assert receiver.foreign() == len(others)
    transfer = pdus[0][:4]
    malformed = [b"", b"short", pdus[1][:-1], pdus[1] + b"x", HEADER.pack(transfer, 2**32 - 1) + bytes(92)]
    for pdu in malformed:
        receiver.push(pdu)
    assert receiver.malformed() == len(malformed) and receiver.progress() == (0, 55)
    for pdu in pdus:
        receiver.push(pdu)
    assert receiver.complete() and (tmp_path / "received").read_bytes() == sent.read_bytes()


def test_a_changed_announcement_is_none(sent, tmp_path):
    """Its id is its checksum: a size that is wrong would reserve any memory and never end."""
    receiver = FileReceiver(tmp_path / "received")
    announcement = next(FileSender(sent, 100))
    for byte in range(len(announcement)):
        if byte not in range(4, 8):
            changed = bytearray(announcement)
            changed[byte] ^= 0x40
            receiver.push(bytes(changed))
    assert receiver.malformed() == len(announcement) - 4 and receiver.progress() == (0, 0)


@settings(max_examples=200)
@given(pdus=st.lists(st.binary(max_size=120), max_size=20))
def test_anything_may_arrive(pdus):
    with tempfile.TemporaryDirectory() as directory:
        receiver = FileReceiver(Path(directory) / "received")
        assert not any(receiver.push(pdu) for pdu in pdus)
        assert not list(Path(directory).iterdir())


def test_a_wrong_block_is_found_by_the_digest(sent, tmp_path):
    """The CRC of a frame misses one error in four billion; then the file is collected once more."""
    pdus = list(FileSender(sent, 100, repeats=1))
    wrong = pdus[3][:-1] + bytes([pdus[3][-1] ^ 1])
    receiver = FileReceiver(tmp_path / "received")
    for pdu in [pdus[0], wrong, *pdus[1:]]:
        receiver.push(pdu)
    assert receiver.wrong_digests() == 1 and not receiver.complete() and not (tmp_path / "received").exists()
    for pdu in pdus:
        receiver.push(pdu)
    assert receiver.complete() and (tmp_path / "received").read_bytes() == sent.read_bytes()


def test_a_file_that_cannot_be_written_is_tried_again(sent, tmp_path):
    blocked = tmp_path / "received"
    blocked.mkdir()
    receiver, pdus = FileReceiver(blocked), list(FileSender(sent, 100, repeats=1))
    for pdu in pdus[:-1]:
        receiver.push(pdu)
    with pytest.raises(OSError, match="received"):
        receiver.push(pdus[-1])
    assert not receiver.complete()
    blocked.rmdir()
    assert receiver.push(pdus[0]) and blocked.read_bytes() == sent.read_bytes()


def test_errors_name_what_was_wrong(sent, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        FileReceiver(tmp_path / "nowhere" / "file")
    with pytest.raises(FileNotFoundError, match="missing"):
        FileSender(tmp_path / "missing", 100)
    with pytest.raises(ValueError, match=f"pdu_bytes is 51; at least {MIN_PDU_BYTES}"):
        FileSender(sent, 51)
    with pytest.raises(ValueError, match="repeats is -1"):
        FileSender(sent, 100, repeats=-1)
