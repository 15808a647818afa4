"""Options of the commands about a whole project."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli_options import Images, Json, commands, example
from pipelines.console import run_job

app = commands()


@app.command(epilog=example("autolabel init mice --images frames --skeleton mouse.json"))
def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the new project.")],
    images: Images,
    skeleton: Annotated[str, typer.Option(metavar="NAME|FILE", help="Built-in skeleton, or a skeleton file.")],
    as_json: Json = False,
) -> None:
    """Start a project: a commented autolabel.toml and the folders below it."""
    from pipelines.init import init as run

    run_job(lambda progress: run(directory, images=images, skeleton=skeleton), as_json=as_json)
