"""Our OKS against pycocotools' ``computeOks``, element by element, on exactly the stored (float32) coordinates.

Both are given the same area. Truths without a labelled keypoint are held apart: there pycocotools measures how far a
pose lies outside twice the box, and we say that nothing can be compared.
"""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from autolabel.formats.coco import read_coco
from autolabel.poses import Poses
from autolabel.similarity import oks_matrix, similarity_area
from autolabel.skeleton import Skeleton

COCO17 = Skeleton.load("coco17")
REAL = Path(__file__).parents[3] / "shared/data/coco25/annotations.json"
NOWHERE = 1e7
"""Where pycocotools is told a keypoint lies that was not predicted: it has no such thing, and exp(-far) is 0."""


def pycocotools_oks(poses: Poses, truth: Poses, sigmas: Any) -> Any:
    """(N, T)"""

    def record(i: int, one: Poses, v: Any, **more: Any) -> dict[str, Any]:
        xy = np.nan_to_num(one.xy[i].astype(np.float64), nan=NOWHERE)
        keypoints = np.column_stack([xy, v]).reshape(-1).tolist()
        return {"id": i + 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "keypoints": keypoints, **more}

    def coco(annotations: list[dict[str, Any]]) -> Any:
        made = COCO()
        made.dataset = {"images": [{"id": 1}], "categories": [{"id": 1}], "annotations": annotations}
        made.createIndex()
        return made

    area, ones = similarity_area(truth), np.ones(poses.num_keypoints)
    box = np.nan_to_num(truth.box)
    labelled = truth.labelled
    true = [
        record(
            i, truth, labelled[i].astype(int), area=float(area[i]), num_keypoints=int(labelled[i].sum()),
            bbox=[*box[i, :2].tolist(), *(box[i, 2:] - box[i, :2]).tolist()],
        )
        for i in range(len(truth))
    ]  # fmt: skip
    found = [record(i, poses, ones, score=float(len(poses) - i), area=1.0) for i in range(len(poses))]
    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(coco(true), coco(found), "keypoints")
        judge.params.kpt_oks_sigmas = np.array(sigmas)
        judge.params.maxDets = [len(poses)]
        judge._prepare()
        return np.array(judge.computeOks(1, 1)).reshape(len(poses), len(truth))


def assert_same(poses: Poses, truth: Poses, skeleton: Skeleton = COCO17) -> None:
    ours = oks_matrix(poses, truth, skeleton)
    theirs = pycocotools_oks(poses, truth, skeleton.sigmas)
    comparable = truth.labelled.any(axis=1)
    assert np.abs(ours - theirs)[:, comparable].max(initial=0) < 1e-9
    assert np.isnan(ours[:, ~comparable]).all()
    assert np.isfinite(theirs).all()


Change = Callable[[Any, Any, np.random.Generator], Any]

CHANGES: dict[str, Change] = {
    "nothing": lambda xy, side, rng: xy,
    "a hundredth of a pixel": lambda xy, side, rng: xy + rng.normal(0, 0.01, xy.shape),
    "jitter of a few pixels": lambda xy, side, rng: xy + rng.normal(0, 3, xy.shape),
    "jitter of a tenth of the box": lambda xy, side, rng: xy + rng.normal(0, 0.1, xy.shape) * side,
    "left for right": lambda xy, side, rng: xy[:, list(COCO17.flip)],
    "another person's joints": lambda xy, side, rng: np.where(
        rng.random(xy.shape[:2])[..., None] < 0.3, np.roll(xy, 1, axis=0), xy
    ),
    "missing joints": lambda xy, side, rng: np.where(rng.random(xy.shape[:2])[..., None] < 0.3, np.nan, xy),
    "half the size": lambda xy, side, rng: xy / 2,
    "a thousandth of the size": lambda xy, side, rng: xy / 1000,
    "far outside the image": lambda xy, side, rng: xy + 5000,
}


@pytest.mark.parametrize("change", CHANGES)
def test_oks_of_real_people_is_pycocotools(change: str) -> None:
    if not REAL.is_file():
        pytest.skip("shared/data/coco25 is not here")
    rng = np.random.default_rng(0)
    people = 0
    for sample in read_coco(REAL).samples:
        truth = sample.poses
        side = np.maximum(*(truth.box[:, 2:] - truth.box[:, :2]).T)[:, None, None]
        # A keypoint that nobody labelled is still predicted somewhere.
        xy = np.nan_to_num(truth.xy.astype(np.float64), nan=100.0)
        poses = Poses.create(17, xy=CHANGES[change](xy, side, rng))
        assert_same(poses, truth)
        people += len(truth)
    assert people == 70


@pytest.mark.parametrize("side", [3.0, 40.0, 2000.0])
def test_oks_where_the_area_is_the_boxs_in_disguise(side: float) -> None:
    rng = np.random.default_rng(1)
    xy = rng.uniform(0, side, (4, 17, 2))
    box = np.tile([0.0, 0, side, side], (4, 1))
    truth = Poses.create(
        17, xy=xy, visibility=rng.choice([1, 2], (4, 17)), box=box, area=[side**2, np.nan, 0.3 * side**2, 0.0]
    )
    assert_same(Poses.create(17, xy=xy + rng.normal(0, 0.05, xy.shape) * side), truth)


COORDINATES = st.floats(-1e4, 1e4, width=32)


@settings(max_examples=60, deadline=None)
@given(
    xy=arrays(np.float32, (2, 3, 5, 2), elements=COORDINATES),
    visibility=arrays(np.uint8, (3, 5), elements=st.integers(0, 3)),
    side=st.floats(1, 5000),
    share=st.floats(0.01, 0.9),
    sigma=st.floats(0.01, 0.3),
)
def test_oks_of_any_poses_is_pycocotools(xy: Any, visibility: Any, side: float, share: float, sigma: float) -> None:
    skeleton = Skeleton("five", tuple("abcde"), (), (0, 1, 2, 3, 4), (sigma,) * 5, "stated by the test")
    box = np.tile([0.0, 0.0, side, side], (3, 1))
    truth = Poses.create(5, xy=xy[1], visibility=visibility, box=box, area=np.full(3, share * side**2))
    near = Poses.create(5, xy=xy[1] + xy[0] / 1e3)
    for poses in (Poses.create(5, xy=xy[0]), near):
        assert_same(poses, truth, skeleton)
