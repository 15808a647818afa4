"""COCO's keypoint AP and AR, computed by pycocotools with our sigmas and areas.

The instance score is the box score times the mean confident keypoint score (``suppress.rescore``). No
suppression happens here: what stands in the manifest is measured. The area of a true person is
``similarity_area``, so that AP uses the same similarity as every other number.
"""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any, cast

import numpy as np

from autolabel.poses import Poses
from autolabel.similarity import similarity_area
from autolabel.skeleton import Skeleton
from autolabel.suppress import rescore

_NAMES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
_CATEGORY = 1


def coco_metrics(pairs: Sequence[tuple[Poses, Poses]], skeleton: Skeleton) -> dict[str, float | None]:
    """AP and AR over images.

    Args:
        pairs: Of each image the predicted and the true poses.
        skeleton: Gives the sigmas.

    Returns:
        AP, AP50, AP75, APM, APL, AR, AR50, AR75, ARM, ARL; None where there is no true person of that size.
    """
    # pycocotools has no types, and talks to stdout, which belongs to the command's result.
    import pycocotools.cocoeval as library

    with redirect_stdout(io.StringIO()):
        truth = _index([_true(poses) for _, poses in pairs])
        found = _index([_predicted(poses) for poses, _ in pairs])
        evaluation = cast("Any", library).COCOeval(truth, found, "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(skeleton.sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: None if value < 0 else float(value) for name, value in zip(_NAMES, evaluation.stats, strict=True)}


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


def _predicted(poses: Poses) -> list[dict[str, Any]]:
    score = rescore(poses.box_score, poses.score)
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
