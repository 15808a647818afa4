"""What is measured of every true person: the tables that all of ``evaluate``'s numbers are sums over.

Truth is held in memory, predictions are streamed in batches; of each batch only these tables stay, about 20 bytes a
keypoint and 300 a person. Every number, its interval and its difference to another set of poses come from them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.average_precision import MatchTables
from autolabel.bootstrap import Clusters
from autolabel.errors import InputError
from autolabel.evaluate_coco import instance_scores, match_images
from autolabel.lengths import head_lengths, torso_lengths
from autolabel.poses import Poses, Sample
from autolabel.progress import SILENT, Progress
from autolabel.similarity import DEFAULT_RULE, BadRule, Comparison, compare, longer_side, oks_matrix
from autolabel.skeleton import Skeleton
from autolabel.taxonomy import MATCHED_OKS, classify, scoring_errors

_BATCH = 256
"""Images that are measured at a time."""

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class People:
    """P true people, crowd regions left out, whether somebody found them or not.

    Attributes:
        image: (P,) index of the image, ascending.
        truth_id: (P,) id of the true pose, as far as the truth has ids.
        pose_id: (P,) id of the pose that is matched with the person, "" where they are missed.
        matched: (P,) whether a pose is.
        bad: (P,) whether that pose is bad.
        oks: (P,) its OKS, NaN where missed or nothing can be compared.
        labelled: (P, K) keypoints whose place the truth knows.
        scored: (P, K) keypoints of matched people of which the truth says something.
        inside: (P, K) those of them that lie inside the image.
        presence: (P, K) probability of that, as it was predicted; NaN where missed, or nothing was said.
        gross: (P, K) gross ones among them.
        error: (P, K) distance in pixels; NaN where missed, not labelled, or nothing was predicted.
        ks: (P, K) keypoint similarity, NaN where missed or not labelled.
        state: (P, K) :class:`autolabel.taxonomy.State`.
        box: (P,) longer side of the person's box, in pixels.
        head: (P,) length of the head, NaN where it cannot be told.
        boxed_head: (P,) whether it comes from the source's head box.
        torso: (P,) length of the torso, NaN where it cannot be told.
    """

    image: NDArray[np.int32]
    truth_id: NDArray[Any]
    pose_id: NDArray[Any]
    matched: Bools
    bad: Bools
    oks: Floats
    labelled: Bools
    scored: Bools
    inside: Bools
    presence: Floats
    gross: Bools
    error: Floats
    ks: Floats
    state: NDArray[np.uint8]
    box: Floats
    head: Floats
    boxed_head: Bools
    torso: Floats


@dataclass(frozen=True, eq=False)
class Images:
    """I images.

    Attributes:
        path: (I,) below the corpus root.
        group: (I,) which images belong together, "" for none.
        place: (I,) where each stands in the truth.
        poses: (I,) poses that were judged.
        bad: (I,) bad ones among them.
        extra: (I,) poses without a true person.
        ignored: (I,) poses inside crowd regions, not judged.
        doubled: (I,) people with several poses.
        misscored: (I,) those of them whose most similar pose is not the best scored.
    """

    path: NDArray[Any]
    group: NDArray[Any]
    place: NDArray[np.intp]
    poses: NDArray[np.intp]
    bad: NDArray[np.intp]
    extra: NDArray[np.intp]
    ignored: NDArray[np.intp]
    doubled: NDArray[np.intp]
    misscored: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Measured:
    """A set of poses measured against the truth, image by image in the truth's order.

    Attributes:
        skeleton: Of both.
        people: The true people.
        images: The images that both sides have.
        tables: COCO's matches.
        perfect: COCO's matches with each pose's OKS in place of its score.
        without_truth: Images that only the predictions have.
        without_poses: Images that only the truth has.
    """

    skeleton: Skeleton
    people: People
    images: Images
    tables: MatchTables
    perfect: MatchTables
    without_truth: int
    without_poses: int

    @property
    def clusters(self) -> Clusters:
        """What a bootstrap draws."""
        return Clusters.from_groups(self.images.group.tolist())


class Truth:
    """True samples, found by image: by bytes and path, since two manifests may call the same folder differently.

    Args:
        samples: Of distinct images. Where two have the same bytes and path, the root's name tells them apart.
    """

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = list(samples)
        self._places = {sample.key: i for i, sample in enumerate(self._samples)}
        self._alone: dict[tuple[str, str], int | None] = {}
        for i, sample in enumerate(self._samples):
            key = (sample.id, sample.path)
            self._alone[key] = None if key in self._alone else i

    def __len__(self) -> int:
        return len(self._samples)

    def find(self, sample: Sample) -> tuple[int, Sample] | None:
        """The place and the true sample of an image; None where the truth does not have it.

        Raises:
            InputError: It is of another size.
        """
        place = self._places.get(sample.key)
        if place is None:
            place = self._alone.get((sample.id, sample.path))
        if place is None:
            return None
        true = self._samples[place]
        if sample.size != true.size:
            raise InputError(
                f"is {sample.size[0]}x{sample.size[1]}, the truth says {true.size[0]}x{true.size[1]}",
                subject=sample.path,
                remedy="Give the truth of these images, not of resized or rotated copies.",
            )
        return place, true


def measure(
    predictions: Iterable[Sample],
    truth: Truth,
    skeleton: Skeleton,
    *,
    rule: BadRule = DEFAULT_RULE,
    progress: Progress = SILENT,
) -> Measured:
    """Compare predictions with the truth, person by person.

    Args:
        predictions: Samples with the poses to measure, each image once; streamed.
        truth: The true poses, in the same skeleton.
        skeleton: Names and sigmas.
        rule: When a keypoint is gross and a pose is bad.
        progress: Where to report.

    Raises:
        InputError: No image in common, an image twice, or one whose two sizes differ.
    """
    parts: list[_Part] = []
    seen: set[int] = set()
    without_truth = 0
    with progress.task("evaluate", unit="image") as task:
        for batch in _batches(predictions):
            found = [(sample, at) for sample in batch if (at := truth.find(sample)) is not None]
            without_truth += len(batch) - len(found)
            for sample, (place, _) in found:
                if place in seen:
                    raise InputError(
                        "stands twice among the predictions, once in the truth",
                        subject=sample.path,
                        remedy="Give both manifests the same names of roots: they tell copies of a file apart.",
                    )
                seen.add(place)
            if found:
                parts.append(_measure_batch(found, skeleton, rule))
            task.advance(len(batch))
    if not parts:
        raise InputError(
            "no image of the predictions is an image of the truth",
            subject="evaluate",
            remedy="Both must come from the same files, under the same paths below their roots.",
        )
    return _join(parts, skeleton, without_truth, len(truth) - len(seen))


@dataclass(frozen=True, eq=False)
class _Part:
    """A batch; its images are counted from 0."""

    people: People
    images: Images
    tables: MatchTables
    perfect: MatchTables


def _measure_batch(found: Sequence[tuple[Sample, tuple[int, Sample]]], skeleton: Skeleton, rule: BadRule) -> _Part:
    people: list[dict[str, Any]] = []
    images: list[tuple[Any, ...]] = []
    pairs: list[tuple[Poses, Poses]] = []
    likeness: list[Floats] = []
    for i, (sample, (place, true)) in enumerate(found):
        likeness.append(_likeness(sample.poses, true.poses, skeleton))
        rows, numbers = _measure_image(sample.poses, true.poses, skeleton, rule)
        scoring = scoring_errors(likeness[-1], instance_scores(sample.poses))
        people.append({**rows, "image": np.full(len(rows["matched"]), i, np.int32)})
        images.append((sample.path, sample.group or true.group, place, *numbers, *scoring))
        pairs.append((sample.poses, true.poses))
    columns = [np.array(column) for column in zip(*images, strict=True)]
    tables = match_images(pairs, skeleton)
    perfect = match_images(pairs, skeleton, [oks.max(axis=1, initial=0.0) for oks in likeness])
    return _Part(_stack(People, people), Images(*columns), tables, perfect)


def _measure_image(
    poses: Poses, truth: Poses, skeleton: Skeleton, rule: BadRule
) -> tuple[dict[str, Any], tuple[int, int, int, int]]:
    """The fields of :class:`People` but ``image``; judged, bad, extra and ignored poses."""
    judged = compare(poses, truth, skeleton, rule)
    chosen = np.flatnonzero(judged.truth >= 0)
    pose_of = np.full(len(truth), -1, np.intp)
    pose_of[judged.truth[chosen]] = chosen
    real = np.flatnonzero(~truth.crowd)
    pose = pose_of[real]
    rows = {
        **_of_truth(truth.take(real), skeleton),
        **_of_matches(poses, truth, skeleton, judged, real, pose),
    }
    ignored = int(judged.ignored.sum())
    judged_poses = len(poses) - ignored
    return rows, (judged_poses, int(judged.bad.sum()), judged_poses - int((pose >= 0).sum()), ignored)


def _of_truth(true: Poses, skeleton: Skeleton) -> dict[str, Any]:
    """The fields of :class:`People` that the truth alone tells."""
    head = head_lengths(true, skeleton)
    return {
        "truth_id": true.id,
        "labelled": true.labelled,
        "box": longer_side(true),
        "head": head.pixels,
        "boxed_head": head.boxed,
        "torso": torso_lengths(true, skeleton),
    }


def _of_matches(
    poses: Poses,
    truth: Poses,
    skeleton: Skeleton,
    judged: Comparison,
    real: NDArray[np.intp],
    pose: NDArray[np.intp],
) -> dict[str, Any]:
    """The fields that the matches tell, for (P,) real true poses and (P,) the pose matched with each, -1 for none."""
    matched = pose >= 0
    mine = pose[matched]
    shape = (len(real), skeleton.num_keypoints)

    def of_matched(values: NDArray[Any], empty: Any, dtype: type[Any]) -> NDArray[Any]:
        column = np.full(shape if values.ndim > 1 else shape[:1], empty, dtype)
        column[matched] = values
        return column

    distance = np.linalg.norm(poses.xy[mine].astype(np.float64) - truth.xy[real[matched]], axis=2)
    state = classify(poses.xy[mine], real[matched], truth, skeleton)
    state[~(judged.oks[mine] > MATCHED_OKS)] = 0
    return {
        "pose_id": of_matched(poses.id[mine], "", object),
        "matched": matched,
        "bad": of_matched(judged.bad[mine], False, bool),
        "oks": of_matched(judged.oks[mine], np.nan, float),
        "scored": of_matched(judged.scored[mine], False, bool),
        "inside": matched[:, None] & truth.labelled[real],
        "presence": of_matched(poses.presence[mine], np.nan, float),
        "gross": of_matched(judged.gross[mine], False, bool),
        "error": np.where(truth.labelled[real], of_matched(distance, np.nan, float), np.nan),
        "ks": of_matched(judged.ks[mine], np.nan, float),
        "state": of_matched(state, 0, np.uint8),
    }


def _likeness(poses: Poses, truth: Poses, skeleton: Skeleton) -> Floats:
    """(N, T) OKS with every real person; 0 for crowds and where nothing can be compared."""
    return np.where(truth.crowd, 0.0, np.nan_to_num(oks_matrix(poses, truth, skeleton), nan=0.0))


def _join(parts: Sequence[_Part], skeleton: Skeleton, without_truth: int, without_poses: int) -> Measured:
    """All batches, in the truth's order: no number depends on the order of the predictions."""
    first = np.cumsum([0, *(len(part.images.path) for part in parts)])
    images = _stack(Images, [vars(part.images) for part in parts])
    order = np.argsort(images.place, kind="stable")
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order))
    people = [{**vars(p.people), "image": rank[p.people.image + start]} for p, start in zip(parts, first, strict=False)]
    together = _stack(People, people)
    return Measured(
        skeleton=skeleton,
        people=_rows(together, np.argsort(together.image, kind="stable")),
        images=_rows(images, order),
        tables=MatchTables.concat([part.tables for part in parts]).take(order),
        perfect=MatchTables.concat([part.perfect for part in parts]).take(order),
        without_truth=without_truth,
        without_poses=without_poses,
    )


def _stack(kind: Any, parts: Sequence[dict[str, Any]]) -> Any:
    return kind(**{field.name: np.concatenate([part[field.name] for part in parts]) for field in fields(kind)})


def _rows(table: Any, order: NDArray[np.intp]) -> Any:
    return type(table)(**{field.name: getattr(table, field.name)[order] for field in fields(table)})


def _batches(samples: Iterable[Sample]) -> Iterator[list[Sample]]:
    iterator = iter(samples)
    while batch := list(islice(iterator, _BATCH)):
        yield batch
