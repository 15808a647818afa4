"""What the training loop trains: the seam between one loop and everything it can be used for.

Supervised training on one or several datasets (:mod:`model.supervised`) and masked-autoencoder pre-training
(:mod:`model.pretrain`) are two implementations; the loop (:mod:`model.train`) knows neither people nor patches.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from model.draws import RandomNumbers


@dataclass(frozen=True)
class Drawn:
    """What one slice of a step trains on.

    Attributes:
        inputs: What the network's ``forward`` takes.
        targets: What the objective compares its outputs with; the loop hands it on.
    """

    inputs: tuple[Any, ...]
    targets: Any


class Batch(Protocol):
    """Some samples, as the data loader gives them."""

    def to(self, device: torch.device) -> Self:
        """The same samples on a device."""
        ...

    def rows(self, rows: slice) -> Self:
        """Some of them."""
        ...


class Examples(Protocol):
    """Everything that a training draws from, as a map-style dataset.

    Attributes:
        sizes: How many examples each source gave; places run through the sources in order.
    """

    sizes: list[int]

    def __len__(self) -> int:
        """All of them."""
        ...

    def __getitem__(self, places: Sequence[int]) -> Batch:
        """The batch of the examples at ``places``."""
        ...

    def names(self, places: Sequence[int]) -> list[str]:
        """What a person would call them, for errors: the images' paths."""
        ...


class Objective(Protocol):
    """What is trained, and how it is judged.

    Attributes:
        network: Its ``forward`` takes ``Drawn.inputs``. The loop moves it to the device and wraps it for several
            processes.
    """

    network: nn.Module

    def groups(self, weight_decay: float, layer_decay: float) -> list[dict[str, Any]]:
        """Parameters to train, as groups of the optimizer: ``params``, ``weight_decay`` and ``lr_scale``."""
        ...

    def draw(self, batch: Any, draws: RandomNumbers) -> Drawn:
        """Vary a slice of a batch, on its device."""
        ...

    def losses(self, outputs: Any, drawn: Drawn) -> Mapping[str, Tensor]:
        """Scalars, each a mean over the slice's rows: ``loss`` is what is minimised, the rest are its parts."""
        ...

    def metrics(self, outputs: Any, drawn: Drawn) -> Mapping[str, Tensor]:
        """Scalars to show beside the losses; asked for every few steps only."""
        ...

    def save(self, network: nn.Module, folder: Path, metrics: Mapping[str, float]) -> None:
        """Write the checkpoint of ``network``: the trained one, or its moving average."""
        ...
