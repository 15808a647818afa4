"""Annotated people, and what a network says of them: the measuring side of the training benchmarks.

Everybody is cropped by the box of their own annotation, without a flip test: what is compared is ways of training, not
ways of predicting.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from autolabel.images import read_image
from autolabel.manifest import Manifest

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Person:
    """One labelled pose and where its image is.

    Attributes:
        image: The file.
        image_size: (width, height).
        box: (4,) xyxy.
        xy: (K, 2) pixels; 0 where not labelled.
        labelled: (K,) visible or hidden.
        visibility: (K,) as the manifest has it.
    """

    image: Path
    image_size: tuple[int, int]
    box: Floats
    xy: Floats
    labelled: NDArray[np.bool_]
    visibility: NDArray[np.uint8]

    def pixels(self) -> NDArray[np.uint8]:
        """(H, W, 3); the last few images are kept, because a person is asked about several times."""
        return _pixels(self.image)


@lru_cache(maxsize=16)
def _pixels(image: Path) -> NDArray[np.uint8]:
    return read_image(str(image))


def people_of(manifest: Manifest) -> list[Person]:
    """Everybody with a box and a labelled joint, in order."""
    found: list[Person] = []
    for sample in manifest:
        poses = sample.poses
        for i in np.flatnonzero(poses.labelled.any(axis=1) & ~poses.crowd & np.isfinite(poses.box).all(axis=1)):
            labelled = np.array(poses.labelled[i])
            xy = np.where(labelled[:, None], poses.xy[i].astype(np.float64), 0.0)
            image = manifest.image_path(sample)
            found.append(
                Person(image, sample.size, np.array(poses.box[i]), xy, labelled, np.array(poses.visibility[i]))
            )
    return found


@dataclass(frozen=True, eq=False)
class Answers:
    """What a network said of N boxes.

    Attributes:
        xy: (N, K, 2) pixels of the image that it was given.
        score: (N, K) height of the peak.
        presence: (N, K) probability to lie inside the image; None without a presence head.
        visible: (N, K) probability to be visible, given that; None without.
    """

    xy: Floats
    score: Floats
    presence: Floats | None
    visible: Floats | None


def predict_people(
    model: Any, shown: Iterable[tuple[NDArray[np.uint8], Floats]], *, flip_test: bool = False
) -> Answers:
    """Ask a network about boxes of images.

    Args:
        model: From ``load_model``.
        shown: Pairs of an image (H, W, 3) and its boxes (n, 4).
        flip_test: Ask about the mirror image too.
    """
    from model.predict import Predictor

    predictor = Predictor(model, batch_size=64, flip_test=flip_test)
    images = ((torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1), boxes) for image, boxes in shown)
    answers = list(predictor.predict(images)) or [predictor.nothing()]

    def together(name: str) -> Floats:
        return np.concatenate([getattr(answer, name) for answer in answers]).astype(np.float64)

    head = model.config.presence
    return Answers(
        together("xy"),
        together("score"),
        together("presence") if head else None,
        together("visible") if head else None,
    )


def errors(xy: Floats, truth: Floats, labelled: NDArray[np.bool_], lengths: Floats) -> Floats:
    """(N, K) distance in units of ``lengths`` (N,); NaN where there is nothing to compare."""
    distance = np.linalg.norm(xy - truth, axis=-1) / lengths[:, None]
    return np.where(labelled, distance, np.nan)


def person_errors(model: Any, people: Sequence[Person], *, flip_test: bool = False) -> Floats:
    """(P, K) error in longer sides of the person's box; NaN where unlabelled."""
    shown = ((person.pixels(), person.box[None]) for person in people)
    answers = predict_people(model, shown, flip_test=flip_test)
    truth, labelled = np.stack([p.xy for p in people]), np.stack([p.labelled for p in people])
    return errors(answers.xy, truth, labelled, np.array([longer_side(p.box) for p in people]))


def longer_side(box: Floats) -> float:
    """Of a box (4,), in pixels: what PCK's tolerance is a share of."""
    return float(max(box[2] - box[0], box[3] - box[1]))
