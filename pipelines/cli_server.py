"""Options of the commands about the Label Studio server itself."""

from pathlib import Path
from typing import Annotated

import typer

from autolabel.progress import Progress
from pipelines.cli_options import Json, commands, example
from pipelines.console import run_job

app = commands()


@app.command(
    name="review-server",
    epilog=example(
        "autolabel review-server up --project project",
        "autolabel review-server status --project project",
        "autolabel review-server down --project project",
    ),
)
def review_server(
    action: Annotated[str, typer.Argument(metavar="up|down|status", help="Start, stop, or say how it stands.")],
    project: Annotated[Path, typer.Option(metavar="P", help="Project folder.")] = Path(),
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="0: that of the last time, or any free one.")
    ] = 0,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Server's folder; by default P/labelstudio/server.")
    ] = None,
    as_json: Json = False,
) -> None:
    """A Label Studio on this machine for people who have none: installed once, its data kept."""
    from pipelines.review_server import review_server as run

    run_job(lambda progress: run(action, project=project, port=port, data=data, progress=progress), as_json=as_json)


@app.command(epilog=example("autolabel doctor --project project"))
def doctor(
    project: Annotated[Path, typer.Option(metavar="P", help="Project folder, whose settings name the server.")],
    as_json: Json = False,
) -> None:
    """Send golden poses through your own Label Studio and back; exit code 1 if anything is lost."""
    from pipelines.doctor import DoctorResult
    from pipelines.doctor import doctor as run

    found: list[DoctorResult] = []

    def work(progress: Progress) -> DoctorResult:
        found.append(run(project=project, progress=progress))
        return found[0]

    run_job(work, as_json=as_json, show=lambda result: result.table())
    if not found[0].sound:
        raise typer.Exit(1)
