"""The two steps of a cascade between its predictions: who is doubted, and whose word stands in the end."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import ConfigError
from autolabel.manifest import COMMIT, PART_SIZE, Existing, Manifest, ManifestWriter, Parent, write_manifest
from autolabel.poses import Poses, Sample, split
from autolabel.prediction_record import Predicted
from pipelines.lint import EMBEDDING
from pipelines.predicted import predicted_how
from pipelines.second_opinion import SecondOpinion

DOUBT = 0.1
"""Where nobody says from which ``p_bad`` on a pose is doubted."""

OF_THE_BOX = (EMBEDDING, "box_score")
"""Features that stay the first network's: distances between embeddings of two networks mean nothing, and a box has its
score from the detector."""

STAGE = "cascade"


def require_choice(doubt: float | None, share: float | None) -> None:
    """Refuse what says nothing about who is doubted.

    Raises:
        ConfigError: Both are given, or one is outside 0..1.
    """
    if doubt is not None and share is not None:
        raise ConfigError("both doubt and share are given", subject=STAGE, remedy="Give one of the two.")
    for name, value in (("doubt", doubt), ("share", share)):
        if value is not None and not 0 <= value <= 1:
            raise ConfigError(f"{name} is {value}, expected a number from 0 to 1", subject=STAGE)


def doubted(p_bad: NDArray[np.floating], doubt: float | None = None, share: float | None = None) -> NDArray[np.bool_]:
    """Who is doubted.

    Args:
        p_bad: (N,) probabilities; a pose without one (NaN) is not doubted, as nothing was predicted there.
        doubt: From which ``p_bad`` on, ``DOUBT`` where neither is given.
        share: Or the most doubtful, this share of the poses that have a ``p_bad``, rounded to whole poses; of equally
            doubtful ones the first.

    Raises:
        ConfigError: Both are given, or one is outside 0..1.
    """
    require_choice(doubt, share)
    if share is None:
        limit = np.float32(DOUBT if doubt is None else doubt)  # as poses keep theirs
        return np.asarray(p_bad >= limit)
    chosen = np.zeros(len(p_bad), bool)
    known = int(np.isfinite(p_bad).sum())
    order = np.argsort(-p_bad, kind="stable")  # NaN comes last
    chosen[order[: round(share * known)]] = True
    return chosen


def write_doubted(scored: Manifest, which: NDArray[np.bool_], out: Path, *, part_size: int = PART_SIZE) -> Manifest:
    """Write the boxes of doubted poses, under the poses' ids, for another network to label.

    They have no detector's score, so that it will not drop one of two that nearly coincide.

    Args:
        scored: Poses.
        which: (N,) who of them, in order.
        out: The folder; what is finished there is kept.
        part_size: Images a part.
    """
    if (out / COMMIT).is_file():
        return Manifest.open(out)
    return write_manifest(
        out,
        _boxes(scored, which),
        scored.skeleton,
        scored.roots,
        stage=STAGE,
        parents=[Parent("manifest", scored.digest)],
        part_size=part_size,
        existing=Existing.OVERWRITE,
    )


def _boxes(scored: Manifest, which: NDArray[np.bool_]) -> Iterator[Sample]:
    """Images with doubted poses, and of those the boxes."""
    first = 0
    for sample in scored:
        poses = sample.poses.take(which[first : first + len(sample.poses)])
        first += len(sample.poses)
        if len(poses):
            yield sample.with_poses(Poses.create(poses.num_keypoints, id=poses.id, box=poses.box))


def write_mixed(student: Manifest, teacher: Manifest | None, out: Path, *, asked: Predicted | None = None) -> Manifest:
    """Write what the student says, and in its place what the teacher says wherever it was asked and answered.

    Ids, boxes and whatever else a pose has stay. Goes on where it was stopped, part by part.

    Args:
        student: What ``predict`` wrote for the student.
        teacher: The same for the teacher, of some of the poses; None where it was asked about nobody.
        out: The folder.
        asked: How a teacher that was asked about nobody would have predicted: the record names it then, too, so that
            the same calibrators are for every result of a cascade.
    """
    if (out / COMMIT).is_file():
        return Manifest.open(out)
    writer = ManifestWriter(
        out,
        student.skeleton,
        student.roots,
        stage=STAGE,
        parents=[Parent("student", student.digest)] + ([Parent("teacher", teacher.digest)] if teacher else []),
        existing=Existing.RESUME,
    )
    _both_predicted(student, predicted_how(teacher) if teacher is not None else asked).write(out)
    second = SecondOpinion(student, teacher) if teacher is not None else None
    blank = _blank(teacher)
    done = writer.finished_parts()
    for i in range(student.num_parts):
        if i in done:
            continue
        samples, features = student.part(i), student.features(i)
        if second is not None:
            samples, features = _mixed(samples, features or {}, second, blank)
        writer.write_part(i, samples, features)
    return writer.commit()


def _both_predicted(student: Manifest, teacher: Predicted | None) -> Predicted:
    """How the poses of a cascade are predicted. The teacher's boxes are from whoever gave the student's."""
    first = predicted_how(student)
    if teacher is None:
        return first
    return first.model_copy(update={"others": (teacher.model_copy(update={"boxes": first.boxes}),)})


def _blank(teacher: Manifest | None) -> Mapping[str, tuple[int, ...]]:
    """Shapes, without rows, of the teacher's features of keypoints and poses."""
    for i in range(teacher.num_parts if teacher is not None else 0):
        if teacher is not None and (found := teacher.features(i)):
            return {name: array.shape[1:] for name, array in found.items() if name not in OF_THE_BOX}
    return {}


def _mixed(
    samples: list[Sample],
    own: Mapping[str, NDArray[Any]],
    second: SecondOpinion,
    blank: Mapping[str, tuple[int, ...]],
) -> tuple[list[Sample], dict[str, NDArray[Any]]]:
    """Poses and features of a part, the teacher's where it answered."""
    poses = Poses.concat([Poses.empty(second.num_keypoints), *(sample.poses for sample in samples)])
    theirs, found = second.of(samples)
    answered = np.isfinite(theirs.score).any(axis=1)

    def chosen(its: NDArray[Any], mine: NDArray[Any]) -> NDArray[Any]:
        return np.where(answered.reshape(-1, *(1,) * (mine.ndim - 1)), its, mine)

    changed = {name: chosen(getattr(theirs, name), getattr(poses, name)) for name in _OF_THE_NETWORK}
    features = {name: own[name] for name in OF_THE_BOX if name in own}
    for name in dict.fromkeys((*own, *blank)):
        if name not in OF_THE_BOX:
            shape = own[name].shape[1:] if name in own else blank[name]
            nothing = np.full((len(poses), *shape), np.nan, np.float32)
            features[name] = chosen((found or {}).get(name, nothing), own.get(name, nothing))
    return split(samples, poses.replace(**changed)), features


_OF_THE_NETWORK = ("xy", "score", "presence", "visibility", "origin", "by")
