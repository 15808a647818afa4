"""``autolabel loop status``: the whole way in one screen, from what is on disk.

A row for every step says whether it is done, waits, comes next or comes later, what people and machines spent on it so
far, and what it does next. Below stand the forecast of the round under way, how past forecasts held, and the
certificate. Nothing is computed anew and nothing is changed, so that looking is safe, also beside a running loop.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autolabel.certificate import Certificate
from autolabel.formats.records import read_json
from autolabel.manifest import COMMIT
from autolabel.planner import Record
from autolabel.run import DONE
from autolabel.stop_rule import Cause
from pipelines.console import aligned, duration
from pipelines.loop_cascade import CASCADE, STUDENT
from pipelines.loop_cost import Cost, digest_of_step, spent_by_people
from pipelines.loop_history import forecasts
from pipelines.loop_hold import holder
from pipelines.loop_lint import FOUND, Found
from pipelines.loop_state import CLOSED, GATE, ROUND, Loop, read_seconds, round_folders
from pipelines.loop_stop import audited_round, ended, read_stop
from pipelines.route import ROUTING

_ROUND = {
    "route": f"routing/{ROUTING}",
    "review": CLOSED,
    "fine-tune": f"model/{DONE}",
    "gate": GATE,
    "predict": f"predicted/{COMMIT}",
    "merge": f"merged/{COMMIT}",
    "score": f"scored/{COMMIT}",
    "lint": FOUND,
    "measure": ROUND,
}
"""What a round does, in its order, and the file that says it is done."""

_FIRST = {
    "train": f"model/{DONE}",
    "predict": f"predicted/{COMMIT}",
    "score": f"scored/{COMMIT}",
    "lint": FOUND,
    "measure": ROUND,
}
_COLD = {"choose images": "cold/cold.json", "box people": f"cold/{CLOSED}", "label": CLOSED, **_FIRST}
"""What round 0 does where people label before there is any network; nobody is boxed where boxes are given."""

_UNFORESEEN = "none: too few checked poses so far to tell what a doubt is worth"

_AUDIT = {"draw": f"routing/{ROUTING}", "review": CLOSED, "judge": f"merged/{COMMIT}", "finish": "audit.json"}


@dataclass(frozen=True)
class Step:
    """One step of the loop.

    Attributes:
        name: ``round 0`` and so on, ``audit``, ``dataset``.
        state: ``done``; ``waiting`` for people; ``next``, which the loop does when it is run; ``later``; ``skipped``,
            because the rounds ended before; or ``missing``, where a later round is there and this one is gone.
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
        gate: What the last gate decided about a new network, in words; "" before the first.
        student: What the last round did about its student, and who placed how many, in words; "" without one.
        lint: What lint found in the last round, in words; "" where it did not look.
        stop: Why the rounds ended, in words; "" before.
        claim: What the audit proved, in words; "" before.
    """

    steps: tuple[Step, ...]
    total: Cost
    at_work: str
    forecast: str
    record: str
    gate: str
    student: str
    lint: str
    stop: str
    claim: str

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "steps": [step.to_dict() for step in self.steps],
            "cost": self.total.to_dict(),
            "at_work": self.at_work,
            "forecast": self.forecast,
            "forecasts_held": self.record,
            "gate": self.gate,
            "student": self.student,
            "lint": self.lint,
            "stop": self.stop,
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
            "gate": self.gate,
            "student": self.student,
            "lint": self.lint,
            "forecast": self.forecast,
            "forecasts so far": self.record,
            "rounds ended": self.stop,
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
    people = spent_by_people(loop.folder)
    steps = tuple(_steps(loop, people, waits_for))
    total = sum(people.values(), sum((Cost(machine=step.cost.machine) for step in steps), Cost()))
    at_work = holder(loop.folder)
    current = next((loop.round(n) for n, step in enumerate(steps) if step.state in ("next", "waiting")), None)
    finished = [n for n in range(len(steps)) if loop.finished(n)]
    last = max(finished, default=0)
    pairs = forecasts(loop, 1 + last)
    return Board(
        steps,
        total,
        at_work=at_work.words() if at_work else "",
        forecast=_forecast(current) if current else "",
        record=Record.of(pairs).words() if pairs else "",
        gate=_gate([loop.round(n) for n in finished]),
        student=_student(loop.round(last)),
        lint=_lint(loop.round(last)),
        stop=ended(loop),
        claim=f"{certificate.claim.rstrip('.')}: {certificate.reason}" if certificate else "",
    )


def _steps(loop: Loop, people: Mapping[str, Cost], waits_for: str) -> Iterator[Step]:
    """Every step; the first that is not done is the one at hand."""
    numbers = [int(here.name) for here in round_folders(loop.folder) if (here / ROUND).is_file()]
    last, at_hand = max(numbers, default=-1), True
    stop, audited = read_stop(loop, last), audited_round(loop)
    needed = last if audited is None else max(last, audited + 1)
    over = (loop.audit / "routing" / ROUTING).is_file() or (stop is not None and stop.cause is not Cause.COUNT)
    places = [
        (f"round {n}", loop.round(n), _round(loop) if n else _first(loop))
        for n in range(max(last, audited or 0, loop.project.rounds.count) + 1)
    ]
    for n, (name, here, marks) in enumerate([*places, ("audit", loop.audit, _AUDIT)]):
        spent = sum(
            (people.get(digest_of_step(part), Cost()) + Cost(machine=read_seconds(part)) for part in _parts(here)),
            Cost(),
        )
        is_round = n < len(places)
        if (here / list(marks.values())[-1]).is_file():
            yield Step(name, "done", _happened(here), spent)
        elif is_round and n < needed:
            later = "a later round is there" if n < last else "the audit was drawn from it"
            yield Step(name, "missing", f"{later}: see `autolabel loop run`", spent)
        elif is_round and n > last >= 0 and over:
            yield Step(name, "skipped", "", spent)
        elif at_hand:
            yield _at_hand(name, here, marks, spent, waits_for)
            at_hand = False
        else:
            yield Step(name, "later", "", spent)
    done = (loop.folder / "dataset" / COMMIT).is_file() and (loop.folder / "coco.json").is_file()
    yield Step("dataset", "done" if done else "next" if at_hand else "later", "", Cost())


def _at_hand(name: str, here: Path, marks: Mapping[str, str], spent: Cost, waits_for: str) -> Step:
    asked = any((part / "routing" / ROUTING).is_file() and not (part / CLOSED).is_file() for part in _parts(here))
    if asked and waits_for.startswith("reviewers"):
        return Step(name, "waiting", waits_for.split(". ")[0], spent)
    done = [i for i, mark in enumerate(marks.values()) if (here / mark).is_file()]
    stages = list(marks)
    return Step(name, "next", stages[max(done, default=-1) + 1], spent)


def _round(loop: Loop) -> Mapping[str, str]:
    """What a later round does."""
    if not loop.project.student.steps:
        return _ROUND
    steps = list(_ROUND.items())
    after = list(_ROUND).index("gate") + 1
    return dict([*steps[:after], ("student", STUDENT), *steps[after:]]) | {"predict": f"{CASCADE}/{COMMIT}"}


def _first(loop: Loop) -> Mapping[str, str]:
    """What round 0 does: where there is nothing to begin with, people label first."""
    settings, cold = loop.project, loop.round(0) / "cold"
    if not cold.is_dir() and (settings.corpus.labelled or settings.network.weights):
        return _FIRST
    boxes = bool(settings.corpus.boxes)
    return {name: mark for name, mark in _COLD.items() if not (boxes and name == "box people")}


def _parts(here: Path) -> tuple[Path, ...]:
    """The folders of a step in which people may be asked: its own, and that of a cold start."""
    return here, here / "cold"


def _happened(here: Path) -> str:
    """What came of a finished round's new network, in words."""
    gate = read_json(here / ROUND).get("gate") if (here / ROUND).is_file() else None
    return f"new network {gate['decision']}" if gate else ""


def _gate(rounds: Sequence[Path]) -> str:
    """What the last of these rounds that trained a network decided about it, in words."""
    for here in reversed(rounds):
        if gate := read_json(here / ROUND).get("gate"):
            return f"the network of round {int(here.name)} is {gate['decision']}: {gate['reason']}"
    return ""


def _student(here: Path) -> str:
    """What a finished round did about its student, in words."""
    told = read_json(here / ROUND).get("student") if (here / ROUND).is_file() else None
    if told is None:
        return ""
    placed = told["cascade"]
    shares = f"; it placed {placed['student']:,} people, and its teacher {placed['teacher']:,}" if placed else ""
    return f"{told['reason']}{shares}"


def _lint(here: Path) -> str:
    """What lint found in a finished round, in words."""
    found = read_json(here / ROUND).get("lint") if (here / ROUND).is_file() else None
    return Found(**found).words() if found else ""


def _forecast(here: Path) -> str:
    file = here / "routing" / ROUTING
    open_ = file.is_file() and not (here / CLOSED).is_file()
    if not open_:
        return ""
    foretold = read_json(file).get("forecast")
    return str(foretold["words"]) if foretold else _UNFORESEEN
