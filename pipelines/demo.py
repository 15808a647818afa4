"""``autolabel demo``: the whole loop on a drawn corpus, with a simulated reviewer, no network, on a CPU.

A small ViTPose learns from drawn poses (300, or 10,000 in the full size), labels the rest, and learns on from what the
reviewer corrects; a second project spends the same budget on poses drawn at random, for comparison. The drawings tell
the truth, so the report can say how good the poses are that nobody touched, whether the network got any better, and
whether the certificate is true.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autolabel.certify import percent
from autolabel.errors import ExistsError
from autolabel.manifest import COMMIT, Existing, Manifest, write_manifest, write_text
from autolabel.poses import Sample
from autolabel.progress import SILENT, Progress
from autolabel.project import FILE, to_toml
from pipelines import loop
from pipelines.check import check
from pipelines.demo_size import CONFIDENCE, FINETUNING, NOISE, QUICK, DemoSize, Size
from pipelines.drawn_corpus import draw_corpus, hide_truth
from pipelines.loop import ROUND, LoopResult
from pipelines.loop_state import CERTIFICATE
from pipelines.measure import seen
from pipelines.simulated_reviewer import SimulatedReviewer

_PARTS = {
    "images": "images",
    "boxes": "pool",
    "labelled": "labelled",
    "calibration": "calibration",
    "test": "test",
}


@dataclass(frozen=True)
class DemoResult:
    """A finished demo.

    Attributes:
        loop: Where the loop ended.
        rounds: The content of every ``round.json``.
        true_bad: Share of bad poses among those that the certificate covers, by the drawn truth, after the audit's
            corrections; None without a certificate.
        same: By round, the share of bad poses that its network makes of the poses nobody opened in the end. The set of
            untouched poses shrinks to what is doubted least, so that its error falls without any learning; on the
            same poses it falls only if the network got better.
        seconds: How long it took.
    """

    loop: LoopResult
    rounds: tuple[dict[str, Any], ...]
    same: tuple[float, ...]
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
            "same_poses_bad": list(self.same),
            "seconds": round(self.seconds, 1),
        }

    def table(self) -> str:
        """For a person: the rounds, what was proven, whether it is true, and where everything is."""
        head = ("round", "opened", "untouched bad (at random)", "same poses bad", "test bad (at random)")
        rows = [
            (
                str(r["round"]),
                str(r["effort"]["poses_opened"]),
                _shares(r, "untouched"),
                percent(same),
                _shares(r, "test"),
            )
            for r, same in zip(self.rounds, self.same, strict=True)
        ]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in (head, *rows)]
        lines += [
            "",
            "untouched: fewer each round, and those doubted least; same poses: those left in the end, by each network",
        ]
        judged = self.loop.certificate
        if judged is not None:
            lines += ["", f"{'certified' if judged.issued else 'not certified'}: {judged.reason}"]
        if self.true_bad is not None:
            lines.append(
                f"the drawn truth: {percent(self.true_bad)} of those {judged.population if judged else 0} are bad"
            )
        if judged is not None and self.true_bad is not None and self.true_bad > judged.bound_after:
            lines.append(
                f"more than that limit: this draw is one of those, at most {percent(1 - judged.confidence)}, whose "
                f"limit is too low; the promise of at most {percent(judged.max_bad)} is "
                f"{'kept' if self.true_bad <= judged.max_bad else 'broken'}"
            )
        folder = self.loop.folder
        lines += ["", *(str(folder / name) for name in ("report.html", "dataset", "coco.json"))]
        return "\n".join(lines)


def demo(
    *,
    out: str | Path = Path("demo"),
    rounds: int = 2,
    seed: int = 0,
    compare: bool = True,
    size: Size | DemoSize = Size.QUICK,
    progress: Progress = SILENT,
) -> DemoResult:
    """Run the whole loop on drawn people.

    Args:
        out: The project folder to make; an unfinished demo of the same seed goes on where it stopped.
        rounds: Rounds of review before the audit.
        seed: Of the drawings and of everything drawn by lot.
        compare: Also spend the budget on poses drawn at random, in a project of its own.
        size: How much of everything.
        progress: Where to report.

    Raises:
        ExistsError: ``out`` holds another project, or a demo of other settings.
    """
    start = time.perf_counter()
    folder, size = Path(out), size.amounts() if isinstance(size, Size) else size
    truth = prepare(folder, rounds=rounds, seed=seed, size=size, progress=progress)
    # Planted errors are the network's on the test poses.
    known = (truth, Manifest.open(folder / "drawn" / "test"))
    reviewer = SimulatedReviewer(known, seed=seed, noise=NOISE)
    progress.note("the loop: what is doubtful goes to the reviewer")
    result = loop.run(folder, reviewer=reviewer, truth=truth, progress=progress)
    if compare:
        progress.note("for comparison: as many poses drawn at random")
        random = _random_arm(folder, rounds, seed, size)
        loop.run(
            random,
            reviewer=SimulatedReviewer(truth, seed=seed, noise=NOISE),
            truth=truth,
            audit=False,
            progress=progress,
        )
        for n in range(rounds + 1):
            _set_beside(folder, random, n)
        loop.report(folder, progress=progress)
    records = tuple(_record(folder, n) for n in range(rounds + 1))
    true_bad = _true_bad(folder, truth) if result.certificate and result.certificate.issued else None
    same = tuple(_same_poses(folder, truth, rounds))
    return DemoResult(result, records, same, true_bad, time.perf_counter() - start)


def prepare(
    folder: Path, *, rounds: int = 2, seed: int = 0, size: DemoSize = QUICK, progress: Progress = SILENT
) -> Manifest:
    """Draw the corpus and write the project, whose loop can then be run; one that is there already stays.

    Args:
        folder: The project folder.
        rounds: Rounds of review before the audit.
        seed: Of the drawings and of everything drawn by lot.
        size: How much of everything.
        progress: Where to report.

    Returns:
        The truth of the pool. That of the poses which planted errors are made from is ``drawn/test``.

    Raises:
        ExistsError: ``folder`` holds another project, or a demo of other settings.
    """
    truth = _drawn(folder / "drawn", seed, size, progress)
    _settings(folder, rounds, seed, size)
    return truth


def _drawn(folder: Path, seed: int, size: DemoSize, progress: Progress) -> Manifest:
    """Draw the corpus, and cut it into poses to learn from, to calibrate on, to measure on, and the pool.

    Returns:
        The truth of the pool.
    """
    if not (folder / "pool-truth" / COMMIT).is_file():
        truth, _ = draw_corpus(folder, images=size.images, seed=seed, progress=progress, existing=Existing.OVERWRITE)
        samples = iter(truth)
        for name, poses in (("labelled", size.labelled), ("calibration", size.calibration), ("test", size.test)):
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


def _settings(folder: Path, rounds: int, seed: int, size: DemoSize, *, order: str = "doubt", weights: str = "") -> None:
    """Write the project's settings; the same ones may stand already, others may not."""
    drawn = "../drawn" if weights else "drawn"
    values: dict[str, Any] = {
        "corpus": {name: f"{drawn}/{part}" for name, part in _PARTS.items()} | {"skeleton": "coco17"},
        "promise": {"max_bad": size.max_bad, "confidence": CONFIDENCE, **_audit(size)},
        "rounds": {"count": rounds, "budget": size.budget, "random_share": 0.2, "order": order, "seed": seed},
        "network": {"weights": weights, "custom": {} if weights else size.network},
        "training": {**size.training, "seed": seed, "steps": size.steps},
        "finetuning": {**FINETUNING, "steps": size.finetuning_steps},
    }
    text = to_toml({"name": "drawn-people", **values})
    file = folder / FILE
    if file.is_file() and file.read_text(encoding="utf-8") != text:
        raise ExistsError("is a project with other settings", subject=str(folder), remedy="Give another --out.")
    write_text(file, text)


