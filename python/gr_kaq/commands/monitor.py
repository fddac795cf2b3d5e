# SPDX-License-Identifier: GPL-3.0-or-later
"""`kaq monitor`: a running receiver in the browser."""

from __future__ import annotations

import argparse
import threading
from pathlib import Path
from typing import Any

from .long_run import check_folders

__all__ = ["add_parser"]

DEFAULT_ADDRESS = "tcp://127.0.0.1:5580"
DEFAULT_PORT = 8765


def add_parser(commands: Any) -> None:
    """Add `monitor` to the subcommands of an ArgumentParser."""
    command = commands.add_parser(
        "monitor",
        help="show a running receiver in the browser",
        description="Show what a running receiver publishes, in the browser: constellations before and after the "
        "detection, the channel, SNR, block errors, all counters; choose detector and estimator. The receivers in "
        "examples/ publish with --publish. Neither GNU Radio nor a display is needed here, and nothing slows the "
        "receiver. docs/guide/monitor.md says more.",
    )
    add = command.add_argument
    add("address", nargs="?", default=DEFAULT_ADDRESS, help="of the receiver (default %(default)s)")
    add(
        "--host",
        default="127.0.0.1",
        help="interface of the page; another one than loopback needs the token that is printed (default %(default)s)",
    )
    add("--port", type=int, default=DEFAULT_PORT, help="of the page; 0 takes a free one (default %(default)s)")
    add("--record", type=Path, metavar="FILE", help="write the counters there, a line of JSON each")
    add("--replay", type=Path, metavar="FILE", help="show such a recording instead of a receiver")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from ..monitoring.feed import Feed, replay  # noqa: PLC0415 - needs pyzmq, which is optional
    from ..monitoring.server import MonitorServer  # noqa: PLC0415

    check_folders(options.record)
    if not 0 <= options.port <= 65535:
        raise ValueError(f"--port is {options.port}; 0 to 65535 expected")
    if options.replay and not options.replay.is_file():
        raise ValueError(f"{options.replay}: no such file")
    feed = Feed(options.address, options.record)
    try:
        with MonitorServer(feed.state, feed.choose, options.host, options.port) as server:
            print(server.url, flush=True)
            if not options.replay:
                server.serve_forever()
            threading.Thread(target=server.serve_forever, daemon=True).start()
            for _ in replay(options.replay, feed):
                pass
            print(f"{options.replay} has ended; Ctrl-C ends this, too", flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        pass
    finally:
        feed.close()
    return 0
