"""Options of ``autolabel route``: what to accept, what to draw as proof, what people should see."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli_options import Json, ManifestArgument, Overwrite, commands, example
from pipelines.console import run_job

app = commands()


@app.command(
    epilog=example(
        "autolabel route scored.m --max-bad 0.02 --confidence 0.95 --budget 800 --out routing",
        "autolabel route scored.m --max-bad 0.02 --budget 1500 --checked development.m --truth answers.m \\",
        "  --plants 100 --blind 40 --whole-images 60 --out routing",
    )
)
def route(
    manifest: ManifestArgument,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Routing folder to write.")],
    max_bad: Annotated[float, typer.Option(metavar="A", help="Largest share of bad poses among the accepted.")],
    budget: Annotated[int, typer.Option(metavar="N", help="Tasks people will open, audits and all others included.")],
    confidence: Annotated[float, typer.Option(metavar="C", help="Of the promise.")] = 0.95,
    audit: Annotated[bool, typer.Option(help="Draw the audit now; without it nothing can be certified.")] = True,
    random_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the review budget drawn at random, to measure by.")
    ] = 0.0,
    portions: Annotated[
        str, typer.Option(metavar="NAME=SHARE,...", help="How these are dealt: development, calibration and gate.")
    ] = "development=0.25,calibration=0.5,gate=0.25",
    order: Annotated[
        str, typer.Option(metavar="NAME", help="What is reviewed first: doubt, random, clean or learn.")
    ] = "doubt",
    images: Annotated[
        str, typer.Option(metavar="POLICY", help="Which images will be exported: complete or all.")
    ] = "complete",
    checked: Annotated[
        Path | None, typer.Option(metavar="M", help="Scored poses with known truth, which nothing was fitted on.")
    ] = None,
    truth: Annotated[Path | None, typer.Option(metavar="M", help="The truth of --checked.")] = None,
    plants: Annotated[int, typer.Option(min=0, metavar="N", help="Known errors to plant, from --checked.")] = 0,
    blind: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Audited poses to place blind too; with decoys 2 N tasks."),
    ] = 0,
    keypoints: Annotated[
        int, typer.Option(min=0, metavar="N", help="Untouched keypoints of reviewed poses to draw.")
    ] = 0,
    whole_images: Annotated[int, typer.Option(min=0, metavar="N", help="Complete images to draw.")] = 0,
    max_gross: Annotated[
        float, typer.Option(min=0, max=1, metavar="A", help="Gross share to expect of keypoints not asked about.")
    ] = 0.01,
    attempts: Annotated[
        int, typer.Option(min=1, metavar="N", help="Audits that share the confidence, decided before the first.")
    ] = 1,
    after: Annotated[Path | None, typer.Option(metavar="DIR", help="The routing whose audit failed.")] = None,
    history: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON lines of past rounds, to forecast this one.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Propose what to accept, draw its proof, queue the rest for review."""
    from pipelines.route import route as run

    run_job(
        lambda progress: run(
            manifest,
            out=out,
            max_bad=max_bad,
            confidence=confidence,
            budget=budget,
            audit=audit,
            random_share=random_share,
            portions=portions,
            order=order,
            images=images,
            checked=checked,
            truth=truth,
            plants=plants,
            blind=blind,
            keypoints=keypoints,
            whole_images=whole_images,
            max_gross=max_gross,
            attempts=attempts,
            after=after,
            history=history,
            seed=seed,
            overwrite=overwrite,
            progress=progress,
        ),
        as_json=as_json,
    )