def _audit(size: DemoSize) -> dict[str, int]:
    beside = {"blind": size.blind, "keypoints": size.keypoints, "images": size.whole_images}
    return {"audit": size.audit, "plants": size.plants, **beside}


def _random_arm(folder: Path, rounds: int, seed: int, size: DemoSize) -> Path:
    """A project that differs in one thing: it reviews poses at random. It starts from the same network."""
    other = folder / "random"
    other.mkdir(exist_ok=True)
    _settings(other, rounds, seed, size, order="random", weights="../rounds/00/model")
    return other


def _shares(record: dict[str, Any], part: str) -> str:
    """``12.3 % (23.4 %)``: what routing by doubt led to, and in brackets routing at random."""
    routed, random = record["routed"][part], record["random"]
    text = percent(routed["bad"]) if routed else "-"
    return f"{text} ({percent(random[part]['bad'])})" if random and random[part] else text


def _same_poses(folder: Path, truth: Manifest, rounds: int) -> Iterator[float]:
    """Share of bad ones among the poses that nobody opened before the audit, as each round's network places them."""
    last = check(Manifest.open(folder / "rounds" / f"{rounds:02d}" / "scored"), truth).poses
    left = set(last.id[~seen(last)].tolist())
    for n in range(rounds + 1):
        judged = check(Manifest.open(folder / "rounds" / f"{n:02d}" / "predicted"), truth)
        yield float(judged.bad[[pose in left for pose in judged.poses.id.tolist()]].mean())


def _record(folder: Path, n: int) -> dict[str, Any]:
    return json.loads((folder / "rounds" / f"{n:02d}" / ROUND).read_text(encoding="utf-8"))


def _set_beside(folder: Path, random: Path, n: int) -> None:
    """Put what random routing led to into the round's record."""
    record = {**_record(folder, n), "random": _record(random, n)["routed"]}
    write_text(folder / "rounds" / f"{n:02d}" / ROUND, json.dumps(record, indent=2) + "\n")


def _true_bad(folder: Path, truth: Manifest) -> float:
    """Share of bad poses among the certified ones, by the truth, after the audit's corrections."""
    judged = json.loads((folder / CERTIFICATE).read_text(encoding="utf-8"))
    frozen = (folder / "audit" / "routing" / "accepted.txt").read_text(encoding="utf-8").split()
    accepted = set(frozen[: judged["population_before"]])
    dataset = check(Manifest.open(folder / "dataset"), truth)
    mine = np.array([pose in accepted for pose in dataset.poses.id.tolist()], bool)
    return float(dataset.bad[mine].mean())
