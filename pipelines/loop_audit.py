"""The last step of the loop: accept what can be proven, prove it, and write the dataset."""

import hashlib
import json
from pathlib import Path

from autolabel.certify import Certificate
from autolabel.errors import ConfigError
from autolabel.manifest import Manifest, write_text
from autolabel.merge import SEEN
from autolabel.poses import Poses
from autolabel.report.rounds import AUDIT
from pipelines.certify import certify
from pipelines.export import export
from pipelines.loop_cascade import calibrators_of, labels_of
from pipelines.loop_dataset import beside_dataset
from pipelines.loop_intact import require_images
from pipelines.loop_review import reviewed
from pipelines.loop_round import routed
from pipelines.loop_state import CERTIFICATE, Loop, last_pulled, read_seconds, to_develop_on
from pipelines.measure import Effort
from pipelines.merge import merge
from pipelines.report import report
from pipelines.route import ROUTING
from pipelines.score import score
from pipelines.subset import with_poses, with_states

ACCEPTED, WAITING = "accepted", "review"
"""States of a pose that no person has seen: claimed by the certificate, or waiting for somebody."""


def audit_and_finish(loop: Loop, last: int) -> Certificate:
    """Draw the audit from what round ``last`` lets accept, have it answered, judge it, write the dataset.

    The accepted poses are frozen before anything about them is answered. What the audit leaves of its budget goes to
    the most doubtful poses that are not accepted, among which the audited ones are not told apart.

    Raises:
        Waiting: Reviewers have tasks to answer.
    """
    here, promise, scored = loop.audit, loop.project.promise, Manifest.open(loop.round(last) / "scored")
    drawn = (here / "routing" / ROUTING).is_file()
    checked, truth = (None, None) if drawn else _checked(loop, last)
    tasks = routed(
        loop,
        scored.path,
        out=here / "routing",
        max_bad=promise.max_bad,
        confidence=promise.confidence,
        budget=promise.audit,
        audit=True,
        checked=checked,
        truth=truth,
        plants=promise.plants,
        blind=promise.blind,
        keypoints=promise.keypoints,
        whole_images=promise.images,
        seed=loop.project.rounds.seed,
    )
    _require_same_round(loop, scored)
    pulled = reviewed(loop, here) if sum(tasks.values()) else None
    require_images(loop)
    answers = pulled.path if pulled else last_pulled(loop.folder)
    judged = certify(
        here / "routing",
        audit=answers or scored.path,
        out=loop.folder / CERTIFICATE,
        overwrite=True,
        progress=loop.progress,
    )
    base = merge(scored, answers, out=here / "merged", progress=loop.progress).manifest if answers else scored
    record = {
        "effort": Effort.of(answers).to_dict(),
        "tasks": {"audit": 0, "review": 0, **tasks},
        "seconds": read_seconds(here),
    }
    write_text(here / AUDIT, json.dumps(record, indent=2) + "\n")
    _finish(loop, base, judged)
    return judged


def _checked(loop: Loop, last: int) -> tuple[Path | None, Path | None]:
    """Poses that neither the last network nor its calibrator learnt from, as these see them, and their truth.

    Those of the test manifest, else those that rounds drew to choose by; None where there are neither.
    """
    known = loop.manifest(loop.project.corpus.test)
    if known is not None:
        predicted = labels_of(loop, last, known.path, "test")
    else:
        pulled = last_pulled(loop.folder)
        drawn = to_develop_on(loop, Manifest.open(pulled)) if pulled else []
        if pulled is None or not drawn:
            _require_no_plants(loop)
            return None, None
        known = Manifest.open(pulled)
        seen = with_poses(Manifest.open(loop.round(0) / "predicted"), drawn, out=loop.audit / "drawn", stage="select")
        predicted = labels_of(loop, last, seen.path, "development")
    scored = score(
        predicted.path,
        out=loop.audit / "checked",
        calibrator=calibrators_of(loop, last),
        progress=loop.progress,
    )
    return scored.manifest.path, known.path


def _require_no_plants(loop: Loop) -> None:
    if loop.project.promise.plants:
        raise ConfigError(
            "promise.plants asks for known errors, but there are no checked poses to take them from",
            subject=loop.settings,
            remedy="Give corpus.test, or a larger rounds.random_share.",
        )


def _require_same_round(loop: Loop, scored: Manifest) -> None:
    routing = json.loads((loop.audit / "routing" / "routing.json").read_text(encoding="utf-8"))
    if routing["manifest_digest"] != scored.digest:
        raise ConfigError(
            f"rounds.count ends with {scored.path}, but the audit was drawn from {routing['manifest']}",
            subject=loop.settings,
            remedy="Set rounds.count back.",
        )


def _finish(loop: Loop, base: Manifest, judged: Certificate) -> None:
    """Write the dataset, what stands beside it and the report. Without a certificate nothing is accepted."""
    accepted = set[str]()
    if judged.issued:
        # The certified set is the beginning of the list: looser ones were proposed, and not proven.
        frozen = (loop.audit / "routing" / "accepted.txt").read_text(encoding="utf-8").split()
        accepted.update(frozen[: judged.population_before])

    def state(poses: Poses) -> list[str]:
        return [
            "" if a.get("state") in SEEN else ACCEPTED if pose in accepted else WAITING
            for pose, a in zip(poses.id.tolist(), poses.attributes, strict=True)
        ]

    certificate = hashlib.sha256(json.dumps(judged.to_dict(), sort_keys=True).encode()).hexdigest()
    dataset = with_states(
        base, state, out=loop.folder / "dataset", stage="dataset", config={"certificate": certificate}
    )
    beside_dataset(loop, dataset, judged)
    export("coco", dataset.path, out=loop.folder / "coco.json", overwrite=True, progress=loop.progress)
    report(loop.folder, overwrite=True, progress=loop.progress)
