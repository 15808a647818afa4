"""``autolabel loop``: rounds of review and fine-tuning that end in an audited dataset.

Each step is an ordinary stage with a folder of its own, so the state of the loop is what is on disk, and a loop that
was killed goes on with the step it was at::

    rounds/00/  model  predicted  scored  round.json                       what the first network says
    rounds/NN/  routing  pulled  training  model  predicted  merged  scored  round.json
    audit/      routing  pulled  merged                                    one draw of the accepted poses
    certificate.json  dataset/  coco.json  report.html

When reviewers have not answered everything, the loop says what it waits for and returns; the same call goes on.
"""

import hashlib
import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from autolabel.certify import Certificate
from autolabel.errors import ConfigError
from autolabel.manifest import COMMIT, Manifest, write_text
from autolabel.merge import SETTLED
from autolabel.poses import Poses
from autolabel.progress import SILENT, Progress
from autolabel.project import Project, read_project
from autolabel.score import MIN_BAD
from pipelines.calibrate import fit
from pipelines.certify import certify
from pipelines.check import Checked, check
from pipelines.export import export
from pipelines.measure import round_record
from pipelines.merge import merge
from pipelines.predict import predict
from pipelines.pull import pull
from pipelines.push import push
from pipelines.report import Report
from pipelines.report import report as write_report
from pipelines.route import route
from pipelines.scan import scan
from pipelines.score import score
from pipelines.subset import with_poses, with_states
from pipelines.train import train_network

ROUND = "round.json"
CERTIFICATE = "certificate.json"
ACCEPTED, WAITING = "accepted", "review"
"""States of a pose that no person settled: claimed by the certificate, or waiting for somebody."""


class Reviewer(Protocol):
    """Who answers the tasks of a project: nobody here in real use, a simulation in the demo."""

    def review(self, project: str | Path) -> int:
        """Answer open tasks; returns how many."""
        ...


@dataclass(frozen=True)
class LoopResult:
    """Where the loop stands.

    Attributes:
        folder: The project.
        state: ``done`` or ``waiting``.
        waits_for: What somebody must do before it goes on; "" when done.
        rounds: Finished rounds of review.
        certificate: What the audit proved, once it was judged.
    """

    folder: Path
    state: str
    waits_for: str
    rounds: int
    certificate: Certificate | None

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        judged = self.certificate
        return {
            "project": self.folder,
            "state": self.state,
            "waits_for": self.waits_for,
            "rounds": self.rounds,
            "certificate": None if judged is None else {"issued": judged.issued, "reason": judged.reason},
        }


class _Waiting(Exception):
    """Reviewers have tasks to answer."""


@dataclass
class _Loop:
    """What all steps share.

    Attributes:
        folder: The project.
        project: Its settings.
        reviewer: Who answers at once, if anybody does.
        truth: Truth for measuring, if it is known.
        progress: Where to report.
        seconds: Time of the steps of this call.
    """

    folder: Path
    project: Project
    reviewer: Reviewer | None
    truth: Manifest | None
    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict[str, float])

    def round(self, n: int) -> Path:
        return self.folder / "rounds" / f"{n:02d}"

    def path(self, setting: str) -> Path:
        """A path of the settings, relative to the project."""
        return self.folder / setting

    @contextmanager
    def timed(self, step: str) -> Generator[None]:
        """Add the time of a block to a step's."""
        start = time.perf_counter()
        yield
        self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - start


def run(
    directory: str | Path = Path(),
    *,
    reviewer: Reviewer | None = None,
    truth: Manifest | None = None,
    audit: bool = True,
    progress: Progress = SILENT,
) -> LoopResult:
    """Run, or go on with, a project's loop.

    Args:
        directory: The project.
        reviewer: Answers tasks at once; without one the loop waits for Label Studio's exports in
            ``labelstudio/exports``.
        truth: Every pose's truth, by id, for demos and tests: rounds then report the error of untouched poses.
        audit: End with an audit; without it the loop stops after the last round.
        progress: Where to report.

    Raises:
        ConfigError: The project's settings are wrong.
        AutolabelError: A step failed; what is finished stays.
    """
    loop = _Loop(Path(directory), read_project(directory), reviewer, truth, progress)
    count = loop.project.rounds.count
    done = 0
    try:
        for n in range(count + 1):
            if not (loop.round(n) / ROUND).is_file():
                progress.note(f"round {n} of {count}")
                _first_round(loop) if n == 0 else _review_round(loop, n)
            done = n
        if audit:
            _audit(loop)
    except _Waiting as waiting:
        return LoopResult(loop.folder, "waiting", str(waiting), done, None)
    return LoopResult(loop.folder, "done", "", done, _certificate(loop.folder))


def report(directory: str | Path = Path(), *, progress: Progress = SILENT) -> Report:
    """Write a project's ``report.html`` anew from what is on disk.

    Raises:
        InputError: No round is finished.
    """
    return write_report(directory, overwrite=True, progress=progress)


