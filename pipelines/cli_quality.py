"""Options of the commands that measure."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli_options import Json, ManifestArgument, Overwrite, commands, example
from pipelines.console import run_job

app = commands()


@app.command(
    epilog=example(
        "autolabel evaluate predicted.m --truth annotations.json --out quality",
        "autolabel evaluate new.m --truth annotations.json --against old.m --out quality",
    )
)
def evaluate(
    manifest: ManifestArgument,
    truth: Annotated[Path, typer.Option(metavar="M|FILE", help="True poses: a manifest, or a COCO file.")],
    against: Annotated[
        Path | None, typer.Option(metavar="M", help="Another manifest of the same images, to compare with.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for metrics.json and the plots.")] = None,
    bootstrap: Annotated[
        int, typer.Option(metavar="N", help="Resamples of images for the 95 % intervals; 0 for none.")
    ] = 1000,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the resamples.")] = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Measure poses against the truth: OKS AP and AR, PCK, PCKh, errors, gross and bad rates, kinds of error."""
    from pipelines.evaluate import evaluate as run

    run_job(
        lambda progress: run(
            manifest,
            truth=truth,
            against=against,
            out=out,
            bootstrap=bootstrap,
            seed=seed,
            overwrite=overwrite,
            progress=progress,
        ),
        as_json=as_json,
        show=lambda result: result.table(),
    )
