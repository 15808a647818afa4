"""People's answers as a report needs them: each beside the pose as it was sent, and what the task was for."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from autolabel.formats.records import Record, read_json
from autolabel.labelstudio.exports import standing
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.images import IMAGES, read_images
from autolabel.labelstudio.journal import Journal
from autolabel.labelstudio.tasks import PLANTED, TaskRecord, read_task_map
from autolabel.manifest import COMMIT
from autolabel.merge import CORRECTIONS, read_corrections
from autolabel.poses import Poses, Sample
from autolabel.report.answers import Answer, Answered, Work, read_answers
from autolabel.reviewer_quality import Look
from autolabel.similarity import oks_matrix
from autolabel.skeleton import Skeleton
from pipelines.loop_state import Loop
from pipelines.measure import posed_in_images
from pipelines.pull_answers import CHECKS, Sent
from pipelines.pull_ledger import Given, given_answers
from pipelines.route import ROUTING

SampleKey = tuple[str, str, str]
"""Id, root and path of a sample."""

ELSEWHERE = "beside the rounds"
"""The step of tasks that no round and no audit sent."""


def answered(loop: Loop, last: int, *, whole: bool) -> Answered | None:
    """What all answers up to a round say; None where there are none.

    Args:
        loop: The loop.
        last: The round.
        whole: Whether the audit counts too.

    Raises:
        AutolabelError: What was sent or answered cannot be read any more.
    """
    pulled = newest_answers(loop, last, whole=whole)
    if pulled is None:
        return None
    folder = ReviewFolder.of(loop.folder)
    sent, steps = Sent.read(folder), _steps(loop, last, whole=whole)
    images = [
        Work(_step(sent.records, c.task, steps), 1, c.clicks, c.seconds or 0.0, int(c.seconds is not None))
        for c in read_images(pulled / IMAGES)
    ]
    # The openings and the time of these are the images'.
    images += [Work(_step(sent.records, c.task, steps), 0, c.clicks) for c in posed_in_images(pulled)]
    calibrated = {f"round {n}" for n in range(1, last + 1) if (loop.round(n - 1) / "calibrator.json").is_file()}
    given = list(_answers(_given(folder, sent, pulled, steps, whole=whole), sent, steps, calibrated, _test_poses(loop)))
    if not given and not images:
        return None
    return read_answers(given, sent.skeleton, [*dict.fromkeys(steps.values()), ELSEWHERE], images)


def _given(folder: ReviewFolder, sent: Sent, pulled: Path, steps: Mapping[str, str], *, whole: bool) -> Iterator[Given]:
    """The standing answer of every person to every task, also where another one was laid over its pose.

    Args:
        folder: Of the review.
        sent: What the tasks showed.
        pulled: The newest pull, which has worked out already what most answers say.
        steps: By routing, the steps that count.
        whole: Whether tasks of no step count too.
    """
    k = sent.skeleton.num_keypoints
    checks = read_corrections(pulled / CHECKS, k) if (pulled / CHECKS).is_file() else []
    known = [*read_corrections(pulled / CORRECTIONS, k), *checks]
    counted = {task for task, record in sent.records.items() if whole or record.routing in steps}
    last = standing(Journal.read(folder.journal).entries)
    return given_answers((a for task, each in last.items() if task in counted for a in each), sent, known)


def newest_answers(loop: Loop, last: int, *, whole: bool) -> Path | None:
    """The newest folder of answers up to a round, the audit's if it counts too; None where nothing was pulled."""
    folders = [loop.round(n) / "pulled" for n in range(last + 1)] + [loop.audit / "pulled"] * whole
    found = [folder for folder in folders if (folder / COMMIT).is_file() and (folder / CORRECTIONS).is_file()]
    return found[-1] if found else None


def drawn_poses(folder: Path, kinds: Collection[str], *, blind: bool) -> set[str]:
    """Ids of the poses that tasks of some kinds were sent for, either without a pre-label or with one."""
    records = read_task_map(ReviewFolder.of(folder).taskmap).values()
    return {record.pose for record in records if record.kind in kinds and record.blind is blind}


def _steps(loop: Loop, last: int, *, whole: bool) -> dict[str, str]:
    """The name of each step by the digest of its routing, in order."""
    folders = [(f"round {n}", loop.round(n)) for n in range(last + 1)] + [("audit", loop.audit)] * whole
    routings = [(name, folder / "routing" / ROUTING) for name, folder in folders]
    return {Record(read_json(file), "", str(file)).text("digest"): name for name, file in routings if file.is_file()}


def _step(records: Mapping[str, TaskRecord], task: str, steps: Mapping[str, str]) -> str:
    return steps.get(records[task].routing, ELSEWHERE) if task in records else ELSEWHERE


def _answers(
    given: Iterable[Given],
    sent: Sent,
    steps: Mapping[str, str],
    calibrated: Collection[str],
    truth: Mapping[SampleKey, Poses],
) -> Iterator[Answer]:
    """Each answer with the image that its pose is in, and with the doubt that the pose was sent with."""
    mine: dict[tuple[str, str], list[Given]] = {}
    for answer in given:
        mine.setdefault((answer.record.routing, answer.record.pose), []).append(answer)
    for routing, manifest in sent.manifests.items():
        for sample in manifest:
            for row, pose in enumerate(sample.poses.id.tolist()):
                for answer in mine.get((routing, pose), ()):
                    record, step = answer.record, steps.get(routing, ELSEWHERE)
                    planted = record.kind == PLANTED
                    yield Answer(
                        step,
                        record.kind,
                        Look(answer.correction, answer.pose, routing, planted, record.blind),
                        float(sample.poses.p_bad[row]) if step in calibrated else np.nan,
                        manifest.image_path(sample),
                        sample.path,
                        _true_person(sample, row, truth, manifest.skeleton) if planted else None,
                    )


def _test_poses(loop: Loop) -> dict[SampleKey, Poses]:
    """True poses of the held-out test, from which plants are made, by image."""
    known = loop.manifest(loop.project.corpus.test)
    return {} if known is None else {sample.key: sample.poses for sample in known}


def _true_person(sample: Sample, row: int, truth: Mapping[SampleKey, Poses], skeleton: Skeleton) -> Poses | None:
    """The person whom a planted pose is most like, alone; None where nobody is like it."""
    people = truth.get(sample.key)
    if people is None or not len(people):
        return None
    likeness = np.nan_to_num(oks_matrix(sample.poses.take([row]), people, skeleton)[0])
    best = int(likeness.argmax())
    return people.take([best]) if likeness[best] > 0 else None
