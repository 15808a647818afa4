"""The gate of a round: the network that it trained replaces the old one only if that is shown to be right.

Both networks see the poses that random draws kept for a gate (``rounds.gate_share``) and that no earlier gate looked
at, and the base set. People place gate poses without seeing a pre-label: a joint that they left alone would be the old
network's own, and speak for it. ``gate.json`` in the round's folder says what was seen, what was decided and which
poses that used up; from then on :meth:`pipelines.loop_state.Loop.network` names a refused network no more, and the
round labels with the old one. It is written once: a loop that is killed asks no pose twice.

Where nothing is held out (``gate_share = 0``), the base set alone is asked, and refuses only a loss that it shows.

A gate pose whose image belongs together with one that the new network learnt from (a near-duplicate, a frame of the
same video) proves nothing: it is left out, and counted.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import InputError
from autolabel.formats.records import Record, read_json
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.tasks import TO_GATE, read_task_map
from autolabel.manifest import Manifest, write_text
from autolabel.promotion import LEAST_GROUPS, Change, Decision, Pair, changed, decide
from autolabel.run import DONE
from autolabel.skeleton import Skeleton
from autolabel.split import united_groups
from pipelines.check import Checked, check
from pipelines.loop_predict import digest_in_force, digest_of_weights, predicted_by, predicted_of, predicted_with
from pipelines.loop_state import GATE, Loop, taught, to_gate_by, to_learn_from
from pipelines.subset import with_poses

LISTED = 20
"""Poses that are listed as the most changed."""


@dataclass(frozen=True, eq=False)
class _Seen:
    """The same N poses, row by row, as two networks see them.

    Attributes:
        old: With the old network.
        new: With the new one.
        group: (N,) united groups of their images.
    """

    old: Checked
    new: Checked
    group: NDArray[np.uint64]


def gate(loop: Loop, n: int, pulled: Manifest) -> Mapping[str, Any] | None:
    """Decide whether the network that round ``n`` trained replaces the old one; once, however often it is called.

    Args:
        loop: The loop.
        n: The round; its network is trained.
        pulled: All answers so far.

    Returns:
        The content of ``gate.json``; None where the round trained no network.

    Raises:
        FormatError: A ``gate.json`` is malformed.
        InputError: It was decided about other networks than those that lie there.
    """
    here = loop.round(n)
    if not (here / "model" / DONE).is_file():
        return None
    if not (here / GATE).is_file():
        with loop.timed(here, "gate"):
            record = _judged(loop, n, pulled) if loop.project.rounds.gate_share else _judged_by_base(loop, n)
        write_text(here / GATE, json.dumps({**record, "networks": _networks(loop, n)}, indent=2) + "\n")
        stays = "" if record["decision"] == Decision.PROMOTED else "; the old one stays"
        loop.progress.note(f"the network of round {n} is {record['decision']}{stays}: {record['reason']}")
        return read_json(here / GATE)
    decided = read_json(here / GATE)
    _require_same_networks(loop, n, decided)
    return decided


def _networks(loop: Loop, n: int) -> dict[str, str]:
    """Digests of the network that round ``n`` trained and of the one that it may replace."""
    return {"new": digest_of_weights(loop, str(loop.round(n) / "model")), "old": digest_in_force(loop, n - 1)}


def _require_same_networks(loop: Loop, n: int, decided: Mapping[str, Any]) -> None:
    """Refuse a decision about other networks; one of before digests were noted is believed."""
    noted, here = decided.get("networks"), loop.round(n)
    if noted is None:
        return
    other = [name for name, digest in _networks(loop, n).items() if noted.get(name) != digest]
    if other:
        place = here / "model" if "new" in other else loop.round(loop.network(n - 1)[0]) / "predicted"
        raise InputError(
            f"was decided about another network than the one of {place}",
            subject=str(here / GATE),
            remedy=f"Put that network back, or remove {here} to do the round again from the answers that are kept: its "
            "gate then looks at the same poses a second time, which its confidence does not cover.",
        )


def _judged_by_base(loop: Loop, n: int) -> dict[str, Any]:
    """Decide where nothing is held out for a gate, by the base set alone: the content of ``gate.json``."""
    rounds, base = loop.project.rounds, _on_base(loop, n)
    change = None if base is None else _change(base)
    verdict = decide(None, change, base_drop=rounds.base_drop, when_blind=rounds.when_blind)
    return {**verdict.to_dict(), "base_drop": rounds.base_drop}


def _judged(loop: Loop, n: int, pulled: Manifest) -> dict[str, Any]:
    """Compare the networks and decide: the content of ``gate.json``."""
    rounds = loop.project.rounds
    usable, groups, left_out = _gate_poses(loop, n, pulled)
    seen = _on_gate(loop, n, pulled, usable) if groups >= LEAST_GROUPS else None
    base = _on_base(loop, n)
    verdict = decide(
        Change.unseen(len(usable), groups) if seen is None else _change(seen),
        None if base is None else _change(base),
        base_drop=rounds.base_drop,
        when_blind=rounds.when_blind,
        used=usable,
    )
    shown = _prelabelled(loop, usable) if seen else 0
    if shown:
        verdict = replace(verdict, reason=f"{verdict.reason}; {_beside_prelabels(shown, len(usable))}")
    details = _details(seen, pulled.skeleton) if seen else {}
    numbers = {"left_out": left_out, "prelabelled": shown, "base_drop": rounds.base_drop}
    return {**verdict.to_dict(), **numbers, **details}


def _prelabelled(loop: Loop, poses: Collection[str]) -> int:
    """How many gate poses were answered beside a pre-label, as they were sent once."""
    wanted, records = set(poses), read_task_map(ReviewFolder.of(loop.folder).taskmap)
    return sum(r.kind == TO_GATE and not r.blind and r.pose in wanted for r in records.values())


def _beside_prelabels(shown: int, poses: int) -> str:
    return (
        f"{shown} of the {poses} gate poses were answered beside a pre-label of the old network, as older versions "
        "asked, which favours the old one"
    )


def _gate_poses(loop: Loop, n: int, pulled: Manifest) -> tuple[list[str], int, int]:
    """Gate poses that no gate looked at and that resemble nothing learnt from.

    Returns:
        Their ids, the number of their groups, and how many more resemble something learnt from.
    """
    learnt, drawn = [*to_learn_from(loop, pulled), *taught(loop.folder)], to_gate_by(loop, pulled)
    files = [file for file in loop.folder.glob(f"rounds/*/{GATE}") if file.parent != loop.round(n)]
    used = {pose for file in files for pose in Record(read_json(file), "", str(file)).items("used")}
    everything = Manifest.open(loop.round(0) / "predicted")
    wanted = {*learnt, *drawn}
    placed = (
        (pose, sample.key) for part in (everything, pulled) for sample in part for pose in sample.poses.id.tolist()
    )
    image = {pose: key for pose, key in placed if pose in wanted}
    answered = set(image.values())
    keys = zip((sample.key for sample in everything), united_groups(everything).tolist(), strict=True)
    group = {sample: key for sample, key in keys if sample in answered}
    known = {group.get(image[pose]) for pose in learnt if pose in image}
    unused = [pose for pose in drawn if pose not in used and image[pose] in group]
    usable = [pose for pose in unused if group[image[pose]] not in known]
    return usable, len({group[image[pose]] for pose in usable}), len(unused) - len(usable)


def _groups(manifest: Manifest, poses: Collection[str]) -> dict[str, int]:
    """The united group of each of these poses; the whole manifest is read, because any image may link two others."""
    wanted = set(poses)
    return {
        pose: key
        for sample, key in zip(manifest, united_groups(manifest).tolist(), strict=True)
        for pose in wanted.intersection(sample.poses.id.tolist())
    }


def _on_gate(loop: Loop, n: int, pulled: Manifest, poses: Collection[str]) -> _Seen | None:
    """The gate poses with both networks; what the old one says about them was predicted already."""
    here, everything = loop.round(n) / "gate", Manifest.open(loop.round(0) / "predicted")
    truth = with_poses(pulled, poses, out=here / "truth", stage="select")
    asked = with_poses(everything, poses, out=here / "asked", stage="select")
    new = predicted_with(loop, str(loop.round(n) / "model"), asked.path, here / "predicted")
    return _seen(predicted_of(loop, n - 1, asked, here / "old"), new, truth, linked=everything)


def _on_base(loop: Loop, n: int) -> _Seen | None:
    """The base set with both networks; None where there is none, or it has no labelled pose."""
    corpus = loop.project.corpus
    known = loop.manifest(corpus.base or corpus.test)
    if known is None:
        return None
    name = "test" if corpus.base in ("", corpus.test) else "base"
    new = predicted_with(loop, str(loop.round(n) / "model"), known.path, loop.round(n) / name)
    old = predicted_by(loop, n - 1, known.path, name)
    return _seen(old, new, known, linked=old)


def _seen(old: Manifest, new: Manifest, truth: Manifest, *, linked: Manifest) -> _Seen | None:
    """The poses of which the truth says enough to have an OKS with both networks; None where it says that of none."""
    before, after = _measured(old, truth), _measured(new, truth)
    ids = sorted(set(before.poses.id.tolist()).intersection(after.poses.id.tolist()))
    if not ids:
        return None
    group = _groups(linked, ids)
    return _Seen(_in_order(before, ids), _in_order(after, ids), np.array([group[pose] for pose in ids], np.uint64))


def _measured(predicted: Manifest, truth: Manifest) -> Checked:
    checked = check(predicted, truth)
    return checked.take(np.isfinite(checked.oks))


def _in_order(checked: Checked, ids: Sequence[str]) -> Checked:
    row = {pose: i for i, pose in enumerate(checked.poses.id.tolist())}
    return checked.take(np.array([row[pose] for pose in ids], np.intp))


def _change(seen: _Seen) -> Change:
    return changed(Pair(seen.group, seen.new.oks, seen.old.oks, seen.new.bad, seen.old.bad))


def _details(seen: _Seen, skeleton: Skeleton) -> dict[str, Any]:
    """Keypoints that were fixed and broken, and the poses that changed most, with where the old network saw them."""
    fixed, broken = seen.old.gross & ~seen.new.gross, seen.new.gross & ~seen.old.gross
    difference = seen.new.oks - seen.old.oks
    most = np.argsort(-np.abs(difference), kind="stable")[:LISTED]
    return {
        "keypoints": {
            name: {"fixed": int(fixed[:, k].sum()), "broken": int(broken[:, k].sum())}
            for k, name in enumerate(skeleton.keypoints)
        },
        "changed": [
            {
                "pose": str(seen.new.poses.id[i]),
                "oks": float(seen.new.oks[i]),
                "old_oks": float(seen.old.oks[i]),
                "fixed": [skeleton.keypoints[k] for k in np.flatnonzero(fixed[i]).tolist()],
                "broken": [skeleton.keypoints[k] for k in np.flatnonzero(broken[i]).tolist()],
                "old_xy": [[float(v) if np.isfinite(v) else None for v in xy] for xy in seen.old.poses.xy[i]],
            }
            for i in most[difference[most] != 0].tolist()
        ],
    }
