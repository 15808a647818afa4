"""The smallest thing that the training loop can train: a line through noisy points. A fake of an objective."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from model.draws import RandomNumbers
from model.objective import Drawn


@dataclass(frozen=True)
class Points:
    """B points: ``x`` (B, 3)."""

    x: Tensor

    def to(self, device: torch.device) -> "Points":
        return Points(self.x.to(device))

    def rows(self, rows: slice) -> "Points":
        return Points(self.x[rows])


class Line:
    """Examples x (n, 3), whose truth is 2 x0 - x1; ``bad`` ones are no numbers."""

    def __init__(self, sizes: Sequence[int] = (20,), bad: Sequence[int] = ()) -> None:
        self.sizes = list(sizes)
        self._x = torch.randn(sum(sizes), 3, generator=torch.Generator().manual_seed(0))
        self._x[list(bad)] = torch.nan

    def __len__(self) -> int:
        return len(self._x)

    def __getitem__(self, places: Sequence[int]) -> Points:
        return Points(self._x[list(places)])

    def names(self, places: Sequence[int]) -> list[str]:
        return [f"{place}.jpg" for place in places]


class Fit:
    """Squared error of ``w x`` and the truth plus drawn noise.

    Args:
        seed: Of the first weights.
        room: Rows at once for which there is memory.
    """

    def __init__(self, seed: int = 0, *, room: int = 1000) -> None:
        torch.manual_seed(seed)
        self.network: nn.Module = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.1), nn.Linear(4, 1))
        self._room = room
        self.seen: list[int] = []

    def groups(self, weight_decay: float, layer_decay: float) -> list[dict[str, Any]]:
        return [{"params": list(self.network.parameters()), "weight_decay": weight_decay, "lr_scale": layer_decay}]

    def draw(self, batch: Points, draws: RandomNumbers) -> Drawn:
        return Drawn((batch.x + 0.1 * draws.normal(3),), 2 * batch.x[:, 0] - batch.x[:, 1])

    def losses(self, outputs: Tensor, drawn: Drawn) -> Mapping[str, Tensor]:
        self.seen.append(len(outputs))
        if len(outputs) > self._room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
        return {"loss": (outputs[:, 0] - drawn.targets).square().mean()}

    def metrics(self, outputs: Tensor, drawn: Drawn) -> Mapping[str, Tensor]:
        return {"size": outputs.detach().abs().mean()}

    def save(self, network: nn.Module, folder: Path, metrics: Mapping[str, float]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: tensor.tolist() for name, tensor in network.state_dict().items()}
        (folder / "line.json").write_text(json.dumps({"tensors": tensors, "metrics": dict(metrics)}))
