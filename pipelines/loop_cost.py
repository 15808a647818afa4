"""What a loop cost so far: what people opened and clicked and how long it took them, and the time of the machine.

Every answer names the routing, or the manifest, whose task it answers, so that what people did is told step by step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autolabel.formats.records import read_json
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.tasks import read_task_map
from pipelines.console import duration
from pipelines.loop_state import last_pulled
from pipelines.measure import every_answer, posed_in_images
from pipelines.route import ROUTING


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


def digest_of_step(here: Path) -> str:
    """Of a step's routing; of a step without one, something that no answer has."""
    file = here / "routing" / ROUTING
    return str(read_json(file)["digest"]) if file.is_file() else "none"


def spent_by_people(folder: Path) -> dict[str, Cost]:
    """What people did, by the digest of the routing, or of the manifest, that asked."""
    pulled = last_pulled(folder)
    if pulled is None:
        return {}
    routing = {key: record.routing for key, record in read_task_map(ReviewFolder.of(folder).taskmap).items()}
    found: dict[str, Cost] = {}
    for answer in every_answer(pulled):
        asked, told = routing.get(answer.task, ""), answer.seconds is not None
        found[asked] = found.get(asked, Cost()) + Cost(1, answer.clicks, answer.seconds or 0.0, int(told))
    for posed in posed_in_images(pulled):
        asked = routing.get(posed.task, "")
        found[asked] = found.get(asked, Cost()) + Cost(0, posed.clicks)
    return found
