"""Which images train and which prove: a split that never parts what belongs together.

Images belong together when they have the same ``group`` (a folder, a video), when one repeats the other
(``duplicate_of``, or equal bytes), or when poses in them have the same ``group``; and so does whatever is
linked to them in turn. A copy keeps its own group. If frame 7 of video B shows the same picture as a frame of
video A, then the two videos are one *united* group, all of it on one side.

Where a united group goes follows from its name and the seed, not from the order of the images or from the
other groups: a hash of the two is a place between 0 and 1, which the shares divide among the splits. So a
corpus that grows keeps its splits. What can still move a group, and is meant to: growing together with
another one; and in a corpus of few or very unequal groups, borders that have to be moved so that every split
gets about the share it was promised (:data:`TOLERANCE`).

Images are looked at once, in a stream. Kept of each are 24 bytes, and more only where there are links.
"""

import hashlib
import math
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import ConfigError, InputError
from autolabel.poses import Sample

TOLERANCE = 0.5
"""A border between two splits stays where the shares put it while it is off by no more than this part of the
smaller of the two shares; otherwise it is moved to the place that comes nearest."""

_Keys = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Splits:
    """Where every image goes: call it with a sample. It knows images that it was not made of, too.

    Attributes:
        shares: What was asked for, by the name of the split.
        images: How many images each split got.
        groups: How many united groups each split got.
    """

    shares: Mapping[str, float]
    images: Mapping[str, int]
    groups: Mapping[str, int]
    _seed: int
    _borders: tuple[float, ...]
    _united: Mapping[int, int]

    @property
    def reached(self) -> dict[str, float]:
        """The share of all images that each split got."""
        total = sum(self.images.values())
        return {name: count / total for name, count in self.images.items()}

    def __call__(self, sample: Sample) -> str:
        """The name of the sample's split."""
        key = _group_key(sample)
        place = _place(self._united.get(key, key), self._seed)
        return list(self.shares)[bisect_right(self._borders, place)]


def assign_splits(samples: Iterable[Sample], shares: Mapping[str, float], seed: int = 0) -> Splits:
    """Divide images among splits, so that nothing that belongs together is parted.

    Args:
        samples: All images, as a manifest gives them; their order does not matter.
        shares: The share of each split, such as ``{"train": 0.8, "val": 0.1, "test": 0.1}``; their sum is 1.
        seed: Another seed gives another split.

    Raises:
        ConfigError: The shares cannot be used.
        InputError: There are fewer united groups than splits.
    """
    _check(shares)
    keys, links = _read(samples)
    united = _united(links)
    groups, inverse = np.unique(_replaced(keys, united), return_inverse=True)
    sizes = np.bincount(inverse.ravel(), minlength=len(groups))
    sizes, cuts = _divided(groups, sizes, shares, seed, f"{len(keys)} images")
    ends = [0, *(cut for cut, _ in cuts), len(groups)]
    parts = {name: slice(a, b) for name, a, b in zip(shares, ends[:-1], ends[1:], strict=True)}
    return Splits(
        shares=dict(shares),
        images={name: int(sizes[part].sum()) for name, part in parts.items()},
        groups={name: part.stop - part.start for name, part in parts.items()},
        _seed=seed,
        _borders=tuple(border for _, border in cuts),
        _united=united,
    )


def united_groups(samples: Iterable[Sample]) -> NDArray[np.uint64]:
    """For each image, in order, the key of its united group: images of one key may not be parted.

    Args:
        samples: All images; what links two of them has to be among them.

    Returns:
        (N,) keys, which say nothing but whether two are equal.
    """
    keys, links = _read(samples)
    return _replaced(keys, _united(links))


def split_groups(groups: NDArray[np.uint64], shares: Mapping[str, float], seed: int = 0) -> NDArray[np.intp]:
    """Divide images among splits as :func:`assign_splits` does, by groups that are known already.

    Args:
        groups: (N,) of the images, from :func:`united_groups`.
        shares: The share of each split; their sum is 1.
        seed: Another seed gives another split.

    Returns:
        (N,) place of each image's split in ``shares``.

    Raises:
        ConfigError: The shares cannot be used.
        InputError: There are fewer groups than splits.
    """
    _check(shares)
    keys, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    _, cuts = _divided(keys, sizes, shares, seed, f"{len(groups)} images")
    places = np.array([_place(key, seed) for key in keys.tolist()])
    borders = np.array([border for _, border in cuts])
    return np.searchsorted(borders, places, side="right")[inverse.ravel()]


def parse_shares(text: str) -> dict[str, float]:
    """Shares as a user writes them: ``train=0.8,val=0.1,test=0.1``.

    Raises:
        ConfigError: They are written otherwise, or cannot be used.
    """
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        try:
            value = float(number)
        except ValueError:
            raise ConfigError(
                f"{part.strip()!r} is not NAME=SHARE", subject="split", remedy="Write it as train=0.8,val=0.2."
            ) from None
        if name.strip() in shares:
            raise ConfigError(f"{name.strip()!r} is named twice", subject="split")
        shares[name.strip()] = value
    _check(shares)
    return shares


