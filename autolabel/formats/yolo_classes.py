"""The classes of a YOLO data set, from what the poses carry of their category.

The COCO reader and the YOLO reader keep a pose's category in the same attribute, so that the class of one is the
category of the other.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, cast

from autolabel.formats.coco_reading import THEIRS
from autolabel.formats.labels import say_something
from autolabel.poses import Sample


class Classes:
    """Which class each pose is of.

    Args:
        samples: All that are to be written.
        header: What the source said of itself; its categories come first and keep their order.
        default: What the class is called where there is no category at all.
    """

    def __init__(self, samples: Iterable[Sample], header: Mapping[str, Any], default: str) -> None:
        stated = [_name(category) for category in header.get("categories", ())]
        found: dict[str, float] = {}
        for sample in samples:
            for attributes in sample.poses.attributes:
                category = _category(attributes)
                if (name := _name(category)) and name not in found:
                    key = category.get("id")
                    found[name] = key if isinstance(key, int) else math.inf
        names = dict.fromkeys([*filter(None, stated), *sorted(found, key=lambda name: found[name])])
        self.names: tuple[str, ...] = tuple(names) or (default,)
        self._index = {name: i for i, name in enumerate(self.names)}

    def index(self, attributes: Mapping[str, Any]) -> int:
        """The class of a pose with these attributes; the first for one that names none."""
        return self._index.get(_name(_category(attributes)), 0)


def says_more(attributes: Mapping[str, Any]) -> bool:
    """Whether a pose's attributes say anything but its class."""
    others = {name: value for name, value in attributes.items() if name != THEIRS or not isinstance(value, Mapping)}
    if say_something(others):
        return True
    theirs, category = _mapping(attributes.get(THEIRS)), _category(attributes)
    written = ("id", "name") if _name(category) else ()
    rest = {name: value for name, value in theirs.items() if name != "category" or not isinstance(value, Mapping)}
    return say_something(rest) or say_something({n: value for n, value in category.items() if n not in written})


def _category(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    return _mapping(_mapping(attributes.get(THEIRS)).get("category"))


def _name(category: object) -> str:
    name = _mapping(category).get("name")
    return name if isinstance(name, str) and name.strip() else ""


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
