"""Who placed what: from the ledger where it knows, else from what the pose says of itself."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autolabel.blame import Placed, blame_pose
from autolabel.ledger import Entry
from autolabel.merge import State, correct
from autolabel.poses import Origin, Pose, Poses, Sample, Visibility
from tests.looks import SENT, STICK, K, look, sent_pose

Places = dict[int, tuple[float, float]]


class Story:
    """A pose on its way through several people's hands."""

    def __init__(self, pose: Pose | None = None) -> None:
        self.pose = pose or sent_pose()
        self.entries: list[Entry] = []

    def answer(
        self, by: str, to: Places | None = None, *, merged: bool = True, laid: bool = True, **given: Any
    ) -> None:
        """Somebody answers; what they left is laid over the pose unless it is said otherwise."""
        correction = look(by, to, pose=self.pose, minute=len(self.entries), **given).correction
        self.entries.append(
            Entry(correction, str(len(self.entries)), "review", "r", self.pose.by, self.pose.origin, laid, "sent")
        )
        if merged:
            poses = correct(Sample("s0", "images", "0.png", (100, 100), _alone(self.pose)), {self.pose.id: correction})
            self.pose = poses.poses[0]

    def blame(self) -> tuple[Placed, ...]:
        return blame_pose(self.pose, self.entries[::-1], STICK)


def _alone(pose: Pose) -> Poses:
    names = ("id", "xy", "visibility", "box", "area", "origin", "by", "attributes")
    return Poses.create(K, **{name: [getattr(pose, name)] for name in names})


def test_what_nobody_moved_is_the_models() -> None:
    story = Story()
    story.answer("ann", {0: (53.0, 24.0)})
    top, left, _ = story.blame()
    assert (top.keypoint, top.origin, top.by, top.since[14:16]) == ("top", "human", "ann", "00")
    assert (top.place, top.distance, top.said) == ((53.0, 24.0), 5.0, "visible")
    assert (left.origin, left.by, left.since, left.distance) == ("model", "net", "sent", 0.0)
    assert (top.confirmed, left.confirmed) == ((), ("ann",))
    assert (top.steps[0].change, top.steps[0].before, top.steps[0].seconds) == ("moved", (50.0, 20.0), 5.0)


def test_a_later_person_overrules_and_a_still_later_one_confirms() -> None:
    story = Story()
    story.answer("ann", {0: (53.0, 24.0)})
    story.answer("bob", {0: (50.0, 28.0)})
    story.answer("cid")
    top = story.blame()[0]
    assert (top.by, top.since[14:16], top.distance, top.confirmed) == ("bob", "01", 8.0, ("cid",))
    assert [step.change for step in top.steps] == ["moved", "moved", "kept"]
    assert top.steps[1].distance == pytest.approx(5.0)


def test_what_was_not_merged_does_not_stand() -> None:
    story = Story()
    story.answer("ann", {0: (53.0, 24.0)})
    story.answer("bob", {0: (60.0, 24.0)}, merged=False)
    top = story.blame()[0]
    assert (top.by, len(top.steps)) == ("ann", 2)


def test_of_a_consensus_the_person_is_named_whose_point_it_took() -> None:
    story = Story()
    story.answer("ann", {0: (53.0, 24.0)}, merged=False)
    story.answer("bob", {0: (54.0, 24.0)}, merged=False)
    story.answer("ann, bob", {0: (53.0, 24.0)})
    story.entries[-1] = replace(story.entries[-1], annotation="")
    top, left, _ = story.blame()
    assert (top.by, top.since[14:16]) == ("ann", "00")
    assert left.confirmed == ("ann", "bob")


def test_a_blind_answer_is_told_and_never_blamed() -> None:
    story = Story()
    story.answer("bob", {0: (50.0, 20.0)}, merged=False, laid=False, blind=True)
    top = story.blame()[0]
    assert (top.by, top.origin, top.confirmed, top.steps[0].laid) == ("net", "model", (), False)


