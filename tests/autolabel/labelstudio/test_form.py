"""The form against XML itself, against the skeletons, and against Label Studio's own reading of it."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from label_studio_sdk.label_interface import LabelInterface

from autolabel.labelstudio.form import VISIBILITY_CHOICES, labelling_form
from autolabel.merge import Verdict
from autolabel.skeleton import Skeleton, builtin_skeletons

# Tools of the editor that a choice or label must not take over (move, pan, keypoint, box, ...).
EDITOR_KEYS = set("vhkropbeu")


def labels(form: str, tag: str) -> list[str]:
    (control,) = [c for c in ET.fromstring(form).iter("KeyPointLabels") if c.get("name") == tag]
    return [label.get("value", "") for label in control]


@pytest.mark.parametrize("name", builtin_skeletons())
def test_every_keypoint_can_be_said_to_be_doubtful_sure_or_gone(name: str) -> None:
    skeleton = Skeleton.load(name)
    form = labelling_form(skeleton)
    for tag in ("doubt", "sure", "gone"):
        assert labels(form, tag) == list(skeleton.keypoints)


@pytest.mark.parametrize("name", ["coco17", "wholebody133"])
def test_keys_are_unique_and_leave_the_editor_its_own(name: str) -> None:
    keys = [e.get("hotkey", "") for e in ET.fromstring(labelling_form(Skeleton.load(name))).iter() if e.get("hotkey")]
    assert len(keys) == len(set(keys))
    assert not EDITOR_KEYS & set(keys)
    assert not [key for key in keys if key.startswith("shift+") and key[-1].isdigit()], "these zoom"
    assert len(keys) == min(Skeleton.load(name).num_keypoints, 26) + len(VISIBILITY_CHOICES) + len(Verdict) + 1


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
    }
    assert {name: form.get_control(name).tag for name in expected} == expected
    assert set(form.get_control("verdict").labels) == set(Verdict)
    assert set(form.get_control("visibility").labels) == {"visible", "hidden", "absent"}


def test_only_the_palettes_of_doubt_and_of_the_box_are_on_screen() -> None:
    root = ET.fromstring(labelling_form(Skeleton.load("coco17")))
    (hidden,) = [view for view in root.iter("View") if "display:none" in view.get("style", "")]
    assert [control.get("name") for control in hidden] == ["sure", "gone", "limbs"]
    assert [label.get("hotkey") for label in root.iter("Label") if label.get("value") == "box"] == ["y"]


def test_names_that_xml_gives_a_meaning_come_through() -> None:
    skeleton = Skeleton.load("lsp14")
    odd = ('left "a" & <b>', "right 'ä'", *skeleton.keypoints[2:])
    assert labels(labelling_form(replace(skeleton, keypoints=odd)), "doubt") == list(odd)


def test_sides_have_their_colours() -> None:
    skeleton = Skeleton.load("coco17")
    (sure,) = [c for c in ET.fromstring(labelling_form(skeleton)).iter("KeyPointLabels") if c.get("name") == "sure"]
    assert [label.get("background") for label in sure] == list(skeleton.colors)
