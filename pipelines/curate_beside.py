"""What is known beside a manifest when it is shown: the truth, other models' poses, where routing sends, suspicions."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.curate.documents import PREVIOUS, STUDENT, SUSPICION, TRUTH, Beside
from autolabel.errors import FormatError, InputError
from autolabel.manifest import Manifest
from autolabel.poses import Poses, Sample
from autolabel.similarity import compare, mean_similarity, pair_similarity
from autolabel.skeleton import Skeleton
from autolabel.split import Splits, assign_splits, parse_shares
from pipelines.second_opinion import SecondOpinion

ROUTED = ("rejected", "review", "accepted", "audit")
"""Lists of a routing, the later before the earlier."""

_SUSPECTED = 0.5
_DIGITS = 4


@dataclass(frozen=True)
class Neighbours:
    """Everything that a manifest is shown with.

    Attributes:
        skeleton: Of all poses.
        truth: True poses of the same images.
        previous: What the model before said of them.
        student: What another model says of them.
        routed: By pose id, where routing sends it; None where no routing was given.
        suspicion: By pose id, how much its label is suspected; None where no audit of labels was given.
        splits: Where each image goes; None where the data set was not split.
    """

    skeleton: Skeleton
    truth: SecondOpinion | None = None
    previous: SecondOpinion | None = None
    student: SecondOpinion | None = None
    routed: Mapping[str, str] | None = None
    suspicion: Mapping[str, float] | None = None
    splits: Splits | None = None

    @property
    def columns(self) -> list[str]:
        """Names of the attributes that poses get."""
        told = dict.fromkeys(("oks", "ks", "bad", "gross"), self.truth)
        told |= {
            "previous_oks": self.previous,
            "student_oks": self.student,
            "routed": self.routed,
            SUSPICION: self.suspicion,
        }
        return [name for name, source in told.items() if source is not None]

    @property
    def others(self) -> list[str]:
        """Fields of poses of other manifests."""
        given = {TRUTH: self.truth, PREVIOUS: self.previous, STUDENT: self.student}
        return [name for name, source in given.items() if source is not None]

    def of(self, samples: list[Sample]) -> Beside:
        """What is known of some samples."""
        columns = dict[str, Sequence[Any]]()
        ids = [pose for sample in samples for pose in sample.poses.id.tolist()]
        if self.routed is not None:
            columns["routed"] = [self.routed.get(pose) for pose in ids]
        if self.suspicion is not None:
            columns[SUSPICION] = [self.suspicion.get(pose) for pose in ids]
        others = dict[str, list[Poses]]()
        for name, second in ((PREVIOUS, self.previous), (STUDENT, self.student)):
            if second is not None:
                columns[f"{name}_oks"] = _agreement(samples, second, self.skeleton)
                others[name] = [second.theirs(sample) for sample in samples]
        if self.truth is not None:
            others[TRUTH] = [self.truth.theirs(sample) for sample in samples]
            columns |= _by_truth(samples, others[TRUTH], self.skeleton)
        splits = [self.splits(sample) for sample in samples] if self.splits is not None else ()
        return Beside(columns, others, splits)


def neighbours(
    manifest: Manifest,
    *,
    truth: str | Path | None,
    previous: str | Path | None,
    student: str | Path | None,
    routing: str | Path | None,
    suspects: str | Path | None,
    split: str | None,
) -> Neighbours:
    """Open what was given.

    Raises:
        InputError: A manifest has no image of this one, or there is no such routing or file.
        SkeletonError: A manifest has another skeleton.
        FormatError: The suspects cannot be read.
        ConfigError: The shares cannot be used.
    """
    seconds = {
        name: SecondOpinion(manifest, Manifest.open(given)) if given is not None else None
        for name, given in ((TRUTH, truth), (PREVIOUS, previous), (STUDENT, student))
    }
    return Neighbours(
        manifest.skeleton,
        **seconds,
        routed=_routed(Path(routing)) if routing is not None else None,
        suspicion=_suspicion(Path(suspects)) if suspects is not None else None,
        splits=assign_splits(manifest, parse_shares(split)) if split is not None else None,
    )


def _agreement(samples: list[Sample], second: SecondOpinion, skeleton: Skeleton) -> list[float | None]:
    """OKS of each pose with the other manifest's of the same person; None where it has none."""
    other, _ = second.of(samples)
    own = Poses.concat([Poses.empty(skeleton.num_keypoints), *(sample.poses for sample in samples)])
    return _known(mean_similarity(pair_similarity(own, other, skeleton)))


def _by_truth(samples: Sequence[Sample], truth: Sequence[Poses], skeleton: Skeleton) -> dict[str, Sequence[Any]]:
    """Each pose's OKS and its keypoints' similarities, whether it is bad, and which keypoints are gross.

    None where an image has no truth.
    """
    oks, bad, gross = list[float | None](), list[bool | None](), list[list[str] | None]()
    ks = list[list[float] | None]()
    names = np.array(skeleton.keypoints, object)
    for sample, true in zip(samples, truth, strict=True):
        if not len(true):
            for column in (oks, ks, bad, gross):
                column.extend([None] * len(sample.poses))
            continue
        found = compare(sample.poses, true, skeleton)
        oks += _known(found.oks)
        ks += found.ks.round(_DIGITS).tolist()
        bad += found.bad.tolist()
        gross += [names[row].tolist() for row in found.gross]
    return {"oks": oks, "ks": ks, "bad": bad, "gross": gross}


def _routed(folder: Path) -> dict[str, str]:
    if not (folder / "routing.json").is_file():
        raise InputError("is no routing folder", subject=str(folder), remedy="`autolabel route` makes one.")
    return {pose: name for name in ROUTED for pose in _lines(folder / f"{name}.txt")}


def _lines(file: Path) -> Iterator[str]:
    if file.is_file():
        with file.open(encoding="utf-8") as lines:
            yield from (line.strip() for line in lines)


def _suspicion(given: Path) -> dict[str, float]:
    """The labels that ``audit-labels`` suspects, from its folder or its ``suspects.json``."""
    file = given / "suspects.json" if given.is_dir() else given
    try:
        listed = json.loads(file.read_text(encoding="utf-8"))["suspects"]
        return {str(one["pose"]): float(one["score"]) for one in listed if float(one["score"]) >= _SUSPECTED}
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", subject=str(file),
                         remedy="`autolabel audit-labels` writes one.") from error  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"holds no suspects: {error!r}", subject=str(file)) from error


def _known(values: NDArray[np.float64]) -> list[float | None]:
    numbers: list[float] = values.round(_DIGITS).tolist()
    return [None if math.isnan(value) else value for value in numbers]
