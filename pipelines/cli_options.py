"""Options that several commands share, so that one flag means one thing everywhere."""

from pathlib import Path
from typing import Annotated

import typer

ManifestArgument = Annotated[Path, typer.Argument(metavar="M", help="Manifest folder.")]
OutManifest = Annotated[Path, typer.Option(metavar="M", help="Manifest folder to write.")]
Images = Annotated[Path, typer.Option(metavar="DIR", help="Folder of the images.")]
PartSize = Annotated[int, typer.Option(metavar="N", help="Images a part; a killed job loses at most one.")]
Recipe = Annotated[Path, typer.Option(metavar="T.toml", help="Data, network and recipe.")]
OutWeights = Annotated[Path, typer.Option(metavar="DIR", help="Folder of the weights to write.")]
Resume = Annotated[bool, typer.Option("--resume", help="Only go on with a stopped run, never start one.")]
Processes = Annotated[
    int, typer.Option(min=1, metavar="N", help="Processes on this machine that share every batch: one a GPU.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a result that stands already.")]
Json = Annotated[bool, typer.Option("--json", help="Print the summary as one JSON line, the last on stdout.")]


def commands() -> typer.Typer:
    """An empty list of commands, for one ``cli_*.py`` file to fill and ``cli.py`` to join to the others."""
    return typer.Typer(rich_markup_mode=None)


def example(*lines: str) -> str:
    """The epilog of a command's help: command lines to copy, kept as they are."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)
