"""How a project reaches its Label Studio: address and token, and the settings that are written back.

The address stands in ``autolabel.toml``. The token is a secret and never does: it is the environment variable
``LABEL_STUDIO_API_KEY``, else the file ``labelstudio/token`` of the project, which only its owner may read. No error,
log or ``repr`` shows it.
"""

import os
import re
import stat
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autolabel.errors import ConfigError, InputError
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.manifest import make_folder
from autolabel.project import FILE, LabelStudio, read_project, toml_value
from autolabel.writing import naming

VARIABLE = "LABEL_STUDIO_API_KEY"
_SECTION = "labelstudio"
_GET_ONE = "In Label Studio: Account & Settings > Personal Access Token"


@dataclass(frozen=True)
class Access:
    """Address and token of a server.

    Attributes:
        url: Its address, without a slash at the end.
        token: A legacy token or a personal access token; never shown.
        origin: Where the token came from, for errors: the environment variable's name or the file; empty where nobody
            knows.
    """

    url: str
    token: str = field(repr=False)
    origin: str = field(default="", compare=False)


def token_file(project: str | Path) -> Path:
    """Where a project keeps its token."""
    return ReviewFolder.of(project).path / "token"


def read_access(project: str | Path) -> Access | None:
    """How a project reaches its server; None where it has no ``[labelstudio] url``.

    Raises:
        ConfigError: There is no project, or a setting is impossible.
        InputError: There is no token, it is no token, or others may read its file.
    """
    url = read_project(project).labelstudio.url
    return Access(url, *_token(project)) if url else None


def save_token(project: str | Path, token: str) -> Path:
    """Write a project's token into a file that only its owner can read, at every moment; gives the file.

    Raises:
        InputError: It is no token, or the file cannot be written.
    """
    path = token_file(project)
    token = _checked(token, str(path))
    make_folder(path.parent)
    # A new file beside it, so that a reader finds the old token or the new one, and no old file's mode is inherited.
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(f"{token}\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", subject=str(path)) from error
    return path


def write_settings(project: str | Path, /, **values: Any) -> None:
    """Set keys of ``[labelstudio]`` in ``autolabel.toml``; every other byte of the file stays as it is.

    Args:
        project: The project folder.
        values: New values by key. A key that is commented out, as ``autolabel init`` writes it, takes the comment's
            place; what stands behind the value on its line stays.

    Raises:
        ConfigError: There is no project, it is not TOML, or a value is impossible; the file stays as it was.
    """
    path = (Path(project) / FILE).resolve()
    LabelStudio.parse({**read_project(project).labelstudio.model_dump(), **values}, subject=str(path))
    standing = text = path.read_bytes().decode("utf-8")
    for key, value in values.items():
        text = _with_setting(text, key, toml_value(value))
    if _parsed(text) != _with_values(_parsed(standing), values):
        raise ConfigError(
            f"[{_SECTION}] is written in a way that cannot be edited",
            subject=str(path),
            remedy=f"Set it by hand: {', '.join(f'{key} = {toml_value(value)}' for key, value in values.items())}.",
        )
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    with naming(path):
        new.write_bytes(text.encode("utf-8"))
    new.chmod(stat.S_IMODE(path.stat().st_mode))
    new.replace(path)


def _token(project: str | Path) -> tuple[str, str]:
    """A project's token, and where it came from."""
    if given := os.environ.get(VARIABLE, "").strip():
        return _checked(given, VARIABLE), f"the environment variable {VARIABLE}"
    path = token_file(project)
    try:
        with path.open(encoding="ascii") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_IMODE(mode) & 0o077:
                raise InputError("others can read this token", subject=str(path), remedy=f"Run `chmod 600 {path}`.")
            return _checked(file.read(), str(path)), str(path)
    except FileNotFoundError:
        raise InputError(
            "there is no token for Label Studio",
            subject=str(path),
            remedy=f"{_GET_ONE}; put it into {VARIABLE}, or into this file with mode 600.",
        ) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", subject=str(path)) from error
    except UnicodeDecodeError:
        # The message of the decoder's own error would show the file's bytes.
        raise InputError("is no token: it holds more than ASCII", subject=str(path), remedy=_GET_ONE) from None


def _checked(token: str, where: str) -> str:
    token = token.strip()
    if not re.fullmatch(r"[A-Za-z0-9._~+/=-]{8,}", token):
        raise InputError("is no token of Label Studio", subject=where, remedy=f"{_GET_ONE}; copy it alone and whole.")
    return token


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _with_values(content: dict[str, Any] | None, values: dict[str, Any]) -> dict[str, Any]:
    """What the file has to say when its values are set."""
    content = content or {}
    return {**content, _SECTION: {**content.get(_SECTION, {}), **values}}


def _with_setting(text: str, key: str, value: str) -> str:
    """The file's text with one key set: in its place, in its comment's place, or below the section's heading."""
    heading = re.search(rf"^[ \t]*\[[ \t]*{_SECTION}[ \t]*\][^\n]*(\n|\Z)", text, re.M)
    newline = "\r\n" if "\r\n" in text else "\n"
    if heading is None:
        gap = "" if not text or text.endswith("\n") else newline
        return f"{text}{gap}{newline}[{_SECTION}]{newline}{key} = {value}{newline}"
    if not heading.group().endswith("\n"):
        return f"{text}{newline}{key} = {value}{newline}"
    end = re.compile(r"^[ \t]*\[", re.M).search(text, heading.end())
    section = text[heading.end() : end.start() if end else len(text)]
    line = _line_of(section, key)
    if line is None:
        return f"{text[: heading.end()]}{key} = {value}{newline}{text[heading.end() :]}"
    start, stop = (heading.end() + place for place in line)
    return f"{text[:start]}{key} = {value}{text[stop:]}"


def _line_of(section: str, key: str) -> tuple[int, int] | None:
    """Where ``key = value`` stands in a section, without what follows it; a standing one before a commented one."""
    a_value = r"""(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^\s#"'\[{]+)"""
    for comment in ("", r"#[ \t]*"):
        if found := re.search(rf"^[ \t]*({comment}{key}[ \t]*=[ \t]*{a_value})(?=[ \t]*(#|\r?$))", section, re.M):
            return found.span(1)
    return None
