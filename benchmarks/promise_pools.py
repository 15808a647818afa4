"""The pools that promises and effort are measured on: people, and a mouse, that a network labelled and never learnt.

    python -m benchmarks.promise_pools drawn demo fashion17 openfield --out DIR --data ../shared/data

* ``drawn``: 20,000 drawn people of another seed than the network's, with exact truth. The network is the demo's, with
  a presence head, trained to its end: on 40,000 drawn people instead of 300. A quality head learnt from 2,400 others.
* ``demo``: the same people by the network that ``autolabel demo --size full`` leaves after its rounds.
* ``fashion17``: what of its 1,109 people the same network after 20,000 drawn people (``start``), adapted on 300 of
  them, did not learn.
* ``openfield``: 76 frames of a mouse, by a small network that learnt 40.

Everything is made once below ``--out`` and found again; a training that was stopped goes on. The networks stay as they
are through all redraws of the benchmarks: what is drawn anew is all that depends on people.
"""

import argparse
import fcntl
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autolabel.manifest import Manifest
from autolabel.project import read_project
from benchmarks.scores_networks import POOL, UPRIGHT, Networks
from benchmarks.scores_pools import DRAWN_PEOPLE, PEOPLE_AN_IMAGE, Pool, judged
from benchmarks.training_data import Corpora
from benchmarks.training_plan import PAPER, TRAINING
from pipelines.check import check
from pipelines.console import LineProgress
from pipelines.demo import demo
from pipelines.demo_size import NETWORK, Size
from pipelines.loop_state import Loop
from pipelines.predict import predict
from pipelines.quality import learn_quality
from pipelines.subset import with_poses
from pipelines.train import train_network

POOLS = ("drawn", "demo", "fashion17", "openfield")

_FIRST: Mapping[int, int] = {1: 2_500, 2: 6_000, 3: 4_000, 4: 4_000}
LEARNT: Mapping[str, Mapping[int, int]] = {"start": _FIRST, "drawn": {**_FIRST, 6: 8_000, 7: 8_000}}
"""Images by seed of the drawn people that networks learn."""

GOES_ON: Mapping[str, str] = {"drawn": "start", "fashion17": "start"}
"""Networks that go on from another one."""

HEAD_SEED, HEAD_IMAGES, HEAD_STEPS = 5, 2_000, 1_500
"""Drawn people that the quality head learns from, and how long."""

STEPS: Mapping[str, int] = {"start": 6_500, "drawn": 9_000, "fashion17": 1_000, "openfield": 400}

ADAPTED: Mapping[str, int] = {"fashion17": 300, "openfield": 40}
"""Poses that a network learns of the pool's corpus; they are not in the pool."""

_SHARED: Mapping[str, Any] = {**TRAINING, "precision": "bf16", "accumulate": 4, "presence_weight": 0.001, "seed": 0}

_LONG: Mapping[str, Any] = {
    **_SHARED,
    "compile": True,
    "warmup_steps": 200,
    "ema": 0.998,
    "augmentation": {**PAPER, **UPRIGHT},
}

TRAININGS: Mapping[str, Mapping[str, Any]] = {
    "start": {**_LONG, "save_every": 500},
    "drawn": {**_LONG, "save_every": 250, "learning_rate": 7e-4, "seed": 1},
    "fashion17": {
        **_SHARED,
        "learning_rate": 5e-4,
        "warmup_steps": 50,
        "augmentation": {**PAPER, **UPRIGHT, "truncation": 0.0},
    },
    "openfield": {**_SHARED, "augmentation": {**PAPER, "half_body": 0.0, "rotation": 180.0}},
}


