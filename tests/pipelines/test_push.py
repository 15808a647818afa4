"""Pushing a routing: what lies in the review folder, again, after a kill, and with bad input."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import pipelines.push as pushing
from autolabel.errors import ConfigError, FormatError, InputError, ManifestError, SkeletonError
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.tasks import read_task_map
from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Poses, Sample
from autolabel.skeleton import Skeleton
from pipelines.push import push
from tests.pipelines.plants import QUEUED, plant, whole


def tree(folder: Path) -> dict[str, bytes]:
    """Every file's bytes, except the sent manifest's, which are compared by digest elsewhere, and the lock's."""
    files = [file for file in sorted(folder.rglob("[!.]*")) if file.is_file() and "sent" not in file.parts]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def tasks_of(folder: Path) -> list[dict[str, Any]]:
    return [task for file in ReviewFolder(folder).task_files() for task in json.loads(file.read_text())]


def test_a_push_makes_form_crops_tasks_and_map(review_case: Any) -> None:
    result = push(review_case.route(), project=review_case.project)
    assert (result.tasks, result.added, result.set_aside) == (6, 6, 0)
    folder = ReviewFolder(result.folder)
    assert folder.form.read_text().startswith("<View>")
    tasks, records = tasks_of(result.folder), read_task_map(folder.taskmap)
    assert [records[task["data"]["task_key"]].pose for task in tasks] == review_case.model.id.tolist()
    for task in tasks:
        record = records[task["data"]["task_key"]]
        with Image.open(folder.crops / task["data"]["crop"]) as crop:
            assert crop.size == record.frame.shown
        assert max(record.frame.shown) >= 640
        assert (record.model, record.kind, record.routing) == ("net", "review", "ab" * 32)


def test_the_queue_decides_the_order(review_case: Any) -> None:
    queue = [{"pose": f"pose-{i}"} for i in (3, 0, 5, 1)]
    result = push(review_case.route(*queue), project=review_case.project)
    records = read_task_map(ReviewFolder(result.folder).taskmap)
    assert [records[t["data"]["task_key"]].pose for t in tasks_of(result.folder)] == [q["pose"] for q in queue]


def test_crops_show_the_upright_image(review_case: Any) -> None:
    """The third image is stored on its side; its crops must hold the pixels that its coordinates mean."""
    result = push(review_case.route({"pose": "pose-4"}), project=review_case.project)
    (record,) = read_task_map(ReviewFolder(result.folder).taskmap).values()
    stored = Image.open(review_case.folder / "images" / "2.png")
    upright = stored.transpose(Image.Transpose.ROTATE_270).convert("RGB")
    (x, y), (w, h) = record.frame.origin, record.frame.size
    expected = np.asarray(upright.crop((x, y, x + w, y + h)).resize((40, 40), Image.Resampling.BOX), np.float64)
    crop = Image.open(result.folder / "crops" / record.crop).resize((40, 40), Image.Resampling.BOX)
    assert np.corrcoef(expected.ravel(), np.asarray(crop, np.float64).ravel())[0, 1] > 0.95


def test_pushing_again_adds_nothing(review_case: Any) -> None:
    routing = review_case.route()
    first = push(routing, project=review_case.project)
    before = tree(first.folder)
    again = push(routing, project=review_case.project)
    assert (again.tasks, again.added) == (6, 0)
    assert tree(first.folder) == before


def test_a_second_routing_comes_beside_the_first(review_case: Any) -> None:
    first = push(review_case.route({"pose": "pose-0"}), project=review_case.project)
    before = tree(first.folder)
    second = push(
        review_case.route({"pose": "pose-0", "kind": "audit"}, {"pose": "pose-1"}, name="next", digest="cd" * 32),
        project=review_case.project,
    )
    assert (second.tasks, second.added) == (2, 2)
    after = tree(first.folder)
    assert after["taskmap.jsonl"].startswith(before["taskmap.jsonl"])
    assert {name: after[name] for name in before if name != "taskmap.jsonl"} == {
        name: data for name, data in before.items() if name != "taskmap.jsonl"
    }
    assert len({task["data"]["task_key"] for task in tasks_of(first.folder)}) == 3


