"""Whether the loop does another round: asked before the round's tasks are sent, told in ``round.json``.

The budget of all rounds is looked at before anything is drawn. What the round would buy is known once it is routed:
the routing that a stop leaves behind was shown to nobody, and is the one that goes out if the settings are changed
before the audit. A round whose tasks were sent goes on, whatever the settings say by then; and once the audit is
drawn nothing is decided anew.
"""

import json
from pathlib import Path

from autolabel.formats.records import Record, read_json
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.tasks import read_task_map
from autolabel.manifest import write_text
from autolabel.planner import Forecast
from autolabel.stop_rule import (
    Cause,
    Stop,
    budget_left,
    nothing_left,
    stop_for_budget,
    stop_for_gain,
)
from pipelines.loop_state import ROUND, Loop, last_pulled, round_folders
from pipelines.measure import Effort
from pipelines.route import ROUTING

STOP = "stop"
"""Key of ``round.json``: why this round was the last one."""


def stop_before(loop: Loop, n: int) -> Stop | None:
    """What ends the rounds before round ``n`` is routed; None where it may be.

    Args:
        loop: The loop.
        n: The round that comes next.
    """
    if (loop.audit / "routing" / ROUTING).is_file():
        kept = read_stop(loop, n - 1)
        return kept if kept is not None and kept.cause is not Cause.COUNT else None
    if _sent(loop, n):
        return None
    return stop_for_budget(_opened(loop), loop.project.rounds.budget_total, loop.project.labelstudio.annotators)


def stop_unsent(loop: Loop, n: int, tasks: int) -> Stop | None:
    """What ends the rounds now that round ``n`` is routed; None where its tasks are to be sent.

    Args:
        loop: The loop.
        n: The round.
        tasks: How many its routing asks for.
    """
    if not tasks:
        return nothing_left()
    if n < 2 or _sent(loop, n):  # the first round is always done: without it no forecast was ever checked
        return None
    foretold = read_json(loop.round(n) / "routing" / ROUTING).get("forecast")
    return stop_for_gain(None if foretold is None else Forecast.from_dict(foretold), loop.project.rounds.least_gain)


def round_budget(loop: Loop) -> int:
    """Tasks that the next round may open: ``rounds.budget``, or what is left of ``rounds.budget_total``."""
    rounds = loop.project.rounds
    return budget_left(rounds.budget, _opened(loop), rounds.budget_total, loop.project.labelstudio.annotators)


def note_stop(loop: Loop, n: int, stop: Stop | None) -> bool:
    """Write into round ``n``'s ``round.json`` why it is the last one, or that it is not; not after the audit's draw.

    Returns:
        Whether that is new.
    """
    file = loop.round(n) / ROUND
    if (loop.audit / "routing" / ROUTING).is_file():
        return False
    record = read_json(file)
    told = stop.to_dict() if stop else None
    if record.get(STOP) == told:
        return False
    write_text(file, json.dumps({**record, STOP: told}, indent=2) + "\n")
    return True


def read_stop(loop: Loop, n: int) -> Stop | None:
    """Why round ``n`` was the last one; None where it was not, or nothing is told.

    Raises:
        FormatError: ``round.json`` is malformed.
    """
    file = loop.round(n) / ROUND
    if not file.is_file():
        return None
    told = read_json(file).get(STOP)
    return Stop.from_record(Record(told, STOP, str(file))) if told is not None else None


def ended(loop: Loop) -> str:
    """With which round the rounds ended, and why, in words; "" where they go on, or nothing is told.

    Rounds beyond ``rounds.count``, which was lowered, are not asked; and once the audit is drawn, the round that it was
    drawn from is.
    """
    last = audited_round(loop)
    if last is None:
        done = [int(here.name) for here in round_folders(loop.folder) if (here / ROUND).is_file()]
        last = max((n for n in done if n <= loop.project.rounds.count), default=0)
    stop = read_stop(loop, last)
    return f"with round {last}: {stop.reason}" if stop else ""


def audited_round(loop: Loop) -> int | None:
    """The round that the audit was drawn from; None before its draw."""
    file = loop.audit / "routing" / ROUTING
    if not file.is_file():
        return None
    drawn_from = Path(str(read_json(file).get("manifest", ""))).parent.name
    return int(drawn_from) if drawn_from.isdecimal() else None


def _opened(loop: Loop) -> int:
    """What people opened in the rounds so far."""
    return Effort.of(last_pulled(loop.folder)).poses_opened


def _sent(loop: Loop, n: int) -> bool:
    """Whether tasks of round ``n`` went out."""
    file = loop.round(n) / "routing" / ROUTING
    if not file.is_file():
        return False
    digest = read_json(file)["digest"]
    return any(record.routing == digest for record in read_task_map(ReviewFolder.of(loop.folder).taskmap).values())
