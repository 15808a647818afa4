"""Submitted results under attack: how good ones are broken, and what must hold of whatever is made of them.

A result may be set aside with a reason or used; nothing may crash, and no keypoint may get what was said about another:
one whose regions came back as they were sent, with its label on no other region, stays bit by bit.
"""

import copy
import json
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.formats.records import Record
from autolabel.labelstudio.answers import correction
from autolabel.labelstudio.exports import Annotation
from autolabel.labelstudio.fetch import why_unstorable
from autolabel.labelstudio.frame import frame_of
from autolabel.labelstudio.oddities import understand
from autolabel.labelstudio.tasks import TaskRecord, keypoint_region, review_task, task_key
from autolabel.merge import Correction, KeypointChange, State, Verdict
from autolabel.poses import Pose, Poses
from autolabel.skeleton import Skeleton
from tests.fuzz.mutate import mutate_json

SKELETON = Skeleton.load("coco17")
K = SKELETON.num_keypoints
SIZE = (200, 300)

Items = list[Any]


def _pose() -> Pose:
    xy = np.random.default_rng(5).uniform((60, 50), (140, 250), (K, 2)).astype(np.float32)
    xy[3] = (-30.0, 400.0)  # the task shows it on the edge
    return Poses.create(K, id=["p"], xy=[xy], box=[(50, 40, 150, 260)], presence=[np.full(K, 0.9)])[0]


POSE = _pose()
KEY = task_key("ab" * 32, POSE.id, "review")
RECORD = TaskRecord(KEY, POSE.id, ("s", "r", "a.jpg"), frame_of(POSE, SIZE), "ab" * 32, "review", False, "net")
SENT: Items = review_task(RECORD, POSE, SKELETON)["predictions"][0]["result"]
FOREIGN = [{**item, "id": str(item["id"]).replace(KEY[:12], "0123456789ab")} for item in SENT]

NUMBERS = (-1, 0, 50, 100, 100.0001, 104.9, 105.1, -5, 1e9, -1e300, 1e-320, 10**400, "1", None, True, [], {})
TEXTS = ("nose", "left_eye", "tail", "", "box", "visible", "hidden", "left and right swapped", "\ud800", "é" * 3000)
KINDS = ("keypointlabels", "rectanglelabels", "choices", "vectorlabels", "keypoint", "brushlabels", "", None, 5)
CONTROLS = ("doubt", "sure", "gone", "visibility", "verdict", "box", "limbs", "image", "", None, ["doubt"])


def _change_value(items: Items, rng: random.Random) -> None:
    item = rng.choice(items)
    value = item.get("value") if isinstance(item, dict) else None
    if isinstance(value, dict):
        value[rng.choice(("x", "y", "width", "height", "rotation"))] = rng.choice(
            (*NUMBERS, rng.uniform(-20, 120), rng.uniform(0, 100))
        )


def _change_label(items: Items, rng: random.Random) -> None:
    item = rng.choice(items)
    if isinstance(item, dict) and isinstance(item.get("value"), dict):
        name = rng.choice(("keypointlabels", "rectanglelabels", "choices"))
        item["value"][name] = rng.choice(([rng.choice(TEXTS)], [rng.choice(SKELETON.keypoints)], [], None, "nose"))


def _change_item(items: Items, rng: random.Random) -> None:
    item = rng.choice(items)
    if isinstance(item, dict):
        name, values = rng.choice((("type", KINDS), ("from_name", CONTROLS), ("image_rotation", NUMBERS)))
        item[name] = rng.choice(values)


def _change_id(items: Items, rng: random.Random) -> None:
    item, other = rng.choice(items), rng.choice(items)
    if isinstance(item, dict) and isinstance(other, dict):
        item["id"] = rng.choice((other.get("id"), "fo_l1oAHdz", f"{KEY[:12]}-k99", 5, None, [], KEY))


def _drop(items: Items, rng: random.Random) -> None:
    del items[rng.randrange(len(items))]


def _double(items: Items, rng: random.Random) -> None:
    items.insert(rng.randrange(len(items) + 1), copy.deepcopy(rng.choice(items)))


def _shuffle(items: Items, rng: random.Random) -> None:
    rng.shuffle(items)


def _add(items: Items, rng: random.Random) -> None:
    place = {"x": rng.uniform(-10, 110), "y": rng.uniform(-10, 110), "width": 1}
    label = rng.choice(
        ({"keypointlabels": [rng.choice(SKELETON.keypoints)]}, {"rectanglelabels": ["box"], "height": 5})
    )
    kind = next(iter(label))
    items.append({"id": f"n{rng.randrange(9)}", "type": kind, "from_name": "doubt", "value": {**place, **label}})


def _say(items: Items, rng: random.Random) -> None:
    said = [rng.choice((*Verdict, "nice", None)) for _ in range(rng.randint(0, 3))]
    items.append({"id": "v", "type": "choices", "from_name": "verdict", "value": {"choices": said}})


