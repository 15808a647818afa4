"""Partial bodies: what a network still knows when the image ends in the middle of a person.

    python -m benchmarks.partial_bodies --val MANIFEST --plain CHECKPOINT --ours CHECKPOINT

Annotated people are cut: the head, the upper or the lower body, one half, one arm, one leg. The cut is real: the pixels
beyond it are gone, the array that the network is given is smaller. The box is remade from what remains, as the data
set made its own: tight about the joints that are left and the places where limbs leave the image, 10 % wider on each
side, and no further than the image. A joint beyond the cut is absent, one inside keeps its label. Nothing is drawn at
random, so two networks answer exactly the same questions.

Errors are measured twice: in longer sides of the *original* box of the whole person, so that one tolerance in pixels
holds for the whole and the part, and in longer sides of the remade box, which is the product's own PCK and is stricter
the smaller the part.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.bootstrap import Draws, percentiles
from autolabel.presence import auroc, brier, reliability
from autolabel.skeleton import Skeleton
from benchmarks.results import table
from benchmarks.training_people import Answers, Person, errors, longer_side, predict_people

Floats = NDArray[np.float64]

THRESHOLDS = (0.1, 0.2)
RESAMPLES = 2000
TOLERATED = 0.015
"""A loss on whole bodies of more than this is to be excluded."""

BOX_MARGIN = 0.1
"""On each side, as the data sets' boxes have it."""

CUT_MARGIN = 0.03
"""How far from the joints that stay the image is cut, in longer sides of the person's box."""

_HEAD = ("head_top", "neck", "nose", "left_eye", "right_eye", "left_ear", "right_ear")
_ARM = ("shoulder", "elbow", "wrist")
_LEG = ("hip", "knee", "ankle")


