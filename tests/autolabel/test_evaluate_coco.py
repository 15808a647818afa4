"""AP and AR against pycocotools' own way from files: ``COCO(file)``, ``loadRes``, ``COCOeval``."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from autolabel.evaluate_coco import coco_metrics
from autolabel.poses import Poses
from autolabel.skeleton import Skeleton

COCO17 = Skeleton.load("coco17")
NAMES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")


def crowd_of(rng: np.random.Generator, n: int) -> Poses:
    """True people of all sizes, some keypoints unlabelled, with masks."""
    corner, side = rng.uniform(0, 500, (n, 1, 2)), rng.uniform(40, 400, (n, 1, 1))
    xy = corner + side * rng.uniform(0, 1, (n, 17, 2))
    visibility = rng.choice([0, 1, 2], (n, 17), p=[0.2, 0.2, 0.6])
    visibility[:, 0] = 2
    box = np.concatenate([corner[:, 0], corner[:, 0] + side[:, 0]], axis=1)
    return Poses.create(17, xy=xy, visibility=visibility, box=box, area=0.4 * side.reshape(-1) ** 2)


def predicted(rng: np.random.Generator, truth: Poses) -> Poses:
    noise = rng.uniform(0.5, 12, (len(truth), 1, 1)) * rng.normal(0, 1, truth.xy.shape)
    near = Poses.create(17, xy=truth.xy + noise, box_score=rng.uniform(0.2, 1, len(truth)))
    nobody = Poses.create(17, xy=rng.uniform(0, 900, (2, 17, 2)), box_score=rng.uniform(0, 0.6, 2))
    return Poses.concat([near, nobody])


def from_files(folder: Path, pairs: list[tuple[Poses, Poses]], sigmas: Any) -> list[float]:
    def triples(poses: Poses, i: int, v: Any) -> list[float]:
        return np.column_stack([poses.xy[i].astype(float), v]).reshape(-1).tolist()

    truth: dict[str, Any] = {
        "images": [{"id": i} for i in range(len(pairs))],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [],
    }
    results: list[dict[str, Any]] = []
    for image, (found, true) in enumerate(pairs):
        for i in range(len(true)):
            x1, y1, x2, y2 = true.box[i].tolist()
            truth["annotations"].append(
                {
                    "id": len(truth["annotations"]) + 1,
                    "image_id": image,
                    "category_id": 1,
                    "iscrowd": 0,
                    "area": float(true.area[i]),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "num_keypoints": int((true.visibility[i] > 0).sum()),
                    "keypoints": triples(true, i, true.visibility[i]),
                }
            )
        for i in range(len(found)):
            record = {"image_id": image, "category_id": 1, "keypoints": triples(found, i, np.ones(17))}
            results.append({**record, "score": float(found.box_score[i])})
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "results.json").write_text(json.dumps(results))
    coco = COCO(str(folder / "truth.json"))
    judge = COCOeval(coco, coco.loadRes(str(folder / "results.json")), "keypoints")
    judge.params.kpt_oks_sigmas = np.array(sigmas)
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    return judge.stats.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_numbers_are_those_of_pycocotools(seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(seed)
    truths = [crowd_of(rng, n) for n in (1, 3, 0, 5, 2, 4)]
    pairs = [(predicted(rng, truth), truth) for truth in truths]
    expected = from_files(tmp_path, pairs, COCO17.sigmas)
    assert 0.1 < expected[0] < 0.95  # neither perfect nor hopeless
    capsys.readouterr()
    assert list(coco_metrics(pairs, COCO17).values()) == pytest.approx(expected, abs=1e-12)
    assert capsys.readouterr().out == ""  # stdout belongs to the command's result


def test_the_skeletons_sigmas_are_used() -> None:
    rng = np.random.default_rng(1)
    pairs = [(predicted(rng, truth), truth) for truth in (crowd_of(rng, 4), crowd_of(rng, 4))]
    strict = Skeleton("strict", COCO17.keypoints, (), COCO17.flip, (0.01,) * 17, "test")
    loose, tight = coco_metrics(pairs, COCO17)["AP"], coco_metrics(pairs, strict)["AP"]
    assert loose is not None and tight is not None and tight < loose


def test_confident_poses_count_first() -> None:
    rng = np.random.default_rng(2)
    truth = crowd_of(rng, 1)
    found = Poses.concat([truth, truth.replace(xy=truth.xy + 200)])
    right = found.replace(box_score=[0.9, 0.9], score=np.full((2, 17), [[0.9], [0.3]]))
    wrong = found.replace(box_score=[0.9, 0.9], score=np.full((2, 17), [[0.3], [0.9]]))
    assert coco_metrics([(right, truth)], COCO17)["AP"] == pytest.approx(1)
    assert coco_metrics([(wrong, truth)], COCO17)["AP"] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("n", [0, 3])
def test_without_predictions_or_truth(n: int) -> None:
    truth = crowd_of(np.random.default_rng(0), n)
    metrics = coco_metrics([(Poses.empty(17), truth)], COCO17)
    assert tuple(metrics) == NAMES
    assert metrics["AP"] == (0.0 if n else None)
