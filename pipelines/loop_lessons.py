"""The poses that a round's network learns from, and their shares of every batch.

Corrections come first; ``corpus.labelled`` is replayed beside them. Of the corrections those count as hard that were
opened because they were doubted, and their share is capped (``rounds.hard_share``, :mod:`autolabel.batch_mix`): where
that binds, what was drawn at random, by rounds of ``order = "random"``, and replay get more, and where both are fewer
than the hard poses, so many accepted poses are drawn as are missing, with what the last network says of them. Open
keypoints of all of them are filled in by the last network (:mod:`pipelines.fill`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.batch_mix import Mix, missing, shares
from autolabel.fill import stated
from autolabel.formats.records import read_json
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.form import PALETTE
from autolabel.labelstudio.tasks import REVIEW, asked, read_task_map
from autolabel.manifest import COMMIT, Manifest
from autolabel.poses import Origin, Poses
from autolabel.route import Order
from pipelines.certify_read import ACCEPTED
from pipelines.fill import Filled, Said, Teacher, fill_open, keep_sure
from pipelines.loop_cascade import pair_of
from pipelines.loop_predict import predicted_with
from pipelines.loop_state import FILLED, Loop, kept_apart, round_folders
from pipelines.pull_answers import Sent
from pipelines.route import ROUTING
from pipelines.score import score
from pipelines.subset import with_poses


@dataclass(frozen=True)
class Lessons:
    """Poses of one kind that a network learns from.

    Attributes:
        name: ``corrected``, or of those ``hard`` and ``random``; ``base`` or ``accepted``.
        manifest: The poses.
        share: Of every batch.
        filled: Keypoints that the last network filled in.
    """

    name: str
    manifest: Manifest
    share: float
    filled: int = 0

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        poses = self.manifest.counts["poses"]
        return {"from": self.name, "poses": poses, "share": round(self.share, 4), "filled": self.filled}


def lessons(loop: Loop, n: int, corrected: Manifest, *, batch: int, steps: int) -> list[Lessons]:
    """What round ``n`` learns from, filled in; the shares are 1 in sum.

    Args:
        loop: The loop.
        n: The round; its routing and its answers are there.
        corrected: Corrected poses that may be learnt from, at least one.
        batch: Crops a step: what would come to less than one of them is left out.
        steps: Of the training: no more of the base is filled in than they can show.
    """
    rounds, here, teacher = loop.project.rounds, loop.round(n) / FILLED, _teacher(loop, n)
    labelled = loop.manifest(loop.project.corpus.labelled) if rounds.replay else None
    hard, random = _by_cause(loop, corrected)
    counts = Mix(len(hard), len(random), labelled.counts["poses"] if labelled else 0)
    wanted = missing(counts, replay=rounds.replay, cap=rounds.hard_share) if teacher else 0
    sure, usable = _sure(loop, n, _accepted(loop, n, wanted), teacher)
    share = shares(replace(counts, accepted=usable), replay=rounds.replay, cap=rounds.hard_share)
    if share.accepted * batch < 1:
        sure, share = None, shares(counts, replay=rounds.replay, cap=rounds.hard_share)
    said = said_by_people(loop.folder, corrected)
    parts = [("corrected", corrected, share.hard + share.random, said)]
    if share.hard >= rounds.hard_share and share.random * batch >= 1:  # the cap may part them
        parts = [
            (name, with_poses(corrected, ids, out=here / name / "poses", stage="select"), part, said)
            for name, ids, part in (("hard", hard, share.hard), ("random", random, share.random))
        ]
    if labelled is not None:
        shown = int(np.ceil(share.base * batch * steps))
        few = _sampled(loop, n, labelled, shown) if teacher else labelled
        parts.append(("base", few, share.base, stated))
    found = [_filled(loop, name, poses, part, its, teacher, here) for name, poses, part, its in parts]
    if sure is not None:
        found.append(Lessons("accepted", sure.manifest, share.accepted, sure.keypoints))
    return found


def said_by_people(folder: Path, pulled: Manifest) -> Said:
    """What people said something about in the poses that they answered.

    Of a large skeleton a task asks about the weakest keypoints alone: what else a pose states there is a network's
    word, which nobody looked at.

    Args:
        folder: The project.
        pulled: Answers, or some of them.
    """
    if pulled.skeleton.num_keypoints <= PALETTE:
        return stated
    looked_at = _looked_at(folder)

    def said(poses: Poses) -> NDArray[np.bool_]:
        everything = np.ones(poses.num_keypoints, bool)
        seen = [looked_at.get(pose, everything) for pose in poses.id.tolist()]
        theirs = np.isin(poses.origin, (Origin.HUMAN, Origin.IMPORTED))
        return stated(poses) & (np.array(seen, bool).reshape(theirs.shape) | theirs)

    return said


def _looked_at(folder: Path) -> dict[str, NDArray[np.bool_]]:
    """(K,) keypoints that tasks of review asked about, by pose."""
    sent = Sent.read(ReviewFolder.of(folder))
    records = {(record.routing, record.pose): record for record in sent.records.values() if record.kind == REVIEW}
    found: dict[str, NDArray[np.bool_]] = {}
    for routing, manifest in sent.manifests.items():
        for sample in manifest:
            for i, name in enumerate(sample.poses.id.tolist()):
                if record := records.get((routing, name)):
                    about = asked(sample.poses[i], record)
                    found[name] = found.get(name, np.zeros_like(about)) | about
    return found


def _teacher(loop: Loop, n: int) -> Teacher | None:
    """The network in force before round ``n`` with its calibrator; None where it is not to teach, or has none."""
    below, calibrator = loop.project.rounds.fill_below, loop.round(n - 1) / "calibrator.json"
    if not below or not calibrator.is_file():
        return None
    weights = loop.network(n - 1)[1]
    return Teacher(lambda source, out: predicted_with(loop, weights, source, out), calibrator, below)


def _filled(
    loop: Loop, name: str, manifest: Manifest, share: float, said: Said, teacher: Teacher | None, here: Path
) -> Lessons:
    filled = fill_open(manifest, said, teacher, out=here / name, progress=loop.progress)
    return Lessons(name, filled.manifest, share, filled.keypoints)


def _by_cause(loop: Loop, corrected: Manifest) -> tuple[list[str], list[str]]:
    """Ids of the corrected poses: those that were opened because they were doubted, and those drawn at random.

    A pose that a rounds' routing did not ask for, such as one that was pushed by hand, counts as doubted.
    """
    files = [here / "routing" / ROUTING for here in round_folders(loop.folder)]
    routings = [read_json(file) for file in files if file.is_file()]
    by_lot = {record["digest"] for record in routings if record.get("order") == Order.RANDOM}
    records = read_task_map(ReviewFolder.of(loop.folder).taskmap).values()
    drawn = {record.pose for record in records if record.kind == REVIEW and record.routing in by_lot}
    ids = _ids(corrected)
    return [pose for pose in ids if pose not in drawn], [pose for pose in ids if pose in drawn]


def _accepted(loop: Loop, n: int, count: int) -> list[str]:
    """So many of the poses that round ``n``'s routing accepts, drawn by lot; none that measures or was sent to people.

    Poses that a network taught itself calibrate and choose nothing later (:func:`pipelines.loop_state.taught`), so that
    their doubt, which no answer checks, may come out too small. The audit is drawn from all of them and sees that. What
    was drawn once stays drawn.
    """
    file = loop.round(n) / "routing" / ACCEPTED
    if not count or not file.is_file():
        return []
    before = loop.round(n) / FILLED / "accepted" / "poses"
    if (before / COMMIT).is_file():
        return _ids(Manifest.open(before))
    proof, images = kept_apart(loop)
    sent = {record.pose for record in read_task_map(ReviewFolder.of(loop.folder).taskmap).values()}
    scored = Manifest.open(loop.round(n - 1) / "scored")
    measuring = {pose for sample in scored if sample.id in images for pose in sample.poses.id.tolist()}
    free = sorted(set(file.read_text(encoding="utf-8").split()) - proof - sent - measuring)
    return _drawn(free, count, loop.project.rounds.seed, n)


def _sure(loop: Loop, n: int, drawn: Sequence[str], teacher: Teacher | None) -> tuple[Filled | None, int]:
    """What the network is sure of in poses that were drawn, and in how many of them that is anything; None in none."""
    if not drawn or teacher is None:
        return None, 0
    here = loop.round(n) / FILLED / "accepted"
    scored = Manifest.open(loop.round(n - 1) / "scored")
    poses = with_poses(scored, drawn, out=here / "poses", stage="select")
    if pair_of(loop, n - 1):  # a student said most of it, and the network that goes on learning is its teacher
        said = teacher.predict(poses.path, here / "predicted")
        poses = score(said.path, out=here / "scored", calibrator=teacher.calibrator, progress=loop.progress).manifest
    kept = keep_sure(poses, below=teacher.below, out=here / "manifest")
    made = kept.manifest
    usable = sum(int(made.poses(i).labelled.any(axis=1).sum()) for i in range(made.num_parts))
    return (kept, usable) if usable else (None, 0)


def _sampled(loop: Loop, n: int, labelled: Manifest, count: int) -> Manifest:
    """The base, or as many of its poses, drawn by lot, as round ``n`` can show: nothing is filled in for nobody."""
    if labelled.counts["poses"] <= count or not _leaves_open(labelled):
        return labelled
    ids = _drawn(_ids(labelled), count, loop.project.rounds.seed, n)
    return with_poses(labelled, ids, out=loop.round(n) / FILLED / "base" / "poses", stage="select")


def _leaves_open(manifest: Manifest) -> bool:
    return any(not stated(manifest.poses(i)).all() for i in range(manifest.num_parts))


def _ids(manifest: Manifest) -> list[str]:
    return sorted(pose for i in range(manifest.num_parts) for pose in manifest.poses(i).id.tolist())


def _drawn(ids: Sequence[str], count: int, *seed: int) -> list[str]:
    if len(ids) <= count:
        return list(ids)
    rows: list[int] = np.random.default_rng(seed).choice(len(ids), count, replace=False).tolist()
    return [ids[i] for i in rows]