def _both(joints: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{side}_{joint}" for side in ("left", "right") for joint in joints)


KEPT: Mapping[str, tuple[str, ...]] = {
    "head": _HEAD,
    "upper body": (*_HEAD, *_both(_ARM)),
    "lower body": _both(_LEG),
    "left arm": tuple(f"left_{joint}" for joint in _ARM),
    "right arm": tuple(f"right_{joint}" for joint in _ARM),
    "left leg": tuple(f"left_{joint}" for joint in _LEG),
    "right leg": tuple(f"right_{joint}" for joint in _LEG),
}
"""Which joints a cut is made to keep; others that happen to lie within it stay too."""

HALVES = ("left half", "right half")
"""Of the image: the person stands at its edge."""

KINDS = (*list(KEPT)[:3], *HALVES, "arm", "leg")
"""As they are reported."""

MIN_SIDE = 16.0
"""Pixels: parts whose box is smaller than this along both sides are left out, they show nothing."""


@dataclass(frozen=True, eq=False)
class Cut:
    """A part of a person.

    Attributes:
        kind: One of ``KINDS``.
        window: x0, y0, x1, y1: the pixels that remain, the last two excluded.
        inside: (K,) labelled joints that remain.
        box: (4,) remade, in pixels of the *original* image.
    """

    kind: str
    window: tuple[int, int, int, int]
    inside: NDArray[np.bool_]
    box: Floats


def cuts(person: Person, skeleton: Skeleton) -> list[Cut]:
    """All cuts of a person that leave two joints or more and take away one or more."""
    found: list[Cut] = []
    for name, joints in KEPT.items():
        wanted = np.isin(skeleton.keypoints, joints) & person.labelled
        if wanted.sum() >= 2:
            kind = name.split()[-1] if name.split()[-1] in ("arm", "leg") else name
            found.append(_cut(kind, person, skeleton, _window_about(wanted, person)))
    middle = round((person.box[0] + person.box[2]) / 2)
    width, height = person.image_size
    found.append(_cut("left half", person, skeleton, (0, 0, middle, height)))
    found.append(_cut("right half", person, skeleton, (middle, 0, width, height)))
    return [cut for cut in found if 2 <= cut.inside.sum() < person.labelled.sum() and longer_side(cut.box) >= MIN_SIDE]


def _window_about(wanted: NDArray[np.bool_], person: Person) -> tuple[int, int, int, int]:
    """What remains after the fewest straight cuts that keep the wanted joints and take away all others they can.

    Of the four sides, the one that takes away most is cut first; a side that takes away nothing more is left where the
    image ends.
    """
    margin = CUT_MARGIN * longer_side(person.box)
    low = person.xy[wanted].min(axis=0) - margin
    high = person.xy[wanted].max(axis=0) + margin
    x, y = person.xy[:, 0], person.xy[:, 1]
    beyond = {"left": x < low[0], "top": y < low[1], "right": x > high[0], "bottom": y > high[1]}
    left, chosen = person.labelled & ~wanted, set[str]()
    while gains := {side: int((left & away).sum()) for side, away in beyond.items() if (left & away).any()}:
        side = max(gains, key=lambda name: gains[name])
        chosen.add(side)
        left = left & ~beyond[side]
    width, height = person.image_size
    return (
        max(int(np.floor(low[0])), 0) if "left" in chosen else 0,
        max(int(np.floor(low[1])), 0) if "top" in chosen else 0,
        min(int(np.ceil(high[0])) + 1, width) if "right" in chosen else width,
        min(int(np.ceil(high[1])) + 1, height) if "bottom" in chosen else height,
    )


def _cut(kind: str, person: Person, skeleton: Skeleton, window: tuple[int, int, int, int]) -> Cut:
    # Pixel centres lie at integers: the window's edges are half a pixel further out.
    low, high = np.array(window[:2]) - 0.5, np.array(window[2:]) - 0.5
    inside = person.labelled & (person.xy >= low).all(axis=1) & (person.xy < high).all(axis=1)
    remains = [person.xy[inside], *_crossings(person, skeleton, inside, low, high)]
    points = np.concatenate([points for points in remains if len(points)] or [np.zeros((1, 2))])
    first, last = points.min(axis=0), points.max(axis=0)
    around = BOX_MARGIN * (last - first)
    box = np.concatenate([np.maximum(first - around, low), np.minimum(last + around, high)])
    return Cut(kind, window, inside, box)


def _crossings(
    person: Person, skeleton: Skeleton, inside: NDArray[np.bool_], low: Floats, high: Floats
) -> Iterator[Floats]:
    """(1, 2) where a limb with one end inside leaves the window."""
    for a, b in skeleton.edges:
        if person.labelled[a] and person.labelled[b] and inside[a] != inside[b]:
            start, end = (person.xy[a], person.xy[b]) if inside[a] else (person.xy[b], person.xy[a])
            step = end - start
            with np.errstate(divide="ignore", invalid="ignore"):
                reach = np.where(step > 0, (high - start) / step, np.where(step < 0, (low - start) / step, np.inf))
            yield (start + np.clip(reach.min(), 0, 1) * step)[None]


@dataclass(frozen=True, eq=False)
class Cases:
    """What a network said about P whole people and M parts of them.

    Attributes:
        person: (M,) which person.
        kind: (M,) str.
        inside: (M, K) labelled joints that remain.
        known: (M, K) labelled joints: those not inside were cut away.
        whole: (P, K) error on the whole person in longer sides of its box; NaN where unlabelled.
        part: (M, K) error on the part in the same unit; NaN where not inside.
        scale: (M,) longer side of the original box in longer sides of the remade one.
        presence: (M, K) what says that a joint is there: the presence head's probability, or the peak's height.
        probable: Whether ``presence`` is a probability.
    """

    person: NDArray[np.intp]
    kind: NDArray[Any]
    inside: NDArray[np.bool_]
    known: NDArray[np.bool_]
    whole: Floats
    part: Floats
    scale: Floats
    presence: Floats
    probable: bool

    def save(self, path: Path) -> None:
        """As .npz."""
        np.savez_compressed(path, **{name: np.asarray(value) for name, value in vars(self).items()})

    @classmethod
    def load(cls, path: Path) -> "Cases":
        """What :meth:`save` wrote."""
        with np.load(path) as file:
            return cls(**{**{name: file[name] for name in file.files}, "probable": bool(file["probable"])})


Ask = Callable[[Any, Iterable[tuple[NDArray[np.uint8], Floats]]], Answers]


def measure(model: Any, people: Sequence[Person], ask: Ask = predict_people) -> Cases:
    """Ask a network about whole people and about their parts."""
    skeleton: Skeleton = model.skeleton
    parts = [(i, cut) for i, person in enumerate(people) for cut in cuts(person, skeleton)]
    whole = ask(model, ((person.pixels(), person.box[None]) for person in people))
    answers = ask(model, (_shown(people[i], cut) for i, cut in parts))
    owner = np.array([i for i, _ in parts], np.intp)
    corner = np.array([cut.window[:2] for _, cut in parts], np.float64)[:, None]
    inside = np.stack([cut.inside for _, cut in parts])
    lengths = np.array([longer_side(person.box) for person in people])
    truth = np.stack([person.xy for person in people])
    known = np.stack([person.labelled for person in people])
    return Cases(
        person=owner,
        kind=np.array([cut.kind for _, cut in parts]),
        inside=inside,
        known=known[owner],
        whole=errors(whole.xy, truth, known, lengths),
        part=errors(answers.xy + corner, truth[owner], inside, lengths[owner]),
        scale=lengths[owner] / np.array([longer_side(cut.box) for _, cut in parts]),
        presence=answers.score if answers.presence is None else answers.presence,
        probable=answers.presence is not None,
    )


def _shown(person: Person, cut: Cut) -> tuple[NDArray[np.uint8], Floats]:
    x0, y0, x1, y1 = cut.window
    return person.pixels()[y0:y1, x0:x1], (cut.box - np.array([x0, y0, x0, y0]))[None]


@dataclass(frozen=True)
class Interval:
    """A number and its 95 % bootstrap interval over people."""

    value: float
    low: float
    high: float

    def points(self) -> str:
        """In percentage points."""
        return f"{100 * self.value:+.1f} [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"


def rows_by_kind(cases: Cases, name: str) -> list[dict[str, Any]]:
    """PCK of the joints inside, on the whole person and on the part, by kind of cut."""
    rows: list[dict[str, Any]] = []
    for kind in (*KINDS, "all"):
        chosen = slice(None) if kind == "all" else cases.kind == kind
        part, whole = cases.part[chosen], np.where(cases.inside, cases.whole[cases.person], np.nan)[chosen]
        own = part * cases.scale[chosen][:, None]
        row: dict[str, Any] = {"recipe": name, "part": kind, "parts": len(part)}
        for t in THRESHOLDS:
            on_whole, on_part = share_within(whole, t), share_within(part, t)
            row |= {f"whole@{t:g}": on_whole, f"part@{t:g}": on_part, f"drop@{t:g}": on_whole - on_part}
            row[f"part@{t:g}, remade box"] = share_within(own, t)
        rows.append(row)
    return rows


def share_within(error: Floats, threshold: float) -> float:
    """PCK of errors with NaN where there is nothing to measure; NaN of nothing."""
    known = np.isfinite(error)
    return float((error[known] <= threshold).mean()) if known.any() else float("nan")


def presence_row(cases: Cases, name: str) -> dict[str, Any]:
    """How well a network tells joints inside from joints cut away, over all parts."""
    said, there = cases.presence[cases.known], cases.inside[cases.known]
    row: dict[str, Any] = {
        "recipe": name,
        "score": "presence head" if cases.probable else "height of the peak",
        "joints": len(there),
        "inside": float(there.mean()),
        "AUROC": auroc(said, there),
    }
    if cases.probable:
        error, rate = brier(said, there), float(there.mean())
        bins = reliability(said, there)
        row |= {
            "Brier": error,
            "Brier skill": 1 - error / (rate * (1 - rate)),
            "ECE": bins.error,
            "bins": [bins.said.tolist(), bins.true.tolist(), bins.count.tolist()],
        }
    return row


def compare(
    plain: Cases, ours: Cases, *, threshold: float = 0.1, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Any]:
    """The bar of the benchmark: half the drop, and no loss on whole bodies, by a paired bootstrap over people.

    Both networks answered the same questions; a resample draws people with replacement and takes everything that both
    said of them, so that what is hard for both cancels out.

    Returns:
        :class:`Interval` each of ``whole`` (ours less plain's on whole bodies), ``drop plain``, ``drop ours``, ``part``
        (ours less plain's on parts) and ``ratio`` of the two drops; ``halved`` and ``whole kept``, whether the bar is
        met: the ratio's value below one half, and a loss of more than ``TOLERATED`` outside the interval.
    """
    sums = np.concatenate([_sums(plain, threshold), _sums(ours, threshold)], axis=1)
    # Equal for both: how many joints there are to count.
    values = _numbers(np.ones((1, len(sums))), sums)[0]
    drawn = np.concatenate([_numbers(weights, sums) for weights in Draws(len(sums), resamples, seed)])
    low, high = percentiles(drawn)
    named = ("whole", "part", "drop plain", "drop ours", "ratio")
    found: dict[str, Any] = {
        name: Interval(*map(float, numbers)) for name, *numbers in zip(named, values, low, high, strict=True)
    }
    found["halved"] = found["drop plain"].value > 0 and found["ratio"].value < 0.5
    found["whole kept"] = found["whole"].low > -TOLERATED
    return found


def _sums(cases: Cases, threshold: float) -> Floats:
    """(P, 5) by person: hits on the whole body and joints of it; hits on part, on whole, and joints of its parts."""
    count = len(cases.whole)

    def by_person(values: NDArray[np.bool_]) -> Floats:
        return np.bincount(cases.person, values.sum(axis=1), count)

    on_whole = cases.inside & (cases.whole[cases.person] <= threshold)
    on_part = cases.inside & (cases.part <= threshold)
    body = np.isfinite(cases.whole)
    columns = (
        (body & (cases.whole <= threshold)).sum(axis=1),
        body.sum(axis=1),
        by_person(on_part),
        by_person(on_whole),
        by_person(cases.inside),
    )
    return np.stack(columns, axis=1).astype(np.float64)


def _numbers(weights: Floats, sums: Floats) -> Floats:
    """(B, 5) what :func:`compare` reports, for (B, P) weightings of people with (P, 10) sums."""
    total = weights @ sums
    shares = [
        (t[:, 0] / t[:, 1], t[:, 2] / t[:, 4], (t[:, 3] - t[:, 2]) / t[:, 4]) for t in (total[:, :5], total[:, 5:])
    ]
    (whole_plain, part_plain, drop_plain), (whole_ours, part_ours, drop_ours) = shares
    # Where the plain recipe loses nothing, there is nothing to halve.
    ratio = np.divide(drop_ours, drop_plain, out=np.full_like(drop_plain, np.nan), where=drop_plain > 0)
    return np.stack([whole_ours - whole_plain, part_ours - part_plain, drop_plain, drop_ours, ratio], axis=1)


def told(found: Mapping[str, Any], name: str = "ours") -> str:
    """The comparison in words, for the page; ``name`` is what is compared with the plain recipe."""
    ratio: Interval = found["ratio"]
    halved = "less" if found["halved"] else "not less"
    kept = "excludes" if found["whole kept"] else "does not exclude"
    return (
        f"From the whole person to the part, PCK@0.1 of the same joints changes by {_loss(found['drop plain'])} points "
        f"with the plain recipe and by {_loss(found['drop ours'])} with {name}: {ratio.value:.2f} times "
        f"[{ratio.low:.2f}, {ratio.high:.2f}] the plain drop, which is {halved} than half. On parts that is "
        f"{found['part'].points()} points from plain, on whole bodies {found['whole'].points()}: the interval {kept} a "
        f"loss of more than {100 * TOLERATED:g} points. (Paired bootstrap over people, {RESAMPLES} resamples, 95 %.)"
    )


def _loss(drop: Interval) -> str:
    return f"{-100 * drop.value:+.1f} [{-100 * drop.high:+.1f}, {-100 * drop.low:+.1f}]"


def main() -> int:
    from autolabel.manifest import Manifest
    from benchmarks.training_people import people_of
    from model.checkpoint import load_model

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--val", type=Path, required=True, help="manifest of annotated people in the networks' skeleton"
    )
    parser.add_argument("--plain", type=Path, help="a checkpoint")
    parser.add_argument("--ours", type=Path, required=True, help="a checkpoint")
    options = parser.parse_args()
    people = people_of(Manifest.open(options.val))
    named = {name: folder for name in ("plain", "ours") if (folder := getattr(options, name)) is not None}
    measured = {name: measure(load_model(folder), people) for name, folder in named.items()}
    for name, cases in measured.items():
        print(table(rows_by_kind(cases, name)), flush=True)
        print(json.dumps(presence_row(cases, name)))
    for (_, one), (_, other) in pairwise(measured.items()):
        print(told(compare(one, other)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
