"""Reading FiftyOne's data sets, against a small stand-in of the module; ``tests/live`` has the real one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.curate.dataset import INFO
from autolabel.curate.documents import documents
from autolabel.curate.incoming import BATCH, read_dataset
from autolabel.curate.incoming_labels import READ_OF_OURS
from autolabel.errors import FormatError, InputError, SkeletonError, WorkError
from autolabel.formats.labels import Labels
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.skeleton import Skeleton
from tests.doubles import Recorder

NAN = float("nan")
PARTS = ["left_ear", "right_ear", "tail"]
MOUSE = Skeleton.from_dict({"name": "mouse", "keypoints": PARTS, "edges": [[0, 2]]})
IMAGES = Path("/photos")


class Text:
    """A field of texts, numbers, and so on; poses; boxes."""


class Bodies(Text):
    pass


class Boxes(Text):
    pass


class Limbs:
    def __init__(self, labels: list[str], edges: list[list[int]]) -> None:
        self.labels, self.edges = labels, edges


class FakeDataset:
    """Rows of plain values, asked as FiftyOne's data sets are."""

    media_type = "image"

    def __init__(self, rows: Sequence[Mapping[str, Any]], fields: Mapping[str, type[Text]], **about: Any) -> None:
        self.name = "mice"
        self.rows, self.fields, self.torn = list(rows), fields, False
        self.info: dict[str, Any] = about.get("info", {})
        self.skeletons: dict[str, Limbs] = about.get("skeletons", {})
        self.default_skeleton: Limbs | None = about.get("default_skeleton")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, some: slice) -> "FakeDataset":
        view = FakeDataset(self.rows[some], self.fields)
        view.torn = self.torn
        return view

    def sort_by(self, name: str) -> "FakeDataset":
        assert name == "id"
        return self

    def get_field_schema(self, *, embedded_doc_type: type[Text] | None = None, flat: bool = False) -> dict[str, Text]:
        return {
            name: kind()
            for name, kind in self.fields.items()
            if (flat or "." not in name) and embedded_doc_type in (None, kind)
        }

    def get_dynamic_field_schema(self, *, fields: str) -> dict[str, Text]:
        labels = [label for row in self.rows for label in (row.get(fields) or {"keypoints": []})["keypoints"]]
        scalars = {n for label in labels for n, v in label.items() if isinstance(v, str | int | float)}
        return {f"{fields}.keypoints.{name}": Text() for name in sorted(scalars) if not name.startswith("_")}

    def values(self, paths: Sequence[str]) -> list[list[Any]]:
        found = [[walk(row, path.split(".")) for row in self.rows] for path in paths]
        if self.torn:
            found[-1] = [[*(values or []), None] for values in found[-1]]
        return found

    def count(self, path: str) -> int:
        return sum(len(flat(walk(row, path.split(".")))) for row in self.rows)


def walk(value: Any, path: Sequence[str]) -> Any:
    if isinstance(value, list):
        return [walk(each, path) for each in value] if path else value
    return walk(value.get(path[0]), path[1:]) if path and isinstance(value, dict) else value


