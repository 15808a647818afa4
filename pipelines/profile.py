"""``predict --profile``: a table of where the time went.

Threads decode images while the network computes. Beside a GPU another thread cuts crops, and what the network takes is
what the job waits for its answers: "network" is but to tell the GPU what to do. On a CPU, whose cores the network all
has, crops are cut in between. The table says which of the three kinds of work the job waits for.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from autolabel.manifest import write_text
from autolabel.stages import Spent
from pipelines.console import aligned

PROFILE = "profile.json"
TABLE = "profile.txt"

_POSES = (
    *("read manifest", "wait for crops", "network", "wait for answers"),
    *("read the answers", "put together", "write"),
)
_CROPS = ("wait for images", "detect", "cut crops")
_IMAGES = ("read files", "decode")


@dataclass(frozen=True)
class Profile:
    """Where the time of a job went.

    Attributes:
        seconds: By the clock, from the first part to the last.
        images: That were worked through.
        poses: That came out.
        cuts_ahead: Whether a thread of its own cut the crops.
        stages: What every stage took.
    """

    seconds: float
    images: int
    poses: int
    cuts_ahead: bool
    stages: Mapping[str, Spent]

    def write(self, folder: Path) -> Path:
        """Write ``profile.json`` and ``profile.txt``; gives the second."""
        write_text(folder / PROFILE, json.dumps(asdict(self), indent=1) + "\n")
        write_text(folder / TABLE, self.table())
        return folder / TABLE

    def table(self) -> str:
        """As text, a line a stage, with what bounds the job below."""
        rows = [("work", "stage", "seconds", "share", "own CPU s", "ms/image")]
        for work, names in (("poses", _POSES), ("crops", _CROPS), ("images", _IMAGES)):
            rows += [(work, name, *self._numbers(self.stages[name])) for name in names if name in self.stages]
        pace = f"{self.images / self.seconds:.1f} images/s, {self.poses / self.seconds:.1f} poses/s"
        total = f"{self.seconds:.1f} s, {self.images:,} images, {self.poses:,} poses: {pace}"
        return f"{aligned(rows)}\n\n{total}\n{self.bound()}\n"

    def bound(self) -> str:
        """What the job was waiting for, in a sentence."""
        before = {
            "Cutting crops": self._share("cut crops"),
            "Finding people": self._share("detect"),
            "Reading and decoding": self._share("wait for images"),
        }
        idle = self._share("wait for crops") + (0.0 if self.cuts_ahead else sum(before.values()))
        if idle < 0.2:
            return f"The network bounds it: only {idle:.0%} of the time there was no batch for it."
        what = max(before, key=lambda name: before[name])
        return f"{what} bounds it: {idle:.0%} of the time there was no batch for the network."

    def _share(self, name: str) -> float:
        return self.stages[name].seconds / self.seconds if name in self.stages else 0.0

    def _numbers(self, spent: Spent) -> tuple[str, ...]:
        share = f"{spent.seconds / self.seconds:.1%}"
        per_image = f"{1000 * spent.seconds / max(self.images, 1):.2f}"
        return (f"{spent.seconds:.2f}", share, f"{spent.cpu_seconds:.2f}", per_image)
