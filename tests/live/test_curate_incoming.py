"""FiftyOne data sets into labels against the real database: ours, made by hand, and from FiftyOne's own COCO import."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autolabel.curate.dataset import index_keys, open_dataset
from autolabel.curate.documents import documents
from autolabel.curate.incoming import read_dataset
from autolabel.curate.schema import declare, show
from autolabel.curate.sync import sync
from autolabel.curate.writers import writer_for
from autolabel.errors import FormatError, InputError, SkeletonError
from autolabel.formats.coco import read_coco, write_coco
from autolabel.formats.labels import Labels
from autolabel.formats.policy import ImagePolicy
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.skeleton import Skeleton
from pipelines.import_ import import_

pytestmark = pytest.mark.live

SIZES = [(97, 61), (61, 97), (64, 48), (640, 427)]
COCO = Skeleton.load("coco17")
PARTS = ("left_ear", "right_ear", "tail")
MOUSE = Skeleton.from_dict({"name": "mouse", "keypoints": PARTS, "edges": [[0, 2], [1, 2]]})
NAN = float("nan")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four images, one of them in a folder of its own."""
    (tmp_path / "images" / "more").mkdir(parents=True)
    for i, size in enumerate(SIZES):
        noise = np.random.default_rng(i).integers(0, 255, (size[1], size[0], 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "images" / path(i))
    return tmp_path / "images"


def path(i: int) -> str:
    return f"more/{i}.png" if i == 1 else f"{i}.png"


@pytest.fixture
def name(fiftyone_module: Any, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a data set that is deleted when the test is over."""
    told = f"inc-{request.node.name.replace('[', '-').replace(']', '')}"
    yield told
    if fiftyone_module.dataset_exists(told):
        fiftyone_module.delete_dataset(told)


def people(sizes: Sequence[tuple[int, int]] = SIZES) -> list[Sample]:
    """Poses that say all that a data set can hold; nobody in the last image."""
    rng = np.random.default_rng(0)
    samples: list[Sample] = []
    for i, size in enumerate(sizes):
        n = 0 if i == len(sizes) - 1 else i + 1
        xy = rng.uniform(-3, 1.02, (n, 17, 2)).astype(np.float32) % 1.02 * np.array(size, np.float32)
        visibility = rng.integers(0, 4, (n, 17))
        labelled = np.isin(visibility, (Visibility.HIDDEN, Visibility.VISIBLE))
        corner = rng.uniform(0, 20, (n, 2))
        box = np.concatenate([corner, corner + rng.uniform(1, 30, (n, 2))], axis=1)
        box[1:2] = np.nan
        poses = Poses.create(
            17,
            id=[f"pose-{i}-{j}" for j in range(n)],
            xy=np.where(labelled[..., None], xy, np.nan),
            visibility=visibility,
            score=rng.uniform(0, 1, (n, 17)).round(4),
            presence=rng.uniform(0, 1, (n, 17)).round(4),
            p_gross=rng.uniform(0, 1, (n, 17)).round(4),
            p_bad=rng.uniform(0, 1, n).round(4),
            box=box,
            box_score=np.where(np.isnan(box[:, 0]), np.nan, rng.uniform(0, 1, n).round(4)),
            origin=np.where(labelled, rng.integers(1, 4, (n, 17)), Origin.NONE),
            by=["anna", "net-1", ""][:n],
            attributes=[{"state": "reviewed"}, {}, {"state": "rejected"}][:n],
        )
        samples.append(Sample("", "", path(i), size, poses, group=f"film {i % 2}"))
    return samples


def curate(fiftyone: Any, name: str, folder: Path, samples: Sequence[Sample], skeleton: Skeleton = COCO) -> Any:
    """A data set as ``autolabel curate`` leaves it."""
    dataset = open_dataset(fiftyone, name, skeleton, shows="images")
    declare(fiftyone, dataset, (), ())
    index_keys(dataset)
    made = documents(samples, [folder / sample.path for sample in samples], skeleton)
    sync(dataset, [made], writer_for(fiftyone, dataset))
    show(fiftyone, dataset, skeleton, ())
    return dataset


def require_equal(found: Poses, wanted: Poses, *fields: str) -> None:
    for field in fields:
        np.testing.assert_array_equal(getattr(found, field), getattr(wanted, field), field)


def foreign(fiftyone: Any, name: str, *files: Path, **fields: Any) -> Any:
    """A data set of images with the same labels, made by hand."""
    dataset = fiftyone.Dataset(name)
    dataset.add_samples([fiftyone.Sample(filepath=str(file), **fields) for file in files], progress=False)
    return dataset


def mouse(fiftyone: Any, points: Sequence[Any] = ((0.25, 0.5), (NAN, NAN), (0.5, 0.25)), **given: Any) -> Any:
    return fiftyone.Keypoint(label="mouse", points=[list(point) for point in points], **given)


def read(fiftyone: Any, dataset: Any, folder: Path, **given: Any) -> Labels:
    return read_dataset(fiftyone, dataset.name, folder, **given)


def test_a_data_set_of_ours_comes_back(fiftyone_module: Any, name: str, folder: Path) -> None:
    samples = people()
    dataset = curate(fiftyone_module, name, folder, samples)
    back = read(fiftyone_module, dataset, folder)
    assert back.skeleton == COCO and back.notes == () and len(back.digest) == 64
    for found, wanted in zip(back.samples, samples, strict=True):
        assert (found.path, found.size, found.group) == (wanted.path, wanted.size, wanted.group)
        assert found.attributes == {} and found.poses.attributes == wanted.poses.attributes
        require_equal(found.poses, wanted.poses, "id", "xy", "score", "presence", "visibility", "box_score")
        require_equal(found.poses, wanted.poses, "p_gross", "p_bad", "origin", "by")
        np.testing.assert_allclose(found.poses.box, wanted.poses.box, rtol=0, atol=1e-9)


def test_what_curators_did_comes_back_too(fiftyone_module: Any, name: str, folder: Path) -> None:
    dataset = curate(fiftyone_module, name, folder, people())
    ids, points = dataset.values(["poses.keypoints.id", "poses.keypoints.points"])
    moved = [list(point) for point in points[2][0]]
    moved[3] = [0.5, 0.5]
    dataset.set_label_values("poses.keypoints.points", {ids[2][0]: moved})
    said = dataset.values("poses.keypoints.visibility")[2][0]
    dataset.set_label_values("poses.keypoints.visibility", {ids[2][0]: [*said[:3], "visible", *said[4:]]})
    dataset.select_labels(ids=[ids[1][1]]).tag_labels("odd")
    dataset[:1].tag_samples("good")
    dataset.add_sample_field("weather", fiftyone_module.StringField)
    dataset.set_values("weather", ["rain", None, None, None])
    before, back = people(), read(fiftyone_module, dataset, folder)
    assert back.samples[0].attributes == {"fiftyone": {"tags": ["good"], "weather": "rain"}}
    assert back.samples[1].poses.attributes[1] == {"fiftyone": {"tags": ["odd"]}}
    poses, same = back.samples[2].poses, before[2].poses
    np.testing.assert_allclose(poses.xy[0, 3], [31.5, 23.5])
    assert poses.id[0] == "pose-2-0" and poses.visibility[0, 3] == Visibility.VISIBLE
    assert set(poses.origin[0, poses.labelled[0]].tolist()) == {Origin.IMPORTED}
    assert np.isnan(poses.score[0]).all() and np.isnan(poses.p_bad[0])
    require_equal(poses.take([1, 2]), same.take([1, 2]), "xy", "score", "origin", "p_bad")
    assert any("1 poses were edited" in note for note in back.notes), back.notes


def test_images_that_left_the_manifest_stay_out(fiftyone_module: Any, name: str, folder: Path) -> None:
    dataset = curate(fiftyone_module, name, folder, people())
    dataset[1:2].tag_samples("mine")
    curate(fiftyone_module, dataset.name, folder, people()[2:])
    back = read(fiftyone_module, dataset, folder)
    assert [sample.path for sample in back.samples] == ["2.png", "3.png"]
    assert back.notes[0].startswith("1 images left the manifest") and "1.png" in back.notes[0]


def test_a_skeleton_whose_names_tell_other_sides_comes_back(fiftyone_module: Any, name: str, folder: Path) -> None:
    odd = Skeleton.from_dict({"name": "odd", "keypoints": ["a", "b", "c"], "flip_pairs": [[0, 1]], "sigmas": [0.1] * 3})
    samples = [Sample("", "", path(0), SIZES[0], Poses.create(3, id=["x"], xy=[[[1, 2]] * 3], visibility=[[2] * 3]))]
    dataset = curate(fiftyone_module, name, folder, samples, odd)
    assert read(fiftyone_module, dataset, folder).skeleton == odd


def test_without_a_word_about_it_such_a_skeleton_must_be_given(fiftyone_module: Any, name: str, folder: Path) -> None:
    odd = Skeleton.from_dict({"name": "odd", "keypoints": ["a", "b", "c"], "flip_pairs": [[0, 1]]})
    samples = [Sample("", "", path(0), SIZES[0], Poses.create(3, id=["x"], xy=[[[1, 2]] * 3], visibility=[[2] * 3]))]
    dataset = curate(fiftyone_module, name, folder, samples, odd)
    del dataset.info["autolabel"]["definition"]
    dataset.save()
    with pytest.raises(SkeletonError, match=r"flip pairs.*--skeleton"):
        read(fiftyone_module, dataset, folder)
    assert read(fiftyone_module, dataset, folder, skeleton=odd).skeleton == odd


def test_a_foreign_data_set(fiftyone_module: Any, name: str, folder: Path) -> None:
    fo, person = fiftyone_module, fiftyone_module.Instance()
    dataset = foreign(
        fo,
        name,
        folder / path(0),
        tags=["train"],
        weather="rain",
        boxes=fo.Detections(
            detections=[
                fo.Detection(label="mouse", bounding_box=[0.5, 0.5, 0.1, 0.1]),
                fo.Detection(label="mouse", bounding_box=[0.25, 0.5, 0.5, 0.25], instance=person, confidence=0.75),
            ]
        ),
        mice=fo.Keypoints(
            keypoints=[
                mouse(fo, instance=person, visibility=["hidden", "absent", "Visible"], mood="calm", tags=["odd"]),
                mouse(fo, ((0.1, 0.2), (0.3, 0.4), (NAN, 0.5)), confidence=[0.5, NAN, 0.125], visible=[2, 0, 2]),
                mouse(fo, ((0, 0), (1, 1), (-0.5, 2)), frozen=True),
            ]
        ),
    )
    dataset.default_skeleton = fo.KeypointSkeleton(labels=list(PARTS), edges=[[0, 2, 1]])
    back = read(fo, dataset, folder)
    [sample] = back.samples
    assert back.skeleton.keypoints == PARTS and back.skeleton.edges == ((0, 2), (2, 1))
    assert back.skeleton.flip == (1, 0, 2) and back.skeleton.sigmas_guessed
    assert (sample.path, sample.size, sample.id, sample.group) == ("0.png", (97, 61), "", "")
    assert sample.attributes == {"fiftyone": {"tags": ["train"], "weather": "rain"}}
    poses = sample.poses
    wanted = np.array([[[24.25, 30.5], [NAN] * 2, [48.5, 15.25]], [[9.7, 12.2], [29.1, 24.4], [NAN] * 2],
                       [[0, 0], [97, 61], [-48.5, 122]]], np.float32)  # fmt: skip
    np.testing.assert_array_equal(poses.xy, wanted)
    np.testing.assert_array_equal(poses.visibility, [[1, 3, 2], [2, 0, 0], [2, 2, 2]])
    np.testing.assert_array_equal(poses.origin, [[3, 0, 3], [1, 0, 0], [3, 3, 3]])
    np.testing.assert_array_equal(poses.score, np.array([[NAN] * 3, [0.5, NAN, 0.125], [NAN] * 3], np.float32))
    np.testing.assert_allclose(poses.box, [[24.25, 30.5, 72.75, 45.75], [NAN] * 4, [NAN] * 4])
    assert poses.box_score[0] == 0.75 and set(poses.id) == {""}
    carried: list[Any] = [attributes["fiftyone"] for attributes in poses.attributes]
    assert all(len(theirs.pop("id")) == 24 and theirs.pop("label") == "mouse" for theirs in carried)
    assert carried == [{"tags": ["odd"], "mood": "calm"}, {}, {"frozen": True}]
    told = " ".join(back.notes)
    assert "1 keypoints are called visible or hidden and have no place" in told
    assert "1 poses have confidences" in told and "2 poses have no box" in told


def test_the_same_data_give_the_same_digest_and_others_another(fiftyone_module: Any, name: str, folder: Path) -> None:
    dataset = curate(fiftyone_module, name, folder, people())
    first = read(fiftyone_module, dataset, folder).digest
    dataset.add_sample_field("seen", fiftyone_module.ListField)
    assert read(fiftyone_module, dataset, folder).digest == first
    dataset[:1].tag_samples("good")
    assert read(fiftyone_module, dataset, folder).digest != first


def test_images_elsewhere_are_left_out(fiftyone_module: Any, name: str, folder: Path, tmp_path: Path) -> None:
    fo, elsewhere = fiftyone_module, tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "link").symlink_to(folder)
    (folder / "linked.png").symlink_to(folder / "0.png")
    files = [elsewhere / "link" / "0.png", folder / "more" / "1.png", elsewhere / "9.png", folder / "linked.png"]
    dataset = foreign(fo, name, *files, mice=fo.Keypoints(keypoints=[mouse(fo)]))
    for images in (folder, folder / "more" / "..", elsewhere / "link"):
        back = read(fo, dataset, images, skeleton=MOUSE)
        assert [sample.path for sample in back.samples] == ["0.png", "more/1.png", "linked.png"]
        assert any("1 images lie outside" in note and "9.png" in note for note in back.notes)
    with pytest.raises(InputError, match=r"holds none of the images of .*link/0.png.*folder that they lie below"):
        read(fo, dataset, folder.parent / "nothing", skeleton=MOUSE)


def test_an_image_whose_size_nobody_knows_says_nothing(fiftyone_module: Any, name: str, folder: Path) -> None:
    fo = fiftyone_module
    (folder / "0.png").write_bytes(b"no image")
    dataset = foreign(fo, name, folder / "0.png", mice=fo.Keypoints(keypoints=[mouse(fo), mouse(fo)]))
    [sample] = read(fo, dataset, folder, skeleton=MOUSE).samples
    assert sample.size == (0, 0) and len(sample.poses) == 2 and not sample.poses.labelled.any()


def coco_import(fiftyone: Any, name: str, labels: Path, folder: Path, **given: Any) -> Any:
    return fiftyone.Dataset.from_dir(
        dataset_type=fiftyone.types.COCODetectionDataset,
        data_path=str(folder),
        labels_path=str(labels),
        label_types=["detections", "keypoints"],
        name=name,
        progress=False,
        **given,
    )


@pytest.mark.parametrize("given", [{}, {"include_id": True, "include_annotation_id": True}], ids=["plain", "ids"])
def test_coco_of_ours_opens_in_fiftyone_and_comes_back(
    fiftyone_module: Any, name: str, folder: Path, given: dict[str, Any]
) -> None:
    samples = people()
    labels = folder.parent / "labels.json"
    write_coco(labels, samples, COCO, policy=ImagePolicy.ALL)
    dataset = coco_import(fiftyone_module, name, labels, folder, **given)
    by_path = {sample.path: sample for sample in samples}
    seen = dict(zip(*dataset.values(["filepath", "keypoints"]), strict=True))
    for file, found in seen.items():
        sample = by_path[Path(file).relative_to(folder).as_posix()]
        for i, keypoint in enumerate(found.keypoints if found else ()):
            stated = sample.poses.labelled[i]
            shown = (np.array(keypoint.points) * sample.size).astype(np.float32)
            np.testing.assert_array_equal(shown[stated], sample.poses.xy[i][stated])
            assert np.isnan(shown[~stated]).all()
            assert keypoint.visible == np.where(stated, sample.poses.visibility[i], 0).tolist()
    back = read(fiftyone_module, dataset, folder)
    assert back.skeleton == COCO
    for sample in back.samples:
        wanted = by_path[sample.path].poses
        require_equal(sample.poses, wanted, "id", "xy", "box_score")
        np.testing.assert_array_equal(sample.poses.labelled, wanted.labelled)
        np.testing.assert_allclose(sample.poses.box, wanted.box, rtol=0, atol=1e-9)


def test_a_coco_import_of_fiftyone(fiftyone_module: Any, name: str, folder: Path) -> None:
    annotations = [
        {"id": 10 + i, "image_id": i % 2, "category_id": 7, "iscrowd": int(i == 3), "area": 9, "mood": f"m{i}",
         "num_keypoints": 2, "bbox": [1.5 + i, 2, 30.25, 20], "keypoints": [3.25 + i, 4, 2, 0, 0, 0, 5, 6.5, 1]}
        for i in range(4)
    ]  # fmt: skip
    images = [{"id": i, "file_name": path(i), "width": SIZES[i][0], "height": SIZES[i][1]} for i in range(2)]
    category = {"id": 7, "name": "mouse", "keypoints": PARTS, "skeleton": [[1, 3], [2, 3]]}
    labels = folder.parent / "labels.json"
    labels.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [category]}))
    dataset = coco_import(fiftyone_module, name, labels, folder)
    direct = {sample.path: sample.poses for sample in read_coco(labels).samples}
    back = read(fiftyone_module, dataset, folder)
    assert back.skeleton.keypoints == PARTS and back.skeleton.edges == ((0, 2), (1, 2)) and back.notes == ()
    assert {sample.path for sample in back.samples} == set(direct)
    for sample in back.samples:
        require_equal(sample.poses, direct[sample.path], "xy", "visibility", "origin", "crowd")
        np.testing.assert_allclose(sample.poses.box, direct[sample.path].box, rtol=0, atol=1e-9)
    assert [a["fiftyone"]["mood"] for s in back.samples for a in s.poses.attributes] == ["m0", "m2", "m1", "m3"]


def test_boxes_that_nothing_ties_to_a_pose_are_not_guessed(fiftyone_module: Any, name: str, folder: Path) -> None:
    fo = fiftyone_module
    boxes = fo.Detections(detections=[fo.Detection(label="mouse", bounding_box=[0.1, 0.1, 0.8, 0.8])])
    dataset = foreign(fo, name, folder / path(0), mice=fo.Keypoints(keypoints=[mouse(fo)]), boxes=boxes)
    back = read(fo, dataset, folder, skeleton=MOUSE)
    assert np.isnan(back.samples[0].poses.box).all()
    assert "No boxes were read: nothing tells whose those in boxes are." in back.notes


def test_an_unknown_data_set_names_the_nearest(fiftyone_module: Any, name: str, folder: Path) -> None:
    fiftyone_module.Dataset(name)
    with pytest.raises(InputError, match=rf"is not in the database. Did you mean '{name}'"):
        read_dataset(fiftyone_module, f"{name}s", folder)


def test_which_field_is_read(fiftyone_module: Any, name: str, folder: Path) -> None:
    fo = fiftyone_module
    dataset = foreign(fo, name, folder / path(0))
    with pytest.raises(FormatError, match="has no field of keypoints"):
        read(fo, dataset, folder)
    dataset.set_values("truth", [fo.Keypoints(keypoints=[mouse(fo)])])
    with pytest.raises(FormatError, match=r"does not say what its keypoints are. Give --skeleton"):
        read(fo, dataset, folder)
    dataset.set_values("guesses", [fo.Keypoints(keypoints=[])])
    with pytest.raises(FormatError, match=r"several fields of keypoints. Choose with --field. .*: truth, guesses"):
        read(fo, dataset, folder, skeleton=MOUSE)
    back = read(fo, dataset, folder, field="truth", skeleton=MOUSE)
    assert len(back.samples[0].poses) == 1 and "there are also guesses" in back.notes[-1]
    assert len(read(fo, dataset, folder, field="guesses", skeleton=MOUSE).samples[0].poses) == 0


def test_a_malformed_label_is_named(fiftyone_module: Any, name: str, folder: Path) -> None:
    fo = fiftyone_module
    wrong = mouse(fo, [(0, 0)] * 4)
    dataset = foreign(fo, name, folder / path(0), mice=fo.Keypoints(keypoints=[mouse(fo), wrong]))
    with pytest.raises(FormatError, match=r"0.png: mice.keypoints\[1\].points: has 4 entries, 'mouse' has 3 keypoints"):
        read(fo, dataset, folder, skeleton=MOUSE)


def test_contact_sheets_are_refused(fiftyone_module: Any, name: str, folder: Path) -> None:
    sheet = open_dataset(fiftyone_module, name, COCO, shows="people")
    with pytest.raises(InputError, match="contact sheet"):
        read(fiftyone_module, sheet, folder)


def test_videos_are_refused(fiftyone_module: Any, name: str, folder: Path) -> None:
    films = foreign(fiftyone_module, name, folder / "a.mp4")
    with pytest.raises(InputError, match="samples of kind 'video'"):
        read(fiftyone_module, films, folder)


def test_import_makes_a_manifest(fiftyone_module: Any, name: str, folder: Path, tmp_path: Path) -> None:
    curate(fiftyone_module, name, folder, people())
    result = import_("fiftyone", name, images=folder, out=tmp_path / "m")
    wanted = {sample.path: sample.poses for sample in people()}
    assert result.manifest.counts == {"samples": 4, "poses": 6} and not result.quarantined
    for sample in result.manifest:
        require_equal(sample.poses, wanted[sample.path], "id", "xy", "visibility", "origin", "score")
    again = import_("fiftyone", name, images=folder, out=tmp_path / "m")
    assert again.manifest.digest == result.manifest.digest
    with pytest.raises(InputError, match="is not in the database"):
        import_("fiftyone", "inc-nothing", images=folder, out=tmp_path / "n")


def test_the_ids_of_foreign_poses_stay_when_another_is_deleted(
    fiftyone_module: Any, name: str, folder: Path, tmp_path: Path
) -> None:
    fo, mice = fiftyone_module, [mouse(fiftyone_module), mouse(fiftyone_module, [(0.5, 0.5)] * 3)]
    dataset = foreign(fo, name, folder / path(0), mice=fo.Keypoints(keypoints=mice))
    dataset.default_skeleton = fo.KeypointSkeleton(labels=list(PARTS), edges=[])
    dataset.save()
    [before] = import_("fiftyone", name, images=folder, out=tmp_path / "m").manifest
    dataset.delete_labels(ids=[mice[0].id])
    [after] = import_("fiftyone", name, images=folder, out=tmp_path / "n").manifest
    assert after.poses.id.tolist() == before.poses.id.tolist()[1:]
