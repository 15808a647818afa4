"""Golden poses of ``autolabel doctor``: pushed, answered as a browser would, pulled, and compared bit by bit.

They go through the product's own ``push`` and ``pull``, from a project folder that lives as long as the check, into the
scratch project, and their crops by the delivery policy of the project that is looked at.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from autolabel.labelstudio.access import Access, save_token
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.golden import Expected, answered, golden_samples, losses, picture
from autolabel.labelstudio.server import Server
from autolabel.labelstudio.tasks import read_task_map
from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Pose, Sample
from autolabel.project import FILE, to_toml
from autolabel.skeleton import Skeleton
from pipelines.doctor_check import Check, Outcome
from pipelines.doctor_delivery import borrowed_crops, golden_delivery
from pipelines.doctor_scratch import TITLE, Scratch
from pipelines.pull import pull
from pipelines.push import push

ONE_POINT = Skeleton.from_dict({"name": "golden1", "keypoints": ["Kopf ü 头"]})
"""The least skeleton, whose name is no ASCII."""


def golden_name(skeleton: Skeleton) -> str:
    """What the check of a skeleton is called."""
    k = skeleton.num_keypoints
    return f"golden poses, {k} keypoint{'s' * (k > 1)}"


def golden_check(scratch: Scratch, access: Access, folder: Path, skeleton: Skeleton, *, every_deed: bool) -> Check:
    """Golden poses of a skeleton, there and back.

    Args:
        scratch: Where they go; what is there is deleted first.
        access: Of its server.
        folder: The project folder whose delivery policy is used.
        skeleton: Of the poses.
        every_deed: Whether every shape meets every deed; see :func:`golden_samples`.

    Raises:
        AutolabelError: The server refuses or fails.
    """
    name, number = golden_name(skeleton), scratch.take(skeleton)
    with tempfile.TemporaryDirectory(prefix="autolabel-doctor-") as place:
        mine = Path(place)
        labelstudio = {"url": access.url, "project": number, **golden_delivery(folder, access.url)}
        sent = _write_golden(mine, skeleton, labelstudio, every_deed)
        save_token(mine, access.token)
        with borrowed_crops(folder, mine):
            push(sent.path, project=mine)
            expected, complaints = _answer(scratch.server, number, mine, sent)
            pulled = pull(project=mine, out=mine / "pulled")
            lost = [*complaints, *losses(expected, _poses(sent), _poses(pulled.manifest))]
    if lost:
        more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
        return Check(name, Outcome.FAILED, f"{lost[0]}{more}")
    return Check(name, Outcome.OK, f"{len(expected)} pushed, answered, pulled: not a bit lost")


def _write_golden(folder: Path, skeleton: Skeleton, labelstudio: Mapping[str, object], every_deed: bool) -> Manifest:
    """A project folder of golden poses."""
    settings = {"name": TITLE, "corpus": {"images": "images"}, "labelstudio": labelstudio}
    (folder / FILE).write_text(to_toml(settings), encoding="utf-8")
    samples = golden_samples(skeleton, every_deed=every_deed)
    for i, sample in enumerate(samples):
        path = folder / "images" / sample.path
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(i)).save(path)
    return write_manifest(folder / "golden", samples, skeleton, {"images": folder / "images"}, stage="doctor")


def _answer(server: Server, number: int, folder: Path, sent: Manifest) -> tuple[dict[str, Expected | None], list[str]]:
    """Answer every task; gives what must come back, and where a prediction is not stored as it was sent."""
    review, poses, there = ReviewFolder.of(folder), _poses(sent), {t.key: t for t in server.task_list(number)}
    pushed = {t["data"]["task_key"]: t for file in review.task_files() for t in json.loads(file.read_bytes())}
    expected, complaints = dict[str, Expected | None](), list[str]()
    records = list(read_task_map(review.taskmap).values())
    for record in records:
        task, pose = there[record.task], poses[record.pose]
        shown = [prediction.result for prediction in server.predictions(task.id)]
        if shown != [pushed[record.task]["predictions"][0]["result"]]:
            complaints.append(f"{', '.join(pose.attributes['golden'])}: the server stored other predictions")
            continue
        result, expected[pose.id] = answered(shown[0], pose, record, sent.skeleton)
        server.annotate(task.id, result, lead_time=1.5)
    image, crop = str(there[records[-1].task].data["image"]), review.crops / records[-1].crop
    # What others serve cannot be there.
    if image.startswith(("/", f"{server.url}/")) and server.served(image) != crop.read_bytes():
        complaints.append(f"{image} is not the crop that was sent")
    return expected, complaints


def _poses(samples: Manifest | Sequence[Sample]) -> dict[str, Pose]:
    return {pose: s.poses[i] for s in samples for i, pose in enumerate(s.poses.id.tolist())}
