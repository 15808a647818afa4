"""What a page cannot tell is said, with its reason, and nothing else is."""

from dataclasses import replace

import pytest

from autolabel.report.answers import Answered, Work
from autolabel.report.evidence import NOTHING, Evidence
from autolabel.report.gaps import gaps
from autolabel.report.rounds import Arm, Gate, Quality, Round, Score
from autolabel.reviewer_quality import Share
from tests.autolabel.report.yardsticks import yardstick
from tests.looks import STICK

QUALITY = Quality(10, 0.1, 0.1, 1.0, 0.9)
SCORE = Score(0.9, ((1.0, 0.1),), ((0.1, 0.1, 90),))
BARE = Round(0, "m", 1, {"untouched": 5}, 0, 0, Arm(), None, None, {})
KNOWN = replace(BARE, routed=Arm(QUALITY, QUALITY), score=SCORE, gate=Gate("promoted", "better", None, None))
WORK = Work("round 1", opened=4, ordinary=4, fixed_timed=2, fixing_seconds=9.0, timed=4, seconds=9.0)
ANSWERED = Answered((WORK,), None, 0, Share(1, 2), {}, 4, ((None, None),), (None,))  # type: ignore[arg-type]
SEVERAL = yardstick({0}, set())
FULL = Evidence(
    skeleton=STICK, yardsticks=(SEVERAL,), base=SEVERAL, doubt=(("test", SCORE),), answered=ANSWERED,
    speed=(5, 1.0), states={"accepted": 3},
)  # fmt: skip


def told(found: Round, evidence: Evidence) -> dict[str, str]:
    return {name: reason for block in gaps((found,), None, evidence) for name, reason in block.gaps}


def test_where_everything_is_told_there_is_no_list() -> None:
    assert gaps((KNOWN,), None, FULL) == ()


def test_of_a_bare_project_everything_is_missing_with_its_reason() -> None:
    said = told(BARE, NOTHING)
    assert set(said) == {
        *("Error of untouched poses", "Risk against coverage, reliability", "Forgetting"),
        *("Learning, kinds of error, errors by keypoint", "New networks against old ones"),
        "People's work, swaps found, planted errors missed",
    }
    assert "corpus.test" in said["Forgetting"] and "rounds.random_share" in said["Risk against coverage, reliability"]


@pytest.mark.parametrize(
    ("change", "name", "reason"),
    [
        ({"yardsticks": (yardstick({0}),)}, "Learning", "Only one network"),
        ({"base": None}, "Forgetting", "give corpus.base or corpus.test"),
        ({"base": yardstick({0})}, "Forgetting", "Only one network was measured on the held-out test"),
        ({"answered": None}, "People's work, swaps found, planted errors missed", "No answer"),
        ({"answered": replace(ANSWERED, swapped=())}, "Swaps found", "No answer exchanged"),
        ({"answered": replace(ANSWERED, caught=Share(0, 0))}, "Planted errors", "promise.plants"),
        ({"answered": replace(ANSWERED, missed=())}, "Planted errors missed", "found all 2"),
        ({"answered": replace(ANSWERED, work=(Work("a", 1),))}, "Seconds a fixed keypoint", "do not tell how long"),
        ({"answered": replace(ANSWERED, work=(Work("a", 1, timed=1),))}, "Seconds a fixed keypoint", "no keypoint"),
        ({"states": {"review": 2}}, "Accepted without a touch", "Nothing is accepted"),
        ({"speed": None}, "Images a second", "do not tell"),
        ({"gaps": (("Learning on the test", "the manifest is gone"),)}, "Learning on the test", "is gone"),
    ],
)
def test_each_missing_thing_is_said_alone(change: dict[str, object], name: str, reason: str) -> None:
    said = told(KNOWN, replace(FULL, **change))  # type: ignore[arg-type]
    assert list(said) == [name]
    assert reason in said[name]