@pytest.mark.parametrize("survivors", range(13))
def test_a_killed_push_goes_on_and_gives_the_same(
    review_case: Any, monkeypatch: pytest.MonkeyPatch, survivors: int
) -> None:
    """Whatever prefix of a push's writes survived, the next call ends where an undisturbed one does."""
    monkeypatch.setattr(pushing, "TASKS_A_FILE", 4)
    torn = b'{"task": "half a li'
    routing = review_case.route()
    folder = push(routing, project=review_case.project).folder
    expected = tree(folder)
    lines = expected["taskmap.jsonl"].splitlines(keepends=True)
    crops = [name for name in expected if name.startswith("crops/")]
    written: list[tuple[str, bytes]] = [("form.xml", expected["form.xml"])]
    for i, part in enumerate((slice(4), slice(4, 6))):
        keys = [json.loads(line)["task"] for line in lines[part]]
        written += [(name, expected[name]) for name in crops if Path(name).stem in keys]
        written += [("taskmap.jsonl", b"".join(lines[: part.stop]))]
        written += [(f"tasks/abababababab-0000{i}.json", expected[f"tasks/abababababab-0000{i}.json"])]
    assert {name for name, _ in written} == set(expected)
    for name in expected:
        (folder / name).unlink()
    for name, data in written[:survivors]:
        (folder / name).write_bytes(data)
    if (folder / "taskmap.jsonl").exists():
        with (folder / "taskmap.jsonl").open("ab") as file:
            file.write(torn)
    assert push(routing, project=review_case.project).tasks == 6
    found = tree(folder)
    assert found.pop("taskmap.jsonl").removesuffix(torn) == expected.pop("taskmap.jsonl")
    assert found == expected


def test_the_poses_are_kept_as_they_were_sent(review_case: Any) -> None:
    result = push(review_case.route({"pose": "pose-1"}, {"pose": "pose-4"}), project=review_case.project)
    sent = Manifest.open(ReviewFolder(result.folder).sent("ab" * 32))
    poses = Poses.concat([sample.poses for sample in sent])
    assert poses.equals(review_case.model.take([1, 4]))
    assert [parent.role for parent in sent.parents] == ["routing", "manifest"]


def test_an_unreadable_image_is_set_aside(review_case: Any) -> None:
    routing = review_case.route()
    (review_case.folder / "images" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    result = push(routing, project=review_case.project)
    assert (result.tasks, result.added, result.set_aside) == (4, 4, 2)
    assert len(read_task_map(ReviewFolder(result.folder).taskmap)) == 4
    assert result.summary()["set_aside"] == 2


def test_without_any_image_that_can_be_read_there_is_nothing_to_send(review_case: Any) -> None:
    """As with a disk that is not there today: when it is back, the same push does it."""
    routing, images = review_case.route(), review_case.folder / "images"
    images.rename(review_case.folder / "gone")
    with pytest.raises(
        InputError, match=rf"no image of the 6 queued tasks can be read\. Put the images back below {images}"
    ):
        push(routing, project=review_case.project)
    assert not ReviewFolder.of(review_case.project).task_files()
    (review_case.folder / "gone").rename(images)
    result = push(routing, project=review_case.project)
    assert (result.tasks, result.added, result.set_aside) == (6, 6, 0)


def test_a_project_folder_that_is_not_there_is_not_made(review_case: Any) -> None:
    with pytest.raises(ConfigError, match=r"nope: there is no such project folder.*autolabel init"):
        push(review_case.route(), project=review_case.folder / "nope")
    assert not (review_case.folder / "nope").exists()


def test_an_image_that_has_changed_size_is_set_aside(review_case: Any) -> None:
    routing = review_case.route()
    Image.new("RGB", (50, 50)).save(review_case.folder / "images" / "0.png")
    assert push(routing, project=review_case.project).set_aside == 2


def test_a_manifest_that_has_changed_is_refused(review_case: Any) -> None:
    routing = review_case.route()
    review_case.write("routing-scored", review_case.truth)
    with pytest.raises(ManifestError, match="not the manifest that was routed"):
        push(routing, project=review_case.project)
    assert not list(review_case.project.iterdir())


def test_a_queued_pose_that_the_manifest_lacks_is_refused(review_case: Any) -> None:
    with pytest.raises(ManifestError, match="lacks 1 of the queued poses"):
        push(review_case.route({"pose": "pose-0"}, {"pose": "nobody"}), project=review_case.project)


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        ({"kind": "fun"}, "line 1.kind: is 'fun', expected one of: review"),
        ({"blind": "no"}, "line 1.blind"),
        ({"pose": 5}, "line 1.pose"),
    ],
)
def test_a_malformed_queue_is_refused(review_case: Any, entry: dict[str, Any], place: str) -> None:
    with pytest.raises(FormatError, match=place):
        push(review_case.route({"pose": "pose-0", **entry}), project=review_case.project)


