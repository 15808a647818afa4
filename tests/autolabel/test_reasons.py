from typing import Any

import numpy as np
import pytest

from autolabel.errors import InputError
from autolabel.reasons import RULES, reasons
from autolabel.skeleton import Skeleton

COCO17 = Skeleton.load("coco17")
K = 17
QUIET = {
    "peak": 0.9,
    "second": 0.0,
    "entropy": 0.0,
    "spread": 2.0,
    "expected_ks": 0.9,
    "flip_ks": 1.0,
    "swap_ks": 0.0,
    "other_side": 0.0,
    "jitter_ks": 1.0,
    "quality_ks": 1.0,
    "quality_gross": 0.0,
    "presence": 1.0,
    "bones": 0.0,
    "residual": 1.0,
    "against": 1.0,
    "conflict": 0.0,
}
QUIET_POSE = {"novelty": 1.0, "size": 200.0, "edge": 0.0, "outside": 0.0, "box_score": 1.0, "quality_bad": 0.0}


def at(names: str) -> list[int]:
    return [COCO17.index(name) for name in names.split()]


def doubts(names: str, p: float = 0.6, n: int = 1) -> np.ndarray:
    """(n, 17) doubt about some keypoints, hardly any about the rest."""
    values = np.full((n, K), 0.01)
    values[:, at(names)] = p
    return values


def evidence(n: int = 1, where: str = "", **loud: float) -> dict[str, np.ndarray]:
    """Evidence that says nothing, but for some numbers, at some keypoints or about the pose."""
    found = {name: np.full((n, K), value, np.float32) for name, value in QUIET.items()}
    found |= {name: np.full(n, value, np.float32) for name, value in QUIET_POSE.items()}
    for name, value in loud.items():
        if name in QUIET_POSE:
            found[name][:] = value
        else:
            found[name][:, at(where) if where else slice(None)] = value
    return found


def texts(p_gross: np.ndarray, found: dict[str, np.ndarray], **options: Any) -> list[str]:
    (told,) = reasons(p_gross, found, COCO17, **options)
    return [reason["text"] for reason in told]


@pytest.mark.parametrize(
    ("where", "loud", "text"),
    [
        ("left_knee", {"second": 0.9}, "left knee: two peaks"),
        ("left_wrist", {"peak": 0.1}, "left wrist: weak peak"),
        ("left_wrist right_wrist", {"peak": 0.1}, "wrists: weak peak"),
        ("left_hip", {"expected_ks": 0.1}, "left hip: blurred"),
        ("left_hip left_knee", {"spread": 9.0}, "left hip and left knee: blurred"),
        ("nose", {"entropy": 2.0}, "nose: many peaks"),
        ("left_elbow", {"flip_ks": 0.1}, "left elbow: moves in the mirror image"),
        ("left_knee right_knee", {"other_side": 0.9}, "knees: left and right swapped?"),
        (
            "left_knee right_knee left_ankle right_ankle",
            {"swap_ks": 0.9, "flip_ks": 0.1},
            "knees and ankles: left and right swapped?",
        ),
        ("left_hip", {"jitter_ks": 0.1}, "left hip: moves with the crop"),
        ("left_hip", {"quality_gross": 0.9}, "left hip: the network expects an error"),
        ("left_hip", {"quality_ks": 0.1}, "left hip: the network expects an error"),
        ("right_ankle", {"bones": 3.0}, "right ankle: bone too long"),
        ("right_ankle", {"residual": 12.0}, "right ankle: unusual posture"),
        ("right_wrist", {"conflict": 0.9}, "right wrist: on another person"),
        ("right_wrist", {"against": 0.1}, "right wrist disagrees with the other manifest"),
        ("left_wrist right_wrist", {"against": 0.1}, "wrists disagree with the other manifest"),
        ("left_ankle", {"presence": 0.55}, "left ankle: inside the image?"),
        ("left_ankle", {"novelty": 6.0}, "unlike anything checked"),
        ("left_ankle", {"edge": 2.0}, "cut by the image's edge"),
        ("left_ankle", {"outside": 0.4}, "cut by the image's edge"),
        ("left_ankle", {"size": 20.0}, "very small"),
        ("left_ankle", {"box_score": 0.1}, "perhaps nobody"),
        ("left_ankle", {"quality_bad": 0.9}, "the network expects a bad pose"),
    ],
)
def test_each_rule(where: str, loud: dict[str, float], text: str) -> None:
    (told,) = reasons(doubts(where), evidence(1, where, **loud), COCO17)
    assert [reason["text"] for reason in told] == [text]
    assert told[0]["feature"] in loud
    assert told[0]["keypoints"] == [COCO17.keypoints[i] for i in sorted(at(where))]
    assert 0 < told[0]["weight"] <= 0.6 * len(at(where))


