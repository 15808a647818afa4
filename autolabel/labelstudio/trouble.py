"""What may go wrong between us and a Label Studio server, and what the user can do about it.

A :class:`Trouble` is one failed request in plain words, whichever library noticed it. It says whether trying again
may help, and whether the server can have done anything. :func:`explained` turns it into one of our errors: wrong
address, token, rights or project are an ``InputError``, the server's own trouble a ``WorkError``, and where trying
again later may help a ``LostServerError``.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal, cast

from autolabel.errors import AutolabelError, InputError, LostServerError, UnsureError, WorkError
from autolabel.labelstudio.server import TokenKind

LONGEST_WAIT = 300.0
_AGAIN = "Then run the command again: what is done is not done twice"
_NEW_TOKEN = "Make a new one in Label Studio (Account & Settings > Personal Access Token) and save it in its place"
_SETTING = "`url` in [labelstudio] of autolabel.toml"
_DETAIL_LENGTH = 300


@dataclass(frozen=True)
class Trouble:
    """A request that failed.

    Attributes:
        kind: ``answer``: the server answered with ``status``; ``refused``: nobody listens there; ``unknown``: no such
            host; ``plain``: it does not speak https; ``untrusted``: its certificate; ``slow``: no answer in time;
            ``cut``: the connection broke; ``foreign``: what answered is no Label Studio.
        status: The HTTP status of an ``answer``, else 0.
        detail: What the server or the system said, on one line and whole: a secret in it is taken out before it is cut.
        wait: Seconds that the server asks to wait.
    """

    kind: Literal["answer", "refused", "unknown", "plain", "untrusted", "slow", "cut", "foreign"]
    status: int = 0
    detail: str = ""
    wait: float | None = None

    @property
    def passes(self) -> bool:
        """Whether trying again may help."""
        if self.kind == "answer":
            return self.status in (408, 429, 500, 502, 503, 504) and (self.wait or 0) <= LONGEST_WAIT
        return self.kind in ("refused", "slow", "cut")

    @property
    def undone(self) -> bool:
        """Whether the server certainly did nothing."""
        if self.kind == "answer":
            return self.status < 500 and self.status != 408
        return self.kind in ("refused", "unknown", "plain", "untrusted", "foreign")

    @property
    def short(self) -> str:
        """The trouble in a word or two, for a note between two tries."""
        words = {"slow": "no answer in time", "cut": "the connection broke", "refused": "connection refused"}
        return str(self.status) if self.kind == "answer" else words.get(self.kind, self.kind)


def answered(status: int, body: Any, headers: Mapping[str, str] | None) -> Trouble:
    """The trouble of an answer that is no success.

    Args:
        status: Its HTTP status.
        body: Its content: JSON values, or text that may be JSON.
        headers: Its headers, in any case.
    """
    lower = {name.lower(): value for name, value in (headers or {}).items()}
    if 300 <= status < 400:
        return Trouble("answer", status, lower.get("location", ""))
    return Trouble("answer", status, _detail(body), _retry_after(lower.get("retry-after")))


def explained(
    trouble: Trouble, about: str, *, url: str, token_kind: TokenKind, seconds: float, origin: str = ""
) -> AutolabelError:
    """Our error for a trouble.

    Args:
        trouble: What happened; its detail holds no secret any more, and is shown cut where it is long.
        about: What was asked, such as ``project 7``.
        url: The server's address.
        token_kind: Which kind of token was sent.
        seconds: How long an answer was waited for.
        origin: Where the token came from; see :class:`autolabel.labelstudio.access.Access`.
    """
    if len(trouble.detail) > _DETAIL_LENGTH:
        trouble = replace(trouble, detail=f"{trouble.detail[:_DETAIL_LENGTH]}...")
    if trouble.kind == "answer":
        return _of_answer(trouble, about, url, token_kind, origin)
    return _of_silence(trouble, about, url, seconds)


def _of_silence(trouble: Trouble, about: str, url: str, seconds: float) -> AutolabelError:
    """Our error where no answer came, or none of Label Studio's."""
    host = re.sub(r"^https?://", "", url)
    match trouble.kind:
        case "refused":
            remedy = f"Start the server (`autolabel review-server up`), or correct {_SETTING}"
            return LostServerError(f"nobody answers there: {trouble.detail}", subject=url, remedy=f"{remedy}.")
        case "unknown":
            return InputError(f"there is no host {host}", subject=url, remedy=f"Correct {_SETTING}.")
        case "plain":
            remedy = f"Write http:// instead of https:// in {_SETTING}, or correct it."
            return InputError(f"it does not speak https ({trouble.detail})", subject=url, remedy=remedy)
        case "untrusted":
            remedy = "Have it signed by a known authority, or name its certificate in SSL_CERT_FILE."
            return InputError(f"its certificate is not trusted: {trouble.detail}", subject=url, remedy=remedy)
        case "slow":
            remedy = f"The server is busy or stuck: see its log. {_AGAIN}."
            return LostServerError(f"{about}: no answer within {seconds:g} s", subject=url, remedy=remedy)
        case "foreign":
            return InputError("what answers there is no Label Studio", subject=url, remedy=f"Correct {_SETTING}.")
        case _:
            remedy = f"See whether the server still runs, and whether its address starts with http or https. {_AGAIN}."
            return LostServerError(f"{about}: the connection broke: {trouble.detail}", subject=url, remedy=remedy)


