"""Human-checked poses beside a routing: they correct what is predicted of the accepted set, and errors come of them.

They are poses of the same network, scored by the same calibrator, on images of which people know the truth, and
neither of the two has learnt from them. On them one sees how many poses below a threshold are bad; and their bad poses
are the errors that are planted among a reviewer's tasks.
"""

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import InputError
from autolabel.labelstudio.folder import read_lines
from autolabel.manifest import Existing, Manifest, Parent, write_manifest, write_text
from autolabel.plants import Plants, natural_plants, synthetic_plants
from autolabel.poses import Poses, Sample, pose_id
from autolabel.progress import Progress
from autolabel.propose import Development, Policy
from pipelines.check import Checked, check
from pipelines.lint import faulty
from pipelines.score import CALIBRATOR

PLANTS = "plants"
"""The manifest of planted poses below a routing, and the stem of the list that says what they were made from."""


@dataclass(frozen=True, eq=False)
class Known:
    """D checked poses.

    Attributes:
        manifest: Where they stand, as predicted and scored.
        truth: What people say about them.
        checked: The poses, and whether they are bad.
        image: (D,) number of the image in the manifest.
        worst: (D,) the largest ``p_bad`` of the image's poses; NaN where one of them has none, or a fault that ``lint``
            finds: such an image is not complete.
    """

    manifest: Manifest
    truth: Manifest
    checked: Checked
    image: NDArray[np.int64]
    worst: NDArray[np.float64]

    @property
    def maturity(self) -> float:
        """Mean OKS of the network on them, 0 where none is known: how good it is by now."""
        known = self.checked.oks[np.isfinite(self.checked.oks)]
        return float(known.mean()) if len(known) else 0.0

    def development(self, policy: Policy) -> Development:
        """What they say about the accepted set, in which no pose is that ``lint`` faults."""
        doubt = self.worst if policy is Policy.COMPLETE else self.checked.poses.p_bad
        return Development(np.where(faulty(self.checked.poses), np.nan, doubt), self.checked.bad)


def open_checked(
    scored: Manifest, checked: str | Path | None, truth: str | Path | None
) -> tuple[Manifest, Manifest] | None:
    """The checked poses and their truth, not read yet; None where there are none.

    Raises:
        InputError: One of the two is missing, or they were not scored as ``scored`` was.
        SkeletonError: They have another skeleton.
    """
    if checked is None and truth is None:
        return None
    if checked is None or truth is None:
        raise InputError(
            f"{'truth' if checked is None else 'checked'} is given alone",
            remedy="Give --checked, poses that the network predicted and `score` scored, together with their --truth.",
        )
    poses, true = Manifest.open(checked), Manifest.open(truth)
    scored.skeleton.require_same(poses.skeleton, str(poses.path))
    if _calibrators(poses) != _calibrators(scored):
        raise InputError(
            f"was not scored by the calibrator of {scored.path}",
            subject=str(poses.path),
            remedy="Score both with `autolabel score` and the same calibrator: doubts of two cannot be compared.",
        )
    return poses, true


def read_checked(poses: Manifest, true: Manifest, progress: Progress) -> Known:
    """Read what :func:`open_checked` opened.

    Raises:
        InputError: They share no pose.
    """
    judged = check(poses, true, progress)
    image, worst = _images(poses, judged.poses.id.tolist())
    return Known(poses, true, judged, image, worst)


