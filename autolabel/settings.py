"""Strict, frozen settings: a misspelt key is an error that names the nearest known one."""

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from autolabel.errors import ConfigError


class Settings(BaseModel):
    """Base of every configuration: unknown keys are refused, values do not change after construction."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def parse(cls, data: Mapping[str, Any], *, subject: str) -> Self:
        """Check plain values.

        Args:
            data: What a file or a caller gave.
            subject: What errors call it.

        Raises:
            ConfigError: A key is unknown or a value impossible; the message names both.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise _explain(cls, error, subject) from error

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a TOML file.

        Raises:
            ConfigError: There is no such file, it is not TOML, or its content is refused.
        """
        path = Path(path)
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ConfigError("there is no such file", subject=str(path)) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"is not TOML: {error}", subject=str(path)) from error
        return cls.parse(data, subject=str(path))


def _explain(cls: type[Settings], error: ValidationError, subject: str) -> ConfigError:
    first = error.errors(include_url=False)[0]
    place = ".".join(str(step) for step in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _known_keys(cls, first["loc"][:-1])
        close = get_close_matches(str(first["loc"][-1]), known, n=1)
        remedy = f"Did you mean {close[0]!r}?" if close else f"Known keys: {', '.join(known)}."
        return ConfigError(f"unknown key {place!r}", subject=subject, remedy=remedy)
    return ConfigError(f"{place}: {first['msg'].removeprefix('Value error, ')}", subject=subject)


def _known_keys(cls: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    for step in path:
        field = cls.model_fields.get(str(step))
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        cls = inner
    return list(cls.model_fields)
