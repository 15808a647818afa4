"""The MongoDB behind FiftyOne: opened once, proven to answer, and its failures told in our words.

FiftyOne reads where its database is when it is imported, connects at its first use, and waits half a minute for one
that is not there. So the address is set before the import, with a short wait, and is tried before that import, which
itself takes seconds. A database that stops later raises one of several libraries' errors: ``database`` makes them one.

An address may hold a user and a password. Messages show it without (``show_uri``).
"""

import os
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from autolabel.errors import InputError, LostServerError, WorkError

DATABASE_URI = "FIFTYONE_DATABASE_URI"
VALIDATION = "FIFTYONE_DATABASE_VALIDATION"
WAIT_SECONDS = 5.0
"""How long a database may take to be reached; of one on this machine it is milliseconds."""

_EXAMPLE = "mongodb://127.0.0.1:27017"
_SCHEMES = ("mongodb://", "mongodb+srv://")


def open_fiftyone(uri: str, *, seconds: float = WAIT_SECONDS) -> Any:
    """FiftyOne, connected to its database.

    Args:
        uri: The database; empty for the one that FiftyOne starts itself.
        seconds: How long it may take to be reached, now and later, where the URI says nothing about it.

    Returns:
        The module ``fiftyone``.

    Raises:
        InputError: The URI is none, the database refuses its user, or FiftyOne has another database open already.
        LostServerError: The database does not answer.
        WorkError: FiftyOne cannot use the database, or cannot start its own.
    """
    uri = uri and _with_wait(uri, seconds)
    if uri:
        ping(uri, seconds=seconds)
        if "fiftyone" in sys.modules:
            _move(uri)
        os.environ[DATABASE_URI] = uri
    # FiftyOne says at every start that it will support MongoDB 6 for only so long.
    os.environ.setdefault(VALIDATION, "false")
    os.environ["FIFTYONE_DO_NOT_TRACK"] = "true"

    import fiftyone  # pyright: ignore[reportMissingTypeStubs]  # it has none

    module: Any = fiftyone
    try:
        module.list_datasets()
    except (*database_errors(), OSError, RuntimeError) as error:  # the last two: of another version, or of other kind
        remedy = f"Set {DATABASE_URI} to a MongoDB that serves FiftyOne {module.__version__}."
        why = f"FiftyOne cannot open its database: {_words(error, uri)}"
        raise WorkError(why, subject=show_uri(uri) or None, remedy=remedy) from error
    return module


def ping(uri: str, *, seconds: float = WAIT_SECONDS) -> None:
    """Prove that a database answers.

    Args:
        uri: The database.
        seconds: How long it may take to be reached, where the URI says nothing about it.

    Raises:
        InputError: The URI is none, or the database refuses its user.
        LostServerError: It does not answer.
    """
    import pymongo
    from pymongo.errors import ConfigurationError, OperationFailure, PyMongoError

    shown, remedy = show_uri(uri), f"Put {DATABASE_URI} right, such as {_EXAMPLE}."
    try:
        client = pymongo.MongoClient[dict[str, Any]](_with_wait(uri, seconds))
        with client:
            client.admin.command("ping")
    # pymongo tells of a wrong port in plain ValueErrors. Its words may quote a password, and so may a traceback.
    except (ConfigurationError, ValueError, TypeError) as error:
        raise InputError(f"this is no URI of a MongoDB: {_words(error, uri)}", subject=shown, remedy=remedy) from None
    except OperationFailure as error:
        why = f"the database lets nobody in: {_words(error, uri)}"
        raise InputError(why, subject=shown, remedy=f"Put right user and password in {DATABASE_URI}.") from error
    except PyMongoError as error:
        raise LostServerError(f"no MongoDB answers: {_words(error, uri)}", subject=shown,
                              remedy=f"Start it, or set {DATABASE_URI} to one that runs.") from error  # fmt: skip


