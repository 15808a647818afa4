"""Doing the arms of the distillation benchmark: train or distil, measure, keep. What is finished is not done again.

Below the output folder: ``runs/ARM`` a checkpoint folder each, ``measured/ARM.json`` its row, ``measured/ARM.npz``
everybody's errors, for paired comparisons, and ``teacher-outputs/`` what teachers said of fixed views, which all
students share as far as they see the same people. An arm that was stopped goes on where it stopped.
"""

import hashlib
import json
import shutil
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autolabel.manifest import write_text
from autolabel.progress import SILENT, Progress
from benchmarks.distillation_data import Learnt, People
from benchmarks.distillation_plan import AUGMENTATION, FINAL, MASKING, TRAINING, VALIDATION, Arm
from benchmarks.partial_bodies import THRESHOLDS, share_within
from benchmarks.training_people import person_errors
from benchmarks.training_runs import cost_row
from pipelines.distill_stages import BODY, Stage

BEGINNING = "beginning"
"""Folder of a part of the teacher that labels alone are to teach."""


@dataclass(frozen=True)
class Bench:
    """Where arms are done.

    Attributes:
        people: Whom they learn from and are measured on.
        out: The folder.
        progress: Where to report.
    """

    people: People
    out: Path
    progress: Progress = SILENT

    def network(self, folder: str) -> Path:
        """The checkpoint of an arm."""
        return self.out / "runs" / folder

    def errors(self, folder: str) -> Path:
        """An arm's errors: by validation people (P, K), in longer sides of the box."""
        return self.out / "measured" / f"{folder}.npz"

    def finished(self, arm: Arm, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
        """An arm's row if it is done with these settings, on the arms that ``rows`` tells of."""
        file = self._row(arm)
        if not file.is_file() or any(needed not in rows for needed in arm.needs):
            return None
        row = json.loads(file.read_text(encoding="utf-8"))
        return {**row, "tables": list(arm.tables)} if row["digest"] == self._digest(arm, rows) else None

    def do(self, arm: Arm, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Do an arm unless it is done.

        Args:
            arm: Which.
            rows: Of the arms that it needs, by folder.

        Raises:
            ExistsError: Its folder holds a network with other settings.
        """
        if (row := self.finished(arm, rows)) is not None:
            return row
        {"train": self._train, "distil": self._distil, "pretrain": self._pretrain}[arm.kind](arm)
        row = {
            "arm": arm.name,
            "seed": arm.seed,
            "tables": list(arm.tables),
            "digest": self._digest(arm, rows),
            "steps": arm.steps,
            **speed(self._metrics(arm), int({**TRAINING, **arm.training}["batch_size"])),
            **({} if arm.kind == "pretrain" else self._measured(arm)),
            "settings": arm.settings(),
        }
        self._row(arm).parent.mkdir(parents=True, exist_ok=True)
        write_text(self._row(arm), json.dumps(row, indent=1) + "\n")
        return row

    def _row(self, arm: Arm) -> Path:
        return self.out / "measured" / f"{arm.folder}.json"

    def _digest(self, arm: Arm, rows: Mapping[str, Mapping[str, Any]]) -> str:
        return arm.digest([str(rows[needed]["digest"]) for needed in arm.needs])

    def _metrics(self, arm: Arm) -> Path:
        """Of the student's own training, before a fresh head."""
        return self.network(arm.folder) / (BODY if arm.head else "") / "metrics.jsonl"

    def _recipe(self, arm: Arm) -> dict[str, Any]:
        how = {**TRAINING, **arm.training, "steps": arm.steps, "seed": arm.seed, "augmentation": dict(AUGMENTATION)}
        return {**how, "warmup_steps": min(how["warmup_steps"], arm.steps // 2)}

    def _train(self, arm: Arm) -> None:
        from pipelines.train import train_network

        sliced = arm.init == FINAL
        train_network(
            self.people.learnt(arm).data,
            out=self.network(arm.folder),
            init=str(self._part_of_teacher(arm)) if sliced else self._init(arm),
            network={} if sliced else dict(arm.network),
            training=self._recipe(arm),
            progress=self.progress,
        )

    def _distil(self, arm: Arm) -> None:
        from pipelines.distill import distill_network

        learnt, teacher = self.people.learnt(arm), self.network(arm.needs[0])
        distill_network(
            str(teacher),
            learnt.data,
            out=self.network(arm.folder),
            unlabelled=learnt.unlabelled,
            init="teacher" if arm.init == FINAL else self._init(arm),
            blocks=arm.blocks,
            network=dict(arm.network),
            training=self._recipe(arm),
            distillation=dict(arm.distillation),
            cache=self._kept(arm, teacher, learnt),
            knowledge=Stage(steps=arm.knowledge),
            head=Stage(steps=arm.head),
            progress=self.progress,
        )

    def _pretrain(self, arm: Arm) -> None:
        """A masked autoencoder of the same people; of the recipe it takes sizes and rate, the rest is its own."""
        from pipelines.pretrain import Corpus, pretrain_encoder

        how = self._recipe(arm)
        names = ("batch_size", "steps", "seed", "log_every", "save_every", "learning_rate", "precision")
        pretrain_encoder(
            [Corpus(portion.manifest, share=portion.share) for portion in self.people.learnt(arm).data],
            out=self.network(arm.folder),
            network=dict(arm.network),
            training={name: how[name] for name in names},
            pretraining=dict(MASKING),
            progress=self.progress,
        )

    def _init(self, arm: Arm) -> str:
        """What it starts from, where that is no part of the teacher."""
        return str(self.network(arm.needs[-1])) if arm.init else ""

    def _part_of_teacher(self, arm: Arm) -> Path:
        """The student as slicing leaves it."""
        from model.checkpoint import load_model, save_model
        from pipelines.distill_student import student

        folder = self.out / BEGINNING / arm.folder
        teacher = load_model(self.network(arm.needs[0]))
        begins = student(
            teacher,
            teacher.skeleton,
            arm.network,
            init="teacher",
            blocks=arm.blocks,
            knowledge=False,
            seed=arm.seed,
            subject=arm.name,
        )
        return save_model(begins.make(), folder)

    def _kept(self, arm: Arm, teacher: Path, learnt: Learnt) -> Path | None:
        """Where the teacher's outputs lie: one folder for all students who are shown the same, and ask the same.

        Where it is what fixed views cost that is measured, each student asks anew.
        """
        from model.checkpoint import model_digest

        if not arm.distillation.get("views"):
            return None
        said = [
            model_digest(teacher),
            [portion.manifest.digest for part in learnt for portion in part],
            self._recipe(arm)["augmentation"],
            [arm.network["input_size"], arm.distillation["views"], arm.name if arm.tables == ("views",) else ""],
            [arm.distillation.get("flip_average", True), arm.distillation.get("feature_weight", 0) > 0],
        ]
        name = hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]
        return self.out / "teacher-outputs" / name

    def _measured(self, arm: Arm) -> dict[str, Any]:
        """PCK by validation people and over them, and what the network costs; keeps everybody's errors."""
        from model.checkpoint import load_model

        model = load_model(self.network(arm.folder))
        found: dict[str, Any] = {name: person_errors(model, self.people.validation(name).people) for name in VALIDATION}
        kept: dict[str, Any] = {f"image of {name}": self.people.validation(name).image for name in VALIDATION}
        self.errors(arm.folder).parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(self.errors(arm.folder), **kept, **found)
        costs = cost_row(model)
        row: dict[str, Any] = {}
        for threshold in THRESHOLDS:
            each = {f"{name} PCK@{threshold:g}": share_within(error, threshold) for name, error in found.items()}
            row |= {**each, f"macro PCK@{threshold:g}": float(np.mean(list(each.values())))}
        return {**row, "parameters": costs["parameters"], "GMACs": costs["GMACs"]}

    def forget_outputs(self) -> None:
        """Remove what the teacher said, which takes gigabytes."""
        shutil.rmtree(self.out / "teacher-outputs", ignore_errors=True)


def speed(metrics: Path, batch: int) -> dict[str, float]:
    """How fast a training went, by what it logged.

    Returns:
        ``minutes`` of its steps; ``crops/s`` over all of them; ``crops/s at the end``, of the last quarter: with fixed
        views the teacher's work is behind it there.
    """
    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    steps, rates = [line["step"] for line in lines], [line["crops_per_second"] for line in lines]
    seconds = sum(batch * (step - before) / rate for step, before, rate in zip(steps, [0, *steps], rates, strict=False))
    return {
        "minutes": seconds / 60,
        "crops/s": batch * steps[-1] / seconds,
        "crops/s at the end": statistics.median(rates[-max(1, len(rates) // 4) :]),
    }
