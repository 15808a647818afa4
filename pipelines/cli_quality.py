"""Options of the commands that measure."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli_options import Json, ManifestArgument, Overwrite, commands, example
from pipelines.console import run_job

app = commands()


@app.command(epilog=example("autolabel evaluate predicted.m --truth annotations.json --out quality"))
def evaluate(
    manifest: ManifestArgument,
    truth: Annotated[Path, typer.Option(metavar="M|FILE", help="True poses: a manifest, or a COCO file.")],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for metrics.json.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Measure poses against the truth: OKS AP and AR, PCK, gross and bad rates."""
    from pipelines.evaluate import evaluate as run

    run_job(
        lambda progress: run(manifest, truth=truth, out=out, overwrite=overwrite, progress=progress),
        as_json=as_json,
        show=lambda result: result.evaluation.table(),
    )