def test_a_pose_may_not_be_queued_twice_for_one_purpose(review_case: Any) -> None:
    with pytest.raises(FormatError, match="queued twice"):
        push(review_case.route({"pose": "pose-0"}, {"pose": "pose-0"}), project=review_case.project)
    both = review_case.route({"pose": "pose-0"}, {"pose": "pose-0", "kind": "audit"})
    assert push(both, project=review_case.project).tasks == 2


def test_another_skeleton_needs_another_project(review_case: Any) -> None:
    push(review_case.route(), project=review_case.project)
    skeleton = Skeleton.load("lsp14")
    poses = Poses.create(14, id=["x"], box=[(0, 0, 9, 9)])
    sample = Sample("s", "images", "0.png", (160, 120), poses)
    routing = review_case.route(name="next", digest="cd" * 32)
    other = write_manifest(
        review_case.folder / "lsp", [sample], skeleton, {"images": review_case.folder / "images"}, stage="test"
    )
    record = json.loads((routing / "routing.json").read_text())
    (routing / "routing.json").write_text(json.dumps({**record, "manifest": "../lsp", "manifest_digest": other.digest}))
    (routing / "queue.jsonl").write_text(json.dumps({"pose": "x", "kind": "review", "blind": False}) + "\n")
    with pytest.raises(SkeletonError):
        push(routing, project=review_case.project)


def shape(value: Any) -> Any:
    """The keys and kinds of a value, whatever it says."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    if isinstance(value, list):
        return [shape(part) for part in value]
    return "number" if isinstance(value, int | float) else type(value).__name__


def test_nobody_can_tell_planted_audited_and_ordinary_tasks_apart(review_case: Any) -> None:
    review_case.model = review_case.model.replace(p_gross=np.tile(np.linspace(0.9, 0.1, 17), (6, 1)))
    kinds = ("review", "audit", "calibration", "development", "gate", "keypoint")
    routing = review_case.route(QUEUED, *({"pose": "pose-1", "kind": kind} for kind in kinds))
    plant(review_case, routing)
    result = push(routing, project=review_case.project)
    assert (result.tasks, result.set_aside) == (7, 0)
    folder = ReviewFolder(result.folder)
    records, tasks = read_task_map(folder.taskmap), tasks_of(result.folder)
    assert [records[task["data"]["task_key"]].kind for task in tasks] == ["planted", *kinds]
    planted = tasks[0]
    for task in tasks:
        assert shape(task) == shape(planted)
        assert task["data"]["header"] == planted["data"]["header"] == "Check these first: nose, left_eye"
        assert task["meta"] == planted["meta"]
        key = task["data"]["task_key"]
        assert len(key) == 24
        assert set(key) <= set("0123456789abcdef")
        assert task["data"]["crop"] == f"{key}.jpg"
        text = json.dumps(task)
        assert not [
            word for word in ("plant", "audit", "checked", "pose-1", "gate", "calib", "develop") if word in text
        ]
    assert not [name for name in tree(result.folder) if "plant" in name]


def test_planted_poses_are_shown_on_their_own_images(review_case: Any) -> None:
    """Their root has the name of the corpus', but is another folder."""
    routing = review_case.route(QUEUED, {"pose": "pose-0"})
    plants = plant(review_case, routing)
    result = push(routing, project=review_case.project)
    folder = ReviewFolder(result.folder)
    planted, ordinary = read_task_map(folder.taskmap).values()
    assert (planted.of, planted.sample, ordinary.of) == ("checked-1", ("c0", "plants-images", "0.png"), "")
    (x, y), (w, h) = planted.frame.origin, planted.frame.size
    part = Image.open(review_case.folder / "other-images" / "0.png").crop((x, y, x + w, y + h))
    expected = np.asarray(part.resize((40, 40), Image.Resampling.BOX), np.float64)
    crop = Image.open(folder.crops / planted.crop).resize((40, 40), Image.Resampling.BOX)
    assert np.corrcoef(expected.ravel(), np.asarray(crop, np.float64).ravel())[0, 1] > 0.95
    sent = Manifest.open(folder.sent("ab" * 32))
    assert [parent.digest for parent in sent.parents if parent.role == "plants"] == [plants.digest]
    assert push(routing, project=review_case.project).added == 0


