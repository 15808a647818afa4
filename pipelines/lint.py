"""``autolabel lint``: faults that poses seem to have, with the evidence, before anybody reviews them.

Streams part by part. With a second manifest of the same people, a network's predictions of labels for example, the
evidence is much stronger. Without ``--out`` nothing is written: the table is the result. With it, every pose of the new
manifest carries its findings in ``attributes["lint"]``, and on request mirrored poses have their sides changed back.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.bones import BoneLengths, BonePrior
from autolabel.errors import ConfigError, InputError
from autolabel.ledger import carry_on
from autolabel.lint import Finding, Kind, lint_poses
from autolabel.manifest import Existing, Manifest, ManifestWriter, Parent
from autolabel.merge import SEEN
from autolabel.mirror import repair_mirrored
from autolabel.poses import Poses, Sample, split
from autolabel.prediction_record import carry_over
from autolabel.progress import SILENT, Progress
from autolabel.run import Run, RunState
from autolabel.score import REASONS
from autolabel.skeleton import Skeleton
from pipelines.second_opinion import SecondOpinion

LINT = "lint"
"""Attribute of a pose that holds its findings, and the name of the stage."""

REPAIRED = "lint_repaired"
"""Attribute of a pose whose sides were changed back."""

LEARNT = 20_000
"""Poses that the usual lengths of bones are learnt from; more would not move them."""

EMBEDDING = "embedding"
"""A feature that has a number for each channel, and not for each keypoint."""

_MIRRORED = {"flip_ks": "swap_ks", "swap_ks": "flip_ks"}

EXAMPLES = 3
"""Findings of each kind that the table shows."""


class Mirrored(StrEnum):
    """What becomes of poses that seem to be mirrored."""

    KEEP = "keep"
    REPAIR = "repair"


def mirrored_policy(name: str) -> Mirrored:
    """The policy of this name.

    Raises:
        ConfigError: There is none.
    """
    try:
        return Mirrored(name)
    except ValueError:
        known = ", ".join(policy.value for policy in Mirrored)
        raise ConfigError(f"unknown policy {name!r}", subject="--mirrored", remedy=f"Known: {known}.") from None


@dataclass(frozen=True)
class LintResult:
    """What lint found.

    Attributes:
        out: The manifest with the findings, or None where none was asked for.
        poses: How many were looked at.
        doubted: Poses with a finding.
        compared: Poses of which the second manifest has one too.
        repaired: Mirrored poses whose sides were changed back.
        kinds: Findings by kind.
        examples: Of each kind the first few: image, pose and what it says.
    """

    out: Manifest | None
    poses: int
    doubted: int
    compared: int
    repaired: int
    kinds: Mapping[str, int]
    examples: Mapping[str, tuple[tuple[str, str, str], ...]]

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        written = {} if self.out is None else {"manifest": self.out.path, "digest": self.out.digest}
        return {
            **written,
            "poses": self.poses,
            "doubted": self.doubted,
            "compared": self.compared,
            "repaired": self.repaired,
            "findings": dict(self.kinds),
        }

    def table(self) -> str:
        """For people: findings by kind, and where to look first."""
        lines = [f"{self.doubted:,} of {self.poses:,} poses seem to have a fault"]
        if self.compared:
            lines[0] += f"; {self.compared:,} were compared with a second opinion"
        lines += [f"{kind:<14}{count:>8,}" for kind, count in self.kinds.items()]
        if self.repaired:
            lines.append(f"{self.repaired:,} mirrored poses were repaired")
        for found in self.examples.values():
            lines += [f"{path}  {pose}  {text}" for path, pose, text in found]
        return "\n".join(lines)


@dataclass
class _Tally:
    """What has been found so far."""

    poses: int = 0
    doubted: int = 0
    compared: int = 0
    repaired: int = 0
    kinds: Counter[str] = field(default_factory=Counter[str])
    examples: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict[str, list[tuple[str, str, str]]])

    def add(self, samples: list[Sample]) -> None:
        """Count the findings that the poses of a part carry."""
        for sample in samples:
            for pose, attributes in zip(sample.poses.id.tolist(), sample.poses.attributes, strict=True):
                found: list[dict[str, Any]] = attributes.get(LINT, [])
                self.poses, self.doubted = self.poses + 1, self.doubted + bool(found)
                self.repaired += bool(attributes.get(REPAIRED))
                for finding in found:
                    self.kinds[finding["kind"]] += 1
                    shown = self.examples.setdefault(finding["kind"], [])
                    if len(shown) < EXAMPLES:
                        shown.append((sample.path, pose, finding["text"]))

    def result(self, out: Manifest | None) -> LintResult:
        """As it stands."""
        kinds = {str(kind): self.kinds[kind] for kind in Kind}
        examples = {str(kind): tuple(self.examples.get(kind, ())) for kind in Kind}
        return LintResult(out, self.poses, self.doubted, self.compared, self.repaired, kinds, examples)


def lint(
    manifest: str | Path,
    *,
    against: str | Path | None = None,
    out: str | Path | None = None,
    mirrored: str = Mirrored.KEEP,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> LintResult:
    """Look for faults in a manifest's poses.

    Args:
        manifest: Labels or predictions; of predictions, their features are heard.
        against: Another manifest with the same people: predictions by a network that has not seen these labels. Poses
            are paired by id where ids are shared, by place otherwise.
        out: The manifest to write, with findings; None to write nothing.
        mirrored: What becomes of poses that seem to be mirrored, a :class:`Mirrored`. Those that a person has seen are
            never changed.
        overwrite: Replace another result in ``out``.
        progress: Where to report.

    Raises:
        InputError: Poses are to be repaired and there is no ``out``; the manifests share no image.
        ConfigError: No such policy.
        SkeletonError: The manifests have different skeletons.
        ExistsError: ``out`` holds another result.
    """
    source = Manifest.open(manifest)
    second = Manifest.open(against) if against is not None else None
    policy = mirrored_policy(mirrored)
    if out is None and policy is Mirrored.REPAIR:
        raise InputError("repaired poses need a place", subject=str(source.path), remedy="Give --out.")
    linter = Linter(source, second, policy)
    if out is None:
        return _look(linter, progress)
    inputs = {"manifest": source.digest, **({"against": second.digest} if second is not None else {})}
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    with Run.open(out, LINT, config={"mirrored": policy.value}, inputs=inputs, existing=existing) as run:
        if run.state is not RunState.DONE:
            _work(run.path, linter, inputs, progress)
        written = Manifest.open(run.path)
    tally = _Tally()
    for i in range(written.num_parts):
        tally.add(written.part(i))
    tally.compared = linter.compared() if second is not None else 0
    return tally.result(written)


class Linter:
    """Looks at the parts of a manifest, one by one; what it needs of all of them it reads first.

    Args:
        source: The poses.
        second: Poses of the same people, if there are any.
        mirrored: What becomes of mirrored poses.
        prior: How long bones may be; by default learnt from ``source``.

    Raises:
        InputError: The manifests share no image.
        SkeletonError: The manifests have different skeletons.
    """

    def __init__(
        self,
        source: Manifest,
        second: Manifest | None = None,
        mirrored: Mirrored = Mirrored.KEEP,
        prior: BonePrior | None = None,
    ) -> None:
        self.source = source
        self.mirrored = mirrored
        self.prior = prior or BoneLengths.fit(_first_poses(source, LEARNT), source.skeleton)
        self.second = SecondOpinion(source, second) if second is not None else None

    def part(self, i: int) -> list[Sample]:
        """The samples of part ``i``, every pose with its findings."""
        samples, skeleton = self.source.part(i), self.source.skeleton
        poses = Poses.concat([Poses.empty(skeleton.num_keypoints), *(sample.poses for sample in samples)])
        owner = np.repeat(np.arange(len(samples)), [len(sample.poses) for sample in samples])
        other, features = self.second.of(samples) if self.second is not None else (None, None)
        findings = lint_poses(
            poses,
            owner,
            skeleton,
            features=_of_unseen(self.source.features(i), poses),
            prior=self.prior,
            other=other,
            other_features=features,
        )
        return split(samples, told(poses, findings, skeleton, self.mirrored))

    def compared(self) -> int:
        """How many poses the second manifest has too."""
        if self.second is None:
            return 0
        found = 0
        for i in range(self.source.num_parts):
            other, _ = self.second.of(self.source.part(i))
            found += int(np.isfinite(other.xy).any(axis=(1, 2)).sum())
        return found


def told(poses: Poses, findings: list[list[Finding]], skeleton: Skeleton, mirrored: Mirrored) -> Poses:
    """The poses with their findings as ``attributes["lint"]``, mirrored ones repaired where that is wished.

    What an earlier run found is forgotten. A pose without findings has no such attribute. One whose sides are changed a
    second time is as it was.
    """
    unsaid = [{k: v for k, v in a.items() if k != LINT} for a in poses.attributes]
    turn = np.array([any(f.kind is Kind.MIRRORED for f in found) for found in findings], bool)
    turn &= np.array([a.get("state") not in SEEN for a in poses.attributes], bool)
    turn &= mirrored is Mirrored.REPAIR
    said = [
        {
            **(_turned_over(attributes) if turned else attributes),
            **({LINT: [f.to_dict() for f in found]} if found else {}),
        }
        for attributes, found, turned in zip(unsaid, findings, turn.tolist(), strict=True)
    ]
    return repair_mirrored(poses, turn, skeleton).replace(attributes=said)


def faulty(poses: Poses) -> NDArray[np.bool_]:
    """(N,) poses with a finding that only a person can settle.

    That is any but an empty box which nothing speaks for beside the low peaks of the pose's own network: how much these
    are worth differs from network to network, and the calibrated score has weighed them already.
    """
    return np.array([any(map(_unsettled, attributes.get(LINT, ()))) for attributes in poses.attributes], bool)


def _unsettled(finding: Mapping[str, Any]) -> bool:
    return finding["kind"] != Kind.NOBODY or "oks" in finding["evidence"]


def _turned_over(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a pose once its sides are changed: that they are; and no reasons, which name the old sides."""
    rest = {name: value for name, value in attributes.items() if name not in (REPAIRED, REASONS)}
    return rest if attributes.get(REPAIRED) else {**rest, REPAIRED: True}


