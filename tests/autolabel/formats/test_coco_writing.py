import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO

from autolabel.errors import ExistsError, FormatError
from autolabel.formats.coco import read_coco, write_coco
from autolabel.formats.coco_writing import shortest
from autolabel.formats.policy import ImagePolicy
from autolabel.poses import Poses, Sample, Visibility
from autolabel.skeleton import Skeleton

PAIR = Skeleton("pair", ("a", "b"), ((0, 1),), (0, 1), (0.05, 0.05), "test")


def sample(path: str = "a.jpg", *, image: dict[str, Any] | None = None, **given: Any) -> Sample:
    poses = Poses.create(2, **({"xy": [[[1, 2], [3, 4]]], "visibility": [[2, 2]]} | given))
    return Sample("0" * 32, "images", path, (10, 10), poses, attributes={"coco": image} if image else {})


def written(path: Path, *samples: Sample, **options: Any) -> dict[str, Any]:
    write_coco(path / "out.json", samples, PAIR, **options)
    return json.loads((path / "out.json").read_text())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (412.8, "412.8"),
        (0.1, "0.1"),
        (416.0, "416"),
        (-3.0, "-3"),
        (0.0, "0"),
        (-0.0, "-0.0"),
        (16_777_215.0, "16777215"),
        (1e30, "1e+30"),
        (1e-9, "1e-09"),
        (float("nan"), "null"),
    ],
)
def test_numbers_are_written_in_their_shortest_form(value: float, text: str) -> None:
    assert json.dumps(shortest(np.array([value], np.float32))[0]) == text


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_the_shortest_form_gives_the_same_float32(value: float) -> None:
    single = np.float32(value)
    text = json.dumps(shortest(np.array([single]))[0])
    assert np.float32(json.loads(text)).tobytes() == single.tobytes()
    assert len(text) <= max(len(repr(float(single))), len(str(single)))


@pytest.mark.parametrize(
    ("box", "bbox"),
    [
        ([206.76, 0.46, 206.76 + 220.24, 0.46 + 541.04], [206.76, 0.46, 220.24, 541.04]),
        ([0.1, 0.1, 0.1 + 0.2, 0.1 + 0.7], [0.1, 0.1, 0.2, 0.7]),
        ([5.0, 5.0, 5.0, 5.0], [5, 5, 0, 0]),
    ],
)
def test_a_width_is_written_as_it_was_read(tmp_path: Path, box: list[float], bbox: list[float]) -> None:
    record = written(tmp_path, sample(box=[box]))["annotations"][0]
    assert record["bbox"] == bbox


def test_the_states_of_keypoints(tmp_path: Path) -> None:
    nan = [np.nan, np.nan]
    poses = sample(
        xy=[[[1.5, 2], [3, 4]], [nan, [7, 8]], [[0, 0], nan]],
        visibility=[[1, 2], [0, 0], [3, 3]],
        score=[[0.5, np.nan], [np.nan, np.nan], [np.nan, np.nan]],
    )
    first, second, third = written(tmp_path, poses)["annotations"]
    assert first["keypoints"] == [1.5, 2, 1, 3, 4, 2] and first["num_keypoints"] == 2
    assert first["keypoint_scores"] == [0.5, None] and "absent" not in first
    assert second["keypoints"] == [0, 0, 0, 7, 8, 0] and second["num_keypoints"] == 0
    assert "keypoint_scores" not in second
    assert third["keypoints"] == [0, 0, 0, 0, 0, 0] and third["absent"] == [0, 1]
    assert third["autolabel"]["at_zero"] == [0]
    back = read_coco(tmp_path / "out.json").samples[0].poses
    assert back.equals(poses.poses.replace(attributes=back.attributes, origin=back.origin))


def test_an_unknown_area_is_written_for_other_tools_and_comes_back_unknown(tmp_path: Path) -> None:
    record = written(tmp_path, sample(box=[[0, 0, 10, 10]]))["annotations"][0]
    assert record["area"] == pytest.approx(53)
    assert np.isnan(read_coco(tmp_path / "out.json").samples[0].poses.area).all()


def test_pycocotools_reads_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, sample(box=[[1, 1, 5, 5]]), sample("b.jpg", box=[[1, 1, 5, 5]]))
    coco = COCO(str(tmp_path / "out.json"))
    assert len(coco.getImgIds()) == 2 and len(coco.getAnnIds(catIds=[1])) == 2
    assert coco.loadCats(1)[0]["keypoints"] == ["a", "b"]


def test_ids_stay_the_sources_own_and_never_repeat(tmp_path: Path) -> None:
    def carried(key: Any) -> tuple[dict[str, Any], ...]:
        return ({"coco": {"id": key, "category": {"id": 4, "name": "fish"}}},)

    got = written(
        tmp_path,
        sample("a.jpg", image={"id": 7}, attributes=carried(20)),
        sample("b.jpg", image={"id": 7}, attributes=carried(20)),  # another source with the same ids
        sample("c.jpg", attributes=({},)),  # ours
        sample("d.jpg", image={"id": "x"}, attributes=carried("y")),
    )
    assert [image["id"] for image in got["images"]] == [7, 8, 9, "x"]
    assert [record["id"] for record in got["annotations"]] == [20, 21, 22, "y"]
    assert [record["image_id"] for record in got["annotations"]] == [7, 8, 9, "x"]
    assert {record["category_id"] for record in got["annotations"]} == {4}
    assert [(c["id"], c["name"]) for c in got["categories"]] == [(4, "fish")]


