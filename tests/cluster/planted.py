"""Two servers behind a balancer that show what reaches them, and fail when they are told to. Used by test_balancers.py.

Both pass on to one real server what is not planted, so that the answers have the headers of ours.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from tests.processes import Server

_HOP_BY_HOP = {"connection", "transfer-encoding", "date", "server"}


class Seen(NamedTuple):
    """One request as a server got it, but for those of the balancer's own."""

    port: int
    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Planted:
    """What both servers have seen, and whether they are gone: then they hang up on everybody."""

    behind: Server
    ports: list[int] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    is_gone: bool = False
    goes_on: threading.Event = field(default_factory=threading.Event)  # whoever asked for /planted/waits is answered then

    def asked(self, host: str) -> list[Seen]:
        """Return the requests to a host's name, which each test makes up for itself."""
        return [seen for seen in self.seen if seen.headers.get("host") == host]


@contextmanager
def planted_servers(behind: Server) -> Iterator[Planted]:
    """Run both servers until the block ends."""
    planted = Planted(behind)
    with ExitStack() as stack:
        for _ in range(2):
            server = stack.enter_context(_Server(("127.0.0.1", 0), _handler(planted)))
            planted.ports.append(server.server_port)
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            stack.callback(server.shutdown)
        yield planted


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing: a balancer hangs up on its own looks."""


def _handler(planted: Planted) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server: ThreadingHTTPServer
        protocol_version = "HTTP/1.1"
        wbufsize, disable_nagle_algorithm = -1, True  # an answer is one packet and does not wait

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if planted.is_gone:
                self.close_connection = True
            elif self.path == "/readyz":
                self.tell(200, [], b"{}")
            else:
                self.answer_seen(body)

        def answer_seen(self, body: bytes) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            others = planted.asked(headers.get("host", ""))
            planted.seen.append(Seen(self.server.server_port, self.command, self.path, headers))
            if self.path == "/planted/dies" and not others:
                self.close_connection = True  # as a server does that is killed in the middle
            elif self.path.startswith("/planted/"):
                if self.path == "/planted/waits":
                    planted.goes_on.wait(10)
                self.tell(200, [("content-type", "application/json")], json.dumps(headers).encode())
            else:
                self.pass_on(body)

        def pass_on(self, body: bytes) -> None:
            with closing(http.client.HTTPConnection(planted.behind.url.removeprefix("http://"), timeout=10)) as wire:
                wire.request(self.command, self.path, body or None, dict(self.headers))
                answer = wire.getresponse()
                headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP_BY_HOP]
                self.tell(answer.status, headers, answer.read())

        def tell(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers:
                self.send_header(name, value)
            if not any(name.lower() == "content-length" for name, _ in headers) and status != http.HTTPStatus.NOT_MODIFIED:
                self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_HEAD = do_POST = answer  # noqa: N815  these are the names that http.server calls

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
