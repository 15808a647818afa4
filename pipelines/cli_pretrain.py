"""Options of ``autolabel pretrain``."""

from pipelines.cli_options import Json, OutWeights, Overwrite, Processes, Recipe, Resume, commands, example
from pipelines.console import run_job

app = commands()


@app.command(
    epilog=example(
        "autolabel pretrain --config pretrain.toml --out encoder",
        "autolabel pretrain --config pretrain.toml --out encoder --processes 8",
    )
)
def pretrain(
    config: Recipe,
    out: OutWeights,
    resume: Resume = False,
    processes: Processes = 1,
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
