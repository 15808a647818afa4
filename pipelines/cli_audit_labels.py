"""Options of the command that looks for errors in human labels."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli_options import Json, ManifestArgument, Overwrite, commands, example
from pipelines.console import run_job

app = commands()


@app.command(
    epilog=example(
        "autolabel audit-labels labelled.m --weights usyd-community/vitpose-base --out suspects",
        "autolabel audit-labels labelled.m --config train.toml --folds 5 --out suspects",
    )
)
def audit_labels(
    manifest: ManifestArgument,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="W",
            help="A network that never saw these labels, as of `predict`. Repeatable: a label is then suspected where "
            "all of them disagree with it. Default: the starter network, if the package carries one.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="T.toml", help="With --folds: trains on M; a network is trained for each fold."),
    ] = None,
    folds: Annotated[
        int, typer.Option(min=0, metavar="N", help="With --config: cut M into N parts, none of them seen by its judge.")
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for the lists and the gallery. Default: NAME.labels here."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the cut into folds.")] = 0,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(metavar="NAME", help="auto, fp32, bf16 or fp16.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="People a batch.")] = 32,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Suspected errors in human labels, best first; resumes where it was stopped."""
    from pipelines.audit_labels import audit_labels as run

    run_job(
        lambda progress: run(
            manifest,
            weights=weights,
            config=config,
            folds=folds,
            out=out,
            seed=seed,
            device=device,
            precision=precision,
            batch_size=batch_size,
            overwrite=overwrite,
            progress=progress,
        ),
        as_json=as_json,
        show=lambda result: result.table(),
    )
