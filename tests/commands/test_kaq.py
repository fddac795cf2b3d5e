# SPDX-License-Identifier: GPL-3.0-or-later
"""The command kaq, in this process, and as it is installed."""

import argparse
import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import gr_kaq
from gr_kaq import BitErrorRate
from gr_kaq.channels.flat import RayleighChannels
from gr_kaq.channels.named import channels_named
from gr_kaq.commands import ber
from gr_kaq.commands.arguments import parse_snrs
from gr_kaq.commands.ber_curve import Point
from gr_kaq.commands.kaq import main, make_parser
from gr_kaq.detection.choice import RULES, choose
from gr_kaq.links import ber_units
from gr_kaq.links.simulated_link import Link, count_bit_errors

SHORT = ["--target-errors", "50", "--max-bits", "2e4"]


def table(text):
    """(SNR, detector) -> (errors, bits) of a printed table."""
    rows = [line.split() for line in text.splitlines() if " dB  " in line]
    return {(float(row[0]), row[2]): (int(row[6]), int(row[7])) for row in rows}


def test_models_are_listed(capsys):
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    rows, below = lines[: lines.index("")], lines[lines.index("") + 1 :]
    assert [line.split()[0] for line in rows[1:]] == gr_kaq.list_detectors()
    shown = [" ".join(line.split()) for line in rows]
    assert "admm5-16qam ADMM-Net 16qam W8A8 64x16 0.0108 0.0588 16x16, 20 dB" in shown
    assert "pgd8-16qam PGD-Net 16qam W8A8 64x16, rx >= 2 tx 0.0077 0.0092 32x16, 14 dB" in shown
    assert [line.split()[0] for line in below] == ["auto", "auto-fast"]


def test_models_as_json(capsys):
    assert main(["models", "--json"]) == 0
    assert [known["name"] for known in json.loads(capsys.readouterr().out)] == gr_kaq.list_detectors()


