"""Whether the form that a server shows still asks what ours does: people may edit it there.

Colours, sizes, keys, the layout and further controls of other kinds are matters of taste: answers are read all the
same. What decides is which controls there are, what they are called, what they belong to and what may be said with
them. A control more that draws points or boxes counts too, because its regions would be read as ours.
"""

import hashlib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass

_READ = {"KeyPointLabels", "RectangleLabels"}
_SAID = {"Label", "Choice"}


@dataclass(frozen=True)
class _Control:
    """What an answer of a control means."""

    kind: str
    to: str
    said: frozenset[str]
    per_region: bool


def form_digest(form: str) -> str:
    """Hex digest of a form that does not depend on white space between tags, the order of attributes or comments.

    The server changes those. A text that is no XML has the digest of its characters.
    """
    try:
        form = ET.canonicalize(form, strip_text=True)
    except ET.ParseError:
        form = form.strip()
    return hashlib.sha256(form.encode()).hexdigest()


def is_empty(form: str) -> bool:
    """Whether it asks nothing, like the form of a project that was just made."""
    try:
        return len(ET.fromstring(form)) == 0
    except ET.ParseError:
        return not form.strip()


def differences(shown: str, ours: str) -> list[str]:
    """In what a form differs so that its answers would not be those that we ask for.

    Args:
        shown: The form that a server shows.
        ours: The form of the skeleton.

    Returns:
        One sentence a difference; none where only the looks differ.
    """
    try:
        root = ET.fromstring(shown)
    except ET.ParseError as error:
        return [f"it is no XML: {error}"]
    own = ET.fromstring(ours)
    return [*_objects(root, own), *_controls(root, own)]


def _objects(root: ET.Element, own: ET.Element) -> Iterator[str]:
    """What is shown: the picture, and every text that a task brings along."""
    there = [(tag.tag, tag.get("name"), tag.get("value")) for tag in root.iter()]
    for tag in own.iter():
        value = tag.get("value", "")
        if value.startswith("$") and (tag.tag, tag.get("name"), value) not in there:
            yield f"it lacks <{tag.tag} value={value!r}>"
    fields = {tag.get("value", "") for tag in own.iter()}
    for tag in root.iter():
        value = tag.get("value", "")
        if value.startswith("$") and value not in fields:
            yield f"it shows {value!r}, which no task has"


def _controls(root: ET.Element, own: ET.Element) -> Iterator[str]:
    there, wanted = _read_controls(root), _read_controls(own)
    for name, control in wanted.items():
        found = there.get(name)
        if found is None:
            yield f"it lacks <{control.kind} name={name!r}>"
            continue
        if found.kind != control.kind or found.to != control.to:
            expected = f"<{control.kind} toName={control.to!r}>"
            yield f"control {name!r} is <{found.kind} toName={found.to!r}>, expected {expected}"
        if found.per_region != control.per_region:
            yield f"control {name!r} is about {'a region' if found.per_region else 'the whole task'}"
        noun = "choice" if control.kind == "Choices" else "label"
        if missing := sorted(control.said - found.said):
            yield f"control {name!r} lacks {noun} {_some(missing)}"
        if extra := sorted(found.said - control.said):
            yield f"control {name!r} also offers {noun} {_some(extra)}"
    for name, control in there.items():
        if name not in wanted and control.kind in _READ:
            yield f"it also has <{control.kind} name={name!r}>, whose regions would be taken for ours"


def _read_controls(root: ET.Element) -> dict[str, _Control]:
    return {
        tag.get("name", ""): _Control(
            kind=tag.tag,
            to=tag.get("toName", ""),
            said=frozenset(child.get("value", "") for child in tag.iter() if child.tag in _SAID),
            per_region=tag.get("perRegion", "false").lower() == "true",
        )
        for tag in root.iter()
        if tag.get("toName")
    }


def _some(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
