"""Options of ``autolabel curate``."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli_options import Json, Overwrite, commands, example
from pipelines.console import run_job

app = commands()


@app.command(
    epilog=example(
        "autolabel curate scored.m --routing routing --app",
        "autolabel curate scored.m --where 'p_bad > 0.3 and state == \"open\"' --sheet sheet",
        "autolabel curate scored.m --pull --out curated",
        "autolabel merge scored.m curated --out merged.m",
        "autolabel push curated/review --project project",
    )
)
def curate(
    manifest: Annotated[Path | None, typer.Argument(metavar="M", help="Manifest folder.")] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the data set. Default: of the project, or of M.")
    ] = None,
    where: Annotated[
        str | None, typer.Option(metavar="EXPR", help="Only images with such a pose, as: p_bad > 0.3 and swap")
    ] = None,
    truth: Annotated[Path | None, typer.Option(metavar="M", help="True poses of the same images.")] = None,
    previous: Annotated[Path | None, typer.Option(metavar="M", help="What the model before said of them.")] = None,
    student: Annotated[Path | None, typer.Option(metavar="M", help="What the student says of them.")] = None,
    routing: Annotated[Path | None, typer.Option(metavar="DIR", help="Routing folder: where poses go.")] = None,
    suspects: Annotated[
        Path | None, typer.Option(metavar="DIR|FILE", help="Suspected labels, as audit-labels wrote them.")
    ] = None,
    split: Annotated[str | None, typer.Option(metavar="SHARES", help="Such as train=0.8,val=0.2.")] = None,
    sheet: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Make a contact sheet too; its crops go here.")
    ] = None,
    brain: Annotated[
        bool, typer.Option("--brain", help="A map of the people, similar people, unique images, by embeddings.")
    ] = False,
    app: Annotated[bool, typer.Option("--app", help="Then show it in FiftyOne's App, until Ctrl-C.")] = False,
    port: Annotated[int, typer.Option(metavar="N", help="Of the App.")] = 5151,
    pull: Annotated[bool, typer.Option("--pull", help="Bring home what was tagged and edited there.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="M", help="With --pull: manifest of corrections to write.")
    ] = None,
    by: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --pull: who tagged. Default: this machine's user.")
    ] = None,
    install_plugin: Annotated[
        bool, typer.Option("--install-plugin", help="Install our operators and panel into FiftyOne.")
    ] = False,
    stop_database: Annotated[
        bool, typer.Option("--stop-database", help="Stop the database that this command started.")
    ] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """See a manifest in FiftyOne, with skeletons, doubt and views; and bring back what is decided there."""
    from pipelines.curate import curate as run

    run_job(
        lambda progress: run(
            manifest,
            name=name,
            where=where,
            truth=truth,
            previous=previous,
            student=student,
            routing=routing,
            suspects=suspects,
            split=split,
            sheet=sheet,
            brain=brain,
            app=app,
            port=port,
            pull=pull,
            out=out,
            by=by,
            install_plugin=install_plugin,
            stop_database=stop_database,
            overwrite=overwrite,
            progress=progress,
        ),
        as_json=as_json,
    )
