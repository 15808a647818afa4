"""The labelling configuration that we write, and what others tell."""

from pathlib import Path

import pytest
from label_studio_sdk.label_interface import LabelInterface

from autolabel.errors import FormatError
from autolabel.formats.labelstudio_form import LabellingConfig, read_labelling_config, whole_image_form
from autolabel.skeleton import Skeleton, builtin_skeletons


@pytest.mark.parametrize("name", builtin_skeletons())
def test_ours_is_valid_and_names_the_keypoints_in_order(name: str, tmp_path: Path) -> None:
    skeleton = Skeleton.load(name)
    form = tmp_path / "form.xml"
    form.write_text(whole_image_form(skeleton), encoding="utf-8")
    LabelInterface(form.read_text()).validate()
    assert read_labelling_config(form) == LabellingConfig("image", skeleton.keypoints)


def test_hotkeys_are_different() -> None:
    interface = LabelInterface(whole_image_form(Skeleton.load("wholebody133")))
    labels = [label for control in interface.controls for label in control.labels_attrs.values()]
    keys = [label.attr["hotkey"] for label in labels if "hotkey" in label.attr]
    assert len(keys) >= 26 and len(set(keys)) == len(keys)


def config(*labels: str) -> str:
    return (
        '<View><Image name="other" value="$map"/><Image name="img" value="$photo"/>'
        f'<KeyPointLabels name="kp" toName="img">{"".join(labels)}</KeyPointLabels></View>'
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (config('<Label value="b"/>', '<Label value="a"/>'), ("b", "a")),
        (config('<Label value="b" model_index="1"/>', '<Label value="a" model_index="0"/>'), ("a", "b")),
        (config('<Label value="b" model_index="1"/>', '<Label value="a"/>'), ("b", "a")),  # not all have one
        ("<!-- note -->" + config('<Label value="a"/>', '<Label value="a"/>', "<Label/>"), ("a",)),
    ],
)
def test_others_are_read(text: str, expected: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text(text)
    assert read_labelling_config(tmp_path / "x.xml") == LabellingConfig("photo", expected)


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + config('<Label value="&b;"/>')


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<View>", "is not XML"),
        (b"", "is not XML"),
        (b"\xff\xfe\x00", "is not XML"),
        (b'<?xml version="1.0" encoding="none"?><View/>', "is not XML"),
        (BOMB.encode(), "declares entities"),
        (b"<View>" + b" " * 4_000_000, "too large"),
        (b"<View><Image name='a'/></View>", "labels no keypoints.*KeyPointLabels"),
    ],
)
def test_what_is_none_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_bytes(content)
    with pytest.raises(FormatError, match=message):
        read_labelling_config(tmp_path / "x.xml")


def test_a_missing_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        read_labelling_config(tmp_path / "x.xml")
