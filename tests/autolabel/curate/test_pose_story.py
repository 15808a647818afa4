"""A pose explained: what is told, and in what order."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autolabel.curate.pose_story import ANSWERS, Story, most_doubtful, table, tell, tell_all
from autolabel.ledger import Entry
from autolabel.merge import PoseChange, Verdict
from autolabel.poses import Origin, Visibility
from tests.looks import STICK, K, look

NAN = float("nan")
POSE: dict[str, Any] = {
    "pose_id": "abc",
    "tags": ["mine", "accept"],
    "decided_by": "ada",
    "decided_at": "2026-11-27T22:13:05+00:00",
    "p_bad": 0.1234,
    "state": "open",
    "by": "net",
    "routed": "review",
    "reasons": ["left end: two peaks"],
    "lint": ["mirrored limb"],
    "p_gross": [0.1, 0.4, 0.2],
    "presence": [NAN, NAN, NAN],
    "confidence": [0.9, 0.2, 0.5],
    "visibility": ["visible", "hidden", "visible"],
    "origin": ["model", "model", "human"],
}


def story(pose: dict[str, Any] | None = None, **given: Any) -> Story:
    return Story(POSE if pose is None else pose, "a/0.png", STICK.keypoints, STICK, **given)


def answer(by: str = "ann", *, laid: bool = True, **given: Any) -> Entry:
    origin = np.full(K, Origin.MODEL, np.uint8)
    return Entry(look(by, **given).correction, "1", "review", "r", "net", origin, laid)


def rows(text: str, head: str) -> list[list[str]]:
    """The rows of the table that begins with a word."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {head} "))
    body = lines[start + 2 :]
    end = next((i for i, line in enumerate(body) if not line.startswith("|")), len(body))
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in body[:end]]


def test_everything_that_is_known_is_told() -> None:
    told = tell(story())
    assert told.startswith(
        "Pose `abc` in `a/0.png`\n\n**p_bad 0.123** · state open · stated by `net` · routed to review"
    )
    assert "Tagged `mine`, `accept` by `ada` at 2026-11-27 22:13." in told
    assert "- left end: two peaks\n- lint: mirrored limb" in told
    assert told.endswith("Nobody has answered about it yet.")


def test_the_most_doubtful_keypoints_come_first_and_empty_columns_not_at_all() -> None:
    assert rows(tell(story()), "most doubtful") == [
        ["left end", "0.400", "0.200", "hidden", "model"],
        ["right end", "0.200", "0.500", "visible", "human"],
        ["top", "0.100", "0.900", "visible", "model"],
    ]


@pytest.mark.parametrize(
    ("gross", "score", "order"),
    [
        ([0.1, 0.4, 0.2], [NAN] * 3, [1, 2, 0]),
        ([NAN] * 3, [0.9, 0.2, 0.5], [1, 2, 0]),  # nobody scored it: the network's own doubt
        ([0.1, None, 0.2], [0.9, 0.2, 0.5], [2, 0, 1]),
        ([], [], [0, 1, 2]),
        (None, None, [0, 1, 2]),
    ],
)
def test_the_order_of_doubt(gross: Any, score: Any, order: list[int]) -> None:
    assert most_doubtful(story({"p_gross": gross, "confidence": score})) == order


def test_a_bare_pose_is_told_in_a_few_words() -> None:
    told = tell(Story({"pose_id": "abc"}, "", STICK.keypoints))
    assert told.split("\n\n") == [
        "Pose `abc`",
        "state open",
        "No reason to doubt it was written down.",
        "Nobody has answered about it yet.",
    ]


def test_by_the_truth() -> None:
    assert "OKS with the truth 0.310 · bad by the truth" in tell(story({**POSE, "oks": 0.31, "bad": True}))
    assert "truth" not in tell(story({**POSE, "oks": None, "bad": None}))


def test_features_of_the_most_doubtful_keypoints_and_of_the_pose() -> None:
    features = {
        "peak": np.array([0.9, 0.2, 0.5], np.float32),
        "swap_ks": np.array([1e-9, 0.2, 12.345]),
        "unknown": np.array([NAN] * 3),
        "embedding": np.arange(3.0),
        "size": np.array([147.6]),
        "novelty": np.array([NAN]),
    }
    told = tell(story(features=features))
    assert rows(told, "measured") == [
        ["peak", "0.200", "0.500", "0.900", "low"],
        ["swap_ks", "0.200", "12.3", "0.000", "either"],
    ]
    assert "Of the whole pose: size 148." in told
    assert "embedding" not in told


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({}, "left as it was"),
        ({"to": {0: (53.0, 24.0)}}, "top moved 5.0 px"),
        ({"to": {1: (33.0, 84.0), 2: (70.0, 83.0)}}, "ends moved up to 5.0 px"),
        ({"said": {0: Visibility.HIDDEN}}, "top marked"),
        ({"said": {0: Visibility.ABSENT}}, "top removed"),
        ({"to": {0: (53.0, 24.0)}, "verdict": (Verdict.EXPERT,)}, "needs expert; top moved 5.0 px"),
        ({"rejected": True}, "rejected"),
        ({"rejected": True, "verdict": (Verdict.NO_PERSON,)}, "rejected: person missing or wrong"),
    ],
)
def test_what_an_answer_did(given: dict[str, Any], what: str) -> None:
    (row,) = rows(tell(story(history=[answer(**given)])), "answered")
    assert row == ["2026-01-02 10:00", "ann", "review", "5", what]


def test_a_moved_box_and_an_answer_that_is_laid_over_nothing() -> None:
    entry = answer(laid=False, seconds=None)
    moved = replace(entry, correction=replace(entry.correction, change=PoseChange.BOX_MOVED))
    (row,) = rows(tell(story(history=[moved])), "answered")
    assert row[2:] == ["review, laid over nothing", "", "box moved"]


def test_without_the_manifest_keypoints_are_counted() -> None:
    told = tell(replace(story(history=[answer(to={0: (53.0, 24.0)})]), skeleton=None))
    assert rows(told, "answered")[0][4] == "1 keypoint moved 5.0 px"


def test_the_last_answers_are_listed_in_order() -> None:
    history = [answer(f"p{i}", minute=i) for i in range(ANSWERS + 3)]
    told = tell(story(history=history[::-1]))
    assert [row[1] for row in rows(told, "answered")] == [f"p{i}" for i in range(3, ANSWERS + 3)]
    assert "not listed: 3." in told


def test_what_could_not_be_looked_up_is_said() -> None:
    told = tell(story(missing="gone/m: not a manifest folder."))
    assert told.endswith("`gone/m: not a manifest folder.`")
    assert "Nobody has answered" not in told


def test_several_stories_and_how_many_are_left() -> None:
    told = tell_all([story(), story()], 6)
    assert told.count("Pose `abc`") == 2
    assert told.endswith("*4 poses more of the selection: select fewer to see them.*")
    assert "select fewer" not in tell_all([story()], 1)


def test_names_of_others_stay_in_their_cell() -> None:
    told = tell(story(history=[answer("a|b\nc")]))
    assert "| a\\|b c |" in told


def test_a_table_without_rows_is_nothing() -> None:
    assert table(("a", "b"), ()) == ""
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
