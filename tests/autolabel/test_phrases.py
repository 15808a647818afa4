import pytest

from autolabel.phrases import counted, named, plural
from autolabel.skeleton import Skeleton

COCO17 = Skeleton.load("coco17")
ODD = Skeleton(
    "odd",
    ("tail", "l_paw", "r_paw", "left_foot", "right_foot", "left_big_toe", "right_big_toe", "left_lone", "_"),
    (),
    (0, 2, 1, 4, 3, 6, 5, 7, 8),
    (0.05,) * 9,
    "test",
)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("", ""),
        ("left_knee", "left knee"),
        ("right_wrist left_wrist", "wrists"),
        ("left_knee left_ankle", "left knee and left ankle"),
        ("nose left_knee right_knee left_ankle", "nose, knees and left ankle"),
        ("left_hip right_hip left_ankle right_ankle", "hips and ankles"),
        ("nose left_eye left_ear left_hip left_knee", "nose, left eye, left ear and 2 more"),
    ],
)
def test_keypoints_in_words(names: str, words: str) -> None:
    assert named([COCO17.index(name) for name in names.split()], COCO17) == words


@pytest.mark.parametrize(
    ("which", "words"),
    [
        ([0], "tail"),
        ([1, 2], "l paw and r paw"),  # joined only where the sides are written out
        ([3, 4, 5, 6], "feet and big toes"),
        ([7], "left lone"),  # has no other side
        ([8], "_"),
    ],
)
def test_any_skeleton(which: list[int], words: str) -> None:
    assert named(which, ODD) == words


@pytest.mark.parametrize(("one", "more"), [("front paw", "front paws"), ("box", "boxes"), ("hind foot", "hind feet")])
def test_plural(one: str, more: str) -> None:
    assert plural(one) == more


@pytest.mark.parametrize(
    ("number", "noun", "words"),
    [(0, "box", "0 boxes"), (1, "box", "1 box"), (1200, "task", "1,200 tasks"), (2, "boxed person", "2 boxed people")],
)
def test_counted(number: int, noun: str, words: str) -> None:
    assert counted(number, noun) == words
