"""Options of the commands that say who did what, and what changed: a keypoint's history, two versions, reviewers."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli_options import Json, ManifestArgument, Overwrite, commands, example
from pipelines.console import run_job

app = commands()


@app.command(epilog=example("autolabel blame merged.m 3f9c2a", "autolabel blame merged.m 3f9c2a --json"))
def blame(
    manifest: ManifestArgument,
    pose_id: Annotated[str, typer.Argument(metavar="POSE_ID", help="Id of a pose, or enough of its beginning.")],
    as_json: Json = False,
) -> None:
    """Say who or what placed each keypoint of a pose, when, how far it was moved, and who confirmed it."""
    from pipelines.blame import blame as run

    run_job(
        lambda progress: run(manifest, pose_id, progress=progress),
        as_json=as_json,
        show=lambda result: result.table(),
    )


@app.command(
    epilog=example("autolabel diff before.m project/dataset", "autolabel diff a.m b.m --out changes.jsonl --json")
)
def diff(
    first: Annotated[Path, typer.Argument(metavar="M1", help="Manifest folder of before.")],
    second: Annotated[Path, typer.Argument(metavar="M2", help="Manifest folder of now.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON-lines file to write: a line an image or pose that changed."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Say what changed between two manifests: images, poses, keypoints, states, who placed what."""
    from pipelines.diff import diff as run

    run_job(
        lambda progress: run(first, second, out=out, overwrite=overwrite, progress=progress),
        as_json=as_json,
        show=lambda result: result.table(),
    )


@app.command(epilog=example("autolabel reviewers --project project --out reviewers"))
def reviewers(
    project: Annotated[Path, typer.Option(metavar="P", help="Project folder.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the numbers, the plot and the sigmas.")],
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Measure the people who review: errors they find, what a pre-label persuades them of, how far they agree."""
    from pipelines.reviewers import reviewers as run

    run_job(
        lambda progress: run(project=project, out=out, overwrite=overwrite, progress=progress),
        as_json=as_json,
        show=lambda result: result.table(),
    )
