"""The form against XML itself, against the skeletons, and against Label Studio's own reading of it."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from string import ascii_lowercase

import pytest
from label_studio_sdk.label_interface import LabelInterface

from autolabel.labelstudio.form import labelling_form
from autolabel.merge import Verdict
from autolabel.skeleton import Skeleton, builtin_skeletons

# What the editor listens to by itself: tools, and what it does with regions and tasks.
EDITOR_KEYS = {*"vhkropbeumw[]", "enter", "escape", "backspace", "delete", "shift+1", "shift+2"}


def labels(form: str, tag: str) -> list[str]:
    (control,) = [c for c in ET.fromstring(form).iter("KeyPointLabels") if c.get("name") == tag]
    return [label.get("value", "") for label in control]


@pytest.mark.parametrize("name", builtin_skeletons())
def test_every_keypoint_can_be_said_to_be_doubtful_sure_or_gone(name: str) -> None:
    skeleton = Skeleton.load(name)
    form = labelling_form(skeleton)
    for tag in ("doubt", "sure", "gone"):
        assert labels(form, tag) == list(skeleton.keypoints)


def keys_of(form: str) -> list[str]:
    return [e.get("hotkey", "") for e in ET.fromstring(form).iter() if e.tag in ("Label", "Choice")]


@pytest.mark.parametrize("name", ["coco17", "bodyfeet25", "wholebody133"])
def test_every_label_and_choice_has_a_key_and_the_editor_keeps_its_own(name: str) -> None:
    skeleton = Skeleton.load(name)
    keys = keys_of(labelling_form(skeleton))
    assert all(keys), "the editor gives a key to whatever has none"
    assert len(keys) == len(set(keys))
    assert not EDITOR_KEYS & set(keys)
    pressable = [key for key in keys if ord(key[0]) < 256]
    letters = [f"shift+{letter}" for letter in ascii_lowercase[: skeleton.num_keypoints]]
    expected = letters if skeleton.num_keypoints <= 26 else []
    assert pressable == [*expected, "y", "s", "n", "i", "q", "z", "x", "c"]


@pytest.mark.parametrize(("count", "folded"), [(7, False), (26, False), (27, True)])
def test_the_palette_of_a_large_skeleton_is_folded_away(count: int, folded: bool) -> None:
    skeleton = Skeleton.from_dict({"name": "many", "keypoints": [f"k{i}" for i in range(count)]})
    root = ET.fromstring(labelling_form(skeleton))
    assert [tag.get("name") for panel in root.iter("Panel") for tag in panel] == ["doubt"] * folded


def test_labels_carry_the_order_of_the_keypoints() -> None:
    skeleton = Skeleton.load("lsp14")
    for control in ET.fromstring(labelling_form(skeleton)).iter("KeyPointLabels"):
        assert [label.get("model_index") for label in control] == [str(i) for i in range(14)]


def test_label_studio_reads_the_controls() -> None:
    form = LabelInterface(labelling_form(Skeleton.load("coco17")))
    expected = {
        "visibility": "Choices",
        "verdict": "Choices",
        "doubt": "KeyPointLabels",
        "sure": "KeyPointLabels",
        "gone": "KeyPointLabels",
        "limbs": "VectorLabels",
        "box": "RectangleLabels",
        "about": "Choices",
    }
    assert {name: form.get_control(name).tag for name in expected} == expected
    assert set(form.get_control("verdict").labels) == set(Verdict)
    assert set(form.get_control("visibility").labels) == {"visible", "hidden", "absent"}


def test_a_form_beside_a_backend_has_one_smart_control_the_box_and_no_limbs() -> None:
    root = ET.fromstring(labelling_form(Skeleton.load("coco17"), smart=True))
    smart = {control.get("name"): control.get("smart") for control in root.iter() if control.get("smart")}
    assert smart == {"box": "true", "doubt": "false", "sure": "false", "gone": "false"}
    assert list(root.iter("VectorLabels")) == []
    hidden = [view for view in root.iter("View") if view.get("whenTagName")]
    assert hidden == [], "joints are asked for in whole images too"
    plain = ET.fromstring(labelling_form(Skeleton.load("coco17")))
    assert not [control for control in plain.iter() if control.get("smart")]


def test_only_the_palettes_of_doubt_and_of_the_box_are_on_screen() -> None:
    root = ET.fromstring(labelling_form(Skeleton.load("coco17")))
    (hidden,) = [view for view in root.iter("View") if "display:none" in view.get("style", "")]
    assert [control.get("name") for control in hidden] == ["sure", "gone", "limbs", "about"]
    (box,) = root.iter("RectangleLabels")
    assert [label.get("hotkey") for label in box] == ["y"]


def test_a_whole_image_hides_what_is_about_joints() -> None:
    root = ET.fromstring(labelling_form(Skeleton.load("coco17")))
    hidden = [view for view in root.iter("View") if view.get("visibleWhen") == "choice-unselected"]
    assert {(view.get("whenTagName"), view.get("whenChoiceValue")) for view in hidden} == {("about", "whole picture")}
    assert [control.get("name") for view in hidden for control in view] == ["doubt", "visibility"]


def test_names_that_xml_gives_a_meaning_come_through() -> None:
    skeleton = Skeleton.load("lsp14")
    odd = ('left "a" & <b>', "right 'ä'", *skeleton.keypoints[2:])
    assert labels(labelling_form(replace(skeleton, keypoints=odd)), "doubt") == list(odd)


def test_sides_have_their_colours() -> None:
    skeleton = Skeleton.load("coco17")
    for control in ET.fromstring(labelling_form(skeleton)).iter("KeyPointLabels"):
        colors = [label.get("background") for label in control]
        assert colors == list(skeleton.colors) or (control.get("name") == "gone" and len(set(colors)) == 1)


def test_the_style_has_nothing_that_the_editor_escapes() -> None:
    (style,) = ET.fromstring(labelling_form(Skeleton.load("coco17"))).iter("Style")
    assert style.text and not set(style.text) & set("<>&\"'$")
