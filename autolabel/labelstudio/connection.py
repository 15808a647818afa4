"""The connection to a Label Studio server: Label Studio's own library, tried again where that is safe.

This is the one place that knows ``label_studio_sdk`` and the ``httpx`` below it. The library swaps a personal access
token for the access token of a few minutes that the server wants; requests that it does not offer go through the same
``httpx`` client with the same headers. Its own retrying is switched off: it would repeat an import whose answer was
lost, and so double every task.
"""

import json
import re
import socket
import ssl
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from autolabel.errors import AutolabelError
from autolabel.labelstudio.access import Access
from autolabel.labelstudio.server import TokenKind
from autolabel.labelstudio.trouble import Trouble, answered, explained, unsure

if TYPE_CHECKING:
    import httpx
    from label_studio_sdk import LabelStudio

T = TypeVar("T")
_FIRST_WAIT, _LONGEST_PAUSE = 1.0, 30.0
# No proxy of the environment's stands before a server on this machine.
_THIS_MACHINE = ("all://127.0.0.1", "all://localhost", "all://[::1]")


class Connection:
    """One server, one token.

    Args:
        access: Address and token.
        timeout: Seconds to wait for an answer.
        tries: How often a request that may be repeated is tried in all.
        sleep: How to wait; a test's does not.
        note: Told before each wait.

    Raises:
        InputError: The token is a personal access token that has expired.
    """

    def __init__(
        self,
        access: Access,
        *,
        timeout: float,
        tries: int,
        sleep: Callable[[float], None],
        note: Callable[[str], None],
    ) -> None:
        import httpx

        self.url = access.url
        self.timeout = timeout
        # A personal access token is a JSON web token: three parts between dots.
        self.token_kind: TokenKind = "personal" if access.token.count(".") == 2 else "legacy"
        self._token, self._origin = access.token, access.origin
        # What was ever sent to prove who we are: the token, and the access tokens that it was swapped for.
        self._secrets = secrets = {access.token}
        self._tries = tries
        self._sleep, self._note = sleep, note
        self._reached = False

        def remember(request: httpx.Request) -> None:
            secrets.update(request.headers.get("Authorization", "").split()[1:])

        # A redirect would turn a POST into a GET.
        self._http = httpx.Client(
            timeout=timeout,
            follow_redirects=False,
            mounts=dict.fromkeys(_THIS_MACHINE),
            event_hooks={"request": [remember], "response": [_refuse]},
        )
        weakref.finalize(self, self._http.close)
        self._sdk = self._library()

    def _library(self) -> "LabelStudio":
        """The library, without an access token yet."""
        from label_studio_sdk import LabelStudio
        from label_studio_sdk.core.api_error import ApiError

        try:
            # The slash keeps a path in the address when the library swaps the token.
            return LabelStudio(
                base_url=f"{self.url}/",
                api_key=self._token,
                httpx_client=self._http,
                timeout=self.timeout,
                max_retries=0,
            )
        except ApiError as error:
            raise self._explained(answered(error.status_code or 401, error.body, None), "token", 0) from None

    def ask(
        self,
        about: str,
        work: Callable[["LabelStudio"], T],
        *,
        once: bool = False,
        gone: T | None = None,
        timeout: float | None = None,
    ) -> T:
        """Do some work with the library; try again what passes.

        Args:
            about: What it is about, for errors: ``project 7``.
            work: Uses the library it is given, and :meth:`send`.
            once: It may not be done twice: it is repeated only where the server certainly did nothing.
            gone: What to give where the server says 404, for deletions.
            timeout: Seconds that ``work`` waits for an answer, where they are not the usual ones.

        Raises:
            UnsureError: With ``once``, it was sent and its end is unknown.
            InputError: Address, token, rights or project are wrong.
            WorkError: The server failed for good.
        """
        seconds = timeout or self.timeout
        renewed = False
        waits = self._waits()
        while True:
            try:
                result = work(self._sdk)
            except _failures() as error:
                trouble = _read(error)
                if gone is not None and trouble.status == 404:
                    return gone
                if trouble.status == 401 and self.token_kind == "personal" and not renewed:
                    # The server's clock may be ahead of ours: the access token ended sooner than the library thinks.
                    renewed, self._sdk = True, self._library()
                    continue
                if once and not trouble.undone:
                    raise unsure(trouble, about, url=self.url) from None
                wait = next(waits, None) if self._may_pass(trouble) else None
                if wait is None:
                    raise self._explained(trouble, about, seconds) from None
                self._pause(trouble, *wait)
            else:
                self._reached = True
                return result

    def delete(self, about: str, work: Callable[["LabelStudio"], object]) -> None:
        """Delete something; it is gone afterwards, whoever did it.

        Raises:
            AutolabelError: As :meth:`ask`.
        """

        def done(sdk: "LabelStudio") -> bool:
            work(sdk)
            return True

        self.ask(about, done, gone=True)

    def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        timeout: float | None = None,
        follow: bool = False,
        **request: Any,
    ) -> "httpx.Response":
        """A request that the library does not offer, with its headers; for use inside :meth:`ask`.

        Args:
            method: Of HTTP.
            path: Below the address, or a full address; another host is not sent the token.
            body: JSON to send.
            timeout: Seconds to wait for an answer, where they are not the usual ones.
            follow: Follow redirects; the token goes to no other host.
            request: More for ``httpx``: ``params``, ``files``.
        """
        url = path if "://" in path else f"{self.url}/{path.lstrip('/')}"
        headers: dict[str, str] = {}
        if url.startswith(f"{self.url}/"):
            headers = dict(self._sdk._client_wrapper.get_headers())  # pyright: ignore[reportPrivateUsage] -- no other way
        if body is not None:
            headers["Content-Type"] = "application/json"
        answer = self._http.request(
            method,
            url,
            headers=headers,
            content=body,
            timeout=timeout or self.timeout,
            follow_redirects=follow,
            **request,
        )
        if answer.is_redirect:
            raise Refused(answered(answer.status_code, "", answer.headers))
        return answer

    def _explained(self, trouble: Trouble, about: str, seconds: float) -> AutolabelError:
        """Our error; the server's words are kept, but for a token that it repeats."""
        detail = trouble.detail
        for secret in self._secrets:
            detail = detail.replace(secret, "[token]")
        clean = Trouble(trouble.kind, trouble.status, detail, trouble.wait)
        return explained(clean, about, url=self.url, token_kind=self.token_kind, seconds=seconds, origin=self._origin)

    def _pause(self, trouble: Trouble, again: int, usual: float) -> None:
        """Wait before another try, as long as is usual or as the server asks, and say so."""
        seconds = usual if trouble.wait is None else trouble.wait
        self._note(
            f"Label Studio does not answer ({trouble.short}): waiting {seconds:g} s, try {again} of {self._tries}"
        )
        self._sleep(seconds)

    def _may_pass(self, trouble: Trouble) -> bool:
        """Whether to try again. Whoever never answered is not waited for: the address is wrong, or the server down."""
        self._reached |= trouble.kind == "answer"
        return trouble.passes and (self._reached or trouble.kind == "cut")

    def _waits(self) -> Iterator[tuple[int, float]]:
        """Each further try, from the second, and how long to wait before it."""
        return ((i + 2, min(_FIRST_WAIT * 2**i, _LONGEST_PAUSE)) for i in range(self._tries - 1))


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, trouble: Trouble) -> None:
        self.trouble = trouble
        super().__init__(trouble.kind)


