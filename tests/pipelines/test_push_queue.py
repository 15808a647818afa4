"""Reading a routing's queue: what is refused, and where the error says it is."""

import json
from typing import Any

import pytest

from autolabel.errors import FormatError, InputError, SkeletonError
from autolabel.manifest import write_manifest
from autolabel.poses import Poses, Sample
from autolabel.skeleton import Skeleton
from pipelines.push_queue import read_routing
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