def _check(shares: Mapping[str, float]) -> None:
    wrong = [name for name, share in shares.items() if not name or not 0 < share <= 1]
    if not shares or wrong:
        told = f"{wrong[0]!r}: {shares[wrong[0]]}" if wrong else "none"
        raise ConfigError(
            f"a split needs a name and a share above 0, found {told}",
            subject="split",
            remedy="Leave a split out that is to get nothing.",
        )
    if not math.isclose(sum(shares.values()), 1, abs_tol=1e-6):
        raise ConfigError(f"the shares add up to {sum(shares.values()):g}, not to 1", subject="split")


def _read(samples: Iterable[Sample]) -> tuple[_Keys, set[tuple[int, int]]]:
    """(N,) the key of each image's group, and which keys are linked."""
    groups, files, contents, originals = array("Q"), array("Q"), array("Q"), array("Q")
    links: set[tuple[int, int]] = set()
    for sample in samples:
        group = _group_key(sample)
        groups.append(group)
        files.append(_file_key(sample.root, sample.path))
        contents.append(_key("bytes", sample.id))
        if sample.original is not None:
            originals.append(_file_key(*sample.original))
            links.add((group, originals[-1]))
        links.update((group, _key("poses", name)) for name in set(sample.poses.group.tolist()) if name)
    keys, content = _array(groups), _array(contents)
    repeated = np.isin(content, _repeated(content))
    for names, rows in ((_array(files), np.isin(_array(files), _array(originals))), (content, repeated)):
        links.update(zip(keys[rows].tolist(), names[rows].tolist(), strict=True))
    return keys, links


def _repeated(keys: _Keys) -> _Keys:
    """Those that occur more than once."""
    distinct, counts = np.unique(keys, return_counts=True)
    return distinct[counts > 1]


def _array(keys: "array[int]") -> _Keys:
    return np.frombuffer(keys, np.uint64) if keys else np.empty(0, np.uint64)


def _united(links: Iterable[tuple[int, int]]) -> dict[int, int]:
    """For every key that is linked to others, the smallest of all that it is linked with."""
    parent: dict[int, int] = {}

    def smallest(key: int) -> int:
        while (above := parent.setdefault(key, key)) != key:
            parent[key] = parent[above]  # halves the way for whoever comes next
            key = above
        return key

    for pair in links:
        low, high = sorted(map(smallest, pair))
        parent[high] = low
    return {key: smallest(key) for key in parent}


def _replaced(keys: _Keys, united: Mapping[int, int]) -> _Keys:
    if not united:
        return keys
    known = np.array(sorted(united), np.uint64)
    names = np.array([united[key] for key in known.tolist()], np.uint64)
    at = np.searchsorted(known, keys).clip(max=len(known) - 1)
    return np.where(known[at] == keys, names[at], keys)


def _divided(
    groups: _Keys, sizes: NDArray[np.int64], shares: Mapping[str, float], seed: int, what: str
) -> tuple[NDArray[np.int64], list[tuple[int, float]]]:
    """Sizes of the groups in the order of their places, and where each split but the last one ends."""
    if len(groups) < len(shares):
        raise InputError(
            f"{what} are {len(groups)} groups that may not be parted, too few for {len(shares)} splits",
            subject="split",
            remedy="Ask for fewer splits, or scan with a finer --group-by.",
        )
    places = np.array([_place(key, seed) for key in groups.tolist()])
    order = np.lexsort((groups, places))
    return sizes[order], _cuts(places[order], sizes[order], list(shares.values()))


def _cuts(places: NDArray[np.float64], sizes: NDArray[np.int64], shares: list[float]) -> list[tuple[int, float]]:
    """Before which groups, in the order of their places, a split ends; and at which place."""
    reached = np.concatenate([[0], np.cumsum(sizes)]) / sizes.sum()
    cuts: list[tuple[int, float]] = []
    for i in range(1, len(shares)):
        border = sum(shares[:i])
        asked = cut = int(np.searchsorted(places, border))
        if abs(reached[cut] - border) > TOLERANCE * min(shares[i - 1], shares[i]):
            cut = int(np.abs(reached - border).argmin())
        # No split may stay empty.
        cut = min(max(cut, cuts[-1][0] + 1 if cuts else 1), len(places) - len(shares) + i)
        cuts.append((cut, border if cut == asked else float(places[cut])))
    return cuts


def _group_key(sample: Sample) -> int:
    return _key("group", sample.group) if sample.group else _key("bytes", sample.id)


def _file_key(root: str, path: str) -> int:
    return _key("file", root, path)


def _key(kind: str, *names: str) -> int:
    """64 bits for a name; of a million names, two are taken for one with a chance of 3 in 10^8."""
    text = "\0".join((kind, *names)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())


def _place(key: int, seed: int) -> float:
    """Where a group lies between 0 and 1, evenly spread."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=8).digest()) / 2**64