def _refuse(answer: "httpx.Response") -> None:
    """Raise for an error's answer, whoever asked: the library reads some of them as JSON that are none."""
    if answer.is_error:
        answer.read()
        raise Refused(answered(answer.status_code, answer.text, answer.headers))


def json_of(answer: "httpx.Response") -> Any:
    """The JSON of a successful answer; what is none comes from no Label Studio."""
    try:
        return answer.json()
    except ValueError:
        raise Refused(Trouble("foreign")) from None


def encoded(value: Any) -> bytes:
    """JSON for a request's body, with every number as Python has it.

    Raises:
        ValueError: A number is not finite.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _failures() -> tuple[type[Exception], ...]:
    """What the libraries raise where a request fails."""
    import httpx
    from label_studio_sdk.core.api_error import ApiError
    from label_studio_sdk.core.parse_error import ParsingError

    return Refused, ApiError, ParsingError, json.JSONDecodeError, httpx.HTTPError


def _read(error: Exception) -> Trouble:
    """The trouble that a failure of the libraries stands for."""
    import httpx

    match error:
        case Refused():
            return error.trouble
        case httpx.ConnectError():
            return _no_connection(error)
        case httpx.ConnectTimeout():
            return Trouble("refused", detail="no connection in time")
        case httpx.TimeoutException():
            return Trouble("slow")
        case httpx.UnsupportedProtocol() | httpx.DecodingError() | httpx.TooManyRedirects():
            return Trouble("foreign")
        case httpx.HTTPError():
            return Trouble("cut", detail=str(error) or type(error).__name__)
        case _:
            # Errors raise Refused, so this is a success that the library cannot read, such as a page for a browser;
            # or a redirect.
            status = getattr(error, "status_code", None) or 0
            headers = getattr(error, "headers", None)
            return answered(status, "", headers) if 300 <= status < 400 else Trouble("foreign")


def _no_connection(error: Exception) -> Trouble:
    """Why no connection came about, which only the causes of the library's error tell."""
    causes = list(_causes(error))
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return Trouble("unknown")
    if tls := next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None):
        if isinstance(tls, ssl.SSLCertVerificationError):
            return Trouble("untrusted", detail=tls.verify_message)
        return Trouble("plain", detail=(tls.reason or "no TLS").replace("_", " ").lower())
    return Trouble("refused", detail=re.sub(r"^\[Errno -?\d+\] ", "", str(error)))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and what it came from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def library_complaint(form: str) -> str:
    """What Label Studio's own library has to say against a labelling form; empty where it has nothing."""
    from label_studio_sdk.label_interface.interface import LabelInterface

    try:
        LabelInterface(form).validate()
    except Exception as error:  # noqa: BLE001 - of whatever kind: it is what the library says of this form
        return f"{type(error).__name__}: {error}"
    return ""
