"""The page about a corpus' labels: how many are suspected, of what, and the pictures."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autolabel.errors import ImageError
from autolabel.images import read_image
from autolabel.label_suspects import Kind, Suspect, counts
from autolabel.poses import Poses
from autolabel.report.gallery import JPEG_QUALITY, SIDE, Shelf, Shot
from autolabel.report.overlay import draw_poses, pose_view
from autolabel.report.page import Chapter, Page, Table, Tile
from autolabel.skeleton import Skeleton

PER_SHELF = 24
ROWS = 50
"""Suspects in the page's table; the files hold all of them."""

_SHELVES: tuple[tuple[Kind, str, str], ...] = (
    ("implausible", "Where no body has it", "Unlike all other labels, and the networks do not have it there either."),
    ("swapped", "Left and right swapped", "The label's left fits the person's right, and the reverse."),
    ("shifted", "Shifted as a whole", "The label has the person's shape, at another place."),
    ("misplaced", "Misplaced", "Lines lead from where the networks see the keypoint to where the label has it."),
    ("missing", "Missing", "The networks surely see a keypoint that nobody labelled."),
)


@dataclass(frozen=True, eq=False)
class Audited:
    """What the page is about.

    Attributes:
        name: Of the corpus.
        poses: N labelled poses.
        images: (N,) where the image of each lies.
        predicted: (N, K, 2) what the networks see.
        judged: How many poses they could judge.
        unread: How many images could not be read.
        networks: How many looked.
        floors: Estimated shares of wrong labels, by kind.
        skeleton: Of the poses.
    """

    name: str
    poses: Poses
    images: Sequence[Path]
    predicted: NDArray[np.float64]
    judged: int
    unread: int
    networks: int
    floors: dict[str, float]
    skeleton: Skeleton


def label_page(audited: Audited, found: Sequence[Suspect]) -> Page:
    """The page; an image that cannot be read any more is left out of it."""
    pictures = [shelf for kind, title, caption in _SHELVES if (shelf := _shelf(audited, found, kind, title, caption))]
    return Page(
        title=f"Suspected label errors of {audited.name}",
        subtitle=f"{audited.judged:,} labelled poses · {audited.networks} "
        f"{'network' if audited.networks == 1 else 'networks'} that never saw the labels they judge",
        verdict=None,
        tiles=_tiles(audited, found),
        chapters=(Chapter("", "", (*((_table(found),) if found else ()), *pictures)),),
        facts=(
            ("suspected", "a network that never saw the label is sure of itself, and the label says otherwise"),
            ("score", "from 0 to 1; the order matters more than the number: look from the top until errors get rare"),
            (
                "share of wrong labels",
                "as far as it can be told without looking: how often even sure networks disagree",
            ),
        ),
    )


def _tiles(audited: Audited, found: Sequence[Suspect]) -> tuple[Tile, ...]:
    number = counts(found)
    told = ", ".join(f"{count:,} {kind}" for kind, count in number.items() if count)
    return (
        Tile("Suspected poses", f"{sum(number.values()):,}", told or "none with a score of 0.5"),
        Tile("Judged", f"{audited.judged:,}", f"of {len(audited.poses):,} poses"),
        Tile("Misplaced keypoints", f"{100 * audited.floors['misplaced']:.1f} %", "estimated, of all labels"),
        Tile("Images not read", f"{audited.unread:,}", "see suspects.json"),
    )


def _table(found: Sequence[Suspect]) -> Table:
    rows = tuple((str(s.rank), f"{s.score:.2f}", s.what, s.why, s.path) for s in found[:ROWS])
    return Table(
        "Most suspected",
        f"The first {min(len(found), ROWS)} of {len(found):,}; suspects.csv holds all.",
        ("rank", "score", "suspected", "why", "image"),
        rows,
    )


def _shelf(audited: Audited, found: Sequence[Suspect], kind: Kind, title: str, caption: str) -> Shelf | None:
    shots: list[Shot] = []
    for suspect in found:
        if suspect.kind == kind and len(shots) < PER_SHELF:
            shots += _shot(audited, suspect)
    return Shelf(title, caption, tuple(shots)) if shots else None


def _shot(audited: Audited, suspect: Suspect) -> list[Shot]:
    try:
        image = read_image(audited.images[suspect.row])
    except ImageError:
        return []
    poses = audited.poses.take([suspect.row])
    marked = np.array([[name in suspect.keypoints for name in audited.skeleton.keypoints]])
    before = np.where(marked[..., None], audited.predicted[suspect.row][None], np.nan)
    drawn = draw_poses(
        image,
        poses,
        audited.skeleton,
        view=pose_view(poses, (image.shape[1], image.shape[0]), SIDE),
        boxes=False,
        marked=marked if suspect.kind in ("misplaced", "implausible") else None,
        before=before if suspect.kind in ("misplaced", "shifted") else None,
    )
    buffer = io.BytesIO()
    Image.fromarray(drawn).save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return [Shot(buffer.getvalue(), f"{suspect.rank}: {suspect.what} ({suspect.score:.2f})", suspect.path)]
