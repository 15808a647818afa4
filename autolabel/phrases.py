"""Keypoints and counts as people say them: "wrists", "left knee and left ankle", "nose, eyes and 3 more", "1 box"."""

from collections.abc import Sequence
from functools import lru_cache

from autolabel.skeleton import Skeleton

MOST_NAMES = 4
"""Longer lists are cut."""

_PLURALS = {"foot": "feet", "tooth": "teeth", "person": "people"}


def named(which: Sequence[int], skeleton: Skeleton) -> str:
    """Keypoints in words, in the skeleton's order; a left and a right one of one name become their plural.

    Args:
        which: Indices of keypoints.
        skeleton: Names them, and says which mirror each other.
    """
    return _named(tuple(sorted(set(which))), skeleton.keypoints, skeleton.flip)


def plural(noun: str) -> str:
    """More than one of it."""
    head, space, last = noun.rpartition(" ")
    if last in _PLURALS:
        return head + space + _PLURALS[last]
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def counted(number: int, noun: str) -> str:
    """So many of it: "1 box", "1,200 boxes"."""
    return f"{number:,} {noun if number == 1 else plural(noun)}"


@lru_cache(maxsize=4096)
def _named(which: tuple[int, ...], names: tuple[str, ...], flip: tuple[int, ...]) -> str:
    words: list[str] = []
    for i in which:
        mirror = flip[i]
        common = _common(names[i], names[mirror]) if mirror in which and mirror != i else ""
        if not common:
            words.append(_spoken(names[i]))
        elif i < mirror:
            words.append(plural(_spoken(common)))
    if len(words) > MOST_NAMES:
        words = [*words[: MOST_NAMES - 1], f"{len(words) - MOST_NAMES + 1} more"]
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)


def _common(a: str, b: str) -> str:
    """What two sides are called without their side; nothing where the names are not left_X and right_X."""
    for one, two in ((a, b), (b, a)):
        left, right = one.removeprefix("left_"), two.removeprefix("right_")
        if left == right and left != one and right != two:
            return left
    return ""


def _spoken(name: str) -> str:
    return " ".join(name.replace("_", " ").split()) or name
