"""What is wrong with a task before it is sent: the server itself takes nearly everything.

A released Label Studio stores a prediction with an unknown label, a missing tag or a point outside the picture
without a word, and the annotator then sees a region without a name, or none. So every task is held against the
form that will show it, and against what the answer's reader relies on: ids that name the task and the keypoint, the
order of the regions, which is the order of the mouse, and the read-only ones. A task also may not carry anything
that is not known to be the same for all kinds of tasks: annotators can read all of its fields.
"""

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeGuard, cast

from autolabel.labelstudio import form
from autolabel.labelstudio.tasks import MARKER, MODEL_VERSION, box_region
from autolabel.skeleton import Skeleton

OWN_FIELDS = frozenset({"task_key", "crop", "priority"})
"""What a task's ``data`` holds beside the fields that the form shows."""

_SHARED = {"id", "type", "from_name", "to_name", "value", "original_width", "original_height", "image_rotation"}
_OPTIONAL = {"parentID", "readonly"}
_VALUE = {
    "keypointlabels": {"x", "y", "width", "keypointlabels"},
    "choices": {"x", "y", "width", "choices"},
    "vectorlabels": {"closed", "vectorlabels", "vertices"},
    "rectanglelabels": {"x", "y", "width", "height", "rotation", "rectanglelabels"},
}
_WHOLE_VALUE = {"choices"}
_LAYER = {"keypointlabels": 0, "choices": 0, "vectorlabels": 1, "rectanglelabels": 2}
_ROUNDING = 1e-9

Json = Mapping[str, Any]


@dataclass(frozen=True)
class _Form:
    """The form that shows a task: its data fields, and by the name of each control its type and what it may say."""

    fields: frozenset[str]
    controls: Mapping[str, tuple[str, frozenset[str]]]


def problems(task: object, skeleton: Skeleton) -> list[str]:
    """Everything that is wrong with a task.

    Args:
        task: In Label Studio's import format.
        skeleton: Its form is the one that shows the task.

    Returns:
        One sentence a problem, with its place in the task; none for a task that may be sent.
    """
    if not isinstance(task, Mapping):
        return ["is not an object"]
    task = cast("Json", task)
    data = task.get("data")
    if not isinstance(data, Mapping):
        return ["data is not an object"]
    shown = _form_of(skeleton)
    return [*_about_task(task), *_about_data(cast("Json", data), shown), *_about_predictions(task, shown)]


@lru_cache(maxsize=8)
def _form_of(skeleton: Skeleton) -> _Form:
    root = ET.fromstring(form.labelling_form(skeleton))
    fields = {name for tag in root.iter() for name in re.findall(r"\$(\w+)", tag.get("value", ""))}
    controls = {
        tag.get("name", ""): (tag.tag.lower(), frozenset(child.get("value", "") for child in tag))
        for tag in root.iter()
        if tag.get("toName")
    }
    return _Form(frozenset(fields), controls)


def _about_task(task: Json) -> Iterator[str]:
    for name in sorted(set(task) - {"data", "meta", "predictions"}):
        yield f"holds {name!r}, which not every task does"
    if task.get("meta") != {"autolabel": MARKER}:
        yield f"meta is not { ({'autolabel': MARKER})!r}"


def _about_data(data: Json, shown: _Form) -> Iterator[str]:
    wanted = shown.fields | OWN_FIELDS
    for name in sorted(wanted - set(data)):
        yield f"data.{name} is missing"
    for name in sorted(set(data) - wanted):
        yield f"data holds {name!r}, which not every task does"
    for name in sorted((wanted & set(data)) - {"priority"}):
        if not isinstance(data[name], str) or not data[name]:
            yield f"data.{name} is {data[name]!r}, expected text"
    key, priority = data.get("task_key"), data.get("priority")
    if isinstance(key, str) and not re.fullmatch("[0-9a-f]{24}", key):
        yield f"data.task_key is {key!r}, expected 24 hexadecimal digits"
    if "crop" in data and data["crop"] != f"{key}.jpg":
        yield f"data.crop is {data['crop']!r}, expected '{key}.jpg'"
    if "priority" in data and not (_is_number(priority) and 0 < priority <= 1):
        yield f"data.priority is {priority!r}, expected a number above 0 and at most 1"


