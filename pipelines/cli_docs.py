"""Writes ``docs/cli.md`` from the commands themselves; with ``--check`` only says whether it is up to date.

``python -m pipelines.cli_docs [--check] docs/cli.md``
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import typer
from typer.core import TyperCommand, TyperGroup

from pipelines.cli import app

_COLUMNS = 100

_HEAD = """\
# Commands

<!-- Written by `make docs` from the commands themselves; edit those. -->

Each command is also a Python function: `autolabel some-name` is `some_name` of `pipelines/some_name.py`, and
its flags are the keyword arguments (`import` is `import_`). Progress and messages go to stderr, the result to
stdout. Exit code 0: done; 1: the work failed; 2: wrong usage or bad input; 130: interrupted by the user.
"""


def cli_markdown() -> str:
    """The page: the help of every command, as a terminal of 100 columns shows it."""
    root = typer.main.get_command(app)
    context = typer.Context(root, info_name="autolabel", terminal_width=_COLUMNS)
    return "\n".join([_HEAD, *_sections(context)])


def _sections(context: typer.Context) -> Iterator[str]:
    """One section for a command, then one for each command below it."""
    command = context.command
    yield f"## {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, TyperGroup):
        for name, below in command.commands.items():
            assert isinstance(below, TyperCommand | TyperGroup)
            yield from _sections(typer.Context(below, parent=context, info_name=name))


def main() -> None:
    """Write or check the page named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.cli_docs")
    parser.add_argument("page", type=Path)
    parser.add_argument("--check", action="store_true", help="only say whether the page is up to date")
    arguments = parser.parse_args()
    page: Path = arguments.page
    text = cli_markdown()
    if not arguments.check:
        page.write_text(text, encoding="utf-8")
    elif not page.is_file() or page.read_text(encoding="utf-8") != text:
        sys.exit(f"{page} is out of date: run `make docs`")


if __name__ == "__main__":
    main()
