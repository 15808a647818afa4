"""A Label Studio of one's own for as long as a test or a look at it lasts.

Run as a program, it installs Label Studio into ``.venv-labelstudio`` where it is missing, starts a server, writes one
JSON line (``url``, ``token``, ``email``, ``password``), and stops the server when its standard input is closed, which
also happens when its parent dies::

    python tests/live/labelstudio_server.py DATA_DIR

Exit code 3: Label Studio cannot be installed here.
"""

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from autolabel.errors import AutolabelError
from pipelines.console import open_progress
from pipelines.labelstudio_environment import PLACE, environment_folder, install
from pipelines.labelstudio_process import OwnServer, start, stop

ROOT = Path(__file__).parents[2]
CANNOT_INSTALL = 3


def environment() -> Path:
    """The one that the user names, else one of the repository's own."""
    return environment_folder() if os.environ.get(PLACE) else ROOT / ".venv-labelstudio"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="Folder for the server's database and uploads.")
    arguments = parser.parse_args()
    progress, server = open_progress(sys.stderr), OwnServer.at(arguments.data)
    try:
        program = install(environment(), progress=progress)
    except AutolabelError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(CANNOT_INSTALL)
    try:
        account = start(server, program, progress=progress)
        sys.stdout.write(json.dumps({"url": server.url(), **asdict(account)}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        stop(server)


if __name__ == "__main__":
    main()
