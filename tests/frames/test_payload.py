# SPDX-License-Identifier: GPL-3.0-or-later
"""Payload coding: bytes come back through noise, and nothing wrong comes back instead."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gr_kaq.frames import payload
from gr_kaq.frames.frame_format import FrameFormat
from gr_kaq.signals.constellation import CONSTELLATIONS

SMALL = FrameFormat(1, 64, "qpsk")
MEDIUM = FrameFormat(2, 64, "16qam")
formats = st.builds(FrameFormat, st.integers(1, 4), st.sampled_from([64, 256]), st.sampled_from(sorted(CONSTELLATIONS)))


def llrs_of(bits, rng=None, noise=0.0, scale=4.0):
    """LLRs of bits that were sent as +1 and -1 over white noise of this standard deviation, but for a factor."""
    levels = 2.0 * bits - 1
    if noise:
        levels = levels + noise * rng.standard_normal(bits.shape)
    return (scale * levels).astype(np.float32)


@settings(max_examples=40)
@given(frame=formats, length=st.floats(0, 1), count=st.integers(0, 3), seed=st.integers(0, 2**32))
def test_round_trip(frame, length, count, seed):
    """Any payload of any length in any format."""
    rng = np.random.default_rng(seed)
    payloads = [rng.bytes(round(length * payload.max_payload(frame))) for _ in range(count)]
    bits = payload.encode(frame, payloads)
    assert bits.shape == (count, frame.coded_bits) and bits.dtype == np.uint8 and bits.max(initial=0) <= 1
    assert payload.decode(frame, llrs_of(bits)) == payloads


@pytest.mark.parametrize("frame", [SMALL, MEDIUM, FrameFormat(4, 256, "256qam")])
def test_the_shortest_and_the_longest_payload(frame):
    payloads = [b"", b"\0", bytes(range(256)) * 20]
    payloads[-1] = payloads[-1][: payload.max_payload(frame)]
    assert payload.decode(frame, llrs_of(payload.encode(frame, payloads))) == payloads
    with pytest.raises(ValueError, match=f"has {frame.payload_bytes - 1} bytes; at most {frame.payload_bytes - 2}"):
        payload.encode(frame, [bytes(frame.payload_bytes - 1)])


def coded_by_definition(content):
    """Coded bits of SMALL for this length and payload: generators 171 and 133 (octal), bit by bit."""
    content += bytes(SMALL.payload_bytes - len(content))
    content += zlib.crc32(content).to_bytes(4, "little")
    bits = np.unpackbits(np.frombuffer(content, np.uint8) ^ np.frombuffer(payload.scrambler(SMALL), np.uint8))
    coded, register = [], 0
    for bit in [*bits.tolist(), *[0] * 6]:
        register = register >> 1 | bit << 6  # the newest bit on the left, as the generators are written
        coded += [(register & generator).bit_count() % 2 for generator in (0o171, 0o133)]
    return np.array(coded + [0] * (SMALL.coded_bits - len(coded)), np.uint8)


def test_the_code_is_what_it_is_said_to_be():
    """So that other programs can decode what is sent."""
    np.testing.assert_array_equal(payload.encode(SMALL, [b"hello"])[0], coded_by_definition(b"\x05\x00hello"))


def test_a_length_that_cannot_be():
    """Another sender may put anything behind a right CRC."""
    longest = payload.max_payload(SMALL)
    for length, decoded in [(longest, bytes(longest)), (longest + 1, None), (0xFFFF, None)]:
        bits = coded_by_definition(length.to_bytes(2, "little"))
        assert payload.decode(SMALL, [llrs_of(bits)]) == [decoded]


def block_error_rate(noise, blocks, decided=False, **arguments):
    """Of MEDIUM frames whose bits are +1 and -1 in white noise; only the signs count if they are `decided`."""
    rng = np.random.default_rng(1)
    payloads = [rng.bytes(payload.max_payload(MEDIUM)) for _ in range(blocks)]
    llrs = llrs_of(payload.encode(MEDIUM, payloads), rng, noise, **arguments)
    decoded = payload.decode(MEDIUM, np.sign(llrs) if decided else llrs)
    assert all(b is None or a == b for a, b in zip(payloads, decoded, strict=True))  # nothing wrong passes the CRC
    return decoded.count(None) / blocks


def test_block_errors_in_white_noise():
    """Soft decisions decode at Eb/N0 = 4 dB, where hard ones, which need some 2 dB more, fail."""
    noise = 10 ** (-4 / 20)  # with rate 1/2, Es = Eb / 2 per real bit: noise variance N0 / 2 = Es / (Eb / N0)
    assert block_error_rate(noise, 300) < 0.02
    assert block_error_rate(noise, 100, decided=True) > 0.3
    assert block_error_rate(1.2, 50) > 0.9  # and it is no test that always passes


@pytest.mark.parametrize("scale", [1e-15, 1e-3, 30.0, 1e15])
def test_a_common_factor_does_not_matter(scale):
    """Detectors calibrate their LLRs more or less well, and the decoder has but 8 bits."""
    assert block_error_rate(10 ** (-4 / 20), 60, scale=scale) < 0.05


def test_a_lost_stream_and_lost_carriers():
    """Erased LLRs of 0, and NaN and Inf among good ones, cost what they carried and no more."""
    rng = np.random.default_rng(2)
    sent = [rng.bytes(100)]
    llrs = llrs_of(payload.encode(MEDIUM, sent)[0])
    erased = rng.random(llrs.size) < 0.2
    for nothing in (0.0, np.nan):
        assert payload.decode(MEDIUM, [np.where(erased, np.float32(nothing), llrs)]) == sent
    assert payload.decode(MEDIUM, [np.where(erased, np.float32(np.inf) * llrs, llrs)]) == sent
    assert payload.decode(MEDIUM, [np.where(rng.random(llrs.size) < 0.002, -np.float32(np.inf) * llrs, llrs)]) == sent


def test_nothing_known_is_no_payload():
    rng = np.random.default_rng(3)
    for llrs in (0.0, np.nan, np.inf, -np.inf, 1.0, -1.0):
        assert payload.decode(MEDIUM, [np.full(MEDIUM.coded_bits, llrs, np.float32)]) == [None]
    assert payload.decode(MEDIUM, rng.standard_normal((20, MEDIUM.coded_bits))) == [None] * 20


@settings(max_examples=20)
@given(start=st.floats(0, 1), seed=st.integers(0, 2**32))
def test_what_was_hit_by_a_burst_is_right_or_refused(start, seed):
    """A burst of sure and wrong bits defeats the code; the CRC has to see it."""
    sent = np.random.default_rng(seed).bytes(50)
    llrs = llrs_of(payload.encode(SMALL, [sent])[0])
    first = round(start * 800)
    llrs[first : first + 40] *= -1
    assert payload.decode(SMALL, [llrs])[0] in (None, sent)


def test_llrs_of_a_wrong_size():
    with pytest.raises(ValueError, match=r"LLRs of shape \(100,\); \(4224,\) expected"):
        payload.decode(MEDIUM, np.zeros((1, 100)))


@pytest.mark.parametrize("frame", [SMALL, MEDIUM])
def test_streams_of_many_frames(frame):
    """The LLRs as a detector gives them, a port for each stream, give what they give in the order of the code."""
    rng = np.random.default_rng(5)
    sent = [rng.bytes(payload.max_payload(frame)) for _ in range(5)]
    grid = np.stack(
        [llrs_of(bits)[frame.interleaver].reshape(-1, frame.num_tx, frame.constellation.bits_per_symbol)
         for bits in payload.encode(frame, sent)]
    )  # fmt: skip
    grid[3] = 0
    streams = [np.ascontiguousarray(grid[:, :, stream], np.float32).reshape(5, -1) for stream in range(frame.num_tx)]
    coder = payload.PayloadCoder(frame)
    assert coder.decode_streams(streams) == [*sent[:3], None, sent[4]]
    with pytest.raises(ValueError, match="of each stream expected"):
        coder.decode_streams([streams[0][:, 1:], *streams[1:]])


def test_the_last_bits_are_protected_like_the_others():
    """The decoder knows in which state a terminated code ends: in noise, no more is wrong at the end than elsewhere."""
    rng, coder = np.random.default_rng(11), payload.PayloadCoder(SMALL)
    wrong = np.zeros(SMALL.coded_bits)
    for _ in range(400):
        bits = coder.encode(rng.bytes(payload.max_payload(SMALL)))
        wrong += coder.nearest(llrs_of(bits, rng, noise=1.0)) != bits
    end = 2 * (8 * (SMALL.payload_bytes + 4) + 6)
    assert wrong[end - 24 : end - 12].mean() < wrong[60 : end - 60].mean()
