"""What a cold start compares images by: numbers of an encoder that saw no label, or of no network at all.

The first that there is: the encoder that ``network.weights`` names; one that is pre-trained here on the corpus, where
that is large enough (``network.pretrain_from``); else :mod:`autolabel.sketch`, which needs nothing. Encoders give the
mean of their last features over the tokens. What it was stands in ``cold.json``, in words.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import ImageError
from autolabel.manifest import Manifest
from autolabel.merge import State
from autolabel.phrases import counted
from autolabel.poses import Poses, Sample, pose_id
from autolabel.progress import Task
from autolabel.sketch import SIZE, sketch
from pipelines.boxes import WHOLE_IMAGE
from pipelines.decoding import decoded_ahead
from pipelines.loop_state import Loop

if TYPE_CHECKING:
    from torch import Tensor

ENCODER = "encoder"
"""The folder of an encoder that is pre-trained here, below the cold start's."""

SKETCHED = "edges and colours, without a network (autolabel.sketch)"


@dataclass(frozen=True)
class Askable:
    """What a cold start can ask about.

    Attributes:
        corpus: Images, with boxes or without poses.
        people: Whether boxes are given, each of which is one person; else whole images are shown.
    """

    corpus: Manifest
    people: bool

    def part(self, i: int) -> list[Sample]:
        """The samples of a part with what can be asked about as their poses: people, or one that is the whole image."""
        samples = self.corpus.part(i)
        return [_with_people(sample) if self.people else with_whole_image(sample) for sample in samples]

    def count(self) -> int:
        """How many people, or images, there are."""
        return sum(len(sample.poses) for sample in self) if self.people else len(self.corpus)

    def names(self, rows: Collection[int]) -> dict[int, Any]:
        """The ids of people, or the keys of images, at some of the rows."""
        wanted = set(rows)
        if not self.people:
            return {row: list(sample.key) for row, sample in enumerate(self.corpus) if row in wanted}
        ids = (pose for sample in self for pose in sample.poses.id.tolist())
        return {row: pose for row, pose in enumerate(ids) if row in wanted}

    def __iter__(self) -> Iterator[Sample]:
        """All samples in their order."""
        for i in range(self.corpus.num_parts):
            yield from self.part(i)


@dataclass(frozen=True, eq=False)
class Looks:
    """What all askable boxes look like.

    Attributes:
        embedding: (N, D) float32, in the order of the samples; a row of NaN where the image cannot be read.
        made_by: In words.
    """

    embedding: NDArray[np.float32]
    made_by: str


def with_whole_image(sample: Sample) -> Sample:
    """The sample with one person who takes up the whole image, as ``predict`` takes images without boxes."""
    box = [0.0, 0.0, *map(float, sample.size)]
    name = pose_id(sample.id, sample.path, box, WHOLE_IMAGE, 0)
    attributes = [{"box_source": WHOLE_IMAGE}]
    return sample.with_poses(Poses.create(sample.poses.num_keypoints, id=[name], box=[box], attributes=attributes))


def given_encoder(loop: Loop) -> str:
    """The encoder that ``network.weights`` names; "" where it names a pose network, or nothing.

    Raises:
        CheckpointError: It is damaged, or no transformer that a ViTPose could start from.
    """
    weights = loop.network(-1)[1] if loop.project.network.weights else ""
    if not weights:
        return ""
    from model.encoders import find_encoder

    return weights if find_encoder(weights) is not None else ""


def network_of(loop: Loop, encoder: str) -> dict[str, Any]:
    """The table of a network to train; an encoder that says what it is need not be described again.

    Args:
        loop: The loop.
        encoder: What the network starts from; "" for nothing.
    """
    from model.encoders import find_encoder

    network = loop.project.network
    found = find_encoder(encoder) if encoder and "size" not in network.model_fields_set else None
    return dict(network.custom) if found and found.network else {"size": network.size, **network.custom}


def looks_of(loop: Loop, asked: Askable, here: Path) -> Looks:
    """What the boxes look like, by the best that there is.

    Args:
        loop: The loop.
        asked: The boxes.
        here: The folder of the cold start.

    Raises:
        CheckpointError: The encoder does not fit the project's network.
        ConfigError: ``[pretraining]`` is wrong, or such a network cannot be pre-trained.
    """
    count, least = asked.count(), loop.project.network.pretrain_from
    if encoder := given_encoder(loop):
        return Looks(_encoded(loop, encoder, asked, count), f"the encoder {Path(loop.project.network.weights).name}")
    if least and count >= least and _worth_it(loop):
        what = counted(count, "person" if asked.people else "image")
        encoder = _pretrained(loop, asked, here / ENCODER)
        return Looks(_encoded(loop, encoder, asked, count), f"a masked autoencoder, pre-trained here on {what}")
    embedding = np.full((count, SIZE), np.nan, np.float32)
    for image, boxes, rows in _images(loop, asked):
        embedding[rows] = [sketch(image, box) for box in boxes]
    return Looks(embedding, SKETCHED)


