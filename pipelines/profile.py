"""``predict --profile``: a table of where the time went, thread by thread.

Three kinds of threads work at the same time: those that decode images, one that cuts crops, and the one in which the
network computes, on all cores, and which writes. The job is as fast as the slowest of them; the table says which,
because the others wait for it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from autolabel.manifest import write_text
from autolabel.stages import Spent, Stages
from pipelines.console import aligned

PROFILE = "profile.json"
TABLE = "profile.txt"

_MAIN = ("read manifest", "wait for crops", "network", "read the answers", "put together", "write")
_CUTTING = ("wait for images", "detect", "cut crops")
_DECODING = ("read files", "decode")


@dataclass(frozen=True)
class Profile:
    """Where the time of a job went.

    Attributes:
        seconds: By the clock, from the first part to the last.
        images: That were worked through.
        poses: That came out.
        stages: What every stage took.
    """

    seconds: float
    images: int
    poses: int
    stages: Mapping[str, Spent]

    @classmethod
    def of(cls, stages: Stages, seconds: float, images: int, poses: int) -> "Profile":
        """The profile of a job that is done."""
        return cls(seconds, images, poses, stages.spent())

    def write(self, folder: Path) -> Path:
        """Write ``profile.json`` and ``profile.txt``; gives the second."""
        write_text(folder / PROFILE, json.dumps(asdict(self), indent=1) + "\n")
        write_text(folder / TABLE, self.table())
        return folder / TABLE

    def table(self) -> str:
        """As text, a line a stage, with what bounds the job below."""
        rows = [("thread", "stage", "seconds", "share", "own CPU s", "ms/image")]
        for thread, names in (("main", _MAIN), ("cutting", _CUTTING), ("decoding", _DECODING)):
            rows += [(thread, name, *self._numbers(self.stages[name])) for name in names if name in self.stages]
        pace = f"{self.images / self.seconds:.1f} images/s, {self.poses / self.seconds:.1f} poses/s"
        total = f"{self.seconds:.1f} s, {self.images:,} images, {self.poses:,} poses: {pace}"
        return f"{aligned(rows)}\n\n{total}\n{self.bound()}\n"

    def bound(self) -> str:
        """What the job was waiting for, in a sentence."""
        idle, starved = (self._share(name) for name in ("wait for crops", "wait for images"))
        if idle < 0.1:
            return f"The network bounds it: only {idle:.0%} of the time there was no batch for it."
        if starved < 0.5:
            return f"Cutting crops bounds it: {idle:.0%} of the time there was no batch for the network."
        return f"Reading and decoding bounds it: {idle:.0%} of the time there was no batch for the network."

    def _share(self, name: str) -> float:
        return self.stages[name].seconds / self.seconds if name in self.stages else 0.0

    def _numbers(self, spent: Spent) -> tuple[str, ...]:
        share = f"{spent.seconds / self.seconds:.1%}"
        per_image = f"{1000 * spent.seconds / max(self.images, 1):.2f}"
        return (f"{spent.seconds:.2f}", share, f"{spent.cpu_seconds:.2f}", per_image)
