"""The labelling configuration of whole images: the one we write, and what other people's tell.

Ours has one palette of keypoints in the skeleton's order, two kinds of boxes and the visibility of the selected
keypoint. Of another one three things are read: which field of a task holds the image, which keypoints there are,
and in which order.
"""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase

from autolabel.errors import FormatError
from autolabel.labelstudio.form import BOX, IMAGE, VISIBILITY, VISIBILITY_CHOICES
from autolabel.skeleton import Skeleton

KEYPOINTS = "keypoints"
PERSON = "person"
CROWD = "crowd"
"""Label of boxes around many people, which trainers and evaluators skip."""

_VISIBILITY_KEYS = ("z", "x", "c")  # free of the editor's own, as in autolabel.labelstudio.form
_BOX_COLORS = {PERSON: "#888888", CROWD: "#c05bd8"}
_MAX_BYTES = 4_000_000


@dataclass(frozen=True)
class LabellingConfig:
    """What a labelling configuration says about keypoints.

    Attributes:
        image_key: The field of a task's ``data`` that holds the image, or "" where it does not say.
        keypoints: The labels of keypoints: by ``model_index`` where all have one, else as they stand.
    """

    image_key: str
    keypoints: tuple[str, ...]


def whole_image_form(skeleton: Skeleton) -> str:
    """The configuration as Label Studio's XML.

    Args:
        skeleton: Its keypoints become the labels; the first 26 get the keys shift+a to shift+z.
    """
    root = ET.Element("View")
    _add(root, "Image", name=IMAGE, value=f"${IMAGE}", zoom="true", zoomControl="true", rotateControl="false")
    palette = _add(root, "KeyPointLabels", name=KEYPOINTS, toName=IMAGE, strokeWidth="3", opacity="0.9")
    for i, (keypoint, color) in enumerate(zip(skeleton.keypoints, skeleton.colors, strict=True)):
        key = {"hotkey": f"shift+{ascii_lowercase[i]}"} if i < len(ascii_lowercase) else {}
        _add(palette, "Label", value=keypoint, model_index=str(i), background=color, **key)
    boxes = _add(root, "RectangleLabels", name=BOX, toName=IMAGE, strokeWidth="2", fillOpacity="0")
    for label, color in _BOX_COLORS.items():
        _add(boxes, "Label", value=label, background=color)
    # Comes and goes with the selection: last, so that nothing else jumps.
    choices = _add(root, "Choices", name=VISIBILITY, toName=IMAGE, perRegion="true", choice="single-radio",
                   visibleWhen="region-selected", showInline="true")  # fmt: skip
    for state, key in zip(VISIBILITY_CHOICES, _VISIBILITY_KEYS, strict=True):
        _add(choices, "Choice", value=state, hotkey=key)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def read_labelling_config(path: str | Path) -> LabellingConfig:
    """What a labelling configuration says, as the project's settings show it under "Code".

    Raises:
        FormatError: It cannot be read, is not XML, or labels no keypoints.
    """
    subject = str(path)
    try:
        content = Path(path).read_bytes()[: _MAX_BYTES + 1]
        # Entities can grow without end, and no labelling configuration needs them.
        if len(content) > _MAX_BYTES or b"<!" in content.replace(b"<!--", b""):
            raise FormatError("is too large or declares entities", subject=subject)
        root = ET.fromstring(content)
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror}", subject=subject) from error
    except (ET.ParseError, ValueError, LookupError) as error:
        raise FormatError(f"is not XML: {error}", subject=subject) from error
    tags = [tag for tag in root.iter() if tag.tag.lower() == "keypointlabels"]
    labels = [label for tag in tags for label in tag.iter() if label.tag.lower() == "label" and label.get("value")]
    names = tuple(dict.fromkeys(label.attrib["value"] for label in _by_model_index(labels)))
    if not names:
        raise FormatError("labels no keypoints", subject=subject, remedy="It needs a KeyPointLabels tag with labels.")
    shown = {tag.get("toName", "") for tag in tags}
    keys = [tag.get("value", "") for tag in root.iter() if tag.tag.lower() == "image" and tag.get("name") in shown]
    return LabellingConfig(keys[0].removeprefix("$") if keys else "", names)


def _by_model_index(labels: Sequence[ET.Element]) -> list[ET.Element]:
    indices = [label.get("model_index", "") for label in labels]
    if not all(index.isascii() and index.isdecimal() and len(index) < 10 for index in indices):
        return list(labels)
    return [label for _, label in sorted(zip(indices, labels, strict=True), key=lambda pair: int(pair[0]))]


def _add(parent: ET.Element, tag: str, **attributes: str) -> ET.Element:
    return ET.SubElement(parent, tag, attributes)
