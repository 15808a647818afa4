"""What an arm of the loop's proof costs, and what its poses are worth by the truth, which no arm reads: JSON values.

An arm is told by rounds, and by person: per person what it cost, and how many of the judged joints lie within a tenth
of the longer side of the true box (PCK@0.1) as the first and as the last network place them. Persons are what limits
are drawn over.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.certify import Certificate
from autolabel.manifest import Manifest
from autolabel.merge import CORRECTIONS, Correction, read_corrections
from autolabel.poses import Poses
from autolabel.progress import SILENT
from autolabel.project import read_project
from autolabel.similarity import longer_side
from benchmarks.effort_loop_runs import LOOP, Run, first_project
from pipelines.check import check
from pipelines.loop_state import CERTIFICATE, Loop
from pipelines.measure import seen
from pipelines.predict import predict
from pipelines.pull_answers import CHECKS

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Row = dict[str, Any]

WITHIN = 0.1
"""Of the longer side of the box."""


@dataclass(frozen=True, eq=False)
class Judged:
    """N people's poses by the truth, in the order of their ids.

    Attributes:
        id: (N,)
        group: (N,) numbers of what belongs together.
        bad: (N,) bad poses.
        gross: (N,) gross keypoints.
        scored: (N,) keypoints that the truth says something about.
        hits: (N,) joints within a tenth of the longer side of the box.
        joints: (N,) joints that have a true place.
        oks: (N,) NaN where nothing can be compared.
        seen: (N,) people whose pose somebody opened.
    """

    id: NDArray[np.str_]
    group: NDArray[np.intp]
    bad: Bools
    gross: Floats
    scored: Floats
    hits: Floats
    joints: Floats
    oks: Floats
    seen: Bools

    @classmethod
    def of(cls, labelled: Manifest, truth: Manifest) -> "Judged":
        """Everybody of the truth, as a manifest has them.

        Raises:
            ValueError: Somebody is missing there.
        """
        people = Poses.concat([sample.poses for sample in truth])
        checked = check(labelled, truth)
        order = np.argsort(checked.poses.id)
        ids = checked.poses.id[order]
        if not np.array_equal(ids, np.sort(people.id)):
            raise ValueError(f"{labelled.path} has {len(ids)} of the {len(people)} people")
        side = longer_side(people)[np.argsort(people.id)]
        near = np.nan_to_num(checked.error[order], nan=np.inf) <= WITHIN * side[:, None]
        return cls(
            id=ids,
            group=checked.group[order],
            bad=checked.bad[order],
            gross=checked.gross[order].sum(axis=1).astype(np.float64),
            scored=checked.scored[order].sum(axis=1).astype(np.float64),
            hits=near.sum(axis=1).astype(np.float64),
            joints=np.isfinite(checked.truth[order, :, 0]).sum(axis=1).astype(np.float64),
            oks=checked.oks[order],
            seen=seen(checked.poses)[order],
        )

    def quality(self, which: Bools) -> Row | None:
        """Of the people of an (N,) mask; None of nobody."""
        if not which.any():
            return None
        return {
            "people": int(which.sum()),
            "pck": float(self.hits[which].sum() / self.joints[which].sum()),
            "oks": float(np.nanmean(self.oks[which])),
            "bad": float(self.bad[which].mean()),
            "gross": float(self.gross[which].sum() / self.scored[which].sum()),
        }


def measured(run: Run) -> Row:
    """A finished arm: its rounds, its end, and its people.

    Args:
        run: The arm; its corpus is labelled.
    """
    rounds = [_round(run, here) for here in sorted(run.folder.glob("rounds/[0-9][0-9]"))]
    first, last = (_network(run, n) for n in (0, len(rounds) - 1))
    left = Judged.of(_scored(run, len(rounds) - 1), run.case.truth)
    end = Judged.of(Manifest.open(run.end), run.case.truth)
    cost = _spent(run.answers, end.id)
    return {
        "arm": run.arm,
        "seed": run.seed,
        "rounds": rounds,
        "end": {**cost.total, **_quality(end), "certificate": _certified(run, end)},
        "people": {
            "group": np.unique(end.group, return_inverse=True)[1].tolist(),
            "effort": cost.effort.tolist(),
            "seconds": cost.seconds.tolist(),
            "left": (~left.seen).tolist(),
            "joints": end.joints.tolist(),
            "hits first": first.hits.tolist(),
            "hits last": last.hits.tolist(),
        },
        "held": [_held(run, n) for n in range(len(rounds))],
    }


def _round(run: Run, here: Path) -> Row:
    """What stood after a round: what it had cost, and the poses that nobody has opened."""
    n = int(here.name)
    now, before = Judged.of(_scored(run, n), run.case.truth), _network(run, 0)
    record = json.loads((here / "round.json").read_text(encoding="utf-8"))
    pulled = here / "pulled"
    cost = _spent(pulled if n else None, now.id)
    return {
        "round": n,
        **cost.total,
        **_quality(now),
        "untouched": now.quality(~now.seen),
        "untouched, first network": before.quality(~now.seen),
        "proposed": _proposed(run, n, now),
        "base": record.get("base"),
        "trained on": record["trained_on"],
        "gate": None if record["gate"] is None else record["gate"]["decision"],
        "seconds of machine": record["seconds"],
    }


def _quality(judged: Judged) -> Row:
    """Of the whole corpus, whoever placed its poses."""
    return {"corpus": judged.quality(np.ones(len(judged.id), bool)), "opened poses": int(judged.seen.sum())}


def _proposed(run: Run, n: int, now: Judged) -> Row | None:
    """What the routing after a round would accept without a look, and the true share of bad poses in it."""
    following = run.folder / "rounds" / f"{n + 1:02d}" / "routing"
    routing = following if following.is_dir() else run.folder / "audit" / "routing"
    if not (routing / "accepted.txt").is_file():
        return None
    accepted = np.isin(now.id, (routing / "accepted.txt").read_text(encoding="utf-8").split())
    return {"share": float(accepted.mean()), "bad": float(now.bad[accepted].mean()) if accepted.any() else None}


def _certified(run: Run, end: Judged) -> Row | None:
    """What the audit proved, and whether it is true."""
    file = run.folder / CERTIFICATE
    if run.arm != LOOP or not file.is_file():
        return None
    judged = Certificate.from_dict(json.loads(file.read_text(encoding="utf-8")), subject=str(file))
    names = (run.folder / "audit" / "routing" / "accepted.txt").read_text(encoding="utf-8").split()
    accepted = np.isin(end.id, names[: judged.population_before]) if judged.issued else np.zeros(len(end.id), bool)
    return {
        "issued": judged.issued,
        "reason": judged.reason,
        "accepted": int(accepted.sum()),
        "share": float(accepted.mean()),
        "true bad": float(end.bad[accepted].mean()) if accepted.any() else None,
        "max_bad": float(run.case.plan.settings["promise"]["max_bad"]),
    }


def _held(run: Run, n: int) -> Row | None:
    """What the network in force after a round says of people outside the corpus."""
    owner, weights = _loop(run).network(n)
    folder = run.folder if owner else first_project(run.case)
    predicted = predict(run.case.held.path, weights=weights, out=folder / "held" / f"{owner:02d}", flip_test=True)
    judged = Judged.of(predicted.manifest, run.case.held)
    return judged.quality(np.ones(len(judged.id), bool))


def _scored(run: Run, n: int) -> Manifest:
    """The corpus as it stands after a round."""
    return Manifest.open(_loop(run).round(n) / "scored")


def _network(run: Run, n: int) -> Judged:
    """What the network in force after a round says of the whole corpus, whoever opened it."""
    project = _loop(run)
    return Judged.of(Manifest.open(project.round(project.network(n)[0]) / "predicted"), run.case.truth)


def _loop(run: Run) -> Loop:
    return Loop(run.folder, read_project(run.folder), None, None, SILENT)


@dataclass(frozen=True, eq=False)
class _Cost:
    """What people did, told by person of the corpus; what was done about others is dealt out evenly.

    Attributes:
        effort: (N,) clicks and openings.
        seconds: (N,)
        total: The sums.
    """

    effort: Floats
    seconds: Floats
    total: dict[str, float]


def _spent(answers: Path | None, ids: NDArray[np.str_]) -> _Cost:
    """What the answers of a pull cost; nothing without any."""
    clicks, opened, seconds = np.zeros(len(ids)), np.zeros(len(ids)), np.zeros(len(ids))
    found = list[Correction]()
    if answers is not None:
        k = Manifest.open(answers).skeleton.num_keypoints
        for file in (answers / CORRECTIONS, answers / CHECKS):
            found += read_corrections(file, k) if file.is_file() else []
    row = {pose: i for i, pose in enumerate(ids.tolist())}
    for one in found:
        place, share = (row[one.pose], 1.0) if one.pose in row else (slice(None), 1 / len(ids))
        clicks[place] += share * one.clicks
        opened[place] += share
        seconds[place] += share * (one.seconds or 0.0)
    total = {"clicks": float(clicks.sum()), "openings": float(opened.sum()), "seconds": float(seconds.sum())}
    return _Cost(clicks + opened, seconds, {name: round(value, 6) for name, value in total.items()})
