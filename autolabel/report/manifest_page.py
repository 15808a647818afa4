"""The page about one manifest: what is in it, how doubtful it is, and what it looks like."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from autolabel.manifest import Manifest
from autolabel.poses import Origin, Poses, Visibility
from autolabel.report.gallery import shelves
from autolabel.report.page import Bars, Chapter, Page, Tile
from autolabel.report.plots import p_bad_histogram

BINS = 25

_VISIBILITY = (
    (Visibility.VISIBLE, "visible", "#9cc9f0"),
    (Visibility.HIDDEN, "hidden", "#f3b26b"),
    (Visibility.ABSENT, "absent", "#d9a3c2"),
    (Visibility.UNLABELLED, "unlabelled", "#dbe1e6"),
)
_ORIGIN = (
    (Origin.HUMAN, "a person", "#7cc79b"),
    (Origin.MODEL, "a model", "#9cc9f0"),
    (Origin.IMPORTED, "imported", "#f3b26b"),
    (Origin.NONE, "nobody", "#dbe1e6"),
)


@dataclass
class _Tally:
    """What is counted while a manifest streams by."""

    visibility: NDArray[np.int64]
    origin: NDArray[np.int64]
    p_bad: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    expected_bad: float = 0.0
    with_box: int = 0

    def add(self, poses: Poses) -> None:
        self.visibility += np.stack([(poses.visibility == v).sum(axis=0) for v, _, _ in _VISIBILITY], axis=1)
        self.origin += np.array([(poses.origin == o).sum() for o, _, _ in _ORIGIN])
        scored = poses.p_bad[~np.isnan(poses.p_bad)]
        self.p_bad += np.histogram(scored, BINS, (0.0, 1.0))[0]
        self.expected_bad += float(scored.sum())
        self.with_box += int((~np.isnan(poses.box[:, 0])).sum())


def manifest_page(manifest: Manifest) -> Page:
    """What a manifest holds.

    Raises:
        ManifestError: A part cannot be read.
    """
    k = manifest.skeleton.num_keypoints
    tally = _Tally(np.zeros((k, len(_VISIBILITY)), np.int64), np.zeros(len(_ORIGIN), np.int64))
    for i in range(manifest.num_parts):
        tally.add(manifest.poses(i))
    histogram = (p_bad_histogram(tally.p_bad.tolist()),) if tally.p_bad.any() else ()
    return Page(
        title=manifest.path.resolve().name,
        subtitle=f"manifest of `{manifest.stage}` · skeleton {manifest.skeleton.name}",
        verdict=None,
        tiles=_tiles(manifest, tally),
        chapters=(Chapter("", "", (*histogram, *_bars(manifest, tally), *shelves(manifest, {}))),),
        facts=_facts(manifest),
    )


def _tiles(manifest: Manifest, tally: _Tally) -> tuple[Tile, ...]:
    poses = manifest.counts["poses"]
    placed = int(tally.visibility[:, :2].sum())
    scored = int(tally.p_bad.sum())
    tiles = [
        Tile("Images", f"{len(manifest):,}", f"{manifest.num_parts:,} parts"),
        Tile("Poses", f"{poses:,}", f"{tally.with_box:,} with a box"),
        Tile("Keypoints with a place", f"{placed:,}", f"of {poses * manifest.skeleton.num_keypoints:,}"),
    ]
    if scored:
        share = tally.expected_bad / scored
        tiles.append(
            Tile("Expected bad poses", f"{100 * share:.1f} %", f"mean p_bad of {scored:,} poses; not an audit")
        )
    return tuple(tiles)


def _bars(manifest: Manifest, tally: _Tally) -> tuple[Bars, ...]:
    names = [name.replace("_", " ") for name in manifest.skeleton.keypoints]
    said = Bars(
        title="What is said about each keypoint",
        caption=f"Over {manifest.counts['poses']:,} poses. Unlabelled: nothing is said. Absent: known to "
        "lie outside the image, or unknowable.",
        kinds=tuple((name, color) for _, name, color in _VISIBILITY),
        rows=tuple((name, tuple(row)) for name, row in zip(names, tally.visibility.tolist(), strict=True)),
    )
    placed = Bars(
        title="Who placed the keypoints",
        caption="All keypoints of all poses.",
        kinds=tuple((name, color) for _, name, color in _ORIGIN),
        rows=(("keypoints", tuple(tally.origin.tolist())),),
    )
    return (said, placed) if manifest.counts["poses"] else ()


def _facts(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    skeleton = manifest.skeleton
    return (
        ("digest", manifest.digest),
        ("made by", manifest.stage),
        *(("made from", f"{parent.role} {parent.digest}") for parent in manifest.parents),
        (
            "skeleton",
            f"{skeleton.name}, {skeleton.num_keypoints} keypoints, fingerprint {skeleton.fingerprint}",
        ),
        ("sigmas", skeleton.sigma_source),
        ("p_bad", "the probability that a pose is bad, calibrated as soon as enough poses were checked"),
    )
