"""Options of the commands that bring data in, out, and from skeleton to skeleton."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli_options import (
    Images,
    Json,
    ManifestArgument,
    OutManifest,
    Overwrite,
    PartSize,
    commands,
    example,
)
from pipelines.console import run_job

app = commands()

_FORMATS = "coco, coco-results, csv, labelstudio, yolo-pose, dlc, sleap"

Format = Annotated[str, typer.Argument(metavar="FORMAT", help=f"{_FORMATS}.")]


@app.command(
    epilog=example(
        "autolabel scan photos --out photos.m",
        "autolabel scan cam1=/data/left cam2=/data/right --group-by folder --out cameras.m",
        "autolabel scan films --every 10 --out films.m",
    )
)
def scan(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES",
            help="Folders of images and videos, searched recursively, each optionally as NAME=DIR; or single files.",
        ),
    ],
    out: OutManifest,
    group_by: Annotated[
        str | None,
        typer.Option(
            metavar="folder|video|PATTERN",
            help="What names the group of an image: its folder, its name without the number at its end, or a regular "
            "expression on its path whose bracketed parts do. Frames belong to their video.",
        ),
    ] = None,
    every: Annotated[
        int | None, typer.Option(metavar="N", help="Take every N-th frame of videos; else they are left aside.")
    ] = None,
    frames: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for these frames; by default M/frames.")
    ] = None,
    near_duplicates: Annotated[
        bool, typer.Option(help="Mark resized and recompressed copies too, not only equal bytes.")
    ] = True,
    skeleton: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="Skeleton of the poses that will be added.")
    ] = "coco17",
    part_size: PartSize = 2_000,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Find, verify and hash images; mark duplicates; set aside what cannot be read, with the reason."""
    from pipelines.scan import scan as run

    run_job(
        lambda progress: run(
            images,
            out=out,
            group_by=group_by,
            every=every,
            frames=frames,
            near_duplicates=near_duplicates,
            skeleton=skeleton,
            part_size=part_size,
            overwrite=overwrite,
            progress=progress,
        ),
        as_json=as_json,
    )


@app.command(
    "import",
    epilog=example(
        "autolabel import coco annotations.json --images images --out labelled.m",
        "autolabel import fiftyone people --images images --field ground_truth --out labelled.m",
    ),
)
def import_(
    format: Annotated[str, typer.Argument(metavar="FORMAT", help=f"{_FORMATS}, fiftyone.")],
    src: Annotated[Path, typer.Argument(metavar="SRC", help="Label file, or the name of a FiftyOne data set.")],
    images: Images,
    out: OutManifest,
    category: Annotated[
        str | None,
        typer.Option(metavar="NAME|ID", help="Keypoint category, where a COCO file has several."),
    ] = None,
    listing: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With coco-results, the COCO file that lists the images.")
    ] = None,
    skeleton: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="Skeleton of the keypoints, where the format does not say it."),
    ] = None,
    labelling_config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Labelling configuration of a Label Studio project (its keypoints' order)."),
    ] = None,
    annotator: Annotated[
        str | None, typer.Option(metavar="ID|EMAIL", help="Take only this person's Label Studio annotations.")
    ] = None,
    annotations: Annotated[
        str | None,
        typer.Option(
            metavar="latest|first|ground-truth|predictions",
            help="Which annotation of a Label Studio task: the last one unless one is marked as ground truth, the "
            "first, only one so marked, or, where there is none, its prediction.",
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(metavar="train|val|test|all", help="Which images of a YOLO data set; default all.")
    ] = None,
    field: Annotated[
        str | None, typer.Option(metavar="NAME", help="Field of keypoints, where a FiftyOne data set has several.")
    ] = None,
    part_size: PartSize = 2_000,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make a manifest of another tool's labels; images that do not fit them are set aside."""
    from pipelines.import_ import import_ as run

    run_job(
        lambda progress: run(
            format,
            src,
            images=images,
            out=out,
            category=category,
            listing=listing,
            skeleton=skeleton,
            labelling_config=labelling_config,
            annotator=annotator,
            annotations=annotations,
            split=split,
            field=field,
            part_size=part_size,
            overwrite=overwrite,
            progress=progress,
        ),
        as_json=as_json,
    )


@app.command(epilog=example("autolabel export coco labelled.m --out coco.json --images ignore-regions"))
def export(
    format: Format,
    manifest: ManifestArgument,
    out: Annotated[Path, typer.Option(metavar="PATH", help="File or folder to write.")],
    images: Annotated[
        str,
        typer.Option(
            metavar="complete|ignore-regions|all",
            help="Images with unsettled people: left out; these people as ignore regions; as they stand.",
        ),
    ] = "complete",
    as_: Annotated[
        str | None,
        typer.Option(
            "--as", metavar="annotations|predictions", help="Label Studio: finished work, or what people start from."
        ),
    ] = None,
    image_url: Annotated[
        str | None,
        typer.Option(metavar="PREFIX", help="Label Studio: what stands before an image's path in its address."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="train=0.8,val=0.2", help="YOLO: divide the images; groups, copies and people never part."
        ),
    ] = None,
    image_files: Annotated[
        str | None, typer.Option(metavar="link|copy|none", help="YOLO: how images come into the data set.")
    ] = None,
    scorer: Annotated[
        str | None, typer.Option(metavar="NAME", help="DeepLabCut: who labelled; by default as in its imported tables.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write a manifest in another tool's format."""
    from pipelines.export import export as run

    run_job(
        lambda progress: run(
            format,
            manifest,
            out=out,
            images=images,
            as_=as_,
            image_url=image_url,
            split=split,
            image_files=image_files,
            scorer=scorer,
            overwrite=overwrite,
            progress=progress,
        ),
        as_json=as_json,
    )


@app.command("map", epilog=example("autolabel map people.m --to mpii16 --out mpii.m"))
def map_(
    manifest: ManifestArgument,
    to: Annotated[str, typer.Option(metavar="SKELETON", help="Built-in skeleton, or a skeleton file.")],
    out: OutManifest,
    names: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Which keypoints become which; by default those of equal name."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write a manifest's poses in another skeleton: subset, renamed and derived keypoints."""
    from pipelines.map_ import map_ as run

    run_job(
        lambda progress: run(manifest, to=to, names=names, out=out, overwrite=overwrite, progress=progress),
        as_json=as_json,
    )
