"""Doing the runs of the plan: train, measure, keep. What is finished is not done again.

A run leaves ``run.json`` (its row), its checkpoint and ``errors-TEST.npz`` (every person's errors, for paired
comparisons), and with a network of table 6 ``cases.npz``. One that was stopped goes on where it stopped.
"""

import json
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autolabel.manifest import write_text
from autolabel.presence import auroc
from autolabel.progress import SILENT, Progress
from benchmarks.partial_bodies import THRESHOLDS, measure, share_within
from benchmarks.training_data import Corpora
from benchmarks.training_people import Floats, people_of, person_errors, predict_people
from benchmarks.training_plan import BATCH, NETWORK, PAPER, TRAINING, Run
from model.cost import cost

LIMBS = tuple(
    f"{side}_{joint}" for side in ("left", "right") for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
)
"""The joints that all people have labelled under one name."""

ROW = "run.json"
_DIGEST = "digest.txt"


@dataclass(frozen=True)
class Bench:
    """Where runs are done.

    Attributes:
        corpora: What they train and are measured on.
        out: Their folder.
        progress: Where to report.
    """

    corpora: Corpora
    out: Path
    progress: Progress = SILENT

    def folder(self, run: Run) -> Path:
        """Where a run lies."""
        return self.out / "runs" / run.folder

    def finished(self, run: Run, parent: str = "") -> dict[str, Any] | None:
        """The row of a run if it is done with these settings, on from the run with the digest ``parent``."""
        file = self.folder(run) / ROW
        row = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        return row if row.get("digest") == run.digest(parent) else None

    def do(self, run: Run, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Do a run unless it is done.

        Args:
            run: Which.
            rows: Of the runs before it, by folder.
        """
        parent = str(rows[run.parent]["digest"]) if run.init else ""
        if (row := self.finished(run, parent)) is not None:
            return row
        folder = self.folder(run)
        folder.mkdir(parents=True, exist_ok=True)
        digest, before = run.digest(parent), folder / _DIGEST
        another = before.is_file() and before.read_text(encoding="utf-8") != digest
        write_text(before, digest)
        start = time.perf_counter()
        self._train(run, folder / "checkpoint", overwrite=another)
        row = {**_described(run, digest), **speed(folder / "checkpoint" / "metrics.jsonl", run.steps)}
        row |= {} if run.kind == "pretrain" else self._measured(run, folder)
        row["wall_minutes"] = round((time.perf_counter() - start) / 60, 2)
        write_text(folder / ROW, json.dumps(row, indent=1) + "\n")
        return row

    def _train(self, run: Run, out: Path, *, overwrite: bool) -> None:
        from pipelines.train import Portion, train_network

        training = {**TRAINING, **run.training, "steps": run.steps, "seed": run.seed}
        training["warmup_steps"] = min(training["warmup_steps"], run.steps // 4)
        if run.kind == "pretrain":
            self._pretrain(run, training, out, overwrite=overwrite)
            return
        init = str(self.out / "runs" / run.parent / "checkpoint") if run.init else ""
        train_network(
            [
                Portion(self.corpora.manifest(name), share, name if run.several else "")
                for name, share in run.data.items()
            ],
            out=out,
            init=init,
            network=dict(run.network) if run.tuned else {**NETWORK, **run.network},
            training={**training, "augmentation": {**PAPER, **run.augmentation}},
            overwrite=overwrite,
            progress=self.progress,
        )

    def _pretrain(self, run: Run, training: Mapping[str, Any], out: Path, *, overwrite: bool) -> None:
        """A masked autoencoder; of the recipe it takes sizes and rate, the rest is its own."""
        from pipelines.pretrain import Corpus, pretrain_encoder

        pretrain_encoder(
            [Corpus(self.corpora.manifest(name), share=share) for name, share in run.data.items()],
            out=out,
            network={**NETWORK, **run.network},
            training={name: training[name] for name in ("batch_size", "steps", "seed", "log_every", "learning_rate")},
            pretraining=dict(run.augmentation),
            overwrite=overwrite,
            progress=self.progress,
        )

    def _measured(self, run: Run, folder: Path) -> dict[str, Any]:
        from model.checkpoint import load_model

        found: dict[str, Any] = {}
        for test in run.test:
            dataset = test.removesuffix("-val") if run.several else None
            model = load_model(folder / "checkpoint", dataset=dataset)
            people = people_of(self.corpora.manifest(test))
            error = person_errors(model, people)
            limbs = [model.skeleton.index(name) for name in LIMBS if name in model.skeleton.keypoints]
            np.savez_compressed(folder / f"errors-{test}.npz", error=error, limbs=np.array(limbs, np.intp))
            found |= pck_row(test, error, limbs)
            if test == run.test[0] and {"6", "6+"} & set(run.tables):
                measure(model, people).save(folder / "cases.npz")
            if "visibility" in run.tables:
                found |= visibility_row(model, people)
            found |= cost_row(model)
        return found


def _described(run: Run, digest: str) -> dict[str, Any]:
    return {
        "name": run.name,
        "seed": run.seed,
        "tables": list(run.tables),
        "digest": digest,
        "settings": run.settings(),
        "steps": run.steps,
        "crops": run.steps * int({**TRAINING, **run.training}["batch_size"]),
    }


def speed(metrics: Path, steps: int) -> dict[str, float]:
    """Crops a second while training, the median of what was logged, and the minutes that all steps take at it."""
    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    rate = statistics.median(line["crops_per_second"] for line in lines)
    return {"crops_per_second": rate, "minutes": steps * BATCH / rate / 60}


def pck_row(test: str, error: Floats, limbs: list[int]) -> dict[str, float]:
    """PCK over all joints, and over the twelve limb joints where there are any."""
    row = {f"{test} PCK@{t:g}": share_within(error, t) for t in THRESHOLDS}
    if limbs:
        row |= {f"{test} limbs PCK@{t:g}": share_within(error[:, limbs], t) for t in THRESHOLDS}
    return row


def visibility_row(model: Any, people: list[Any]) -> dict[str, float]:
    """How well the presence head tells visible joints from hidden ones; empty without one."""
    answers = predict_people(model, ((person.pixels(), person.box[None]) for person in people))
    if answers.visible is None:
        return {}
    labelled, state = np.stack([p.labelled for p in people]), np.stack([p.visibility for p in people])
    seen = state[labelled] == 2
    return {"visibility AUROC": auroc(answers.visible[labelled], seen), "visible": float(seen.mean())}


def cost_row(model: Any) -> dict[str, float]:
    """What a crop costs.

    Returns:
        ``parameters``; ``GMACs`` of a forward pass (what the paper calls GFLOPs); ``activations_mib``, what the
        backward pass of a batch of ``BATCH`` needs kept, with attention computed step by step as on a CPU.
    """
    found = cost(model.config, model.skeleton.num_keypoints)
    return {
        "parameters": found.parameters,
        "GMACs": found.macs / 1e9,
        "activations_mib": found.activation_bytes * BATCH / 2**20,
    }
