"""What a training that was stopped goes on from: its state on disk, its metrics, its average, its best result."""

import json
import math
import pickle
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from timm.utils import ModelEmaV3  # pyright: ignore[reportPrivateImportUsage]  (it is public)
from torch import nn

from autolabel.errors import CheckpointError
from autolabel.manifest import write_text
from model.tensor_files import write_whole

METRICS = "metrics.jsonl"
STATE = "state.pt"


class Average:
    """An exponential moving average of a network's weights and buffers.

    Args:
        network: What is averaged; copied.
        decay: How much stays at each step, once there is something to average.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._average = ModelEmaV3(network, decay=decay, use_warmup=True)

    @property
    def network(self) -> nn.Module:
        """The averaged network, in evaluation mode."""
        return self._average.module

    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after step ``step``, counted from 0."""
        self._average.update(network, step + 1)


@dataclass
class Standing:
    """Where a training stands.

    Attributes:
        last: The last line of metrics.
        best: Metrics of the best validation, with its ``step``.
        misses: Validations since then.
    """

    last: dict[str, Any] = field(default_factory=dict[str, Any])
    best: dict[str, Any] = field(default_factory=dict[str, Any])
    misses: int = 0

    def judge(self, found: Mapping[str, Any]) -> bool:
        """Whether a validation (with ``validation_score``; higher is better) is the best so far."""
        score = found["validation_score"]
        better = not math.isnan(score) and (not self.best or score > self.best["validation_score"])
        self.misses = 0 if better else self.misses + 1
        if better:
            self.best = dict(found)
        return better

    def gave_up(self, patience: int) -> bool:
        """Whether so many validations brought nothing better."""
        return 0 < patience <= self.misses

    def kept(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def restore(self, kept: Mapping[str, Any]) -> None:
        """The inverse of :meth:`kept`."""
        self.last, self.best, self.misses = dict(kept["last"]), dict(kept["best"]), int(kept["misses"])


@dataclass(frozen=True, eq=False)
class State:
    """Everything that the steps from one on depend on, and where it lies.

    Attributes:
        path: The file.
        identity: JSON values, by what they describe: a state of others is refused.
        network: Trained in place.
        optimizer: Of it.
        scaler: Of gradients in fp16, else None.
        average: Or None.
        standing: Where it stands.
    """

    path: Path
    identity: Mapping[str, Any]
    network: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler | None
    average: Average | None
    standing: Standing

    def save(self, step: int) -> None:
        """Keep everything that the steps from ``step`` on depend on; a save that fails leaves the older state.

        Raises:
            WorkError: It cannot be written, such as when the disk is full.
        """
        state = {
            "step": step,
            "identity": dict(self.identity),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict() if self.scaler is not None else {},
            "average": self.average.network.state_dict() if self.average is not None else {},
            "standing": self.standing.kept(),
        }
        write_whole(self.path, lambda temporary: torch.save(state, temporary))

    def restore(self) -> int:
        """The step to go on with; 0 where there is nothing to go on from.

        Raises:
            CheckpointError: It is damaged, or belongs to another network or recipe.
        """
        if not self.path.is_file():
            return 0
        if not is_zipfile(self.path):  # cut off, or no file of ``torch.save``
            raise self._refused("is damaged")
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            identity = state["identity"]
        except (pickle.UnpicklingError, RuntimeError, KeyError, TypeError) as error:
            raise self._refused(f"is damaged: {error}") from error
        for part, value in self.identity.items():
            if identity.get(part) != value:
                raise self._refused(f"belongs to another {part}")
        try:
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.scaler is not None:
                self.scaler.load_state_dict(state["scaler"])
            if self.average is not None:
                self.average.network.load_state_dict(state["average"])
            self.standing.restore(state["standing"])
            return int(state["step"])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise self._refused(f"is damaged: {error}") from error

    def _refused(self, reason: str) -> CheckpointError:
        return CheckpointError(reason, subject=str(self.path), remedy="Give another --out, or --overwrite.")


Write = Callable[[dict[str, Any]], None]
"""Takes one line of metrics."""


@contextmanager
def metrics_file(path: Path, start: int) -> Generator[Write]:
    """Append lines to ``metrics.jsonl``, after dropping those of steps that will be done again."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    write_text(path, "".join(f"{line}\n" for line in lines if _step_of(line) <= start))
    with path.open("a", encoding="utf-8") as file:

        def write(record: dict[str, Any]) -> None:
            file.write(json.dumps(record) + "\n")
            file.flush()

        yield write


def _step_of(line: str) -> float:
    """The step of a line of metrics; of one that is damaged, by a kill or a power cut, a step beyond all others."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf
