"""What each person's answers come to: the table that ``autolabel pull`` prints."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from autolabel.labelstudio.exports import Annotation, latest_versions
from autolabel.merge import Correction, KeypointChange, State, Verdict
from pipelines.console import aligned, readable
from pipelines.pull_answers import Answers


@dataclass(frozen=True)
class PersonCounts:
    """What one person's answers come to, those to check tasks too: they look like all others.

    Attributes:
        by: Who.
        answers: Usable answers about poses, of people who were posed in a whole image too.
        images: Usable answers about whole images.
        keypoints: How many keypoints were kept, moved, added, removed and marked; those of rejected poses left out, and
            of poses whose sides were swapped, where all would count as moved from one side to the other.
        pixels: Median distance of the moved ones in image pixels, None where none was.
        swapped: Poses whose left and right were swapped.
        rejected: Poses that were rejected.
        expert: Poses that were sent to an expert.
        skipped: Tasks that were skipped; they stay open.
        seconds: Median time of an answer, None where none tells it.
    """

    by: str
    answers: int
    images: int
    keypoints: Mapping[str, int]
    pixels: float | None
    swapped: int
    rejected: int
    expert: int
    skipped: int
    seconds: float | None

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, without the name."""
        return {name: value for name, value in asdict(self).items() if name != "by"}


def count_people(answers: Answers, journal: Iterable[Annotation]) -> tuple[PersonCounts, ...]:
    """Count what everybody did, who answered most first.

    Args:
        answers: What all answers come to.
        journal: Every annotation ever pulled; tells what was skipped.
    """
    skipped = Counter(entry.by for entry in latest_versions(journal) if entry.skipped and not entry.deleted)
    images = Counter(check.by for check in answers.images)
    given: dict[str, list[Correction]] = {by: [] for by in sorted({*skipped, *images})}
    for correction in answers.usable:
        given.setdefault(correction.by, []).append(correction)
    people = [_counts(by, own, images[by], skipped[by]) for by, own in given.items()]
    return tuple(sorted(people, key=lambda person: (-person.answers, person.by)))


def told_people(summary: Mapping[str, object], people: Iterable[PersonCounts], kinds: Mapping[str, int]) -> str:
    """The summary as people read it."""
    parts = [readable({name: value for name, value in summary.items() if name not in ("people", "kinds")})]
    head = (
        "by",
        "answers",
        *KeypointChange,
        "median px",
        "swapped",
        "rejected",
        "expert",
        "skipped",
        "images",
        "median s",
    )
    rows = [tuple(map(str, head)), *map(_row, people)]
    if len(rows) > 1:
        parts.append(aligned(rows))
    if kinds:
        parts.append(aligned([("notices", "of kind"), *((f"{count:,}", kind) for kind, count in kinds.items())]))
    return "\n\n".join(parts)


def _counts(by: str, given: list[Correction], images: int, skipped: int) -> PersonCounts:
    changes: Counter[KeypointChange] = Counter()
    distances: list[float] = []
    for correction in given:
        if correction.state is State.REJECTED or Verdict.SWAPPED in correction.verdict:
            continue
        changes.update(correction.keypoints)
        pixels = zip(correction.keypoints, correction.distance.tolist(), strict=True)
        distances += [far for change, far in pixels if change is KeypointChange.MOVED]
    seconds = [c.seconds for c in given if c.seconds is not None]
    return PersonCounts(
        by=by,
        answers=len(given),
        images=images,
        keypoints={change.value: changes[change] for change in KeypointChange},
        pixels=median(distances) if distances else None,
        swapped=sum(Verdict.SWAPPED in c.verdict and c.state is not State.REJECTED for c in given),
        rejected=sum(c.state is State.REJECTED for c in given),
        expert=sum(c.state is State.EXPERT for c in given),
        skipped=skipped,
        seconds=median(seconds) if seconds else None,
    )


def _row(person: PersonCounts) -> tuple[str, ...]:
    changes = (f"{count:,}" for count in person.keypoints.values())
    counts = (f"{count:,}" for count in (person.swapped, person.rejected, person.expert, person.skipped, person.images))
    return (person.by, f"{person.answers:,}", *changes, _number(person.pixels), *counts, _number(person.seconds))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
