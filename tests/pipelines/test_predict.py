"""`predict` goes from a manifest or a folder to poses, does nothing twice, and outlives kills and bad images."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import autolabel.manifest as manifest_module
from autolabel.errors import CheckpointError, ConfigError, ExistsError, InputError, LostServerError
from autolabel.formats.coco_boxes import Boxes
from autolabel.images import read_image
from autolabel.manifest import Manifest, part_file, write_manifest
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.prediction_record import Predicted
from autolabel.skeleton import Skeleton
from autolabel.stages import Spent
from benchmarks.parity_network import randomise
from model.checkpoint import load_model, model_digest, save_model
from model.config import ViTPoseConfig
from model.predict import Predictor
from model.starter import PEOPLE as STARTER
from model.starter import save_starter
from model.vitpose import build_vitpose
from pipelines.boxes import boxes_of_images
from pipelines.console import to_json
from pipelines.parts import QUARANTINE
from pipelines.predict import default_out, predict
from pipelines.profile import Profile
from tests.doubles import Recorder, Stopped, stop
from tests.object_store import point_to, server, store, upload

__all__ = ["server", "store"]

COCO = Skeleton.load("coco17")
K = COCO.num_keypoints
IMAGES, PEOPLE = 6, 2
FAST: Any = {"precision": "fp32", "batch_size": 4}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = ViTPoseConfig(input_size=(64, 48), patch_size=8, width=32, depth=1, heads=2, deconv_channels=16)
    model = build_vitpose(config, COCO)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return save_model(model, tmp_path_factory.mktemp("weights") / "w")


@pytest.fixture(scope="module")
def with_presence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file, of a network with a presence head."""
    config = ViTPoseConfig(
        input_size=(64, 48), patch_size=8, width=32, depth=1, heads=2, deconv_channels=16, presence=True
    ).model_copy(update={"presence_threshold": 0.6, "visible_threshold": 0.4})
    model = build_vitpose(config, COCO)
    randomise(model, 0)
    return save_starter(model, tmp_path_factory.mktemp("weights") / "w.safetensors")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for i in range(IMAGES):
        name = folder / ("deep" if i % 2 else ".") / f"{i}.png"
        name.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 255, (60, 80 + i, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(name)
    return folder


def path(i: int) -> str:
    return f"deep/{i}.png" if i % 2 else f"{i}.png"


@pytest.fixture
def boxed(photos: Path, tmp_path: Path) -> Manifest:
    """Two people an image, three parts."""
    rng = np.random.default_rng(0)
    samples: list[Sample] = []
    for i in range(IMAGES):
        low = rng.uniform(0, 20, (PEOPLE, 2))
        poses = Poses.create(K, id=[f"{i}-{j}" for j in range(PEOPLE)], box=np.concatenate([low, low + 35], axis=1))
        samples.append(Sample(f"s{i}", "photos", path(i), (80 + i, 60), poses))
    return write_manifest(tmp_path / "boxed", samples, COCO, {"photos": photos}, stage="test", part_size=2)


def coco(folder: Path, name: str, records: list[dict[str, Any]], *, results: bool = False) -> dict[str, Path]:
    """A COCO file of boxes over the photos, as the arguments that give it to predict."""
    images = [{"id": 10 + i, "file_name": path(i), "width": 80 + i, "height": 60} for i in range(IMAGES)]
    listing: dict[str, Any] = {"images": images, "categories": [{"id": 1, "name": "person"}], "annotations": []}
    file, beside = folder / f"{name}.json", folder / f"{name}-images.json"
    records = [{"category_id": 1, **record} for record in records]
    file.write_text(json.dumps(records if results else {**listing, "annotations": records}))
    beside.write_text(json.dumps(listing))
    return {"boxes": file, "boxes_images": beside} if results else {"boxes": file}


def test_a_manifest_becomes_a_manifest(boxed: Manifest, weights: Path, tmp_path: Path) -> None:
    progress = Recorder()
    result = predict(boxed.path, weights=weights, out=tmp_path / "m", flip_test=True, progress=progress, **FAST)
    made = Manifest.open(tmp_path / "m")
    assert result.manifest.digest == made.digest
    assert (made.stage, made.num_parts, made.counts) == ("predict", 3, boxed.counts)
    digest = model_digest(weights)
    assert [(parent.role, parent.digest) for parent in made.parents] == [
        ("manifest", boxed.digest),
        ("weights", digest),
    ]
    assert (result.quarantined, result.whole_image, result.unboxed, result.suppressed) == (0, 0, 0, 0)
    assert progress.steps["predict"] == [1] * IMAGES and progress.totals["predict"] == IMAGES and not progress.notes
    predictor = Predictor(load_model(weights), flip_test=True, **FAST)
    for i in range(3):
        samples = boxed.part(i)
        pairs = [
            (torch.tensor(read_image(boxed.image_path(s))).permute(2, 0, 1), s.poses.box) for s in samples
        ]  # one batch a part
        (expected,) = predictor.predict(pairs)
        poses, features = made.poses(i), made.features(i)
        assert np.array_equal(poses.xy, expected.xy) and np.array_equal(poses.score, expected.score)
        assert features is not None and set(features) == {*expected.features, "box_score"}
        assert all(np.array_equal(features[name], values) for name, values in expected.features.items())
        assert poses.id.tolist() == [name for sample in samples for name in sample.poses.id]
        assert {*poses.by} == {digest[:12]} and (poses.origin == Origin.MODEL).all()


def test_the_summary_is_json(boxed: Manifest, weights: Path, tmp_path: Path) -> None:
    result = predict(boxed.path, weights=weights, out=tmp_path / "m", **FAST)
    assert json.loads(to_json(result.summary())) == {
        "manifest": str(tmp_path / "m"),
        "samples": 6,
        "poses": 12,
        "digest": result.manifest.digest,
        "quarantined": 0,
        "whole_image": 0,
        "unboxed": 0,
        "suppressed": 0,
        "larger_crops": 0,
        "skipped": 0,
    }


# ---- boxes


def test_a_folder_of_images_is_one_person_an_image_with_a_warning(photos: Path, weights: Path, tmp_path: Path) -> None:
    (photos / "bad.jpg").write_bytes(b"text")
    progress = Recorder()
    result = predict(photos, weights=weights, out=tmp_path / "m", part_size=4, progress=progress, **FAST)
    assert result.whole_image == len(result.manifest) == IMAGES
    assert result.manifest.num_parts == 2
    for sample in result.manifest:
        assert sample.poses.box.tolist() == [[0, 0, *sample.size]]
    warnings = [note for note in progress.notes if note.startswith("WARNING")]
    assert len(warnings) == 1 and "--boxes" in warnings[0]
    assert "bad.jpg" in (tmp_path / "m-scan" / QUARANTINE).read_text()
    again = predict(photos, weights=weights, out=tmp_path / "m", part_size=4, **FAST)
    assert again.summary() == {**result.summary(), "skipped": IMAGES}
    # New images are another job, which --overwrite does.
    Image.new("RGB", (50, 50)).save(photos / "new.png")
    with pytest.raises(ExistsError, match="--overwrite"):
        predict(photos, weights=weights, out=tmp_path / "m", part_size=4, **FAST)
    new = predict(photos, weights=weights, out=tmp_path / "m", part_size=4, overwrite=True, **FAST)
    assert new.whole_image == IMAGES + 1


def test_boxes_from_coco_annotations(photos: Path, weights: Path, tmp_path: Path) -> None:
    given = coco(
        tmp_path,
        "people",
        [
            {"id": 1, "image_id": 10, "bbox": [5, 5, 30, 40]},
            {"id": 2, "image_id": 10, "bbox": [5, 5, 30, 40]},  # nobody scored them, so both stay
            {"id": 3, "image_id": 11, "bbox": [20.5, 0, 40, 60]},
            {"id": 4, "image_id": 12, "bbox": [0, 0, 80, 60], "iscrowd": 1},
        ],
    )
    progress = Recorder()
    result = predict(photos, weights=weights, out=tmp_path / "m", progress=progress, **given, **FAST)
    found = {sample.path: sample.poses.box.tolist() for sample in result.manifest}
    assert found[path(0)] == [[5, 5, 35, 45]] * 2
    assert found[path(1)] == [[20.5, 0, 60.5, 60]]
    assert [found[path(i)] for i in (2, 3, 4, 5)] == [[]] * 4
    assert (result.whole_image, result.unboxed, result.suppressed) == (0, 4, 0)
    assert progress.notes == ["4 images have no box: nothing was predicted there"]
    assert [parent.role for parent in result.manifest.parents] == ["manifest", "weights", "boxes"]


def test_boxes_from_coco_results(photos: Path, weights: Path, tmp_path: Path) -> None:
    """A detector's boxes are scored, and of two on one person the better is kept."""
    given = coco(
        tmp_path,
        "detected",
        [
            {"image_id": 10, "bbox": [5, 5, 30, 40], "score": 0.6},
            {"image_id": 10, "bbox": [5, 5, 30, 40], "score": 0.7},
            {"image_id": 11, "bbox": [5, 5, 30, 40], "score": 0.5},
        ],
        results=True,
    )
    result = predict(photos, weights=weights, out=tmp_path / "m", **given, **FAST)
    poses = Poses.concat([sample.poses for sample in result.manifest])
    assert poses.box_score.tolist() == pytest.approx([0.7, 0.5])
    assert result.suppressed == 1
    features = result.manifest.features(0)
    assert features is not None and np.array_equal(features["peak"], poses.score)
    assert features["box_score"].dtype == np.float32 and np.array_equal(features["box_score"], poses.box_score)
    assert len(result.manifest.parents) == 4


def test_boxes_of_other_images_are_refused(photos: Path, boxed: Manifest, weights: Path, tmp_path: Path) -> None:
    given = coco(tmp_path, "people", [{"id": 1, "image_id": 10, "bbox": [5, 5, 30, 40]}])
    text = given["boxes"].read_text()
    given["boxes"].write_text(text.replace(".png", ".jpeg"))
    for source in (photos, boxed.path):
        with pytest.raises(InputError, match=r"people\.json: names none of the images"):
            predict(source, weights=weights, out=tmp_path / "m", **given, **FAST)


def boxes_at(corner: float) -> Boxes:
    return Boxes(np.array([[corner, 0, corner + 9, 9]]), np.array([np.nan], np.float32), (1,))


@pytest.mark.parametrize(
    ("images", "names", "expected"),
    [
        (["a/1.jpg", "b/1.jpg"], ["a/1.jpg"], {"a/1.jpg": "a/1.jpg"}),  # as the paths are
        (["a/1.jpg", "b/2.jpg"], ["2.jpg", "1.jpg"], {"a/1.jpg": "1.jpg", "b/2.jpg": "2.jpg"}),  # bare names
        (["a/1.jpg", "1.jpg"], ["1.jpg"], {"1.jpg": "1.jpg"}),  # a path that fits comes before bare names
        (["a/1.jpg"], ["photos/a/1.jpg", "x.jpg"], {"a/1.jpg": "photos/a/1.jpg"}),  # below the root's name
        (["a/1.jpg", "b/1.jpg"], ["1.jpg"], "1.jpg could be several of the images"),
        (["a/1.jpg"], ["2.jpg"], "names none of the images"),
    ],
)
def test_how_a_box_file_names_images(
    tmp_path: Path, images: list[str], names: list[str], expected: dict[str, str] | str
) -> None:
    samples = [Sample(name, "photos", name, (50, 50), Poses.empty(K)) for name in images]
    manifest = write_manifest(tmp_path / "m", samples, COCO, {"photos": tmp_path}, stage="test")
    boxes = {name: boxes_at(i) for i, name in enumerate(names)}
    if isinstance(expected, str):
        with pytest.raises(InputError, match=f"f.json: {expected}"):
            boxes_of_images(manifest, boxes, "f.json")
    else:
        found = boxes_of_images(manifest, boxes, "f.json")
        assert found == {("photos", image): boxes[name] for image, name in expected.items()}


# ---- presence


@pytest.mark.parametrize("larger_crop", [False, True])
def test_presence_and_visibility_come_from_the_head(
    boxed: Manifest, with_presence: Path, tmp_path: Path, larger_crop: bool
) -> None:
    result = predict(boxed.path, weights=with_presence, out=tmp_path / "m", larger_crop=larger_crop, **FAST)
    poses = Poses.concat([sample.poses for sample in result.manifest])
    features = result.manifest.features(0)
    assert features is not None and np.array_equal(features["presence"], result.manifest.poses(0).presence)
    absent, hidden = poses.presence < 0.6, features["visible"] < 0.4
    assert 0.1 < absent.mean() < 0.9
    assert np.array_equal(poses.visibility == Visibility.ABSENT, absent)
    first = result.manifest.poses(0)
    assert np.array_equal(first.visibility == Visibility.HIDDEN, hidden & (first.presence >= 0.6))
    assert np.isfinite(poses.xy).all()
    assert (0 < result.larger_crops <= len(poses)) == larger_crop
    # Another way to look is another job, and the same is the same.
    again = predict(boxed.path, weights=with_presence, out=tmp_path / "m", larger_crop=larger_crop, **FAST)
    assert again.summary() == {**result.summary(), "skipped": IMAGES}
    with pytest.raises(ExistsError, match="another run"):
        predict(boxed.path, weights=with_presence, out=tmp_path / "m", larger_crop=not larger_crop, **FAST)


# ---- how it was predicted


@pytest.mark.parametrize(
    ("more", "differs"),
    [
        ({}, {}),
        ({"flip_test": True}, {"flip_test": True}),
        ({"jitter": True}, {"jitter": True}),
        ({"larger_crop": False}, {"larger_crop": False}),
    ],
)
def test_how_poses_were_predicted_is_written_down(
    boxed: Manifest, with_presence: Path, tmp_path: Path, more: dict[str, Any], differs: dict[str, Any]
) -> None:
    result = predict(boxed.path, weights=with_presence, out=tmp_path / "m", **more, **FAST)
    expected = Predicted(
        model=model_digest(load_model(with_presence))[:12],
        flip_test=False,
        larger_crop=True,
        input_size=(64, 48),
        precision="fp32",
        device=Predictor(load_model(with_presence)).device.type,
        boxes="manifest",
    )
    assert Predicted.read(result.manifest.path) == expected.model_copy(update=differs)
    features = result.manifest.features(0)
    assert features is not None and ("jitter_ks" in features) == ("jitter" in more)
    # With jitter it is another job, and without it keeps the name that it had before there was jitter.
    record = json.loads((tmp_path / "m" / "run.json").read_text())
    assert ("jitter" in record["config"]) == ("jitter" in more)


def test_who_gave_the_boxes_is_written_down(photos: Path, weights: Path, tmp_path: Path) -> None:
    given = coco(tmp_path, "people", [{"id": 1, "image_id": 10, "bbox": [5, 5, 30, 40]}])
    for name, boxes, expected in (("a", {}, "whole-image"), ("b", given, "file")):
        predict(photos, weights=weights, out=tmp_path / name, **boxes, **FAST)
        found = Predicted.read(tmp_path / name)
        assert found is not None and (found.boxes, found.larger_crop) == (expected, False)


# ---- no flags


def test_without_flags(photos: Path, with_presence: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    result = predict(photos, weights=with_presence, **FAST)
    assert result.manifest.path.resolve() == tmp_path / "here" / "photos.poses.m" and len(result.manifest) == IMAGES
    if STARTER.is_file():
        assert predict(photos, overwrite=True, **FAST).manifest.skeleton.name == "coco17"
    else:
        with pytest.raises(ConfigError, match=r"no starter network comes with this package\. Give --weights"):
            predict(photos, overwrite=True, **FAST)
        assert {file.name for file in Path.cwd().iterdir()} == {"photos.poses.m", "photos.poses.m-scan"}


@pytest.mark.parametrize(
    ("here", "source", "expected"),
    [
        ("a", "../photos", "a/photos.poses.m"),
        ("a", "../b/photos.m", "a/photos.poses.m"),
        ("a", "../photos/", "a/photos.poses.m"),
        (".", "photos", "photos.poses.m"),
        ("photos", ".", "photos.poses.m"),  # never among the images
        ("photos/day", "..", "photos.poses.m"),
        ("photos/day", "../../photos", "photos.poses.m"),
        ("photos", "day", "photos/day.poses.m"),
    ],
)
def test_where_poses_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: str, source: str, expected: str) -> None:
    for name in ("a", "b/photos.m", "photos/day"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / here)
    assert default_out(source) == tmp_path / expected


# ---- nothing twice


def test_finished_parts_are_never_computed_again(boxed: Manifest, weights: Path, photos: Path, tmp_path: Path) -> None:
    whole = predict(boxed.path, weights=weights, out=tmp_path / "m", **FAST)
    before = {i: part_file(tmp_path / "m", "samples", i).stat().st_mtime_ns for i in range(3)}
    # As after a kill in part 1: no commit file, parts 0 and 2 finished.
    for file in ("manifest.json", *(f"{kind}-00001.parquet" for kind in ("samples", "poses", "features"))):
        (tmp_path / "m" / file).unlink()
    for i in (0, 1, 4, 5):
        (photos / path(i)).unlink()
    progress = Recorder()
    resumed = predict(boxed.path, weights=weights, out=tmp_path / "m", progress=progress, **FAST)
    assert resumed.summary() == {**whole.summary(), "skipped": 4}
    assert progress.steps["predict"] == [4, 1, 1], "what is there already is counted at once"
    after = {i: part_file(tmp_path / "m", "samples", i).stat().st_mtime_ns for i in range(3)}
    assert [after[i] == before[i] for i in range(3)] == [True, False, True]


def test_the_same_call_again_is_nothing_to_do(boxed: Manifest, weights: Path, photos: Path, tmp_path: Path) -> None:
    first = predict(boxed.path, weights=weights, out=tmp_path / "m", **FAST)
    for i in range(IMAGES):
        (photos / path(i)).unlink()
    progress = Recorder()
    again = predict(boxed.path, weights=weights, out=tmp_path / "m", progress=progress, **FAST)
    assert again.summary() == {**first.summary(), "skipped": IMAGES}
    assert not progress.done


def test_other_settings_are_another_job(boxed: Manifest, weights: Path, tmp_path: Path) -> None:
    predict(boxed.path, weights=weights, out=tmp_path / "m", **FAST)
    (tmp_path / "m" / "manifest.json").unlink()  # stopped before the end: its parts must not be mixed with others
    other = load_model(weights)
    with torch.no_grad():
        next(other.parameters()).add_(1)
    save_model(other, tmp_path / "other")
    changes: list[dict[str, Any]] = [
        {"flip_test": True},
        {"batch_size": 5},
        {"reduce": False},
        {"weights": tmp_path / "other"},
    ]
    for change in changes:
        with pytest.raises(ExistsError, match="another run"):
            predict(boxed.path, **{"weights": weights, "out": tmp_path / "m", **FAST, **change})
    kept = predict(boxed.path, weights=weights, out=tmp_path / "m", **FAST)
    replaced = predict(boxed.path, weights=weights, out=tmp_path / "m", overwrite=True, flip_test=True, **FAST)
    assert replaced.manifest.digest != kept.manifest.digest
    features = replaced.manifest.features(0)
    assert features is not None and "flip_ks" in features


# ---- kills and bad images

CHILD = """
import sys
from pipelines.predict import predict
from tests.doubles import Recorder, kill

source, weights, out, after = sys.argv[1:]
predict(source, weights=weights, out=out, precision="fp32", batch_size=4, progress=Recorder(int(after), kill))
"""


def test_kill_9_in_the_middle_changes_nothing(boxed: Manifest, weights: Path, photos: Path, tmp_path: Path) -> None:
    (photos / path(2)).write_bytes(b"broken")
    whole = predict(boxed.path, weights=weights, out=tmp_path / "whole", **FAST)
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(boxed.path), str(weights), str(tmp_path / "m"), "4"],
        cwd=Path(__file__).parents[2],
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
    )
    assert child.returncode == -signal.SIGKILL
    assert part_file(tmp_path / "m", "samples", 0).exists(), "killed in the second part"
    assert not part_file(tmp_path / "m", "samples", 1).exists()
    (photos / path(0)).unlink()  # of the finished part: not needed any more
    progress = Recorder()
    resumed = predict(boxed.path, weights=weights, out=tmp_path / "m", progress=progress, **FAST)
    assert progress.steps["predict"] == [2, 1, 1, 1, 1]
    assert resumed.manifest.digest == whole.manifest.digest
    assert resumed.summary() == {**whole.summary(), "manifest": tmp_path / "m", "skipped": 2}
    assert {file.name for file in (tmp_path / "m").iterdir()} == {file.name for file in (tmp_path / "whole").iterdir()}


