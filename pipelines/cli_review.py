"""Options of the commands between a prediction and a certificate: doubt, routing, review."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli_options import Json, ManifestArgument, OutManifest, Overwrite, commands, example
from pipelines.console import run_job

app = commands()

RoutingArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Routing folder.")]
QueueArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="Routing folder; or a manifest, to have every pose of it reviewed.")
]
AgainstOption = Annotated[
    Path | None, typer.Option(metavar="M", help="The same images by another network: disagreement is doubt.")
]
ProjectOption = Annotated[Path, typer.Option(metavar="P", help="Project folder.")]


@app.command(
    epilog=example(
        "autolabel score poses.m --calibrator calibrator.json --out scored.m",
        "autolabel score teacher.m --against student.m --out scored.m",
    )
)
def score(
    manifest: ManifestArgument,
    out: OutManifest,
    calibrator: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="From `autolabel calibrate`; without it a prior ranks. Repeatable, for a cascade's two networks.",
        ),
    ] = None,
    against: AgainstOption = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Use a calibrator that was fitted for something else; it only ranks then."),
    ] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """State how much each pose is to be doubted and why: p_gross a keypoint, p_bad a pose, pixels to expect."""
    from pipelines.score import score as run

    run_job(
        lambda progress: run(
            manifest,
            out=out,
            calibrator=calibrator,
            against=against,
            force=force,
            overwrite=overwrite,
            progress=progress,
        ),
        as_json=as_json,
    )


@app.command(
    epilog=example(
        "autolabel calibrate poses.m --truth checked.m --out calibrator.json",
        "autolabel calibrate poses.m --truth checked.m --weights checkpoint --out calibrator.json",
    )
)
def calibrate(
    manifest: ManifestArgument,
    truth: Annotated[Path, typer.Option(metavar="M", help="Checked poses of the same images.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Calibrator to write.")],
    weights: Annotated[
        str | None,
        typer.Option(metavar="W", help="The network that predicted: teach it a quality head, for `predict --quality`."),
    ] = None,
    dataset: Annotated[str | None, typer.Option(metavar="NAME", help="Expert and head of a ViTPose++.")] = None,
    against: AgainstOption = None,
    without: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Evidence to leave out; may be given several times.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="For the quality head: auto, cpu or cuda.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of the cross-fitting.")] = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Fit the score model on poses that people checked and no network was trained on."""
    from pipelines.calibrate import calibrate as run

    run_job(
        lambda progress: run(
            manifest,
            truth=truth,
            out=out,
            weights=weights,
            dataset=dataset,
            against=against,
            without=without,
            device=device,
            seed=seed,
            overwrite=overwrite,
            progress=progress,
        ),
        as_json=as_json,
        show=lambda result: result.told(),
    )


@app.command(
    epilog=example(
        "autolabel push routing --project project",
        "autolabel push photos.m --project project --whole-images",
    )
)
def push(
    directory: QueueArgument,
    project: ProjectOption,
    whole_images: Annotated[
        bool, typer.Option("--whole-images", help="Of a manifest, show its images: people box everybody there.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write what is queued as Label Studio tasks into P/labelstudio and bring them to P's server; repeatable."""
    from pipelines.push import push as run

    run_job(
        lambda progress: run(directory, project=project, whole_images=whole_images, progress=progress), as_json=as_json
    )


@app.command(epilog=example("autolabel pull --project project --out answers.m --overwrite"))
def pull(
    project: ProjectOption,
    out: OutManifest,
    full: Annotated[
        bool,
        typer.Option("--full", help="Read all on the server again, not only what changed since the last pull."),
    ] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Read what was answered, on the project's server and in P/labelstudio/exports, into a manifest; repeatable."""
    from pipelines.pull import pull as run

    run_job(
        lambda progress: run(project=project, out=out, full=full, overwrite=overwrite, progress=progress),
        as_json=as_json,
        show=lambda result: result.told(),
    )


@app.command(epilog=example("autolabel merge scored.m answers.m --out merged.m"))
def merge(
    base: Annotated[Path, typer.Argument(metavar="BASE", help="Manifest that was reviewed.")],
    corrections: Annotated[Path, typer.Argument(metavar="CORRECTIONS", help="What `autolabel pull` wrote.")],
    out: OutManifest,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Lay corrections over a manifest, human over model; what does not fit is listed."""
    from pipelines.merge import merge as run

    run_job(lambda progress: run(base, corrections, out=out, overwrite=overwrite, progress=progress), as_json=as_json)


@app.command(epilog=example("autolabel certify routing --audit answers.m --out certificate.json"))
def certify(
    directory: RoutingArgument,
    audit: Annotated[Path, typer.Option(metavar="M", help="What `autolabel pull` wrote: the audit's answers.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Certificate to write, issued or refused.")],
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """State what the audit proves about the accepted poses."""
    from pipelines.certify import certify as run

    run_job(
        lambda progress: run(directory, audit=audit, out=out, overwrite=overwrite, progress=progress),
        as_json=as_json,
    )