def status(directory: str | Path = Path()) -> LoopResult:
    """Where a loop stands, from what is on disk; changes nothing.

    Raises:
        ConfigError: There is no project.
    """
    folder = Path(directory)
    project = read_project(folder)
    done = [n for n in range(project.rounds.count + 1) if (folder / "rounds" / f"{n:02d}" / ROUND).is_file()]
    finished = (folder / "report.html").is_file() and (folder / "dataset" / COMMIT).is_file()
    waits = "" if finished else "`autolabel loop run`, which goes on from here or says whom it waits for"
    return LoopResult(folder, "done" if finished else "waiting", waits, max(done, default=0), _certificate(folder))


def _first_round(loop: _Loop) -> None:
    """The network of before any review, and what it says about everything."""
    here, project = loop.round(0), loop.project
    if not project.network.weights:
        if not project.corpus.labelled:
            raise ConfigError(
                "gives neither network.weights nor corpus.labelled",
                subject=str(loop.folder / "autolabel.toml"),
                remedy="Give a checkpoint to label with, or labelled poses to train one on.",
            )
        labelled = Manifest.open(loop.path(project.corpus.labelled))
        with loop.timed("train"):
            train_network(
                [(labelled, 1.0)],
                out=here / "model",
                network={"size": project.network.size, **project.network.custom},
                training=project.training,
                subject="autolabel.toml",
                progress=loop.progress,
            )
    _label(loop, 0, None)
    _write_round(loop, 0, trained_on=[])


def _review_round(loop: _Loop, n: int) -> None:
    """Route, review, fine-tune, label anew."""
    here, rounds = loop.round(n), loop.project.rounds
    route(
        loop.round(n - 1) / "scored",
        out=here / "routing",
        max_bad=loop.project.promise.max_bad,
        confidence=loop.project.promise.confidence,
        budget=rounds.budget,
        audit=False,
        random_share=rounds.random_share,
        order=rounds.order,
        seed=rounds.seed + n,
        progress=loop.progress,
    )
    pulled = _reviewed(loop, here)
    trained = sorted(set(_pulled_ids(pulled)) - _calibration_ids(loop, n))
    corrected = with_poses(pulled, trained, out=here / "training", stage="select")
    with loop.timed("train"):
        _fine_tune(loop, n, corrected)
    _label(loop, n, pulled)
    _write_round(loop, n, trained_on=trained)


def _reviewed(loop: _Loop, here: Path) -> Manifest:
    """Send a routing's tasks and bring the answers back.

    Raises:
        _Waiting: Not all of them are there.
    """
    answers = here / "pulled"
    closed = here / "closed.json"
    if closed.is_file():
        return Manifest.open(answers)
    with loop.timed("review"):
        push(here / "routing", project=loop.folder, progress=loop.progress)
        if loop.reviewer is not None:
            loop.reviewer.review(loop.folder)
        pulled = pull(project=loop.folder, out=answers, overwrite=True, progress=loop.progress)
    if pulled.open:
        raise _Waiting(
            f"{pulled.open} tasks to be reviewed: import {loop.folder / 'labelstudio'} into Label Studio, and put its "
            f"JSON export into {loop.folder / 'labelstudio' / 'exports'}"
        )
    write_text(closed, json.dumps({"answered": pulled.answered, "digest": pulled.manifest.digest}) + "\n")
    return pulled.manifest


def _fine_tune(loop: _Loop, n: int, corrected: Manifest) -> None:
    """Go on from the last round's network: corrections, with what it was trained on before in every batch."""
    project, replay = loop.project, loop.project.rounds.replay
    sources = [(corrected, 1 - replay)]
    if project.corpus.labelled and replay > 0:
        sources.append((Manifest.open(loop.path(project.corpus.labelled)), replay))
    train_network(
        sources,
        out=loop.round(n) / "model",
        init=_weights(loop, n - 1),
        dataset=project.network.dataset,
        training={**project.training, **project.finetuning, "seed": project.rounds.seed + n},
        subject="autolabel.toml",
        progress=loop.progress,
    )


def _weights(loop: _Loop, n: int) -> str:
    """The network that labels in round ``n``."""
    if n == 0 and loop.project.network.weights:
        weights = loop.project.network.weights
        return str(loop.path(weights)) if loop.path(weights).exists() else weights
    return str(loop.round(n) / "model")


def _label(loop: _Loop, n: int, pulled: Manifest | None) -> None:
    """Predict everything, lay the corrections over it, refit the calibrator on what was never trained on, score."""
    here = loop.round(n)
    weights = _weights(loop, n)
    with loop.timed("predict"):
        predicted = _predict(loop, _corpus(loop), weights, here / "predicted")
    judged = list[Checked]()
    if loop.project.corpus.calibration:
        held = Manifest.open(loop.path(loop.project.corpus.calibration))
        judged.append(check(_predict(loop, held.path, weights, here / "calibration"), held))
    base = predicted
    if pulled is not None:
        base = merge(predicted, pulled, out=here / "merged", progress=loop.progress).manifest
        if mine := _calibration_ids(loop, n):
            judged.append(check(predicted, with_poses(pulled, mine, out=here / "checked", stage="select")))
    calibrator = here / "calibrator.json"
    if judged and not calibrator.is_file() and _enough(Checked.joined(judged)):
        fit(Checked.joined(judged), out=calibrator, seed=loop.project.rounds.seed)
    fitted = calibrator if calibrator.is_file() else None
    with loop.timed("score"):
        score(base.path, out=here / "scored", calibrator=fitted, progress=loop.progress)


