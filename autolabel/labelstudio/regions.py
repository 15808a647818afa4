"""The regions and choices of one answer, kept as the JSON text that they came as.

A journal of a large project holds many thousand answers at once, and of each a reader wants the regions for a moment
only. As Python objects they take several times the memory of their text, so :class:`Regions` keeps the text and reads
it whenever it is looked at.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload


class Regions(Sequence[Any]):
    """A read-only sequence of JSON values; every look at it makes new ones.

    Whoever looks several times had better make a list of it first.

    Args:
        values: What it holds; anything that JSON can tell.
    """

    __slots__ = ("_text",)

    def __init__(self, values: Iterable[Any] = ()) -> None:
        self._text = json.dumps(list(values), separators=(",", ":")).encode()

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """One value, or a list of some."""
        return self._values()[index]

    def __iter__(self) -> Iterator[Any]:
        """The values in their order."""
        return iter(self._values())

    def __len__(self) -> int:
        """How many values there are."""
        return len(self._values())

    def __eq__(self, other: object) -> bool:
        """Whether another sequence, of any kind, holds equal values in the same order."""
        if isinstance(other, Regions) and self._text == other._text:
            return True
        return isinstance(other, Sequence) and self._values() == list(other)  # pyright: ignore[reportUnknownArgumentType]

    __hash__ = None  # type: ignore[assignment]  # JSON objects have none either

    def __repr__(self) -> str:
        """As its values are written."""
        return f"Regions({self._values()!r})"

    def _values(self) -> list[Any]:
        return json.loads(self._text)
