"""The round trips: poses -> data set -> poses, and manifest -> data set -> manifest of real photographs."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autolabel.errors import ExistsError
from autolabel.formats.coco import read_coco
from autolabel.formats.policy import ImagePolicy
from autolabel.formats.yolo_pose import read_yolo_pose, write_yolo_pose
from autolabel.poses import Origin, Poses, Sample
from pipelines.export import export
from pipelines.import_ import import_
from tests.autolabel.formats.poses_strategies import TRIANGLE, K
from tests.autolabel.formats.yolo_sets import image

DATA = Path(__file__).parents[4] / "shared/data"
SIZES = ((64, 48), (641, 7), (3, 1999))


@st.composite
def pose(draw: st.DrawFn, size: tuple[int, int]) -> dict[str, Any]:
    """A pose that the format can hold: inside the image, with a box, nobody's opinion of it."""
    part = st.floats(0, 1, width=32)
    edge = st.floats(1e-6, 1) | st.just(0.0)
    visibility = draw(st.lists(st.integers(0, 2), min_size=K, max_size=K))
    points = (np.array([[draw(part), draw(part)] for _ in range(K)]) * size).astype(np.float32)
    unplaced = [v == 0 and (draw(st.booleans()) or not xy.any()) for v, xy in zip(visibility, points, strict=True)]
    points[unplaced] = np.nan
    x, y = (sorted(draw(edge) * size[axis] for _ in range(2)) for axis in (0, 1))
    name = draw(st.sampled_from(["fox", "hen"]))
    return {
        "xy": points,
        "visibility": visibility,
        "box": [x[0], y[0], x[1], y[1]],
        "origin": [Origin.IMPORTED if v else Origin.NONE for v in visibility],
        "attributes": {"coco": {"category": {"id": ["fox", "hen"].index(name), "name": name}}},
    }


@st.composite
def samples(draw: st.DrawFn) -> list[Sample]:
    made: list[Sample] = []
    for i, size in enumerate(SIZES):
        rows = draw(st.lists(pose(size), max_size=3))
        rows = list({json.dumps(row, default=repr): row for row in rows}.values())  # a line twice is read once
        given_ = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
        split = draw(st.sampled_from(["train", "val", "test"]))
        made.append(Sample("", "", f"film/{i}.png", size, Poses.create(K, **given_), attributes={"split": split}))
    return made


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for i, size in enumerate(SIZES):
        image(folder / f"film/{i}.png", size)
    return folder


@settings(max_examples=50)
@given(wanted=samples())
def test_what_the_format_can_hold_comes_back_bit_by_bit(photos: Path, wanted: list[Sample]) -> None:
    header = {"categories": [{"id": 0, "name": "fox"}, {"id": 1, "name": "hen"}]}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "x"
        written = write_yolo_pose(
            folder, wanted, TRIANGLE, image_path=lambda s: photos / s.path, header=header, policy=ImagePolicy.ALL
        )
        back = read_yolo_pose(folder, folder)
    assert written.lost == {}
    assert back.skeleton == TRIANGLE and back.header == header
    found = {sample.path.split("/", 2)[2]: sample for sample in back.samples}
    for sample in wanted:
        mine = found[sample.path]
        assert (mine.size, mine.attributes) == (sample.size, sample.attributes)
        assert mine.poses.equals(sample.poses)


def independent(path: Path, size: tuple[int, int], k: int) -> list[list[tuple[float, float, int]]]:
    """The keypoints of a file of labels in pixels, read in the plainest way."""
    people: list[list[tuple[float, float, int]]] = []
    for line in path.read_text().splitlines():
        numbers = [float(text) for text in line.split(" ")]
        triples = [numbers[5 + 3 * i : 8 + 3 * i] for i in range(k)]
        people.append([(x * size[0], y * size[1], int(v)) for x, y, v in triples])
    return people