def flat(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [one for each in value for one in flat(each)]
    return [] if value is None else [value]


class FakeFiftyone:
    Keypoints, Detections = Bodies, Boxes
    StringField = IntField = FloatField = BooleanField = Text

    def __init__(self, dataset: FakeDataset) -> None:
        self.dataset = dataset

    def dataset_exists(self, name: str) -> bool:
        return name == "mice"

    def list_datasets(self) -> list[str]:
        return ["mice", "people"]

    def load_dataset(self, name: str) -> FakeDataset:
        assert name == "mice"
        return self.dataset


def mouse(**given: Any) -> dict[str, Any]:
    return {"label": "mouse", "points": [[0.25, 0.5], [0.5, 0.75], [0.125, 1]], **given}


def box(**given: Any) -> dict[str, Any]:
    return {"label": "mouse", "bounding_box": [0.25, 0.5, 0.5, 0.25], "confidence": 0.5, **given}


def row(i: int = 0, *labels: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    size = {"metadata": {"width": 100, "height": 80}}
    return {"filepath": f"/photos/{i}.png", "tags": [], **size, "kp": {"keypoints": list(labels)}, **fields}


def some(*rows: Mapping[str, Any], fields: Mapping[str, type[Text]] | None = None, **about: Any) -> FakeDataset:
    limbs = Limbs(PARTS, [[0, 2]])
    return FakeDataset(rows, {"kp": Bodies, **(fields or {})}, **{"default_skeleton": limbs, **about})


def read(dataset: FakeDataset, **given: Any) -> Labels:
    return read_dataset(FakeFiftyone(dataset), "mice", IMAGES, **given)


def only(dataset: FakeDataset, **given: Any) -> Poses:
    [sample] = read(dataset, **given).samples
    return sample.poses


def test_points_are_shares_of_the_image() -> None:
    back = read(some(row(0, mouse(visible=2, mood="calm", weight=NAN), mouse(visible=[0, 1, 2])), row(1)))
    poses = back.samples[0].poses
    assert poses.xy[0].tolist() == [[25, 40], [50, 60], [12.5, 80]]
    assert poses.visibility.tolist() == [[2, 2, 2], [0, 1, 2]] and poses.xy[1, 0].tolist() == [25, 40]
    assert poses.origin.tolist() == [[Origin.IMPORTED] * 3, [Origin.NONE, Origin.IMPORTED, Origin.IMPORTED]]
    assert poses.attributes[0] == {"fiftyone": {"label": "mouse", "mood": "calm"}}
    assert back.skeleton.keypoints == tuple(PARTS) and len(back.samples[1].poses) == 0


def test_many_images_are_read_in_batches_and_in_order() -> None:
    progress = Recorder()
    back = read(some(*(row(i, mouse()) for i in range(BATCH + 2))), progress=progress)
    assert [sample.path for sample in back.samples] == [f"{i}.png" for i in range(BATCH + 2)]
    assert progress.done == BATCH + 2 and progress.steps["read"] == [BATCH, 2]


def ours(samples: Sequence[Sample], skeleton: Skeleton = MOUSE, **about: Any) -> FakeDataset:
    """What ``autolabel curate`` would have written."""
    mark = {INFO: {"shows": "images", "skeleton": skeleton.fingerprint}}
    fields = {"poses": Bodies, "boxes": Boxes, "truth": Bodies}
    limbs = Limbs(list(skeleton.keypoints), [list(edge) for edge in skeleton.edges])
    rows = documents(samples, [IMAGES / sample.path for sample in samples], skeleton)
    assert rows[0]["poses"]["keypoints"][0].keys() >= {*READ_OF_OURS} - {"id", "visible", "iscrowd", "num_keypoints",
                                                                        "autolabel.id"}  # fmt: skip
    return FakeDataset([{"tags": [], **one} for one in rows], fields, info=mark, default_skeleton=limbs, **about)


def our_sample(**given: Any) -> Sample:
    xy = [[[1 / 3, 5], [NAN, NAN], [99.5, 7e-3]]]
    more = {"origin": [[1, 0, 2]], "p_gross": [[0.25, NAN, 1]], "score": [[0.5, 0, 1]], "by": ["anna"], "p_bad": [0.5]}
    poses = Poses.create(3, id=["a"], xy=xy, visibility=[[2, 3, 1]], box=[[1 / 3, 2, 30, 40]], **{**more, **given})
    return Sample("", "", "0.png", (100, 80), poses, duplicate_of="1.png")


def test_data_sets_of_ours_come_back() -> None:
    sample = our_sample()
    back = read(ours([sample]))
    [found] = back.samples
    for name in ("id", "xy", "visibility", "origin", "p_gross", "score", "by", "p_bad", "presence"):
        np.testing.assert_array_equal(getattr(found.poses, name), getattr(sample.poses, name), name)
    np.testing.assert_allclose(found.poses.box, sample.poses.box)
    assert found.duplicate_of == "1.png" and found.poses.attributes == ({},)
    assert back.notes == ("Only keypoints of the field 'poses' were read; there are also truth.",)


def test_what_was_edited_is_nobodys_word_but_the_data_sets() -> None:
    dataset = ours([our_sample()])
    dataset.rows[0]["poses"]["keypoints"][0]["points"][0][0] = 0.5
    poses = only(dataset)
    assert poses.origin.tolist() == [[Origin.IMPORTED, Origin.NONE, Origin.IMPORTED]]
    assert poses.xy[0, 0, 0] == 49.5 and np.isnan(poses.score).all() and poses.id.tolist() == ["a"]


def test_a_skeleton_that_its_names_do_not_tell_must_be_given() -> None:
    crossed = Skeleton.from_dict({"name": "crossed", "keypoints": PARTS, "flip_pairs": [[0, 2]]})
    with pytest.raises(SkeletonError, match=r"flip pairs .*--skeleton"):
        read(ours([our_sample()], crossed))
    assert read(ours([our_sample()], crossed), skeleton=crossed).skeleton == crossed


def test_a_given_skeleton_puts_the_keypoints_into_its_order() -> None:
    turned = Skeleton.from_dict({"name": "turned", "keypoints": PARTS[::-1]})
    rows = row(0, mouse(visible=[1, 0, 2], confidence=[0.5, 0.25, 0]))
    poses = only(some(rows), skeleton=turned)
    assert poses.xy[0, 0].tolist() == [12.5, 80] and poses.visibility.tolist() == [[2, 0, 1]]
    assert poses.score.tolist() == [[0, 0.25, 0.5]] and poses.origin.tolist() == [[1, 0, 1]]
    unnamed = some(rows, default_skeleton=None)
    assert only(unnamed, skeleton=turned).xy[0, 0].tolist() == [25, 40]
    with pytest.raises(FormatError, match="keypoint 'tail' is only in one"):
        read(some(rows), skeleton=Skeleton.from_dict({"name": "x", "keypoints": ["left_ear", "right_ear", "nose"]}))


CATEGORY = {"id": 1, "name": "mouse", "keypoints": PARTS, "skeleton": [[1, 3]]}


def test_where_the_skeleton_comes_from() -> None:
    other, own = Limbs(["a", "b", "c"], [[0, 1, 2]]), row(0, mouse())
    assert read(some(own, skeletons={"kp": other})).skeleton.edges == ((0, 1), (1, 2))
    imported = {"categories": [CATEGORY, {"id": 2, "name": "cage"}]}
    made = read(some(own, default_skeleton=None, info=imported)).skeleton
    assert made.keypoints == tuple(PARTS) and made.edges == ((0, 2),) and made.flip == (1, 0, 2)
    several = {"categories": [CATEGORY, {"id": 2, "name": "rat", "keypoints": ["x", "y", "z"]}]}
    with pytest.raises(FormatError, match=r"categories with different keypoints: 'mouse', 'rat'.*import coco"):
        read(some(own, default_skeleton=None, info=several), skeleton=MOUSE)
    with pytest.raises(FormatError, match=r"does not say what its keypoints are. Give --skeleton"):
        read(some(own, default_skeleton=None))
    with pytest.raises(FormatError, match="edges names a keypoint outside"):
        read(some(own, default_skeleton=Limbs(PARTS, [[0, 3]])))


def test_which_field_is_read() -> None:
    both = some(row(0, mouse(), other={"keypoints": []}), fields={"other": Bodies})
    with pytest.raises(FormatError, match=r"several fields of keypoints. Choose with --field. .*: kp, other"):
        read(both)
    assert len(only(both, field="kp")) == 1 and len(only(both, field="other")) == 0
    with pytest.raises(FormatError, match=r"no field of keypoints 'othr'. Did you mean 'other'"):
        read(both, field="othr")
    with pytest.raises(FormatError, match="has no field of keypoints"):
        read(FakeDataset([], {"boxes": Boxes}))


def test_an_unknown_data_set_names_the_nearest() -> None:
    for name, remedy in (("mise", "Did you mean 'mice'?"), ("xyz", "There are: mice, people.")):
        with pytest.raises(InputError) as caught:
            read_dataset(FakeFiftyone(some()), name, IMAGES)
        assert caught.value.remedy == remedy


BOXES = {"detections": Boxes, "guesses": Boxes}
WHOSE: dict[str, tuple[list[dict[str, Any]], dict[str, list[dict[str, Any]]], list[bool]]] = {
    "by our id": ([mouse(pose_id="a"), mouse()], {"guesses": [box(), box(pose_id="a")]}, [True, False]),
    "by instance": (
        [mouse(), mouse(instance={"_id": 7})],
        {"guesses": [box(instance={"_id": 7}), box(instance={"_id": 8})]},
        [False, True],
    ),
    "by COCO's id": ([mouse(coco_id=3)], {"detections": [box(coco_id=4), box(coco_id=3)]}, [True]),
    "twice the same": ([mouse(coco_id=3)], {"detections": [box(coco_id=3), box(coco_id=3)]}, [False]),
    "two poses": ([mouse(coco_id=3), mouse(coco_id=3)], {"detections": [box(coco_id=3)]}, [False, False]),
    "COCO's field first": (
        [mouse(coco_id=3)],
        {"detections": [box(coco_id=3)], "guesses": [box(coco_id=3, bounding_box=[0, 0, 1, 1])]},
        [True],
    ),
    "in order": (
        [mouse(num_keypoints=3), mouse(num_keypoints=2)],
        {"detections": [box(num_keypoints=3), box(), box(num_keypoints=2)]},
        [True, True],
    ),
    "one is missing": ([mouse(num_keypoints=3), mouse(num_keypoints=2)], {"detections": [box(num_keypoints=2)]},
                       [False, False]),
    "nothing tells": ([mouse()], {"guesses": [box()]}, [False]),
}  # fmt: skip


@pytest.mark.parametrize("case", WHOSE)
def test_whose_box_it_is(case: str) -> None:
    labels, boxes, wanted = WHOSE[case]
    fields = {name: {"detections": boxes.get(name, [])} for name in BOXES}
    back = read(some(row(0, *labels, **fields), fields=BOXES, info={"categories": [CATEGORY]}))
    [sample] = back.samples
    assert np.isfinite(sample.poses.box[:, 0]).tolist() == wanted
    assert all(edges.tolist() == [25, 40, 75, 60] for edges in sample.poses.box[wanted])
    assert any("poses have no box" in note for note in back.notes) == (False in wanted)


def test_boxes_of_several_fields_are_not_chosen_from() -> None:
    boxes = {name: {"detections": [box(coco_id=3)]} for name in ("a", "b")}
    back = read(some(row(0, mouse(coco_id=3), **boxes), fields={"a": Boxes, "b": Boxes}))
    assert np.isnan(back.samples[0].poses.box).all()
    assert "The boxes of several fields share 'coco_id' with the poses, and none was read: a, b." in back.notes


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "other K": ({"points": [[0, 0]] * 4}, r"0.png: kp.keypoints\[0\].points: has 4 entries, .* has 3 keypoints"),
    "no points": ({"points": []}, "points: has 0 entries"),
    "no pairs": ({"points": [[0], [0], [0]]}, "points: holds what is not a pair of numbers"),
    "infinite": ({"points": [[float("inf"), 0]] * 3}, "points: is not a finite number"),
    "too far": ({"points": [[3e38, 0]] * 3}, "0.png: an infinite coordinate"),
    "few confidences": ({"confidence": [0.5]}, "confidence: has 1 entries"),
    "one confidence": ({"confidence": 0.5}, "confidence: is 0.5, expected a list of 3"),
    "words": ({"confidence": ["a", "b", "c"]}, "confidence: holds what is not a number"),
    "unknown word": ({"visibility": ["visible", "far", "visible"]}, "holds 'far', expected 0, 1, 2 or one of unlabel"),
    "no level": ({"visible": [2, 3, 1]}, "visible: holds 3, expected"),
    "probabilities": ({"visibility": [0.25, 1.0, 0.5]}, r"visibility: holds 0.25.*another name"),
    "flags": ({"visible": [True, False, True]}, "visible: holds True"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_malformed_label_is_named(case: str) -> None:
    given, message = WRONG[case]
    with pytest.raises(FormatError, match=message):
        read(some(row(0, mouse(**given))))


@pytest.mark.parametrize(
    ("edges", "message"), [([0, 0, -1, 1], "right or bottom edge comes before"), ([0, 0, 1], "expected four numbers")]
)
def test_a_malformed_box_is_named(edges: list[float], message: str) -> None:
    boxes = {"detections": {"detections": [box(coco_id=1, bounding_box=edges)]}}
    with pytest.raises(FormatError, match=message):
        read(some(row(0, mouse(coco_id=1), **boxes), fields=BOXES))


def test_what_has_no_place_is_not_labelled() -> None:
    back = read(some(row(0, mouse(points=[[NAN, NAN], [0.5, None], [0.5, 0.5]], visible=[2, 1, 2]))))
    poses = back.samples[0].poses
    assert poses.visibility.tolist() == [[0, 0, Visibility.VISIBLE]] and np.isnan(poses.xy[0, :2]).all()
    assert back.notes[0].startswith("2 keypoints are called visible or hidden and have no place")


def test_images_elsewhere_are_left_out_and_no_image_here_is_an_error() -> None:
    away = row(1, mouse(), filepath="/elsewhere/1.png")
    dotted = row(2, mouse(), filepath="/photos/../elsewhere/2.png")
    back = read(some(row(0, mouse()), away, dotted))
    assert [sample.path for sample in back.samples] == ["0.png"]
    [told] = [note for note in back.notes if "images" in note]
    assert told.startswith("2 images lie outside") and told.endswith("; the first: /elsewhere/1.png.")
    with pytest.raises(InputError, match=r"/photos: holds none of the images of .*, such as /elsewhere/1.png"):
        read(some(away))


def test_an_image_that_stands_twice_is_refused() -> None:
    with pytest.raises(FormatError, match=r"'0.png', the image of image 0 already. Delete one of them"):
        read(some(row(0, mouse()), row(0, mouse())))


def test_a_data_set_that_changes_while_it_is_read_is_told() -> None:
    dataset = some(row(0, mouse(mood="calm")))
    dataset.torn = True
    with pytest.raises(WorkError, match=r"changed while it was read. Run the command again"):
        read(dataset)


def test_the_digest_is_of_what_was_read() -> None:
    first = read(some(row(0, mouse()))).digest
    assert read(some(row(0, mouse()))).digest == first
    assert read(some({**row(0, mouse()), "brightness": [1, 2]})).digest == first
    for other in (row(0, mouse(mood="calm")), row(0, mouse(), tags=["good"]), row(1, mouse())):
        assert read(some(other)).digest != first
