"""What training and pre-training share as runs: resumption, several processes, the record of what came out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from autolabel.errors import AutolabelError, ConfigError, InputError, WorkError
from autolabel.manifest import Existing
from autolabel.progress import Progress
from autolabel.run import DONE, RECORD, Run, RunState, read_done
from pipelines.launch import launch

if TYPE_CHECKING:
    from model.train_processes import Processes

STATE = "state.pt"  # model.training_state's, which needs torch


@dataclass(frozen=True)
class Trained:
    """A finished training or pre-training.

    Attributes:
        checkpoint: The folder.
        metrics: The last line of its metrics; with validation also the best one's, each name with ``best_`` before it.
    """

    checkpoint: Path
    metrics: Mapping[str, Any]

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {"checkpoint": self.checkpoint, **self.metrics}


def require_resumable(out: str | Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse flags that contradict each other, or a resumption of nothing.

    Raises:
        ConfigError: Both flags.
        InputError: There is nothing to resume.
    """
    if resume and overwrite:
        raise ConfigError("--resume goes on with what --overwrite removes", remedy="Give one of them.")
    if resume and not (Path(out) / RECORD).is_file():
        raise InputError("holds no run to resume", subject=str(out), remedy="Leave out --resume to start one.")


def beside(file: Path, name: str) -> str:
    """What a training file calls ``name``: a path relative to the file where that exists, else the name as it is."""
    return str(file.parent / name) if name and (file.parent / name).exists() else name


def launch_again(
    stage: str, config: Path, out: str | Path, processes: int, *, resume: bool, overwrite: bool
) -> Trained:
    """Run the same command in several processes.

    Args:
        stage: The command.
        config: Its TOML file.
        out: Its folder.
        processes: How many.
        resume: Whether it was given ``--resume``.
        overwrite: Whether it was given ``--overwrite``.

    Raises:
        InputError: What one of them was given is wrong.
        WorkError: One of them failed.
    """
    flags = [name for name, wanted in (("--resume", resume), ("--overwrite", overwrite)) if wanted]
    launch([stage, "--config", str(config), "--out", str(out), *flags], processes)
    return trained(Path(out))


class Job(NamedTuple):
    """What a run is known by; see :meth:`autolabel.run.Run.open`."""

    config: Mapping[str, Any]
    inputs: Mapping[str, str]
    existing: Existing


def in_processes(
    stage: str, out: str | Path, job: Job, processes: "Processes", work: Callable[[Path], dict[str, Any]]
) -> Trained:
    """Do a training's work in every process; the first one opens the run, and finishes it.

    Args:
        stage: The command.
        out: The checkpoint folder.
        job: What the run is known by.
        processes: All of them.
        work: Takes the folder, returns the metrics.

    Raises:
        ExistsError: ``out`` holds another result.
        WorkError: In the other processes, where the first one could not open the run.
    """
    folder = Path(out)
    if processes.rank:
        if processes.told(None) == "refused":
            raise WorkError("the first process could not open the run, and says why", subject=str(out))
        if processes.told(None) != "done":
            work(folder)
        return Trained(folder, {})
    try:
        run = Run.open(folder, stage, config=job.config, inputs=job.inputs, existing=job.existing, commit=DONE)
    except BaseException:
        processes.told("refused")
        raise
    processes.told("opened")
    with run:
        done = run.state is RunState.DONE
        processes.told("done" if done else "new")
        if not done:
            run.finish(work(run.path))
        # From here on there is nothing to go on with.
        (run.path / STATE).unlink(missing_ok=True)
    return trained(folder)


def trained(folder: Path) -> Trained:
    """What a finished run left."""
    metrics = read_done(folder) or {}
    return Trained(folder, {name: value for name, value in metrics.items() if name != "key"})


def draw_curves(folder: Path, progress: Progress) -> None:
    """Draw a training's curves; what goes wrong is noted, and neither fails the training nor hides why it failed.

    Args:
        folder: The checkpoint folder.
        progress: Where to note.
    """
    from autolabel.report.training_plots import plot_training
    from model.training_state import METRICS

    try:
        plot_training(folder / METRICS, folder)
    except (OSError, AutolabelError) as error:
        progress.note(f"the curves could not be drawn: {error}")