def test_every_rule_is_told_by_a_test() -> None:
    (marker,) = (mark for mark in test_each_rule.pytestmark if mark.name == "parametrize")
    told = {text for *_, text in marker.args[1]} | {"mirrored?"}
    ends = {rule.text.removeprefix("{who}").removesuffix("{other}").replace("{s}", "") for rule in RULES}
    ends.remove(": outside the image?")
    assert all(any(end in text.replace("disagrees", "disagree") for text in told) for end in ends)


def test_mirrored_pose() -> None:
    every = " ".join(COCO17.keypoints[1:])
    (told,) = reasons(doubts("left_hip right_knee"), evidence(1, every, swap_ks=0.9, flip_ks=0.1), COCO17)
    assert told[0]["text"] == "mirrored?"
    # The other side of a doubtful keypoint belongs to it.
    assert told[0]["keypoints"] == ["left_hip", "right_hip", "left_knee", "right_knee"]


@pytest.mark.parametrize(
    ("where", "swap", "flip"),
    [
        ("left_knee right_knee", 0.9, 0.1),  # a single pair
        ("left_knee right_knee left_ankle right_ankle", 0.9, 0.85),  # seen from the side both fit
        ("left_knee right_knee left_ankle right_ankle", 0.4, 0.1),  # neither fits
        ("nose", 0.9, 0.1),  # has no other side
    ],
)
def test_no_swap(where: str, swap: float, flip: float) -> None:
    said = texts(doubts(where), evidence(1, where, swap_ks=swap, flip_ks=flip))
    assert not any("swapped" in text or "mirrored" in text for text in said)


def test_mirror_image_needs_the_flip_test() -> None:
    found = evidence(1, "", swap_ks=0.9, flip_ks=0.1)
    del found["flip_ks"]
    assert texts(doubts("left_hip"), found) == []


def test_sure_poses_have_no_reasons() -> None:
    loud = evidence(3, "", peak=0.05, second=1.0, novelty=9.0, against=0.0)
    assert reasons(np.full((3, K), 0.04), loud, COCO17) == [[], [], []]
    assert reasons(np.full((3, K), np.nan), loud, COCO17) == [[], [], []]


def test_only_doubtful_keypoints_are_named() -> None:
    loud = evidence(1, "", second=1.0)
    p = np.linspace(0.01, 0.1, K)[None]
    (few,) = reasons(p, loud, COCO17)
    assert few[0]["keypoints"] == ["left_ankle", "right_ankle"]  # none is doubtful: the two that are most
    p[0, :5] = 0.2
    (more,) = reasons(p, loud, COCO17)
    assert more[0]["keypoints"] == list(COCO17.keypoints[:5])


def test_heaviest_first_and_no_more_than_asked() -> None:
    found = evidence(1, "left_wrist", peak=0.1, against=0.0, bones=3.0, novelty=9.0, size=10.0, jitter_ks=0.0)
    (told,) = reasons(doubts("left_wrist"), found, COCO17, most=10)
    assert len(told) == 6
    assert [r["weight"] for r in told] == sorted((r["weight"] for r in told), reverse=True)
    assert told[0]["feature"] == "against"
    assert reasons(doubts("left_wrist"), found, COCO17, most=2) == [told[:2]]
    assert reasons(doubts("left_wrist"), found, COCO17, most=0) == [[]]


