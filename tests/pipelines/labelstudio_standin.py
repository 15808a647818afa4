"""Stands in for Label Studio's program in an environment: starts at once, and fails when a file in its data says so.

Like the real one it takes account and token on its first start alone, knows its user by the token, and listens where
it is told to.
"""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pipelines.labelstudio_environment import CONSTRAINTS, READY

FAILS, MUTE, MOVES = "fails", "mute", "moves"
"""Files in the server's folder: it stops with what the first holds, never answers, or finds its port taken."""


def fill(folder: Path) -> None:
    """Make an environment with the stand-in in it."""
    program = folder / "bin" / "label-studio"
    program.parent.mkdir(parents=True)
    root = Path(__file__).parents[2]
    lines = ["import sys", f"sys.path.insert(0, {str(root)!r})", f"from {__name__} import main", "main()"]
    program.write_text("\n".join([f"#!{sys.executable}", *lines, ""]))
    program.chmod(0o755)


def make_environment(folder: Path) -> Path:
    """An environment that counts as installed."""
    fill(folder)
    (folder / READY).write_text(CONSTRAINTS.read_text())
    return folder


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        account = json.loads((data() / "label_studio.sqlite3").read_text())
        known = self.headers["Authorization"] == f"Token {account['token']}"
        body = json.dumps({"email": account["email"]} if known else {}).encode()
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def data() -> Path:
    return Path(os.environ["LABEL_STUDIO_BASE_DATA_DIR"])


def main() -> None:
    options = dict(zip(sys.argv, sys.argv[1:], strict=False))
    assert options["--data-dir"] == str(data())
    if (data() / FAILS).exists():
        sys.exit((data() / FAILS).read_text())
    if (data() / MOVES).exists():
        sys.stdout.write("* Trying to start at 8081\n")
        sys.stdout.flush()
    database = data() / "label_studio.sqlite3"
    if not database.exists():
        names = {"email": "LABEL_STUDIO_USERNAME", "token": "LABEL_STUDIO_USER_TOKEN"}
        database.write_text(json.dumps({name: os.environ[variable] for name, variable in names.items()}))
    port = 0 if {MUTE, MOVES} & {file.name for file in data().iterdir()} else int(options["--port"])
    ThreadingHTTPServer((options["--internal-host"], port), Handler).serve_forever()
