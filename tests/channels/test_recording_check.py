# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings as CSI tools of network cards give them: what was not measured is named and cut, all else is kept."""

import numpy as np
import pytest

import gr_kaq
from gr_kaq.channels.channel_file import read_recorded
from gr_kaq.channels.flat import RecordedChannels, complex_normal
from gr_kaq.channels.recording_check import check_recording, ranges
from gr_kaq.commands.kaq import main

PACKETS, CARRIERS, RX, TX = 60, 56, 3, 3


def recording(seed=1):
    """Smooth over the carriers, with a level of its own in each packet, as a receiver's gain leaves it."""
    rng = np.random.default_rng(seed)
    taps = complex_normal(rng, (PACKETS, 6, RX, TX))
    h = np.fft.fft(taps, 64, axis=1)[:, 4:60]
    return h * 10 ** rng.uniform(-1, 1, (PACKETS, 1, 1, 1))


def of_a_card(name):
    """A recording, and what it should be found to be: a text, and the sound packets, carriers, rx and tx."""
    h = recording()
    packets, carriers, rx, tx = (np.ones(n, bool) for n in h.shape)
    rng = np.random.default_rng(2)
    if name == "padded tones":
        h[:, 30:] = 0
        carriers[30:] = False
        return h, "carriers 30-55: zeros in every packet", packets, carriers, rx, tx
    if name == "padded streams":
        h[..., 2] = 0
        tx[2] = False
        return h, "streams 2: zeros in every packet", packets, carriers, rx, tx
    if name == "mixed packets":
        h[5:9, 30:] = 0
        h[20, :, :, 1:] = 0
        packets[[5, 6, 7, 8, 20]] = False
        return h, "packets 5-8, 20: another size, such as 30x3x3", packets, carriers, rx, tx
    if name == "constants on null carriers":
        h[:, [0, 27, 28]] = 123 - 4j
        carriers[[0, 27, 28]] = False
        return h, "carriers 0, 27-28: the same values", packets, carriers, rx, tx
    if name == "garbage on null carriers":
        h[:, 27] = 1e4 * complex_normal(rng, (PACKETS, RX, TX)) * np.abs(h).mean(axis=(1, 2, 3))[:, None, None]
        carriers[27] = False
        return h, "carriers 27: more than 15 dB above", packets, carriers, rx, tx
    if name == "NaN on null carriers":
        h[:, 27:29] = np.nan
        carriers[27:29] = False
        return h, "carriers 27-28: NaN or Inf in most packets", packets, carriers, rx, tx
    if name == "one bad packet":
        h[17, 3, 1, 1] = np.nan
        packets[17] = False
        return h, "packets 17: NaN or Inf", packets, carriers, rx, tx
    if name == "one value out of range":
        h[41, 3, 1, 1] *= 1e6
        packets[41] = False
        return h, "packets 41: a value more than 30 dB", packets, carriers, rx, tx
    assert name == "an empty packet"
    h[12] = 0
    packets[12] = False
    return h, "packets 12: zeros only", packets, carriers, rx, tx


CARDS = (
    "padded tones", "padded streams", "mixed packets", "constants on null carriers", "garbage on null carriers",
    "NaN on null carriers", "one bad packet", "one value out of range", "an empty packet",
)  # fmt: skip


