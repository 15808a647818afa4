"""Manifests in a real FiftyOne and back: what is shown, what stays, what comes home."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.curate.documents import documents
from autolabel.curate.sync import sync
from autolabel.curate.writers import DocumentWriter, PublicWriter
from autolabel.errors import ConfigError, InputError
from autolabel.ledger import LEDGER, read_ledger
from autolabel.manifest import Manifest
from autolabel.merge import CORRECTIONS, State, read_corrections
from autolabel.poses import Origin
from pipelines.curate import curate
from pipelines.curate_shown import image_file
from pipelines.merge import merge
from pipelines.push_queue import manifest_queue
from tests.curation import SIZES, some_manifest, some_poses, some_samples
from tests.live.curator import again, labels, load, move, tag
from tests.standing import COCO

pytestmark = pytest.mark.live


# ---- what is shown


def test_everything_is_there_and_a_second_call_writes_nothing(fiftyone_module, name, shown) -> None:
    first = curate(shown, name=name).shown
    assert (first.images, first.poses, first.synced.added, first.missing) == (3, 3, 3, 0)
    dataset = load(fiftyone_module, name)
    assert dataset.persistent
    assert (len(dataset), dataset.count("poses.keypoints"), dataset.count("boxes.detections")) == (3, 3, 3)
    assert dataset.default_skeleton.labels == list(COCO.keypoints)
    assert [tuple(edge) for edge in dataset.default_skeleton.edges] == list(COCO.edges)
    modified = dataset.values("last_modified_at")
    second = curate(shown, name=name).shown
    assert (second.synced.added, second.synced.updated, second.synced.unchanged) == (0, 0, 3)
    assert load(fiftyone_module, name).values("last_modified_at") == modified


def test_points_lie_where_the_manifest_has_them(fiftyone_module, name, shown) -> None:
    curate(shown, name=name)
    sample = load(fiftyone_module, name).match({"path": "a/0.png"}).first()
    assert (sample.metadata.width, sample.metadata.height) == SIZES[0]
    points = np.array(sample.poses.keypoints[1].points) * SIZES[0] - 0.5
    assert points == pytest.approx(some_samples()[0].poses.xy[1].astype(float), abs=1e-6)
    assert np.flatnonzero(np.isnan(np.array(sample.poses.keypoints[0].points)[:, 0])).tolist() == [3, 15]
    assert sample.poses.keypoints[0].confidence[0] == pytest.approx(0.2)


def test_views_are_there_where_they_have_something_to_show(fiftyone_module, name, shown) -> None:
    curate(shown, name=name)
    dataset = load(fiftyone_module, name)
    dataset.save_view("mine", dataset.limit(1))
    views = dataset.list_saved_views()
    expected = {"most doubtful", "suspected swaps", "near-duplicates", "truncated bodies", "by net", "mine"}
    assert set(views) == expected
    swaps = dataset.load_saved_view("suspected swaps")
    assert (len(swaps), swaps.count("poses.keypoints")) == (1, 1)
    assert dataset.load_saved_view("most doubtful").values("path") == ["a/0.png"]
    calm = [replace(s, poses=s.poses.replace(attributes=[{}] * len(s.poses))) for s in shown]
    curate(again(shown, calm), name=name)
    assert set(load(fiftyone_module, name).list_saved_views()) == expected - {"suspected swaps"}


def test_the_first_screen_is_set_up(fiftyone_module, name, shown) -> None:
    curate(shown, name=name)
    config = load(fiftyone_module, name).app_config
    assert config.color_scheme.show_skeletons
    assert {field["path"] for field in config.color_scheme.fields} == {"poses", "boxes"}
    assert [group.name for group in config.sidebar_groups][:3] == ["tags", "doubt", "poses"]
    paths = [path for group in config.sidebar_groups for path in group.paths]
    assert len(paths) == len(set(paths))
    assert set(config.active_fields.paths) == {"poses", "p_bad"}


def test_truth_students_and_the_model_before_stand_beside(fiftyone_module, name, shown) -> None:
    samples = list(shown)
    shifted = samples[0].poses.xy.copy()
    shifted[1] += 60
    student = [samples[0].with_poses(samples[0].poses.replace(xy=shifted)), *samples[1:]]
    second = again(shown, student, "student.m")
    curate(shown, name=name, truth=second.path, student=second.path, previous=shown.path, split="train=0.5,val=0.5")
    dataset = load(fiftyone_module, name)
    oks = labels(dataset, "oks", "bad", "student_oks", "previous_oks")
    good, wrong = (oks[str(pose)] for pose in samples[0].poses.id)
    assert good == (1.0, False, 1.0, 1.0)
    assert wrong[0] < 0.1
    assert (wrong[1], wrong[3]) == (True, 1.0)
    ks = labels(dataset, "ks")
    assert all(value == 1 for value in ks[str(samples[0].poses.id[0])][0] if not np.isnan(value))
    assert max(ks[str(samples[0].poses.id[1])][0]) < 0.5
    assert dataset.match({"path": "a/0.png"}).first().oks == wrong[0]
    views = dataset.list_saved_views()
    assert {"disagreements with the student", "wrong by the truth"} <= set(views)
    assert "changed by the last model" not in views
    assert dataset.load_saved_view("disagreements with the student").count("poses.keypoints") == 1
    assert dataset.count("truth.keypoints") == 3
    assert set(dataset.distinct("split")) <= {"train", "val"}


def test_where_chooses_images(fiftyone_module, name, shown) -> None:
    assert curate(shown, name=name, where="p_bad > 0.3").shown.images == 1
    assert load(fiftyone_module, name).values("path") == ["a/0.png"]
    assert curate(shown, name=name).shown.images == 3
    with pytest.raises(InputError, match="no pose is as"):
        curate(shown, name=name, where="p_bad > 2")
    assert len(load(fiftyone_module, name)) == 3, "what stood there is left alone"
    with pytest.raises(ConfigError, match="no column"):
        curate(shown, name=name, where="pbad > 2")


def test_all_ways_to_write_leave_the_same(fiftyone_module, name, shown) -> None:
    """By objects, by labels as documents, and all as documents; added, and updated after a change."""
    from autolabel.curate.dataset import index_keys, open_dataset
    from autolabel.curate.schema import declare

    files = [image_file(shown, sample) for sample in shown]
    before = documents(list(shown), files, COCO)
    doubted = [replace(s, poses=s.poses.replace(p_bad=np.full(len(s.poses), 0.9))) for s in shown]
    after = documents(doubted, files, COCO)
    left = list[list[dict[str, Any]]]()
    writers = (partial(PublicWriter, plain=False), PublicWriter, DocumentWriter)
    for writer, suffix in zip(writers, ("", "-people", "-crops"), strict=True):
        dataset = open_dataset(fiftyone_module, name + suffix, COCO, shows="images")
        declare(fiftyone_module, dataset, ["routed"], ["truth"])
        index_keys(dataset)
        for made in (before, after):
            sync(dataset, [made], writer(fiftyone_module, dataset))
        dataset.reload()
        assert dataset.media_type == "image"
        assert dataset.first().poses.keypoints[0].p_bad == pytest.approx(0.9)
        left.append([_plain(document) for document in dataset._sample_collection.find().sort("key")])
    objects, plain, straight = left
    assert objects == plain == straight


def _plain(value: Any) -> Any:
    """A stored document without what differs from one data set to another; NaN is a word, so that it equals itself.

    Nothing is stored as null or not at all, which are the same to FiftyOne.
    """
    if isinstance(value, dict):
        unlike = {"_id", "_rand", "_dataset_id", "created_at", "last_modified_at"}
        told = {name: item for name, item in value.items() if item is not None}
        return {name: "there" if name in unlike else _plain(item) for name, item in told.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return "nan" if isinstance(value, float) and np.isnan(value) else value


# ---- what stays


def test_tags_and_ids_stay_when_scores_change(fiftyone_module, name, shown) -> None:
    curate(shown, name=name)
    dataset = load(fiftyone_module, name)
    dataset.match({"path": "a/0.png"}).tag_samples("mine")
    dataset.select_labels(ids=[dataset.first().poses.keypoints[0].id], fields="poses").tag_labels("look")
    dataset.select_labels(ids=[dataset.first().boxes.detections[0].id], fields="boxes").tag_labels("box look")
    before = labels(dataset, "id", "tags")
    doubted = [replace(s, poses=s.poses.replace(p_bad=np.full(len(s.poses), 0.9))) for s in shown]
    done = curate(again(shown, doubted), name=name).shown.synced
    assert (done.updated, done.unchanged) == (2, 1)
    dataset = load(fiftyone_module, name)
    assert labels(dataset, "id", "tags") == before
    assert dataset.count_sample_tags() == {"mine": 1}
    assert dataset.count_label_tags() == {"look": 1, "box look": 1}
    assert dataset.bounds("poses.keypoints.p_bad") == (pytest.approx(0.9), pytest.approx(0.9))


def test_images_that_leave_go_and_tagged_ones_stay_marked(fiftyone_module, name, shown) -> None:
    curate(shown, name=name)
    load(fiftyone_module, name).match({"path": "a/1.png"}).tag_samples("keep me")
    smaller = again(shown, [some_samples()[0]])
    done = curate(smaller, name=name).shown.synced
    assert (done.removed, done.left) == (1, 1)
    dataset = load(fiftyone_module, name)
    assert dict(zip(*dataset.values(["path", "left"]), strict=True)) == {"a/0.png": False, "a/1.png": True}
    assert "left the manifest" in dataset.list_saved_views()
    done = curate(shown, name=name).shown.synced
    assert (done.added, done.updated) == (1, 1)
    assert load(fiftyone_module, name).values("left") == [False] * 3


def test_tags_of_poses_that_leave_their_image_are_told(fiftyone_module, name, shown) -> None:
    curate(shown, name=name)
    load(fiftyone_module, name).match({"path": "a/0.png"}).tag_labels("accept", label_fields="poses")
    one = some_samples()
    one[0] = one[0].with_poses(one[0].poses.take([0]))
    lost = curate(again(shown, one), name=name).shown.synced.lost
    assert lost == [f"{1:032x} accept"]


def test_an_edit_stays_until_it_is_pulled(fiftyone_module, name, shown) -> None:
    curate(shown, name=name)
    move(fiftyone_module, name, 0, 0, (0.5, 0.25))
    doubted = [replace(s, poses=s.poses.replace(p_bad=np.full(len(s.poses), 0.9))) for s in shown]
    done = curate(again(shown, doubted), name=name).shown.synced
    assert done.edited == 1
    points = labels(load(fiftyone_module, name), "points", "p_bad")[f"{0:032x}"]
    assert points[0][0] == [0.5, 0.25]
    assert points[1] == pytest.approx(0.9)


# ---- what comes home


def test_decisions_come_home_and_are_merged(fiftyone_module, name, shown, tmp_path) -> None:
    curate(shown, name=name)
    tag(fiftyone_module, name, 0, "accept")
    move(fiftyone_module, name, 0, 5, (0.25, 0.5))
    tag(fiftyone_module, name, 1, "wrong-box")
    tag(fiftyone_module, name, 2, "reject")
    tag(fiftyone_module, name, 2, "a tag of my own")
    pulled = curate(shown, name=name, pull=True, out=tmp_path / "curated", by="ann").pulled
    counts = (pulled.accepted, pulled.edited, pulled.rejected, pulled.review, pulled.notices)
    assert counts == (0, 1, 1, 1, 0)
    found = {c.pose: c for c in read_corrections(tmp_path / "curated" / CORRECTIONS, 17)}
    assert {c.by for c in found.values()} == {"ann"}
    merged = merge(shown, tmp_path / "curated", out=tmp_path / "merged").manifest
    poses = {pose: sample.poses[i] for sample in merged for i, pose in enumerate(sample.poses.id.tolist())}
    assert poses[f"{0:032x}"].xy[5].tolist() == [0.25 * 300 - 0.5, 0.5 * 240 - 0.5]
    assert poses[f"{0:032x}"].origin[5] == Origin.HUMAN
    states = [poses[f"{i:032x}"].attributes.get("state") for i in range(3)]
    assert states == [State.REVIEWED, None, State.REJECTED]
    assert {e.correction.by for e in read_ledger(merged.path / LEDGER, 17)} == {"ann"}
    review = manifest_queue(Manifest.open(tmp_path / "curated" / "review"))
    assert [entry.pose for entry in review.queue] == [f"{1:032x}"]


def test_pulling_again_tells_the_same(fiftyone_module, name, shown, tmp_path) -> None:
    curate(shown, name=name)
    tag(fiftyone_module, name, 0, "accept")
    first = curate(shown, name=name, pull=True, out=tmp_path / "a", by="ann").pulled
    second = curate(shown, name=name, pull=True, out=tmp_path / "b", by="bob").pulled
    assert first.manifest.digest == second.manifest.digest
    ledgers = [(tmp_path / out / LEDGER).read_text() for out in "ab"]
    assert ledgers[0] == ledgers[1], "who and when were written down by the first"
    curate(shown, name=name, pull=True, out=tmp_path / "a", by="bob")
    dataset = load(fiftyone_module, name)
    dataset.untag_labels("accept", label_fields="poses")
    nothing = curate(shown, name=name, pull=True, out=tmp_path / "c", by="bob").pulled
    assert (nothing.accepted, len(nothing.manifest)) == (0, 0)
    tag(fiftyone_module, name, 0, "accept")
    curate(shown, name=name, pull=True, out=tmp_path / "d", by="bob")
    assert [e.correction.by for e in read_ledger(tmp_path / "d" / LEDGER, 17)] == ["bob"], "the old mark was forgotten"


def test_a_tag_on_an_image_is_for_everybody_in_it(fiftyone_module, name, shown, tmp_path) -> None:
    curate(shown, name=name)
    load(fiftyone_module, name).match({"path": "a/0.png"}).tag_samples("send-to-review")
    pulled = curate(shown, name=name, pull=True, out=tmp_path / "curated").pulled
    assert pulled.review == 2


def test_tags_on_a_contact_sheet_come_home(fiftyone_module, name, shown, tmp_path) -> None:
    made = curate(shown, name=name, sheet=tmp_path / "sheet").shown.people
    assert (made.people, made.written, made.without_image) == (3, 3, 0)
    people = load(fiftyone_module, f"{name}-people")
    assert people.load_saved_view("most doubtful").values("pose_id") == [f"{i:032x}" for i in (0, 1)]
    assert all(Path(file).is_file() for file in people.values("filepath"))
    people.match({"pose_id": f"{1:032x}"}).tag_samples("send-to-review")
    pulled = curate(shown, name=name, pull=True, out=tmp_path / "curated").pulled
    review = Manifest.open(tmp_path / "curated" / "review")
    assert [p for sample in review for p in sample.poses.id] == [f"{1:032x}"]
    assert pulled.review == 1
    second = curate(shown, name=name, sheet=tmp_path / "sheet").shown.people
    assert (second.written, second.synced.unchanged) == (0, 3)
    assert load(fiftyone_module, f"{name}-people").count_sample_tags() == {"send-to-review": 1}


def test_people_without_an_image_are_not_on_the_sheet(fiftyone_module, name, shown, tmp_path) -> None:
    (tmp_path / "images/a/0.png").write_bytes(b"broken")
    made = curate(shown, name=name, sheet=tmp_path / "sheet").shown.people
    assert (made.people, made.without_image) == (1, 2)


def test_embeddings_become_a_map(fiftyone_module, name, tmp_path) -> None:
    samples, rng = some_samples(), np.random.default_rng(0)
    many = [replace(samples[1], id=f"{i:064x}", path=f"a/{i}.png", poses=some_poses(1, i)) for i in range(12)]
    manifest = some_manifest(tmp_path, many)
    for part, count in enumerate([2] * 6):
        import pyarrow.parquet as pq

        from autolabel.manifest import part_file
        from autolabel.tables import features_table

        features = {"embedding": rng.normal(size=(count, 8)).astype(np.float32)}
        if part == 5:  # the last two images show the same
            features["embedding"][1] = features["embedding"][0] * 1.001
        pq.write_table(features_table(features), part_file(manifest.path, "features", part))
    made = curate(manifest, name=name, brain=True).shown.embedded
    assert (made.people, made.map, made.alike) == (12, "pca", 1)
    dataset = load(fiftyone_module, name)
    assert set(dataset.list_brain_runs()) >= {"people_map", "similar_people"}
    assert dataset.count("uniqueness") == 12
    assert dataset.load_saved_view("alike").values(["path", "alike"]) == (["a/11.png"], ["a/10.png"])
    first = dataset.first().boxes.detections[0].id
    similar = dataset.to_patches("boxes").sort_by_similarity(first, k=3, brain_key="similar_people")
    assert len(similar) == 3
    assert similar.first().boxes.id == first
    curate(manifest, name=name, brain=True)
    too_few = some_manifest(tmp_path / "few", [many[0]])
    assert curate(too_few, name=name, brain=True).shown.embedded.map == ""
