"""What ``autolabel doctor`` says of the backend that gives drawn boxes their poses: whether the server reaches it."""

from autolabel.labelstudio.access import Access
from autolabel.labelstudio.backends import Backends
from autolabel.phrases import counted
from pipelines.doctor_check import Check, Outcome

NAME = "backend"
_START = "start `autolabel serve --register`"


def backend_check(access: Access, number: int) -> Check:
    """Whether a project has a backend that answers while people draw; the server asks it, from where it stands.

    Args:
        access: Address and token of the server.
        number: The server's number of the project; 0 where there is none yet.

    Raises:
        AutolabelError: The server refuses or fails.
    """
    if not number:
        return Check(NAME, Outcome.NOTE, "no project yet to connect one to")
    found = Backends(access).of(number)
    asked = [backend for backend in found if backend.interactive]
    answering = [backend.url for backend in asked if backend.answers]
    if answering:
        return Check(NAME, Outcome.OK, f"{', '.join(answering)} answers the server")
    if asked:
        told = "; ".join(f"{backend.url} does not answer the server" for backend in asked)
        return Check(NAME, Outcome.FAILED, f"{told}: {_START}")
    other = f", only {counted(len(found), 'backend')} that nobody asks while drawing" if found else ""
    return Check(NAME, Outcome.NOTE, f"none{other}, so that a drawn box stays a box: {_START}")
