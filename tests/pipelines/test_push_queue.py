"""Reading a routing's queue: what is refused, and where the error says it is."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.errors import FormatError, InputError, ManifestError, SkeletonError
from autolabel.labelstudio.access import write_settings
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.form import labelling_form
from autolabel.manifest import write_manifest
from autolabel.poses import Poses, Sample
from autolabel.skeleton import Skeleton
from pipelines.init import init
from pipelines.push import push
from pipelines.push_queue import read_queue, read_routing, without_asked
from pipelines.routing_seal import sealed
from tests.pipelines.plants import QUEUED, plant


def test_poses_and_images_in_their_order(review_case: Any) -> None:
    image = {"pose": "", "kind": "image", "image": ["s1", "images", "1.png"]}
    folder = review_case.route({"pose": "pose-3", "kind": "gate"}, image, {"pose": "pose-3", "kind": "audit"})
    routing = read_routing(folder)
    assert [(entry.pose, entry.kind, entry.image) for entry in routing.queue] == [
        ("pose-3", "gate", ()),
        ("", "image", ("s1", "images", "1.png")),
        ("pose-3", "audit", ()),
    ]
    assert (routing.plants, routing.planted) == (None, {})


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        ({"kind": "image"}, "line 1.image: is missing"),
        ({"kind": "image", "image": ["s1", "images"]}, "line 1.image"),
        ({"kind": "blind"}, "line 1.blind: is false"),
        ({"kind": "planted"}, r"plants\.jsonl: does not list planted pose pose-0"),
    ],
)
def test_a_malformed_queue_is_refused(review_case: Any, entry: dict[str, Any], place: str) -> None:
    with pytest.raises(FormatError, match=place):
        read_routing(review_case.route({"pose": "pose-0", **entry}))


@pytest.mark.parametrize("digest", ["", "ab", "../../../../tmp/x", "AB" * 32, "ab" * 32 + "/..", "ab" * 32 + "\n", 5])
def test_a_digest_that_names_no_routing_is_refused(review_case: Any, digest: Any) -> None:
    """It names files and folders of the project."""
    folder = review_case.route()
    record = json.loads((folder / "routing.json").read_text())
    (folder / "routing.json").write_text(json.dumps({**record, "digest": digest}))
    with pytest.raises(FormatError, match=r"routing.json: digest: is .*, expected"):
        read_routing(folder)
    with pytest.raises(FormatError):
        push(folder, project=review_case.project)
    assert not (review_case.project / "labelstudio" / "sent").exists()


def test_an_image_may_not_be_queued_twice(review_case: Any) -> None:
    image = {"pose": "", "kind": "image", "image": ["s1", "images", "1.png"]}
    with pytest.raises(FormatError, match="queued twice"):
        read_routing(review_case.route(image, image))


def test_plants_of_another_skeleton_are_refused(review_case: Any) -> None:
    folder = review_case.route({"pose": "x", "kind": "planted"})
    (folder / "plants.jsonl").write_text(json.dumps({"pose": "x", "of": "y"}) + "\n")
    sample = Sample("s", "images", "0.png", (160, 120), Poses.create(14, id=["x"]))
    roots = {"images": review_case.folder / "images"}
    write_manifest(folder / "plants", [sample], Skeleton.load("lsp14"), roots, stage="test")
    with pytest.raises(SkeletonError):
        read_routing(folder)


def test_an_edited_queue_and_other_plants_are_refused(review_case: Any) -> None:
    folder = review_case.route(QUEUED)
    digest = plant(review_case, folder).digest
    record = json.loads((folder / "routing.json").read_text()) | {"plants": {"natural": 1, "digest": digest}}
    (folder / "routing.json").write_text(json.dumps(sealed(record, folder)))
    assert [entry.pose for entry in read_routing(folder).queue] == ["plant-1"]
    other = {**record, "plants": {"natural": 1, "digest": "another"}}
    (folder / "routing.json").write_text(json.dumps(sealed(other, folder)))
    with pytest.raises(InputError, match="plants: is not what routing wrote"):
        read_routing(folder)
    (folder / "routing.json").write_text(json.dumps(sealed(record, folder)))
    (folder / "queue.jsonl").write_text("")
    with pytest.raises(InputError, match=r"queue\.jsonl: is not what routing wrote"):
        read_routing(folder)


def test_a_manifest_is_its_own_queue(review_case: Any) -> None:
    nobody = np.where(np.arange(6) == 4, np.nan, 1.0)[:, None, None] * review_case.model.xy
    poses = review_case.model.replace(
        xy=nobody,
        visibility=np.where(np.arange(6)[:, None] == 4, 0, review_case.model.visibility),
        p_bad=[0.2, np.nan, 0.9, 0.5, np.nan, 0.4],
        crowd=[False] * 5 + [True],
        attributes=[{"state": "reviewed"}, {}, {}, {"state": "rejected"}, {"boxed": "task"}, {}],
    )
    manifest = review_case.write("chosen", poses)
    routing = read_queue(manifest.path)
    assert [(e.pose, e.kind, e.blind) for e in routing.queue] == [
        ("pose-2", "review", False),
        ("pose-0", "review", False),
        ("pose-1", "review", False),
        ("pose-4", "review", True),
    ]
    assert (routing.digest, routing.manifest.path, routing.routed) == (manifest.digest, manifest.path, False)
    left = without_asked(routing, {"pose-0", "pose-4"})
    assert [e.pose for e in left.queue] == ["pose-2", "pose-0", "pose-1"], "only boxed people are not asked about twice"


def test_a_routing_is_asked_about_as_it_is(review_case: Any) -> None:
    routing = read_queue(review_case.route({"pose": "pose-3"}))
    assert routing.routed
    assert without_asked(routing, {"pose-3"}) is routing


def test_what_is_neither_a_routing_nor_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"routing\.json"):
        read_queue(tmp_path)


def test_two_poses_of_one_id_are_refused(review_case: Any) -> None:
    manifest = review_case.write("doubled", review_case.model.replace(id=["same"] * 6))
    with pytest.raises(ManifestError, match="two poses of one id"):
        read_queue(manifest.path)


def test_a_manifest_s_images_are_queued_whole_and_repetitions_are_not(review_case: Any, tmp_path: Path) -> None:
    first, second, third = review_case.samples(review_case.model)
    samples = [first, replace(second, duplicate_of=first.path), third]
    manifest = write_manifest(
        tmp_path / "m", samples, Skeleton.load("coco17"), {"images": review_case.folder / "images"}, stage="test"
    )
    queue = read_queue(manifest.path, whole_images=True)
    assert [(entry.kind, entry.image) for entry in queue.queue] == [("image", first.key), ("image", third.key)]
    assert queue.digest != read_queue(manifest.path).digest, "its poses are another queue"


def test_a_routing_says_itself_what_is_shown_whole(review_case: Any) -> None:
    with pytest.raises(InputError, match="is a routing"):
        read_queue(review_case.route(), whole_images=True)


@pytest.mark.parametrize("smart", [False, True])
def test_tasks_beside_a_backend_show_no_limbs_and_tell_of_it(review_case: Any, tmp_path: Path, smart: bool) -> None:
    project = init(tmp_path / "smart", images=review_case.folder / "images", skeleton="coco17").folder
    write_settings(project, smart=smart)
    image = {"pose": "", "kind": "image", "image": ["s1", "images", "1.png"]}
    folder = ReviewFolder(push(review_case.route({"pose": "pose-1"}, image), project=project).folder)
    crop, whole = (task for file in folder.task_files() for task in json.loads(file.read_text()))
    kinds = {region["type"] for region in crop["predictions"][0]["result"]}
    assert ("vectorlabels" in kinds) != smart
    assert ("Auto-Annotation" in whole["data"]["header"]) == smart
    assert folder.form.read_text() == labelling_form(Skeleton.load("coco17"), smart=smart)
