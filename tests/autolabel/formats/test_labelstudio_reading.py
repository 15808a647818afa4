"""What the values of an export become: places, boxes, visibility, scores, skeletons, attributes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import FormatError
from autolabel.formats.labels import UNKNOWN_SIZE, Labels
from autolabel.formats.labelstudio import AnnotationChoice, read_labelstudio
from autolabel.formats.labelstudio_regions import VISIBILITY_WORDS
from autolabel.poses import Origin, Poses, Visibility
from autolabel.skeleton import DEFAULT_SIGMA, Skeleton
from tests.autolabel.formats.labelstudio_exports import FACE, Item, annotation, box, export, kp, read, said, task

MARKER = {"autolabel": {"schema": 1, "points": "percent of (x + 0.5) / width"}}


def poses(folder: Path, *result: Item, **options: Any) -> Poses:
    return read(folder, task(annotation(*result)), **options).samples[0].poses


# Places


@pytest.mark.parametrize(("meta", "shift"), [({}, 0.0), (MARKER, -0.5)], ids=["of others", "ours"])
def test_percent_become_pixels(meta: dict[str, Any], shift: float, tmp_path: Path) -> None:
    result = [kp("nose", 12.5, 40.25, "a"), kp("left_eye", 105, -2.5, "a"), box("a", 10, 20, 30.5, 40)]
    (sample,) = read(tmp_path, task(annotation(*result), meta=meta)).samples
    assert sample.size == (200, 100)
    expected = np.array([[25.0, 40.25], [210.0, -2.5], [np.nan, np.nan]]) + shift
    assert np.array_equal(sample.poses.xy[0], expected.astype(np.float32), equal_nan=True)
    assert sample.poses.box.tolist() == [[20.0, 20.0, 81.0, 60.0]]  # edges: never shifted
    assert sample.poses.visibility.tolist() == [[Visibility.VISIBLE] * 2 + [Visibility.UNLABELLED]]
    assert sample.poses.id.tolist() == [""]


def test_a_turned_box_is_taken_by_its_extent(tmp_path: Path) -> None:
    # 40 by 20 pixels, a quarter clockwise about its upper left corner at (100, 10).
    turned = box("a", 50, 10, 20, 20)
    turned["value"]["rotation"] = 90
    labels = read(tmp_path, task(annotation(turned)))
    assert np.allclose(labels.samples[0].poses.box, [[80, 10, 100, 50]], atol=1e-9)
    assert labels.notes == ("1 turned boxes taken by their extent.",)


def test_boxes_of_other_things_are_left_out(tmp_path: Path) -> None:
    labels = read(
        tmp_path, task(annotation(kp("nose", parent="a"), box("a", 0, 0, 50, 50), box("b", 0, 0, 9, 9, "car")))
    )
    assert len(labels.samples[0].poses) == 1
    assert labels.notes == ("1 boxes labelled 'car', which never hold keypoints, left out.",)
    # Where no box holds keypoints, nothing tells which ones are people.
    assert len(poses(tmp_path, box("b", 0, 0, 9, 9, "car"))) == 1


def test_what_is_no_pose_is_left_out_and_said(tmp_path: Path) -> None:
    brush = {"id": "r", "type": "brushlabels", "from_name": "b", "to_name": "img", "value": {"rle": [1]}}
    vector = {**brush, "id": "v", "type": "vectorlabels", "value": {"vertices": []}}
    labels = read(tmp_path, task(annotation(brush, {**brush, "id": "s"}, vector, kp("nose"))))
    assert len(labels.samples[0].poses) == 1
    assert labels.notes == tuple(
        f"{n} {kind} left out: no keypoints and no boxes of people."
        for n, kind in ((2, "brushlabels"), (1, "vectorlabels"))
    )


def test_an_empty_answer_says_that_nobody_is_there(tmp_path: Path) -> None:
    labels = read(tmp_path, task(annotation()))
    assert (len(labels.samples[0].poses), labels.samples[0].size) == (0, UNKNOWN_SIZE)
    assert labels.notes == ("1 empty annotations taken to say that nobody is in the image.",)


def test_shapes_and_labels_may_be_separate_controls(tmp_path: Path) -> None:
    def labelled(shape: Item, kind: str) -> list[Item]:
        """As ``<KeyPoint>`` and ``<Labels>`` write it: two entries of one id."""
        (label,) = shape["value"].pop(f"{kind}labels")
        other = {**shape, "type": "labels", "from_name": "label", "value": {**shape["value"], "labels": [label]}}
        return [{**shape, "type": kind}, other]

    together = [kp("nose", parent="a", id="n"), box("a", 0, 0, 50, 50), said("n", "hidden")]
    apart = [*labelled(kp("nose", parent="a", id="n"), "keypoint"), *labelled(box("a", 0, 0, 50, 50), "rectangle")]
    expected = poses(tmp_path, *together)
    assert poses(tmp_path, *apart, said("n", "hidden")).equals(expected)
    # Without a label it is nobody's keypoint.
    labels = read(tmp_path, task(annotation(*together, apart[0] | {"id": "x"})))
    assert labels.samples[0].poses.equals(expected)
    assert labels.notes == ("1 keypoint left out: without a label.",)


# Visibility


@pytest.mark.parametrize(("word", "state"), VISIBILITY_WORDS.items())
def test_words_for_visibility(word: str, state: Visibility, tmp_path: Path) -> None:
    spoken = word.replace(" ", "_").title()
    found = poses(tmp_path, kp("nose", id="n"), said("n", spoken, control="anything"))
    assert found.visibility[0, 0] == state
    assert not np.isnan(found.xy[0, 0]).any()


def test_answers_of_other_controls_are_left_out_beside_one_that_is_understood(tmp_path: Path) -> None:
    answers = [said("n", "blond", control="hair"), said("n", "hidden"), said("n", 4, kind="rating", control="quality")]
    labels = read(tmp_path, task(annotation(kp("nose", id="n"), *answers)))
    assert labels.samples[0].poses.visibility[0, 0] == Visibility.HIDDEN
    assert labels.notes == tuple(
        f"1 {kind} about a keypoint left out: of a keypoint only the visibility has a place."
        for kind in ("choices", "rating")
    )


# What is refused

TWO = kp("nose")
TWO["value"]["keypointlabels"] = ["nose", "left_eye"]
WIDE = kp("left_eye") | {"original_width": 300}
NAMELESS = kp("nose") | {"type": 5}


@pytest.mark.parametrize(
    ("result", "place", "message"),
    [
        ([kp("nose", id="n"), said("n", "sichtbar")], "result[1].value.choices", "'sichtbar', which is no word"),
        ([kp("nose", id="n"), said("n", "visible", "hidden")], "result[1].value.choices", "visible and hidden"),
        ([kp("nose", image_rotation=90)], "result[0].image_rotation", "is 90: the picture was turned"),
        ([kp("nose", original_width=None)], "result[0].original_width", "update its annotation"),
        ([kp("nose", original_width=0)], "result[0].original_width", "whole number"),
        ([kp("nose", original_width=10**7)], "result[0].original_width", "10000000x100"),
        ([kp("nose"), WIDE], "result[1].original_width", "other regions say"),
        ([kp("nose", "12")], "result[0].value.x", "is a text, expected a number"),
        ([kp("nose", 1e9)], "result[0].value.x", "expected percent"),
        ([kp("nose"), kp("left_eye", to_name="side")], "result[1].to_name", "is 'side', others are on 'img'"),
        ([TWO], "result[0].value.keypointlabels", "2 labels, expected one"),
        ([kp("nose", value={"x": 1, "y": 1})], "result[0].value.keypointlabels", "0 labels"),
        ([kp("nose", value=None)], "result[0].value", "is null"),
        ([kp("node")], "result[0].value.keypointlabels", "names 'node'.*Did you mean 'nose'"),
        ([NAMELESS], "result[0].type", "expected a text"),
        ([kp("nose", parentID=[1])], "result[0].parentID", "expected a whole number or a text"),
        ([box("a", 0, 0, -1, 5)], "result[0].value.width", "neither can be negative"),
        ([5], "result[0]", "expected an object"),
    ],
)
def test_what_is_wrong_is_named(result: list[Any], place: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        poses(tmp_path, *result)
    assert f"export.json, task 1: tasks[0].annotations[0].{place}: " in str(caught.value)


# Scores


def test_scores_of_what_a_person_changed_are_left_out(tmp_path: Path) -> None:
    result = [
        kp("nose", parent="a", score=0.5, origin="prediction"),
        kp("left_eye", parent="a", score=0.5, origin="prediction-changed"),
        box("a", 0, 0, 50, 50, score=0.75),
    ]
    labels = read(tmp_path, task(annotation(*result)))
    found = labels.samples[0].poses
    assert np.array_equal(found.score, np.array([[0.5, np.nan, np.nan]], np.float32), equal_nan=True)
    assert found.box_score.tolist() == [0.75]
    assert found.origin.tolist() == [[Origin.IMPORTED, Origin.IMPORTED, Origin.NONE]]
    assert labels.notes == ("1 scores left out: a person changed the regions that they are of.",)
    predicted = task(predictions=[{"result": result}])
    labels = read(tmp_path, predicted, annotations=AnnotationChoice.PREDICTIONS)
    assert labels.samples[0].poses.score[0, :2].tolist() == [0.5, 0.5]


# Skeletons


def named(folder: Path, *names: str, **options: Any) -> Labels:
    result = [kp(name, 10 + i) for i, name in enumerate(names)]
    return read(folder, task(annotation(*result)), skeleton=None, **options)


def test_a_built_in_skeleton_is_known_by_its_names(tmp_path: Path) -> None:
    coco = Skeleton.load("coco17")
    labels = named(tmp_path, *reversed(coco.keypoints))
    assert labels.skeleton == coco
    assert labels.samples[0].poses.xy[0, :, 0].tolist() == [2.0 * (10 + i) for i in reversed(range(17))]
    assert labels.notes == ()


def test_other_names_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    labels = named(tmp_path, "tail", "left_ear", "right_ear")
    assert labels.skeleton.keypoints == ("tail", "left_ear", "right_ear")
    assert labels.skeleton.flip == (0, 2, 1)
    assert labels.skeleton.name == "export" and set(labels.skeleton.sigmas) == {DEFAULT_SIGMA}
    (note,) = labels.notes
    assert "tail, left_ear, right_ear" in note and "--labelling-config" in note


def test_a_file_called_like_a_built_in_skeleton_is_none(tmp_path: Path) -> None:
    path = export(tmp_path, task(annotation(kp("tail"), kp("beak", 20))), name="coco17.json")
    labels = read_labelstudio(path)
    assert labels.skeleton.keypoints == ("tail", "beak") and len(labels.notes) == 1


def test_a_labelling_configuration_tells_the_order(tmp_path: Path) -> None:
    names = ("left_ear", "tail", "right_ear", "beak")
    labels = "".join(f'<Label value="{name}"/>' for name in names)
    (tmp_path / "x.xml").write_text(f"<View><KeyPointLabels>{labels}</KeyPointLabels></View>")
    found = named(tmp_path, "tail", "right_ear", labelling_config=tmp_path / "x.xml")
    assert found.skeleton.keypoints == names
    assert found.notes == ()
    with pytest.raises(FormatError, match=r"names 'tale'.*Did you mean 'tail'"):
        named(tmp_path, "tale", labelling_config=tmp_path / "x.xml")


def test_without_keypoints_the_skeleton_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"has no keypoints.*--skeleton"):
        named(tmp_path)
    with pytest.raises(FormatError, match=r"export\.json: .*no empty name"):
        named(tmp_path, "")


# Attributes


def test_what_has_no_field_travels_in_the_attributes(tmp_path: Path) -> None:
    result = [
        kp("nose", parent="a"), box("a", 0, 0, 50, 50), said("a", "standing", control="posture"),
        said("a", ["old", "thin"], kind="textarea", control="note"),
        said(None, "indoors", "dark", control="scene"), said("other", 3, kind="rating", control="stars"),
    ]  # fmt: skip
    shown = task(annotation(*result, id=12, lead_time=None), id=4)
    shown["data"]["camera"] = "left"
    (sample,) = read(tmp_path, shown).samples
    assert sample.attributes == {
        "labelstudio": {
            "task": 4,
            "annotation": 12,
            "answers": {"scene": ["indoors", "dark"], "stars": 3},
            "data": {"camera": "left"},
        }
    }
    told = {"posture": ["standing"], "note": ["old", "thin"]}
    assert sample.poses.attributes == ({"labelstudio": {"region": "a", "label": "person", "answers": told}},)
    assert read(tmp_path, task(annotation(kp("nose")))).samples[0].poses.attributes == ({},)


def test_notes_and_marks_travel_in_the_attributes(tmp_path: Path) -> None:
    result = [
        kp("nose", parent="a", meta={"text": ["under the hat"]}), kp("left_eye", parent="a"),
        box("a", 0, 0, 50, 50, meta={"text": ["twin"], "autolabel": {}}),
    ]  # fmt: skip
    (sample,) = read(tmp_path, task(annotation(*result, ground_truth=True), meta={"camera": 3})).samples
    assert sample.attributes["labelstudio"]["ground_truth"] is True
    assert sample.attributes["labelstudio"]["meta"] == {"camera": 3}
    told = {"meta": {"text": ["twin"]}, "keypoint_meta": {"nose": {"text": ["under the hat"]}}}
    assert sample.poses.attributes == ({"labelstudio": {"region": "a", "label": "person", **told}},)


def test_a_note_on_a_skeleton_of_vectors_is_told(tmp_path: Path) -> None:
    vector = {**kp("nose"), "type": "vectorlabels", "meta": {"text": ["twin"]}}
    vector["value"] = {"vertices": [{"id": "nose", "x": 1, "y": 2}], "vectorlabels": ["person"]}
    labels = read(tmp_path, task(annotation(vector)))
    assert labels.notes == ("1 notes on a skeleton left out: of vectors only the vertices are taken.",)


def test_the_skeleton_that_is_given_is_taken(tmp_path: Path) -> None:
    assert read(tmp_path, task(annotation(kp("nose")))).skeleton == FACE