@contextmanager
def database() -> Generator[None]:
    """Tell in our words, and in one error, that the database failed while a block used it.

    Raises:
        LostServerError: It stopped answering.
        WorkError: It answers, and refuses what was asked of it.
    """
    uri = os.environ.get(DATABASE_URI, "")
    try:
        yield
    except BrokenPipeError:  # of standard output, which nobody reads any more
        raise
    except database_errors() as error:
        shown = show_uri(uri) or "FiftyOne"
        if _refuses(error):
            raise WorkError(f"the database refuses: {_words(error, uri)}", subject=shown) from error
        raise LostServerError(f"the database stopped answering: {_words(error, uri)}", subject=shown,
                              remedy="See that it runs, then run the command again: it goes on where it stopped.",
                              ) from error  # fmt: skip


def database_errors() -> tuple[type[Exception], ...]:
    """What is raised where FiftyOne's database fails, by whichever library notices first."""
    from pymongo.errors import PyMongoError

    own: tuple[type[Exception], ...] = ()
    if {"fiftyone.core.config", "fiftyone.core.service"} <= sys.modules.keys():
        from fiftyone.core.config import FiftyOneConfigError  # pyright: ignore[reportMissingTypeStubs]
        from fiftyone.core.service import ServiceException  # pyright: ignore[reportMissingTypeStubs]

        own = (FiftyOneConfigError, ServiceException)
    return (ConnectionError, PyMongoError, *own)


def show_uri(uri: str) -> str:
    """A database's URI without user, password and options, some of which are secrets too."""
    scheme, separator, rest = uri.partition("://") if uri.startswith(_SCHEMES) else ("", "", uri)
    place, _, options = rest.partition("?")
    # A password that was not escaped may hold a question mark: then nobody knows where it ends.
    hosts = "…" if "@" in options else place.rpartition("@")[2]
    return f"{scheme}{separator}{hosts.rstrip('/')}"


def _with_wait(uri: str, seconds: float) -> str:
    """The URI with a limit to the wait for a server, unless it has one."""
    if not uri.startswith(_SCHEMES):
        raise InputError(f"this is no URI of a MongoDB: it does not begin with {' or '.join(_SCHEMES)}",
                         subject=show_uri(uri), remedy=f"Put {DATABASE_URI} right, such as {_EXAMPLE}.")  # fmt: skip
    if "serverselectiontimeoutms=" in uri.lower():
        return uri
    place, mark, options = uri.partition("?")
    place = place if "/" in place.partition("://")[2] else f"{place}/"
    return f"{place}?{options + '&' * bool(mark and options)}serverSelectionTimeoutMS={round(seconds * 1000)}"


def _move(uri: str) -> None:
    """Point FiftyOne, imported already, to a database; it reads the environment at its import alone."""
    module, connection = sys.modules["fiftyone"], sys.modules["fiftyone.core.odm.database"]
    config: Any = module.config
    if _place(config.database_uri or "") == _place(uri):
        return
    if connection._client is not None:  # what FiftyOne itself asks; there is no public way
        raise InputError("FiftyOne has another database open in this process: "
                         f"{show_uri(config.database_uri or '') or 'its own'}", subject=show_uri(uri),
                         remedy="Start a new Python, and open this one first.")  # fmt: skip
    config.database_uri = uri
    config.do_not_track = True
    if VALIDATION not in os.environ:
        config.database_validation = False


def _place(uri: str) -> str:
    return uri.partition("?")[0].rstrip("/")


def _refuses(error: Exception) -> bool:
    from pymongo.errors import CursorNotFound, OperationFailure

    # A server that was started anew knows no cursor of its former life.
    return isinstance(error, OperationFailure) and not isinstance(error, CursorNotFound)


def _words(error: Exception, uri: str) -> str:
    """What an error says, without the settings and times that pymongo adds, nor anything that may be a password.

    Where a user or a password was not escaped, pymongo takes a part of it for the name of a host, and names it.
    """
    said = str(error).partition(" (configured")[0].partition(", Timeout:")[0].partition(", full error:")[0]
    if "@" in uri:
        known = re.search(r"\[Errno -?\d+\] ([\w ]+)", said) or re.search(r"timed out|\w+ failed\.", said)
        return known[known.lastindex or 0] if known else type(error).__name__
    return " ".join(said.split())[:300]
