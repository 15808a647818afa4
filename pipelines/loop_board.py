"""``autolabel loop status``: the whole way in one screen, from what is on disk.

A row for every step says whether it is done, waits, comes next or comes later, what people and machines spent on it so
far, and what it does next. Below stand the forecast of the round under way, how past forecasts held, and the
certificate. Nothing is computed anew and nothing is changed, so that looking is safe, also beside a running loop.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autolabel.certificate import Certificate
from autolabel.formats.records import read_json
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.images import IMAGES, read_images
from autolabel.labelstudio.tasks import read_task_map
from autolabel.manifest import COMMIT, Manifest
from autolabel.merge import CORRECTIONS, read_corrections
from autolabel.planner import Record
from autolabel.run import DONE
from pipelines.console import aligned, duration
from pipelines.loop_history import forecasts
from pipelines.loop_hold import holder
from pipelines.loop_state import CLOSED, ROUND, Loop, last_pulled, read_seconds, round_folders
from pipelines.pull_answers import CHECKS
from pipelines.route import ROUTING

_ROUND = {
    "route": f"routing/{ROUTING}",
    "review": CLOSED,
    "fine-tune": f"model/{DONE}",
    "predict": f"predicted/{COMMIT}",
    "merge": f"merged/{COMMIT}",
    "score": f"scored/{COMMIT}",
    "measure": ROUND,
}
"""What a round does, in its order, and the file that says it is done."""

_FIRST = {"train": f"model/{DONE}", "predict": f"predicted/{COMMIT}", "score": f"scored/{COMMIT}", "measure": ROUND}
_AUDIT = {"draw": f"routing/{ROUTING}", "review": CLOSED, "judge": f"merged/{COMMIT}", "finish": "audit.json"}


@dataclass(frozen=True)
class Cost:
    """What was spent so far.

    Attributes:
        openings: Poses and images that people opened, each opening.
        clicks: Theirs.
        seconds: Theirs, as far as their answers tell.
        timed: Openings that tell.
        machine: Seconds by what was done.
    """

    openings: int = 0
    clicks: int = 0
    seconds: float = 0.0
    timed: int = 0
    machine: Mapping[str, float] = field(default_factory=dict[str, float])

    def __add__(self, other: "Cost") -> "Cost":
        """Both together."""
        names = [*self.machine, *(name for name in other.machine if name not in self.machine)]
        machine = {name: self.machine.get(name, 0.0) + other.machine.get(name, 0.0) for name in names}
        return Cost(
            self.openings + other.openings,
            self.clicks + other.clicks,
            self.seconds + other.seconds,
            self.timed + other.timed,
            machine,
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "openings": self.openings,
            "clicks": self.clicks,
            "hours": round(self.seconds / 3600, 4),
            "timed": self.timed,
            "machine_seconds": {name: round(value, 1) for name, value in self.machine.items()},
        }

    def cells(self) -> tuple[str, ...]:
        """Openings, clicks, time of people and of machines, as a table shows them."""
        spent = sum(self.machine.values())
        return (
            f"{self.openings:,}" if self.openings else "-",
            f"{self.clicks:,}" if self.openings else "-",
            duration(self.seconds) if self.timed else "-",
            duration(spent) if spent else "-",
        )


@dataclass(frozen=True)
class Step:
    """One step of the loop.

    Attributes:
        name: ``round 0`` and so on, ``audit``, ``dataset``.
        state: ``done``; ``waiting`` for people; ``next``, which the loop does when it is run; ``later``; ``skipped``,
            because nothing was left to review; or ``missing``, where a later round is there and this one is gone.
        what: What it waits for, or does next; "" otherwise.
        cost: What it took so far.
    """

    name: str
    state: str
    what: str
    cost: Cost

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {"step": self.name, "state": self.state, "what": self.what, **self.cost.to_dict()}


@dataclass(frozen=True)
class Board:
    """Where a loop stands, step by step.

    Attributes:
        steps: In their order.
        total: What all of it took so far; with it what was pushed beside the rounds.
        at_work: Who runs the loop just now, in words; "" for nobody.
        forecast: What the round under way should find, in words; "" where nothing is forecast.
        record: How the forecasts of past rounds held, in words; "" where none was checked.
        claim: What the audit proved, in words; "" before.
    """

    steps: tuple[Step, ...]
    total: Cost
    at_work: str
    forecast: str
    record: str
    claim: str

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "steps": [step.to_dict() for step in self.steps],
            "cost": self.total.to_dict(),
            "at_work": self.at_work,
            "forecast": self.forecast,
            "forecasts_held": self.record,
            "claim": self.claim,
        }

    def table(self) -> str:
        """For people."""
        head = ("step", "state", "opened", "clicks", "people", "machine", "")
        rows = [head, *((s.name, s.state, *s.cost.cells(), s.what) for s in self.steps)]
        rows.append(("all", "", *self.total.cells(), ""))
        machine = ", ".join(f"{name} {duration(value)}" for name, value in self.total.machine.items())
        told = {
            "machine": machine,
            "forecast": self.forecast,
            "forecasts so far": self.record,
            "certificate": self.claim,
        }
        return "\n".join([aligned(rows), "", *(f"{name}: {text}" for name, text in told.items() if text)])


def board(loop: Loop, waits_for: str, certificate: Certificate | None) -> Board:
    """Read where a loop stands.

    Args:
        loop: The loop.
        waits_for: What it waits for, in words.
        certificate: What the audit proved, once it was judged.
    """
    people = _people(loop.folder)
    steps = tuple(_steps(loop, people, waits_for))
    total = sum(people.values(), sum((Cost(machine=step.cost.machine) for step in steps), Cost()))
    at_work = holder(loop.folder)
    current = next((loop.round(n) for n, step in enumerate(steps) if step.state in ("next", "waiting")), None)
    pairs = forecasts(loop, 1 + max((n for n in range(len(steps)) if loop.finished(n)), default=0))
    return Board(
        steps,
        total,
        at_work=at_work.words() if at_work else "",
        forecast=_forecast(current) if current else "",
        record=Record.of(pairs).words() if pairs else "",
        claim=f"{certificate.claim.rstrip('.')}: {certificate.reason}" if certificate else "",
    )


def _steps(loop: Loop, people: Mapping[str, Cost], waits_for: str) -> Iterator[Step]:
    """Every step; the first that is not done is the one at hand."""
    numbers = [int(here.name) for here in round_folders(loop.folder) if (here / ROUND).is_file()]
    last, at_hand = max(numbers, default=-1), True
    drawn = (loop.audit / "routing" / ROUTING).is_file()
    places = [
        (f"round {n}", loop.round(n), _ROUND if n else _FIRST) for n in range(max(last, loop.project.rounds.count) + 1)
    ]
    for n, (name, here, marks) in enumerate([*places, ("audit", loop.audit, _AUDIT)]):
        spent = people.get(_digest(here), Cost()) + Cost(machine=read_seconds(here))
        is_round = n < len(places)
        if (here / list(marks.values())[-1]).is_file():
            yield Step(name, "done", "", spent)
        elif is_round and n < last:
            yield Step(name, "missing", "a later round is there: see `autolabel loop run`", spent)
        elif is_round and drawn:
            yield Step(name, "skipped", "", spent)
        elif at_hand:
            yield _at_hand(name, here, marks, spent, waits_for)
            at_hand = False
        else:
            yield Step(name, "later", "", spent)
    done = (loop.folder / "dataset" / COMMIT).is_file() and (loop.folder / "coco.json").is_file()
    yield Step("dataset", "done" if done else "next" if at_hand else "later", "", Cost())


def _at_hand(name: str, here: Path, marks: Mapping[str, str], spent: Cost, waits_for: str) -> Step:
    routed, closed = (here / "routing" / ROUTING).is_file(), (here / CLOSED).is_file()
    if routed and not closed and waits_for.startswith("reviewers"):
        return Step(name, "waiting", waits_for.split(". ")[0], spent)
    done = [i for i, mark in enumerate(marks.values()) if (here / mark).is_file()]
    stages = list(marks)
    return Step(name, "next", stages[max(done, default=-1) + 1], spent)


def _digest(here: Path) -> str:
    """Of a step's routing; of a step without one, something that no answer has."""
    file = here / "routing" / ROUTING
    return str(read_json(file)["digest"]) if file.is_file() else "none"


def _people(folder: Path) -> dict[str, Cost]:
    """What people did, by the digest of the routing, or of the manifest, that asked."""
    pulled = last_pulled(folder)
    if pulled is None:
        return {}
    k = Manifest.open(pulled).skeleton.num_keypoints
    checks = read_corrections(pulled / CHECKS, k) if (pulled / CHECKS).is_file() else []
    routing = {key: record.routing for key, record in read_task_map(ReviewFolder.of(folder).taskmap).items()}
    found: dict[str, Cost] = {}
    for answer in (*read_corrections(pulled / CORRECTIONS, k), *checks, *read_images(pulled / IMAGES)):
        asked, told = routing.get(answer.task, ""), answer.seconds is not None
        found[asked] = found.get(asked, Cost()) + Cost(1, answer.clicks, answer.seconds or 0.0, int(told))
    return found


def _forecast(here: Path) -> str:
    file = here / "routing" / ROUTING
    open_ = file.is_file() and not (here / CLOSED).is_file()
    foretold = read_json(file).get("forecast") if open_ else None
    return str(foretold["words"]) if foretold else ""
