"""Options of ``autolabel pretrain``."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli_options import Json, Overwrite, commands, example
from pipelines.console import run_job

app = commands()


@app.command(
    epilog=example(
        "autolabel pretrain --config pretrain.toml --out encoder",
        "autolabel pretrain --config pretrain.toml --out encoder --processes 8",
    )
)
def pretrain(
    config: Annotated[Path, typer.Option(metavar="T.toml", help="Images, network and recipe.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Encoder folder to write.")],
    resume: Annotated[bool, typer.Option("--resume", help="Only go on with a stopped run, never start one.")] = False,
    processes: Annotated[
        int, typer.Option(min=1, metavar="N", help="Processes on this machine that share every batch: one a GPU.")
    ] = 1,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Pre-train an encoder on unlabelled images; train starts from it."""
    from pipelines.pretrain import pretrain as run

    run_job(
        lambda progress: run(
            config=config, out=out, resume=resume, processes=processes, overwrite=overwrite, progress=progress
        ),
        as_json=as_json,
    )