def test_bad_images_are_set_aside_with_their_reason(
    boxed: Manifest, weights: Path, photos: Path, tmp_path: Path
) -> None:
    whole = predict(boxed.path, weights=weights, out=tmp_path / "whole", **FAST)
    (photos / path(1)).write_bytes((photos / path(1)).read_bytes()[:200])
    (photos / path(2)).unlink()
    (photos / path(3)).unlink()  # all of part 1
    progress = Recorder()
    result = predict(boxed.path, weights=weights, out=tmp_path / "m", progress=progress, **FAST)
    lines = (tmp_path / "m" / QUARANTINE).read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [(record["path"], record["reason"]) for record in records] == [
        (path(1), "truncated"),
        (path(2), "vanished"),
        (path(3), "vanished"),
    ]
    assert all(set(record) == {"path", "reason", "detail"} for record in records)
    assert result.quarantined == 3 and progress.notes[-1].startswith("3 images were set aside")
    assert result.manifest.counts == boxed.counts
    for found, expected in zip(result.manifest, whole.manifest, strict=True):
        if found.path in {path(1), path(2), path(3)}:
            assert np.isnan(found.poses.xy).all() and np.array_equal(found.poses.box, expected.poses.box)
        else:
            assert found.poses.equals(expected.poses), "nobody else is any different"
    assert all(result.manifest.features(i) is not None for i in range(3))


