"""Which numbers are shown under which names; and, where TensorBoard is installed, what its own reader finds."""

import math
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from model.tensorboard import EventWriter, open_writer


@dataclass
class Shown:
    """Takes scalars instead of TensorBoard."""

    pending: list[tuple[str, float, int]] = field(default_factory=list)
    points: list[tuple[str, float, int]] = field(default_factory=list)
    closed: bool = False

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        self.pending.append((tag, scalar_value, global_step))

    def flush(self) -> None:
        self.points += self.pending
        self.pending.clear()

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("record", "points"),
    [
        ({"step": 50, "loss": 0.5, "pck": 1}, [("train/loss", 0.5, 50), ("train/pck", 1.0, 50)]),
        ({"validation_pck": 0.25, "loss": 0.5}, [("validation/pck", 0.25, 50), ("train/loss", 0.5, 50)]),
        ({"validation": 0.1}, [("train/validation", 0.1, 50)]),  # no name of its own behind it
        ({"note": "x", "best": True, "none": None, "list": [1.0]}, []),  # no numbers
        ({"loss": math.nan, "pck": math.inf}, []),
        ({}, []),
    ],
)
def test_numbers_are_points_of_curves(record: dict[str, object], points: list[tuple[str, float, int]]) -> None:
    shown = Shown()
    writer = EventWriter(shown)
    writer.write(record, 50)
    assert shown.points == points, "flushed at once"
    assert not shown.closed
    writer.close()
    assert shown.closed


def test_without_tensorboard_there_is_no_writer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as if it were not installed
    assert open_writer(tmp_path / "events") is None
    assert not (tmp_path / "events").exists()


def test_event_files_are_read_back(tmp_path: Path) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="TensorBoard is not installed"
    )
    first = open_writer(tmp_path)
    assert first
    for step in (10, 20, 30):
        first.write({"step": step, "loss": 1 / step, "validation_pck": step / 100}, step)
    # Killed here, saved at step 10: steps 20 and 30 are done again, otherwise.
    second = open_writer(tmp_path, start=10)
    assert second
    second.write({"step": 20, "loss": 9.0}, 20)
    second.close()
    first.close()
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"train/loss", "validation/pck"}
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(10, pytest.approx(0.1)), (20, 9.0)]
    assert [e.step for e in events.Scalars("validation/pck")] == [10]


def test_points_of_a_run_killed_before_its_first_state_are_dropped(tmp_path: Path) -> None:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="TensorBoard is not installed"
    )
    killed, again = open_writer(tmp_path), open_writer(tmp_path)
    assert killed and again
    for step in (1, 2, 3):
        killed.write({"loss": 1.0}, step)
    killed.close()
    again.write({"loss": 9.0}, 1)
    again.close()
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(1, 9.0)]
