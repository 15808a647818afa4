"""Whose keypoints are whose."""

from pathlib import Path

import numpy as np
import pytest

from autolabel.errors import FormatError
from autolabel.poses import Poses
from tests.autolabel.formats.labelstudio_exports import CANVAS, FACE, Item, annotation, box, kp, read, task


def people(poses: Poses) -> list[tuple[str, bool]]:
    """The initials of each one's keypoints, and whether there is a box."""
    return [
        ("".join(name[0] for name, there in zip(FACE.keypoints, row, strict=True) if there), not np.isnan(x))
        for row, x in zip(poses.labelled.tolist(), poses.box[:, 0], strict=True)
    ]


def arrow(a: str, b: str) -> Item:
    return {"type": "relation", "from_id": a, "to_id": b, "direction": "right"}


def vector(id: str, *names: str, **more: object) -> Item:
    vertices = [
        {"id": n, "x": 10 + i, "y": 20, "prevPointId": names[i - 1] if i else None} for i, n in enumerate(names)
    ]
    value = {"vertices": vertices, "closed": False, "vectorlabels": ["person"]}
    return {"id": id, "type": "vectorlabels", "from_name": "vec", "value": value, **CANVAS, **more}


A, B = box("a", 0, 0, 40, 100), box("b", 60, 0, 40, 100)
OVER_A = box("c", 20, 0, 40, 100)
GROUP = box("g", 0, 0, 100, 100)
HEAD = box("h", 5, 5, 20, 20, parentID="a")


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        pytest.param([kp("nose", parent="a"), kp("nose", 70, parent="b"), A, B], [("n", True)] * 2, id="by parent"),
        pytest.param([A, B, kp("nose", 70, parent="a")], [("n", True), ("", True)], id="parent before place"),
        pytest.param([kp("nose", parent="h"), kp("left_eye", parent="a"), A, HEAD], [("nl", True)], id="head in a box"),
        pytest.param(
            [kp("nose", parent="a"), kp("nose", 70, parent="b"), {**A, "parentID": "g"}, {**B, "parentID": "g"}, GROUP],
            [("n", True)] * 2,
            id="box around two people",
        ),
        pytest.param([kp("nose", parent="gone"), kp("left_eye", parent="gone")], [("nl", False)], id="deleted parent"),
        pytest.param(
            [kp("nose", parent="x"), kp("nose", 30, parent="y"), kp("left_eye", parent="y")],
            [("n", False), ("nl", False)],
            id="two deleted parents",
        ),
        pytest.param([kp("nose", id="n"), kp("left_eye", parent="n")], [("nl", False)], id="hangs on a keypoint"),
        pytest.param(
            [kp("nose", id="n", parent="e"), kp("left_eye", id="e", parent="n")], [("nl", False)], id="hang on another"
        ),
        pytest.param([kp("nose"), kp("left_eye"), kp("right_eye")], [("nlr", False)], id="no parents, one person"),
        pytest.param([kp("nose"), kp("left_eye", 90), A], [("nl", True)], id="no parents, one box"),
        pytest.param([kp("nose", parent="a"), kp("left_eye", 90), A], [("nl", True)], id="one of one person is loose"),
        pytest.param([A, B], [("", True)] * 2, id="boxes alone"),
        pytest.param([], [], id="nobody"),
        pytest.param(
            [kp("nose", 90, id="n"), kp("left_eye", 90, id="e"), arrow("n", "e"), A, arrow("e", "a"), B],
            [("nl", True), ("", True)],
            id="by relation",
        ),
        pytest.param(
            [kp("nose", id="n"), kp("left_eye", id="e"), kp("nose", 70, id="m"), arrow("e", "n"), arrow("m", "f"),
             kp("left_eye", 70, id="f")],
            [("nl", False)] * 2,
            id="relations alone",
        ),
        pytest.param([kp("nose", 10), kp("nose", 70), A, B], [("n", True)] * 2, id="by place"),
        pytest.param(
            [kp("nose", 30, parent="a"), kp("nose", 30), A, OVER_A], [("n", True)] * 2, id="the one who lacks it"
        ),
        pytest.param([vector("v", "nose", "left_eye")], [("nl", False)], id="a skeleton of vectors"),
        pytest.param([vector("v", "nose"), vector("w", "nose")], [("n", False)] * 2, id="two of them"),
        pytest.param([vector("v", "nose", parentID="a"), A, B], [("n", True), ("", True)], id="one in a box"),
    ],
)  # fmt: skip
def test_keypoints_find_their_person(result: list[Item], expected: list[tuple[str, bool]], tmp_path: Path) -> None:
    assert people(read(tmp_path, task(annotation(*result))).samples[0].poses) == expected


@pytest.mark.parametrize(
    ("result", "message"),
    [
        pytest.param([kp("nose"), kp("nose", 30)], "keypoint 'nose' stands twice in one person", id="two noses"),
        pytest.param([kp("nose", parent="a"), kp("nose", 30, parent="a"), A], "stands twice", id="of one parent"),
        pytest.param([kp("nose", 30), A, OVER_A], "'nose' has no parent, and 2 boxes around it", id="two boxes"),
        pytest.param([kp("nose", 50, parent=None), A, B], "no box around it lacks it", id="no box"),
        pytest.param([vector("v", "nose", "nose")], "stands twice", id="two vertices of one name"),
        pytest.param([kp("nose", 30, id="n"), arrow("n", "a"), arrow("n", "c"), A, OVER_A], "2 boxes", id="two arrows"),
        pytest.param([A, A], "'a' is the id of tasks\\[0\\].annotations\\[0\\].result\\[0\\] already", id="one id"),
    ],
)
def test_what_could_be_anybodys_is_refused(result: list[Item], message: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        read(tmp_path, task(annotation(*result), id=31))
    assert "task 31: tasks[0].annotations[0].result[" in str(caught.value)
    assert caught.value.remedy or "already" in message


def test_what_was_inferred_or_left_out_is_said(tmp_path: Path) -> None:
    labels = read(tmp_path, task(annotation(kp("nose", 30), kp("nose", 70), A, HEAD, B)))
    assert labels.notes == (
        "1 rectanglelabels around or within a person left out: no person of their own.",
        "2 keypoints without a parent given to the only box around them that lacked one.",
    )
