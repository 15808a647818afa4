"""A value as JSON text, for every writer of one."""

import json
from typing import Any

from autolabel.errors import FormatError


def json_text(value: Any) -> str:
    """The value in one line of JSON, which can be written as UTF-8.

    Raises:
        FormatError: JSON cannot hold it: an attribute of another kind, NaN, half a surrogate pair.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError) as error:
        raise FormatError(f"an attribute cannot be written as JSON: {error}", record=ascii(value)[:80]) from error
    except RecursionError as error:
        raise FormatError("an attribute is nested too deeply to be written as JSON") from error
    return text
