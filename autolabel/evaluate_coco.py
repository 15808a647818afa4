"""COCO's keypoint matching, done by pycocotools with our sigmas and areas.

The instance score is the box score times the mean confident keypoint score (``suppress.rescore``). No
suppression happens here: what stands in the manifest is measured. The area of a true person is
``similarity_area``, so that AP uses the same similarity as every other number.

pycocotools says which pose matches which person at each OKS threshold and size; ``average_precision`` adds up. Images
are matched in batches and leave only small tables behind, so that memory does not grow with what pycocotools keeps.
"""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from autolabel.average_precision import NAMES, SIZES, THRESHOLDS, MatchTables, coco_numbers
from autolabel.poses import Poses
from autolabel.similarity import similarity_area
from autolabel.skeleton import Skeleton
from autolabel.suppress import rescore

Pair = tuple[Poses, Poses]
"""The predicted and the true poses of an image."""

_CATEGORY = 1


def coco_metrics(pairs: Sequence[Pair], skeleton: Skeleton) -> dict[str, float | None]:
    """AP and AR over images.

    Args:
        pairs: Of each image the predicted and the true poses.
        skeleton: Gives the sigmas.

    Returns:
        AP, AP50, AP75, APM, APL, AR, AR50, AR75, ARM, ARL; None where there is no true person of that size.
    """
    numbers = coco_numbers(match_images(pairs, skeleton))[0]
    return {name: None if np.isnan(value) else float(value) for name, value in zip(NAMES, numbers, strict=True)}


def match_images(
    pairs: Sequence[Pair], skeleton: Skeleton, scores: Sequence[NDArray[np.float64]] | None = None
) -> MatchTables:
    """Who matches whom, at every threshold and size.

    Args:
        pairs: Of each image the predicted and the true poses.
        skeleton: Gives the sigmas.
        scores: Of each image the poses' scores; without them the instance scores.
    """
    # pycocotools has no types, and talks to stdout, which belongs to the command's result.
    import pycocotools.cocoeval as library

    given = scores if scores is not None else [instance_scores(poses) for poses, _ in pairs]
    with redirect_stdout(io.StringIO()):
        truth = _index([_true(poses) for _, poses in pairs])
        found = _index([_predicted(poses, score) for (poses, _), score in zip(pairs, given, strict=True)])
        evaluation = cast("Any", library).COCOeval(truth, found, "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(skeleton.sigmas)
        evaluation.evaluate()
    assert evaluation.params.areaRngLbl == list(SIZES)
    assert np.array_equal(evaluation.params.iouThrs, THRESHOLDS)
    images = len(pairs)
    # Ordered by size, then by image; None where an image has neither people nor poses.
    matched: list[Any] = evaluation.evalImgs
    by_size = [matched[images * a : images * (a + 1)] for a in range(len(SIZES))]
    people = np.array([[0 if e is None else (e["gtIgnore"] == 0).sum() for e in size] for size in by_size], np.int32)
    some = [i for i, e in enumerate(by_size[0]) if e is not None]
    counts = [len(by_size[0][i]["dtScores"]) for i in some]
    return MatchTables(
        image=np.repeat(np.array(some, np.int32), counts),
        score=np.array([score for i in some for score in by_size[0][i]["dtScores"]], np.float64),
        right=_joined([[(e["dtMatches"] > 0) & (e["dtIgnore"] == 0) for e in _some(size)] for size in by_size]),
        wrong=_joined([[(e["dtMatches"] == 0) & (e["dtIgnore"] == 0) for e in _some(size)] for size in by_size]),
        people=people.T.reshape(images, len(SIZES)),
    )


def instance_scores(poses: Poses) -> NDArray[np.float64]:
    """(N,) what COCO's evaluation sorts by: box score times mean confident keypoint score."""
    return rescore(poses.box_score, poses.score)


def _some(images: Sequence[Any]) -> list[Any]:
    return [e for e in images if e is not None]


def _joined(sizes: Sequence[Sequence[NDArray[np.bool_]]]) -> NDArray[np.bool_]:
    """(A, T, D) of the images' (T, D)."""
    nothing = np.zeros((len(THRESHOLDS), 0), bool)
    return np.stack([np.concatenate([nothing, *images], axis=1) for images in sizes])


def _index(images: Sequence[list[dict[str, Any]]]) -> Any:
    """A pycocotools ``COCO`` over one list of annotations an image."""
    import pycocotools.coco as library

    coco = cast("Any", library).COCO()
    annotations = [
        {**annotation, "image_id": i, "category_id": _CATEGORY}
        for i, image in enumerate(images)
        for annotation in image
    ]
    coco.dataset = {
        "images": [{"id": i} for i in range(len(images))],
        "categories": [{"id": _CATEGORY}],
        # Ids count from 1: pycocotools takes a match with id 0 for no match.
        "annotations": [{**annotation, "id": n} for n, annotation in enumerate(annotations, start=1)],
    }
    coco.createIndex()
    return coco


def _true(poses: Poses) -> list[dict[str, Any]]:
    visibility = np.where(poses.labelled, poses.visibility, 0)
    area = np.nan_to_num(similarity_area(poses))
    return [
        {
            "keypoints": _triples(poses.xy[i], visibility[i]),
            "num_keypoints": int(poses.labelled[i].sum()),
            "bbox": _xywh(poses.box[i]),
            "area": float(area[i]),
            "iscrowd": int(poses.crowd[i]),
        }
        for i in range(len(poses))
    ]


def _predicted(poses: Poses, score: NDArray[np.float64]) -> list[dict[str, Any]]:
    xy = np.nan_to_num(poses.xy.astype(np.float64))
    width, height = (xy.max(axis=1) - xy.min(axis=1)).T
    return [
        {
            "keypoints": _triples(xy[i], np.ones(poses.num_keypoints)),
            "score": float(score[i]),
            # pycocotools' own results have the area of the keypoints' extent; it decides which unmatched ones
            # count as medium and large.
            "area": float(width[i] * height[i]),
            "iscrowd": 0,
        }
        for i in range(len(poses))
    ]


def _triples(xy: Any, visibility: Any) -> list[float]:
    """3 K numbers x, y, v; a missing coordinate is COCO's 0, 0."""
    place = np.nan_to_num(np.asarray(xy, np.float64))
    return np.concatenate([place, np.asarray(visibility, np.float64)[:, None]], axis=1).reshape(-1).tolist()


def _xywh(box: Any) -> list[float]:
    x, y, right, bottom = (float(edge) for edge in np.nan_to_num(box))
    return [x, y, right - x, bottom - y]
