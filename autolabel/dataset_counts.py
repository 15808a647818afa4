"""What a dataset holds, counted for its card in one pass: poses by state, keypoints by origin, what is left out.

An image is exported when the image policy lets it be: nobody in it waits for a person, and no person rejected it. What
is left out is counted by the reason, because whoever trains on the dataset has to know what it lacks.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autolabel.formats.policy import ImagePolicy, select
from autolabel.merge import BOXED, SEEN, State
from autolabel.poses import Origin, Poses, Sample, Visibility


@dataclass
class StateCounts:
    """The poses of one state.

    Attributes:
        poses: How many there are.
        exported: How many of them are in exported images.
        keypoints: Of these, the keypoints that have a place, by the word for their origin.
    """

    poses: int = 0
    exported: int = 0
    keypoints: Counter[str] = field(default_factory=Counter[str])


@dataclass(frozen=True)
class DatasetCounts:
    """What a dataset holds.

    Attributes:
        images: All images.
        exported: Images that the policy exports.
        empty: Exported images without a pose: whoever trains on them takes them for background.
        rejected: Images that a person rejected; they are not exported.
        unsettled: Other images that are not exported: somebody in them waits for a person.
        grouped: Images that state a group, such as their video.
        repeats: Images that are marked as repeating another one.
        states: Poses by state; "" is none.
        visibility: Keypoints of exported poses by the word for their visibility.
        networks: Exported poses that a network placed and no person has seen, by the network's name.
    """

    images: int
    exported: int
    empty: int
    rejected: int
    unsettled: int
    grouped: int
    repeats: int
    states: Mapping[str, StateCounts]
    visibility: Mapping[str, int]
    networks: Mapping[str, int]

    @property
    def poses(self) -> int:
        """All poses."""
        return sum(counts.poses for counts in self.states.values())

    @property
    def exported_poses(self) -> int:
        """Poses in exported images, but for those that a person rejected."""
        return sum(counts.exported for counts in self.states.values())

    @property
    def boxed(self) -> int:
        """People whom reviewers boxed and who have no pose."""
        return self.states[BOXED].poses if BOXED in self.states else 0


def count_dataset(samples: Iterable[Sample], policy: ImagePolicy = ImagePolicy.COMPLETE) -> DatasetCounts:
    """Count what a dataset holds; the samples are streamed.

    Args:
        samples: As a manifest gives them.
        policy: Which images are exported.
    """
    images, visibility, networks = Counter[str](), Counter[str](), Counter[str]()
    states: dict[str, StateCounts] = {}
    for sample in samples:
        images["all"] += 1
        images["grouped"] += bool(sample.group)
        images["repeats"] += bool(sample.duplicate_of)
        for attributes in sample.poses.attributes:
            states.setdefault(_state(attributes), StateCounts()).poses += 1
        chosen = select(sample, policy)
        if chosen is None:
            images["rejected" if sample.attributes.get("state") == State.REJECTED else "unsettled"] += 1
            continue
        images["exported"] += 1
        images["empty"] += not len(chosen.poses)
        _count_exported(chosen.poses, states, visibility, networks)
    return DatasetCounts(
        images=images["all"],
        exported=images["exported"],
        empty=images["empty"],
        rejected=images["rejected"],
        unsettled=images["unsettled"],
        grouped=images["grouped"],
        repeats=images["repeats"],
        states=states,
        visibility=visibility,
        networks=networks,
    )


def _count_exported(
    poses: Poses, states: Mapping[str, StateCounts], visibility: Counter[str], networks: Counter[str]
) -> None:
    placed = ~np.isnan(poses.xy[..., 0])
    for kind in Visibility:
        visibility[kind.name.lower()] += int((poses.visibility == kind).sum())
    for i in range(len(poses)):
        state = _state(poses.attributes[i])
        counts = states[state]
        counts.exported += 1
        hands = poses.origin[i][placed[i]]
        for kind in Origin:
            counts.keypoints[kind.name.lower()] += int((hands == kind).sum())
        if state not in SEEN and (hands == Origin.MODEL).any():
            networks[str(poses.by[i])] += 1


def _state(attributes: Mapping[str, Any]) -> str:
    """The state of a pose as a word: attributes hold whatever a table said."""
    state = attributes.get("state")
    return "" if state is None else str(state)
