"""Options of the commands that doubt what is there: labels and predictions, before anybody reviews them."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli_options import Json, ManifestArgument, Overwrite, commands, example
from pipelines.console import run_job

app = commands()


@app.command(
    epilog=example(
        "autolabel lint predicted.m",
        "autolabel lint labels.m --against predicted.m --mirrored repair --out linted.m",
    )
)
def lint(
    manifest: ManifestArgument,
    against: Annotated[
        Path | None, typer.Option(metavar="M2", help="Second opinion: predictions of the same people, by other eyes.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="M", help="Manifest to write, with the findings; without it none is.")
    ] = None,
    mirrored: Annotated[
        str, typer.Option(metavar="POLICY", help="What becomes of mirrored poses: keep or repair.")
    ] = "keep",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Look for faults: sides changed, a neighbour's joints, bones too long, joints in one place, nobody in the box."""
    from pipelines.lint import lint as run

    run_job(
        lambda progress: run(
            manifest,
            against=against,
            out=out,
            mirrored=mirrored,
            overwrite=overwrite,
            progress=progress,
        ),
        as_json=as_json,
        show=lambda result: result.table(),
    )
