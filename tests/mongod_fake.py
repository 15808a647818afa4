"""Stands in for MongoDB: says what pymongo wants to hear, refuses what it is told to, and stores nothing.

``serving`` is a server in this process. As a program it is a mongod, which starts at once; files in the folder of its
data's make it stop with what the first holds, or listen to nobody. ``make_mongod`` writes such a program.
"""

import shlex
import socketserver
import struct
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

FAILS, MUTE = "fails", "mute"
VERSION = "6.0.5"

_OP_REPLY, _OP_QUERY, _OP_MSG = 1, 2004, 2013
_HELLO = {"ok": 1, "ismaster": 1, "minWireVersion": 0, "maxWireVersion": 17, "maxBsonObjectSize": 1 << 24}


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    refused: Mapping[str, tuple[int, str]] = {}


class Handler(socketserver.BaseRequestHandler):
    server: Server

    def handle(self) -> None:
        while head := self._take(16):
            length, request, _, kind = struct.unpack("<4i", head)
            body = self._take(length - 16)
            # Before the document are flags and, in the old form, the collection and two numbers.
            start = body.index(b"\0", 4) + 9 if kind == _OP_QUERY else 5
            command = body[start + 5 : body.index(b"\0", start + 5)].decode()
            answer = document(self._answer(command))
            if kind == _OP_QUERY:
                opcode, answer = _OP_REPLY, struct.pack("<iqii", 8, 0, 0, 1) + answer
            else:
                opcode, answer = _OP_MSG, struct.pack("<IB", 0, 0) + answer
            self.request.sendall(struct.pack("<4i", 16 + len(answer), 0, request, opcode) + answer)

    def _answer(self, command: str) -> Mapping[str, int | str]:
        if command in self.server.refused:
            code, words = self.server.refused[command]
            return {"ok": 0, "code": code, "errmsg": words}
        return _HELLO

    def _take(self, size: int) -> bytes:
        taken = b""
        while len(taken) < size and (more := self.request.recv(size - len(taken))):
            taken += more
        return taken


def document(fields: Mapping[str, int | str]) -> bytes:
    """BSON of numbers and words."""
    body = b""
    for name, value in fields.items():
        key = name.encode() + b"\0"
        if isinstance(value, int):
            body += b"\x10" + key + struct.pack("<i", value)
        else:
            words = value.encode() + b"\0"
            body += b"\x02" + key + struct.pack("<i", len(words)) + words
    return struct.pack("<i", len(body) + 5) + body + b"\0"


@contextmanager
def serving(refused: Mapping[str, tuple[int, str]] | None = None) -> Iterator[str]:
    """Where a server answers: HOST:PORT.

    Args:
        refused: Commands that fail, with the code and the words of their error.
    """
    with Server(("127.0.0.1", 0), Handler) as server:
        server.refused = refused or {}
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def make_mongod(program: Path, *, version: str = VERSION) -> Path:
    """Write a mongod; the bare minimum of Python starts faster."""
    program.parent.mkdir(parents=True, exist_ok=True)
    python = shlex.join([sys.executable, "-I", "-S", str(Path(__file__))])
    says = f'[ "$1" = --version ] && echo "db version v{version}" && exit'
    program.write_text(f'#!/bin/sh\n{says}\nexec {python} "$@"\n')
    program.chmod(0o755)
    return program


def main() -> None:
    options = dict(zip(sys.argv, sys.argv[1:], strict=False))
    folder = Path(options["--dbpath"]).parent
    if (folder / FAILS).exists():
        sys.exit((folder / FAILS).read_text())
    port = 0 if (folder / MUTE).exists() else int(options["--port"])
    Server((options["--bind_ip"], port), Handler).serve_forever()


if __name__ == "__main__":
    main()
