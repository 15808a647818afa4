"""Where a loop is, seen from outside, and the moments at which it is killed.

Every step of a loop leaves something, and has done its work when that is there: the commit file of a stage's folder, a
round's numbers, the report. So a step is called by what it leaves, and lasts from what was left before until then. An
undisturbed run tells which steps there are, in which order, and how long each takes.
"""

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

COMMITS = ("manifest.json", "done.json", "routing.json", "data.yaml")
_NO_STEP = frozenset({"autolabel.toml", "seconds.json", "run.json", "images.jsonl"})
_LEAVES = (".json", ".html", ".md")
_OF_LAST = 0.9
"""A moment in the last step lies in this first part of it: no two runs take as long, and then comes nothing."""


@dataclass(frozen=True)
class Step:
    """One step of an undisturbed run.

    Attributes:
        leaves: What it leaves, as a path below the project.
        after: What the step before it leaves; "" for the first.
        seconds: How long it took.
    """

    leaves: str
    after: str
    seconds: float

    @property
    def kind(self) -> str:
        """The step whatever its round: ``scored``, ``audit/merged``."""
        first, _, rest = self.leaves.partition("/")
        return rest.partition("/")[2] if first == "rounds" else self.leaves


@dataclass(frozen=True)
class Moment:
    """When to kill.

    Attributes:
        place: Of its step among all.
        step: The step.
        share: How far into the step, from 0 to 1 by the time that it took undisturbed.
    """

    place: int
    step: Step
    share: float

    @property
    def delay(self) -> float:
        """Seconds from the step's beginning."""
        return self.share * self.step.seconds


def left(project: Path) -> set[str]:
    """What the steps of a loop have left so far, as paths below the project."""
    found = set[str]()
    for folder in (project, *(project / "rounds").glob("*"), project / "audit"):
        found.update(str(here.relative_to(project)) for here in _left(folder))
    review = project / "labelstudio" / "tasks"
    found.update(f"labelstudio/tasks {i}" for i, _ in enumerate(review.glob("*.json"), start=1))
    return found


def _left(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for here in folder.iterdir():
        if here.name.startswith(".") or here.name in _NO_STEP:
            continue
        if here.suffix in _LEAVES or any((here / commit).is_file() for commit in COMMITS):
            yield here


class Watch:
    """Notes what a loop leaves, and when.

    Args:
        project: The project.
    """

    def __init__(self, project: Path) -> None:
        self._project, self._seen = project, dict[str, float]()

    def look(self, now: float) -> None:
        """Look once; what is new counts as left at this time."""
        for name in sorted(left(self._project) - self._seen.keys()):
            self._seen[name] = now

    def has(self, name: str) -> bool:
        """Whether it was left at any time, or is nothing."""
        return not name or name in self._seen

    def steps(self, start: float) -> list[Step]:
        """The steps of a run that began at this time and has ended."""
        made, after, since = list[Step](), "", start
        for name, when in self._seen.items():
            made.append(Step(name, after, when - since))
            after, since = name, when
        return made

    def at(self, steps: Sequence[Step]) -> Step:
        """The step that is under way: the first of which nothing is seen yet."""
        return next((step for step in steps if step.leaves not in self._seen), steps[-1])


def moments(steps: Sequence[Step], kills: int, rng: random.Random) -> list[Moment]:
    """Draw moments over all steps.

    One falls into each kind of step, in a round that is drawn; where there are fewer kills than kinds, into kinds that
    are drawn. The others are spread over the time that the run took, one in each of as many equal parts.

    Args:
        steps: Of an undisturbed run.
        kills: How many.
        rng: Draws.

    Returns:
        In the order of the run.
    """
    kinds = sorted({step.kind for step in steps})
    drawn = kinds if len(kinds) <= kills else rng.sample(kinds, kills)
    chosen = [rng.choice([i for i, step in enumerate(steps) if step.kind == kind]) for kind in drawn]
    made = [Moment(i, steps[i], rng.random() * _most(steps, i)) for i in chosen]
    more, whole = kills - len(drawn), sum(step.seconds for step in steps)
    made += [_moment(steps, (part + rng.random()) / more * whole) for part in range(more)]
    return sorted(made, key=lambda moment: (moment.place, moment.share))


def _moment(steps: Sequence[Step], seconds: float) -> Moment:
    """The moment so many seconds after the beginning."""
    for i, step in enumerate(steps):
        if seconds < step.seconds:
            return Moment(i, step, _most(steps, i) * seconds / step.seconds)
        seconds -= step.seconds
    return Moment(len(steps) - 1, steps[-1], _OF_LAST)


def _most(steps: Sequence[Step], place: int) -> float:
    """The largest share of a step that a moment may lie at."""
    return _OF_LAST if place == len(steps) - 1 else 1.0


def with_server(made: Collection[Moment], kills: int, rng: random.Random) -> set[Moment]:
    """The moments at which the server is killed too: drawn over the whole, one in each of as many equal parts."""
    ordered = sorted(made, key=lambda moment: (moment.place, moment.share))
    kills = min(kills, len(ordered))
    edges = [round(i * len(ordered) / kills) for i in range(kills + 1)] if kills else []
    return {rng.choice(ordered[a:b]) for a, b in pairwise(edges)}
