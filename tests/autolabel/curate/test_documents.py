"""Samples as documents: places, words, and digests that change when something is said anew."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autolabel.curate.documents import Beside, documents, sample_key, stated_digest, to_pixels
from autolabel.poses import Poses, Sample
from tests.curation import some_poses, some_samples
from tests.standing import COCO

FILES = [Path(f"/pictures/{i}.png") for i in range(3)]


def made(samples: list[Sample] | None = None, beside: Beside | None = None, **more):
    samples = some_samples() if samples is None else samples
    return documents(samples, FILES[: len(samples)], COCO, beside, **more)


def test_a_point_is_a_share_of_the_image_from_its_edge() -> None:
    first, samples = made()[0], some_samples()
    points = np.array(first["poses"]["keypoints"][1]["points"])
    x, y = samples[0].poses.xy[1, 9].tolist()
    assert points[9].tolist() == pytest.approx([(x + 0.5) / 300, (y + 0.5) / 240], abs=1e-12)


def test_pixels_come_back_bit_by_bit() -> None:
    rng = np.random.default_rng(3)
    xy = rng.uniform(-50, 4000, (500, 17, 2)).astype(np.float32)
    sample = Sample("0" * 64, "r", "p.png", (3999, 3001), Poses.create(17, xy=xy, visibility=np.full((500, 17), 2)))
    shares = np.array([pose["points"] for pose in made([sample])[0]["poses"]["keypoints"]])
    assert np.array_equal(to_pixels(shares, sample.size), xy)


def test_what_is_absent_or_unlabelled_is_not_shown_and_keeps_its_place() -> None:
    pose = made()[0]["poses"]["keypoints"][0]
    hidden = np.flatnonzero(np.isnan(np.array(pose["points"])[:, 0])).tolist()
    assert hidden == [3, 15]
    assert [pose["visibility"][k] for k in (0, 3, 15)] == ["visible", "unlabelled", "absent"]


def test_boxes_are_edges_and_are_not_shifted() -> None:
    sample, document = some_samples()[1], made()[1]
    x, y, w, h = document["boxes"]["detections"][0]["bounding_box"]
    corners = np.array([x, y, x + w, y + h]) * [400, 200, 400, 200]
    assert corners == pytest.approx(sample.poses.box[0])


def test_everything_that_is_known_is_told() -> None:
    first = made()[0]["poses"]["keypoints"][0]
    assert first["pose_id"] == f"{0:032x}"
    assert first["reasons"] == ["left knee: two peaks"]
    assert first["lint"] == ["mirrored limb"]
    assert (first["swap"], first["truncated"], first["state"], first["by"]) == (True, True, "open", "net")
    assert first["label_error"] is False, "a network placed it"
    assert first["p_bad"] == pytest.approx(0.4)
    assert first["worst_gross"] == pytest.approx(max(first["p_gross"]))
    assert set(first["origin"]) == {"model"}


def test_a_sample_tells_of_its_worst_pose_and_unknown_is_nothing() -> None:
    worst, unknown, empty = made()
    assert worst["p_bad"] == pytest.approx(0.4)
    assert unknown["p_bad"] is None
    assert (empty["num_poses"], empty["p_bad"], empty["states"], empty["truncated"]) == (0, None, [], False)
    assert empty["duplicate_of"] == "a/0.png"


def test_attributes_of_anybody_do_no_harm() -> None:
    odd = [{"reasons": "a text", "lint": [3, {"kind": 7}, {}], "state": ["reviewed"]}]
    sample = replace(some_samples()[1], poses=some_poses(1, attributes=odd))
    pose = made([sample])[0]["poses"]["keypoints"][0]
    assert (pose["reasons"], pose["lint"], pose["state"]) == ([], ["7"], "open")


def test_what_is_known_beside_lands_on_its_pose() -> None:
    samples = some_samples()
    beside = Beside(
        {"routed": ["review", None, "accepted"], "oks": [0.1, 0.2, 0.3], "suspicion": [None, 0.7, None]},
        {"truth": [some_poses(1), some_poses(2), Poses.empty(17)]},
        ["train", "val", "train"],
    )
    first, second, third = made(samples, beside, round_number=4)
    poses = first["poses"]["keypoints"] + second["poses"]["keypoints"]
    assert [pose["routed"] for pose in poses] == ["review", None, "accepted"]
    assert [pose["oks"] for pose in poses] == [0.1, 0.2, 0.3]
    assert [pose["label_error"] for pose in poses] == [False, True, False]
    assert [len(d["truth"]["keypoints"]) for d in (first, second, third)] == [1, 2, 0]
    assert [d["split"] for d in (first, second, third)] == ["train", "val", "train"]
    assert first["round"] == 4


def test_a_digest_changes_with_anything_that_is_said_and_with_nothing_else() -> None:
    before = made()
    assert [d["digest"] for d in before] == [d["digest"] for d in made()]
    doubted = [replace(s, poses=s.poses.replace(p_bad=np.full(len(s.poses), 0.9))) for s in some_samples()]
    changed = [a["digest"] != b["digest"] for a, b in zip(before, made(doubted), strict=True)]
    assert changed == [True, True, False]


def test_a_key_is_of_bytes_root_and_path() -> None:
    sample = some_samples()[0]
    others = [replace(sample, path="a/9.png"), replace(sample, root="b"), replace(sample, id="1" * 64)]
    assert len({sample_key(s) for s in (sample, *others)}) == 4
    assert sample_key(replace(sample, path="a/\udce4.png")), "a name that is no UTF-8"


def test_an_edit_is_seen_bit_by_bit() -> None:
    pose = made()[0]["poses"]["keypoints"][0]
    points, said = pose["points"], pose["visibility"]
    assert stated_digest(points, said) == pose["stated"]
    assert stated_digest(json.loads(json.dumps(points)), said) == pose["stated"], "NaN is NaN, whichever"
    moved = [[np.nextafter(points[0][0], 1), points[0][1]], *points[1:]]
    assert stated_digest(moved, said) != pose["stated"]
    assert stated_digest(points, ["hidden", *said[1:]]) != pose["stated"]
