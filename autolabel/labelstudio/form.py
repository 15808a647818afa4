"""The labelling form, generated from the skeleton.

Three tags for keypoints, because a tag decides how its points are drawn: ``doubt`` for those that the task asks
about, large rings; ``sure`` for the others, small dots; ``gone`` for those that the model takes for absent, grey
and faint. All but the last wear the colour of their side. Only the palettes of ``doubt`` and of the box are shown,
the latter for people whom nobody has boxed. Tags in a hidden view still draw and can be dragged, which saves the
annotator two rows of labels.

A project that ``autolabel serve`` helps with has a form of its own: its box is a *smart* one, which is sent to the
backend when it is drawn, joints are offered for whole images too, and there are no limbs, because Label Studio gives
up the skeletons of vectors beside an interactive backend.

Otherwise a task that shows a whole image says so in a hidden choice, ``about``, that is filled in. Then everything that
is about joints goes away, and the picture gets its place.

Every label and choice has a key of ours, because the editor gives its own to whatever has none, hidden or not,
and takes letters for it that its tools listen to as well. Up to 26 keypoints have one that can be pressed; of
larger skeletons a task shows only the joints that it asks about, and the palette is folded away.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from itertools import chain, count
from string import ascii_lowercase
from types import MappingProxyType

from autolabel.labelstudio.frame import BOX_COLOR
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
ABOUT = "about"
WHOLE = "whole picture"

VISIBILITY_CHOICES = MappingProxyType(
    {"visible": Visibility.VISIBLE, "hidden": Visibility.HIDDEN, "absent": Visibility.ABSENT}
)


_VISIBILITY_KEYS = ("z", "x", "c")
_VERDICT_KEYS = ("s", "n", "i", "q")
BOX_KEY = "y"
PALETTE = 26
"""Keypoints that fit on the keyboard, one letter each."""

_GONE_COLOR = "#9aa0a6"
_LIMB_COLOR = "#ffd23f"

_NO_KEY = 0xE000
"""The editor compares a key's first character with key codes, which end at 255: from here on, where Unicode keeps
characters for private use, no keyboard reaches."""

# Left joints in the left column, right ones in the right one, those of neither side across both. The editor escapes
# ">", so that children are named by its own classes; where those change, the labels flow as they do without a style.
_STYLE = """
.joints {width: 320px}
.joints .lsf-labels {display: grid; grid-template-columns: 1fr 1fr; gap: 5px 8px; margin: 0}
.joints .lsf-label {margin: 0; justify-content: space-between}
"""

# The editor hides the joints of a whole image by their style, and nothing but ours tells which choice is about sides.
_NO_SIDES = ".joints[style*=none] ~ .lsf-choices .lsf-choice:nth-child({}) {{display: none}}\n"


def labelling_form(skeleton: Skeleton, *, smart: bool = False) -> str:
    """The form as Label Studio's XML.

    Args:
        skeleton: Its keypoints become the labels. Up to 26 get the keys shift+a to shift+z; of more, none does, and
            the palette has to be opened.
        smart: Whether a drawn box gets a pose at once.
    """
    keys = _keys(skeleton)
    root = ET.Element("View")
    _add(root, "Style").text = "".join(
        (_STYLE, _columns(skeleton), _NO_SIDES.format(1 + list(Verdict).index(Verdict.SWAPPED)))
    )
    _add(root, "Header", value="$header", size="5")
    columns = _add(root, "View", style="display:flex;gap:16px;align-items:flex-start")
    picture = _add(columns, "View", style="flex:1 1 auto;min-width:0")
    # The limit keeps a tall crop on one screen.
    _add(picture, "Image", name=IMAGE, value="$image", zoom="true", zoomControl="true", rotateControl="false",
         maxHeight="calc(100vh - 230px)")  # fmt: skip
    controls = _add(columns, "View", style="flex:0 0 auto")
    joints = _add(controls, "View") if smart else _about_joints(controls)
    _palette(joints, skeleton, keys)
    interactive = {"smart": "true"} if smart else {}
    box = _add(controls, "RectangleLabels", name=BOX, toName=IMAGE, strokeWidth="1", fillOpacity="0", **interactive)
    _add(box, "Label", value=BOX, background=BOX_COLOR, hotkey=BOX_KEY)
    _choices(controls, VERDICT, [v.value for v in Verdict], _VERDICT_KEYS, choice="multiple", showInline="false")
    # Comes and goes with the selection: last, so that nothing else jumps.
    joints = _add(controls, "View") if smart else _about_joints(controls)
    _choices(joints, VISIBILITY, list(VISIBILITY_CHOICES), _VISIBILITY_KEYS, perRegion="true",
             visibleWhen="region-selected", choice="single-radio", showInline="true")  # fmt: skip
    _hidden(controls, skeleton, keys, limbs=not smart)
    if smart:
        for points in root.iter("KeyPointLabels"):
            points.set("smart", "false")  # the editor would take the box's place by a smart point
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def _keys(skeleton: Skeleton) -> Iterator[str]:
    """The keys of all keypoint labels in the order of the form, then of what is drawn in lines."""
    letters = ascii_lowercase if skeleton.num_keypoints <= PALETTE else ""
    pressable = [f"shift+{letter}" for letter in letters[: skeleton.num_keypoints]]
    return chain(pressable, (chr(_NO_KEY + i) for i in count()))


def _columns(skeleton: Skeleton) -> str:
    column = {"left": "1", "right": "2", "centre": "1 / 3"}
    rules = (f".joints .lsf-label:nth-child({i}) {{grid-column: {column[side]}}}\n"
             for i, side in enumerate(skeleton.sides, start=1))  # fmt: skip
    return "".join(rules)


def _palette(parent: ET.Element, skeleton: Skeleton, keys: Iterator[str]) -> None:
    view = parent
    view.set("className", "joints")
    if skeleton.num_keypoints > PALETTE:
        view = _add(_add(view, "Collapse"), "Panel", value="All joints")
    doubt = _add(view, "KeyPointLabels", name=DOUBT, toName=IMAGE, strokeWidth="4", opacity="0.25")
    _labels(doubt, skeleton, skeleton.colors, keys)


def _about_joints(parent: ET.Element) -> ET.Element:
    return _add(parent, "View", visibleWhen="choice-unselected", whenTagName=ABOUT, whenChoiceValue=WHOLE)


def _hidden(parent: ET.Element, skeleton: Skeleton, keys: Iterator[str], *, limbs: bool) -> None:
    hidden = _add(parent, "View", style="display:none")
    sure = _add(hidden, "KeyPointLabels", name=SURE, toName=IMAGE, strokeWidth="2", opacity="0.6")
    _labels(sure, skeleton, skeleton.colors, keys)
    gone = _add(hidden, "KeyPointLabels", name=GONE, toName=IMAGE, strokeWidth="1", opacity="0.4")
    _labels(gone, skeleton, [_GONE_COLOR] * skeleton.num_keypoints, keys)
    if limbs:
        lines = _add(hidden, "VectorLabels", name=LIMBS, toName=IMAGE, skeleton="true", curves="false",
                     closable="false", pointSize="small", strokeWidth="2", opacity="0.4")  # fmt: skip
        _add(lines, "Label", value=LIMBS, background=_LIMB_COLOR, hotkey=next(keys))
    _choices(hidden, ABOUT, [WHOLE], [next(keys)], choice="single")


def _labels(parent: ET.Element, skeleton: Skeleton, colors: Sequence[str], keys: Iterator[str]) -> None:
    for i, (keypoint, color) in enumerate(zip(skeleton.keypoints, colors, strict=True)):
        _add(parent, "Label", value=keypoint, model_index=str(i), background=color, hotkey=next(keys))


def _choices(parent: ET.Element, name: str, values: Sequence[str], keys: Sequence[str], **attributes: str) -> None:
    choices = _add(parent, "Choices", name=name, toName=IMAGE, **attributes)
    for value, key in zip(values, keys, strict=True):
        _add(choices, "Choice", value=value, hotkey=key)


def _add(parent: ET.Element, tag: str, **attributes: str) -> ET.Element:
    return ET.SubElement(parent, tag, attributes)
