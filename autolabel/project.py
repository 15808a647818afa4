"""A project: the folder of one dataset in the making, and its ``autolabel.toml``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import Field

from autolabel.errors import ConfigError
from autolabel.settings import Settings

FILE = "autolabel.toml"


class Corpus(Settings):
    """Where the images are and what a pose is.

    Attributes:
        images: Folder of the images, absolute or relative to the project.
        skeleton: A built-in skeleton's name, or a JSON file.
        boxes: Manifest with the boxes to label; by default the images are scanned and taken whole.
        labelled: Manifest of labelled poses to start from; none for a project that has a checkpoint.
        calibration: Manifest of labelled poses that are never trained on.
        test: Manifest of labelled poses that every round's model is measured on.
    """

    images: str
    skeleton: str = "coco17"
    boxes: str = ""
    labelled: str = ""
    calibration: str = ""
    test: str = ""


class Promise(Settings):
    """What the finished dataset must keep.

    Attributes:
        max_bad: Largest share of bad poses among the accepted ones.
        confidence: With which the audit must show it.
        audit: The most poses the audit may open.
    """

    max_bad: float = Field(default=0.02, gt=0, lt=1)
    confidence: float = Field(default=0.95, gt=0, lt=1)
    audit: int = Field(default=500, ge=0)


class Rounds(Settings):
    """How the loop turns.

    Attributes:
        count: Rounds of review before the audit.
        budget: Tasks a round.
        random_share: Share of them drawn at random, to calibrate on; never trained on.
        order: ``doubt``, or ``random`` for comparison.
        replay: Share of every batch that comes from the poses of before.
        seed: Of all draws.
    """

    count: int = Field(default=3, ge=0)
    budget: int = Field(default=200, ge=1)
    random_share: float = Field(default=0.2, ge=0, le=1)
    order: str = Field(default="doubt", pattern="^(doubt|random)$")
    replay: float = Field(default=0.5, ge=0, lt=1)
    seed: int = 0


class Network(Settings):
    """Which network labels.

    Attributes:
        weights: A checkpoint to start from: folder, file or hub id; empty trains one from ``corpus.labelled``.
        size: ``s``, ``b``, ``l`` or ``h``; or give the fields of ``custom``.
        custom: Fields of ``model.config.ViTPoseConfig`` that differ from the size's.
        dataset: Expert and head of a ViTPose++.
        flip_test: Predict the mirrored crop too.
    """

    weights: str = ""
    size: str = "s"
    custom: dict[str, Any] = Field(default_factory=dict[str, Any])
    dataset: str = ""
    flip_test: bool = True


class Project(Settings):
    """The content of ``autolabel.toml``.

    Attributes:
        name: What the project is called in reports and in Label Studio.
        corpus: See :class:`Corpus`.
        promise: See :class:`Promise`.
        rounds: See :class:`Rounds`.
        network: See :class:`Network`.
        training: Fields of ``model.train.Training`` for the first network.
        finetuning: Fields that differ when a round fine-tunes on corrections.
    """

    name: str
    corpus: Corpus
    promise: Promise = Promise()
    rounds: Rounds = Rounds()
    network: Network = Network()
    training: dict[str, Any] = Field(default_factory=dict[str, Any])
    finetuning: dict[str, Any] = Field(default_factory=dict[str, Any])


def read_project(folder: str | Path) -> Project:
    """Read a project's settings.

    Raises:
        ConfigError: There is no project, or a setting is unknown or impossible.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise ConfigError(f"has no {FILE}", subject=str(folder), remedy="Make a project with `autolabel init`.")
    return Project.load(path)


def to_toml(values: Mapping[str, Any], table: str = "") -> str:
    """TOML text of plain settings: texts, numbers, truth values, lists of them, and tables.

    Empty tables and empty texts are left out: they are the defaults.
    """
    plain = {name: value for name, value in values.items() if not isinstance(value, Mapping) and value != ""}
    tables = {
        f"{table}.{name}".lstrip("."): cast("Mapping[str, Any]", value)
        for name, value in values.items()
        if isinstance(value, Mapping)
    }
    head = f"[{table}]\n" if table and plain else ""
    lines = "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in plain.items())
    parts = [head + lines, *(to_toml(value, name) for name, value in tables.items() if value)]
    return "\n".join(part for part in parts if part)