def _about_predictions(task: Json, shown: _Form) -> Iterator[str]:
    predictions = task.get("predictions")
    if not _is_list(predictions) or len(predictions) != 1 or not isinstance(predictions[0], Mapping):
        yield "predictions is not a list of one"
        return
    prediction = cast("Json", predictions[0])
    for name in sorted(set(prediction) - {"model_version", "result"}):
        yield f"the prediction holds {name!r}, which not every one does"
    if prediction.get("model_version") != MODEL_VERSION:
        yield f"model_version is {prediction.get('model_version')!r}, expected {MODEL_VERSION!r}: it would not be shown"
    result = prediction.get("result")
    if not _is_list(result):
        yield "result is not a list"
        return
    key = str(task["data"].get("task_key"))
    sound: list[Json] = []
    for i, item in enumerate(result):
        wrong = list(_about_item(item, key, shown))
        yield from (f"result[{i}]: {what}" for what in wrong)
        if not wrong:
            sound.append(cast("Json", item))
    if len(sound) == len(result):  # else what follows would only repeat it
        yield from _about_order(sound)
        yield from _about_ids(sound)
        yield from _about_canvas(sound)


def _about_item(item: object, key: str, shown: _Form) -> Iterator[str]:
    """What is wrong with one region or choice, looked at alone."""
    if not isinstance(item, Mapping) or not isinstance(cast("Json", item).get("value"), Mapping):
        yield "is not an object with a value"
        return
    item = cast("Json", item)
    value, kind = cast("Json", item["value"]), item.get("type")
    if not isinstance(kind, str) or kind not in _VALUE:
        yield f"type is {kind!r}, expected one of: {', '.join(_VALUE)}"
        return
    yield from _about_fields(item, _SHARED, _OPTIONAL, "")
    whole = item.get("from_name") == form.ABOUT
    yield from _about_fields(value, _WHOLE_VALUE if whole else _VALUE[kind], set(), "value.")
    if not str(item.get("id", "")).startswith(f"{key[:12]}-"):
        yield f"id is {item.get('id')!r}, which does not begin with the task's"
    if not isinstance(item.get("parentID", ""), str):
        yield f"parentID is {item['parentID']!r}, expected the id of a box"
    yield from _about_label(item, value, kind, shown)
    if kind == "vectorlabels":
        yield from _about_vertices(value)
    else:
        yield from _about_extent(value, "value.")
    fixed = kind == "vectorlabels" or item.get("id") == box_region(key)
    if item.get("readonly", False) is not fixed:
        yield f"is {'not ' * fixed}read-only"


def _about_fields(record: Json, required: set[str], optional: set[str], place: str) -> Iterator[str]:
    names = record.keys()
    for name in sorted(required - names):
        yield f"{place}{name} is missing"
    for name in sorted(names - required - optional):
        yield f"holds {place}{name}, which not every one does"


def _about_label(item: Json, value: Json, kind: str, shown: _Form) -> Iterator[str]:
    control = shown.controls.get(str(item.get("from_name")))
    if control is None or control[0] != kind:
        yield f"from_name is {item.get('from_name')!r}, which is no {kind} of the form"
        return
    said = value.get(kind)
    if not _is_list(said) or len(said) != 1 or not _is_one_of(said[0], control[1]):
        yield f"value.{kind} is {said!r}, expected one that {item['from_name']!r} of the form has"


def _about_extent(value: Json, place: str) -> Iterator[str]:
    for name in ("x", "y", "width", "height"):
        if name in value and not (_is_number(value[name]) and 0 <= value[name] <= 100):
            yield f"{place}{name} is {value[name]!r}, expected percent from 0 to 100"
            return
    for low, extent in (("x", "width"), ("y", "height")):
        if "height" in value and value.get(low, 0) + value.get(extent, 0) > 100 + _ROUNDING:
            yield f"{place}{low} and {place}{extent} reach beyond the picture"
    if value.get("rotation", 0) != 0:
        yield f"{place}rotation is {value['rotation']!r}, expected 0"