def test_what_was_set_aside_is_tried_again_when_told_to(
    boxed: Manifest, weights: Path, photos: Path, tmp_path: Path
) -> None:
    whole = predict(boxed.path, weights=weights, out=tmp_path / "whole", **FAST)
    bytes_of = {i: (photos / path(i)).read_bytes() for i in (2, 3)}
    for i in bytes_of:  # all of part 1
        (photos / path(i)).write_bytes(b"broken")
    progress = Recorder()
    predict(boxed.path, weights=weights, out=tmp_path / "m", progress=progress, **FAST)
    assert "--retry" in progress.notes[-1]
    (photos / path(2)).write_bytes(bytes_of[2])
    for i in (0, 1, 4, 5):  # of finished parts: not needed any more
        (photos / path(i)).unlink()
    again = predict(boxed.path, weights=weights, out=tmp_path / "m", **FAST)
    assert (again.quarantined, again.skipped) == (2, IMAGES), "nobody said so"
    half = predict(boxed.path, weights=weights, out=tmp_path / "m", retry=True, **FAST)
    assert (half.quarantined, half.skipped) == (1, 4)
    (photos / path(3)).write_bytes(bytes_of[3])
    mended = predict(boxed.path, weights=weights, out=tmp_path / "m", retry=True, **FAST)
    assert mended.manifest.digest == whole.manifest.digest
    assert (tmp_path / "m" / QUARANTINE).read_text() == ""
    assert predict(boxed.path, weights=weights, out=tmp_path / "m", retry=True, **FAST).skipped == IMAGES


