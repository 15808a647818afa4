import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from autolabel.errors import FormatError
from autolabel.evaluate import evaluate
from autolabel.formats.coco import read_coco
from autolabel.formats.coco_results import read_coco_results, write_coco_results
from autolabel.formats.labels import Aspect
from autolabel.formats.policy import ImagePolicy
from autolabel.poses import Origin, Poses, Sample, Visibility

REAL = Path(__file__).parents[4] / "shared/data/coco25/annotations.json"
LISTING = {
    "categories": [{"id": 3, "name": "thing", "keypoints": ["a", "b"]}, {"id": 4, "name": "other"}],
    "images": [{"id": 7, "file_name": "a.jpg", "width": 64, "height": 48},
               {"id": 8, "file_name": "b.jpg", "width": 64, "height": 48}],
    "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "keypoints": [1, 1, 2, 2, 2, 2], "bbox": [0, 0, 9, 9]}],
}  # fmt: skip


def result(**changed: Any) -> dict[str, Any]:
    return {"image_id": 7, "category_id": 3, "keypoints": [1.5, 2, 0.9, 0, 0, 0], "score": 0.45} | changed


def read(folder: Path, results: Any, **options: Any) -> Any:
    (folder / "listing.json").write_text(json.dumps(LISTING))
    (folder / "results.json").write_text(json.dumps(results))
    return read_coco_results(folder / "results.json", folder / "listing.json", **options)


def test_results_and_the_images_they_mean(tmp_path: Path) -> None:
    data = read(tmp_path, [result(), result(category_id=4)])
    assert data.notes == ("1 results of other categories left out.",)
    a, b = data.samples
    assert (a.path, b.path, len(a.poses), len(b.poses)) == ("a.jpg", "b.jpg", 1, 0)
    pose = a.poses[0]
    assert pose.xy[0].tolist() == [1.5, 2.0] and np.isnan(pose.xy[1]).all()
    assert pose.visibility.tolist() == [Visibility.VISIBLE, Visibility.UNLABELLED]
    assert pose.origin.tolist() == [Origin.MODEL, Origin.NONE]
    # 0.45 is the box's score times the mean of the confident keypoint scores, 0.9.
    assert pose.score[0] == np.float32(0.9) and pose.box_score == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("third", "visibility", "hidden"),
    [
        ((2, 1), [Visibility.VISIBLE, Visibility.HIDDEN], 1),
        ((2, 0), [Visibility.VISIBLE, Visibility.UNLABELLED], 0),
        ((1, 0), [Visibility.VISIBLE, Visibility.UNLABELLED], 0),  # 1 is what COCO's page tells to write
        ((1, 1), [Visibility.VISIBLE, Visibility.VISIBLE], 0),
    ],
)
def test_flags_are_no_scores(third: tuple[int, int], visibility: list[int], hidden: int, tmp_path: Path) -> None:
    data = read(tmp_path, [result(keypoints=[1, 2, third[0], 3, 4, third[1]])])
    pose = data.samples[0].poses[0]
    assert np.isnan(pose.score).all() and pose.box_score == np.float32(0.45)
    assert pose.visibility.tolist() == visibility and pose.xy.tolist() == [[1, 2], [3, 4]]
    assert pose.origin.tolist() == [Origin.MODEL if v else Origin.NONE for v in visibility]
    (note,) = data.notes
    assert f"({hidden} hidden), not as its score" in note


def test_one_score_makes_all_of_them_scores(tmp_path: Path) -> None:
    data = read(tmp_path, [result(keypoints=[1, 2, 0.5, 3, 4, 0])])
    assert data.samples[0].poses.score.tolist() == [[0.5, 0]] and data.notes == ()
    assert data.samples[0].poses.visibility.tolist() == [[2, 2]]


def test_the_place_of_an_unlabelled_keypoint_is_told_as_lost(tmp_path: Path) -> None:
    data = read(tmp_path, [])
    poses = Poses.create(2, xy=[[[1, 2], [3, 4]]], visibility=[[2, 0]])
    written = write_coco_results(tmp_path / "out.json", [data.samples[0].with_poses(poses)], data.skeleton)
    assert written.lost[Aspect.PLACE] == 1


@pytest.mark.parametrize("carried", ["text", {"category": "dog"}, {"category": {"id": [1]}}, {"category": None}])
def test_a_category_that_is_none_is_the_first(carried: Any, tmp_path: Path) -> None:
    data = read(tmp_path, [])
    poses = Poses.create(2, xy=[[[1, 2], [3, 4]]], visibility=[[2, 2]], attributes=[{"coco": carried}])
    write_coco_results(tmp_path / "out.json", [data.samples[0].with_poses(poses)], data.skeleton)
    assert json.loads((tmp_path / "out.json").read_text())[0]["category_id"] == 1


