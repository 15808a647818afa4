"""The labelling form, generated from the skeleton.

Three tags for keypoints, because a tag decides how its points are drawn: ``doubt`` for the two that the task
asks about, large and red; ``sure`` for the others, small and in the colour of their side; ``gone`` for those
that the model takes for absent, grey and faint. Only the palettes of ``doubt`` and of the box are shown, the
latter for people whom nobody has boxed. Tags in a hidden view still draw and can be dragged, which saves the
annotator two rows of labels.
"""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from string import ascii_lowercase
from types import MappingProxyType

from autolabel.merge import Verdict
from autolabel.poses import Visibility
from autolabel.skeleton import Skeleton

IMAGE = "image"
DOUBT = "doubt"
SURE = "sure"
GONE = "gone"
LIMBS = "limbs"
BOX = "box"
VISIBILITY = "visibility"
VERDICT = "verdict"

VISIBILITY_CHOICES = MappingProxyType(
    {"visible": Visibility.VISIBLE, "hidden": Visibility.HIDDEN, "absent": Visibility.ABSENT}
)


# Explicit keys, all free of the editor's own (v h k r o p b e u) and of its shift+digit zoom keys.
_VISIBILITY_KEYS = ("z", "x", "c")
_VERDICT_KEYS = ("i", "j", "n", "m")
BOX_KEY = "y"
_DOUBT_COLOR = "#ff0033"
_GONE_COLOR = "#9aa0a6"
_LIMB_COLOR = "#ffd23f"
_BOX_COLOR = "#888888"


def labelling_form(skeleton: Skeleton) -> str:
    """The form as Label Studio's XML.

    Args:
        skeleton: Its keypoints become the labels; the first 26 get the keys shift+a to shift+z.
    """
    root = ET.Element("View")
    _add(root, "Header", value="$header", size="5")
    columns = _add(root, "View", style="display:flex;gap:12px")
    picture = _add(columns, "View", style="flex:0 0 520px")
    # The limits keep a tall crop on one screen.
    _add(picture, "Image", name=IMAGE, value="$image", zoom="true", zoomControl="true", rotateControl="false",
         maxWidth="480px", maxHeight="calc(100vh - 240px)")  # fmt: skip
    controls = _add(columns, "View", style="flex:1")
    doubt = _add(controls, "KeyPointLabels", name=DOUBT, toName=IMAGE, strokeWidth="3", opacity="0.9")
    for i, keypoint in enumerate(skeleton.keypoints):
        key = {"hotkey": f"shift+{ascii_lowercase[i]}"} if i < len(ascii_lowercase) else {}
        _add(doubt, "Label", value=keypoint, background=_DOUBT_COLOR, **key)
    box = _add(controls, "RectangleLabels", name=BOX, toName=IMAGE, strokeWidth="1", fillOpacity="0")
    _add(box, "Label", value=BOX, background=_BOX_COLOR, hotkey=BOX_KEY)
    _choices(controls, VERDICT, [v.value for v in Verdict], _VERDICT_KEYS, choice="multiple")
    # Comes and goes with the selection: last, so that nothing else jumps.
    _choices(controls, VISIBILITY, list(VISIBILITY_CHOICES), _VISIBILITY_KEYS, perRegion="true",
             visibleWhen="region-selected", choice="single-radio")  # fmt: skip
    _hidden(controls, skeleton)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def _hidden(parent: ET.Element, skeleton: Skeleton) -> None:
    hidden = _add(parent, "View", style="display:none")
    sure = _add(hidden, "KeyPointLabels", name=SURE, toName=IMAGE, strokeWidth="2", opacity="0.6")
    gone = _add(hidden, "KeyPointLabels", name=GONE, toName=IMAGE, strokeWidth="1", opacity="0.4")
    for keypoint, color in zip(skeleton.keypoints, skeleton.colors, strict=True):
        _add(sure, "Label", value=keypoint, background=color)
        _add(gone, "Label", value=keypoint, background=_GONE_COLOR)
    limbs = _add(hidden, "VectorLabels", name=LIMBS, toName=IMAGE, skeleton="true", curves="false",
                 closable="false", pointSize="small", strokeWidth="2", opacity="0.4")  # fmt: skip
    _add(limbs, "Label", value=LIMBS, background=_LIMB_COLOR)


def _choices(parent: ET.Element, name: str, values: Sequence[str], keys: Sequence[str], **attributes: str) -> None:
    choices = _add(parent, "Choices", name=name, toName=IMAGE, showInline="true", **attributes)
    for value, key in zip(values, keys, strict=True):
        _add(choices, "Choice", value=value, hotkey=key)


def _add(parent: ET.Element, tag: str, **attributes: str) -> ET.Element:
    return ET.SubElement(parent, tag, attributes)
