"""The networks whose doubt ``benchmarks.scores`` measures: small ones, each trained on what its pool does not hold.

    python -m benchmarks.scores_networks start:0 lspet:0 lspet:1 drawn:0 fashion17:0 --out DIR --data ../shared/data

* ``lspet:0`` and ``lspet:1`` learn one half of ``lspet`` each, and label the other: every pose is out of fold. They
  start from the encoder of ``start:0``: drawn people teach where limbs are, and there are as many as one likes.
* ``fashion17:N`` goes on from ``lspet:0`` with 300 labels of ``fashion17``, drawn with seed N and told in the joints of
  ``lspet`` (``map``: the twelve that both have); it labels the rest.
* ``start:N`` learns drawn people of another seed than the pool's; ``drawn:N`` goes on with more of them.

A network is trained once and found again; one that was stopped goes on.
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autolabel.manifest import COMMIT, Existing, Manifest
from autolabel.progress import SILENT, Progress
from autolabel.split import assign_splits
from benchmarks.training_data import Corpora
from benchmarks.training_plan import NETWORK, PAPER, TRAINING
from pipelines.console import LineProgress
from pipelines.drawn_corpus import draw_corpus
from pipelines.subset import with_poses

LABELS = 300
"""Of fashion17, to adapt on."""

DRAWN: Mapping[str, tuple[int, int]] = {"start": (1, 2_500), "drawn": (2, 6_000)}
"""Seed and images of the drawn people that networks learn."""

POOL = 101
"""Seed of those that they label."""


@dataclass(frozen=True)
class Plan:
    """How a kind of network is trained.

    Attributes:
        steps: Of the optimiser.
        init: The kind whose network 0 it goes on from, "" for none.
        fresh: Whether it takes only the encoder of that one.
        network: As of a training; for one that goes on, what is changed.
        training: What differs from the training benchmarks' settings.
        augmentation: What differs from theirs.
    """

    steps: int
    init: str
    fresh: bool
    network: Mapping[str, Any]
    training: Mapping[str, Any]
    augmentation: Mapping[str, Any]


UPRIGHT: Mapping[str, Any] = {
    "half_body": 0.0,
    "scale": 0.25,
    "rotation": 15.0,
    "truncation": 0.25,
    "colour": 0.3,
}
"""Augmentation of drawn people, who all stand on their feet."""

PLANS: Mapping[str, Plan] = {
    "lspet": Plan(
        4_000,
        "start",
        True,
        {"presence": False},
        {"learning_rate": 7e-4},
        {"half_body": 0.0, "scale": 0.25, "rotation": 20.0, "shift": 0.05},
    ),
    "fashion17": Plan(
        600, "lspet", False, {}, {"learning_rate": 5e-4, "warmup_steps": 20}, {"rotation": 15.0, "half_body": 0.0}
    ),
    "start": Plan(1_200, "", False, {**NETWORK, "presence": True}, {"presence_weight": 0.001}, UPRIGHT),
    "drawn": Plan(
        2_400, "start", False, {}, {"presence_weight": 0.001, "learning_rate": 7e-4, "warmup_steps": 20}, UPRIGHT
    ),
}


@dataclass(frozen=True)
class Networks:
    """Trained networks below a folder.

    Attributes:
        corpora: What there is to learn.
        out: The folder.
        steps: Instead of the plan's, for a rehearsal; 0 for the plan's.
        progress: Where to report.
    """

    corpora: Corpora
    out: Path
    steps: int = 0
    progress: Progress = SILENT

    def network(self, kind: str, number: int) -> Path:
        """The checkpoint folder; trained now if it is not there."""
        from pipelines.train import train_network

        plan, folder = PLANS[kind], self.out / "networks" / f"{kind}-{number}"
        steps = self.steps or plan.steps
        training = {**TRAINING, "precision": "fp32", **plan.training, "steps": steps, "seed": number}
        training["warmup_steps"] = min(training["warmup_steps"], steps // 4)
        train_network(
            [(self.learnt(kind, number), 1.0)],
            out=folder,
            init=str(self.network(plan.init, 0)) if plan.init else "",
            heads="new" if plan.fresh else "kept",
            network=dict(plan.network),
            training={**training, "augmentation": {**PAPER, **plan.augmentation}},
            progress=self.progress,
        )
        return folder

    def learnt(self, kind: str, number: int) -> Manifest:
        """What a network learns."""
        if kind == "lspet":
            return self.half(number)
        if kind in DRAWN:
            return self.drawn(*DRAWN[kind])
        return self._chosen("fashion17-lsp14", self.adapted(number), f"fashion17-{number}")

    def half(self, number: int) -> Manifest:
        """Half 0 or 1 of lspet; near-duplicates that are known lie in one of them."""
        whole = self.corpora.manifest("lspet")
        side = assign_splits(whole, {"0": 0.5, "1": 0.5})
        chosen = [pose for sample in whole if side(sample) == str(number) for pose in sample.poses.id.tolist()]
        return self._chosen("lspet", chosen, f"lspet-half-{number}")

    def adapted(self, number: int) -> list[str]:
        """Ids of the fashion17 poses that network ``number`` learns."""
        ids = np.sort(
            [pose for sample in self.corpora.manifest("fashion17-lsp14") for pose in sample.poses.id.tolist()]
        )
        return np.random.default_rng(number).permutation(ids)[:LABELS].tolist()

    def drawn(self, seed: int, images: int) -> Manifest:
        """Drawn people."""
        folder = self.out / "data" / f"drawn-{seed}-{images}"
        if (folder / "truth" / COMMIT).is_file():
            return Manifest.open(folder / "truth")
        return draw_corpus(folder, images=images, seed=seed, existing=Existing.RESUME, progress=self.progress)[0]

    def _chosen(self, corpus: str, ids: list[str], name: str) -> Manifest:
        return with_poses(self.corpora.manifest(corpus), ids, out=self.out / "data" / name, stage="subset")


def main() -> int:
    """Train the networks that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", metavar="KIND:N", help="lspet:0, fashion17:3, drawn:0, ...")
    parser.add_argument("--out", type=Path, required=True, help="folder for corpora and networks")
    parser.add_argument("--data", type=Path, required=True, help="shared/data")
    parser.add_argument("--steps", type=int, default=0, help="instead of the plan's, for a rehearsal")
    options = parser.parse_args()
    progress = LineProgress(sys.stderr)
    corpora = Corpora(options.data, options.out / "corpora", progress=progress)
    networks = Networks(corpora, options.out, options.steps, progress)
    for name in options.networks:
        kind, _, number = name.partition(":")
        print(networks.network(kind, int(number)), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
