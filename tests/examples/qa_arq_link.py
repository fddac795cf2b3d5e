# SPDX-License-Identifier: GPL-3.0-or-later
"""A link that repeats what is lost, between two processes: a file while either is killed, and TCP over it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
TIMEOUT = 300
SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


@contextlib.contextmanager
def process(*command):
    """A program; what it prints is one text."""
    running = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT
    )
    try:
        yield running
    finally:
        running.kill()
        running.communicate(timeout=TIMEOUT)


def arq_link(*arguments):
    return process(sys.executable, EXAMPLES / "arq_link.py", *arguments)


def wait_for_line(running, pattern):
    """Read what it prints until a line says so."""
    deadline = time.monotonic() + TIMEOUT
    while not re.search(pattern, line := running.stdout.readline()):
        assert running.poll() is None and time.monotonic() < deadline, line


@pytest.fixture()
def message(tmp_path):
    path = tmp_path / "message"
    path.write_bytes(np.random.default_rng(1).bytes(60_000))
    return path


@pytest.mark.parametrize("killed", ["neither", "receiver", "sender", "both"])
def test_file_arrives(message, tmp_path, killed):
    """2x2, TDL-A, 5 Hz, 16 dB, 5 % of the acknowledgements lost; a process dies (SIGKILL), and another one starts."""
    link = ["--folder", tmp_path, "--snr-db", 16]
    receive = ["receive", tmp_path / "received", *link, "--timeout", TIMEOUT]
    with contextlib.ExitStack() as stack:
        sender = stack.enter_context(arq_link("send", message, *link))
        receiver = stack.enter_context(arq_link(*receive))
        wait_for_line(receiver, r" [1-9]\d* PDUs")
        if killed in ("receiver", "both"):
            receiver.kill()
        if killed in ("sender", "both"):
            sender.send_signal(signal.SIGKILL)
            sender = stack.enter_context(arq_link("send", message, *link))
        if killed in ("receiver", "both"):
            receiver = stack.enter_context(arq_link(*receive))
        output = receiver.communicate(timeout=TIMEOUT)[0]
        assert receiver.returncode == 0, output
    assert (tmp_path / "received").read_bytes() == message.read_bytes()
    if killed == "sender":
        assert "2 senders met" in output


def test_nobody_sends(tmp_path):
    with arq_link("receive", tmp_path / "received", "--folder", tmp_path, "--timeout", 1) as receiver:
        output = receiver.communicate(timeout=TIMEOUT)[0]
    assert receiver.returncode == 1 and "0 PDUs, 0 frames" in output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["send", "nowhere"], "No such file or directory: 'nowhere'"),
        (["send", __file__, "--num-tx", 5], "num_tx is 5; at most 4 expected with 64 carriers"),
        (["receive", "nowhere/file"], "the directory nowhere does not exist"),
    ],
)
def test_wrong_arguments(tmp_path, arguments, text):
    with arq_link(*arguments, "--folder", tmp_path) as running:
        output = running.communicate(timeout=TIMEOUT)[0]
    assert running.returncode == 1 and f"arq_link: {text}" in output.replace("[Errno 2] ", "")


# IP

SERVER = """
import hashlib, socket
with socket.create_server(("10.77.0.2", 4000)) as server:
    print("listening", flush=True)
    connection, _ = server.accept()
    with connection:
        data = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    print(hashlib.sha256(data).hexdigest())
"""
CLIENT = """
import pathlib, socket, sys
with socket.create_connection(("10.77.0.2", 4000)) as connection:
    connection.sendall(pathlib.Path(sys.argv[1]).read_bytes())
"""


SSH = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes", "-F", "/dev/null"]


@pytest.fixture()
def namespaces():
    """Two network namespaces that nothing joins: the commands that begin programs in them."""
    if os.geteuid() or not Path("/dev/net/tun").exists() or not shutil.which("ip"):
        pytest.skip("needs the right to make network namespaces and TUN devices")
    names = [f"kaq{os.getpid()}{side}" for side in "ab"]
    try:
        for name in names:
            if subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True).returncode:
                pytest.skip("network namespaces cannot be made here")
        yield [("ip", "netns", "exec", name) for name in names]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@pytest.fixture()
def sides(namespaces, tmp_path):
    """As `namespaces`, with tun_link.py in each: the two have no other way."""
    link = [sys.executable, EXAMPLES / "tun_link.py"]
    with (
        process(*namespaces[0], *link, "a", "--folder", tmp_path) as first,
        process(*namespaces[1], *link, "b", "--folder", tmp_path) as second,
    ):
        for running in (first, second):
            wait_for_line(running, r"packets out")
        yield namespaces


def test_tcp_between_two_namespaces(sides, message):
    """10 kB over TCP, bit for bit, from one namespace to the other."""
    message.write_bytes(message.read_bytes()[:10_000])
    with process(*sides[1], sys.executable, "-c", SERVER) as server:
        wait_for_line(server, "listening")
        subprocess.run([*sides[0], sys.executable, "-c", CLIENT, message], check=True, timeout=TIMEOUT)
        digest = server.communicate(timeout=TIMEOUT)[0].split()[-1]
    assert digest == hashlib.sha256(message.read_bytes()).hexdigest()


@pytest.mark.skipif(not (SSHD and shutil.which("scp")), reason="no OpenSSH")
def test_scp_between_two_namespaces(sides, message, tmp_path):
    """10 kB by scp, to an sshd with keys of its own."""
    message.write_bytes(message.read_bytes()[:10_000])
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    settings = [f"AuthorizedKeysFile={tmp_path}/user.pub", "StrictModes=no", "Subsystem=sftp internal-sftp"]
    options = [word for setting in settings for word in ("-o", setting)]
    server = shlex.join([SSHD, "-D", "-e", "-f", "/dev/null", "-p", "2222", "-h", f"{tmp_path}/host", *options])
    own_run = "mount -t tmpfs none /run && mkdir /run/sshd"  # seen in this namespace only
    with process(*sides[1], "sh", "-c", f"{own_run} && exec {server}") as running:
        wait_for_line(running, "listening")
        copy = ["scp", *SSH, "-P", "2222", "-i", tmp_path / "user", message, f"root@10.77.0.2:{tmp_path}/copied"]
        subprocess.run([*sides[0], *copy], check=True, timeout=TIMEOUT)
    assert (tmp_path / "copied").read_bytes() == message.read_bytes()


@pytest.mark.long
def test_ends_that_are_killed_again_and_again():
    """Nothing comes twice or out of order, and it goes on each time."""
    command = [sys.executable, ROOT / "benchmarks" / "killed_links.py", "--seconds", "60"]
    with process(*command) as running:
        output = running.communicate(timeout=3 * TIMEOUT)[0]
    assert running.returncode == 0, output
