import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import FormatError
from autolabel.formats.coco import read_coco, write_coco
from autolabel.poses import Origin, Visibility
from autolabel.skeleton import Skeleton

GOOD: dict[str, Any] = {
    "info": {"year": 2026},
    "categories": [{"id": 1, "name": "thing", "keypoints": ["left_a", "right_a"], "skeleton": [[1, 2]]}],
    "images": [
        {"id": 5, "file_name": "a.jpg", "width": 640, "height": 480, "license": 3},
        {"id": 6, "file_name": "b/c.jpg", "width": 640, "height": 480},
    ],
    "annotations": [
        {
            "id": 1,
            "image_id": 5,
            "category_id": 1,
            "keypoints": [412.8, 10, 2, 0, 0, 0],
            "bbox": [1, 2, 30, 40],
            "area": 600.5,
            "iscrowd": 0,
            "score": 0.5,
            "segmentation": [[1, 2, 3, 4, 5, 6]],
        },
        {"id": 2, "image_id": 5, "category_id": 1, "keypoints": [700, -3, 0, 1, 1, 1]},
    ],
}


def read(folder: Path, content: Any, **options: Any) -> Any:
    path = folder / "file.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_coco(path, **options)


def test_values(tmp_path: Path) -> None:
    data = read(tmp_path, GOOD)
    first, second = data.samples
    assert (first.path, first.size, len(first.poses)) == ("a.jpg", (640, 480), 2)
    assert second.path == "b/c.jpg" and len(second.poses) == 0
    pose, other = first.poses[0], first.poses[1]
    assert pose.xy[0].tolist() == [np.float32(412.8), 10] and np.isnan(pose.xy[1]).all()
    assert pose.visibility.tolist() == [Visibility.VISIBLE, Visibility.UNLABELLED]
    assert pose.origin.tolist() == [Origin.IMPORTED, Origin.NONE]
    assert pose.box.tolist() == [1, 2, 31, 42] and pose.area == 600.5 and pose.box_score == 0.5
    assert other.xy[0].tolist() == [700, -3]  # outside the image, beside v=0: kept
    assert other.visibility.tolist() == [Visibility.UNLABELLED, Visibility.HIDDEN]
    assert np.isnan(other.box).all() and np.isnan(other.area) and np.isnan(other.box_score)
    assert pose.attributes["coco"]["segmentation"] == [[1, 2, 3, 4, 5, 6]]
    assert first.attributes["coco"] == {"id": 5, "license": 3}
    assert data.header["info"] == {"year": 2026}


def test_a_labelled_keypoint_at_the_corner_is_a_place(tmp_path: Path) -> None:
    content = copy.deepcopy(GOOD)
    content["annotations"][0]["keypoints"] = [0, 0, 2, 0, 0, 1]
    assert read(tmp_path, content).samples[0].poses[0].xy.tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("name", ["coco17", "aic14", "lsp14"])
def test_a_known_skeleton_is_recognised_by_its_names(tmp_path: Path, name: str) -> None:
    known = Skeleton.load(name)
    content = {**GOOD, "annotations": []}
    content["categories"] = [{"id": 1, "name": "person", "keypoints": list(known.keypoints), "skeleton": [[2, 1]]}]
    skeleton = read(tmp_path, content).skeleton
    assert (skeleton.name, skeleton.sigmas, skeleton.flip) == (name, known.sigmas, known.flip)
    assert skeleton.edges == ((1, 0),)  # the file's own
    content["categories"][0]["skeleton"] = []
    assert read(tmp_path, content).skeleton.edges == known.edges


def test_an_unknown_skeleton_is_built_and_says_so(tmp_path: Path) -> None:
    skeleton = read(tmp_path, GOOD).skeleton
    assert skeleton.flip == (1, 0) and skeleton.sigmas == (0.05, 0.05) and skeleton.edges == ((0, 1),)
    assert "0.05" in skeleton.sigma_source


def two_categories() -> dict[str, Any]:
    content = copy.deepcopy(GOOD)
    content["categories"] += [
        {"id": 2, "name": "dog", "keypoints": ["nose"]},
        {"id": 3, "name": "car"},  # boxes only
    ]
    content["annotations"][1] |= {"category_id": 2, "keypoints": [1, 2, 2]}
    return content


@pytest.mark.parametrize(("category", "keypoints"), [("thing", 2), (1, 2), ("1", 2), ("dog", 1), (2, 1)])
def test_category_chooses(tmp_path: Path, category: str | int, keypoints: int) -> None:
    data = read(tmp_path, two_categories(), category=category)
    assert data.skeleton.num_keypoints == keypoints
    assert len(data.samples[0].poses) == 1 and data.notes == ("1 annotations of other categories left out.",)


