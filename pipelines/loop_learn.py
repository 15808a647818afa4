"""How a round of the loop learns: gently, from corrections beside replay, so that what was known is kept.

``settings_of`` chooses what the project's ``[finetuning]`` does not say; :mod:`pipelines.loop_lessons` chooses the
poses. The network starts as the one in force, whatever that came from: a training from scratch, weights that come with
the package, a released checkpoint. ``learning.json`` in the round's folder says what it learnt from and how.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autolabel.evaluate import evaluate
from autolabel.formats.records import read_json
from autolabel.manifest import COMMIT, Manifest, write_text
from autolabel.project import Project
from autolabel.run import DONE
from pipelines.loop_lessons import Lessons, lessons
from pipelines.loop_predict import predicted_by
from pipelines.loop_state import Loop, to_learn_from
from pipelines.subset import with_poses
from pipelines.train import read_settings, train_network

LEARNING = "learning.json"

RATE_SHARE = 0.1
"""The learning rate of a round, as a share of the first training's."""

EMA = 0.998
LAYER_DECAY = 0.75
"""Official for ViT-B; smaller networks, up to the width below, take the official 0.8 of ViT-S."""
_SMALL_DECAY, _SMALL_WIDTH = 0.8, 384


@dataclass(frozen=True)
class Learning:
    """What a round learnt.

    Attributes:
        corrected: Corrected poses that there are to learn from.
        record: For ``round.json``: ``corrected``, ``sources`` and ``settings``; None where no network was trained, or
            by a version that did not write it down.
    """

    corrected: int
    record: Mapping[str, Any] | None = None


def fine_tune(loop: Loop, n: int, pulled: Manifest) -> Learning:
    """Go on from the last round's network, with what there is to learn; the same however often it is called.

    Where there is nothing new to learn, because all answers are there to calibrate on, the last network stays.

    Args:
        loop: The loop.
        n: The round; everybody answered.
        pulled: All answers so far.

    Raises:
        ConfigError: A setting is impossible.
        ExistsError: A setting or an input was changed in the middle of this step.
        AutolabelError: A step failed.
    """
    here = loop.round(n)
    corrected = with_poses(pulled, to_learn_from(loop, pulled), out=here / "training", stage="select")
    count, before = corrected.counts["poses"], loop.round(n - 1) / "training"
    known = Manifest.open(before).digest if (before / COMMIT).is_file() else ""
    if not count or corrected.digest == known:
        loop.progress.note(f"round {n} brought nothing new to learn from: the last network stays")
        return Learning(count)
    if (here / "model" / DONE).is_file():
        written = (here / LEARNING).is_file()  # not by a version that learnt in another way
        return Learning(count, read_json(here / LEARNING) if written else None)
    init = loop.network(n - 1)[1]
    training = {**settings_of(loop.project, init), "seed": loop.project.rounds.seed + n}
    how = read_settings({}, training, f"{loop.settings}, with [finetuning]")[1]
    with loop.timed(here, "fill"):
        sources = lessons(loop, n, corrected, batch=how.batch_size, steps=how.steps)
    write_text(here / LEARNING, json.dumps(_record(count, sources, training), indent=2) + "\n")
    with loop.timed(here, "train"):
        train_network(
            [(source.manifest, source.share) for source in sources],
            out=here / "model",
            init=init,
            dataset=loop.project.network.dataset,
            training=training,
            subject=loop.settings,
            progress=loop.progress,
        )
    return Learning(count, read_json(here / LEARNING))


def settings_of(project: Project, init: str) -> dict[str, Any]:
    """How a round trains: ``[finetuning]`` over ``[training]``, and what neither says.

    That is a tenth of training's learning rate, whatever training's is; a layer decay of 0.75, or 0.8 for networks up
    to ViT-S; attention frozen, which costs little and leaves most of the encoder as it was; and a moving average of the
    weights.

    Args:
        project: The settings.
        init: The network to go on from, which is read where its size decides.

    Raises:
        ConfigError: A setting of ``[training]`` is unknown or impossible.
    """
    said = {**project.training, **project.finetuning}
    rate = read_settings({}, project.training, "[training]")[1].learning_rate * RATE_SHARE
    chosen: dict[str, Any] = {"ema": EMA, "partial": {"freeze": ["attention"]}, **said}
    chosen["learning_rate"] = project.finetuning.get("learning_rate", rate)
    if "layer_decay" not in chosen:
        chosen["layer_decay"] = _layer_decay(init, project.network.dataset)
    return chosen


def on_base(loop: Loop, n: int) -> dict[str, Any] | None:
    """How the network in force after round ``n`` does on the base set: whether it forgets.

    Args:
        loop: The loop.
        n: The round.

    Returns:
        People, and their mean OKS, ``pck`` within 0.1 of the longer side of the box, and share of bad poses; None
        where the project has no base set.
    """
    corpus = loop.project.corpus
    truth = loop.manifest(corpus.base or corpus.test)
    if truth is None:
        return None
    name = "test" if corpus.base in ("", corpus.test) else "base"
    measured = evaluate(predicted_by(loop, n, truth.path, name), truth, truth.skeleton, pck=(0.1,))
    return {
        "people": measured.counts.people,
        "oks": measured.mean_oks,
        "pck": measured.pck["0.1"],
        "bad": measured.bad_rate,
    }


def _layer_decay(init: str, dataset: str) -> float:
    from model.checkpoint import load_model

    small = load_model(init, dataset=dataset or None).config.width <= _SMALL_WIDTH
    return _SMALL_DECAY if small else LAYER_DECAY


def _record(corrected: int, sources: list[Lessons], training: Mapping[str, Any]) -> dict[str, Any]:
    shown = ("steps", "learning_rate", "layer_decay", "ema", "partial")
    return {
        "corrected": corrected,
        "sources": [source.to_dict() for source in sources],
        "settings": {name: training[name] for name in shown if name in training},
    }
