"""``autolabel demo``: the whole loop on a drawn corpus, with a simulated reviewer, no network, on a CPU.

A small ViTPose learns from 300 drawn poses, labels the rest, and gets better by what the reviewer corrects; a second
project spends the same budget on poses drawn at random, for comparison. The drawings tell the truth, so the report can
say how good the poses are that nobody touched, and whether the certificate is true.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autolabel.errors import ExistsError
from autolabel.manifest import COMMIT, Existing, Manifest, write_manifest, write_text
from autolabel.poses import Sample
from autolabel.progress import SILENT, Progress
from autolabel.project import FILE, to_toml
from pipelines import loop
from pipelines.check import check
from pipelines.drawn_corpus import draw_corpus, hide_truth
from pipelines.loop import ROUND, LoopResult
from pipelines.report import report
from pipelines.simulated_reviewer import SimulatedReviewer

LABELLED, CALIBRATION, TEST = 300, 150, 300
"""Poses to learn from, to calibrate on, and to measure on."""

IMAGES = 1190
"""Drawn pictures; those that are not needed for the poses above are the pool."""

MAX_BAD, CONFIDENCE, AUDIT = 0.15, 0.95, 150
"""The promise, and the most poses its audit may open."""

BUDGET = 120
"""Tasks a round."""

_PARTS = {
    "images": "images",
    "boxes": "pool",
    "labelled": "labelled",
    "calibration": "calibration",
    "test": "test",
}

NETWORK: dict[str, Any] = {
    "input_size": [96, 72],
    "patch_size": 8,
    "width": 128,
    "depth": 6,
    "heads": 4,
    "deconv_channels": 64,
    "drop_path": 0.0,
    "absent_below": 0.2,
}
"""The small ViTPose of the drawn corpus: what differs from ViTPose-S."""

TRAINING: dict[str, Any] = {
    "steps": 1200,
    "batch_size": 16,
    "learning_rate": 1e-3,
    "weight_decay": 0.05,
    "warmup_steps": 50,
    "augmentation": {"scale": 0.25, "rotation": 15.0, "colour": 0.3},
}
"""Frozen with the corpus: on 300 poses this leaves 15 to 40 % of the others bad (``benchmarks/drawn.py``)."""

FINETUNING: dict[str, Any] = {"steps": 200, "learning_rate": 3e-4, "warmup_steps": 20}
"""What a round of corrections changes."""


@dataclass(frozen=True)
class DemoResult:
    """A finished demo.

    Attributes:
        loop: Where the loop ended.
        rounds: The content of every ``round.json``.
        true_bad: Share of bad poses among those that the certificate covers, by the drawn truth, after the audit's
            corrections; None without a certificate.
        seconds: How long it took.
    """

    loop: LoopResult
    rounds: tuple[dict[str, Any], ...]
    true_bad: float | None
    seconds: float

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        judged = self.loop.certificate
        return {
            **self.loop.summary(),
            "report": self.loop.folder / "report.html",
            "dataset": self.loop.folder / "dataset",
            "coco": self.loop.folder / "coco.json",
            "accepted": 0 if judged is None else judged.population,
            "true_bad": self.true_bad,
            "routed": [r["routed"] for r in self.rounds],
            "random": [r["random"] for r in self.rounds],
            "seconds": round(self.seconds, 1),
        }


def demo(
    *,
    out: str | Path = "demo",
    rounds: int = 2,
    seed: int = 0,
    progress: Progress = SILENT,
) -> DemoResult:
    """Run the whole loop on drawn people.

    Args:
        out: The project folder to make; an unfinished demo of the same seed goes on where it stopped.
        rounds: Rounds of review before the audit.
        seed: Of the drawings and of everything drawn by lot.
        progress: Where to report.

    Raises:
        ExistsError: ``out`` holds another project, or a demo of other settings.
    """
    start = time.perf_counter()
    folder = Path(out)
    truth = _drawn(folder / "drawn", seed, progress)
    _settings(folder, rounds, seed)
    reviewer = SimulatedReviewer(truth, seed=seed)
    progress.note("the loop: what is doubtful goes to the reviewer")
    result = loop.run(folder, reviewer=reviewer, truth=truth, progress=progress)
    progress.note("for comparison: as many poses drawn at random")
    random = _random_arm(folder, rounds, seed)
    loop.run(random, reviewer=SimulatedReviewer(truth, seed=seed), truth=truth, audit=False, progress=progress)
    records = tuple(_compared(folder, random, n) for n in range(rounds + 1))
    report(folder, overwrite=True, progress=progress)
    true_bad = _true_bad(folder, truth) if result.certificate and result.certificate.issued else None
    return DemoResult(result, records, true_bad, time.perf_counter() - start)


def _drawn(folder: Path, seed: int, progress: Progress) -> Manifest:
    """Draw the corpus, and cut it into poses to learn from, to calibrate on, to measure on, and the pool.

    Returns:
        The truth of the pool.
    """
    if not (folder / "pool-truth" / COMMIT).is_file():
        truth, _ = draw_corpus(folder, images=IMAGES, seed=seed, progress=progress, existing=Existing.OVERWRITE)
        samples = iter(truth)
        for name, poses in (("labelled", LABELLED), ("calibration", CALIBRATION), ("test", TEST)):
            _write(folder / name, list(_first(samples, poses)), truth)
        pool = list(samples)
        _write(folder / "pool", [s.with_poses(hide_truth(s.poses)) for s in pool], truth)
        _write(folder / "pool-truth", pool, truth)
    return Manifest.open(folder / "pool-truth")


def _first(samples: Iterator[Sample], poses: int) -> Iterator[Sample]:
    """Whole images until they hold so many poses."""
    while poses > 0:
        sample = next(samples)
        poses -= len(sample.poses)
        yield sample


def _write(path: Path, samples: list[Sample], like: Manifest) -> None:
    write_manifest(path, samples, like.skeleton, like.roots, stage="drawn", existing=Existing.OVERWRITE)


def _settings(folder: Path, rounds: int, seed: int, *, order: str = "doubt", weights: str = "") -> None:
    """Write the project's settings; the same ones may stand already, others may not."""
    drawn = "../drawn" if weights else "drawn"
    values = {
        "corpus": {name: f"{drawn}/{part}" for name, part in _PARTS.items()} | {"skeleton": "coco17"},
        "promise": {"max_bad": MAX_BAD, "confidence": CONFIDENCE, "audit": AUDIT},
        "rounds": {"count": rounds, "budget": BUDGET, "random_share": 0.2, "order": order, "seed": seed},
        "network": {"weights": weights, "custom": {} if weights else NETWORK},
        "training": {**TRAINING, "seed": seed},
        "finetuning": FINETUNING,
    }
    text = to_toml({"name": "drawn-people", **values})
    file = folder / FILE
    if file.is_file() and file.read_text(encoding="utf-8") != text:
        raise ExistsError("is a project with other settings", subject=str(folder), remedy="Give another --out.")
    write_text(file, text)


def _random_arm(folder: Path, rounds: int, seed: int) -> Path:
    """A project that differs in one thing: it reviews poses at random. It starts from the same network."""
    other = folder / "random"
    other.mkdir(exist_ok=True)
    _settings(other, rounds, seed, order="random", weights="../rounds/00/model")
    return other


def _compared(folder: Path, random: Path, n: int) -> dict[str, Any]:
    """The round's record, with what random routing led to beside it."""
    file = Path("rounds") / f"{n:02d}" / ROUND
    record = json.loads((folder / file).read_text(encoding="utf-8"))
    record["random"] = json.loads((random / file).read_text(encoding="utf-8"))["routed"]
    write_text(folder / file, json.dumps(record, indent=2) + "\n")
    return record


def _true_bad(folder: Path, truth: Manifest) -> float:
    """Share of bad poses among the certified ones, by the truth, after the audit's corrections."""
    dataset = check(Manifest.open(folder / "dataset"), truth)
    accepted = set((folder / "audit" / "routing" / "accepted.txt").read_text(encoding="utf-8").split())
    mine = np.array([pose in accepted for pose in dataset.poses.id.tolist()], bool)
    return float(dataset.bad[mine].mean())