def _mix(items: Items, rng: random.Random) -> None:
    items.extend(copy.deepcopy(rng.sample(FOREIGN, rng.randint(1, 3))))


def _junk(items: Items, rng: random.Random) -> None:
    items.insert(rng.randrange(len(items) + 1), rng.choice((None, 5, "x", [], {}, [[[[]]]], {"value": []})))


def _break_json(items: Items, rng: random.Random) -> None:
    items[:] = json.loads(mutate_json(json.dumps({"items": items}).encode(), rng)).get("items", []) or []


ACTS: tuple[Callable[[Items, random.Random], None], ...] = (
    _change_value, _change_label, _change_item, _change_id, _drop, _double, _shuffle, _add, _say, _mix, _junk,
)  # fmt: skip


def broken_result(rng: random.Random) -> Items:
    """Our own prediction after up to four things were done to it."""
    items = copy.deepcopy(SENT)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        if items:
            rng.choice(ACTS)(items, rng)
    if rng.random() < 0.1:
        with suppress(ValueError, TypeError, AttributeError):  # no JSON any more, or no list
            _break_json(items, rng)
    return items if isinstance(items, list) else []


@dataclass
class Tally:
    """What became of results."""

    used: int = 0
    aside: int = 0
    changed: int = 0


def attack(result: Items, tally: Tally) -> None:
    """Read one result and check what must hold.

    Raises:
        AssertionError: Something was attributed wrongly, or set aside without a reason.
    """
    if why_unstorable(result):
        tally.aside += 1
        return
    annotation = Annotation(KEY, "1", "ann", "2026-11-22T20:00:00Z", 1.0, False, tuple(result))
    reading = understand(annotation, RECORD, SKELETON, POSE)
    if reading.answer is None:
        assert reading.odd and reading.odd[-1].what.startswith("not used: "), "no reason"
        tally.aside += 1
        return
    made = correction(annotation, reading.answer, RECORD, POSE, SKELETON)
    tally.used += 1
    tally.changed += any(change is not KeypointChange.KEPT for change in made.keypoints)
    check(made, result)


def check(made: Correction, result: Sequence[Any]) -> None:
    read = Correction.from_record(Record(json.loads(json.dumps(made.to_dict())), "", ""), K)
    assert read.after.same(made.after) and read.keypoints == made.keypoints
    assert np.isfinite(made.after.xy).all() and np.isfinite(made.after.box).all()
    if made.state is State.REJECTED:
        assert np.array_equal(made.after.xy, POSE.xy)
        return
    swapped = Verdict.SWAPPED in made.verdict
    xy = made.after.xy[list(SKELETON.flip)] if swapped else made.after.xy  # as they were before the sides were changed
    moved = (xy != POSE.xy).any(axis=1)
    inside = (xy[moved] >= -0.51) & (xy[moved] <= np.array(SIZE) - 0.49)
    assert inside.all(), "a point was placed outside of what the task shows"
    for k, name in enumerate(SKELETON.keypoints):
        if _about(result, k) == _about(SENT, k):
            assert not moved[k], f"{name} was not touched"
            assert swapped or made.keypoints[k] is KeypointChange.KEPT, f"{name} was not touched"
        elif moved[k]:
            assert _stands_there(xy[k], k, result), f"{name} got another one's place"


def _about(result: Sequence[Any], k: int) -> list[str]:
    """Everything that says something about a keypoint: its regions, and the regions of its label."""
    names, region = SKELETON.keypoints[k], keypoint_region(KEY, k)
    mine = [item for item in result if isinstance(item, dict) and _points_at(item, names, region)]
    return [json.dumps(item, sort_keys=True, default=repr) for item in mine]


def _points_at(item: dict[str, Any], name: str, region: str) -> bool:
    value = item.get("value")
    labels = value.get("keypointlabels") if isinstance(value, dict) else None
    return item.get("id") == region or (isinstance(labels, list) and name in labels)


def _stands_there(xy: NDArray[np.float32], k: int, result: Sequence[Any]) -> bool:
    """Whether some item that speaks of the keypoint stands where the keypoint was put."""
    name, region = SKELETON.keypoints[k], keypoint_region(KEY, k)
    for item in result:
        if isinstance(item, dict) and _points_at(item, name, region) and isinstance(item["value"], dict):
            x, y = item["value"].get("x"), item["value"].get("y")
            if isinstance(x, int | float) and isinstance(y, int | float):
                place = RECORD.frame.to_image(np.clip([x, y], 0, 100))
                if np.abs(place - xy).max() < 1e-2:
                    return True
    return False


def attack_many(count: int, seed: object) -> Tally:
    """Read many broken results.

    Args:
        count: How many.
        seed: The same one gives the same results.
    """
    tally, rng = Tally(), random.Random(repr(seed))
    for _ in range(count):
        attack(broken_result(rng), tally)
    return tally