def _enough(checked: Checked) -> bool:
    """Whether a calibrator can be fitted at all; until then the prior ranks."""
    return min(int(checked.bad.sum()), int((~checked.bad).sum())) >= MIN_BAD


def _predict(loop: _Loop, source: Path, weights: str, out: Path) -> Manifest:
    network = loop.project.network
    return predict(
        source,
        weights=weights,
        out=out,
        dataset=network.dataset or None,
        flip_test=network.flip_test,
        progress=loop.progress,
    ).manifest


def _corpus(loop: _Loop) -> Path:
    """The manifest of boxes to label; a project without one takes its images whole."""
    corpus = loop.project.corpus
    if corpus.boxes:
        return loop.path(corpus.boxes)
    scanned = loop.folder / "images"
    scan(loop.path(corpus.images), out=scanned, progress=loop.progress)
    return scanned


def _pulled_ids(pulled: Manifest) -> list[str]:
    return [pose for i in range(pulled.num_parts) for pose in pulled.poses(i).id.tolist()]


def _calibration_ids(loop: _Loop, n: int) -> set[str]:
    """Poses that rounds up to ``n`` drew at random to calibrate on."""
    files = [loop.round(i) / "routing" / "queue.jsonl" for i in range(1, n + 1)]
    tasks = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return {task["pose"] for task in tasks if task["kind"] == "calibration"}


def _audit(loop: _Loop) -> None:
    """Accept what can be proven, prove it, and write the dataset."""
    here, promise = loop.folder / "audit", loop.project.promise
    last = loop.round(loop.project.rounds.count)
    routed = route(
        last / "scored",
        out=here / "routing",
        max_bad=promise.max_bad,
        confidence=promise.confidence,
        budget=promise.audit,
        audit=True,
        seed=loop.project.rounds.seed,
        progress=loop.progress,
    )
    counts = routed.record["counts"]
    tasks = counts["audit"] + counts["review"]
    pulled = _reviewed(loop, here) if tasks else Manifest.open(last / "pulled")
    certified = certify(
        here / "routing", audit=pulled.path, out=loop.folder / CERTIFICATE, overwrite=True, progress=loop.progress
    )
    scored = Manifest.open(last / "scored")
    base = merge(scored, pulled, out=here / "merged", progress=loop.progress).manifest
    _finish(loop, here, base, certified)


def _finish(loop: _Loop, here: Path, base: Manifest, certified: Certificate) -> None:
    """Write the dataset, its COCO file and the report. Without a certificate nothing is accepted."""
    accepted = set((here / "routing" / "accepted.txt").read_text(encoding="utf-8").split()) if certified.issued else ()

    def state(poses: Poses) -> list[str]:
        return [
            "" if a.get("state") in SETTLED else ACCEPTED if pose in accepted else WAITING
            for pose, a in zip(poses.id.tolist(), poses.attributes, strict=True)
        ]

    certificate = hashlib.sha256(json.dumps(certified.to_dict(), sort_keys=True).encode()).hexdigest()
    dataset = with_states(
        base, state, out=loop.folder / "dataset", stage="dataset", config={"certificate": certificate}
    )
    export("coco", dataset.path, out=loop.folder / "coco.json", overwrite=True, progress=loop.progress)
    report(loop.folder, progress=loop.progress)


def _write_round(loop: _Loop, n: int, *, trained_on: list[str]) -> None:
    """The round's numbers; it is finished when they are there."""
    here, corpus = loop.round(n), loop.project.corpus
    labelled = Manifest.open(loop.path(corpus.labelled)).counts["poses"] if corpus.labelled else 0
    test = None
    if corpus.test:
        known = Manifest.open(loop.path(corpus.test))
        test = check(_predict(loop, known.path, _weights(loop, n), here / "test"), known)
    record = round_record(
        n,
        scored=Manifest.open(here / "scored"),
        pulled=here / "pulled",
        trained_on=labelled + len(trained_on),
        truth=loop.truth,
        test=test,
        seconds=loop.seconds,
    )
    loop.seconds.clear()
    write_text(here / ROUND, json.dumps(record, indent=2) + "\n")


def _certificate(folder: Path) -> Certificate | None:
    file = folder / CERTIFICATE
    if not file.is_file():
        return None
    return Certificate.from_dict(json.loads(file.read_text(encoding="utf-8")), subject=str(file))
