"""Which keypoints may have been labelled with their sides exchanged: all pairs, those of arms or legs, or one."""

from dataclasses import dataclass

from autolabel.skeleton import Skeleton


@dataclass(frozen=True)
class Swap:
    """Pairs of keypoints whose sides may have been exchanged together.

    Attributes:
        name: Such as ``left and right`` or ``left and right knee``.
        members: Their keypoints, both sides.
    """

    name: str
    members: tuple[int, ...]


def possible_swaps(skeleton: Skeleton) -> tuple[Swap, ...]:
    """All pairs, the upper and the lower body's, and each pair; largest first, each set of pairs once."""
    pairs = skeleton.flip_pairs
    upper = [pair for pair in pairs if set(pair) <= set(skeleton.upper)]
    lower = [pair for pair in pairs if set(pair) <= set(skeleton.lower)]
    named = [("left and right", list(pairs)), ("left and right arm", upper), ("left and right leg", lower)]
    named += [(f"left and right {_bare(skeleton.keypoints[pair[0]])}", [pair]) for pair in pairs]
    found: dict[tuple[int, ...], Swap] = {}
    for name, group in named:
        members = tuple(sorted(k for pair in group for k in pair))
        if members:
            found.setdefault(members, Swap(name, members))
    return tuple(found.values())


def _bare(keypoint: str) -> str:
    """A keypoint's name without its side."""
    words = [word for word in keypoint.replace("-", "_").split("_") if word.lower() not in ("left", "right")]
    return " ".join(words) or keypoint
