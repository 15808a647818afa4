"""Measured tables in the pages of ``docs/``, between a pair of comments each: no figure is typed by hand."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def fill(page: str, made: Mapping[str, str]) -> str:
    """A page with sections between their markers, ``<!-- table NAME -->`` and ``<!-- end NAME -->``, or a bare end.

    Raises:
        ValueError: The page lacks a marker.
    """
    for name, text in made.items():
        marks = re.compile(rf"(<!-- table {re.escape(name)} -->\n).*?(<!-- end(?: {re.escape(name)})? -->)", re.S)
        if not marks.search(page):
            raise ValueError(f"no <!-- table {name} --> ... <!-- end --> in the page")
        page = marks.sub(lambda found, text=text: f"{found[1]}{text.strip()}\n{found[2]}", page)
    return page


def write_section(page: Path, name: str, text: str) -> None:
    """Put one section into a page's file."""
    page.write_text(fill(page.read_text(encoding="utf-8"), {name: text}), encoding="utf-8")


def markdown(lines: Sequence[Sequence[str]], *, names: int = 2) -> str:
    """A table; the first line is the head, the first ``names`` columns are words."""
    head, *rows = ["| " + " | ".join(line) + " |" for line in lines]
    rule = "|" + "|".join("---" if i < names else "--:" for i in range(len(lines[0]))) + "|"
    return "\n".join([head, rule, *rows])