def test_a_plant_on_an_image_of_the_corpus_stands_beside_its_poses(review_case: Any) -> None:
    routing = review_case.route({"pose": "pose-9", "kind": "planted"}, {"pose": "pose-0"})
    (routing / "plants.jsonl").write_text(json.dumps({"pose": "pose-9", "of": "pose-1"}) + "\n")
    poses = review_case.model.take([1]).replace(id=["pose-9"])
    sample = Sample("s0", "images", "0.png", (160, 120), poses)
    write_manifest(
        routing / "plants", [sample], review_case.write("x", review_case.truth).skeleton,
        {"images": review_case.folder / "images"}, stage="test",
    )  # fmt: skip
    result = push(routing, project=review_case.project)
    assert result.tasks == 2
    (sent,) = Manifest.open(ReviewFolder(result.folder).sent("ab" * 32))
    assert sent.poses.id.tolist() == ["pose-0", "pose-9"]


def test_a_planted_pose_that_was_not_written_is_refused(review_case: Any) -> None:
    routing = review_case.route(QUEUED)
    (routing / "plants.jsonl").write_text(json.dumps({"pose": "plant-1", "of": "checked-1"}) + "\n")
    with pytest.raises(ManifestError, match="lacks 1 of the queued poses"):
        push(routing, project=review_case.project)


def test_whole_images_are_shown_with_all_their_poses(review_case: Any) -> None:
    result = push(review_case.route(whole(2), {"pose": "pose-0"}, whole(0)), project=review_case.project)
    assert result.tasks == 3
    folder = ReviewFolder(result.folder)
    records = [read_task_map(folder.taskmap)[task["data"]["task_key"]] for task in tasks_of(result.folder)]
    assert [record.poses for record in records] == [("pose-4", "pose-5"), (), ("pose-0", "pose-1")]
    assert [record.frame.size for record in records[::2]] == [(160, 120)] * 2
    with Image.open(folder.crops / records[0].crop) as crop:
        assert crop.size == records[0].frame.shown == (640, 480)
    sent = Manifest.open(folder.sent("ab" * 32))
    assert {sample.path: len(sample.poses) for sample in sent} == {"0.png": 2, "2.png": 2}


def test_an_image_without_poses_can_be_shown(review_case: Any) -> None:
    review_case.model = review_case.model.replace(attributes=[{}] * 4 + [{"state": "rejected"}] * 2)
    result = push(review_case.route(whole(2)), project=review_case.project)
    (task,) = tasks_of(result.folder)
    assert [item["from_name"] for item in task["predictions"][0]["result"]] == ["about"]


def test_the_crop_of_a_blind_task_shows_the_box_and_that_of_its_twin_does_not(review_case: Any) -> None:
    queue = [{"pose": "pose-0", "kind": "blind", "blind": True}, {"pose": "pose-0", "kind": "audit"}]
    folder = ReviewFolder(push(review_case.route(*queue), project=review_case.project).folder)
    records = {record.kind: record for record in read_task_map(folder.taskmap).values()}
    assert records["blind"].frame == records["audit"].frame
    shown = {kind: np.asarray(Image.open(folder.crops / record.crop), int) for kind, record in records.items()}
    frame = records["audit"].frame
    x, y, width, height = np.array(frame.box_to_percent(review_case.model.box[0])) / 100 * np.tile(frame.shown, 2)
    differ = (np.abs(shown["blind"] - shown["audit"]) > 40).any(axis=2)
    rows, columns = differ.nonzero()
    assert [columns.min(), rows.min(), columns.max(), rows.max()] == pytest.approx([x, y, x + width, y + height], abs=4)
    inside = differ[int(y) + 8 : int(y + height) - 8, int(x) + 8 : int(x + width) - 8]
    assert not inside.any()


def test_a_queued_image_that_the_manifest_lacks_is_refused(review_case: Any) -> None:
    with pytest.raises(ManifestError, match="lacks 1 of the queued images"):
        push(review_case.route(whole(7)), project=review_case.project)
