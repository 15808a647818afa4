"""Options of the commands that run and train networks."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli_options import (
    Json,
    OutManifest,
    OutWeights,
    Overwrite,
    PartSize,
    Processes,
    Recipe,
    Resume,
    commands,
    example,
)
from pipelines.console import readable, run_job

if TYPE_CHECKING:
    from pipelines.predict import PredictResult

app = commands()

EngineName = Annotated[str, typer.Option(metavar="NAME", help="local, or ray: parts on the machines of a Ray cluster.")]
RayAddress = Annotated[
    str | None,
    typer.Option(metavar="A", help="Of a Ray cluster that runs already. Default: one of the job's own, here."),
]
Retry = Annotated[bool, typer.Option("--retry", help="Work anew through the parts in which images were set aside.")]


@app.command(
    epilog=example(
        "autolabel detect photos --out boxes.m",
        "autolabel detect photos.m --detector detector-folder --min-score 0.5 --out boxes.m",
        "autolabel detect photos.m --detector whole-image --out boxes.m",
    )
)
def detect(
    source: Annotated[Path, typer.Argument(metavar="M|IMAGES", help="Manifest without boxes, or a folder of images.")],
    out: OutManifest,
    detector: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|DIR|FILE",
            help="A Hugging Face object detector, by hub id or folder; a COCO file of boxes; or whole-image. "
            "Default: PekingU/rtdetr_v2_r18vd, from the hub.",
        ),
    ] = None,
    boxes_images: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With COCO results, the COCO file that names the images.")
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="What to look for; may be given several times. Default: person."),
    ] = None,
    min_score: Annotated[float, typer.Option(min=0, max=1, metavar="S", help="Boxes of a lower score go.")] = 0.3,
    nms: Annotated[
        float, typer.Option(min=0, max=1, metavar="IOU", help="Of two boxes that overlap more, the better one stays.")
    ] = 0.7,
    max_boxes: Annotated[int, typer.Option(min=1, metavar="N", help="The best ones of an image, at most.")] = 100,
    engine: EngineName = "local",
    ray_address: RayAddress = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.")] = "auto",
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="Images a batch.")] = 8,
    part_size: PartSize = 2_000,
    retry: Retry = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Boxes of people, for `predict`: by a detector, from a file, or the whole image."""
    from pipelines.detect import detect as run

    run_job(
        lambda progress: run(
            source,
            detector=detector,
            out=out,
            boxes_images=boxes_images,
            classes=classes,
            min_score=min_score,
            nms=nms,
            max_boxes=max_boxes,
            engine=engine,
            ray_address=ray_address,
            device=device,
            batch_size=batch_size,
            part_size=part_size,
            retry=retry,
            overwrite=overwrite,
            progress=progress,
        ),
        as_json=as_json,
    )


@app.command(
    epilog=example(
        "autolabel predict photos.m --weights usyd-community/vitpose-base --boxes boxes.json --out poses.m",
        "autolabel predict photos --weights checkpoint --flip-test --out poses.m",
        "autolabel predict photos --weights checkpoint --detector PekingU/rtdetr_v2_r18vd",
    )
)
def predict(
    source: Annotated[Path, typer.Argument(metavar="M|IMAGES", help="Manifest with boxes, or a folder of images.")],
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="W",
            help="Checkpoint folder, Hugging Face folder or hub id, .pth, or one .safetensors file of ours. "
            "Default: the starter network, if the package carries one.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="M", help="Manifest folder to write. Default: NAME.poses.m in the current directory."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Expert and head of a ViTPose++: coco, aic, mpii, ...")
    ] = None,
    boxes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="COCO annotations or results that give the boxes.")
    ] = None,
    boxes_images: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With COCO results, the COCO file that names the images.")
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|DIR",
            help="A Hugging Face object detector that finds the people first, in the same decoded images.",
        ),
    ] = None,
    engine: EngineName = "local",
    ray_address: RayAddress = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[str, typer.Option(metavar="NAME", help="auto, fp32, bf16 or fp16.")] = "auto",
    backend: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="auto, torch, compiled (torch.compile) or openvino; auto takes what is faster here."
        ),
    ] = "auto",
    flip_test: Annotated[
        bool, typer.Option("--flip-test", help="Predict the mirrored image too: better, and half as fast.")
    ] = False,
    larger_crop: Annotated[
        bool,
        typer.Option(
            "--larger-crop/--no-larger-crop",
            help="Look again where a keypoint seems to lie outside the crop but inside the image, and at people whom "
            "the image seems to cut, at the scale of a whole person. "
            "Networks with a presence head, or a whole-box head, only.",
        ),
    ] = True,
    jitter: Annotated[
        bool,
        typer.Option(
            "--jitter",
            help="Look again, in two slightly other crops, at people of whom the network is half sure: "
            "slower, and doubt is told better.",
        ),
    ] = False,
    quality: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The network's quality head, which `calibrate --weights` trained."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="People a batch.")] = 32,
    reduce: Annotated[
        bool,
        typer.Option(
            "--reduce/--no-reduce",
            help="Decode large JPEG files at a fraction of their size where all crops are as coarse.",
        ),
    ] = True,
    profile: Annotated[
        bool, typer.Option("--profile", help="Write profile.txt, a table of where the time went.")
    ] = False,
    part_size: PartSize = 2_000,
    retry: Retry = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Poses with scores and features for every box; resumes where it was stopped."""
    from pipelines.predict import predict as run

    run_job(
        lambda progress: run(
            source,
            weights=weights,
            out=out,
            dataset=dataset,
            boxes=boxes,
            boxes_images=boxes_images,
            detector=detector,
            engine=engine,
            ray_address=ray_address,
            device=device,
            precision=precision,
            backend=backend,
            flip_test=flip_test,
            larger_crop=larger_crop,
            jitter=jitter,
            quality=quality,
            batch_size=batch_size,
            reduce=reduce,
            profile=profile,
            part_size=part_size,
            retry=retry,
            overwrite=overwrite,
            progress=progress,
        ),
        as_json=as_json,
        show=_predicted,
    )


def _predicted(result: "PredictResult") -> str:
    """The summary, and the table of where the time went if one was wanted."""
    text = readable(result.summary())
    return text if result.profile is None else f"{text}\n\n{result.profile.read_text(encoding='utf-8')}"


@app.command(
    epilog=example(
        "autolabel train --config train.toml --out checkpoint",
        "autolabel train --config train.toml --out checkpoint --processes 8",
    )
)
def train(
    config: Recipe,
    out: OutWeights,
    resume: Resume = False,
    processes: Processes = 1,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Train or fine-tune a ViTPose; on several GPUs, or several machines through torchrun."""
    from pipelines.train import train as run

    run_job(
        lambda progress: run(
            config=config, out=out, resume=resume, processes=processes, overwrite=overwrite, progress=progress
        ),
        as_json=as_json,
    )


