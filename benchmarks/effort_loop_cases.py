"""What the loop is proven on: corpora without a label, the network that each begins with, and all sizes.

* ``fashion17``: 1,109 photographs of dressed people, by a network that learnt one half of ``lspet``, sports people, and
  nobody else. Nothing of the corpus is known beforehand. The twelve joints that both have are judged, as in
  ``benchmarks.scores_pools``; the network must not forget ``lspet``.
* ``drawn-lspet``: the same with 700 drawn people in place of the photographs.
* ``drawn``: these drawn people, by the demo's small network after 300 others. As in the demo, 200 more are known to
  calibrate on and 300 to choose by and to plant errors from. The network knows its people: there is little to learn.

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
from pipelines.demo_size import FINETUNING, MAX_BAD, NETWORK, NOISE, TRAINING
from pipelines.drawn_corpus import hide_truth
from pipelines.map_ import map_
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


PROOF: Mapping[str, int] = {"audit": 400, "plants": 30, "blind": 8}

FROM_LSPET: Settings = {
    "promise": {"max_bad": 0.05, **PROOF},
    "rounds": {"count": 3, "budget": 150, "random_share": 0.3, "base_drop": 0.1},
    "training": {"batch_size": 32, "precision": "fp32", "augmentation": {**PAPER, "half_body": 0.0}},
    "finetuning": {"steps": 150, "learning_rate": 5e-4, "warmup_steps": 20, "ema": 0.99},
}
"""Another corpus is what the network is for: it may forget some of ``lspet`` (``base_drop``)."""

PLANS: Mapping[str, Plan] = {
    "fashion17": Plan(noise=1.0, overlook=0.02, settings=FROM_LSPET),
    "drawn-lspet": Plan(
        noise=NOISE, overlook=0.02, settings={**FROM_LSPET, "rounds": {**FROM_LSPET["rounds"], "budget": 100}}
    ),
    "drawn": Plan(
        noise=NOISE,
        overlook=0.02,
        settings={
            "promise": {"max_bad": MAX_BAD, **PROOF},
            "rounds": {"count": 3, "budget": 80, "random_share": 0.2},
            "training": TRAINING,
            "finetuning": {**FINETUNING, "steps": 200},
        },
    ),
}

DRAWN_SEED, DRAWN_IMAGES = 7, 1_500
KNOWN: Mapping[str, int] = {"labelled": 300, "calibration": 200, "test": 300}
"""Drawn people of whom the truth is known beforehand."""

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
    match name:
        case "fashion17":
            truth = Predictions(networks).truth(name)
            held = _limbs(networks, networks.corpora.manifest("fashion17-lsp14-val"), "fashion17-limbs-val")
            return _from_lspet(networks, name, truth, held)
        case "drawn-lspet":
            parts = _drawn_parts(networks)
            truth, held = (_limbs(networks, _as_lsp(parts[part]), f"drawn-limbs-{part}") for part in ("pool", "test"))
            return _from_lspet(networks, name, truth, held)
        case _:
            return _drawn(networks)


def _from_lspet(networks: Networks, name: str, truth: Manifest, held: Manifest) -> Case:
    """A corpus of which nothing is known, and the network of one half of ``lspet``."""
    folder = networks.out / "loop" / name
    corpus = {
        "images": str(next(iter(truth.roots.values()))),
        "boxes": str(_boxes(truth, folder / "pool")),
        "labelled": str(_some(networks.half(0), REPLAYED, folder / "labelled").path),
        "base": str(networks.corpora.manifest(f"lspet-val-{BASE}").path),
    }
    return Case(name, folder, truth, held, _absolute(corpus), networks.network("lspet", 0), PLANS[name])


def _limbs(networks: Networks, people: Manifest, called: str) -> Manifest:
    """People of whom only the joints are told that both corpora have."""
    joints = networks.corpora.manifest("fashion17").skeleton.keypoints
    return with_joints(people, joints, networks.out / "data" / called)


def _as_lsp(people: Manifest) -> Manifest:
    """The same people with the joints of ``lspet``."""
    return map_(people.path, to="lsp14", out=people.path.with_name(f"{people.path.name}-lsp14"))


def _drawn_parts(networks: Networks) -> dict[str, Manifest]:
    """Drawn people: those of whom the truth is known beforehand, and the corpus, ``pool``."""
    folder, drawn = networks.out / "loop" / "drawn-people", networks.drawn(DRAWN_SEED, DRAWN_IMAGES)
    samples = iter(drawn)
    wanted = {**KNOWN, "pool": CORPUS}
    return {part: _kept(_people(samples, count), drawn, folder / part) for part, count in wanted.items()}


def _drawn(networks: Networks) -> Case:
    folder, parts = networks.out / "loop" / "drawn", _drawn_parts(networks)
    truth = parts.pop("pool")
    corpus = {
        "images": str(next(iter(truth.roots.values()))),
        "boxes": str(_boxes(truth, folder / "pool")),
        **{part: str(manifest.path) for part, manifest in parts.items()},
    }
    first = train_network(
        [(parts["labelled"], 1.0)],
        out=folder / "network",
        network=NETWORK,
        training=TRAINING,
        progress=networks.progress,
    )
    return Case("drawn", folder, truth, parts["test"], _absolute(corpus), first.checkpoint, PLANS["drawn"])


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