def test_several_categories_come_out_as_they_came_in(tmp_path: Path) -> None:
    keypoints = {"keypoints": ["a", "b"], "skeleton": [[1, 2]]}
    source = {
        "categories": [{"id": 1, "name": "dog", **keypoints}, {"id": 2, "name": "cat", **keypoints}],
        "images": [{"id": 1, "file_name": "a.jpg", "width": 5, "height": 5}],
        "annotations": [{"id": n, "image_id": 1, "category_id": n, "keypoints": [1, 1, 2, 2, 2, 2]} for n in (1, 2)],
    }
    (tmp_path / "in.json").write_text(json.dumps(source))
    data = read_coco(tmp_path / "in.json")
    got = written(tmp_path, *data.samples)
    assert [(c["id"], c["name"]) for c in got["categories"]] == [(1, "dog"), (2, "cat")]
    assert [record["category_id"] for record in got["annotations"]] == [1, 2]


def test_the_policy_is_applied_and_counted(tmp_path: Path) -> None:
    open_pose = sample("b.jpg", attributes=({"state": "review"},), box=[[1, 1, 5, 5]])
    done = sample("a.jpg")
    counts = write_coco(tmp_path / "a.json", [done, open_pose], PAIR)
    assert (counts.images, counts.poses, counts.left_out) == (1, 1, 1)
    counts = write_coco(tmp_path / "b.json", [done, open_pose], PAIR, policy=ImagePolicy.IGNORE_REGIONS)
    assert (counts.images, counts.poses, counts.left_out) == (2, 2, 0)
    region = json.loads((tmp_path / "b.json").read_text())["annotations"][1]
    assert region["iscrowd"] == 1 and region["num_keypoints"] == 0 and region["bbox"] == [1, 1, 4, 4]


def test_nothing_is_overwritten_and_nothing_half_is_left(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "out.json"
    write_coco(path, [sample()], PAIR)
    before = path.read_bytes()
    with pytest.raises(ExistsError, match="stands already"):
        write_coco(path, [], PAIR)
    bad = sample(attributes=({"x": float("nan")},))
    with pytest.raises(FormatError, match="cannot be written as JSON"):
        write_coco(path, [bad], PAIR, overwrite=True)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["out.json"]
    write_coco(path, [], PAIR, overwrite=True)
    assert json.loads(path.read_text())["images"] == []


def test_writing_streams(tmp_path: Path) -> None:
    class Many:
        """Samples that exist one at a time; more than one alive would show."""

        alive = most = 0

        def __iter__(self) -> Any:
            for i in range(50):
                yield Counted(i)

    class Counted(Sample):
        def __init__(self, i: int) -> None:
            Many.alive += 1
            Many.most = max(Many.most, Many.alive)
            made = sample(f"{i}.jpg")
            super().__init__(made.id, made.root, made.path, made.size, made.poses)

        def __del__(self) -> None:
            Many.alive -= 1

    assert write_coco(tmp_path / "a.json", Many(), PAIR).images == 50
    assert Many.most <= 2


def test_file_names_can_be_given(tmp_path: Path) -> None:
    got = written(tmp_path, sample("a.jpg"), file_name=lambda s: f"{s.root}/{s.path}")
    assert got["images"][0]["file_name"] == "images/a.jpg"


def test_given_names_go_before_those_of_the_source(tmp_path: Path) -> None:
    source = {"id": 7, "file_name": "./a.jpg", "width": 3, "height": 4, "license": 3}
    record = written(tmp_path, sample("a.jpg", image=source))["images"][0]
    assert record["file_name"] == "./a.jpg"  # as the source spelled the same path
    assert (record["width"], record["height"], record["license"]) == (10, 10, 3)
    moved = written(tmp_path, sample("b.jpg", image=source), overwrite=True)["images"][0]
    assert moved["file_name"] == "b.jpg"
    named = written(tmp_path, sample("a.jpg", image=source), file_name=lambda s: f"{s.root}/{s.path}", overwrite=True)
    assert named["images"][0]["file_name"] == "images/a.jpg"


@pytest.mark.parametrize(
    "carried",
    [
        "text",
        {"category": "dog"},
        {"category": {"id": [1], "name": "dog"}},
        {"category": {"name": "dog"}},
        {"id": [1], "autolabel": "x", "bbox": "x", "score": "x", "keypoint_scores": 1, "absent": 5},
    ],
)
def test_what_no_coco_file_said_is_not_taken_for_it(carried: Any, tmp_path: Path) -> None:
    odd = sample(attributes=({"coco": carried},), image=carried)
    written(tmp_path, odd)
    back = read_coco(tmp_path / "out.json").samples[0]
    assert back.path == "a.jpg" and back.poses.equals(odd.poses.replace(attributes=back.poses.attributes))


def test_half_a_character_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be written as JSON"):
        written(tmp_path, sample("\udcff.jpg"))


def test_visibility_three_is_not_known_to_coco(tmp_path: Path) -> None:
    record = written(tmp_path, sample(visibility=[[Visibility.ABSENT, Visibility.HIDDEN]]))["annotations"][0]
    assert record["keypoints"] == [1, 2, 0, 3, 4, 1] and record["num_keypoints"] == 1
