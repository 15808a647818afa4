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


@app.command(
    epilog=example(
        "autolabel serve --project project --register",
        "autolabel serve --project project --weights weights/starter --port 9091",
    )
)
def serve(
    project: Annotated[Path, typer.Option(metavar="P", help="Project folder with smart = true in its settings.")],
    weights: Annotated[
        str | None, typer.Option(metavar="W", help="Network; by default the one that the project labels with.")
    ] = None,
    host: Annotated[str, typer.Option(metavar="HOST", help="Where to listen: this machine alone by default.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="0 takes any free one.")] = 9090,
    register: Annotated[bool, typer.Option("--register", help="Tell the project on its server of it.")] = False,
    address: Annotated[
        str | None, typer.Option(metavar="URL", help="How the server reaches it; by default where it listens.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where the network computes.")] = "auto",
    as_json: Json = False,
) -> None:
    """Give everybody whom an annotator boxes a pose at once; runs until it is stopped."""
    from pipelines.serve import serve as run

    run_job(
        lambda progress: run(
            project=project,
            weights=weights,
            host=host,
            port=port,
            register=register,
            address=address,
            device=device,
            progress=progress,
        ),
        as_json=as_json,
    )
