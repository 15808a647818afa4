"""What curators' marks come to: corrections, poses to review, and what cannot be followed.

=====================  =============================================================================================
``accept``             the pose is reviewed as it stands
``reject``             nobody is to be labelled here; on an image, the image is to be left out
edited points          a correction: moved, added, removed or marked keypoints
``send-to-review``     a task in Label Studio
``wrong-box``          likewise, before all others: a box is redrawn there
contradictions         ``accept`` beside anything else, or two kinds of no: a task, and a notice
=====================  =============================================================================================
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from autolabel.curate.documents import SAID, sample_key, to_pixels
from autolabel.curate.marks import ACCEPT, REJECT, WRONG_BOX, Mark
from autolabel.ledger import Entry
from autolabel.merge import Correction, KeypointChange, PoseChange, State, Stated, Verdict
from autolabel.poses import Pose, Sample, Visibility

KIND = "curated"
"""What the ledger says that the answers are of."""

Changes = list[KeypointChange]


@dataclass(frozen=True)
class Notice:
    """A mark that could not be followed as it stands, and what was done instead."""

    pose: str
    path: str
    what: str


@dataclass
class Decided:
    """What the marks come to.

    Attributes:
        corrections: One a pose.
        entries: The same for the ledger.
        review: Ids of the poses that people are to see, and the tags that ask for it.
        notices: What was not followed as it came.
    """

    corrections: list[Correction] = field(default_factory=list[Correction])
    entries: list[Entry] = field(default_factory=list[Entry])
    review: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    notices: list[Notice] = field(default_factory=list[Notice])


def decide(samples: Iterable[Sample], marks: Iterable[Mark], *, dataset: str) -> Decided:
    """Work out what marks come to.

    Args:
        samples: Of the manifest that the data set shows.
        marks: From :func:`autolabel.curate.marks.read_marks`.
        dataset: Name of the data set, for the ledger.
    """
    waiting, decided = {mark.pose: mark for mark in marks}, Decided()
    for sample in samples:
        key = sample_key(sample)
        for i, pose in enumerate(sample.poses.id.tolist()):
            mark = waiting.get(pose)
            if mark is not None and mark.key == key:
                del waiting[pose]
                _follow(mark, sample, sample.poses[i], dataset, decided)
    gone = (Notice(mark.pose, "", f"{_told(mark)}: not in the manifest any more") for mark in waiting.values())
    decided.notices.extend(gone)
    return decided


def _follow(mark: Mark, sample: Sample, pose: Pose, dataset: str, decided: Decided) -> None:
    before = Stated.of(pose)
    after, changes = _edited(mark, sample, pose)
    touched = any(change is not KeypointChange.KEPT for change in changes)
    if mark.shares is not None and not touched:
        decided.notices.append(Notice(mark.pose, sample.path, "edited into what the manifest says already"))
    if _contradicts(mark.tags):
        decided.notices.append(
            Notice(mark.pose, sample.path, f"{_told(mark)}: contradict each other, so it is sent to review")
        )
        decided.review[mark.pose] = mark.tags
    elif REJECT in mark.tags:
        verdict = Verdict.BAD_IMAGE if REJECT in mark.on_image else Verdict.NO_PERSON
        kept = [KeypointChange.KEPT] * len(changes)
        _add(decided, mark, sample, pose, dataset, before, kept, State.REJECTED, (verdict,))
        return
    elif set(mark.tags) - {ACCEPT}:
        decided.review[mark.pose] = mark.tags
    if touched or (mark.tags == (ACCEPT,)):
        _add(decided, mark, sample, pose, dataset, after, changes, State.REVIEWED, ())


def _add(
    decided: Decided,
    mark: Mark,
    sample: Sample,
    pose: Pose,
    dataset: str,
    after: Stated,
    changes: Changes,
    state: State,
    verdict: tuple[Verdict, ...],
) -> None:
    """A correction and its line of the ledger."""
    rejected = state is State.REJECTED
    moves = sum(change is not KeypointChange.KEPT for change in changes)
    correction = Correction(
        pose=pose.id,
        sample=sample.key,
        change=PoseChange.REJECTED if rejected else PoseChange.KEPT,
        keypoints=tuple(changes),
        before=Stated.of(pose),
        after=after,
        state=state,
        verdict=verdict,
        by=mark.by,
        when=mark.at,
        seconds=None,
        clicks=moves + 1,
        task=f"fiftyone {dataset} {pose.id}",
    )
    decided.corrections.append(correction)
    answer = "+".join((*mark.tags, *(("edited",) if moves else ())))
    decided.entries.append(Entry(correction, answer, KIND, "", pose.by, pose.origin))


def _edited(mark: Mark, sample: Sample, pose: Pose) -> tuple[Stated, Changes]:
    """What the pose states after the edit, and what was done to each keypoint.

    A keypoint that FiftyOne does not show, because it is absent or unlabelled, is NaN there; it is as it was unless
    somebody gave it a place.
    """
    kept = [KeypointChange.KEPT] * len(pose.xy)
    if mark.shares is None:
        return Stated.of(pose), kept
    shown = np.isin(pose.visibility, (Visibility.VISIBLE, Visibility.HIDDEN))
    placed = np.isfinite(mark.shares).all(axis=1)
    xy = to_pixels(mark.shares, sample.size)
    said = np.array([SAID.index(word) if word in SAID else Visibility.VISIBLE for word in mark.visibility], np.uint8)
    said = np.where(placed & ~np.isin(said, (Visibility.VISIBLE, Visibility.HIDDEN)), Visibility.VISIBLE, said)
    moved = placed & shown & (xy != pose.xy).any(axis=1)
    added, removed = placed & ~shown, ~placed & shown
    marked = placed & shown & ~moved & (said != pose.visibility)
    visibility = np.select([placed, removed], [said, np.uint8(Visibility.ABSENT)], pose.visibility).astype(np.uint8)
    places = np.where((moved | added)[:, None], xy, pose.xy).astype(np.float32)
    changes: Changes = np.select(
        [moved, added, removed, marked],
        [KeypointChange.MOVED, KeypointChange.ADDED, KeypointChange.REMOVED, KeypointChange.MARKED],
        KeypointChange.KEPT,
    ).tolist()
    return Stated(places, visibility, pose.box), [KeypointChange(change) for change in changes]


def _contradicts(tags: Sequence[str]) -> bool:
    return (ACCEPT in tags and len(tags) > 1) or (REJECT in tags and len(tags) > 1)


def _told(mark: Mark) -> str:
    return ", ".join((*mark.tags, *(("edited",) if mark.shares is not None else ())))


def order_of_review(review: Mapping[str, Sequence[str]]) -> list[str]:
    """Ids of the poses to review: those whose box is wrong first, because nothing else can be right there."""
    return sorted(review, key=lambda pose: WRONG_BOX not in review[pose])