@pytest.mark.parametrize(("said", "word"), [(Visibility.HIDDEN, "hidden"), (Visibility.ABSENT, "absent")])
def test_a_word_about_a_keypoint_is_a_persons_too(said: Visibility, word: str) -> None:
    story = Story()
    story.answer("ann", said={1: said})
    _, left, right = story.blame()
    assert (left.by, left.origin, left.said, left.distance) == ("ann", "human", word, 0.0)
    assert right.by == "net"


def test_a_rejected_pose_is_nobodys_confirmation() -> None:
    story = Story()
    story.answer("ann", rejected=True)
    top = story.blame()[0]
    assert (top.by, top.confirmed, top.steps[0].change) == ("net", (), "rejected")


def test_an_added_point_has_no_distance() -> None:
    xy = SENT.copy()
    xy[2] = np.nan
    story = Story(sent_pose(xy=xy, visibility=[2, 2, 0]))
    story.answer("ann", {2: (70.0, 70.0)}, said={2: Visibility.VISIBLE})
    right = story.blame()[2]
    assert (right.by, right.place, right.distance, right.steps[0].before) == ("ann", (70.0, 70.0), None, None)


def test_what_the_ledger_does_not_know_is_told_by_the_pose() -> None:
    story = Story()
    story.answer("ann", {0: (53.0, 24.0)})
    story.pose = _alone(story.pose).replace(
        xy=[[[1.0, 2.0], *SENT[1:]]], origin=[[Origin.MODEL, Origin.MODEL, Origin.MODEL]], by=["net 2"], attributes=[{}]
    )[0]
    top = story.blame()[0]
    assert (top.by, top.origin, top.since) == ("net 2", "model", "")


@pytest.mark.parametrize(
    ("before", "change"),
    [
        ([2, 2, 0], {"xy": (70.0, 80.0), "visibility": 2}),  # it had no place
        ([2, 2, 2], {"xy": (71.0, 80.0), "visibility": 2}),
        ([2, 2, 2], {"xy": (70.0, 80.0), "visibility": 1}),  # the same place, said to be hidden
    ],
)
def test_what_another_tool_stated_later_is_not_the_first_networks(before: list[int], change: dict[str, Any]) -> None:
    xy = SENT.copy()
    xy[2] = np.nan if before[2] == 0 else xy[2]
    pose = sent_pose(xy=xy, visibility=before)
    origin = [Origin.MODEL, Origin.MODEL, Origin.MODEL if before[2] else Origin.NONE]
    story = Story(_alone(pose).replace(origin=[origin])[0])
    story.answer("ann", {0: (53.0, 24.0)})
    later = {"xy": [[*story.pose.xy[:2], change["xy"]]], "visibility": [[2, 2, change["visibility"]]]}
    poses = _alone(story.pose).replace(**later, origin=[[*story.pose.origin[:2], Origin.IMPORTED]])
    story.pose = poses.replace(by=["tool"], attributes=[{}])[0]
    top, _, right = story.blame()
    assert (right.origin, right.by, right.since) == ("imported", "tool", "")
    assert (top.origin, top.by) == ("human", "ann")


@pytest.mark.parametrize(
    ("origin", "state", "by"),
    [
        (Origin.MODEL, {}, "x"),
        (Origin.IMPORTED, {}, "x"),
        (Origin.HUMAN, {"state": State.REVIEWED.value}, "x"),
        (Origin.MODEL, {"state": State.REVIEWED.value}, ""),  # the signature is the reviewer's
        (Origin.NONE, {}, ""),
    ],
)
def test_without_a_ledger(origin: Origin, state: dict[str, str], by: str) -> None:
    pose = _alone(sent_pose()).replace(origin=[[origin] * K], by=["x"], attributes=[state])[0]
    top = blame_pose(pose, [], STICK)[0]
    assert (top.origin, top.by, top.since, top.distance, top.steps) == (origin.name.lower(), by, "", None, ())