@pytest.mark.parametrize(
    ("name", "annotations"), [("coco25", "annotations.json"), ("fashion17", "annotations_val.json")]
)
def test_real_photographs_go_out_and_come_back(name: str, annotations: str, tmp_path: Path) -> None:
    if not (DATA / name / annotations).is_file():
        pytest.skip(f"shared/data/{name} is not here")
    images = DATA / name / "images"
    first = import_("coco", DATA / name / annotations, images=images, out=tmp_path / "first.m").manifest
    export("yolo-pose", first.path, out=tmp_path / "yolo", image_files="link")
    second = import_("yolo-pose", tmp_path / "yolo", images=tmp_path / "yolo", out=tmp_path / "second.m").manifest
    assert second.skeleton == first.skeleton
    found = {sample.id: sample for sample in second}
    assert len(second) == len(first) and set(found) == {sample.id for sample in first}
    for sample in first:
        mine, theirs = found[sample.id].poses, sample.poses
        inside = (theirs.xy >= 0).all(-1) & (theirs.xy <= sample.size).all(-1)
        np.testing.assert_array_equal(mine.visibility, np.where(theirs.labelled & inside, theirs.visibility, 0))
        labelled = mine.labelled
        assert mine.xy[labelled].tobytes() == theirs.xy[labelled].tobytes()
        kept = ((theirs.box >= 0) & (theirs.box <= [*sample.size, *sample.size])).all(axis=1)
        np.testing.assert_array_equal(mine.box[kept], theirs.box[kept])
        file = tmp_path / "yolo/labels/train" / Path(sample.path).with_suffix(".txt")
        read = np.array(independent(file, sample.size, 17))
        np.testing.assert_allclose(read[..., :2][labelled], theirs.xy[labelled], atol=1e-4)
        np.testing.assert_array_equal(read[..., 2], mine.visibility)


def test_a_data_set_of_others_goes_through_the_product(tmp_path: Path) -> None:
    """Roboflow's layout: a folder for each split, names without keypoints, one vanished and one damaged image."""
    folder = tmp_path / "foxes"
    line = "0 0.5 0.5 0.2 0.4 0.25 0.5 2 0.75 0.5 1"
    for split, n in (("train", 4), ("valid", 2)):
        (folder / split / "labels").mkdir(parents=True)
        for i in range(n):
            image(folder / split / f"images/{split}_{i}.png", (100 + i, 50))
            (folder / split / f"labels/{split}_{i}.txt").write_text(line)
    (folder / "train/images/train_3.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
        "kpt_shape: [2, 3]\nflip_idx: [1, 0]\nnc: 1\nnames: ['fox']\nroboflow: {version: 3}\n"
    )
    manifest = import_("yolo-pose", folder, images=folder, out=tmp_path / "m").manifest
    assert len(manifest) == 5
    quarantined = json.loads((tmp_path / "m/quarantine.jsonl").read_text())
    assert quarantined["path"] == "train/images/train_3.png" and quarantined["poses"] == 1
    assert manifest.skeleton.keypoints == ("keypoint_0", "keypoint_1") and manifest.skeleton.flip == (1, 0)
    ids = [pose for sample in manifest for pose in sample.poses.id.tolist()]
    assert len(set(ids)) == 5 and all(ids)
    export("yolo-pose", tmp_path / "m", out=tmp_path / "again", image_files="copy")
    names = sorted(file.relative_to(tmp_path / "again").as_posix() for file in (tmp_path / "again").rglob("*.txt"))
    assert names[0] == "labels/train/train_0.txt"
    assert [name for name in names if "/val/" in name] == [f"labels/val/valid/images_/valid_{i}.txt" for i in range(2)]
    assert (tmp_path / "again/labels/train/train_0.txt").read_text() == line + "\n"
    export("coco", tmp_path / "m", out=tmp_path / "coco.json")
    coco = read_coco(tmp_path / "coco.json")
    assert json.loads((tmp_path / "coco.json").read_text())["categories"][0]["name"] == "fox"
    assert sum(len(sample.poses) for sample in coco.samples) == 5


def test_changed_labels_are_another_import(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    image(folder / "images/a.png")
    (folder / "labels").mkdir()
    (folder / "labels/a.txt").write_text("0 0.5 0.5 0.2 0.4 0.25 0.5 2")
    (folder / "data.yaml").write_text("train: images\nnames: [fox]\nkpt_shape: [1, 3]\n")
    once = import_("yolo-pose", folder / "data.yaml", images=folder, out=tmp_path / "m").manifest
    assert import_("yolo-pose", folder / "data.yaml", images=folder, out=tmp_path / "m").manifest.digest == once.digest
    (folder / "labels/a.txt").write_text("0 0.5 0.5 0.2 0.4 0.26 0.5 2")
    with pytest.raises(ExistsError):
        import_("yolo-pose", folder / "data.yaml", images=folder, out=tmp_path / "m")