def _worth_it(loop: Loop) -> bool:
    """Whether to pre-train here: on a GPU, or where ``[pretraining]`` says how; a processor alone needs hours."""
    from model.device import pick_device

    return bool(loop.project.pretraining) or pick_device("auto").type != "cpu"


def _with_people(sample: Sample) -> Sample:
    """The sample with those who can be asked about: one person in a box, whom nobody rejected."""
    poses = sample.poses
    rejected = [attributes.get("state") == State.REJECTED for attributes in poses.attributes]
    return sample.with_poses(poses.take(np.isfinite(poses.box).all(axis=1) & ~poses.crowd & ~np.array(rejected, bool)))


def _pretrained(loop: Loop, asked: Askable, out: Path) -> str:
    """An encoder of the project's network, pre-trained on the corpus; a pre-training that was killed goes on."""
    from pipelines.pretrain import Corpus, pretrain_encoder

    loop.progress.note(
        "pre-training an encoder on the corpus, to tell its images apart and to start from; [pretraining] says how "
        "long, and network.pretrain_from = 0 does without"
    )
    done = pretrain_encoder(
        [Corpus(asked.corpus, crops="people" if asked.people else "images")],
        out=out,
        network=network_of(loop, ""),
        training=loop.project.pretraining,
        subject=loop.settings,
        progress=loop.progress,
    )
    return str(done.checkpoint)


def _encoded(loop: Loop, encoder: str, asked: Askable, count: int) -> NDArray[np.float32]:
    """(N, D) means of an encoder's features."""
    from model.predict import Predictor
    from pipelines.train_begin import beginning

    begin = beginning(
        encoder,
        datasets={"": asked.corpus.skeleton},
        dataset="",
        network=network_of(loop, encoder),
        seed=0,
        subject=loop.settings,
    )
    predictor = Predictor(begin.make(), larger_crop=False)
    embedding = np.full((count, predictor.model.config.width), np.nan, np.float32)
    read, first = list[int](), 0
    for features, _, _ in predictor.encode(_tensors(loop, asked, read)):
        means: NDArray[np.float32] = np.asarray(features.float().mean(dim=(2, 3)).cpu(), np.float32)
        embedding[read[first : first + len(means)]] = means
        first += len(means)
    return embedding


def _tensors(loop: Loop, asked: Askable, read: list[int]) -> "Iterator[tuple[Tensor, NDArray[np.float64]]]":
    """Images (3, H, W) with their boxes, as a predictor takes them; adds to ``read`` the rows of the boxes."""
    import torch

    to_tensor: Callable[[NDArray[np.uint8]], Tensor] = cast("Any", torch).from_numpy  # untyped in torch
    for image, boxes, rows in _images(loop, asked):
        read.extend(rows)
        yield to_tensor(image).permute(2, 0, 1), boxes


def _images(loop: Loop, asked: Askable) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float64], list[int]]]:
    """Images with something to ask about, their (n, 4) boxes, and the rows of these; tells which cannot be read."""
    first = 0
    with loop.progress.task("look", len(asked.corpus), "image") as task:
        for i in range(asked.corpus.num_parts):
            samples = asked.part(i)
            yield from _images_of(loop, asked.corpus, samples, first, task)
            first += sum(len(sample.poses) for sample in samples)


def _images_of(
    loop: Loop, corpus: Manifest, samples: list[Sample], first: int, task: Task
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float64], list[int]]]:
    ends = (first + np.cumsum([len(sample.poses) for sample in samples])).tolist()
    wanted = [i for i, sample in enumerate(samples) if len(sample.poses)]
    task.advance(len(samples) - len(wanted))
    for i, image in decoded_ahead(corpus, samples, wanted):
        task.advance()
        if isinstance(image, ImageError):
            loop.progress.note(f"{samples[i].path} is left out: it {image.message}")
            continue
        boxes = samples[i].poses.box
        yield image, boxes, list(range(ends[i] - len(boxes), ends[i]))
