"""A report's page: what it says, and the HTML that says it.

The page needs nothing but itself: styles are inline, pictures are data URIs, and its own content security
policy forbids everything else. Every text is escaped, because names of files, people and keypoints come from
outside.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autolabel.report.gallery import Shelf
from autolabel.report.plots import Plot

TEMPLATE = "template.html.j2"

_LONGEST_NUMBER = 24
"""Characters; a longer cell is a sentence."""


@dataclass(frozen=True)
class Verdict:
    """The one sentence on top.

    Attributes:
        kind: Whether the promise is kept, refused, or still open.
        sentence: The promise, and whether it holds.
        reason: What that rests on.
    """

    kind: Literal["kept", "refused", "open"]
    sentence: str
    reason: str


@dataclass(frozen=True)
class Tile:
    """One number worth a large font."""

    label: str
    value: str
    note: str


@dataclass(frozen=True)
class Table:
    """A table; its first column heads the rows.

    Attributes:
        title: What it shows.
        caption: How to read it.
        columns: Headings, with their units.
        rows: As many cells as columns.
    """

    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def texts(self) -> frozenset[int]:
        """Columns of sentences rather than numbers: these are set flush left."""
        return frozenset(
            i for i in range(1, len(self.columns)) if any(len(row[i]) > _LONGEST_NUMBER for row in self.rows)
        )


@dataclass(frozen=True)
class Bars:
    """Rows of counts, each drawn as one bar in parts.

    Attributes:
        title: What it shows.
        caption: How to read it.
        kinds: (name, colour) of the parts.
        rows: (label, one count a kind).
    """

    title: str
    caption: str
    kinds: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Gaps:
    """What a reader may look for and not find, and why it is not there.

    Attributes:
        title: As a heading.
        caption: How to read it.
        gaps: (what is not told, the reason and what would change that).
    """

    title: str
    caption: str
    gaps: tuple[tuple[str, str], ...]


Block = Table | Bars | Plot | Shelf | Gaps


@dataclass(frozen=True)
class Chapter:
    """What a page says about one question.

    Attributes:
        title: The question's name, which the list of chapters on top shows; "" where the page has no others.
        lead: What the chapter answers, in a sentence or two.
        blocks: From top to bottom; a chapter without any is left out.
    """

    title: str
    lead: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Page:
    """All that a report says, from top to bottom."""

    title: str
    subtitle: str
    verdict: Verdict | None
    tiles: tuple[Tile, ...]
    chapters: tuple[Chapter, ...]
    facts: tuple[tuple[str, str], ...]

    @property
    def tables(self) -> tuple[Table, ...]:
        """The tables of all chapters."""
        return tuple(block for block in self._blocks() if isinstance(block, Table))

    @property
    def bars(self) -> tuple[Bars, ...]:
        """The bars of all chapters."""
        return tuple(block for block in self._blocks() if isinstance(block, Bars))

    @property
    def plots(self) -> tuple[Plot, ...]:
        """The figures of all chapters."""
        return tuple(block for block in self._blocks() if isinstance(block, Plot))

    @property
    def shelves(self) -> tuple[Shelf, ...]:
        """The galleries of all chapters."""
        return tuple(block for block in self._blocks() if isinstance(block, Shelf))

    def _blocks(self) -> Iterator[Block]:
        return (block for chapter in self.chapters for block in chapter.blocks)


def render(page: Page) -> str:
    """The page as HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE).render(page=page, data_uri=_data_uri, kind=_kind)


def _kind(block: Block) -> str:
    """Which of the template's forms a block has."""
    return type(block).__name__.lower()


def _data_uri(data: bytes, mime: str) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"