def test_results_come_back(tmp_path: Path) -> None:
    given = [result(), result(image_id=8, keypoints=[0.1, 0.2, 0.3, 4, 5, 0.75], score=0.5)]
    data = read(tmp_path, given)
    written = write_coco_results(tmp_path / "out.json", data.samples, data.skeleton)
    assert (written.images, written.poses) == (2, 2)
    back = json.loads((tmp_path / "out.json").read_text())
    for wanted, found in zip(given, back, strict=True):
        assert found.pop("score") == pytest.approx(wanted.pop("score"), rel=1e-6)
        assert found == wanted


def test_what_results_cannot_hold_is_said(tmp_path: Path) -> None:
    data = read(tmp_path, [])
    poses = Poses.create(2, xy=[[[1, 2], [3, 4]]], visibility=[[1, 3]], box=[[0, 0, 9, 9]], presence=[[1, 0]])
    sample = data.samples[0].with_poses(poses)
    written = write_coco_results(tmp_path / "out.json", [sample], data.skeleton)
    wanted = {Aspect.HIDDEN, Aspect.ABSENT, Aspect.BOX, Aspect.PRESENCE, Aspect.IMAGE_ATTRIBUTES, Aspect.ORIGIN}
    assert wanted <= set(written.lost)
    # The place of an absent keypoint is still a guess that COCO judges.
    assert json.loads((tmp_path / "out.json").read_text())[0]["keypoints"] == [1, 2, 1, 3, 4, 1]


def test_what_is_no_result_is_not_written(tmp_path: Path) -> None:
    data = read(tmp_path, [])
    poses = Poses.create(2, xy=[[[1, 2], [3, 4]], [[np.nan] * 2] * 2], crowd=[True, False], box=[[0, 0, 9, 9]] * 2)
    write_coco_results(tmp_path / "out.json", [data.samples[0].with_poses(poses)], data.skeleton)
    assert json.loads((tmp_path / "out.json").read_text()) == []


@pytest.mark.parametrize(
    ("results", "message"),
    [
        ({}, "is not a list. Import annotations as coco."),
        ([result(image_id=9)], r"results\[0\].image_id: is 9, which is not the id of any of the images of"),
        ([result(keypoints=[1, 2])], r"results\[0\].keypoints: has 2 entries, expected 6"),
        ([result(score="high")], r"results\[0\].score: is a text, expected a number"),
        ([result(category_id=None)], r"results\[0\].category_id: is null"),
        ([3], r"results\[0\]: is 3, expected an object"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, results: Any, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read(tmp_path, results)


def test_without_what_names_the_images(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(FormatError, match="--listing"):
        read_coco_results(tmp_path / "results.json", None)
    with pytest.raises(FormatError, match="Import it as coco-results"):
        read_coco(tmp_path / "results.json")
    sample = Sample("", "", "x.jpg", (9, 9), Poses.create(2, xy=[[[1, 2], [3, 4]]]))
    with pytest.raises(FormatError, match=r"x.jpg: has no COCO id"):
        write_coco_results(tmp_path / "out.json", [sample], read(tmp_path, []).skeleton)
    assert not (tmp_path / "out.json").exists()


def guesses() -> tuple[list[Sample], Any]:
    """coco25's people as a network with a detector might see them, some twice, some not at all."""
    data = read_coco(REAL)
    rng = np.random.default_rng(0)
    made: list[Sample] = []
    for sample in data.samples:
        poses = sample.poses.take(rng.choice(len(sample.poses), len(sample.poses)))
        n, spread = len(poses), rng.uniform(0, 12, (len(poses), 1, 1))
        moved = np.nan_to_num(poses.xy) + rng.normal(size=poses.xy.shape) * spread
        score = rng.uniform(0.05, 1, poses.score.shape)
        made.append(
            sample.with_poses(
                Poses.create(17, id=[f"{sample.path}-{i}" for i in range(n)], xy=moved, score=score,
                             visibility=np.full((n, 17), 2), origin=np.full((n, 17), 1), box=poses.box,
                             box_score=rng.uniform(0.1, 1, n))
            )
        )  # fmt: skip
    return made, data


@pytest.mark.skipif(not REAL.is_file(), reason="needs ../shared/data/coco25")
def test_pycocotools_gives_the_file_the_ap_that_we_give_the_poses(tmp_path: Path) -> None:
    made, data = guesses()
    write_coco_results(tmp_path / "results.json", made, data.skeleton, policy=ImagePolicy.ALL)
    with redirect_stdout(io.StringIO()):
        truth = COCO(str(REAL))
        official = COCOeval(truth, truth.loadRes(str(tmp_path / "results.json")), "keypoints")
        official.evaluate()
        official.accumulate()
        official.summarize()
    ours = evaluate(made, data.samples, data.skeleton).coco
    assert official.stats[0] > 0.05
    assert [ours[name] for name in ("AP", "AP50", "AP75", "APM", "APL", "AR")] == pytest.approx(
        [official.stats[i] for i in (0, 1, 2, 3, 4, 5)], abs=1e-9
    )
    back = read_coco_results(tmp_path / "results.json", REAL)
    again = evaluate(back.samples, data.samples, data.skeleton).coco
    assert again["AP"] == pytest.approx(ours["AP"], abs=1e-9)