def test_info_prints_the_card(capsys):
    assert main(["info", "admm5-16qam"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("# admm5-16qam\n") and "| full precision |" in shown


def test_info_says_what_auto_chooses(capsys):
    assert main(["info", "auto"]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row[2] for row in rows[1:-1]] == [rule.detector for rule in RULES["auto"]]
    assert rows[-1][1:3] == ["elsewhere", "lmmse"]
    assert main(["info", "auto-fast", "--constellation", "qpsk", "--json"]) == 0
    known = json.loads(capsys.readouterr().out)
    assert known["chosen_by"] == "speed first" and known["elsewhere"]["detector"] == "lmmse"
    assert {rule["constellation"] for rule in known["rules"]} == {"qpsk"} and known["rules"][0]["reason"]


def test_info_of_one_size(capsys):
    choice = choose("auto", "16qam", 8, 4)
    assert main(["info", "auto", "--size", "8x4", "--constellation", "16qam"]) == 0
    assert capsys.readouterr().out == f"8x4, 16qam: {choice.detector} ({choice.reason})\n"
    assert main(["info", "auto", "--size", "8x4", "--json"]) == 0
    known = json.loads(capsys.readouterr().out)
    assert (known["num_rx"], known["num_tx"]) == (8, 4)
    assert [c["constellation"] for c in known["choices"]] == list(gr_kaq.CONSTELLATIONS)
    assert known["choices"][1]["detector"] == choice.detector
    assert main(["info", "auto", "--size", "2x3", "--constellation", "64qam"]) == 0
    assert "64qam: lmmse (trained detectors take num_tx <= num_rx" in capsys.readouterr().out


def test_info_of_a_file(capsys, tmp_path):
    name = "pgd8-16qam.kaq.json"
    path = tmp_path / name
    path.write_bytes((Path(gr_kaq.__file__).parent / "detection" / "models" / name).read_bytes())
    assert main(["info", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "pgd8-16qam"


def test_ber_is_that_of_the_link(capsys):
    """Side by side with LMMSE, which is added, and the same again with the same seed."""
    arguments = ["ber", "admm5-16qam", "--num-rx", "4", "--num-tx", "4", "--snr", "10 20", "--seed", "3", *SHORT]
    assert main(arguments) == 0
    counts = table(capsys.readouterr().out)
    assert list(counts) == [(snr, name) for snr in (10.0, 20.0) for name in ("lmmse", "admm5-16qam")]
    detectors = [gr_kaq.load_detector("lmmse", constellation="16qam"), gr_kaq.load_detector("admm5-16qam")]
    link_seed, channel_seed = (int(x) for x in np.random.SeedSequence(3).generate_state(2))
    link = Link(RayleighChannels(4, 4, seed=channel_seed), detectors[0].constellation, 20.0, seed=link_seed)
    expected = count_bit_errors(detectors, link, min_errors=50, max_bits=20_000)
    assert [counts[20.0, d.name] for d in detectors] == [(c.errors, c.bits) for c in expected]
    assert main(arguments) == 0
    assert table(capsys.readouterr().out) == counts


def test_ber_of_correlated_antennas_is_that_of_their_link(capsys):
    size = ["--num-rx", "4", "--num-tx", "4", "--snr", "20", "--seed", "3", *SHORT]
    assert main(["ber", "zf", "--constellation", "qpsk", "--channel", "kronecker", "--correlation", "0.8", *size]) == 0
    counts = table(capsys.readouterr().out)
    detectors = [gr_kaq.load_detector(name, constellation="qpsk") for name in ("lmmse", "zf")]
    link_seed, channel_seed = (int(x) for x in np.random.SeedSequence(3).generate_state(2))
    channels = RayleighChannels(4, 4, rx_correlation=0.8, tx_correlation=0.8, seed=channel_seed)
    link = Link(channels, detectors[0].constellation, 20.0, seed=link_seed)
    expected = count_bit_errors(detectors, link, min_errors=50, max_bits=20_000)
    assert [counts[20.0, d.name] for d in detectors] == [(c.errors, c.bits) for c in expected]


def test_ber_of_what_auto_chooses(capsys, tmp_path):
    """The same errors as the detector chosen, at SNRs that it was measured at; the choice is said."""
    chosen = choose("auto", "16qam", 4, 4).detector
    size = ["--num-rx", "4", "--num-tx", "4", "--constellation", "16qam"]
    assert main(["ber", "auto", chosen, *size, *SHORT, "--json", str(tmp_path / "ber.json")]) == 0
    shown = capsys.readouterr().out
    assert f"\nauto: {chosen}\n" in shown
    counts = table(shown)
    snrs = [snr for snr, name in counts if name == "auto"]
    assert snrs == sorted(snrs) and len(snrs) > 1
    assert all(counts[snr, "auto"] == counts[snr, chosen] for snr in snrs)
    assert json.loads((tmp_path / "ber.json").read_text())["chosen"] == {"auto": chosen}


def test_estimation_errors_cost_something_and_are_said(capsys):
    link = ["ber", "admm5-16qam", "--num-tx", "4", "--num-rx", "4", "--snr", "20", "--target-errors", "500"]
    assert main(link) == 0
    perfect = table(capsys.readouterr().out)[20.0, "admm5-16qam"]
    assert main([*link, "--estimation-error-db", "-20", "--snr-error-db", "2", "--snr-jitter-db", "1"]) == 0
    shown = capsys.readouterr().out
    assert "SNR off by 2 dB ± 1 dB, error of the channel -20 dB" in shown
    errors, bits = table(shown)[20.0, "admm5-16qam"]
    assert errors / bits > 1.3 * perfect[0] / perfect[1]


def test_json_and_picture(capsys, tmp_path):
    files = ["--json", str(tmp_path / "ber.json"), "--plot", str(tmp_path / "ber.png")]
    # no errors of anybody at 60 dB: the logarithmic axis has no place for that
    assert main(["ber", "admm5-qpsk", "--num-rx", "8", "--num-tx", "2", "--snr", "0 60", *SHORT, *files]) == 0
    written = json.loads((tmp_path / "ber.json").read_text())
    assert table(capsys.readouterr().out) == {
        (p["snr_db"], p["detector"]): (p["bit_errors"], p["bits"]) for p in written["points"]
    }
    assert (written["num_rx"], written["num_tx"], written["constellation"]) == (8, 2, "qpsk")
    assert (tmp_path / "ber.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "title"),
    [
        (["pgd8-16qam", "--snr", "10"], "32x16, 16qam, i.i.d. Rayleigh"),
        (["measured-3x2-qpsk", "--snr", "6", "--channel", "measured_csi_3x2"], "3x2, qpsk, measured_csi_3x2.npz"),
        (["measured-3x2-qpsk", "--num-rx", "2", "--snr", "6", "--channel", "PATH"], "2x2, qpsk, measured_csi_3x2.npz"),
        (["auto", "--constellation", "qpsk", "--snr", "6"], "16x16, qpsk, i.i.d. Rayleigh"),
        (["zf", "--constellation", "qpsk", "--snr", "6"], "16x16, qpsk, i.i.d. Rayleigh"),
        (["admm5-qpsk", "--snr", "6", "--channel", "kronecker"], "16x16, qpsk, Kronecker, correlation 0.5"),
        (
            ["admm5-qpsk", "--snr", "6", "--channel", "kronecker", "--correlation", "0.9"],
            "16x16, qpsk, Kronecker, correlation 0.9",
        ),
    ],
)
def test_sizes_and_channels(arguments, title, capsys):
    recording = gr_kaq.shipped_recording("measured_csi_3x2")
    assert main(["ber", *(recording if a == "PATH" else a for a in arguments), *SHORT]) == 0
    assert capsys.readouterr().out.splitlines()[0] == title


def test_a_short_run_sees_all_of_a_recording():
    channels, _, recorded = channels_named("measured_csi_3x2", None)
    assert recorded == (3, 2)
    drawn = channels(3, 2, 1).draw(2000)[:, 0]
    everything = gr_kaq.channels.flat.RecordedChannels(gr_kaq.shipped_recording("measured_csi_3x2"), 3, 2, 56).draw(401)
    mean_gram = np.mean(drawn.conj().swapaxes(1, 2) @ drawn, axis=0)
    expected = np.mean(everything.conj().swapaxes(2, 3) @ everything, axis=(0, 1))
    assert np.linalg.norm(mean_gram - expected) < 0.05 * np.linalg.norm(expected)


def test_the_snrs_of_the_model_are_the_default(capsys):
    assert main(["ber", "paper-pgd5-16qam", "--num-rx", "2", "--num-tx", "1", *SHORT]) == 0
    assert sorted({snr for snr, _ in table(capsys.readouterr().out)}) == [0, 5, 10, 15, 20, 25]


@pytest.mark.parametrize(
    ("text", "snrs"),
    [("10 15 20", [10, 15, 20]), ("10,15", [10, 15]), ("0:1:0.1", np.arange(11) / 10), ("-5", [-5]), ("3:4:2", [3])],
)
def test_snr_lists(text, snrs):
    assert parse_snrs(text) == pytest.approx(list(snrs))


def options_of(parser, command="kaq"):
    """Each option of a parser and its subcommands, with the command that has it."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                yield from options_of(sub, f"{command} {name}")
        elif action.option_strings:
            yield command, action


def test_all_options_with_several_numbers_take_them_alike():
    """With spaces, in quotes or not, or commas: nobody has to know which option wants what."""
    found = {}
    for command, action in options_of(make_parser()):
        if action.type in (None, Path) or action.choices:
            continue
        with contextlib.suppress(argparse.ArgumentTypeError, ValueError):
            several = isinstance(action.type("1"), list)
            assert several == (action.nargs == "+"), f"{command} {action.option_strings}"
            if several:
                found[f"{command} {action.option_strings[0]}"] = action
    assert {"kaq ber --snr", "kaq beams --budget", "kaq link --delay", "kaq forecast --horizon"} <= set(found)
    for name, action in found.items():
        for words in (["1", "1"], ["1,1"], ["1 1"]):
            namespace = argparse.Namespace()
            action(make_parser(), namespace, [action.type(word) for word in words], name)
            assert getattr(namespace, action.dest) == [1, 1], name


@pytest.mark.parametrize(
    "text", ["", "x", "10:20", "20:10:5", "10:20:0", "10:20:-1", "nan", "0:inf:1", "0:100:.001", "1e9"]
)
def test_bad_snr_lists(text):
    with pytest.raises(argparse.ArgumentTypeError, match="start:stop:step expected"):
        parse_snrs(text)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["info"],
        ["ber"],
        ["beams", "--array", "16"],
        ["beams", "--budget", "0:4"],
        ["beams", "--budget", "64 x"],
        ["beams", "--policies", "best"],
        ["beams", "--rice", "nan"],
        ["beams", "--phase-bits", "5"],
        ["info", "auto", "--size", "4"],
        ["info", "auto", "--size", "4x0"],
        ["info", "auto", "--constellation", "8psk"],
        ["ber", "lmmse", "--target-errors", "0"],
        ["ber", "lmmse", "--max-bits", "1.5"],
        ["ber", "lmmse", "--seed", "-1"],
        ["ber", "lmmse", "--estimation-error-db", "x"],
        ["ber", "lmmse", "--snr-jitter-db", "nan"],
        ["ber", "lmmse", "--correlation", "1"],
        ["ber", "lmmse", "--constellation", "8psk"],
    ],
)
def test_bad_command_lines(arguments):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "nothing"], "no detector 'nothing'"),
        (["info", "nothing.kaq.json"], "nothing.kaq.json: cannot be read"),
        (["info", "lmmse"], "no model file"),
        (["info", "admm5-16qam", "--size", "4x4"], "belong to auto and auto-fast"),
        (["beams", "--budget", "32", "--policies", "exhaustive"], "pilots needed: exhaustive 256"),
        (["beams", "--array", "65x64"], "1 to 4096 elements"),
        (["ber", "auto"], "--constellation"),
        (["ber", "nothing"], "no detector 'nothing'"),
        (["ber", "lmmse"], "--constellation"),
        (["ber", "admm5-16qam", "admm5-qpsk"], "16qam and qpsk"),
        (["ber", "admm5-16qam", "--constellation", "qpsk"], "is for 16qam"),
        (["ber", "admm5-16qam", "--num-tx", "17"], "1 to 16 transmit"),
        (["ber", "admm5-16qam", "--channel", "tunnel"], "iid, kronecker"),
        (["ber", "admm5-16qam", "--channel", "tunnel.npz"], "tunnel.npz"),
        (["ber", "admm5-16qam", "--channel", "measured_csi_3x2", "--num-rx", "4"], "3 receive and 2"),
        (["ber", "admm5-16qm"], "did you mean admm5-16qam"),
        (["ber", "admm5-16qam", "--constellation", "64qam"], "one of auto, admm5-64qam, "),
        (["ber", "admm5-16qam", "--json", "-"], "the name of a file expected"),
        (["ber", "admm5-16qam", "--csv", "/"], "is a folder"),
        (["ber", "admm5-16qam", "--plot", "ber.xyz"], ".png, .pdf, .svg expected"),
        (["ber", "admm5-16qam", "--correlation", "0.5"], "--channel kronecker"),
        (["ber", "admm5-16qam", "--json", "no/folder/ber.json"], "does not exist"),
    ],
)
def test_what_cannot_be_done(arguments, message, capsys):
    assert main(arguments) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"kaq {arguments[0]}: error: ") and message in shown


def test_csv(capsys, tmp_path):
    path = tmp_path / "ber.csv"
    assert main(["ber", "admm5-qpsk", "--num-rx", "4", "--snr", "0", "5", "--csv", str(path), *SHORT]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("4x4, qpsk")  # no more streams than antennas
    rows = list(csv.DictReader(path.open()))
    assert {(float(r["snr_db"]), r["detector"]): (int(r["bit_errors"]), int(r["bits"])) for r in rows} == table(shown)
    assert all(float(r["ber_low"]) <= float(r["ber"]) <= float(r["ber_high"]) for r in rows)


@pytest.mark.parametrize("words", [["0", "5", "10"], ["0 5", "10"], ["0:10:5"]])
def test_several_snrs(words, capsys):
    assert main(["ber", "zf", "--constellation", "qpsk", "--num-tx", "2", "--snr", *words, *SHORT]) == 0
    assert sorted({snr for snr, _ in table(capsys.readouterr().out)}) == [0, 5, 10]


def test_the_size_of_a_recording(capsys, tmp_path):
    """Also where the detectors take more; what is given stays."""
    for more, size in (([], "3x2"), (["--num-rx", "2"], "2x2"), (["--num-tx", "1"], "3x1")):
        assert main(["ber", "auto", "--constellation", "qpsk", "--channel", "measured_csi_3x2", *more, *SHORT]) == 0
        assert capsys.readouterr().out.startswith(f"{size}, qpsk")


def test_progress_without_a_terminal(capsys):
    """Lines, few of them, no carriage return: it goes into a log file."""
    assert main(["ber", "zf", "--constellation", "qpsk", "--num-tx", "2", "--snr", "0", "5", *SHORT]) == 0
    shown = capsys.readouterr().err
    assert "\r" not in shown and len(shown.splitlines()) == 2
    assert "0 dB (1 of 2): 0 of 50 errors, 0 of at most 2e+04 bits" in shown.splitlines()[0]


@pytest.mark.parametrize("module", ["tqdm", "threadpoolctl", "matplotlib.figure"])
def test_a_missing_package_is_named(module, capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["ber", "zf", "--constellation", "qpsk", "--plot", str(tmp_path / "ber.png"), *SHORT]) == 2
    assert f"apt install python3-{module.split('.')[0]}" in capsys.readouterr().err


def test_an_interruption_prints_what_was_measured(capsys, monkeypatch, tmp_path):
    real = count_bit_errors

    def interrupted(*arguments, progress, **options):
        def stop(counts):
            progress(counts)
            if calls > 1:
                raise KeyboardInterrupt

        nonlocal calls
        calls += 1
        return real(*arguments, progress=stop, **options)

    calls = 0
    monkeypatch.setattr(ber_units, "count_bit_errors", interrupted)
    path = tmp_path / "ber.json"
    arguments = ["ber", "zf", "--constellation", "qpsk", "--num-tx", "2", "--snr", "0 1 2", "--json", str(path)]
    assert main(arguments) == 130
    shown = capsys.readouterr()
    assert [line.endswith("(interrupted)") for line in shown.out.splitlines()[2:]] == [False, False, True, True]
    assert "interrupted" in shown.err
    assert [p["complete"] for p in json.loads(path.read_text())["points"]] == [True, True, False, False]


def test_the_table_shows_the_wilson_interval(capsys):
    ber._print_table("title", "", [Point("a", 1.5, BitErrorRate(10, 1000), True)], {})
    assert "1.5 dB  a         1.00e-02  [5.44e-03, 1.83e-02]        10       1000" in capsys.readouterr().out


def test_as_a_module():
    environment = {**os.environ, "PYTHONPATH": str(Path(gr_kaq.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-m", "gr_kaq", "--version"], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout == f"gr-kaq {gr_kaq.__version__}\n"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The command in a prefix that nobody has told Python of."""
    prefix = tmp_path_factory.mktemp("prefix")
    build = Path(gr_kaq.__file__).parents[2]
    subprocess.run(["cmake", "--install", build, "--prefix", prefix], check=True, capture_output=True, timeout=300)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return [prefix / "bin" / "kaq"], {"env": environment, "cwd": prefix, "text": True}


def test_installed(installed):
    command, options = installed
    done = subprocess.run([*command, "models"], capture_output=True, timeout=300, check=True, **options)
    assert "admm5-16qam" in done.stdout


def test_a_closed_pipe_is_no_error(installed):
    command, options = installed
    with subprocess.Popen([*command, "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(300) == 0


@pytest.mark.usefixtures("control_c")
def test_control_c(installed):
    command, options = installed
    arguments = ["ber", "zf", "--constellation", "qpsk", "--snr", "0", "--target-errors", "1e12", "--max-bits", "1e12"]
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:
        os.set_blocking(process.stderr.fileno(), True)
        seen = process.stderr.read(1)  # the progress bar: it simulates
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=300)
    assert process.returncode == 130 and "(interrupted)" in out
    assert "interrupted" in err and "Traceback" not in seen + err


@pytest.mark.parametrize("detector", ["lmmse", "zf", "auto"])
@pytest.mark.parametrize("value", ["257", "1e5", "2147483648", "1e18", "1e308", "9" * 400, "1e400", "-1", "nan", ""])
@pytest.mark.parametrize("option", ["--num-rx", "--num-tx"])
def test_sizes_beyond_reason_are_refused_in_one_line(detector, option, value, capsys):
    """They were tracebacks: no memory, or no such integer."""
    with pytest.raises(SystemExit, match="2"):
        main(["ber", detector, "--constellation", "qpsk", "--snr", "20", f"{option}={value}"])
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {option}: " in said and "expected" in said


def test_what_does_not_fit_the_memory_is_said_in_one_line(capsys, monkeypatch):
    def too_much(*arguments, **options):
        raise MemoryError("Unable to allocate 5.96 GiB")

    monkeypatch.setattr("gr_kaq.links.ber_units.count_bit_errors", too_much)
    assert main(["ber", "lmmse", "--constellation", "qpsk", "--snr", "20"]) == 2
    assert capsys.readouterr().err.endswith("kaq ber: error: not enough memory: Unable to allocate 5.96 GiB\n")
