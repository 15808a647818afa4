"""Options of the commands that run everything: the demo, the loop, the report."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli_options import Json, Overwrite, commands, example
from pipelines.console import run_job
from pipelines.demo_size import Size

app = commands()
loop = typer.Typer(
    name="loop", no_args_is_help=True, rich_markup_mode=None, help="Rounds of review and fine-tuning, and an audit."
)
app.add_typer(loop)

ProjectArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Project folder.")]


@app.command(epilog=example("autolabel demo --out demo", "autolabel demo --size full --out demo-full"))
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Project folder to make.")] = Path("demo"),
    rounds: Annotated[int, typer.Option(min=1, metavar="N", help="Rounds of review before the audit.")] = 2,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the drawings and all draws.")] = 0,
    size: Annotated[
        Size,
        typer.Option(
            help="quick learns from 300 people and promises at most 15 % bad, in minutes; full learns from 10,000 and "
            "promises 2 %, in an hour on two CPU cores."
        ),
    ] = Size.QUICK,
    as_json: Json = False,
) -> None:
    """The whole loop on drawn people with a simulated reviewer; needs no internet."""
    from pipelines.demo import demo as run

    run_job(
        lambda progress: run(out=out, rounds=rounds, seed=seed, size=size, progress=progress),
        as_json=as_json,
        show=lambda result: result.table(),
    )


@loop.command("run", epilog=example("autolabel loop run project", "autolabel loop run project --wait --poll 300"))
def loop_run(
    directory: ProjectArgument = Path(),
    wait: Annotated[
        bool, typer.Option("--wait", help="Fetch answers every so often and go on, instead of returning.")
    ] = False,
    poll: Annotated[
        float, typer.Option(metavar="SECONDS", help="With --wait, seconds between two looks at the server.")
    ] = 60.0,
    as_json: Json = False,
) -> None:
    """Go on with the loop until it is done, or waits for reviewers; says which."""
    from pipelines.loop import run

    run_job(lambda progress: run(directory, wait=wait, poll=poll, progress=progress), as_json=as_json)


@loop.command("status", epilog=example("autolabel loop status project"))
def loop_status(directory: ProjectArgument = Path(), as_json: Json = False) -> None:
    """Where the loop stands, step by step: what waits for whom, what it cost, what comes next; changes nothing."""
    from pipelines.loop import status as run

    run_job(lambda _: run(directory), as_json=as_json, show=lambda result: result.table())


@loop.command("report", epilog=example("autolabel loop report project"))
def loop_report(directory: ProjectArgument = Path(), as_json: Json = False) -> None:
    """Write the report.html of the project and of every round again, from what is on disk."""
    from pipelines.loop import report as run

    run_job(lambda progress: run(directory, progress=progress), as_json=as_json)


@app.command(epilog=example("autolabel report project", "autolabel report poses.m --out poses.html"))
def report(
    source: Annotated[Path, typer.Argument(metavar="M|ROUND", help="Manifest, project, or one of its rounds.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="HTML file; in the source's folder if left out.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """One self-contained HTML file: rounds, curves, and galleries of poses."""
    from pipelines.report import report as run

    run_job(lambda progress: run(source, out=out, overwrite=overwrite, progress=progress), as_json=as_json)
