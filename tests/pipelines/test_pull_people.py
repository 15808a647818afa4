"""The table of who did what."""

from dataclasses import replace

import numpy as np
import pytest

from autolabel.labelstudio.exports import Annotation
from autolabel.labelstudio.images import ImageCheck
from autolabel.merge import Correction, KeypointChange, PoseChange, State, Stated, Verdict
from pipelines.pull_answers import Answers
from pipelines.pull_people import count_people, told_people

SENT = Stated(np.array([[10, 10], [50, 50]], np.float32), np.full(2, 2, np.uint8), np.zeros(4))


def answer(by: str, dx: float = 0.0, **changes: object) -> Correction:
    """Moves the first keypoint by dx."""
    after = Stated(SENT.xy + np.array([[dx, 0], [0, 0]], np.float32), SENT.visibility, SENT.box)
    first = KeypointChange.MOVED if dx else KeypointChange.KEPT
    made = Correction(
        pose="p", sample=("s", "r", "a.png"), change=PoseChange.KEPT, keypoints=(first, KeypointChange.KEPT),
        before=SENT, after=after, state=State.REVIEWED, verdict=(), by=by, when="2026-11-22T20:00:00Z", seconds=5.0,
        clicks=1, task="t",
    )  # fmt: skip
    return replace(made, **changes)


def skip(by: str, annotation: str, **changes: object) -> Annotation:
    return replace(Annotation("t", annotation, by, "2026-11-22T20:00:00Z", None, True, ()), **changes)


ANSWERS = Answers(
    corrections={},
    checks=[],
    images=[ImageCheck(("s", "r", "a.png"), 1, (), 2, "eve", "2026-11-22T20:00:00Z", None, 3, "t")],
    notices=[],
    usable=[
        answer("ann", 3.0),
        answer("ann", 5.0, seconds=7.0),
        answer("ann", seconds=None, state=State.EXPERT),
        answer("ann", 200.0, verdict=(Verdict.SWAPPED,)),
        answer("bob", 99.0, state=State.REJECTED),
        answer("bob", state=State.REJECTED, verdict=(Verdict.SWAPPED, Verdict.NO_PERSON)),
    ],
)
JOURNAL = [
    skip("bob", "1"),
    skip("bob", "2"),
    skip("bob", "2", skipped=False),  # answered in the end
    skip("eve", "3", deleted=True),
]


def test_everybody_is_counted_by_what_they_did() -> None:
    ann, bob, eve = count_people(ANSWERS, JOURNAL)
    assert (ann.by, ann.answers, ann.swapped, ann.rejected, ann.expert, ann.skipped) == ("ann", 4, 1, 0, 1, 0)
    assert (ann.keypoints["moved"], ann.keypoints["kept"], ann.pixels, ann.seconds) == (2, 4, 4.0, 5.0)
    assert (bob.by, bob.answers, bob.swapped, bob.rejected, bob.skipped, bob.pixels) == ("bob", 2, 0, 2, 1, None)
    assert sum(bob.keypoints.values()) == 0, "what is rejected was not placed"
    assert (eve.by, eve.answers, eve.images, eve.skipped, eve.seconds) == ("eve", 0, 1, 0, None)


def test_the_table_has_a_line_for_everybody_and_every_kind() -> None:
    text = told_people({"answered": 4, "people": {}, "kinds": {}}, count_people(ANSWERS, JOURNAL), {"odd thing": 1200})
    summary, people, kinds = text.split("\n\n")
    assert summary == "answered  4"
    assert [line.split()[0] for line in people.splitlines()] == ["by", "ann", "bob", "eve"]
    assert people.splitlines()[1].split() == [
        "ann",
        "4",
        "4",
        "2",
        "0",
        "0",
        "0",
        "4.0",
        "1",
        "0",
        "1",
        "0",
        "0",
        "5.0",
    ]
    assert kinds.splitlines()[1].split(maxsplit=1) == ["1,200", "odd thing"]


@pytest.mark.parametrize("kinds", [{}, {"x": 1}])
def test_nobody_makes_no_table(kinds: dict[str, int]) -> None:
    assert len(told_people({"answered": 0}, (), kinds).split("\n\n")) == 1 + bool(kinds)