def _of_unseen(features: dict[str, NDArray[Any]] | None, poses: Poses) -> dict[str, NDArray[Any]] | None:
    """Features, unknown for poses that a person has seen: there they tell of what was predicted before."""
    if features is None:
        return None
    seen = np.array([a.get("state") in SEEN for a in poses.attributes], bool)
    return {
        name: np.where(seen.reshape(-1, *[1] * (values.ndim - 1)), np.nan, values) for name, values in features.items()
    }


def _first_poses(source: Manifest, most: int) -> Poses:
    """Poses from the first parts on, until there are enough."""
    poses, count = [Poses.empty(source.skeleton.num_keypoints)], 0
    for i in range(source.num_parts):
        poses.append(source.poses(i))
        count += len(poses[-1])
        if count >= most:
            break
    return Poses.concat(poses)


def _look(linter: Linter, progress: Progress) -> LintResult:
    """Look only."""
    tally = _Tally()
    for samples in _parts(linter, set(), progress):
        tally.add(samples[1])
    tally.compared = linter.compared()
    return tally.result(None)


def _work(path: Path, linter: Linter, inputs: Mapping[str, str], progress: Progress) -> None:
    """Write the parts that are not there yet, and commit."""
    source = linter.source
    parents = [Parent(role, digest) for role, digest in inputs.items()]
    writer = ManifestWriter(path, source.skeleton, source.roots, stage=LINT, parents=parents, existing=Existing.RESUME)
    carry_over(source.path, path)
    carry_on(path, source.path)
    for i, samples in _parts(linter, writer.finished_parts(), progress):
        before = [REPAIRED in attributes for attributes in source.poses(i).attributes]
        after = [REPAIRED in attributes for sample in samples for attributes in sample.poses.attributes]
        turned = np.array(before, bool) != np.array(after, bool)
        writer.write_part(i, samples, _turned(source.features(i), turned, source.skeleton))
    writer.commit()


def _turned(
    features: dict[str, NDArray[Any]] | None, turned: NDArray[np.bool_], skeleton: Skeleton
) -> dict[str, NDArray[Any]] | None:
    """The features; those of keypoints with their sides changed where the pose's were.

    What the mirrored image said of the other side it then says of this one, and the reverse.
    """
    if features is None:
        return None
    found = dict(features)
    for name, values in features.items():
        if values.ndim == 2 and values.shape[1] == skeleton.num_keypoints and name != EMBEDDING:
            other = features.get(_MIRRORED.get(name, name), values)
            found[name] = np.where(turned[:, None], other[:, list(skeleton.flip)], values)
    return found


def _parts(linter: Linter, done: set[int], progress: Progress) -> Iterator[tuple[int, list[Sample]]]:
    source = linter.source
    with progress.task("lint", len(source), "image") as task:
        for i in range(source.num_parts):
            if i not in done:
                yield i, linter.part(i)
            task.advance(source.part_length(i))