def test_one_reason_of_a_family_for_each_keypoint() -> None:
    found = evidence(1, "left_wrist", peak=0.1, second=0.9, entropy=2.0, spread=9.0)
    found["peak"][0, at("left_hip")] = 0.1
    assert texts(doubts("left_wrist left_hip"), found) == ["left wrist: two peaks", "left hip: weak peak"]


def test_absent_keypoints_are_only_asked_whether_they_are_there() -> None:
    found = evidence(1, "left_ankle", peak=0.5, second=0.9, bones=3.0, flip_ks=0.0)
    gone = np.zeros((1, K), bool)
    gone[0, at("left_ankle")] = True
    assert texts(doubts("left_ankle"), found, absent=gone) == ["left ankle: outside the image?"]
    found["against"][0, at("left_ankle")] = 0.0
    assert "left ankle disagrees with the student" in texts(
        doubts("left_ankle"), found, absent=gone, other="the student"
    )


def test_what_is_not_known_says_nothing() -> None:
    unknown = {name: np.full_like(values, np.nan) for name, values in evidence(2).items()}
    assert reasons(doubts("nose", n=2), unknown, COCO17) == [[], []]
    assert reasons(doubts("nose", n=2), {}, COCO17) == [[], []]
    strange = {"embedding": np.zeros((2, 8)), "flip_peak": np.zeros((2, K))}
    assert reasons(doubts("nose", n=2), strange, COCO17) == [[], []]


def test_many_poses_are_told_as_each_alone() -> None:
    rng = np.random.default_rng(0)
    n = 5000
    found = {name: (rng.random((n, K)) * 2).astype(np.float32) for name in QUIET}
    found |= {name: (rng.random(n) * 5).astype(np.float32) for name in QUIET_POSE}
    p = rng.random((n, K)) ** 4
    told = reasons(p, found, COCO17)
    assert len(told) == n
    for i in (0, 2047, 2048, n - 1):
        assert reasons(p[i : i + 1], {name: values[i : i + 1] for name, values in found.items()}, COCO17) == [told[i]]


def test_one_keypoint_and_no_pose() -> None:
    dot = Skeleton("dot", ("tail_tip",), (), (0,), (0.05,), "test")
    (told,) = reasons([[0.5]], {"peak": np.array([[0.1]]), "swap_ks": np.ones((1, 1)), "flip_ks": np.ones((1, 1))}, dot)
    assert [reason["text"] for reason in told] == ["tail tip: weak peak"]
    assert reasons(np.empty((0, K)), evidence(0), COCO17) == []


@pytest.mark.parametrize(
    ("p_gross", "found", "options", "message"),
    [
        (np.zeros((2, 4)), {}, {}, r"p_gross has shape \(2, 4\), expected \(N, 17\)"),
        (np.zeros(K), {}, {}, "p_gross"),
        (np.zeros((2, K)), {"peak": np.zeros((3, K))}, {}, r"'peak': has shape \(3, 17\), expected \(2, 17\)"),
        (np.zeros((2, K)), {"size": np.zeros((2, K))}, {}, r"'size': has shape \(2, 17\), expected \(2,\)"),
        (np.zeros((2, K)), {}, {"absent": np.zeros(K)}, "absent has shape"),
    ],
)
def test_wrong_shapes_are_refused(
    p_gross: np.ndarray, found: dict[str, np.ndarray], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        reasons(p_gross, found, COCO17, **options)


def test_what_is_usual_is_no_reason() -> None:
    skeleton = Skeleton.load("coco17")
    doubt = np.full((1, 17), 0.5)
    evidence = {"peak": np.full((1, 17), 0.2), "second": np.full((1, 17), 0.6)}
    usual = {"peak": np.full(17, 0.1), "second": np.where(np.arange(17) == 3, 0.5, 0.7)}
    told = reasons(doubt, evidence, skeleton, usual=usual)[0]
    assert [(reason["feature"], reason["keypoints"]) for reason in told] == [("second", [skeleton.keypoints[3]])]
    unknown = {"peak": np.full(17, np.nan), "second": np.full(17, 0.7)}
    assert {reason["feature"] for reason in reasons(doubt, evidence, skeleton, usual=unknown)[0]} == {"peak"}