def choose_plants(known: Known, count: int, shown_before: Collection[str], rng: np.random.Generator) -> Plants:
    """The errors to plant, the network's own first.

    Args:
        known: Where they come from.
        count: How many.
        shown_before: Checked poses that were planted by an earlier routing.
        rng: For errors that have to be made up.
    """
    checked = known.checked
    fresh = ~np.isin(checked.poses.id, list(shown_before)) & ~checked.poses.crowd
    visible = fresh & np.isfinite(checked.poses.xy[..., 0]).any(axis=1)
    rows = natural_plants(checked.poses.p_bad, checked.bad & visible, checked.oks, count)
    natural = Plants(checked.poses.take(rows), checked.oks[rows], np.zeros(len(rows), bool))
    if len(rows) == count:
        return natural
    good = np.flatnonzero(~checked.bad & visible & np.isfinite(checked.oks))
    good = good[np.argsort(np.nan_to_num(checked.poses.p_bad[good], nan=np.inf), kind="stable")]
    made = synthetic_plants(
        checked.poses.take(good),
        checked.truth[good],
        checked.area[good],
        known.image[good],
        known.manifest.skeleton,
        count - len(rows),
        rng,
    )
    return Plants(
        Poses.concat([natural.poses, made.poses]),
        np.concatenate([natural.oks, made.oks]),
        np.concatenate([natural.synthetic, made.synthetic]),
    )


def write_plants(known: Known, plants: Plants, out: Path) -> list[str]:
    """Write the planted poses as a manifest of its own, with ids of their own, and the list of what they came from.

    Returns:
        Their ids.
    """
    row = {pose: i for i, pose in enumerate(plants.poses.id.tolist())}
    lines: list[dict[str, Any]] = []

    def samples() -> Iterator[Sample]:
        for sample in known.manifest:
            rows = [row[pose] for pose in sample.poses.id.tolist() if pose in row]
            if not rows:
                continue
            poses = plants.poses.take(rows)
            ids = [
                pose_id(sample.id, sample.path, box, "planted", of)
                for box, of in zip(poses.box, poses.id.tolist(), strict=True)
            ]
            for i, (pose, of) in zip(rows, zip(ids, poses.id.tolist(), strict=True), strict=True):
                lines.append(
                    {
                        "pose": pose,
                        "of": of,
                        "oks": _number(plants.oks[i]),
                        "p_bad": _number(plants.poses.p_bad[i]),
                        "synthetic": bool(plants.synthetic[i]),
                    }
                )
            attributes = [{k: v for k, v in a.items() if k != "state"} for a in poses.attributes]
            yield sample.with_poses(poses.replace(id=ids, attributes=attributes))

    write_manifest(
        out / PLANTS,
        samples(),
        known.manifest.skeleton,
        known.manifest.roots,
        stage="route",
        parents=[Parent("checked", known.manifest.digest), Parent("truth", known.truth.digest)],
        existing=Existing.OVERWRITE,
    )
    write_text(out / f"{PLANTS}.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    return [line["pose"] for line in lines]


def planted_before(folders: Iterable[Path]) -> set[str]:
    """The checked poses from which the plants of earlier routings were made."""
    return {line["of"] for folder in folders for line in read_lines(folder / f"{PLANTS}.jsonl")}


def _calibrators(manifest: Manifest) -> list[str]:
    return [parent.digest for parent in manifest.parents if parent.role == CALIBRATOR]


def _images(manifest: Manifest, ids: list[str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Of each pose the number of its image and the worst doubt in it."""
    wanted, first = set(ids), 0
    found: dict[str, tuple[int, float]] = {}
    for i in range(manifest.num_parts):
        poses, owner, length = manifest.poses(i), manifest.owners(i), manifest.part_length(i)
        worst = np.full(length, -np.inf)
        doubt = np.nan_to_num(poses.p_bad.astype(np.float64), nan=np.inf)
        doubt[faulty(poses)] = np.inf
        np.maximum.at(worst, owner, doubt)
        for pose, image in zip(poses.id.tolist(), owner.tolist(), strict=True):
            if pose in wanted:
                found[pose] = (first + image, float(worst[image]))
        first += length
    numbers = np.array([found[pose][0] for pose in ids], np.int64)
    doubts = np.array([found[pose][1] for pose in ids], np.float64)
    return numbers, np.where(np.isfinite(doubts), doubts, np.nan)


def _number(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
