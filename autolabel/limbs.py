"""Limbs of any skeleton: the pairs of left and right keypoints that are put on the wrong side together.

Who labels a person from behind as if from the front mirrors all pairs; who loses track of crossed legs mirrors the
legs. Which pairs hang together is read from the skeleton's edges alone, so that it holds for people, animals and
skeletons that users bring. A pair is of the *trunk* where its two sides are joined to one another or to a keypoint on
the midline: hips, shoulders, eyes. Whatever hangs off the trunk is a limb, together with the pair that it hangs off:
hips, knees and ankles; shoulders, elbows and wrists; eyes and ears.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autolabel.skeleton import Skeleton


@dataclass(frozen=True)
class Limb:
    """Pairs of keypoints that hang together, from the trunk outwards.

    Attributes:
        name: What it is called in findings: the names of its keypoints without their sides.
        pairs: Rows of ``skeleton.flip_pairs``.
    """

    name: str
    pairs: tuple[int, ...]


def limbs(skeleton: Skeleton) -> tuple[Limb, ...]:
    """The limbs of a skeleton; every flip pair is in exactly one, and a skeleton without pairs has none."""
    trunk, near = _pair_graph(skeleton)
    hanging = _components([i for i in range(len(trunk)) if not trunk[i]], near)
    # A chain between two pairs of the trunk (ears, between eyes and shoulders) goes to the one with fewer others.
    roots = [sorted({root for pair in chain for root in near[pair] if trunk[root]}) for chain in hanging]
    load = [sum(pair in root for root in roots) for pair in range(len(trunk))]
    whole: dict[int, set[int]] = {pair: {pair} for pair in range(len(trunk)) if trunk[pair]}
    for chain, root in zip(hanging, roots, strict=True):
        if root:
            whole[min(root, key=lambda pair: load[pair])] |= chain
        else:
            whole[min(chain)] = chain
    ordered = [_outwards(start, whole[start], near) for start in sorted(whole)]
    return tuple(Limb(limb_name(skeleton, pairs), pairs) for pairs in ordered)


def limb_name(skeleton: Skeleton, pairs: Sequence[int]) -> str:
    """``hip, knee and ankle``: the keypoints of these rows of ``flip_pairs``, without their sides."""
    names = [sideless(skeleton.keypoints[skeleton.flip_pairs[pair][0]]) for pair in pairs]
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def sideless(name: str) -> str:
    """A keypoint's name without its side, in words: ``left_big_toe`` is ``big toe``."""
    words = name.replace("-", "_").split("_")
    kept = [word for word in words if word.lower() not in ("left", "right", "l", "r")]
    return " ".join(kept or words)


def pair_array(skeleton: Skeleton) -> NDArray[np.intp]:
    """(P, 2) the flip pairs as an index array, also where there are none."""
    return np.array(skeleton.flip_pairs, np.intp).reshape(-1, 2)


def _pair_graph(skeleton: Skeleton) -> tuple[list[bool], Mapping[int, set[int]]]:
    """Which pairs are of the trunk, and which other pairs each one is joined to."""
    pair_of = {keypoint: row for row, pair in enumerate(skeleton.flip_pairs) for keypoint in pair}
    trunk = [False] * len(skeleton.flip_pairs)
    near: dict[int, set[int]] = {row: set() for row in range(len(trunk))}
    for i, j in skeleton.edges:
        a, b = pair_of.get(i), pair_of.get(j)
        if a is None or b is None or a == b:  # to the midline, or across it
            for row in (a, b):
                if row is not None:
                    trunk[row] = True
        else:
            near[a].add(b)
            near[b].add(a)
    return trunk, near


def _components(rows: Sequence[int], near: Mapping[int, set[int]]) -> list[set[int]]:
    """The rows in groups that hang together without any other row."""
    left, groups = set(rows), list[set[int]]()
    while left:
        group = set(_outwards(min(left), left, near))
        groups.append(group)
        left -= group
    return groups


def _outwards(start: int, within: set[int], near: Mapping[int, set[int]]) -> tuple[int, ...]:
    """The rows that hang together with ``start``, nearest first."""
    order = [start]
    for row in order:  # grows while it is walked
        order += sorted(near[row] & within - set(order))
    return tuple(order)
