"""What the features of a prediction cost: people a second with them and without, each without and with a flip test.

    python -m benchmarks.scores_cost

Two networks with random weights, because what they say does not change how long it takes: the small one of the training
benchmarks, and ViTPose-S. Each predicts the same people of random images in the same arms by turns, so that whatever
else the machine does hits all of them; the least processor time of the turns counts, on a GPU the least time. The bar
is that features cost less than 15 % of the time.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autolabel.skeleton import Skeleton
from benchmarks.pages import DOCS, markdown, write_section
from benchmarks.parity_network import randomise
from benchmarks.results import table, write_result
from benchmarks.training_plan import NETWORK
from model.config import ViTPoseConfig
from model.heads import QualityHead
from model.predict import Predictor
from model.vitpose import build_vitpose

BAR = 0.15
COMMAND = "python -m benchmarks.scores_cost"
NETWORKS: Mapping[str, tuple[ViTPoseConfig, int, int]] = {
    "small": (ViTPoseConfig.model_validate(NETWORK), 64, 6),
    "ViTPose-S": (ViTPoseConfig.of_size("s"), 32, 2),
}
"""Configuration, people and turns."""

Images = Sequence[tuple[Tensor, NDArray[np.float64]]]


def main() -> None:
    torch.set_num_threads(1)
    rows = [row for name in NETWORKS for row in measured(name)]
    print(table(rows))
    worst = max(row["share of features"] for row in rows)
    print(f"features cost at most {worst:.1%} of the time, bar {BAR:.0%}: {'held' if worst < BAR else 'MISSED'}")
    write_section(DOCS / "confidence.md", "cost", section(rows))
    write_result("scores-cost", rows, command=COMMAND, bar=BAR, seed=0, threads=1)


def section(rows: Sequence[Mapping[str, Any]]) -> str:
    """The page's table."""
    lines = [("network", "what is computed", "people/s", "share of the features")]
    lines += [
        (row["network"], row["arm"], f"{row['people/s']:.1f}", f"{100 * row['share of features']:.1f} %")
        for row in rows
    ]
    return markdown(lines)


def measured(name: str) -> list[dict[str, Any]]:
    """A row for each arm of one network."""
    config, people, turns = NETWORKS[name]
    model = build_vitpose(config, Skeleton.load("coco17"))
    randomise(model, 0)
    images = pictures(people)
    arms = {
        "peaks only": bare(Predictor(model)),
        "features": Predictor(model),
        "features, quality head": Predictor(model, quality=QualityHead(config.width, 17)),
        "peaks only, flip test": bare(Predictor(model, flip_test=True)),
        "features, flip test": Predictor(model, flip_test=True),
    }
    least = {arm: float("inf") for arm in arms}
    for turn in range(turns + 1):
        for arm, predictor in arms.items():
            took = seconds(lambda predictor=predictor: list(predictor.predict(images)), predictor.device)
            if turn:  # the first warms up
                least[arm] = min(least[arm], took)
    precision = arms["features"].precision
    return [
        {
            "network": name,
            "arm": arm,
            "people/s": people / took,
            "share of features": 1 - least[f"peaks only{', flip test' * ('flip' in arm)}"] / took,
            "precision": precision,
            "turns": turns,
        }
        for arm, took in least.items()
    ]


def bare(predictor: Predictor) -> Predictor:
    """Makes it read places, peaks and probabilities alone."""
    predictor._reader = replace(predictor._reader, doubts=False)
    return predictor


def pictures(people: int) -> Images:
    """Random images of four people each, of some 100 to 300 pixels."""
    rng = np.random.default_rng(0)
    made: list[tuple[Tensor, NDArray[np.float64]]] = []
    for _ in range(people // 4):
        pixels = torch.from_numpy(rng.integers(0, 256, (3, 480, 640), dtype=np.uint8))
        low, side = rng.uniform(0, 180, (4, 2)), rng.uniform(100, 300, (4, 2))
        made.append((pixels, np.concatenate([low, low + side], axis=1)))
    return made


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """How long work takes: on the CPU this process's processor time, on a GPU until the device is done."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    start = clock()
    work()
    if device.type != "cpu":
        torch.cuda.synchronize(device)
    return clock() - start


if __name__ == "__main__":
    main()
