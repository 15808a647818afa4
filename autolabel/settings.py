"""Strict, frozen settings: a misspelt key is an error that names the nearest known one."""

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self, cast

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from autolabel.errors import ConfigError


class Settings(BaseModel):
    """Base of every configuration: unknown keys are refused, values do not change after construction."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys_only(cls, values: Any) -> Any:
        """Refuse an unknown key before pydantic does: its own message names no nearest key."""
        known = list(cls.model_fields)
        for key in cast("Mapping[Any, Any]", values) if isinstance(values, Mapping) else ():
            if key not in known:
                close = get_close_matches(str(key), known, n=1, cutoff=0.5)
                nearest = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
                raise ValueError(f"unknown key {key!r}; {nearest}")
        return cast("Any", values)

    @classmethod
    def parse(cls, data: Mapping[str, Any], *, subject: str) -> Self:
        """Check plain values.

        Args:
            data: What a file or a caller gave; fields left out take their defaults.
            subject: What errors call it, such as the file.

        Raises:
            ConfigError: A key is unknown or a value impossible; says which, and what was given.
        """
        try:
            return cls.model_validate(dict(data))
        except ValidationError as error:
            raise ConfigError(_explained(error), subject=subject) from error

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a TOML file.

        Raises:
            ConfigError: The file cannot be read, is not TOML, or its content is refused.
        """
        path = Path(path)
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"cannot be read: {error.strerror}", subject=str(path)) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"is not TOML: {error}", subject=str(path)) from error
        return cls.parse(data, subject=str(path))


def _explained(error: ValidationError) -> str:
    """The first of pydantic's complaints: where, what, and the value where that helps."""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(step) for step in first["loc"])
    reason = first["msg"].removeprefix("Value error, ")
    # Our own messages name what they are about, and a missing key has no value.
    given = "" if first["type"] in ("value_error", "missing") else f", not {first['input']!r}"
    return f"{place}: {reason}{given}" if place else reason
