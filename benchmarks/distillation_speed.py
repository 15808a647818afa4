"""People a second, from image files to a manifest, of a teacher and its students.

Everything that ``autolabel predict`` does counts: reading files, cutting crops, the network, features, the manifest.
The networks take turns on the same people, so that whatever else the machine does hits all of them, and the least time
of each counts; the first turn warms up.
"""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from autolabel.manifest import Manifest

TURNS = 3


@dataclass(frozen=True)
class Speed:
    """What networks need for the same people.

    Attributes:
        people: How many there are, by kind.
        seconds: By network, then by kind, the least of all turns.
        turns: That counted.
    """

    people: Mapping[str, int]
    seconds: Mapping[str, Mapping[str, float]]
    turns: int

    def rate(self, network: str) -> float:
        """People a second over all kinds."""
        return sum(self.people.values()) / sum(self.seconds[network].values())

    def rows(self) -> list[dict[str, Any]]:
        """One for each network."""
        return [
            {
                "network": network,
                **{f"{kind} people/s": self.people[kind] / took for kind, took in seconds.items()},
                "people/s": self.rate(network),
                "turns": self.turns,
                "threads": torch.get_num_threads(),
            }
            for network, seconds in self.seconds.items()
        ]


def timed(networks: Mapping[str, Path], boxes: Mapping[str, Manifest], folder: Path, *, turns: int = TURNS) -> Speed:
    """Let networks label the same people by turns.

    Args:
        networks: Checkpoint folders by name.
        boxes: Whom, by kind.
        folder: For what they write, which is removed again.
        turns: How often each is timed, after one that is not.
    """
    seconds = {name: dict.fromkeys(boxes, float("inf")) for name in networks}
    for turn in range(turns + 1):
        for kind, manifest in boxes.items():
            for name, weights in networks.items():
                took = _seconds(weights, manifest, folder)
                if turn:
                    seconds[name][kind] = min(seconds[name][kind], took)
    return Speed({kind: manifest.counts["poses"] for kind, manifest in boxes.items()}, seconds, turns)


def _seconds(weights: Path, manifest: Manifest, folder: Path) -> float:
    from pipelines.predict import predict

    shutil.rmtree(folder, ignore_errors=True)
    start = time.perf_counter()
    predict(manifest.path, weights=weights, out=folder)
    took = time.perf_counter() - start
    shutil.rmtree(folder)
    return took


def ratio(rows: Sequence[Mapping[str, Any]], student: str, teacher: str) -> float | None:
    """How many times as fast a student is; None where one of them was not timed."""
    rates = {row["network"]: row["people/s"] for row in rows}
    return rates[student] / rates[teacher] if student in rates and teacher in rates else None
