"""Whether a project that was killed again and again ended where the undisturbed one did.

Compared is everything that a loop leaves: every manifest with each value of each pose, every routing in its order,
every correction, answer about an image and history of a keypoint, networks weight by weight, the rounds' numbers, the
certificate and the exports; and of what people are shown the task map, the tasks, their crops and the form. Left out is
what cannot be the same twice: times, how long computing took, and the server's own numbers. Then tasks and answers are
counted: each task once where people find it, each answer once in the journal and as it was submitted.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from autolabel.labelstudio.exports import Annotation, latest_versions
from autolabel.labelstudio.folder import ReviewFolder, read_lines
from autolabel.labelstudio.tasks import read_task_map
from autolabel.manifest import COMMIT, Manifest
from autolabel.merge import CORRECTIONS, read_corrections
from autolabel.poses import Poses
from benchmarks.crash_person import Answer, Desk
from benchmarks.labelstudio_answers import Findings

_TIMES = frozenset({"when", "seconds", "made", "time", "created", "updated", "sent", "crops_per_second"})
"""Fields that hold times of the clock or of the machine."""
_NUMBERS = frozenset({"annotation", "url"})
"""Fields that hold what the server made up."""
_DIGEST = "answers"
"""A certificate's digest of the files of answers, with the times in them; elsewhere a number."""
_UNLIKE = frozenset({"run.json", "run.log", "seconds.json", "state.pt", "report.html", COMMIT})
_NOTED = "rounds/*/images.jsonl"
"""What a round noted of the images' files: their sizes and times."""
_READ = (".json", ".jsonl", ".txt", ".md", ".safetensors", ".yaml")
_SHOWN = ("taskmap.jsonl", "form.xml", "tasks/*.json", "crops/*.jpg", f"sent/*/{COMMIT}")
"""What is compared of ``labelstudio``: the rest is the journal, whose answers are counted, and about the server."""
_IN_ORDER = "routing"
"""The folder in which the order of lines is that of the tasks."""


def differences(whole: Path, killed: Path) -> list[str]:
    """What is not the same in two finished projects; empty where all is.

    Args:
        whole: The project that nothing happened to.
        killed: The other.
    """
    told = list[str]()
    mine, theirs = (set(_compared(project)) for project in (whole, killed))
    told += [f"{name}: is missing" for name in sorted(mine - theirs)]
    told += [f"{name}: is new" for name in sorted(theirs - mine)]
    for name in sorted(mine & theirs):
        a, b = whole / name, killed / name
        if a.name == COMMIT:
            told += [f"{name}: {what}" for what in _manifests(Manifest.open(a.parent), Manifest.open(b.parent))]
        elif not _same(a, b):
            told.append(f"{name}: differs")
    return told


def _compared(project: Path) -> Iterator[str]:
    """What is compared, as paths below the project."""
    for top in ("rounds", "audit", "dataset", "yolo"):
        for file in (project / top).rglob("*"):
            name = file.relative_to(project)
            if any(part.startswith(".") for part in name.parts) or name.match(_NOTED):
                continue
            if file.name == COMMIT or (file.suffix in _READ and file.name not in _UNLIKE):
                yield str(name)
    for shown in _SHOWN:
        for file in (project / "labelstudio").glob(shown):
            yield str(file.relative_to(project))
    for file in project.iterdir():
        if file.suffix in _READ:
            yield file.name


def _manifests(a: Manifest, b: Manifest) -> Iterator[str]:
    """In what two manifests differ."""
    if a.digest != b.digest:
        yield "has another digest"
    mine, theirs = list(a), list(b)
    if [sample.key for sample in mine] != [sample.key for sample in theirs]:
        yield "holds other images"
        return
    wrong = Counter(name for x, y in zip(mine, theirs, strict=True) for name in _unlike(x.poses, y.poses))
    for name, count in wrong.items():
        yield f"{name} differs in {count} images"


def _unlike(a: Poses, b: Poses) -> Iterator[str]:
    """The fields in which two sets of poses differ."""
    for field in fields(Poses):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if field.name == "attributes":
            same = [_timeless(value) for value in x] == [_timeless(value) for value in y]
        else:
            same = np.array_equal(x, y, equal_nan=x.dtype.kind == "f")
        if not same:
            yield field.name


def _same(a: Path, b: Path) -> bool:
    """Whether two files say the same, times and the server's numbers aside; lines in any order but in routings."""
    if a.suffix == ".json":
        x, y = (_timeless(json.loads(file.read_text(encoding="utf-8"))) for file in (a, b))
        return x == y
    if a.suffix == ".jsonl":
        x, y = ([json.dumps(_timeless(line), sort_keys=True) for line in read_lines(file)] for file in (a, b))
        return x == y if a.parent.name == _IN_ORDER else Counter(x) == Counter(y)
    if a.suffix == ".safetensors":  # the order in its head differs from process to process
        x, y = load_file(a), load_file(b)
        return x.keys() == y.keys() and all(np.array_equal(x[name], y[name], equal_nan=True) for name in x)
    return a.read_bytes() == b.read_bytes()


def _timeless(value: Any) -> Any:
    if isinstance(value, Mapping):
        left_out = _TIMES | _NUMBERS | ({_DIGEST} if isinstance(value.get(_DIGEST), str) else set[str]())
        return {name: _timeless(part) for name, part in value.items() if name not in left_out}
    return [_timeless(part) for part in value] if isinstance(value, list | tuple) else value


def counted(project: Path, desk: Desk) -> dict[str, Findings]:
    """How tasks and answers of a finished project add up.

    Args:
        project: The project.
        desk: Of the person who answered.

    Returns:
        ``tasks``: those of the task map against those that people find. ``answers``: what was submitted against those
        at the desk, in the journal and in the corrections.
    """
    folder = ReviewFolder.of(project)
    known, there = read_task_map(folder.taskmap), desk.there()
    lines = sum(1 for _ in read_lines(folder.taskmap))
    tasks = Findings(
        lost=len(set(known) - set(there)),
        doubled=sum(there.values()) - len(there) + lines - len(known),
        wrong=len(set(there) - set(known)),
    )
    return {"tasks": tasks, "answers": _answers(project, desk.given, desk.answers())}


def _answers(project: Path, given: Mapping[str, Answer], there: Counter[str]) -> Findings:
    folder = ReviewFolder.of(project)
    entries = latest_versions(Annotation.from_dict(line) for line in read_lines(folder.journal))
    kept = Counter(entry.task for entry in entries if not entry.deleted)
    wrong = [
        entry.task
        for entry in entries
        if (said := given.get(entry.task)) is None or list(entry.result) != said.result or entry.seconds != said.seconds
    ]
    known = set(read_task_map(folder.taskmap))
    settled = _corrected(project)
    return Findings(
        lost=len(known - set(kept)) + len(known - set(there)) + len(settled - set(kept)),
        doubled=sum(kept.values()) - len(kept) + sum(there.values()) - len(there),
        wrong=len(wrong),
    )


def _corrected(project: Path) -> set[str]:
    """Tasks of the corrections of every pull that a step ended with."""
    files = sorted((*project.glob(f"rounds/*/pulled/{CORRECTIONS}"), *project.glob(f"audit/pulled/{CORRECTIONS}")))
    pulls = ((file, Manifest.open(file.parent).skeleton.num_keypoints) for file in files)
    return {correction.task for file, k in pulls for correction in read_corrections(file, k)}
