"""What stands beside the loop's dataset: a YOLO-pose data set with splits, and the card that says what it all is."""

from pathlib import Path

from autolabel.certificate import Certificate
from autolabel.dataset_card import Card, RoundLine
from autolabel.dataset_counts import count_dataset
from autolabel.errors import InputError
from autolabel.manifest import COMMIT, Manifest, write_text
from autolabel.phrases import counted
from autolabel.report.rounds import read_rounds
from autolabel.run import DONE
from pipelines.cold_features import ENCODER
from pipelines.export import export
from pipelines.loop_state import COLD, Loop, last_pulled
from pipelines.loop_stop import ended
from pipelines.measure import Effort

CARD = "dataset-card.md"
YOLO = "yolo"


def beside_dataset(loop: Loop, dataset: Manifest, judged: Certificate | None) -> Path:
    """Write ``yolo/`` and ``dataset-card.md`` into the project's folder.

    What YOLO-pose cannot hold, such as two images whose names differ in the suffix alone, or one video that would have
    to be divided, does not stop the loop: the card then says why there is no such data set.

    Args:
        loop: The project.
        dataset: The finished dataset.
        judged: Its certificate, issued or refused.

    Returns:
        The card's file.
    """
    settings = loop.project.dataset
    files = [
        ("dataset", "the manifest: every image and pose with its state and who placed each keypoint"),
        ("coco.json", "the exported images and poses as COCO keypoints"),
        *_yolo(loop, dataset),
    ]
    effort = Effort.of(last_pulled(loop.folder))
    card = Card(
        name=loop.project.name,
        version=dataset.digest,
        skeleton=dataset.skeleton,
        counts=count_dataset(dataset),
        certificate=judged,
        rounds=[RoundLine(r.number, r.model, r.trained_on, r.opened) for r in read_rounds(loop.folder)],
        began=_began(loop),
        opened=effort.poses_opened,
        clicks=effort.clicks,
        ended=ended(loop),
        licence=settings.licence,
        source=settings.source,
        files=files,
    )
    write_text(loop.folder / CARD, card.text())
    return loop.folder / CARD


def _yolo(loop: Loop, dataset: Manifest) -> list[tuple[str, str]]:
    """Write the YOLO-pose data set where one is asked for; what the card says of it."""
    split = loop.project.dataset.split
    if not split:
        return []
    try:
        written = export(
            "yolo-pose", dataset.path, out=loop.folder / YOLO, split=split, overwrite=True, progress=loop.progress
        )
    except InputError as error:
        loop.progress.note(f"WARNING: no YOLO-pose data set is written: {error}")
        return [(YOLO, f"not written for this version: {_said(error)}")]
    held = f"{counted(written.images, 'image')} and {counted(written.poses, 'pose')}"
    divided = f"divided as {split}; groups, copies and videos are never parted; images are links"
    return [(YOLO, f"a YOLO-pose data set of {held}, {divided}")]


def _began(loop: Loop) -> str:
    """What the first network was; folders of this machine are nobody else's business."""
    project, here, weights = loop.project, loop.round(0), loop.project.network.weights
    name = Path(weights).name if loop.path(weights).exists() else weights
    if not (here / "model" / DONE).is_file():
        return f"the given weights {name}"
    own = (here / COLD / ENCODER / DONE).is_file()
    start = f"the encoder {name}" if weights else "an encoder pre-trained on these images" if own else "scratch"
    of = ""
    if (here / "training" / COMMIT).is_file():
        poses = Manifest.open(here / "training").counts["poses"]
        of = f" on {counted(poses, 'pose')} that people placed without a pre-label"
    elif labelled := loop.manifest(project.corpus.labelled):
        of = f" of {counted(labelled.counts['poses'], 'labelled pose')}, digest {labelled.digest}"
    custom = ", ".join(f"{name} {value}" for name, value in project.network.custom.items())
    size = f"size {project.network.size}" + (f", with {custom}" if custom else "")
    return f"trained from {start} ({size}){of}"


def _said(error: InputError) -> str:
    """What went wrong, with the name of the file and not its folder."""
    return f"{Path(error.subject).name}: {error.message}" if error.subject else error.message
