"""A report's page: what it says, and the HTML that says it.

The page needs nothing but itself: styles are inline, pictures are data URIs, and its own content security
policy forbids everything else. Every text is escaped, because names of files, people and keypoints come from
outside.
"""

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from autolabel.report.gallery import Shelf
from autolabel.report.plots import Plot

TEMPLATE = "template.html.j2"


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
class Page:
    """All that a report says, from top to bottom."""

    title: str
    subtitle: str
    verdict: Verdict | None
    tiles: tuple[Tile, ...]
    tables: tuple[Table, ...]
    bars: tuple[Bars, ...]
    plots: tuple[Plot, ...]
    shelves: tuple[Shelf, ...]
    facts: tuple[tuple[str, str], ...]


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
    return environment.get_template(TEMPLATE).render(page=page, data_uri=_data_uri)


def _data_uri(data: bytes, mime: str) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"