@pytest.mark.parametrize("name", CARDS)
def test_what_was_not_measured_is_named_and_cut(name):
    h, said, *sound = of_a_card(name)
    report = check_recording(h)
    assert len(report.findings) == 1 and report.findings[0].startswith(said)
    for found, expected in zip((report.packets, report.carriers, report.rx, report.tx), sound, strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(report.cut(h), h[np.ix_(*sound)])
    assert not check_recording(report.cut(h)).findings


@pytest.mark.parametrize("scale", [1e-200, 1, 1e200])
def test_a_sound_recording_is_left_alone(scale):
    assert not check_recording(recording().astype(complex) * scale).findings


def test_the_recording_that_ships_is_sound():
    h = read_recorded(gr_kaq.shipped_recording("measured_csi_3x2"))
    assert h.shape == (401, 56, 3, 2) and not check_recording(h).findings


def test_all_at_once(tmp_path, capsys):
    """The command says what it is and writes what is left, which is then sound; the packets' times stay theirs."""
    h = recording()
    h[:, 50:] = 0
    h[7, 2] = np.inf
    h[:, 20] = 5
    path, cut = tmp_path / "card.npz", tmp_path / "cut.npz"
    np.savez(path, h=h, timestamp_us=np.arange(PACKETS), carriers=np.arange(-28, 28), rate=2e6)
    assert main(["csi", "check", str(path), "--output", str(cut)]) == 1
    said = capsys.readouterr().out
    assert "60 packets, 56 carriers, 3 receive antennas, 3 streams" in said
    assert "packets 7: NaN" in said and "carriers 50-55: zeros" in said and "carriers 20: the same values" in said
    assert "--packets 0-6,8-59 --carriers 0-19,21-49" in said
    assert main(["csi", "check", str(cut)]) == 0
    assert "nothing is odd" in capsys.readouterr().out
    with np.load(cut) as left:
        np.testing.assert_allclose(left["h"], h[np.ix_(np.arange(60) != 7, [*range(20), *range(21, 50)])], rtol=1e-6)
        assert 7 not in left["timestamp_us"] and len(left["timestamp_us"]) == 59
        assert list(left["carriers"]) == [*range(-28, -8), *range(-7, 22)] and left["rate"] == 2e6


def test_a_choice_is_checked_alone(tmp_path, capsys):
    h = recording()
    h[7, 2] = np.nan
    np.savez(tmp_path / "h.npz", h=h)
    arguments = ["csi", "check", str(tmp_path / "h.npz")]
    assert main([*arguments, "--packets", "0-6,8-30", "--carriers", "2-20"]) == 0
    assert "chosen: 30 packets, 19 carriers" in capsys.readouterr().out
    assert main([*arguments, "--packets", "5-7"]) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--packets", "0-60"], "numbers from 0 to 59"),
        (["--carriers", "x"], "numbers from 0 to 55"),
        (["--carriers", "9-3"], "numbers from 0 to 55"),
        (["--output", "cut.mat"], "ends in .npz"),
    ],
)
def test_bad_choices(tmp_path, capsys, arguments, said):
    np.savez(tmp_path / "h.npz", h=recording())
    assert main(["csi", "check", str(tmp_path / "h.npz"), *arguments]) == 2
    assert said in capsys.readouterr().err


def test_who_uses_such_a_recording_is_told(tmp_path):
    h, *_ = of_a_card("constants on null carriers")
    np.savez(tmp_path / "h.npz", h=h)
    with pytest.warns(UserWarning, match="carriers 0, 27-28: the same values.*kaq csi check"):
        RecordedChannels(tmp_path / "h.npz", RX, TX)
    h[30, 4] = np.nan
    np.savez(tmp_path / "h.npz", h=h)
    with pytest.raises(ValueError, match="NaN or Inf, first in packet 30"):
        RecordedChannels(tmp_path / "h.npz", RX, TX)


@pytest.mark.filterwarnings("ignore:.*kaq csi check")
@pytest.mark.parametrize(("padded", "share"), [((..., 1), 0.25), ((slice(None), slice(None, None, 5)), 0.13)])
def test_what_padding_costs_who_does_not_look(tmp_path, capsys, padded, share):
    """At 30 dB, where the recording itself has no errors: what docs/guide/csi-recordings.md says."""
    h = read_recorded(gr_kaq.shipped_recording("measured_csi_3x2"))
    h[padded] = 0
    np.savez(tmp_path / "h.npz", h=h)
    arguments = ["--constellation", "16qam", "--channel", str(tmp_path / "h.npz"), "--snr", "30"]
    assert main(["ber", "auto", *arguments, "--csv", str(tmp_path / "ber.csv")]) == 0
    last = (tmp_path / "ber.csv").read_text().splitlines()[-1].split(",")
    assert float(last[4]) == pytest.approx(share, rel=0.1)


def test_ranges():
    assert ranges([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"
    assert ranges(range(0, 60, 2), limit=3) == "0, 2, 4, ... (30 of them)"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"MATLAB 5.0 MAT-file" + bytes(500), "a file of MATLAB; docs/guide/csi-recordings.md"),
        (b"\x89HDF\r\n\x1a\n" + bytes(500), "save it with -v7"),
        (b"\x93NUMPY\x01\x00" + bytes(500), "np.savez(..., h=array)"),
        (bytes(500), "no archive, or one that is cut off"),
    ],
)
def test_a_file_of_another_format_is_recognised(tmp_path, capsys, content, what):
    (tmp_path / "csi").write_bytes(content)
    assert main(["csi", "check", str(tmp_path / "csi")]) == 2
    assert what in capsys.readouterr().err
