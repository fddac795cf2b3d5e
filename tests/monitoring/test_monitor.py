# SPDX-License-Identifier: GPL-3.0-or-later
"""The view of a running receiver: what it publishes arrives in the browser, and nobody who looks slows it."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
import zmq

gr = pytest.importorskip("gnuradio.gr")
from gnuradio import blocks

import gr_kaq
from gr_kaq.commands.kaq import main
from gr_kaq.monitoring.feed import Feed, replay
from gr_kaq.monitoring.server import MonitorServer
from gr_kaq.testbed.zmq_frames import encode_pmt
from tests.blocks.flowgraphs import wait_until


class Link:
    """A transmitter, a channel and a receiver that is published."""

    def __init__(self, tmp_path):
        path = tmp_path / "file"
        path.write_bytes(bytes(3000))
        self.tb = gr.top_block()
        source = gr_kaq.pdu_file_source(path, 2)
        frames = gr_kaq.frame_transmitter(2, gap_length=256, idle="zeros")
        self.channel = gr_kaq.channel_simulator(2, 2, channel="tdl-a", snr_db=25.0, seed=1)
        self.receiver = gr_kaq.mimo_receiver(2, 2, monitor=True)
        self.publisher = gr_kaq.receiver_publisher(
            *(2, 2),
            address="tcp://127.0.0.1:*",
            interval_s=0.05,
            detectors=["auto", "lmmse", "list8-16qam"],
            estimators=["lmmse", "ls"],
        )
        self.tb.msg_connect(frames, "ready", source, "ready")
        self.tb.msg_connect(source, "pdus", frames, "pdus")
        self.tb.msg_connect(self.receiver, "stats", self.publisher, "stats")
        self.tb.msg_connect(self.publisher, "model", self.receiver, "model")
        self.tb.msg_connect(self.publisher, "estimator", self.receiver, "estimator")
        for port in range(2):
            self.tb.connect((frames, port), (self.channel, port), (self.receiver, port))
        for port in range(5):
            size = self.receiver.output_signature().sizeof_stream_item(port)
            inputs = {0: 0, 2: 1, 4: 2}
            sink = (self.publisher, inputs[port]) if port in inputs else blocks.null_sink(size)
            self.tb.connect((self.receiver, port), sink)

    def __enter__(self):
        self.tb.start()
        return self

    def __exit__(self, *error):
        self.tb.stop()
        self.tb.wait()


@pytest.fixture(autouse=True)
def a_hang_fails():
    faulthandler.dump_traceback_later(30, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture()
def published():
    """A PUB socket in the place of a receiver."""
    with zmq.Context() as context, context.socket(zmq.PUB) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.bind("tcp://127.0.0.1:*")
        yield socket, socket.getsockopt_string(zmq.LAST_ENDPOINT)


def get(url, path="", host=None):
    base, _, query = url.partition("?")
    request = urllib.request.Request(f"{base}{path}?{query}", headers={"Host": host} if host else {})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read()


def choose(server, content, **headers):
    """The status of the answer."""
    base, _, query = server.url.partition("?")
    sent = content if isinstance(content, bytes) else json.dumps(content).encode()
    request = urllib.request.Request(f"{base}choose?{query}", sent, headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@contextlib.contextmanager
def serving(state, choose=None, **arguments):
    with MonitorServer(state, choose, port=0, **arguments) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


@contextlib.contextmanager
def watched(link):
    feed = Feed(link.publisher.address())
    try:
        with serving(feed.state, feed.choose) as server:
            yield feed, server
    finally:
        feed.close()


def send(socket, feed, values, done):
    """Until it has arrived: a subscriber is not there at once."""

    def arrived():
        socket.send(encode_pmt(values) if isinstance(values, dict) else values)
        time.sleep(0.02)
        return done(feed.state())

    wait_until(arrived)


def test_a_receiver_in_the_browser(tmp_path):
    with Link(tmp_path) as link, watched(link) as (feed, server):
        wait_until(lambda: len(feed.state()["history"]) >= 2 and feed.state()["displays"])
        page, state = get(server.url).decode(), json.loads(get(server.url, "state"))
        assert "<title>kaq monitor</title>" in page and "http" not in page.split("<script>")[1]
        assert set(state["parts"]) == {"synchronizer", "estimator", "detector", "decoder"}
        assert state["parts"]["decoder"]["frames"] > 20 and state["rejected"] == 0 and state["age"] < 5
        assert state["history"][-1]["block_error_rate"] < 0.5 and 15 < state["history"][-1]["snr_db"] < 35
        shown = state["displays"]
        assert (shown["num_rx"], shown["num_tx"]) == (2, 2)
        symbols = np.reshape(shown["symbols"], (-1, 2)) @ [1, 1j]
        assert len(symbols) == link.receiver.frame_format.data_per_stream and np.abs(symbols).max() < 1.5
        assert len(shown["channel_db"]) == 4 * link.receiver.frame_format.num_active


def shown_by_chromium(server, tmp_path):
    """The page, as its program has made it."""
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    return subprocess.run(
        [*command, "--virtual-time-budget=4000", "--dump-dom", server.url],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout


CHOOSING = b"""<script>
  setInterval(() => {
    const select = document.getElementById("model");
    if (!Array.from(select.options).some(option => option.value === "list8-16qam") || window.chosen) return;
    window.chosen = true; select.value = "list8-16qam"; select.dispatchEvent(new Event("change"));
  }, 100);
