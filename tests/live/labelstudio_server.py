"""A Label Studio of one's own for as long as a test or a look at it lasts.

Run as a program, it makes the virtual environment ``.venv-labelstudio`` where it is missing, starts a server on a
free port of the loopback interface, writes one JSON line (``url``, ``token``, ``email``, ``password``), and stops
the server when its standard input is closed, which also happens when its parent dies::

    python tests/live/labelstudio_server.py DATA_DIR [--files ROOT]

Exit code 3: Label Studio cannot be installed here.
"""

import argparse
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".venv-labelstudio"
CONSTRAINTS = Path(__file__).with_name("constraints-labelstudio.txt")
EMAIL = "reviewer@example.com"
START_SECONDS = 540
CANNOT_INSTALL = 3


def installed() -> Path:
    """The server's program, installed where it is missing."""
    ready = ENVIRONMENT / ".ready"
    wanted = CONSTRAINTS.read_text()
    if not ready.exists() or ready.read_text() != wanted:
        venv.create(ENVIRONMENT, with_pip=True)
        (ENVIRONMENT / ".gitignore").write_text("*\n")
        pip = [ENVIRONMENT / "bin" / "python", "-m", "pip", "install", "--quiet"]
        answer = subprocess.run(
            [*pip, "--constraint", CONSTRAINTS, "label-studio"], capture_output=True, text=True, check=False
        )
        if answer.returncode:
            sys.stderr.write(answer.stderr[-2000:])
            sys.exit(CANNOT_INSTALL)
        ready.write_text(wanted)
    return ENVIRONMENT / "bin" / "label-studio"


def settings(data: Path, files: Path | None, token: str, password: str) -> dict[str, str]:
    """The server's environment: its own data, no sign-up, nothing asked of the network."""
    local = {}
    if files is not None:
        local = {
            "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
            "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(files),
        }
    return {
        **os.environ,
        **local,
        "LABEL_STUDIO_BASE_DATA_DIR": str(data),
        "LABEL_STUDIO_USERNAME": EMAIL,
        "LABEL_STUDIO_PASSWORD": password,
        "LABEL_STUDIO_USER_TOKEN": token,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
    }


def wait_until_up(url: str, server: subprocess.Popen[bytes]) -> None:
    """Wait for the first healthy answer; the first start makes its database, which takes a minute."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.5)
    raise SystemExit(f"the server did not come up: exit code {server.poll()}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="Folder for the server's database and uploads.")
    parser.add_argument("--files", type=Path, help="Folder whose files tasks may show as /data/local-files/?d=...")
    arguments = parser.parse_args()
    program = installed()
    token, password, port = secrets.token_hex(20), secrets.token_urlsafe(16), free_port()
    arguments.data.mkdir(parents=True, exist_ok=True)
    command = [program, "start", "--no-browser", "--port", str(port), "--internal-host", "127.0.0.1"]
    with (arguments.data / "server.log").open("wb") as log:
        server = subprocess.Popen(
            command,
            env=settings(arguments.data, arguments.files, token, password),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_up(url, server)
        access = {"url": url, "token": token, "email": EMAIL, "password": password}
        sys.stdout.write(json.dumps(access) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        server.terminate()
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


if __name__ == "__main__":
    main()
