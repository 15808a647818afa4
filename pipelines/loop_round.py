"""One round of the loop: route, review, fine-tune, let the new network pass or not, label anew, measure."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autolabel.errors import ConfigError
from autolabel.labelstudio.tasks import KINDS
from autolabel.manifest import COMMIT, Manifest, write_text
from autolabel.stop_rule import Stop
from pipelines import calibrate
from pipelines.check import Checked, check
from pipelines.loop_cascade import CALIBRATOR, calibrators_of, labelled_by, pair_of, student_of
from pipelines.loop_cold import boxed_corpus, cold_record, cold_start, first_network
from pipelines.loop_gate import gate
from pipelines.loop_history import check_forecast, history
from pipelines.loop_intact import require_images
from pipelines.loop_learn import Learning, fine_tune, on_base
from pipelines.loop_lint import lint_round
from pipelines.loop_predict import digest_in_force, predicted_by
from pipelines.loop_review import reviewed
from pipelines.loop_state import (
    ROUND,
    Loop,
    asked_skeleton,
    last_pulled,
    read_seconds,
    to_calibrate_on,
)
from pipelines.loop_stop import note_stop, round_budget, stop_before, stop_unsent
from pipelines.loop_student import refresh_student, require_student
from pipelines.measure import Effort, round_record
from pipelines.merge import merge
from pipelines.predicted import predicted_how
from pipelines.route import ROUTING, route
from pipelines.scan import scan
from pipelines.score import score
from pipelines.subset import with_poses


def first_round(loop: Loop) -> None:
    """The network of before any review, and what it says about everything; in a cold start people label first.

    Raises:
        Waiting: A cold start has tasks to answer.
        ConfigError: There is nothing to label with and no skeleton to label anew.
        SkeletonError: The network has another skeleton than the project.
    """
    answers = cold_start(loop)
    trained_on = first_network(loop, answers)
    _label(loop, 0, answers)
    _write_round(loop, 0, learning=Learning(trained_on), gate=None)


def review_round(loop: Loop, n: int) -> Stop | None:
    """Route, review, fine-tune, label anew with the new network, or with the old one if the gate refuses the new.

    Returns:
        Why there is no such round, and the one before was the last; None when the round is finished.

    Raises:
        Waiting: Reviewers have tasks to answer.
        ConfigError: The audit was drawn already.
    """
    here, rounds, promise = loop.round(n), loop.project.rounds, loop.project.promise
    if stop := stop_before(loop, n):
        return stop
    loop.progress.note(f"round {n} of {rounds.count}")
    if not (here / "routing" / ROUTING).is_file():
        _require_no_audit(loop, n)
        require_student(loop, n)
    tasks = routed(
        loop,
        loop.round(n - 1) / "scored",
        out=here / "routing",
        max_bad=promise.max_bad,
        confidence=promise.confidence,
        budget=round_budget(loop),
        audit=False,
        random_share=rounds.random_share,
        portions=_portions(loop),
        order=rounds.order,
        history=history(loop, n),
        seed=rounds.seed + n,
    )
    if stop := stop_unsent(loop, n, sum(tasks.values())):
        return stop
    _require_no_audit(loop, n)
    note_stop(loop, n - 1, None)
    pulled = reviewed(loop, here)
    require_images(loop)
    check_forecast(loop, n, pulled)
    learning = fine_tune(loop, n, pulled)
    judged = gate(loop, n, pulled)
    refresh_student(loop, n, pulled)
    _label(loop, n, pulled)
    _write_round(loop, n, learning=learning, gate=judged)
    return None


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


def require_corpus(loop: Loop) -> None:
    """Refuse settings that would train on what measures, or mix skeletons.

    Raises:
        ConfigError: One image is in two of the manifests that must not share any.
        SkeletonError: A manifest has another skeleton than the project.
    """
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


def _label(loop: Loop, n: int, pulled: Manifest | None) -> None:
    """Predict everything, lay the corrections over it, refit the calibrator on what was never trained on, score."""
    here, pair = loop.round(n), pair_of(loop, n)
    with loop.timed(here, "predict"):
        predicted = labelled_by(loop, pair) if pair else _predict_corpus(loop, n)
    base = predicted
    if pulled is not None:
        base = merge(predicted, pulled, out=here / "merged", progress=loop.progress).manifest
    if pair is None:
        _calibrate(loop, n, predicted, pulled)
    with loop.timed(here, "score"):
        score(base.path, out=here / "scored", calibrator=calibrators_of(loop, n), progress=loop.progress)


def _calibrate(loop: Loop, n: int, predicted: Manifest, pulled: Manifest | None) -> None:
    """Fit the calibrator of the network in force, which labelled everything, where there is enough to fit it to."""
    here, judged = loop.round(n), list[Checked]()
    if held := loop.manifest(loop.project.corpus.calibration):
        judged.append(check(predicted_by(loop, n, held.path, "calibration"), held))
    if pulled is not None and (mine := to_calibrate_on(loop, pulled)):
        judged.append(check(predicted, with_poses(pulled, mine, out=here / "checked", stage="select")))
    calibrator = here / CALIBRATOR
    if judged and not calibrator.is_file() and calibrate.enough(everything := Checked.joined(judged)):
        how = predicted_how(predicted)
        fitted = calibrate.fit(everything, skeleton=predicted.skeleton, how=how, seed=loop.project.rounds.seed)
        fitted.save(calibrator)


def _predict_corpus(loop: Loop, n: int) -> Manifest:
    """The corpus as round ``n``'s network sees it.

    Later rounds label the poses that the first one kept, so that a pose stays the same pose through all of them.
    """
    first, corpus = loop.round(0) / "predicted", loop.project.corpus
    if (first / COMMIT).is_file():
        return predicted_by(loop, n, first, "predicted")
    boxed = boxed_corpus(loop)
    source = boxed or (loop.path(corpus.boxes) if corpus.boxes else loop.folder / "scanned")
    if not (boxed or corpus.boxes):
        scan(loop.path(corpus.images), out=source, progress=loop.progress)
    predicted = predicted_by(loop, n, source, "predicted")
    if asked := asked_skeleton(loop):
        asked.require_same(predicted.skeleton, loop.network(n)[1])
    return predicted


def _write_round(loop: Loop, n: int, *, learning: Learning, gate: Mapping[str, Any] | None) -> None:
    """The round's numbers, and what its gate decided; it is finished when they are there."""
    here, corpus = loop.round(n), loop.project.corpus
    labelled, known = loop.manifest(corpus.labelled), loop.manifest(corpus.test)
    found = lint_round(loop, n)
    scored = Manifest.open(here / "scored")
    record = round_record(
        n,
        model=digest_in_force(loop, n),
        scored=scored,
        effort=Effort.of(last_pulled(loop.folder)),
        trained_on=learning.corrected + (labelled.counts["poses"] if labelled else 0),
        truth=loop.truth,
        test=check(predicted_by(loop, n, known.path, "test"), known) if known else None,
        seconds=read_seconds(here),
        gate=gate,
    )
    record |= {"learning": learning.record, "base": on_base(loop, n), "lint": found}
    if (decided := student_of(here)) is not None:
        pair = pair_of(loop, n)
        record["student"] = {**decided, "cascade": pair.record if pair else None}
    if not n and (cold := cold_record(loop)):
        record["cold"] = cold
    write_text(here / ROUND, json.dumps(record, indent=2) + "\n")
