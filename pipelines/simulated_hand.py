"""What a simulated reviewer's hand does to a task: which points it moves or adds, and what comes of it.

A plan is made from the truth and from what the task shows, and carried out on the shown regions as Label Studio
does it: moved points keep their region, new ones get one of the editor's own.
"""

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.labelstudio import form
from autolabel.labelstudio.answers import Answer
from autolabel.labelstudio.tasks import TaskRecord, canvas, rectangle
from autolabel.merge import Verdict
from autolabel.poses import Poses, Visibility
from autolabel.similarity import keypoint_similarity, similarity_area
from autolabel.skeleton import Skeleton

Items = list[dict[str, Any]]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Plan:
    """What a reviewer does to the K keypoints of a task.

    Attributes:
        xy: (K, 2) where the points should stand, in full-image pixels.
        visibility: (K,) what should be said about them.
        place: (K,) points to move or add.
        mark: (K,) visibilities to change.
    """

    xy: Floats
    visibility: NDArray[np.uint8]
    place: Bools
    mark: Bools

    @property
    def clicks(self) -> int:
        """1 a point placed, 1 a visibility changed."""
        return int(self.place.sum() + self.mark.sum())


def plan(
    answer: Answer,
    record: TaskRecord,
    truth: Poses,
    skeleton: Skeleton,
    order: Sequence[int],
    *,
    random: np.random.Generator,
    noise: float,
    accept_ks: float,
    miss: float,
) -> Plan:
    """What to do so that point k of the task stands where true keypoint ``order[k]`` does.

    Args:
        answer: What the task shows.
        record: The task.
        truth: The true pose alone.
        skeleton: Of both; gives the sigmas.
        order: (K,) the keypoints themselves, or their mirror partners.
        random: The same state for every order, so that two plans differ in the order alone.
        noise: Factor on the human standard deviation; 0 places points exactly.
        accept_ks: A point of at least this KS is left where it is.
        miss: Probability that a needed fix of a keypoint is overlooked.
    """
    turned = list(order)
    sigmas = np.array(skeleton.sigmas)
    area = similarity_area(truth)[0]
    offset = noise * np.sqrt(area / 2) * sigmas[:, None] * random.standard_normal((len(sigmas), 2))
    overlooked = random.random(len(sigmas))[turned] < miss
    true_xy, visibility = truth.xy[0].astype(np.float64)[turned], truth.visibility[0][turned]
    there = answer.placed
    ks = keypoint_similarity(record.frame.to_image(answer.percent), true_xy, area, sigmas[turned])
    labelled = truth.labelled[0][turned]
    # A joint outside the crop cannot be placed: the task does not show it.
    corner = np.array(record.frame.origin) - 0.5
    within = ((true_xy >= corner) & (true_xy <= corner + record.frame.size)).all(axis=1)
    place = labelled & within & (np.nan_to_num(ks) < accept_ks) & ~overlooked
    said = np.where(there, answer.choice, np.uint8(Visibility.VISIBLE))
    sayable = (labelled & (there | place)) | ((visibility == Visibility.ABSENT) & there)
    mark = sayable & (said != visibility) & ~overlooked
    return Plan(true_xy + offset[turned], visibility, place, mark)


def applied(shown: Items, record: TaskRecord, plan: Plan, skeleton: Skeleton) -> Items:
    """The shown items with a plan carried out; new points come last, as in Label Studio."""
    items = copy.deepcopy(shown)
    regions = {item["value"]["keypointlabels"][0]: item["id"] for item in items if "keypointlabels" in item["value"]}
    names = {value: name for name, value in form.VISIBILITY_CHOICES.items()}
    percent = record.frame.to_percent(plan.xy).tolist()
    for k, keypoint in enumerate(skeleton.keypoints):
        if not (plan.place[k] or plan.mark[k]):
            continue
        place = {"x": percent[k][0], "y": percent[k][1]} if plan.place[k] else {}
        choice = {"choices": [names[Visibility(plan.visibility[k])]]} if plan.mark[k] else {}
        if keypoint not in regions:
            items += _new_point(record, keypoint, place, choice)
        for item in items:
            if item["id"] == regions.get(keypoint):
                item["value"] |= {**place, **choice} if "choices" in item["value"] else place
                item["origin"] = "prediction-changed"
    return items


def _new_point(record: TaskRecord, keypoint: str, place: Mapping[str, float], choice: Mapping[str, list[str]]) -> Items:
    """A point that was drawn by hand: an id of the editor's, no parent, a choice only where one was made."""
    name = hashlib.sha256(f"{record.task} {keypoint}".encode()).hexdigest()[:10]
    region = {"id": name, **canvas(record), "origin": "manual"}
    value = {**place, "width": 0.6}
    label = {**value, "keypointlabels": [keypoint]}
    items = [{**region, "from_name": form.DOUBT, "type": "keypointlabels", "value": label}]
    if choice:
        said = {**value, **choice}
        items.append({**region, "from_name": form.VISIBILITY, "type": "choices", "value": said})
    return items


def verdict_item(record: TaskRecord, verdict: Verdict) -> dict[str, Any]:
    """A tick about the task as a whole."""
    return {
        "id": hashlib.sha256(f"{record.task} verdict".encode()).hexdigest()[:10],
        "from_name": form.VERDICT,
        "to_name": form.IMAGE,
        "type": "choices",
        "origin": "manual",
        "value": {"choices": [verdict.value]},
    }


def new_box(record: TaskRecord, name: str, box: Floats) -> dict[str, Any]:
    """A rectangle that was drawn by hand.

    Args:
        record: The task.
        name: Tells rectangles of one task apart.
        box: (4,) xyxy in image pixels.
    """
    region = hashlib.sha256(f"{record.task} {name}".encode()).hexdigest()[:10]
    return {**rectangle(record, region, box), "origin": "manual"}
