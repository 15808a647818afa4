"""One round of the loop: route, review, fine-tune, let the new network pass or not, label anew, measure."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autolabel.errors import ConfigError
from autolabel.labelstudio.tasks import KINDS
from autolabel.manifest import COMMIT, Manifest, write_text
from pipelines import calibrate
from pipelines.check import Checked, check
from pipelines.loop_gate import gate
from pipelines.loop_history import check_forecast, history
from pipelines.loop_predict import predicted_by
from pipelines.loop_review import reviewed
from pipelines.loop_state import (
    ROUND,
    Loop,
    asked_skeleton,
    last_pulled,
    read_seconds,
    to_calibrate_on,
    to_learn_from,
)
from pipelines.measure import Effort, round_record
from pipelines.merge import merge
from pipelines.predicted import predicted_how
from pipelines.route import ROUTING, route
from pipelines.scan import scan
from pipelines.score import score
from pipelines.subset import with_poses
from pipelines.train import train_network


def first_round(loop: Loop) -> None:
    """The network of before any review, and what it says about everything.

    Raises:
        ConfigError: There is nothing to label with, or one image is in two of the manifests that must not share any.
        SkeletonError: A manifest or the network has another skeleton than the project.
    """
    here, project = loop.round(0), loop.project
    _require_corpus(loop)
    if not project.network.weights:
        labelled = loop.manifest(project.corpus.labelled)
        if labelled is None:
            raise ConfigError(
                "gives neither network.weights nor corpus.labelled",
                subject=loop.settings,
                remedy="Give a checkpoint to label with, or labelled poses to train one on.",
            )
        with loop.timed(here, "train"):
            train_network(
                [(labelled, 1.0)],
                out=here / "model",
                network={"size": project.network.size, **project.network.custom},
                training=project.training,
                subject=loop.settings,
                progress=loop.progress,
            )
    _label(loop, 0, None)
    _write_round(loop, 0, trained_on=0, gate=None)


def review_round(loop: Loop, n: int) -> bool:
    """Route, review, fine-tune, label anew with the new network, or with the old one if the gate refuses the new.

    Returns:
        False when there is nothing left to review.

    Raises:
        Waiting: Reviewers have tasks to answer.
        ConfigError: The audit was drawn already.
    """
    here, rounds, promise = loop.round(n), loop.project.rounds, loop.project.promise
    if not (here / "routing" / ROUTING).is_file():
        _require_no_audit(loop, n)
    tasks = routed(
        loop,
        loop.round(n - 1) / "scored",
        out=here / "routing",
        max_bad=promise.max_bad,
        confidence=promise.confidence,
        budget=rounds.budget,
        audit=False,
        random_share=rounds.random_share,
        portions=_portions(loop),
        order=rounds.order,
        history=history(loop, n),
        seed=rounds.seed + n,
    )
    if not sum(tasks.values()):
        return False
    _require_no_audit(loop, n)
    pulled = reviewed(loop, here)
    check_forecast(loop, n, pulled)
    trained_on = _fine_tune(loop, n, pulled)
    judged = gate(loop, n, pulled)
    _label(loop, n, pulled)
    _write_round(loop, n, trained_on=trained_on, gate=judged)
    return True


def _portions(loop: Loop) -> str:
    """What random draws serve: the calibrator, and the choice of what to accept where no test poses can serve it.

    A share of them compares networks, where the settings ask for that.
    """
    shares = {"calibration": 1.0} if loop.project.corpus.test else {"development": 0.3, "calibration": 0.7}
    kept = loop.project.rounds.gate_share
    shares = {name: share * (1 - kept) for name, share in shares.items()} | ({"gate": kept} if kept else {})
    return ",".join(f"{name}={share:.12g}" for name, share in shares.items())


def routed(loop: Loop, scored: Path, *, out: Path, **settings: Any) -> dict[str, int]:
    """Route, unless that was done: what was drawn once stays drawn, whatever the settings say now.

    Returns:
        How many tasks of each kind there are.
    """
    if (out / ROUTING).is_file():
        record = json.loads((out / ROUTING).read_text(encoding="utf-8"))
    else:
        record = route(scored, out=out, progress=loop.progress, **settings).record
    tasks: dict[str, int] = record.get("spent", record["counts"])  # older routings named them among the counts
    return {kind: tasks[kind] for kind in KINDS if kind in tasks}


def _require_corpus(loop: Loop) -> None:
    """Refuse settings that would train on what measures, or mix skeletons."""
    corpus = loop.project.corpus
    skeleton = asked_skeleton(loop)
    owner: dict[str, str] = {}
    settings = {name: getattr(corpus, name) for name in ("labelled", "calibration", "test")}
    if corpus.base != corpus.test:
        settings["base"] = corpus.base
    for name, setting in settings.items():
        manifest = loop.manifest(setting)
        if manifest is None:
            continue
        skeleton = skeleton or manifest.skeleton
        skeleton.require_same(manifest.skeleton, str(manifest.path))
        for sample in manifest:
            if owner.setdefault(sample.id, name) != name:
                raise ConfigError(
                    f"image {sample.path} is in corpus.{owner[sample.id]} and in corpus.{name}",
                    subject=loop.settings,
                    remedy="What a network learns from, is calibrated on and is tested on must share no image.",
                )


def _require_no_audit(loop: Loop, n: int) -> None:
    if (loop.audit / "routing" / ROUTING).is_file():
        raise ConfigError(
            f"rounds.count asks for round {n}, but the audit was drawn already",
            subject=loop.settings,
            remedy="A second audit would have to share the confidence: set rounds.count back, or start a new project "
            "with this one's last network as network.weights.",
        )


def _fine_tune(loop: Loop, n: int, pulled: Manifest) -> int:
    """Go on from the last round's network: corrections, with what it was trained on before in every batch.

    Where there is nothing new to learn, because all answers are there to calibrate on, the last network stays.

    Returns:
        How many corrected poses there are to learn from.
    """
    here, project, replay = loop.round(n), loop.project, loop.project.rounds.replay
    corrected = with_poses(pulled, to_learn_from(loop, pulled), out=here / "training", stage="select")
    before = loop.round(n - 1) / "training"
    known = Manifest.open(before).digest if (before / COMMIT).is_file() else ""
    if not corrected.counts["poses"] or corrected.digest == known:
        loop.progress.note(f"round {n} brought nothing new to learn from: the last network stays")
        return corrected.counts["poses"]
    sources = [(corrected, 1 - replay)]
    labelled = loop.manifest(project.corpus.labelled)
    if labelled is not None and replay > 0:
        sources.append((labelled, replay))
    with loop.timed(here, "train"):
        train_network(
            sources,
            out=here / "model",
            init=loop.network(n - 1)[1],
            dataset=project.network.dataset,
            training={**project.training, **project.finetuning, "seed": project.rounds.seed + n},
            subject=loop.settings,
            progress=loop.progress,
        )
    return corrected.counts["poses"]


def _label(loop: Loop, n: int, pulled: Manifest | None) -> None:
    """Predict everything, lay the corrections over it, refit the calibrator on what was never trained on, score."""
    here = loop.round(n)
    with loop.timed(here, "predict"):
        predicted = _predict_corpus(loop, n)
    judged = list[Checked]()
    if held := loop.manifest(loop.project.corpus.calibration):
        judged.append(check(predicted_by(loop, n, held.path, "calibration"), held))
    base = predicted
    if pulled is not None:
        base = merge(predicted, pulled, out=here / "merged", progress=loop.progress).manifest
        if mine := to_calibrate_on(loop, pulled):
            judged.append(check(predicted, with_poses(pulled, mine, out=here / "checked", stage="select")))
    calibrator = here / "calibrator.json"
    if judged and not calibrator.is_file() and calibrate.enough(everything := Checked.joined(judged)):
        how = predicted_how(predicted)
        fitted = calibrate.fit(everything, skeleton=predicted.skeleton, how=how, seed=loop.project.rounds.seed)
        fitted.save(calibrator)
    with loop.timed(here, "score"):
        score(
            base.path,
            out=here / "scored",
            calibrator=calibrator if calibrator.is_file() else None,
            progress=loop.progress,
        )


def _predict_corpus(loop: Loop, n: int) -> Manifest:
    """The corpus as round ``n``'s network sees it.

    Later rounds label the poses that the first one kept, so that a pose stays the same pose through all of them.
    """
    first, corpus = loop.round(0) / "predicted", loop.project.corpus
    if (first / COMMIT).is_file():
        return predicted_by(loop, n, first, "predicted")
    source = loop.path(corpus.boxes) if corpus.boxes else loop.folder / "scanned"
    if not corpus.boxes:
        scan(loop.path(corpus.images), out=source, progress=loop.progress)
    predicted = predicted_by(loop, n, source, "predicted")
    if asked := asked_skeleton(loop):
        asked.require_same(predicted.skeleton, loop.network(n)[1])
    return predicted


def _write_round(loop: Loop, n: int, *, trained_on: int, gate: Mapping[str, Any] | None) -> None:
    """The round's numbers, and what its gate decided; it is finished when they are there."""
    here, corpus = loop.round(n), loop.project.corpus
    labelled, known = loop.manifest(corpus.labelled), loop.manifest(corpus.test)
    scored = Manifest.open(here / "scored")
    predicted = Manifest.open(loop.round(loop.network(n)[0]) / "predicted")
    record = round_record(
        n,
        model=next(parent.digest for parent in predicted.parents if parent.role == "weights"),
        scored=scored,
        effort=Effort.of(last_pulled(loop.folder)),
        trained_on=trained_on + (labelled.counts["poses"] if labelled else 0),
        truth=loop.truth,
        test=check(predicted_by(loop, n, known.path, "test"), known) if known else None,
        seconds=read_seconds(here),
        gate=gate,
    )
    write_text(here / ROUND, json.dumps(record, indent=2) + "\n")