@pytest.mark.parametrize(
    ("category", "message"),
    [
        (None, "different keypoints.*'thing' \\(id 1\\), 'dog' \\(id 2\\).*--category"),
        ("cat", "no keypoint category 'cat'"),
        ("car", "no keypoint category 'car'"),
    ],
)
def test_category_must_be_told_and_right(tmp_path: Path, category: str | None, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read(tmp_path, two_categories(), category=category)


def test_categories_with_equal_keypoints_are_read_together(tmp_path: Path) -> None:
    content = copy.deepcopy(GOOD)
    content["categories"].append({**content["categories"][0], "id": 2, "name": "other"})
    content["annotations"][1]["category_id"] = 2
    data = read(tmp_path, content)
    names = [attributes["coco"]["category"]["name"] for attributes in data.samples[0].poses.attributes]
    assert names == ["thing", "other"] and data.notes == ()


def test_a_path_in_odd_form_is_understood_and_kept(tmp_path: Path) -> None:
    content = copy.deepcopy(GOOD)
    content["images"][0]["file_name"] = "./x//a.jpg"
    sample = read(tmp_path, content).samples[0]
    assert sample.path == "x/a.jpg" and sample.attributes["coco"]["file_name"] == "./x//a.jpg"


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    assert len(read(tmp_path, "\ufeff" + json.dumps(GOOD)).samples) == 2


def put(*steps: Any) -> Callable[[Any], None]:
    """Set a value deep in the file: keys and indices, then the value."""
    *way, last, value = steps

    def change(content: Any) -> None:
        for step in way:
            content = content[step]
        content[last] = value

    return change


def drop(*steps: Any) -> Callable[[Any], None]:
    *way, last = steps

    def change(content: Any) -> None:
        for step in way:
            content = content[step]
        del content[last]

    return change


IMAGE, POSE = ("images", 1), ("annotations", 0)


@pytest.mark.parametrize(
    ("change", "record", "field", "message"),
    [
        # Keypoints
        (put(*POSE, "keypoints", [1, 2, 2]), "annotations[0]", "keypoints", "has 3 entries, expected 6"),
        (put(*POSE, "keypoints", 4, "x"), "annotations[0]", "keypoints[4]", "expected a number"),
        (put(*POSE, "keypoints", 4, None), "annotations[0]", "keypoints[4]", "is null, expected a number"),
        (put(*POSE, "keypoints", 4, True), "annotations[0]", "keypoints[4]", "truth value"),
        (put(*POSE, "keypoints", 3, 10**400), "annotations[0]", "keypoints[3]", "single precision"),
        (put(*POSE, "keypoints", 3, 1e39), "annotations[0]", "keypoints[3]", "single precision"),
        (
            put(*POSE, "keypoints", 2, 3),
            "annotations[0]",
            "keypoints[2]",
            "visibility is 3, expected 0, 1 or 2",
        ),
        (put(*POSE, "keypoints", 5, 0.5), "annotations[0]", "keypoints[5]", "visibility is 0.5"),
        (put(*POSE, "keypoints", {}), "annotations[0]", "keypoints", "is an object, expected a list"),
        (put(*POSE, "absent", [2]), "annotations[0]", "absent", "whole numbers from 0 to 1"),
        (put(*POSE, "absent", [1, 1]), "annotations[0]", "absent", "twice"),
        (put(*POSE, "absent", [0]), "annotations[0]", "absent", "whose v is not 0"),
        (
            put(*POSE, "keypoint_scores", [1]),
            "annotations[0]",
            "keypoint_scores",
            "has 1 entries, expected 2",
        ),
        # Boxes, areas, scores
        (put(*POSE, "bbox", [1, 2, 3]), "annotations[0]", "bbox", "has 3 entries, expected 4"),
        (put(*POSE, "bbox", 2, -1), "annotations[0]", "bbox", "neither can be negative"),
        (put(*POSE, "area", "big"), "annotations[0]", "area", "expected a number"),
        (put(*POSE, "score", [1]), "annotations[0]", "score", "is a list, expected a number"),
        (put(*POSE, "iscrowd", 2), "annotations[0]", "iscrowd", "expected 0 or 1"),
        # References
        (
            put(*POSE, "image_id", 99),
            "annotations[0]",
            "image_id",
            "is 99, which is not the id of any of the images",
        ),
        (put(*POSE, "image_id", "5"), "annotations[0]", "image_id", "is '5'"),
        (put(*POSE, "image_id", 5.0), "annotations[0]", "image_id", "expected a whole number or a text"),
        (put(*POSE, "category_id", 9), "annotations[0]", "category_id", "any of the categories"),
        (put("annotations", 1, "id", 1), "annotations[1]", "id", "is the id of annotations[0] already"),
        (put(*IMAGE, "id", 5), "images[1]", "id", "5 is the id of images[0] already"),
        (put(*IMAGE, "file_name", "a.jpg"), "images[1]", "file_name", "is 'a.jpg', the image of images[0] already"),
        (put(*IMAGE, "file_name", "./a.jpg"), "images[1]", "file_name", "is 'a.jpg', the image of images[0] already"),
        (drop(*POSE, "image_id"), "annotations[0]", "image_id", "is missing"),
        (drop(*POSE, "id"), "annotations[0]", "id", "is missing"),
        # Files outside the folder
        (put(*IMAGE, "file_name", "../a.jpg"), "images[1]", "file_name", "below the folder"),
        (put(*IMAGE, "file_name", "x/../../a.jpg"), "images[1]", "file_name", "below the folder"),
        (put(*IMAGE, "file_name", "x\\..\\a.jpg"), "images[1]", "file_name", "below the folder"),
        (put(*IMAGE, "file_name", "/etc/a.jpg"), "images[1]", "file_name", "below the folder"),
        (put(*IMAGE, "file_name", "\\\\host\\a.jpg"), "images[1]", "file_name", "below the folder"),
        (put(*IMAGE, "file_name", "C:\\a.jpg"), "images[1]", "file_name", "below the folder"),
        (put(*IMAGE, "file_name", "a\0.jpg"), "images[1]", "file_name", "below the folder"),
        (put(*IMAGE, "file_name", ""), "images[1]", "file_name", "below the folder"),
        (put(*IMAGE, "file_name", 3), "images[1]", "file_name", "expected a text"),
        # Images
        (drop(*IMAGE, "width"), "images[1]", "width", "is missing"),
        (put(*IMAGE, "height", 0), "images[1]", "height", "whole number of pixels"),
        (put(*IMAGE, "height", 10.5), "images[1]", "height", "is 10.5"),
        # Categories
        (put("categories", 0, "keypoints", ["a", "a"]), "categories[0]", None, "stands twice"),
        (
            put("categories", 0, "skeleton", [[0, 1]]),
            "categories[0]",
            "skeleton[0]",
            "COCO counts keypoints from 1",
        ),
        (put("categories", 0, "skeleton", [[1, 3]]), "categories[0]", "skeleton", "outside 0..1"),
        (put("categories", 0, "skeleton", [[1]]), "categories[0].skeleton[0]", "edge", "expected 2"),
        (drop("categories", 0, "keypoints"), None, "categories", "no category with keypoints"),
        # Shape of the file
        (put("annotations", 1, 7), "annotations[1]", None, "is 7, expected an object"),
        (put("images", 0, None), "images[0]", None, "is null, expected an object"),
        (put("annotations", {}), None, "annotations", "is an object, expected a list"),
        (drop("images"), None, "images", "is missing"),
        # Our own block, edited by hand
        (put(*POSE, "autolabel", 3), "annotations[0].autolabel", None, "expected an object"),
        (put(*POSE, "autolabel", {"presence": [1]}), "annotations[0].autolabel", "presence", "expected 2"),
        (put(*POSE, "autolabel", {"presence": [7, 0]}), "annotations[0]", None, "presence outside 0..1"),
        (put(*POSE, "autolabel", {"origin": [9, 0]}), "annotations[0].autolabel", "origin", "from 0 to 3"),
    ],
)
def test_malformed_files_are_refused_by_record_and_field(
    tmp_path: Path, change: Callable[[Any], None], record: str | None, field: str | None, message: str
) -> None:
    content = copy.deepcopy(GOOD)
    change(content)
    with pytest.raises(FormatError) as caught:
        read(tmp_path, content)
    assert (caught.value.record or None, caught.value.field) == (record, field)
    assert message in str(caught.value)
    assert "file.json" in str(caught.value)


def test_two_poses_of_one_id_are_refused(tmp_path: Path) -> None:
    content = copy.deepcopy(GOOD)
    for annotation in content["annotations"]:
        annotation["autolabel"] = {"id": "abc"}
    with pytest.raises(FormatError, match="pose id 'abc' stands twice"):
        read(tmp_path, content)


def test_an_annotations_own_category_comes_out_again(tmp_path: Path) -> None:
    content = copy.deepcopy(GOOD)
    content["annotations"][0]["category"] = {"supercategory": "fish"}
    data = read(tmp_path, content)
    assert data.samples[0].poses.attributes[0]["coco"]["category"] == {"id": 1, "name": "thing"}
    write_coco(tmp_path / "out.json", data.samples, data.skeleton)
    first, second = json.loads((tmp_path / "out.json").read_text())["annotations"]
    assert first["category"] == {"supercategory": "fish"} and first["category_id"] == 1
    assert "category" not in second and "autolabel" not in first