</script>"""


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium")
def test_the_page_in_chromium(tmp_path):
    """Its program runs, shows numbers, and chooses another detector as a hand would."""
    with Link(tmp_path) as link, watched(link) as (feed, server):
        wait_until(lambda: len(feed.state()["history"]) >= 2)
        server.page += CHOOSING
        dom = shown_by_chromium(server, tmp_path)
        assert '<span id="status">live</span>' in dom and "<td>block_errors</td>" in dom
        assert "<option>ls</option>" in dom and "<td>updates dropped</td><td>" in dom
        wait_until(lambda: link.receiver.detector.model_name() == "list8-16qam")


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs chromium")
def test_a_jammer_comes_and_goes_on_the_page(tmp_path):
    """It is named with the carriers that it is on, though it leaks into others."""
    with Link(tmp_path) as link, watched(link) as (feed, server):

        def seen():
            return feed.state()["parts"].get("estimator", {}).get("interfered_carriers")

        wait_until(lambda: seen() == [])
        assert "<td>interference</td><td>none</td>" in shown_by_chromium(server, tmp_path)
        link.channel.set_interference({"band": (7.5 * 31250, 11.5 * 31250), "power_db": 6.0})  # carriers 8 to 11
        wait_until(lambda: bool(seen()) and 7 <= seen()[0] <= 8 and 11 <= seen()[1] <= 12)
        row = re.search(r'<tr class="odd"><td>interference</td><td>([^<]*)<', shown_by_chromium(server, tmp_path))
        assert re.fullmatch(r"carriers -?\d+ to -?\d+, -?\d+ dB", row[1])
        link.channel.set_interference(None)
        wait_until(lambda: seen() == [])


def test_detector_and_estimator_are_chosen(tmp_path):
    with Link(tmp_path) as link, watched(link) as (feed, server):
        wait_until(lambda: feed.state()["offered"])
        assert feed.state()["offered"] == {"model": ["auto", "lmmse", "list8-16qam"], "estimator": ["lmmse", "ls"]}
        assert choose(server, ["model", "lmmse"], X_KAQ="1") == 403  # another name of the header
        assert choose(server, ["model", "lmmse"]) == 403
        assert choose(server, ["model", "lmmse"], **{"X-KAQ": "1", "Host": "evil.example"}) == 403
        deep = b"[" * 4000
        for content in (["model", "zf"], ["model", "/etc/passwd"], ["pdus", "lmmse"], ["model"], 3, deep, "x" * 5000):
            assert choose(server, content, **{"X-KAQ": "1"}) in (400, 413)
        assert choose(server, ["model", "lmmse"], **{"X-KAQ": "1"}) == 200
        assert choose(server, ["estimator", "ls"], **{"X-KAQ": "1"}) == 200
        wait_until(lambda: link.receiver.detector.model_name() == "lmmse" and link.receiver.estimator.method() == "ls")
        assert link.publisher.choices() == 2 and link.publisher.rejected_choices() == 0


def test_who_chooses_what_is_not_offered_is_counted(tmp_path):
    with Link(tmp_path) as link, zmq.Context() as context, context.socket(zmq.XSUB) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(link.publisher.address())
        socket.send(b"\1")
        socket.recv()  # connected
        for message in (b"model=zf", b"pdus=lmmse", b"\xff\xff", b"model", b"=", b"model=/etc/passwd"):
            socket.send(message)
        wait_until(lambda: link.publisher.rejected_choices() == 6)
        assert link.receiver.detector.model_name() == "auto" and link.publisher.internal_errors() == 0


def test_updates_that_were_dropped_are_counted(published):
    socket, address = published
    feed = Feed(address)
    send(socket, feed, {"block_errors": 0, "frames": 1}, lambda state: "decoder" in state["parts"])
    for number in (7, 8, 12, 1, 2):  # 9 to 11 are missing; then the receiver began anew
        socket.send(encode_pmt({"block_errors": 0, "frames": number, "number": number}))
    wait_until(lambda: feed.state()["parts"]["decoder"]["frames"] == 2)
    assert feed.state()["dropped"] == 3 and "number" not in feed.state()["parts"]["decoder"]
    feed.close()


def test_who_does_not_read_slows_nobody(tmp_path):
    """A view that hangs: frames go on, and nothing piles up in the receiver."""
    with Link(tmp_path) as link, zmq.Context() as context, context.socket(zmq.SUB) as idle:
        idle.setsockopt(zmq.SUBSCRIBE, b"")
        idle.setsockopt(zmq.RCVHWM, 1)
        idle.connect(link.publisher.address())
        wait_until(lambda: link.publisher.displays() >= 40)
        before = link.receiver.decoder.frames()
        wait_until(lambda: link.publisher.displays() >= 80)
        assert link.receiver.decoder.frames() > before and link.publisher.internal_errors() == 0


def test_only_this_machine_or_the_token(tmp_path):
    state = {"age": None}
    with serving(lambda: state) as server:
        assert json.loads(get(server.url, "state")) == state
        for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example:8765"):
            with pytest.raises(urllib.error.HTTPError, match="403"):
                get(server.url, "state", host=host)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(server.url, "etc/passwd")
    with serving(lambda: state, host="0.0.0.0") as server:
        assert len(server.token) > 20 and server.url.endswith(f"?token={server.token}")
        assert json.loads(get(server.url, "state")) == state
        for url in (server.url.partition("?")[0], f"{server.url}x"):
            with pytest.raises(urllib.error.HTTPError, match="403"):
                get(url, "state")


@pytest.mark.parametrize(
    "message",
    [b"", b"\xff" * 50, encode_pmt([1.0]), encode_pmt({"symbols": 3}), encode_pmt({"symbols": np.zeros(3)})],
    ids=["empty", "noise", "list", "number", "float64"],
)
def test_what_is_none_is_counted(published, message):
    socket, address = published
    feed = Feed(address)
    send(socket, feed, message, lambda state: state["rejected"] > 0)
    send(socket, feed, {"block_errors": 3, "frames": float("nan")}, lambda state: "decoder" in state["parts"])
    json.dumps(feed.state(), allow_nan=False)
    feed.close()


def test_a_recording_is_shown_again(published, tmp_path):
    socket, address = published
    path = tmp_path / "run.jsonl"
    feed = Feed(address, path)
    send(socket, feed, {"block_errors": 3, "frames": 10}, lambda state: state["history"])
    send(socket, feed, {"block_errors": 9, "frames": 20}, lambda state: state["parts"]["decoder"]["frames"] == 20)
    last = feed.state()["parts"]
    feed.close()
    again = Feed(address)
    for _ in replay(path, again):
        pass
    assert again.state()["parts"] == last
    assert [p["block_error_rate"] for p in again.state()["history"] if p["block_error_rate"] is not None] == [0.3, 0.6]
    again.close()
    path.write_text('{"time": 1}\n')
    with pytest.raises(ValueError, match="line 1"):
        list(replay(path, again))


@pytest.mark.usefixtures("control_c")
def test_the_command(tmp_path):
    path = tmp_path / "run.jsonl"
    path.write_text(json.dumps({"time": 1.0, "stats": {"block_errors": 1, "frames": 7}}) + "\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-m", "gr_kaq", "monitor", "--port", "0", "--replay", str(path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().strip()
        assert "has ended" in process.stdout.readline()
        assert json.loads(get(url, "state"))["parts"]["decoder"]["frames"] == 7
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "tcp://127.0.0.1:5580 expected"),
        (["--port", "70000"], "0 to 65535"),
        (["--replay", "nothing.jsonl"], "no such file"),
        (["--record", "no/folder/x"], "does not exist"),
    ],
)
def test_bad_command_lines(arguments, said, capsys):
    assert main(["monitor", *arguments]) == 2
    assert said in capsys.readouterr().err
