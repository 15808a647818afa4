"""Suspected label errors, best first: what is wrong with each pose, in words, and the files that say so.

:mod:`autolabel.label_quality` gives numbers a keypoint; a person who opens a label wants to know what to look for
("left and right swapped", "left knee misplaced") and why the tool thinks so. The order is that of the poses' quality.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from autolabel.label_quality import Evidence, LabelQuality
from autolabel.poses import Poses
from autolabel.similarity import keypoint_similarity, similarity_area
from autolabel.skeleton import Skeleton

Kind = Literal["swapped", "shifted", "misplaced", "missing", "implausible"]

WORTH_NAMING = 0.5
"""A keypoint is named beside the worst one if its suspicion is at least this share of the worst one's."""

SWAP_SHARE = 0.5
"""A suspect is called swapped if that suspicion is at least this share of its largest one."""

SPECIFIC = 0.5
"""What networks say is more to the point than that no body has it: that is told only where they have half as much."""

MOST_NAMED = 3

_COLUMNS: tuple[str, ...] = ("rank", "pose", "path", "kind", "what", "score", "keypoints", "why")


@dataclass(frozen=True)
class Suspect:
    """A pose whose label is suspected.

    Attributes:
        rank: From 1, the most suspected.
        pose: Its id.
        row: Its place among the audited poses.
        path: Its image, below the corpus root.
        kind: Which error is suspected.
        what: The same in words, with the keypoints.
        score: 0..1, 1 - the pose's quality.
        keypoints: Names of the suspected keypoints, worst first.
        why: What the networks say.
    """

    rank: int
    pose: str
    row: int
    path: str
    kind: Kind
    what: str
    score: float
    keypoints: tuple[str, ...]
    why: str

    def record(self) -> dict[str, object]:
        """JSON values, without the place in memory."""
        return {name: value for name, value in asdict(self).items() if name != "row"}


def suspects(
    poses: Poses, paths: Sequence[str], quality: LabelQuality, evidence: Evidence, skeleton: Skeleton
) -> list[Suspect]:
    """All poses that something is held against, most suspected first; equal ones in the order of their places.

    Args:
        poses: N labelled poses.
        paths: (N,) their images.
        quality: Of those poses.
        evidence: What the quality was made from.
        skeleton: Gives names.
    """
    score = np.nan_to_num(1 - quality.pose)
    order = np.argsort(-score, kind="stable")
    rows: list[int] = order[score[order] > 0].tolist()
    straight = _label_ks(poses, evidence, skeleton)
    found: list[Suspect] = []
    for row in rows:
        kind, what, named = _what(row, quality, skeleton)
        why = _why(row, kind, named, straight, evidence)
        names = tuple(skeleton.keypoints[k] for k in named)
        found.append(
            Suspect(len(found) + 1, str(poses.id[row]), row, paths[row], kind, what, float(score[row]), names, why)
        )
    return found


def suspects_csv(found: Sequence[Suspect]) -> str:
    """A table for a spreadsheet, with a header."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for suspect in found:
        record = suspect.record()
        writer.writerow({**record, "score": f"{suspect.score:.4f}", "keypoints": " ".join(suspect.keypoints)})
    return buffer.getvalue()


def suspects_json(found: Sequence[Suspect], **about: object) -> str:
    """The same for a program, with what is to be known about all of them."""
    content = {**about, "suspects": [suspect.record() for suspect in found]}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def suspects_table(found: Sequence[Suspect], most: int = 20) -> str:
    """The first ones for people."""
    if not found:
        return "no label is suspected"
    lines = [("rank", "score", "suspected", "image")]
    lines += [(f"{s.rank}", f"{s.score:.2f}", s.what, s.path) for s in found[:most]]
    widths = [max(len(line[i]) for line in lines) for i in range(4)]
    told = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([*told, *([f"and {len(found) - most:,} more"] if len(found) > most else [])])


def counts(found: Sequence[Suspect], least: float = 0.5) -> Mapping[Kind, int]:
    """How many of each kind have at least this score."""
    kinds: tuple[Kind, ...] = ("swapped", "shifted", "misplaced", "missing", "implausible")
    return {kind: sum(s.kind == kind and s.score >= least for s in found) for kind in kinds}


def _what(row: int, quality: LabelQuality, skeleton: Skeleton) -> tuple[Kind, str, list[int]]:
    """The kind of error, in words, and the keypoints that it is about, worst first."""
    misplaced, missing = np.nan_to_num(quality.misplaced[row]), np.nan_to_num(quality.missing[row])
    swapped, unlike = np.nan_to_num(quality.swapped[row]), np.nan_to_num(quality.implausible[row])
    most = max(misplaced.max(initial=0.0), missing.max(initial=0.0))
    if SPECIFIC * unlike.max(initial=0.0) > max(most, swapped.max(initial=0.0)):
        named = _worst(unlike)
        return "implausible", f"{_listed(named, skeleton)} where no body has it", named
    if swapped.size and swapped.max() >= SWAP_SHARE * max(most, swapped.max()) > 0:
        # The largest group that is nearly as much suspected as the most suspected one.
        swap = quality.swaps[int(np.flatnonzero(swapped >= SWAP_SHARE * swapped.max())[0])]
        return "swapped", f"{swap.name} swapped", list(swap.members)
    if missing.max(initial=0.0) > misplaced.max(initial=0.0):
        named = _worst(missing)
        return "missing", f"{_listed(named, skeleton)} missing", named
    named = _worst(misplaced)
    if quality.shifted[row]:
        return "shifted", "whole pose shifted", named
    return "misplaced", f"{_listed(named, skeleton)} misplaced", named


def _worst(suspicion: NDArray[np.float64]) -> list[int]:
    order = np.argsort(-suspicion, kind="stable")
    return order[suspicion[order] >= WORTH_NAMING * suspicion.max()].tolist()


def _listed(named: Sequence[int], skeleton: Skeleton) -> str:
    names = [skeleton.keypoints[k].replace("_", " ") for k in named]
    return ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if names[MOST_NAMED:] else "")


def _why(row: int, kind: Kind, named: Sequence[int], straight: NDArray[np.float64], evidence: Evidence) -> str:
    members = list(named)

    def mean(values: NDArray[np.float64]) -> float:
        its = values[row, members]
        return float(its[np.isfinite(its)].mean()) if np.isfinite(its).any() else float("nan")

    sure = f"peak {mean(evidence['peak']):.2f}, expected KS {mean(evidence['expected_ks']):.2f}"
    if kind == "missing":
        return sure
    if kind == "implausible":
        return f"unlike the other labels; the network has it at KS {straight[row, members[0]]:.2f}, {sure}"
    if kind == "swapped":
        straight_fit, mirror_fit = mean(evidence["label_ks"]), mean(evidence["mirror_ks"])
        return f"{sure}; expected KS of the labels {straight_fit:.2f}, swapped {mirror_fit:.2f}"
    k = members[0]
    return f"{sure}; label at KS {straight[row, k]:.2f}, outside {100 * evidence['level'][row, k]:.0f} % of the map"


def _label_ks(poses: Poses, evidence: Evidence, skeleton: Skeleton) -> NDArray[np.float64]:
    label = np.where(poses.labelled[..., None], poses.xy.astype(np.float64), np.nan)
    return keypoint_similarity(evidence.xy, label, similarity_area(poses), skeleton.sigmas)
