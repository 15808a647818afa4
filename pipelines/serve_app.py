"""The HTTP half of ``autolabel serve``: Label Studio's protocol for machine-learning backends, as an ASGI app.

``GET /health`` says that it is up; ``POST /setup``, ``/predict`` and ``/webhook`` are what Label Studio asks. All but
the first ask for a password (HTTP Basic), which ``serve --register`` gives to the server. Every error is JSON with one
sentence in ``error``. Nothing of a request is logged: it holds the server's token.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from autolabel.errors import AutolabelError, FormatError, InputError, SkeletonError
from autolabel.labelstudio.tasks import MODEL_VERSION
from autolabel.progress import SILENT, Progress
from pipelines.serve_answer import Backend, UnknownTask
from pipelines.serve_login import knows

MAX_BODY = 16 * 2**20
"""Bytes of a request. The largest that Label Studio sends holds a task with all its drafts and answers."""

ANSWERED = frozenset(
    {
        *("ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_UPDATED"),
        *("ANNOTATION_DELETED", "ANNOTATIONS_DELETED"),
    }
)
"""Events after which there is something to fetch."""

Json = Mapping[str, Any]


class _BadBody(Exception):
    """A request that is none; ``status`` says in which way."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def serve_app(backend: Backend, password: str, progress: Progress = SILENT) -> Starlette:
    """The app.

    Args:
        backend: What answers.
        password: That Label Studio has to give with the user name ``autolabel``.
        progress: Where to say what went wrong.
    """

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "UP", "model_class": "autolabel"})

    def setup(_: Json) -> Json:
        return {"model_version": MODEL_VERSION}

    def webhook(body: Json) -> Json:
        action = body.get("action")
        woken = isinstance(action, str) and action in ANSWERED
        if woken:
            backend.wake()
        return {"woken": woken}

    return Starlette(
        routes=[
            Route("/health", health, methods=["GET"]),
            Route("/setup", _answering(setup, password, progress), methods=["POST"]),
            Route("/predict", _answering(backend.predict, password, progress), methods=["POST"]),
            Route("/webhook", _answering(webhook, password, progress), methods=["POST"]),
        ],
        exception_handlers={HTTPException: _no_route},
    )


def _answering(
    work: Callable[[Json], Json], password: str, progress: Progress
) -> Callable[[Request], Awaitable[JSONResponse]]:
    """An endpoint that gives a request's body to some work, which may take long."""

    async def endpoint(request: Request) -> JSONResponse:
        if not knows(request.headers.get("Authorization", ""), password):
            return _error(401, "the password is missing or wrong", {"WWW-Authenticate": 'Basic realm="autolabel"'})
        try:
            return JSONResponse(await run_in_threadpool(work, await _body(request)))
        except _BadBody as error:
            return _error(error.status, str(error))
        except ClientDisconnect:
            return _error(400, "the request broke off")
        except AutolabelError as error:
            progress.note(f"{request.url.path}: {error}")
            return _error(_status(error), str(error))
        except Exception as error:  # noqa: BLE001  # one request that fails must not be the last, and is told as others
            kind = type(error).__name__
            progress.note(f"{request.url.path}: failed with {kind}: {error}")
            return _error(500, f"the backend failed with {kind}; where it runs it says more")

    return endpoint


async def _body(request: Request) -> Json:
    """The JSON object of a request, whose size is bounded before it is read."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BODY:
            raise _BadBody(413, f"the request has more than {MAX_BODY} bytes")
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise _BadBody(400, "the request is no JSON") from None
    if not isinstance(body, Mapping):
        raise _BadBody(400, "the request is no JSON object")
    return cast("Json", body)


def _status(error: AutolabelError) -> int:
    match error:
        case UnknownTask():
            return 404
        case SkeletonError():
            return 409
        case FormatError() | InputError():
            return 400
        case _:
            return 500


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": message}, status, headers)


async def _no_route(request: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return _error(status, f"{request.method} {request.url.path} is nothing that Label Studio asks a backend")
