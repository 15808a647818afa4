"""One part of a prediction, with a network that answers from the box alone."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from autolabel.errors import SkeletonError
from autolabel.formats.coco_boxes import Boxes
from autolabel.manifest import Existing, Manifest, write_manifest
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.skeleton import Skeleton
from autolabel.stages import Stages
from autolabel.suppress import oks_nms, rescore
from model.config import ViTPoseConfig
from model.prediction import Prediction
from pipelines.decoding import LOOKAHEAD
from pipelines.predict_part import Job, PartReport, predict_part
from tests.doubles import Recorder

COCO = Skeleton.load("coco17")
K = COCO.num_keypoints
SIZE = (60, 40)
PLACES = np.random.default_rng(0).uniform(0.1, 0.9, (K, 2))
"""Where the fake network sees each keypoint, as parts of the box."""


class FromBoxes:
    """Stands in for the predictor: keypoints at fixed places of the box, in batches of two.

    Attributes:
        seen: What it was asked for.
    """

    def __init__(
        self,
        score: float = 0.8,
        *,
        presence: NDArray[Any] | None = None,
        visible: NDArray[Any] | None = None,
        skeleton: Skeleton = COCO,
        config: Mapping[str, float] | None = None,
    ) -> None:
        self.model = SimpleNamespace(skeleton=skeleton, config=ViTPoseConfig.parse(config or {}, subject="fake"))
        self.score = score
        unknown = np.full(skeleton.num_keypoints, np.nan)
        self.presence, self.visible = (unknown if given is None else given for given in (presence, visible))
        self.seen: list[tuple[tuple[int, ...], NDArray[np.float64]]] = []
        self.stages = Stages()

    def reduction(self, boxes: NDArray[np.float64], size: tuple[int, int]) -> int:
        del boxes, size
        return 1

    def answer(self, boxes: NDArray[np.float64]) -> Prediction:
        k = self.model.skeleton.num_keypoints
        size = boxes[:, 2:] - boxes[:, :2]
        xy = boxes[:, None, :2] + PLACES[:k] * size[:, None]
        score, presence, visible = (
            np.broadcast_to(np.float32(value), (len(boxes), k)) for value in (self.score, self.presence, self.visible)
        )
        again = boxes[:, 0] % 2 == 1  # those whose corner is odd
        return Prediction(
            xy.astype(np.float32), score, presence, visible, again, {"corner": boxes[:, [0]].astype(np.float32)}
        )

    def nothing(self) -> Prediction:
        return self.answer(np.empty((0, 4)))

    def predict(self, images: Iterable[tuple[Any, NDArray[np.float64]]]) -> Iterator[Prediction]:
        waiting = np.empty((0, 4))
        for image, boxes in images:
            self.seen.append((tuple(image.shape), boxes))
            waiting = np.concatenate([waiting, boxes])
            while len(waiting) >= 2:
                yield self.answer(waiting[:2])
                waiting = waiting[2:]
        if len(waiting):
            yield self.answer(waiting)

    def padded_area(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        return 2.0 * (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)


def picture(folder: Path, i: int) -> Sample:
    pixels = np.random.default_rng(i).integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / f"{i}.png")
    return Sample(f"s{i}", "images", f"{i}.png", SIZE, Poses.empty(K))


def boxes(*corners: float, side: float = 20) -> NDArray[np.float64]:
    return np.array([[c, c, c + side, c + side] for c in corners], np.float64).reshape(-1, 4)


def people(name: str, *corners: float, **more: Any) -> Poses:
    return Poses.create(K, id=[f"{name}-{c:g}" for c in corners], box=boxes(*corners), **more)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path


def job(
    folder: Path,
    poses: list[Poses],
    predictor: Any = None,
    skeleton: Skeleton = COCO,
    given: dict[tuple[str, str], Boxes] | None = None,
) -> Job:
    samples = [picture(folder / "images", i).with_poses(its) for i, its in enumerate(poses)]
    manifest = write_manifest(
        folder / "m",
        samples,
        skeleton,
        {"images": folder / "images"},
        stage="test",
        existing=Existing.OVERWRITE,
    )
    return Job(manifest, given, "boxes.json", predictor or FromBoxes(), "weights-1")


def run(job: Job) -> tuple[Poses, dict[str, NDArray[Any]], PartReport, list[Sample]]:
    task = Recorder()
    samples, features, report = predict_part(job, job.manifest.part(0), task)
    assert task.done == len(job.manifest), "every image is counted once"
    assert [sample.key for sample in samples] == [sample.key for sample in job.manifest]
    poses = Poses.concat([sample.poses for sample in samples])
    assert all(len(values) == len(poses) for values in features.values())
    return poses, features, report, samples


def test_every_box_gets_its_pose(folder: Path) -> None:
    given = people("a", 1, 5, 9, area=[7.0, 8, 9], group=["x", "y", "z"], attributes=[{"n": i} for i in range(3)])
    work = job(folder, [given, people("b", 3), people("c", 2, 4)])
    poses, features, report, samples = run(work)
    assert [len(sample.poses) for sample in samples] == [3, 1, 2]
    corner = np.array([1.0, 5, 9, 3, 2, 4])
    assert poses.id.tolist() == ["a-1", "a-5", "a-9", "b-3", "c-2", "c-4"]
    assert poses.xy == pytest.approx(corner[:, None, None] + PLACES * 20, abs=1e-5)
    assert features["corner"][:, 0].tolist() == corner.tolist()
    assert (poses.score == np.float32(0.8)).all()
    assert (poses.visibility == Visibility.VISIBLE).all() and (poses.origin == Origin.MODEL).all()
    assert poses.by.tolist() == ["weights-1"] * 6
    assert poses.area[:3].tolist() == [7, 8, 9] and poses.group[:3].tolist() == ["x", "y", "z"]
    assert [a.get("n") for a in poses.attributes] == [0, 1, 2, None, None, None]
    assert report == PartReport(larger_crops=4)


def test_crowds_and_people_without_a_box_stay_as_they_are(folder: Path) -> None:
    box = boxes(1, 5, 9, 13)
    box[2] = np.nan
    given = Poses.create(K, id=["one", "crowd", "boxless", "two"], box=box, crowd=[False, True, False, False])
    work = job(folder, [people("a", 3), given, Poses.create(K, id=["none"])])
    poses, features, report, _ = run(work)
    assert np.isfinite(poses.xy).all(axis=(1, 2)).tolist() == [True, True, False, False, True, False]
    assert features["corner"][:, 0] == pytest.approx([3, 1, np.nan, np.nan, 13, np.nan], nan_ok=True)
    assert poses.crowd.tolist() == [False, False, True, False, False, False]
    assert (poses.visibility[[2, 3, 5]] == Visibility.UNLABELLED).all()
    assert (poses.origin[[2, 3, 5]] == Origin.NONE).all() and poses.by[[2, 3, 5]].tolist() == [""] * 3
    assert report.unboxed == 1
    assert [shape for shape, _ in work.predictor.seen] == [(3, 40, 60)] * 2, "nothing is read for nobody"  # pyright: ignore


def test_images_that_cannot_be_used_are_set_aside_and_stop_nothing(folder: Path) -> None:
    work = job(folder, [people(f"{i}", i, i + 10) for i in range(6)])
    images = folder / "images"
    (images / "1.png").write_bytes((images / "1.png").read_bytes()[:300])
    (images / "3.png").unlink()
    Image.new("RGB", (50, 40)).save(images / "4.png")
    poses, features, report, _ = run(work)
    assert [(record["path"], record["reason"]) for record in report.quarantined] == [
        ("1.png", "truncated"),
        ("3.png", "vanished"),
        ("4.png", "other size"),
    ]
    assert report.quarantined[2]["detail"] == "is 50x40 now, the manifest says 60x40"
    assert all(set(record) == {"path", "reason", "detail"} and record["detail"] for record in report.quarantined)
    lost = np.repeat([False, True, False, True, True, False], 2)
    assert np.isnan(poses.xy).all(axis=(1, 2)).tolist() == lost.tolist()
    assert poses.box.tolist() == np.concatenate([boxes(i, i + 10) for i in range(6)]).tolist(), "their boxes stay"
    assert features["corner"][~lost, 0].tolist() == poses.box[~lost, 0].tolist()
    assert np.isnan(features["corner"][lost]).all()


@pytest.mark.parametrize("poses", [[people("a", 1), people("b", 2)], [Poses.create(K, id=["boxless"])] * 2])
def test_a_part_of_which_nothing_was_predicted_has_features_all_the_same(folder: Path, poses: list[Poses]) -> None:
    """Or the stage that scores would refuse the whole manifest for the sake of one bad part."""
    work = job(folder, poses)
    for file in (folder / "images").iterdir():
        file.unlink()
    found, features, _, _ = run(work)
    assert features["corner"].shape == (2, 1) and np.isnan(features["corner"]).all()
    assert np.isnan(found.xy).all() and (found.origin == Origin.NONE).all()


def test_a_part_without_anybody(folder: Path) -> None:
    work = job(folder, [Poses.empty(K), people("a", 1)])
    samples, features, _ = predict_part(work, work.manifest.part(0)[:1], Recorder())
    assert [len(sample.poses) for sample in samples] == [0]
    assert features["corner"].shape == (0, 1)
    assert predict_part(work, [], Recorder())[0] == []


# ---- where boxes come from


def test_nobody_gave_boxes(folder: Path) -> None:
    poses, _, report, samples = run(job(folder, [Poses.empty(K)] * 3))
    assert poses.box.tolist() == [[0, 0, *SIZE]] * 3
    assert [a["box_source"] for a in poses.attributes] == ["whole-image"] * 3
    assert len({*poses.id}) == 3
    assert report.unboxed == 0
    assert [len(sample.poses) for sample in samples] == [1, 1, 1]


def test_an_image_without_people_stays_without(folder: Path) -> None:
    """Whoever boxed the other images said that here is nobody."""
    poses, _, report, samples = run(job(folder, [people("a", 1), Poses.empty(K), people("c", 2)]))
    assert [len(sample.poses) for sample in samples] == [1, 0, 1]
    assert report.unboxed == 1
    assert poses.id.tolist() == ["a-1", "c-2"]


def test_boxes_of_a_file_replace_the_manifests(folder: Path) -> None:
    given = {
        ("images", "0.png"): Boxes(boxes(2, 30), np.array([0.9, 0.5], np.float32), (7, 8)),
        ("images", "1.png"): Boxes(boxes(), np.array([], np.float32), ()),
    }
    work = job(folder, [people("a", 1), people("b", 1), people("c", 1)], given=given)
    poses, _, report, samples = run(work)
    assert [len(sample.poses) for sample in samples] == [2, 0, 0]
    assert poses.box.tolist() == boxes(2, 30).tolist()
    assert poses.box_score.tolist() == pytest.approx([0.9, 0.5])
    assert report.unboxed == 2
    again, *_ = run(work)
    assert again.id.tolist() == poses.id.tolist() and len({*poses.id}) == 2
    renamed, *_ = run(replace(work, boxes_source="other.json"))
    assert not {*renamed.id} & {*poses.id}, "another source, other poses"


# ---- what was said before


def test_a_prediction_replaces_labels_and_the_verdict_on_them(folder: Path) -> None:
    labelled = people(
        "a",
        *(1, 2, 3),
        xy=np.full((3, K, 2), 5.0),
        visibility=np.full((3, K), 2),
        origin=np.full((3, K), Origin.HUMAN),
        by=["anna"] * 3,
        p_bad=[0.1] * 3,
        attributes=[{"state": "reviewed", "verdict": ["x"], "n": 1}, {"state": "rejected", "verdict": ["y"]}, {}],
    )
    work = job(folder, [labelled, people("b", 1, xy=np.full((1, K, 2), 5.0), visibility=np.full((1, K), 2))])
    (folder / "images" / "1.png").unlink()
    poses, *_ = run(work)
    assert np.isnan(poses.p_bad).all()
    assert poses.attributes[:3] == ({"n": 1}, {"state": "rejected", "verdict": ["y"]}, {})
    assert (poses.origin[:3] == Origin.MODEL).all() and poses.by[:3].tolist() == ["weights-1"] * 3
    # Of the image that is gone nothing is predicted, and a label is no prediction.
    assert np.isnan(poses.xy[3]).all() and (poses.visibility[3] == Visibility.UNLABELLED).all()


def test_boxes_may_come_with_any_skeleton_and_labels_may_not(folder: Path) -> None:
    animals = Skeleton.load("ap10k17")
    poses, *_ = run(job(folder, [people("a", 1, 2)], skeleton=animals))
    assert np.isfinite(poses.xy).all()
    labelled = people("a", 1, xy=np.full((1, K, 2), 5.0), visibility=np.full((1, K), 2))
    with pytest.raises(SkeletonError, match="ap10k17"):
        run(job(folder, [labelled], skeleton=animals))
    few = Skeleton("few", COCO.keypoints[:3], (), (0, 2, 1), (0.05,) * 3, "test")
    poses, *_ = run(job(folder, [people("a", 1)], predictor=FromBoxes(skeleton=few)))
    assert poses.num_keypoints == 3


def test_low_peaks_say_absent_for_networks_that_learnt_it(folder: Path) -> None:
    poses, *_ = run(job(folder, [people("a", 1)], predictor=FromBoxes(score=0.1, config={"absent_below": 0.2})))
    assert (poses.visibility == Visibility.ABSENT).all()
    assert np.isfinite(poses.xy).all() and (poses.origin == Origin.MODEL).all()


@pytest.mark.parametrize(
    ("presence", "visible", "stated"),
    [
        (0.9, 0.9, Visibility.VISIBLE),
        (0.9, 0.1, Visibility.HIDDEN),
        (0.3, 0.9, Visibility.ABSENT),
        (0.3, 0.1, Visibility.ABSENT),  # what is not there is not hidden
        (0.4, 0.6, Visibility.VISIBLE),  # the thresholds themselves
        (0.4, 0.59, Visibility.HIDDEN),
        (0.39, 0.6, Visibility.ABSENT),
        (np.nan, np.nan, Visibility.ABSENT),  # no head: the peak decides
    ],
)
def test_probabilities_become_words_by_the_networks_thresholds(
    folder: Path, presence: float, visible: float, stated: Visibility
) -> None:
    """The peak is below ``absent_below`` throughout, which counts only where there is no presence."""
    config = {"presence_threshold": 0.4, "visible_threshold": 0.6, "absent_below": 0.2}
    predictor = FromBoxes(0.1, presence=np.full(K, presence), visible=np.full(K, visible), config=config)
    poses, *_ = run(job(folder, [people("a", 1)], predictor=predictor))
    assert (poses.visibility == stated).all()
    assert np.array_equal(poses.presence[0], np.full(K, presence, np.float32), equal_nan=True)
    assert np.isfinite(poses.xy).all() and (poses.origin == Origin.MODEL).all(), "it keeps its place"


def test_each_pose_has_its_own_presence(folder: Path) -> None:
    """Also where some have none: a crowd, a pose without a box, an image that cannot be read."""

    class ByCorner(FromBoxes):
        def answer(self, boxes: NDArray[np.float64]) -> Prediction:
            said = super().answer(boxes)
            presence = np.broadcast_to(np.float32(boxes[:, [0]] / 20), said.score.shape)
            return replace(said, presence=presence, visible=presence)

    given = [people("a", 3, 12, crowd=[False, True]), people("b", 8), people("c", 15, 4)]
    work = job(folder, given, predictor=ByCorner())
    (folder / "images" / "1.png").unlink()
    poses, _, report, _ = run(work)
    assert poses.presence[:, 0] == pytest.approx([0.15, np.nan, np.nan, 0.75, 0.2], nan_ok=True)
    words = [Visibility.ABSENT, Visibility.UNLABELLED, Visibility.UNLABELLED, Visibility.VISIBLE, Visibility.ABSENT]
    assert poses.visibility[:, 5].tolist() == words
    assert report.larger_crops == 2, "of what was predicted, corners 3 and 15 are odd"


def test_a_network_that_says_nothing(folder: Path) -> None:
    class Mute(FromBoxes):
        def answer(self, boxes: NDArray[np.float64]) -> Prediction:
            said = super().answer(boxes)
            return replace(said, xy=said.xy * np.nan, score=said.score * np.nan)

    poses, *_ = run(job(folder, [people("a", 1)], predictor=Mute()))
    assert (poses.visibility == Visibility.UNLABELLED).all() and (poses.origin == Origin.NONE).all()


# ---- suppression


def test_the_better_of_two_boxes_on_one_person_is_kept(folder: Path) -> None:
    work = job(
        folder,
        [
            people("a", 1, 1.2, 30, box_score=[0.5, 0.9, 0.4]),  # the second is the better of the first two
            people("b", 1, 1.2),  # nobody scored these: people drew them
            people("c", 1.1, box_score=[0.1]),  # alike, but in another image
            people("d", 1, 1.2, box_score=[0.9, np.nan]),
        ],
    )
    poses, features, report, samples = run(work)
    assert poses.id.tolist() == ["a-1.2", "a-30", "b-1", "b-1.2", "c-1.1", "d-1", "d-1.2"]
    assert [len(sample.poses) for sample in samples] == [2, 2, 1, 2]
    assert features["corner"][:, 0] == pytest.approx(poses.box[:, 0])
    assert report.suppressed == 1


def test_suppression_is_that_of_each_image(folder: Path) -> None:
    rng = np.random.default_rng(1)
    given: list[Poses] = []
    for i in range(12):
        n = int(rng.integers(0, 6))
        corners = 1 + rng.integers(0, 3, n) * 15 + rng.uniform(0, 1.5, n)
        scores = rng.uniform(0.1, 1, n)
        scores[rng.random(n) < 0.2] = np.nan
        given.append(people(f"{i}", *corners, box_score=scores))
    work = job(folder, given)
    (folder / "images" / "4.png").unlink()
    poses, features, report, _ = run(work)
    expected: list[str] = []
    for i, mine in enumerate(given):
        rows = np.flatnonzero(np.isfinite(mine.box_score))
        answer = FromBoxes().answer(mine.box[rows])
        area = FromBoxes().padded_area(mine.box[rows])
        best = oks_nms(answer.xy, rescore(mine.box_score[rows], answer.score), area, COCO.sigmas)
        dropped = {*mine.id[rows]} - {*mine.id[rows[best]]} if i != 4 else set[str]()
        expected += [name for name in mine.id if name not in dropped]
    assert poses.id.tolist() == expected
    assert 3 < report.suppressed == sum(map(len, given)) - len(poses)
    known = np.isfinite(features["corner"][:, 0])
    assert features["corner"][known, 0] == pytest.approx(poses.box[known, 0], abs=1e-5)
    assert known.sum() == len(poses) - len(given[4])


# ---- memory


def test_only_a_few_images_are_decoded_ahead(folder: Path) -> None:
    class Deletes(FromBoxes):
        """As soon as it is given the first image, all files are gone."""

        def predict(self, images: Iterable[tuple[Any, NDArray[np.float64]]]) -> Iterator[Prediction]:
            for i, (image, boxes) in enumerate(images):
                if i == 0:
                    for file in (folder / "images").iterdir():
                        file.unlink()
                yield from super().predict([(image, boxes)])

    count = 3 * LOOKAHEAD
    work = job(folder, [people(f"{i}", 1) for i in range(count)], predictor=Deletes())
    _, _, report, _ = run(work)
    assert len(report.quarantined) >= count - LOOKAHEAD - 1
    assert {record["reason"] for record in report.quarantined} == {"vanished"}


def test_the_manifest_is_read_only(folder: Path) -> None:
    work = job(folder, [people("a", 1)])
    before = Manifest.open(work.manifest.path).digest
    run(work)
    assert Manifest.open(work.manifest.path).digest == before
