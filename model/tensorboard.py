"""A training's metrics for TensorBoard, where that is installed; it is no dependency of ours.

``metrics.jsonl`` holds the same numbers and is what everything else reads. This is for those who watch many
trainings at once, beside others of theirs.
"""

import math
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

_VALIDATION = "validation_"


class Writer(Protocol):
    """Where a training's numbers are shown while it runs."""

    def write(self, record: Mapping[str, object], step: int) -> None:
        """Show a line of metrics; what is no number is passed over."""
        ...

    def close(self) -> None:
        """Finish."""
        ...


class Scalars(Protocol):
    """What is used of ``torch.utils.tensorboard.SummaryWriter``."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        """A point of the curve ``tag``."""
        ...

    def flush(self) -> None:
        """Write what was added to the file."""
        ...

    def close(self) -> None:
        """Finish the file."""
        ...


def open_writer(folder: str | Path, *, start: int = 0) -> Writer | None:
    """A writer of event files, or None where TensorBoard is not installed.

    Args:
        folder: Where to; ``tensorboard --logdir`` of it or of any folder above shows them.
        start: The step a training goes on from: points beyond it, of a run that was killed, are dropped; all of them
            where it was killed before its first saved state.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    # The first step to come is start + 1; TensorBoard drops older points from ``purge_step`` on.
    events: Any = SummaryWriter(str(folder), purge_step=start + 1)
    return EventWriter(events)


@contextmanager
def board(folder: str | Path, start: int) -> Generator[Callable[[dict[str, Any]], None]]:
    """What shows lines of metrics in TensorBoard; shows nothing where that is not installed.

    Args:
        folder: As :func:`open_writer`.
        start: As :func:`open_writer`.
    """
    writer = open_writer(folder, start=start)
    if writer is None:
        yield lambda record: None
        return
    with closing(writer):
        yield lambda record: writer.write(record, int(record["step"]))


class EventWriter:
    """Writes lines of metrics as scalars: ``validation_x`` as ``validation/x``, all others as ``train/x``."""

    def __init__(self, scalars: Scalars) -> None:
        self._scalars = scalars

    def write(self, record: Mapping[str, object], step: int) -> None:
        """Show a line of metrics; what is no finite number is passed over, and so is ``step`` itself."""
        for key, value in record.items():
            if (
                key != "step"
                and isinstance(value, int | float)
                and not isinstance(value, bool)
                and math.isfinite(value)
            ):
                self._scalars.add_scalar(_tag(key), float(value), step)
        # At once: a run may be killed, and a person is looking.
        self._scalars.flush()

    def close(self) -> None:
        """Finish."""
        self._scalars.close()


def _tag(key: str) -> str:
    return f"validation/{key.removeprefix(_VALIDATION)}" if key.startswith(_VALIDATION) else f"train/{key}"
