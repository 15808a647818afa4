"""What the loop is proven on: corpora without a label, the network that each begins with, and all sizes.

* ``fashion17``: 1,109 photographs of dressed people, by a network that learnt one half of ``lspet``, sports people, and
  nobody else. Nothing of the corpus is known beforehand. The twelve joints that both have are judged, as in
  ``benchmarks.scores_pools``; the network must not forget ``lspet``.
* ``drawn``: 700 drawn people and the demo's small network after 300 others. As in the demo, 200 more are known to
  calibrate on and 300 to choose by and to plant errors from.
* ``drawn-100``: the same people, by a network that began with 100 others and has more to learn.

The sizes are such that all seeds and arms take less than an hour on two cores.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autolabel.manifest import COMMIT, Manifest, write_manifest
from autolabel.poses import Sample
from benchmarks.promise_pools import PromisePools
from benchmarks.scores_networks import Networks
from benchmarks.scores_pools import Predictions, with_joints
from benchmarks.training_plan import PAPER
from pipelines.demo import FINETUNING, MAX_BAD, NETWORK, NOISE, TRAINING
from pipelines.drawn_corpus import hide_truth
from pipelines.subset import with_poses
from pipelines.train import train_network

Settings = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Plan:
    """The sizes of a case.

    Attributes:
        noise: Factor on the human standard deviation of the reviewer's points.
        overlook: Share of the tasks that need fixing and are submitted as they are.
        settings: Tables of the project.
    """

    noise: float
    overlook: float
    settings: Settings


DRAWN = Plan(
    noise=NOISE,
    overlook=0.02,
    settings={
        "promise": {"max_bad": MAX_BAD, "audit": 400, "plants": 30, "blind": 8},
        "rounds": {"count": 3, "budget": 80, "random_share": 0.2},
        "training": TRAINING,
        "finetuning": {**FINETUNING, "steps": 200},
    },
)

PLANS: Mapping[str, Plan] = {
    "fashion17": Plan(
        noise=1.0,
        overlook=0.02,
        settings={
            "promise": {"max_bad": 0.05, "audit": 400, "plants": 30, "blind": 8},
            "rounds": {"count": 3, "budget": 150, "random_share": 0.3},
            "training": {"batch_size": 32, "precision": "fp32", "augmentation": {**PAPER, "half_body": 0.0}},
            "finetuning": {"steps": 150, "learning_rate": 5e-4, "warmup_steps": 20, "ema": 0.99},
        },
    ),
    "drawn": DRAWN,
    "drawn-100": DRAWN,
}

DRAWN_SEED, DRAWN_IMAGES = 7, 1_500
KNOWN: Mapping[str, int] = {"labelled": 300, "calibration": 200, "test": 300}
"""Drawn people of whom the truth is known beforehand."""

FEW = 100
"""Of those to learn from, for ``drawn-100``."""

CORPUS = 700
"""Drawn people of whom it is not."""

REPLAYED, BASE = 600, 150
"""People of ``lspet`` that are replayed, of those whom the first network learnt; and others that every network is asked
about, to see what it forgets."""


@dataclass(frozen=True)
class Case:
    """A corpus, and what a project about it starts from.

    Attributes:
        name: What it is called.
        folder: Where its projects go.
        truth: Everybody in the corpus.
        held: People of the same kind outside the corpus, whom no network learns: what rounds teach is seen on them.
        corpus: The ``[corpus]`` table of its projects, with absolute paths.
        weights: The first network.
        plan: Its sizes.
    """

    name: str
    folder: Path
    truth: Manifest
    held: Manifest
    corpus: Mapping[str, str]
    weights: Path
    plan: Plan

    @property
    def known(self) -> tuple[Manifest, ...]:
        """The truth of all that people are shown: the corpus, and poses that planted errors come from."""
        others = [self.corpus[name] for name in ("test",) if name in self.corpus]
        return (self.truth, *(Manifest.open(Path(path)) for path in others))


def case_of(name: str, out: Path, data: Path) -> Case:
    """A case; what is missing of its corpus and its first network is made now.

    Args:
        name: One of ``PLANS``.
        out: Folder of corpora and networks, which other benchmarks share.
        data: ``shared/data``.
    """
    networks = PromisePools.of(out, data).networks
    return _fashion17(networks) if name == "fashion17" else _drawn(networks, name)


def _fashion17(networks: Networks) -> Case:
    folder, corpora = networks.out / "loop" / "fashion17", networks.corpora
    truth = Predictions(networks).truth("fashion17")
    joints = corpora.manifest("fashion17").skeleton.keypoints
    corpus = {
        "images": str(next(iter(truth.roots.values()))),
        "boxes": str(_boxes(truth, folder / "pool")),
        "labelled": str(_some(networks.half(0), REPLAYED, folder / "labelled").path),
        "base": str(corpora.manifest(f"lspet-val-{BASE}").path),
    }
    held = with_joints(corpora.manifest("fashion17-lsp14-val"), joints, networks.out / "data" / "fashion17-limbs-val")
    return Case("fashion17", folder, truth, held, _absolute(corpus), networks.network("lspet", 0), PLANS["fashion17"])


def _drawn(networks: Networks, name: str) -> Case:
    folder, drawn = networks.out / "loop" / "drawn", networks.drawn(DRAWN_SEED, DRAWN_IMAGES)
    samples = iter(drawn)
    parts = {part: _kept(_people(samples, count), drawn, folder / part) for part, count in KNOWN.items()}
    truth = _kept(_people(samples, CORPUS), drawn, folder / "pool-truth")
    if name == "drawn-100":
        parts["labelled"] = _some(parts["labelled"], FEW, folder / name)
    corpus = {
        "images": str(drawn.path.parent / "images"),
        "boxes": str(_boxes(truth, folder / "pool")),
        **{part: str(manifest.path) for part, manifest in parts.items()},
    }
    projects = networks.out / "loop" / name
    first = train_network(
        [(parts["labelled"], 1.0)],
        out=projects / "network",
        network=NETWORK,
        training=TRAINING,
        progress=networks.progress,
    )
    return Case(name, projects, truth, parts["test"], _absolute(corpus), first.checkpoint, PLANS[name])


def _some(manifest: Manifest, count: int, out: Path) -> Manifest:
    """So many poses, drawn once."""
    ids = np.sort([pose for sample in manifest for pose in sample.poses.id.tolist()])
    chosen = np.random.default_rng(0).permutation(ids)[:count].tolist()
    return with_poses(manifest, chosen, out=out, stage="subset")


def _people(samples: Iterator[Sample], count: int) -> Iterator[Sample]:
    """Whole images until they hold so many people."""
    while count > 0:
        sample = next(samples)
        count -= len(sample.poses)
        yield sample


def _boxes(truth: Manifest, out: Path) -> Path:
    """The people of a corpus with what a detector would know of them."""
    hidden = (sample.with_poses(hide_truth(sample.poses)) for sample in truth)
    return _kept(hidden, truth, out).path


def _kept(samples: Iterable[Sample], like: Manifest, out: Path) -> Manifest:
    """A manifest of some samples, unless it is there."""
    chosen = list(samples)
    if (out / COMMIT).is_file():
        return Manifest.open(out)
    return write_manifest(out, chosen, like.skeleton, like.roots, stage="subset")


def _absolute(corpus: Mapping[str, str]) -> dict[str, str]:
    return {name: str(Path(path).resolve()) for name, path in corpus.items()}
