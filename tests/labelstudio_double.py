"""An HTTP server in this process that answers what a test tells it to, where a real Label Studio cannot be made to."""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

LEGACY = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Said:
    """One answer: ``body`` is sent as JSON, or as it is where it is text. ``slow`` waits for the test's end first."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    slow: bool = False


class Double:
    """A running server.

    Attributes:
        url: Its address.
        asked: All requests so far, in order.
        answer: Gives what to say to a request; a test may exchange it.
        end: Set when the test is over.
        connections: Those that are open.
    """

    def __init__(self, url: str, answer: Callable[[Asked], Said]) -> None:
        self.url = url
        self.asked: list[Asked] = []
        self.answer = answer
        self.end = threading.Event()
        self.connections: set[socket.socket] = set()

    def hang_up(self) -> None:
        """Close what is open: a connection kept alive would be answered on."""
        self.end.set()
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingHTTPServer):
    """Listens for a double."""

    daemon_threads = True

    def __init__(self, answer: Callable[[Asked], Said]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.double = Double(f"http://127.0.0.1:{self.server_address[1]}", answer)


class _Handler(BaseHTTPRequestHandler):
    """Reads a request of any method, and gives the double's answer to it."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.double.connections.add(self.connection)

    def finish(self) -> None:
        self.server.double.connections.discard(self.connection)
        super().finish()

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = Asked(self.command, address.path, query, dict(self.headers), body)
        self.server.double.asked.append(asked)
        self.say(self.server.double.answer(asked))

    def say(self, said: Said) -> None:
        if said.slow:
            self.server.double.end.wait(30)
        if said.cut or said.slow:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        content = said.body.encode() if isinstance(said.body, str) else json.dumps(said.body).encode()
        self.send_response(said.status)
        for name, value in {"Content-Length": str(len(content)), **said.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(*answers: Said | Callable[[Asked], Said]) -> Iterator[Double]:
    """A double that gives these answers in turn, the last one again and again."""
    left = list(answers)

    def in_turn(asked: Asked) -> Said:
        now = left.pop(0) if len(left) > 1 else left[0]
        return now if isinstance(now, Said) else now(asked)

    with _Server(in_turn) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.double
        finally:
            server.double.hang_up()
            server.shutdown()
            thread.join()