@app.command(
    epilog=example(
        "autolabel distill --config distill.toml --out student",
        "autolabel distill --config distill.toml --out student --resume",
    )
)
def distill(
    config: Recipe,
    out: OutWeights,
    resume: Resume = False,
    processes: Processes = 1,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """A fast student that learns from a teacher's outputs, with labels and without."""
    from pipelines.distill import distill as run

    run_job(
        lambda progress: run(
            config=config, out=out, resume=resume, processes=processes, overwrite=overwrite, progress=progress
        ),
        as_json=as_json,
    )


@app.command(
    epilog=example(
        "autolabel cascade photos.m --student student --teacher checkpoint --out scored.m",
        "autolabel cascade photos.m --student student --teacher checkpoint --share 0.3 --out scored.m",
    )
)
def cascade(
    source: Annotated[Path, typer.Argument(metavar="M|IMAGES", help="Manifest with boxes, or a folder of images.")],
    student: Annotated[str, typer.Option(metavar="DIR", help="The fast network, as `distill` leaves it.")],
    teacher: Annotated[str, typer.Option(metavar="W", help="The slow network.")],
    out: OutManifest,
    student_calibrator: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Tells whom the student doubts. Default: calibrator.json in its folder."),
    ] = None,
    teacher_calibrator: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Scores what the teacher places. Default: calibrator.json in its folder, where there is one.",
        ),
    ] = None,
    doubt: Annotated[
        float | None, typer.Option(metavar="P", help="p_bad from which on the teacher is asked. Default: 0.1.")
    ] = None,
    share: Annotated[
        float | None, typer.Option(metavar="S", help="Or the most doubtful people, such a share of all.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(metavar="NAME", help="Expert and head of a ViTPose++ teacher.")] = None,
    boxes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="COCO annotations or results that give the boxes.")
    ] = None,
    boxes_images: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With COCO results, the COCO file that names the images.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[
        str, typer.Option(metavar="NAME", help="auto (as the calibrators were fitted), fp32, bf16 or fp16.")
    ] = "auto",
    flip_test: Annotated[
        bool, typer.Option("--flip-test", help="A teacher without a calibrator predicts the mirrored image too.")
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="People a batch.")] = 32,
    part_size: PartSize = 2_000,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """A fast student labels everybody, and its teacher those whom the student doubts; scored, and resumable."""
    from pipelines.cascade import cascade as run

    run_job(
        lambda progress: run(
            source,
            student=student,
            teacher=teacher,
            out=out,
            student_calibrator=student_calibrator,
            teacher_calibrator=teacher_calibrator,
            doubt=doubt,
            share=share,
            dataset=dataset,
            boxes=boxes,
            boxes_images=boxes_images,
            device=device,
            precision=precision,
            flip_test=flip_test,
            batch_size=batch_size,
            part_size=part_size,
            overwrite=overwrite,
            progress=progress,
        ),
        as_json=as_json,
        show=lambda result: result.told(),
    )
