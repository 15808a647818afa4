"""FiftyOne's App on this machine, for as long as somebody looks."""

import socket
from collections.abc import Callable
from typing import Any

from autolabel.curate.views import FIRST
from autolabel.errors import InputError

HOST = "127.0.0.1"


def open_app(fiftyone: Any, name: str, port: int, note: Callable[[str], None]) -> None:
    """Serve a data set in FiftyOne's App until the user interrupts.

    Args:
        fiftyone: The module.
        name: Of the data set.
        port: Where the App listens, on this machine alone.
        note: Told the address.

    Raises:
        InputError: Something else listens there: FiftyOne would show whatever that is.
    """
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((HOST, port))
        except OSError as error:
            raise InputError(
                f"cannot be listened on: {error.strerror}", subject=f"port {port}", remedy="Give another --port."
            ) from error
    dataset = fiftyone.load_dataset(name)
    first = dataset.load_saved_view(FIRST) if FIRST in dataset.list_saved_views() else dataset
    session = fiftyone.launch_app(first, remote=True, address=HOST, port=port)
    note(f"FiftyOne's App shows {name} at http://{HOST}:{port}/datasets/{name}; stop with Ctrl-C")
    try:
        session.wait(-1)
    except KeyboardInterrupt:
        note("the App is closed; what was tagged is kept: bring it home with --pull")
    finally:
        session.close()
