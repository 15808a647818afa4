"""Options of the commands about weights themselves: what was released, conversion, verification."""

from pathlib import Path
from typing import Annotated

import typer

from autolabel.progress import Progress
from pipelines.cli_options import Json, Overwrite, example
from pipelines.console import run_job

app = typer.Typer(
    name="weights", no_args_is_help=True, rich_markup_mode=None, help="Released weights: list, convert, export, verify."
)

WeightsArgument = Annotated[
    str, typer.Argument(metavar="W", help="Checkpoint folder, Hugging Face folder or hub id, or .pth.")
]
Dataset = Annotated[str | None, typer.Option(metavar="NAME", help="Expert and head of a ViTPose++: coco, aic, ...")]


@app.command("list", epilog=example("autolabel weights list --dataset wholebody", "autolabel weights list --size b"))
def weights_list(
    dataset: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this dataset's keypoints.")] = None,
    size: Annotated[str | None, typer.Option(metavar="s|b|l|h", help="Only of this size.")] = None,
    layout: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only official, mmpose, easy_vitpose, huggingface or mae."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Every known release: size, dataset, input, decoder, reported figure, licence, where it lies."""
    from pipelines.weights import weights_list as run

    run_job(
        lambda progress: run(dataset=dataset, size=size, layout=layout, progress=progress),
        as_json=as_json,
        show=lambda result: result.table(),
    )


@app.command(
    "convert",
    epilog=example(
        "autolabel weights convert vitpose+_base.pth --out plus",
        "autolabel weights convert vitpose+_base.pth --dataset aic --to mmpose --out aic",
        "autolabel weights convert vitpose_base.pth --input-size 384x288 --out large",
        "autolabel weights convert coco.pth --merge aic=a.pth --merge mpii=b.pth --to official --out plus",
    ),
)
def weights_convert(
    weights: WeightsArgument,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write.")],
    dataset: Dataset = None,
    input_size: Annotated[
        str | None, typer.Option(metavar="HxW", help="Input size in pixels; positions are resampled.")
    ] = None,
    to: Annotated[
        str, typer.Option(metavar="LAYOUT", help="checkpoint, huggingface, official or mmpose.")
    ] = "checkpoint",
    merge: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]W", help="Another dataset's network, split from the same ViTPose++; may be repeated."
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write a network in another layout, split, merged or for another input size; exact where it can be."""
    from pipelines.weights import weights_convert as run

    run_job(
        lambda progress: run(
            weights,
            out=out,
            dataset=dataset,
            input_size=input_size,
            to=to,
            merge=merge,
            overwrite=overwrite,
            progress=progress,
        ),
        as_json=as_json,
    )


@app.command(
    "export",
    epilog=example(
        "autolabel weights export checkpoint --out onnx",
        "autolabel weights export checkpoint --to openvino --batch-size 32 --out openvino",
    ),
)
def weights_export(
    weights: WeightsArgument,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write.")],
    to: Annotated[str, typer.Option(metavar="FORMAT", help="onnx or openvino.")] = "onnx",
    dataset: Dataset = None,
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="Crops at a time, of OpenVINO's.")] = 1,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write a network for ONNX Runtime or OpenVINO; its answers there are compared with those here."""
    from pipelines.weights import weights_export as run

    run_job(
        lambda progress: run(
            weights,
            out=out,
            to=to,
            dataset=dataset,
            batch_size=batch_size,
            overwrite=overwrite,
            progress=progress,
        ),
        as_json=as_json,
    )


@app.command(
    "verify",
    epilog=example("autolabel weights verify usyd-community/vitpose-base --image val2017/000000000139.jpg"),
)
def weights_verify(
    weights: WeightsArgument,
    image: Annotated[Path, typer.Option(metavar="FILE", help="COCO's val2017/000000000139.jpg.")],
    dataset: Dataset = None,
    as_: Annotated[
        str | None, typer.Option("--as", metavar="ID", help="Release that it should be, as `weights list` calls it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare released weights with their published keypoints; exit code 1 if they differ."""
    from pipelines.weights import WeightsVerified
    from pipelines.weights import weights_verify as run

    found: list[WeightsVerified] = []

    def work(progress: Progress) -> WeightsVerified:
        found.append(run(weights, image=image, dataset=dataset, as_=as_, progress=progress))
        return found[0]

    run_job(work, as_json=as_json, show=lambda result: result.table())
    if not found[0].ok:
        raise typer.Exit(1)