def unsure(trouble: Trouble, about: str, *, url: str) -> UnsureError:
    """Our error where a request was sent that may not be repeated, and its end is unknown."""
    why = f"answered {trouble.status}" if trouble.kind == "answer" else {"slow": "no answer in time"}.get(trouble.kind)
    return UnsureError(
        f"{about}: {why or 'the connection broke'}, so nobody can tell whether it was done",
        subject=url,
        remedy=f"See whether the server runs. {_AGAIN}.",
    )


def _of_answer(trouble: Trouble, about: str, url: str, token_kind: TokenKind, origin: str) -> AutolabelError:
    said = f": {trouble.detail}" if trouble.detail else ""
    match trouble.status:
        case status if 300 <= status < 400:
            remedy = f"Write the address itself into {_SETTING}."
            return InputError(f"sends on to {trouble.detail or 'another address'}", subject=url, remedy=remedy)
        case 401:
            return _unwelcome(trouble, url, token_kind, f"; the token is from {origin}" if origin else "")
        case 403:
            remedy = "Use a token of a user with the rights, or have an owner of the organization grant them."
            return InputError(f"{about}: the token's user may not do that{said}", subject=url, remedy=remedy)
        case _ if project := _missing_project(trouble, about):
            remedy = "Set `project = 0` in [labelstudio] of autolabel.toml, and the next push makes a new one"
            return InputError(
                f"{project} is not there: it was deleted, or the token's user may not see it",
                subject=url,
                remedy=f"{remedy}; or use a token of a user who sees it.",
            )
        case 404:
            remedy = f"It was deleted meanwhile, or correct {_SETTING}."
            return InputError(f"{about} is not there{said}", subject=url, remedy=remedy)
        case 413:
            remedy = "Have whoever runs it allow 20 MB a request (nginx: client_max_body_size 20m)."
            return WorkError(f"{about}: is larger than the server allows (413)", subject=url, remedy=remedy)
        case 429:
            asked = f", and asks to wait {trouble.wait:g} s" if trouble.wait else ""
            return LostServerError(f"{about}: too many requests (429){asked}", subject=url, remedy=f"Wait. {_AGAIN}.")
        case status if status >= 500:
            remedy = f"See the server's log. {_AGAIN}."
            return LostServerError(f"{about}: the server failed ({status}){said}", subject=url, remedy=remedy)
        case status:
            return WorkError(f"{about}: the server refuses it ({status}){said}", subject=url)


def _missing_project(trouble: Trouble, about: str) -> str | None:
    """The project that an answer says is not there, which it says in three forms."""
    project = re.search(r"project \d+", about)
    refused = trouble.status == 400 and "'project': ['Select a valid choice" in trouble.detail
    unknown = trouble.status == 404 and ("Project" in trouble.detail or not trouble.detail)
    return project.group() if project and (refused or unknown) else None


def _unwelcome(trouble: Trouble, url: str, token_kind: TokenKind, whence: str) -> InputError:
    """The error of a 401, by what the server says about the token; ends with where that came from."""
    said, remedy = trouble.detail.lower(), f"{_NEW_TOKEN}."
    if token_kind == "legacy":
        if "disabled" in said:
            remedy = (
                "Use a personal access token, or have an owner switch legacy tokens on (Organization > API Tokens)."
            )
            return InputError(f"legacy tokens are switched off there (401){whence}", subject=url, remedy=remedy)
        return InputError(f"does not know this legacy token (401){whence}", subject=url, remedy=remedy)
    if "expired" in said:
        return InputError(f"this personal access token has expired (401){whence}", subject=url, remedy=remedy)
    if "blacklisted" in said:
        return InputError(f"this personal access token was revoked (401){whence}", subject=url, remedy=remedy)
    if "wrong type" in said:
        return InputError(
            f"this is a short-lived access token, not a personal one (401){whence}", subject=url, remedy=remedy
        )
    return InputError(f"does not accept this personal access token (401){whence}", subject=url, remedy=remedy)


def _detail(body: Any) -> str:
    """What an error's body says, on one line; nothing of a page for a browser."""
    if isinstance(body, str | bytes):
        try:
            body = json.loads(body)
        except ValueError:
            text = body if isinstance(body, str) else body.decode("utf-8", "replace")
            return "" if "<" in text else _one_line(text)
    if isinstance(body, Mapping):
        record = cast("Mapping[str, Any]", body)
        known = [record[name] for name in ("detail", "validation_errors", "error", "message") if record.get(name)]
        return _one_line(": ".join(str(part) for part in known) or str(dict(record)))
    return _one_line(str(body)) if body else ""


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait, of a number or a date."""
    if value is None:
        return None
    if re.fullmatch(r"\s*\d{1,9}(\.\d+)?\s*", value):
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
