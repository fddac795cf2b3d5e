# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of the monitor, and the state that it asks for twice a second, over HTTP.

On loopback anybody on this machine may look. On another interface a token is needed, which the address that is printed
has in it. What names another host than that is refused, so that no page from elsewhere can read it through the browser;
and a choice without the header `X-KAQ`, which no page from elsewhere can send.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import secrets
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ..files import parse_json

__all__ = ["MonitorServer"]

MAX_CHOICE_BYTES = 4096
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


class MonitorServer(ThreadingHTTPServer):
    """Serves the page.

    Args:
        state: called for what is shown now.
        choose: called for what is chosen on the page and by which name; raises ValueError if that is not offered.
        host, port: where; port 0 takes a free one.

    Attributes:
        url: for the browser, with the token if there is one.

    Raises:
        OSError: the port is taken, or the host is none of this machine.
    """

    daemon_threads = True

    def __init__(
        self,
        state: Callable[[], dict[str, Any]],
        choose: Callable[[str, str], None],
        host: str = "127.0.0.1",
        port: int = 8765,
    ):
        super().__init__((host, port), _Handler)
        self.state, self.choose = state, choose
        self.token = "" if _is_loopback(host) else secrets.token_urlsafe(16)
        self.page = resources.files(__package__).joinpath("page.html").read_bytes()
        query = f"?token={self.token}" if self.token else ""
        self.url = f"http://{host}:{self.server_address[1]}/{query}"

    def may_look(self, host: str, token: str) -> bool:
        """Whether a request with this Host header and token is answered."""
        if self.token:
            return hmac.compare_digest(token, self.token)
        return host.rpartition(":")[0] in LOOPBACK_NAMES or host in LOOPBACK_NAMES


class _Handler(BaseHTTPRequestHandler):
    server: MonitorServer
    timeout = 10

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if not self._is_allowed():
            self._answer(403, b"the address that kaq monitor prints expected", "text/plain")
        elif address.path == "/":
            self._answer(200, self.server.page, "text/html; charset=utf-8")
        elif address.path == "/state":
            self._answer(200, json.dumps(self.server.state(), allow_nan=False).encode(), "application/json")
        else:
            self._answer(404, b"not here", "text/plain")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not self._is_allowed() or not self.headers.get("X-KAQ"):
            self._answer(403, b"the page of kaq monitor expected", "text/plain")
        elif urlsplit(self.path).path != "/choose":
            self._answer(404, b"not here", "text/plain")
        elif not length.isdecimal() or int(length) > MAX_CHOICE_BYTES:
            self._answer(413, f"at most {MAX_CHOICE_BYTES} bytes expected".encode(), "text/plain")
        else:
            self._choose(self.rfile.read(int(length)))

    def _choose(self, content: bytes) -> None:
        try:
            what, name = parse_json(content)
            self.server.choose(str(what), str(name))
        except (ValueError, TypeError) as error:
            self._answer(400, str(error).encode(), "text/plain; charset=utf-8")
        else:
            self._answer(200, b"", "text/plain")

    def _is_allowed(self) -> bool:
        token = parse_qs(urlsplit(self.path).query).get("token", [""])[0]
        return self.server.may_look(self.headers.get("Host", ""), token)

    def _answer(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(content))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            (
                "Content-Security-Policy",
                "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'",
            ),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Requests are not worth a line."""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
