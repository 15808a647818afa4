"""The pools that ``benchmarks.scores`` measures doubt on: people that a network labelled and never learnt.

    python -m benchmarks.scores_pools drawn lspet fashion17:0 --out DIR --data ../shared/data

A pool is predicted once, with a flip test and in fp32, and found again; a prediction that was stopped goes on.

* ``drawn``: 20,000 drawn people of another seed than the network's, with exact truth.
* ``fashion17:N``: what network N did not adapt on. Only the twelve joints that ``lspet`` has too are judged; its neck
  is the middle of the shoulders, which nobody labelled.
* ``lspet``: both halves, each by the network that learnt the other one. About one label in ten is wrong, so it can
  show which doubt ranks better, and not how many poses are bad.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autolabel.manifest import COMMIT, Existing, Manifest, Parent, write_manifest
from autolabel.poses import Poses, Sample, Visibility
from autolabel.score import predicted as seen
from autolabel.similarity import longer_side
from autolabel.skeleton import Skeleton
from benchmarks.scores_networks import POOL, Networks
from benchmarks.training_data import Corpora
from pipelines.check import Checked, check
from pipelines.console import LineProgress
from pipelines.predict import predict
from pipelines.subset import with_poses

Bools = NDArray[np.bool_]

POOLS = ("fashion17", "drawn", "lspet")
DRAWN_PEOPLE = 20_000
PEOPLE_AN_IMAGE = 1.2
"""A little fewer than there are, so that the pool is not smaller than promised."""

EDGE = 2.0
"""Pixels: a box that ends this near to where the image ends touches it, as ``autolabel.score`` has it."""

SMALL = 0.25
"""The share of a pool's people that count as small."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Judged predictions of one or several networks.

    Attributes:
        name: One of ``POOLS``.
        skeleton: Of its poses.
        checked: N poses beside the truth.
        clusters: (N,) the image of each, or the group of images, counted from 0 over the whole corpus: the same for
            every network.
        num_clusters: How many the corpus has.
        strata: (N,) masks by name; "all" is the first.
        predicted: The manifests with the predictions.
    """

    name: str
    skeleton: Skeleton
    checked: Checked
    clusters: NDArray[np.intp]
    num_clusters: int
    strata: Mapping[str, Bools]
    predicted: tuple[Manifest, ...]

    def __len__(self) -> int:
        return len(self.checked.poses)

    def take(self, which: Bools) -> "Pool":
        """The poses where the (N,) mask is set."""
        return replace(
            self,
            checked=self.checked.take(which),
            clusters=self.clusters[which],
            strata={name: mask[which] for name, mask in self.strata.items()},
        )


@dataclass(frozen=True)
class Labelling:
    """People and the network that labels them.

    Attributes:
        boxes: The people.
        network: Its checkpoint folder.
        name: Of the folder that the prediction goes to.
    """

    boxes: Manifest
    network: Path
    name: str


@dataclass(frozen=True)
class Predictions:
    """Makes pools below a folder.

    Attributes:
        networks: Whose predictions they are; trained now if they are not there.
        images: Of the drawn pool, instead of as many as 20,000 people take, for a rehearsal; 0 for all.
        device: ``auto``, ``cpu`` or ``cuda``.
    """

    networks: Networks
    images: int = 0
    device: str = "auto"

    def pool(self, name: str, number: int = 0) -> Pool:
        """A pool; predicted now if it is not there.

        Args:
            name: One of ``POOLS``.
            number: Of the network that adapted to ``fashion17``; the others have one network each.
        """
        predicted = [self.predicted(one) for one in self.labellings(name, number)]
        return judged(name, self.truth(name), predicted)

    def truth(self, name: str) -> Manifest:
        """Everybody in the corpus of a pool."""
        corpora = self.networks.corpora
        if name == "drawn":
            return self.networks.drawn(POOL, self.images or round(DRAWN_PEOPLE / PEOPLE_AN_IMAGE))
        if name == "lspet":
            return corpora.manifest(name)
        labelled = corpora.manifest("fashion17").skeleton.keypoints
        return with_joints(
            corpora.manifest("fashion17-lsp14"), labelled, self.networks.out / "data" / "fashion17-limbs"
        )

    def labellings(self, name: str, number: int = 0) -> list[Labelling]:
        """Which network labels whom in a pool."""
        networks = self.networks
        if name == "drawn":
            folder = self.truth(name).path.parent
            return [Labelling(Manifest.open(folder / "boxes"), networks.network(name, 0), folder.name)]
        if name == "lspet":
            return [
                Labelling(networks.half(half), networks.network(name, 1 - half), f"lspet-half-{half}")
                for half in (0, 1)
            ]
        whole, learnt = networks.corpora.manifest("fashion17-lsp14"), set(networks.adapted(number))
        rest = [pose for sample in whole for pose in sample.poses.id.tolist() if pose not in learnt]
        called = f"fashion17-rest-{number}"
        boxes = with_poses(whole, rest, out=networks.out / "data" / called, stage="subset")
        return [Labelling(boxes, networks.network(name, number), called)]

    def predicted(self, labelling: Labelling, quality: Path | None = None, ending: str = "") -> Manifest:
        """What a network says.

        Args:
            labelling: Which network, of whom.
            quality: Its quality head.
            ending: Of the folder's name, where there is a head.
        """
        return predict(
            labelling.boxes.path,
            weights=labelling.network,
            out=self.networks.out / "predicted" / f"{labelling.name}{ending}",
            device=self.device,
            precision="fp32",
            flip_test=True,
            jitter=True,
            quality=quality,
            progress=self.networks.progress,
        ).manifest


def judged(name: str, truth: Manifest, predicted: Sequence[Manifest]) -> Pool:
    """Predictions beside the truth, with everything that is measured by.

    Args:
        name: Of the pool.
        truth: All of its people, with the ids that they have in the predictions.
        predicted: By one or several networks, of different people.
    """
    samples = list(truth)
    cluster = {key: i for i, key in enumerate(dict.fromkeys(map(_cluster, samples)))}
    place = {pose: cluster[_cluster(sample)] for sample in samples for pose in sample.poses.id.tolist()}
    everybody = Poses.concat([sample.poses for sample in samples])
    row = {pose: i for i, pose in enumerate(everybody.id.tolist())}
    checked = Checked.joined([check(one, truth) for one in predicted])
    checked = checked.take(seen(checked.features))
    ids = checked.poses.id.tolist()
    return Pool(
        name=name,
        skeleton=truth.skeleton,
        checked=checked,
        clusters=np.array([place[pose] for pose in ids], np.intp),
        num_clusters=len(cluster),
        strata=strata(everybody.take([row[pose] for pose in ids]), checked.sizes),
        predicted=tuple(predicted),
    )


def _cluster(sample: Sample) -> tuple[str, ...]:
    """What is never parted: an image, or a group of them."""
    return (sample.group,) if sample.group else sample.key


def strata(truth: Poses, sizes: NDArray[np.float64]) -> dict[str, Bools]:
    """(N,) masks of those kinds of people that a pool has; "all" is the first.

    Args:
        truth: N true poses.
        sizes: (N, 2) width and height of their images.
    """
    size = sizes[:, None]
    beyond = truth.labelled & ((truth.xy < -0.5) | (truth.xy > size - 0.5)).any(axis=-1)
    absent = truth.visibility == Visibility.ABSENT
    near = np.minimum(truth.box[:, :2], sizes - 1 - truth.box[:, 2:]).min(axis=1) < EDGE
    side = longer_side(truth)
    found = {
        "truncated": (beyond | absent).any(axis=1) | near,
        "small": side <= np.nanquantile(side, SMALL) if len(truth) else np.zeros(0, bool),
        "hidden joints": (truth.visibility == Visibility.HIDDEN).any(axis=1),
    }
    return {"all": np.ones(len(truth), bool), **{name: mask for name, mask in found.items() if mask.any()}}


def with_joints(manifest: Manifest, joints: Sequence[str], out: Path) -> Manifest:
    """The same poses with all other joints unlabelled, so that nothing is judged by them."""
    if (out / COMMIT).is_file():
        return Manifest.open(out)
    others = ~np.isin(manifest.skeleton.keypoints, joints)
    return write_manifest(
        out,
        (sample.with_poses(_without(sample.poses, others)) for sample in manifest),
        manifest.skeleton,
        manifest.roots,
        stage="subset",
        parents=[Parent("manifest", manifest.digest)],
        existing=Existing.OVERWRITE,
    )


def _without(poses: Poses, joints: Bools) -> Poses:
    return poses.replace(visibility=np.where(joints, Visibility.UNLABELLED, poses.visibility))


def main() -> int:
    """Predict the pools that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pools", nargs="+", metavar="POOL[:N]", help="drawn, lspet, fashion17:0, ...")
    parser.add_argument("--out", type=Path, required=True, help="folder for corpora, networks and predictions")
    parser.add_argument("--data", type=Path, required=True, help="shared/data")
    parser.add_argument("--images", type=int, default=0, help="of the drawn pool, for a rehearsal")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    options = parser.parse_args()
    progress = LineProgress(sys.stderr)
    networks = Networks(Corpora(options.data, options.out / "corpora", progress=progress), options.out, 0, progress)
    predictions = Predictions(networks, options.images, options.device)
    for asked in options.pools:
        name, _, number = asked.partition(":")
        pool = predictions.pool(name, int(number or 0))
        bad = pool.checked.bad
        said = ", ".join(f"{kind} {mask.sum():,} ({bad[mask].mean():.1%} bad)" for kind, mask in pool.strata.items())
        print(f"{asked}: {said}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