@dataclass(frozen=True)
class PromisePools:
    """Makes pools below a folder.

    Attributes:
        networks: The folder, its corpora and its drawn people.
        device: ``auto``, ``cpu`` or ``cuda``, for predicting.
    """

    networks: Networks
    device: str = "auto"

    @classmethod
    def of(cls, out: Path, data: Path) -> "PromisePools":
        """Pools below ``out``, of the corpora in ``data``."""
        progress = LineProgress(sys.stderr)
        return cls(Networks(Corpora(data, out / "corpora", progress=progress), out, progress=progress))

    def pool(self, name: str) -> Pool:
        """A pool; its network is trained and its poses are predicted now if they are not there.

        Several processes may ask: one makes it, the others wait.
        """
        with (self.networks.out / ".pools.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            boxes, truth = self._asked(name)
            head = self.head() if name == "drawn" else None
            predicted = self._predicted(boxes, name, f"promise-{name}", head)
        return judged(name, truth, [predicted])

    def network(self, name: str) -> Path:
        """The checkpoint folder of a pool's network, or of one that it goes on from; trained now if it is not there."""
        if name == "demo":
            return self._demo()
        folder = self.networks.out / "networks" / f"promise-{name}"
        learnt = self._learnt(name)
        total = sum(manifest.counts["poses"] for manifest in learnt)
        fresh = {**NETWORK, "presence": True, "absent_below": 0.0}
        train_network(
            [(manifest, manifest.counts["poses"] / total) for manifest in learnt],
            out=folder,
            init=str(self.network(GOES_ON[name])) if name in GOES_ON else "",
            network={} if name in GOES_ON else fresh,
            training={**TRAININGS[name], "steps": STEPS[name]},
            progress=self.networks.progress,
        )
        return folder

    def _demo(self) -> Path:
        """The demo's last network; the demo is run now if it is not there."""
        folder = self.networks.out / "demo"
        result = demo(out=folder, size=Size.FULL, compare=False, progress=self.networks.progress)
        loop = Loop(folder, read_project(folder), None, None, self.networks.progress)
        return Path(loop.network(result.loop.rounds)[1])

    def head(self) -> Path:
        """The quality head of the network of drawn people; taught now if it is not there."""
        file = self.networks.out / "quality" / "promise-drawn.safetensors"
        if file.is_file():
            return file
        file.parent.mkdir(parents=True, exist_ok=True)
        truth = self.networks.drawn(HEAD_SEED, HEAD_IMAGES)
        boxes = Manifest.open(truth.path.parent / "boxes")
        predicted = self._predicted(boxes, "drawn", "promise-head", None)
        learn_quality(
            predicted,
            check(predicted, truth),
            weights=self.network("drawn"),
            out=file,
            precision="fp32",
            folds=2,
            steps=HEAD_STEPS,
            progress=self.networks.progress,
        )
        return file

    def _learnt(self, name: str) -> list[Manifest]:
        if name in LEARNT:
            return [self.networks.drawn(seed, images) for seed, images in LEARNT[name].items()]
        return [self._part(name, learnt=True)]

    def _asked(self, name: str) -> tuple[Manifest, Manifest]:
        """Whose poses are predicted, and the truth about them."""
        if name in ("drawn", "demo"):
            truth = self.networks.drawn(POOL, round(DRAWN_PEOPLE / PEOPLE_AN_IMAGE))
            return Manifest.open(truth.path.parent / "boxes"), truth
        rest = self._part(name, learnt=False)
        return rest, rest

    def _part(self, name: str, *, learnt: bool) -> Manifest:
        """The poses of a corpus that its network learns, or the others."""
        whole = self.networks.corpora.manifest("openfield-all" if name == "openfield" else name)
        ids = np.sort([pose for sample in whole for pose in sample.poses.id.tolist()])
        first = np.random.default_rng(0).permutation(ids)[: ADAPTED[name]].tolist()
        chosen = first if learnt else np.setdiff1d(ids, first).tolist()
        called = f"promise-{name}-{'learnt' if learnt else 'rest'}"
        return with_poses(whole, chosen, out=self.networks.out / "data" / called, stage="subset")

    def _predicted(self, boxes: Manifest, name: str, called: str, head: Path | None) -> Manifest:
        return predict(
            boxes.path,
            weights=self.network(name),
            out=self.networks.out / "predicted" / called,
            device=self.device,
            precision="fp32",
            flip_test=True,
            jitter=True,
            quality=head,
            progress=self.networks.progress,
        ).manifest


def main() -> int:
    """Make the pools that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pools", nargs="+", choices=POOLS)
    parser.add_argument("--out", type=Path, required=True, help="folder for corpora, networks and predictions")
    parser.add_argument("--data", type=Path, required=True, help="shared/data")
    options = parser.parse_args()
    pools = PromisePools.of(options.out, options.data)
    for name in options.pools:
        pool = pools.pool(name)
        bad = pool.checked.bad
        said = ", ".join(f"{kind} {mask.sum():,} ({bad[mask].mean():.1%} bad)" for kind, mask in pool.strata.items())
        print(f"{name}: {said}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
