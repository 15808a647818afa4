"""Boxes that are drawn in front of a backend: what of a request is read, how regions are named, what is kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import FormatError
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.frame import whole
from autolabel.labelstudio.smart import Served, drawn_box, log_served, read_served, smart_record, smart_regions
from autolabel.labelstudio.tasks import IMAGE, TaskRecord, sent_points
from autolabel.poses import Origin, Pose, Poses, Visibility
from autolabel.skeleton import Skeleton

SKELETON = Skeleton.load("coco17")
K = SKELETON.num_keypoints
SIZE = (333, 187)


def rectangle(**value: Any) -> dict[str, Any]:
    return {"type": "rectanglelabels", "value": {"x": 10, "y": 20, "width": 30, "height": 40, **value}}


@pytest.mark.parametrize(
    ("result", "box"),
    [
        ([rectangle()], (10, 20, 30, 40)),
        ([rectangle(), rectangle(x=50)], (50, 20, 30, 40)),  # the last one was drawn last
        ([rectangle(x=90)], (90, 20, 10, 40)),  # cut at the edge
        ([rectangle(x=40, width=-30)], (10, 20, 30, 40)),  # drawn from right to left
        ([rectangle(width=0.1)], None),
        ([rectangle(x=120)], None),
        ([{"type": "keypointlabels", "value": {"x": 1, "y": 1}}], None),
        (["nonsense", 5, None], None),
        ([], None),
        ("nonsense", None),
        (None, None),
    ],
)
def test_the_box_that_was_drawn(result: object, box: tuple[float, ...] | None) -> None:
    assert drawn_box({"result": result}) == (None if box is None else pytest.approx(box))


@pytest.mark.parametrize("wrong", [None, "10", True, float("nan"), 1e300, [1]])
def test_a_box_without_a_place_is_refused(wrong: object) -> None:
    with pytest.raises(FormatError, match=r"value\.width: is .*, expected a number"):
        drawn_box({"result": [rectangle(width=wrong)]})
    with pytest.raises(FormatError, match="is no object"):
        drawn_box({"result": [{"type": "rectangle", "value": 5}]})


def a_task() -> TaskRecord:
    return TaskRecord("ab" * 12, "", ("s", "images", "a.png"), whole(SIZE), "cd" * 32, IMAGE, False, "")


def a_pose() -> Pose:
    rng = np.random.default_rng(3)
    xy = rng.uniform((5, 5), (300, 180), (1, K, 2))
    visibility = np.full((1, K), Visibility.VISIBLE)
    visibility[0, -1] = Visibility.ABSENT
    score, origin = rng.uniform(0.1, 0.9, (1, K)), np.full((1, K), Origin.MODEL)
    box = [[20.5, 30.25, 111.0, 150.0]]
    return Poses.create(K, id=["x"], xy=xy, box=box, visibility=visibility, score=score, origin=origin, by=["net"])[0]


def test_regions_hang_on_their_box_and_look_like_those_of_no_task() -> None:
    record = smart_record(a_task(), (10.0, 20.0, 30.0, 40.0))
    assert record == smart_record(a_task(), (10.0, 20.0, 30.0, 40.0))
    assert record.task != smart_record(a_task(), (10.0, 20.0, 30.0, 40.5)).task
    regions = smart_regions(record, a_pose(), SKELETON)
    *joints, box = regions
    assert box["type"] == "rectanglelabels"
    assert {region["type"] for region in joints} == {"keypointlabels", "choices"}
    assert {region["parentID"] for region in joints} == {box["id"]}
    assert len({region["id"] for region in joints}) == K
    assert all(region["id"].startswith("smart-") for region in regions)
    assert not any("readonly" in region for region in regions)
    tags = [region["from_name"] for region in joints if region["type"] == "keypointlabels"]
    assert (tags.count("doubt"), tags.count("gone")) == (2, 1), "the weakest stand out, the absent one is faint"


def test_what_was_served_comes_back_bit_by_bit(tmp_path: Path) -> None:
    folder = ReviewFolder.of(tmp_path)
    folder.path.mkdir()
    record, pose = smart_record(a_task(), (10.0, 20.0, 30.0, 40.0)), a_pose()
    log_served(folder.path, Served.of(record, a_task().task, pose))
    (region, served), *rest = read_served(folder.path).items()
    assert not rest
    assert region == smart_regions(record, pose, SKELETON)[-1]["id"]
    back = served.pose()
    assert (served.task, back.by) == (a_task().task, "net")
    for name in ("xy", "box", "visibility", "score", "origin"):
        assert np.array_equal(getattr(back, name), getattr(pose, name)), name
    assert np.array_equal(sent_points(back, record), sent_points(pose, record))


def test_nothing_was_served_and_a_damaged_line(tmp_path: Path) -> None:
    assert read_served(tmp_path) == {}
    (tmp_path / "served.jsonl").write_text('{"name": "smart-1", "xy": 5}\n')
    with pytest.raises(FormatError, match="line 1"):
        read_served(tmp_path)
