"""Options of the commands that measure."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli_options import Json, ManifestArgument, Overwrite, commands, example
from pipelines.console import run_job

app = commands()


@app.command(
    epilog=example(
        "autolabel evaluate predicted.m --truth annotations.json --out quality",
        "autolabel evaluate new.m --truth annotations.json --against old.m --out quality",
    )
)
def evaluate(
    manifest: ManifestArgument,
    truth: Annotated[Path, typer.Option(metavar="M|FILE", help="True poses: a manifest, or a COCO file.")],
    against: Annotated[
        Path | None, typer.Option(metavar="M", help="Another manifest of the same images, to compare with.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for metrics.json and the plots.")] = None,
    bootstrap: Annotated[
        int, typer.Option(metavar="N", help="Resamples of images for the 95 % intervals; 0 for none.")
    ] = 1000,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the resamples.")] = 0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Measure poses against the truth: OKS AP and AR, PCK, PCKh, errors, gross and bad rates, kinds of error."""
    from pipelines.evaluate import evaluate as run

    run_job(
        lambda progress: run(
            manifest,
            truth=truth,
            against=against,
            out=out,
            bootstrap=bootstrap,
            seed=seed,
            overwrite=overwrite,
            progress=progress,
        ),
        as_json=as_json,
        show=lambda result: result.table(),
    )


@app.command(
    epilog=example(
        "autolabel bench --out bench",
        "autolabel bench photos.m --weights checkpoint --seconds 60 --out bench",
        "autolabel bench --size b --device cuda --no-references --out bench",
    )
)
def bench(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for bench.json and bench.txt.")],
    source: Annotated[
        Path | None, typer.Argument(metavar="M", help="Manifest with boxes. Default: drawn images of 640x480.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="W", help="Network to time. Default: one of --size that was never trained.")
    ] = None,
    size: Annotated[str, typer.Option(metavar="ti|s|b|l|h", help="Of the network, without --weights.")] = "s",
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(metavar="NAME", help="auto, fp32, bf16 or fp16.")] = "auto",
    backend: Annotated[str, typer.Option(metavar="NAME", help="auto, torch, compiled or openvino.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="People a batch.")] = 32,
    references: Annotated[
        bool, typer.Option(help="Time what one would run instead, too: Hugging Face's pipeline, ONNX Runtime.")
    ] = True,
    seconds: Annotated[float, typer.Option(min=0, metavar="S", help="For each way.")] = 20.0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """How many people a second this machine labels, beside the references and what bounds it."""
    from pipelines.bench import bench as run

    run_job(
        lambda progress: run(
            source,
            weights=weights,
            size=size,
            out=out,
            device=device,
            precision=precision,
            backend=backend,
            batch_size=batch_size,
            references=references,
            seconds=seconds,
            overwrite=overwrite,
            progress=progress,
        ),
        as_json=as_json,
        show=lambda result: result.table(),
    )