def _about_vertices(value: Json) -> Iterator[str]:
    vertices = value.get("vertices")
    if not _is_list(vertices) or len(vertices) < 2 or not all(isinstance(v, Mapping) for v in vertices):
        yield "value.vertices is not a list of two and more"
        return
    before: set[str] = set()
    for i, vertex in enumerate(cast("Sequence[Json]", vertices)):
        place = f"value.vertices[{i}]"
        yield from _about_extent(vertex, f"{place}.")
        if not isinstance(vertex.get("id"), str) or vertex["id"] in before:
            yield f"{place}.id is {vertex.get('id')!r}, expected one of its own"
        hangs = vertex.get("prevPointId")
        if not _is_one_of(hangs, before) if i else hangs is not None:
            yield f"{place}.prevPointId is {hangs!r}, which does not come before it"
        before.add(str(vertex.get("id")))


def _about_order(items: Sequence[Json]) -> Iterator[str]:
    """The first region lies on top: what is to be dragged comes before what lies below it."""
    for i, (item, after) in enumerate(pairwise(items)):
        if after["from_name"] != form.ABOUT and _LAYER[after["type"]] < _LAYER[item["type"]]:
            yield f"result[{i + 1}]: {after['type']} lies below {item['type']}, where no mouse reaches it"
    for i, item in enumerate(items):
        if (
            item["type"] == "choices"
            and item["from_name"] != form.ABOUT
            and (i == 0 or not _belongs(item, items[i - 1]))
        ):
            yield f"result[{i}]: the choice does not follow the point that it is about"
        if item["type"] == "keypointlabels" and (i + 1 == len(items) or not _belongs(items[i + 1], item)):
            yield f"result[{i}]: nothing is chosen about the point"


def _belongs(choice: Json, point: Json) -> bool:
    same = all(choice["value"].get(name) == point["value"].get(name) for name in ("x", "y", "width"))
    kinds = (choice["type"], choice["from_name"], point["type"])
    return kinds == ("choices", form.VISIBILITY, "keypointlabels") and choice["id"] == point["id"] and same


def _about_ids(items: Sequence[Json]) -> Iterator[str]:
    regions = [item for item in items if item["type"] != "choices"]
    points = [item["value"]["keypointlabels"][0] for item in regions if item["type"] == "keypointlabels"]
    for what, names in (("id", [item["id"] for item in regions]), ("keypoint", points)):
        for name in sorted({name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else ()):
            yield f"{what} {name!r} occurs more than once"
    boxes = {item["id"] for item in regions if item["type"] == "rectanglelabels"}
    for parent in sorted({item["parentID"] for item in items if "parentID" in item} - boxes):
        yield f"parentID {parent!r} is no box of the task"


def _about_canvas(items: Sequence[Json]) -> Iterator[str]:
    for i, item in enumerate(items):
        size = (item["original_width"], item["original_height"])
        if not all(isinstance(side, int) and side > 0 for side in size):
            yield f"result[{i}]: original_width and original_height are {size}, expected pixels"
        elif size != (items[0]["original_width"], items[0]["original_height"]):
            yield f"result[{i}]: is of a picture of another size"
        if (item["to_name"], item["image_rotation"]) != (form.IMAGE, 0):
            yield f"result[{i}]: is not about {form.IMAGE!r}, unturned"


def _is_number(value: object) -> TypeGuard[float]:
    if isinstance(value, int):  # which may be too large for a float
        return not isinstance(value, bool)
    return isinstance(value, float) and math.isfinite(value)


def _is_one_of(value: object, names: Container[str]) -> bool:
    """Whether it is one of some names; of a file that was edited it may be anything, a list too."""
    return isinstance(value, str) and value in names


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, list | tuple)
