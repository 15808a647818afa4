"""``autolabel distill``: a fast student from a slow teacher, from a TOML file."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from autolabel.manifest import Existing, Manifest
from autolabel.progress import SILENT, Progress
from autolabel.settings import Settings
from autolabel.skeleton import Skeleton
from pipelines.distill_doubt import Doubt, Judge, StudentDoubt, refit_doubt, require_checked, require_judge
from pipelines.distill_stages import BODY, CACHE, TOKEN, WEIGHTS, Stage, Stages
from pipelines.distill_student import (
    TEACHER,
    Blocks,
    larger_than,
    require_learnable,
    require_taught,
    require_token,
    student,
)
from pipelines.launch import is_launched
from pipelines.train import Portion, cost_told
from pipelines.training_run import STATE, Job, Trained, beside, in_processes, launch_again, require_resumable

if TYPE_CHECKING:
    from model.distil import Distillation
    from model.recipe import Training


@dataclass(frozen=True)
class DistillResult:
    """A finished distillation.

    Attributes:
        checkpoint: The student's folder.
        metrics: The last line of its metrics; with validation also the best one's, each name with ``best_`` before it.
        doubt: Its calibrator, where one was asked for.
    """

    checkpoint: Path
    metrics: Mapping[str, Any]
    doubt: StudentDoubt | None = None

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        doubt = {} if self.doubt is None else {"doubt": self.doubt.calibrator.summary()}
        return {"checkpoint": self.checkpoint, **self.metrics, **doubt}


class People(Settings):
    """People to learn from, or to measure on.

    Attributes:
        manifest: The manifest's folder; relative to the TOML file.
        share: Relative share of every batch.
    """

    manifest: str
    share: float = Field(1.0, gt=0)


class DistillFile(Settings):
    """The content of a distillation file.

    Attributes:
        teacher: The network to learn from: a checkpoint folder, relative to the TOML file, or a hub id.
        teacher_dataset: Expert and head of a ViTPose++ teacher.
        data: Labelled manifests; may be left out.
        unlabelled: Manifests of which only the boxes count, whatever they say of keypoints.
        validation: Manifests to measure on while training: the best student is kept. Their shares do not count.
        init: ``teacher``: the student begins as a part of the teacher. Empty: from nothing. Otherwise a checkpoint or a
            pre-trained encoder, as a training file's ``init``.
        blocks: Which of the teacher's blocks the student begins with: ``even`` or ``first``.
        model: The student, as in a training file: ``size`` and fields of ``model.config.ViTPoseConfig``. Input, decoder
            and heads are the teacher's unless they are given.
        training: Fields of ``model.recipe.Training``.
        distillation: Fields of ``model.distil.Distillation``.
        cache: Folder of the teacher's outputs, with ``views``; relative to the TOML file. By default it lies in the
            student's folder and goes with the training.
        knowledge: Tune a knowledge token of the teacher for so many steps on the labelled data, and give it to the
            student; off by default.
        head: Afterwards let a fresh keypoint head learn the student's own outputs for so many steps; off by default.
        doubt: Checked poses on which the student's own calibrator is fitted, and a quality head if wanted; with the
            teacher's quality head, the student's learns from that, too.
    """

    teacher: str
    teacher_dataset: str = ""
    data: tuple[People, ...] = ()
    unlabelled: tuple[People, ...] = ()
    validation: tuple[People, ...] = ()
    init: str = TEACHER
    blocks: Blocks = "even"
    model: dict[str, Any] = Field(default_factory=dict[str, Any])
    training: dict[str, Any] = Field(default_factory=dict[str, Any])
    distillation: dict[str, Any] = Field(default_factory=dict[str, Any])
    cache: str = ""
    knowledge: Stage = Stage()
    head: Stage = Stage()
    doubt: Doubt | None = None


def distill(
    *,
    config: str | Path,
    out: str | Path,
    resume: bool = False,
    processes: int = 1,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> DistillResult:
    """Distil a student as a TOML file says; a run that was stopped goes on where it stopped.

    Args:
        config: The TOML file; see :class:`DistillFile`.
        out: The student's checkpoint folder.
        resume: Refuse to start anew: ``out`` must hold a run that was stopped, or is done.
        processes: How many on this machine share every batch, such as one a GPU.
        overwrite: Replace another result in ``out``.
        progress: Where to report.

    Raises:
        ConfigError: A setting is unknown or impossible, or two contradict each other.
        SkeletonError: Teacher and data have different skeletons, and names are not to be matched.
        InputError: There is nothing to resume; data or teacher are not there, or do not fit.
        CheckpointError: The cache has outputs of another teacher or of other crops, or the quality head to learn from
            is another network's.
        ExistsError: ``out`` holds another result.
        WorkError: The loss is no longer finite, memory does not suffice, or the disk is full.
    """
    require_resumable(out, resume=resume, overwrite=overwrite)
    path = Path(config)
    settings = DistillFile.load(path)
    data, unlabelled, validation = (
        [Portion(Manifest.open(path.parent / people.manifest), people.share) for people in part]
        for part in (settings.data, settings.unlabelled, settings.validation)
    )
    teacher = beside(path, settings.teacher)
    people = [portion.manifest for portion in unlabelled or data]
    judge = Judge(teacher, people, settings.teacher_dataset or None)
    doubt = None if settings.doubt is None or is_launched() else settings.doubt.beside(path)
    if doubt is not None and people:
        require_checked(doubt, [portion.manifest for portion in data], people[0].skeleton, str(path))
        require_judge(doubt, judge, people[0].skeleton, str(path))
    if processes > 1 and not is_launched():
        trained = launch_again("distill", path, out, processes, resume=resume, overwrite=overwrite)
    else:
        trained = distill_network(
            teacher,
            data,
            out=out,
            unlabelled=unlabelled,
            validation=validation,
            dataset=settings.teacher_dataset,
            init=settings.init if settings.init == TEACHER else beside(path, settings.init),
            blocks=settings.blocks,
            network=settings.model,
            training=settings.training,
            distillation=settings.distillation,
            cache=path.parent / settings.cache if settings.cache else None,
            knowledge=settings.knowledge,
            head=settings.head,
            subject=str(path),
            overwrite=overwrite,
            progress=progress,
        )
    refitted = doubt and refit_doubt(doubt, student=trained.checkpoint, judge=judge, progress=progress)
    return DistillResult(trained.checkpoint, trained.metrics, refitted)


def distill_network(
    teacher: str,
    data: Sequence[Portion],
    *,
    out: str | Path,
    unlabelled: Sequence[Portion] = (),
    validation: Sequence[Portion] = (),
    dataset: str = "",
    init: str = TEACHER,
    blocks: Blocks = "even",
    network: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    distillation: Mapping[str, Any] | None = None,
    cache: Path | None = None,
    knowledge: Stage | None = None,
    head: Stage | None = None,
    subject: str = "distillation",
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Trained:
    """Distil a student of a teacher.

    Started by ``accelerate launch`` in several processes, every one calls this, and the first one writes.

    Args:
        teacher: As ``DistillFile.teacher``.
        data: Labelled manifests.
        out: The student's checkpoint folder.
        unlabelled: Manifests of which only the boxes count.
        validation: Manifests to measure on while training.
        dataset: As ``DistillFile.teacher_dataset``.
        init: As ``DistillFile.init``.
        blocks: As ``DistillFile.blocks``.
        network: As ``DistillFile.model``.
        training: As ``DistillFile.training``.
        distillation: As ``DistillFile.distillation``.
        cache: As ``DistillFile.cache``.
        knowledge: As ``DistillFile.knowledge``.
        head: As ``DistillFile.head``.
        subject: What errors call the settings.
        overwrite: Replace another result in ``out``.
        progress: Where to report.

    Raises:
        ConfigError: As :func:`distill`, whose other errors come from here as well.
    """
    from model.asked import Keeping
    from model.checkpoint import load_model, model_digest
    from model.teacher import Teacher
    from model.train_processes import join, leads

    knowledge, head = knowledge or Stage(), head or Stage()
    how, what = _settings(training or {}, distillation or {}, subject)
    require_learnable(data, unlabelled, knowledge.steps > 0, subject)
    require_taught(what, how, knowledge.steps > 0, subject)
    skeleton = _skeleton([*data, *unlabelled, *validation])
    teaches = load_model(teacher, dataset or None)
    digest = model_digest(teaches)
    begins = student(
        teaches,
        skeleton,
        network or {},
        init=init,
        blocks=blocks,
        knowledge=knowledge.steps > 0,
        seed=how.seed,
        subject=subject,
    )
    # Before anything is written: whether the two fit.
    Teacher.of(teaches, begins.make(), match_names=what.match_names)
    if knowledge.steps:
        require_token(teaches, begins.make())
    digests = [portion.manifest.digest for portion in (*data, *unlabelled)]
    kinds = {"data": data, "unlabelled": unlabelled, "validation": validation}
    inputs = {f"{kind} {i}": one.manifest.digest for kind, portions in kinds.items() for i, one in enumerate(portions)}
    inputs |= {"teacher": digest} | ({"init": begins.digest} if begins.digest else {})
    config = {
        "shares": [portion.share for portion in (*data, *unlabelled)],
        "network": dict(network or {}),
        "init": init if init in ("", TEACHER) else "other",
        "blocks": blocks,
        "training": how.model_dump(mode="json"),
        "distillation": what.model_dump(mode="json"),
        "knowledge": knowledge.model_dump(mode="json"),
        "head": head.model_dump(mode="json"),
    }
    job = Job(config, inputs, Existing.OVERWRITE if overwrite else Existing.RESUME)

    def work(folder: Path) -> dict[str, Any]:
        told = progress if leads() else SILENT
        made = begins.make()
        for note in (*begins.notes, f"the student: {cost_told(made, how)}", larger_than(teaches.config, made)):
            if note:
                told.note(note)
        keeping = Keeping(cache or folder / CACHE, digest, digests) if what.views else None
        stages = Stages(teaches, begins.make, data, unlabelled, validation, how, what, keeping, knowledge, head)
        return stages.run(folder, told)

    processes = join(how.device)
    trained = in_processes("distill", out, job, processes, work)
    if not processes.rank:
        _tidy(Path(out), with_cache=cache is None)
    return trained


def _tidy(folder: Path, *, with_cache: bool) -> None:
    """Remove what only an unfinished distillation goes on from."""
    for stage in (TOKEN, BODY):
        (folder / stage / STATE).unlink(missing_ok=True)
    (folder / TOKEN / WEIGHTS).unlink(missing_ok=True)  # the whole teacher, for one vector that the student has
    if with_cache:
        shutil.rmtree(folder / CACHE, ignore_errors=True)


def _settings(
    training: Mapping[str, Any], distillation: Mapping[str, Any], subject: str
) -> "tuple[Training, Distillation]":
    """What the settings describe, before anything is written.

    Raises:
        ConfigError: A key is unknown or a value impossible; names it and the table it stands in.
    """
    from model.distil import Distillation
    from model.recipe import Training

    return (
        Training.parse(training, subject=f"{subject}: training"),
        Distillation.parse(distillation, subject=f"{subject}: distillation"),
    )


def _skeleton(portions: Sequence[Portion]) -> Skeleton:
    """The one skeleton of all data.

    Raises:
        SkeletonError: They have several.
    """
    first, *rest = (portion.manifest for portion in portions)
    for manifest in rest:
        first.skeleton.require_same(manifest.skeleton, str(manifest.path))
    return first.skeleton