def test_a_retry_that_is_killed_forgets_neither_less_nor_more(
    boxed: Manifest, weights: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = predict(boxed.path, weights=weights, out=tmp_path / "whole", **FAST).manifest.digest
    bytes_of = {i: (photos / path(i)).read_bytes() for i in (1, 3, 5)}
    for i in bytes_of:  # one in each part
        (photos / path(i)).write_bytes(b"broken")
    predict(boxed.path, weights=weights, out=tmp_path / "m", **FAST)
    unlink, count = Path.unlink, list[str]()

    def dies(file: Path, missing_ok: bool = False) -> None:
        if file.suffix == ".parquet":
            count.append(file.name)
            if len(count) == 4:
                stop()
        unlink(file, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", dies)
        with pytest.raises(Stopped):
            predict(boxed.path, weights=weights, out=tmp_path / "m", retry=True, **FAST)
    with pytest.raises(Stopped):  # and again, when a part has been done anew and still holds a broken file
        predict(boxed.path, weights=weights, out=tmp_path / "m", retry=True, progress=Recorder(3), **FAST)
    done = part_file(tmp_path / "m", "samples", 0).stat().st_mtime_ns
    for i, data in bytes_of.items():
        (photos / path(i)).write_bytes(data)
    result = predict(boxed.path, weights=weights, out=tmp_path / "m", retry=True, **FAST)
    assert result.quarantined == 1 and part_file(tmp_path / "m", "samples", 0).stat().st_mtime_ns == done
    assert predict(boxed.path, weights=weights, out=tmp_path / "m", retry=True, **FAST).manifest.digest == whole


def test_a_retry_of_a_folder_takes_its_scan_as_it_is(photos: Path, weights: Path, tmp_path: Path) -> None:
    whole = predict(photos, weights=weights, out=tmp_path / "whole", **FAST).manifest.digest
    scanned = predict(photos, weights=weights, out=tmp_path / "m", **FAST)
    assert scanned.manifest.digest == whole
    data = (photos / path(2)).read_bytes()
    (photos / path(2)).write_bytes(b"broken since the scan")
    (tmp_path / "m" / "manifest.json").unlink()
    part_file(tmp_path / "m", "samples", 0).unlink()
    broken = predict(tmp_path / "m-scan", weights=weights, out=tmp_path / "m", **FAST)
    assert broken.quarantined == 1
    (photos / path(2)).write_bytes(data)
    assert predict(photos, weights=weights, out=tmp_path / "m", retry=True, **FAST).manifest.digest == whole


def test_a_full_disk_loses_nothing(
    boxed: Manifest, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = predict(boxed.path, weights=weights, out=tmp_path / "whole", **FAST)
    write = manifest_module._write

    def full(table: Any, path: Path) -> None:
        if path.name == "poses-00001.parquet":
            path.with_name(f".{path.name}.1.tmp").write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write(table, path)

    with monkeypatch.context() as patched:
        patched.setattr(manifest_module, "_write", full)
        with pytest.raises(OSError, match="No space left"):
            predict(boxed.path, weights=weights, out=tmp_path / "m", **FAST)
    resumed = predict(boxed.path, weights=weights, out=tmp_path / "m", **FAST)
    assert (resumed.skipped, resumed.manifest.digest) == (2, whole.manifest.digest)
    assert {file.name for file in (tmp_path / "m").iterdir()} == {file.name for file in (tmp_path / "whole").iterdir()}


def test_a_disk_that_cannot_be_read_sets_images_aside(
    boxed: Manifest, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = predict(boxed.path, weights=weights, out=tmp_path / "whole", **FAST)
    read = Path.read_bytes

    def broken(file: Path) -> bytes:
        if file.name == Path(path(3)).name and "photos" in file.parts:
            raise OSError(errno.EIO, "Input/output error", str(file))
        return read(file)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", broken)
        result = predict(boxed.path, weights=weights, out=tmp_path / "m", **FAST)
    (record,) = (json.loads(line) for line in (tmp_path / "m" / QUARANTINE).read_text().splitlines())
    assert result.quarantined == 1
    assert (record["path"], record["reason"]) == (path(3), "unreadable") and "Input/output error" in record["detail"]
    mended = predict(boxed.path, weights=weights, out=tmp_path / "m", retry=True, **FAST)
    assert mended.manifest.digest == whole.manifest.digest


# ---- images in a store


def test_images_may_lie_in_an_object_store(
    store: Any, photos: Path, boxed: Manifest, weights: Path, tmp_path: Path
) -> None:
    near = predict(boxed.path, weights=weights, out=tmp_path / "near", **FAST)
    place = upload(photos, store)
    far = write_manifest(tmp_path / "far", list(boxed), COCO, {"photos": Path(place)}, stage="test", part_size=2)
    assert far.digest == boxed.digest
    result = predict(far.path, weights=weights, out=tmp_path / "m", **FAST)
    assert (result.quarantined, result.manifest.digest) == (0, near.manifest.digest)


def test_a_store_that_does_not_answer_stops_the_job_and_what_is_done_stays(
    store: Any,
    server: str,
    photos: Path,
    boxed: Manifest,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = Path(upload(photos, store))
    far = write_manifest(tmp_path / "far", list(boxed), COCO, {"photos": place}, stage="test", part_size=2)
    whole = predict(far.path, weights=weights, out=tmp_path / "whole", **FAST).manifest.digest

    dies = Recorder(3, lambda: point_to("http://127.0.0.1:9", monkeypatch))
    with pytest.raises(LostServerError, match="goes on where it stopped"):
        predict(far.path, weights=weights, out=tmp_path / "m", progress=dies, **FAST)
    assert part_file(tmp_path / "m", "samples", 0).exists()
    point_to(server, monkeypatch)
    resumed = predict(far.path, weights=weights, out=tmp_path / "m", **FAST)
    assert (resumed.quarantined, resumed.manifest.digest) == (0, whole)


# ---- where the time went


def test_a_profile_tells_every_stage(boxed: Manifest, weights: Path, tmp_path: Path) -> None:
    result = predict(boxed.path, weights=weights, out=tmp_path / "m", profile=True, **FAST)
    file = tmp_path / "m" / "profile.txt"
    assert result.profile == file == result.summary()["profile"]
    told = json.loads((tmp_path / "m" / "profile.json").read_text())
    assert (told["images"], told["poses"]) == (IMAGES, IMAGES * PEOPLE)
    stages = told["stages"]
    assert {name: spent["times"] for name, spent in stages.items() if not name.startswith("wait")} == {
        "read manifest": 3, "read files": 6, "decode": 6, "cut crops": 3, "network": 3, "read the answers": 6,
        "put together": 3, "write": 3,
    }  # fmt: skip  # crops of a batch are cut at once; answers are asked for, and read
    main = ("read manifest", "wait for crops", "network", "read the answers", "put together", "write")
    assert 0 < sum(stages[name]["seconds"] for name in main) <= told["seconds"]
    table = file.read_text()
    assert all(name in table for name in stages) and "bounds it" in table
    again = predict(boxed.path, weights=weights, out=tmp_path / "m", profile=True, **FAST)
    assert again.profile is None and file.read_text() == table, "nothing was done"
    with pytest.raises(ConfigError, match="--profile"):
        predict(boxed.path, weights=weights, out=tmp_path / "other", profile=True, engine="ray", **FAST)


@pytest.mark.parametrize(
    ("ahead", "waited", "cutting", "starved", "found", "word"),
    [
        (True, 0.1, 0.1, 0.9, 0.0, "network"),
        (True, 0.5, 0.9, 0.1, 0.0, "Cutting"),
        (True, 0.5, 0.1, 0.9, 0.0, "decoding"),
        (True, 0.8, 0.1, 0.1, 0.7, "Finding"),
        (False, 0.0, 0.1, 0.05, 0.0, "network"),
        (False, 0.0, 0.4, 0.1, 0.0, "Cutting"),
        (False, 0.0, 0.1, 0.3, 0.0, "decoding"),
        (False, 0.0, 0.02, 0.02, 0.8, "Finding"),
    ],
)
def test_a_profile_says_what_bounds_the_job(
    ahead: bool, waited: float, cutting: float, starved: float, found: float, word: str
) -> None:
    shares = {"wait for crops": waited, "cut crops": cutting, "wait for images": starved, "detect": found}
    stages = {name: Spent(1, 10 * share, 0) for name, share in shares.items()}
    assert word in Profile(10, 1, 1, ahead, stages).bound()


# ---- refusals


def test_wrong_arguments_are_refused_before_anything_is_made(boxed: Manifest, weights: Path, tmp_path: Path) -> None:
    cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (CheckpointError, "no such file or folder", {"weights": tmp_path / "nowhere"}),
        (ConfigError, "unknown device", {"device": "tpu"}),
        (ConfigError, "unknown precision", {"precision": "fp8"}),
        (InputError, "nowhere", {"boxes": tmp_path / "nowhere.json"}),
    ]
    for kind, message, change in cases:
        with pytest.raises(kind, match=message):
            predict(boxed.path, **{"weights": weights, "out": tmp_path / "m", **FAST, **change})
    with pytest.raises(InputError, match="is not a folder"):
        predict(tmp_path / "nowhere", weights=weights, out=tmp_path / "m", **FAST)
    assert not (tmp_path / "m").exists()


def test_labels_in_another_skeleton_are_refused(photos: Path, weights: Path, tmp_path: Path) -> None:
    animals = Skeleton.load("ap10k17")
    labelled = Poses.create(K, id=["a"], box=[[5, 5, 40, 40]], xy=np.full((1, K, 2), 9), visibility=np.full((1, K), 2))
    manifest = write_manifest(
        tmp_path / "animals",
        [Sample("s", "photos", path(0), (80, 60), labelled)],
        animals,
        {"photos": photos},
        stage="test",
    )
    with pytest.raises(InputError, match=r"ap10k17.*coco17|coco17.*ap10k17"):
        predict(manifest.path, weights=weights, out=tmp_path / "m", **FAST)
