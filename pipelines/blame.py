"""``autolabel blame``: who or what placed each keypoint of a pose, when, and how far it was moved.

It works on any manifest. Where the manifest was pulled or merged, the ledger beside it tells the whole history;
elsewhere only what the poses say of themselves is known.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from autolabel.blame import Placed, Step, blame_pose
from autolabel.errors import InputError
from autolabel.ledger import LEDGER, read_ledger
from autolabel.manifest import Manifest
from autolabel.poses import Pose, Sample
from autolabel.progress import SILENT, Progress
from pipelines.console import aligned

_IDS = (
    "Ids of poses stand in ledger.jsonl beside what `autolabel pull` and `autolabel merge` wrote, as `pose`, and in"
    " notices.jsonl."
)

_SHOWN = 5
"""Ids that are named when a prefix fits several."""


@dataclass(frozen=True)
class BlameResult:
    """Who or what placed the keypoints of one pose.

    Attributes:
        pose: Id of the pose.
        sample: Key of its image (id, root, path).
        by: Who or what stated the pose last.
        state: Where it stands after a person saw it; "" where nobody did.
        ledger: Whether a ledger lies beside the manifest.
        keypoints: One a keypoint, in the order of the skeleton.
    """

    pose: str
    sample: tuple[str, str, str]
    by: str
    state: str
    ledger: bool
    keypoints: tuple[Placed, ...]

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return asdict(self)

    def table(self) -> str:
        """For people: how each keypoint stands, then what each answer did."""
        rows = [("keypoint", "stands at", "placed by", "since", "moved", "confirmed by"), *map(_row, self.keypoints)]
        head = f"pose {self.pose} in {self.sample[2]}, {self.state or 'seen by nobody'}"
        answers = list(zip(*(placed.steps for placed in self.keypoints), strict=True))
        if not answers:
            return "\n".join([head, aligned(rows), "No answer is known: no ledger beside this manifest tells of one."])
        names = [placed.keypoint for placed in self.keypoints]
        told = [("answered", "by", "task", "seconds", "changed"), *(_answer(steps, names) for steps in answers)]
        return "\n".join([head, aligned(rows), "", aligned(told)])


def blame(manifest: str | Path, pose_id: str, *, progress: Progress = SILENT) -> BlameResult:
    """Say who or what placed each keypoint of a pose.

    Args:
        manifest: A manifest folder.
        pose_id: Id of the pose; its first characters are enough where no other pose's id begins with them.
        progress: Where to report.

    Raises:
        InputError: The id is empty; or no pose, or more than one, has an id that begins so.
        FormatError: The ledger is malformed.
    """
    opened = Manifest.open(manifest)
    if not pose_id:
        raise InputError("the pose's id is empty", subject=str(opened.path), remedy=_IDS)
    sample, pose = _find(opened, pose_id, progress)
    file = opened.path / LEDGER
    history = read_ledger(file, opened.skeleton.num_keypoints, pose.id)
    return BlameResult(
        pose=pose.id,
        sample=sample.key,
        by=pose.by,
        state=str(pose.attributes.get("state", "")),
        ledger=file.is_file(),
        keypoints=blame_pose(pose, history, opened.skeleton),
    )


def _find(manifest: Manifest, wanted: str, progress: Progress) -> tuple[Sample, Pose]:
    """The pose of this id, or else the only one whose id begins so, and its sample."""
    found: list[tuple[int, int]] = []
    names: list[str] = []
    with progress.task("search", manifest.counts["poses"], "pose") as task:
        for i in range(manifest.num_parts):
            ids = manifest.poses(i).id.tolist()
            rows = [row for row, name in enumerate(ids) if name.startswith(wanted)]
            found += [(i, row) for row in rows]
            names += [ids[row] for row in rows]
            task.advance(len(ids))
    if wanted in names:
        found, names = [found[names.index(wanted)]], [wanted]
    if not found:
        raise InputError(
            f"no pose has an id that begins with {wanted!r}",
            subject=str(manifest.path),
            remedy=_IDS,
        )
    if len(found) > 1:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise InputError(
            f"{len(found)} poses have an id that begins with {wanted!r}: {', '.join(names[:_SHOWN])}{more}",
            subject=str(manifest.path),
            remedy="Give more of the id.",
        )
    ((part, row),) = found
    owner = int(manifest.owners(part)[row])
    return manifest.part(part)[owner], manifest.poses(part)[row]


def _row(placed: Placed) -> tuple[str, ...]:
    stands = placed.said if placed.place is None else f"{placed.place[0]:.1f}, {placed.place[1]:.1f} {placed.said}"
    moved = "" if placed.distance is None else f"{placed.distance:.1f} px"
    return placed.keypoint, stands, _hand(placed), _time(placed.since), moved, ", ".join(placed.confirmed)


def _hand(placed: Placed) -> str:
    if placed.origin == "none":
        return "nobody"
    who = placed.by or "unknown"
    return who if placed.origin == "human" else f"{placed.origin} {who}"


def _answer(steps: tuple[Step, ...], names: Sequence[str]) -> tuple[str, ...]:
    first = steps[0]
    changes = [_change(name, step) for name, step in zip(names, steps, strict=True) if step.change != "kept"]
    what = "pose rejected" if first.change == "rejected" else ", ".join(changes) or "nothing"
    task = first.kind if first.laid else f"{first.kind}, laid over nothing"
    seconds = "" if first.seconds is None else f"{first.seconds:.0f}"
    return _time(first.when), first.by, task, seconds, what


def _change(name: str, step: Step) -> str:
    if step.change == "marked":
        return f"{name} marked {step.said}"
    far = "" if step.distance is None or step.change == "removed" else f" {step.distance:.1f} px"
    return f"{name} {step.change}{far}"


def _time(text: str) -> str:
    """A time to the minute, as it was written down."""
    return text[:16].replace("T", " ")
