import hashlib
import pickle
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from autolabel.errors import ExistsError
from autolabel.manifest import Existing, Manifest
from autolabel.poses import Visibility
from pipelines.drawn_corpus import FROZEN, draw, draw_corpus, hide_truth


def test_a_picture_depends_on_seed_and_index_alone():
    forwards = [draw(i, 3) for i in range(6)]
    backwards = [draw(i, 3) for i in reversed(range(6))][::-1]
    for a, b in zip(forwards, backwards, strict=True):
        assert np.array_equal(a.image, b.image)
        assert a.poses.equals(b.poses)
    other = draw(0, 4)
    assert not np.array_equal(forwards[0].poses.xy[0], other.poses.xy[0])
    assert not np.array_equal(forwards[0].poses.xy[0], forwards[1].poses.xy[0])
    ids = [id for d in [*forwards, other] for id in d.poses.id]
    assert len(set(ids)) == len(ids)


def test_everybody_is_worth_labelling():
    for drawing in (draw(i, 11) for i in range(30)):
        height, width = drawing.image.shape[:2]
        poses = drawing.poses
        assert 1 <= len(poses) <= 4
        assert ((poses.visibility != Visibility.ABSENT).sum(axis=1) >= 8).all()
        assert ((poses.visibility == Visibility.VISIBLE).sum(axis=1) >= 4).all()
        assert (poses.box[:, :2] >= 0).all()
        assert (poses.box[:, 2:] <= (width, height)).all()
        assert (poses.area > 100).all()
        sides = poses.box[:, 2:] - poses.box[:, :2]
        assert (poses.area <= sides.prod(axis=1)).all()


def test_the_frozen_corpus_holds_every_state_and_company():
    drawings = [draw(i, 0) for i in range(60)]
    seen = np.concatenate([d.poses.visibility for d in drawings])
    assert (seen == Visibility.VISIBLE).mean() > 0.5
    assert (seen == Visibility.HIDDEN).mean() > 0.08
    assert (seen == Visibility.ABSENT).mean() > 0.005
    assert len({len(d.poses) for d in drawings}) >= 3


def test_the_hardest_settings_can_be_drawn():
    hardest = replace(FROZEN, pose_spread=1, clutter=1, occlusion=1, neighbours=1, truncation=1, lighting=1)
    assert [len(draw(i, 0, hardest).poses) for i in range(3)] == [4, 4, 4]


def test_settings_and_drawings_cross_processes():
    assert pickle.loads(pickle.dumps(FROZEN)) == FROZEN
    drawing = draw(1, 2)
    assert pickle.loads(pickle.dumps(drawing)).poses.equals(drawing.poses)


def test_hidden_truth_is_boxes_alone():
    poses = draw(2, 0).poses
    hidden = hide_truth(poses)
    assert np.array_equal(hidden.id, poses.id)
    assert np.array_equal(hidden.box, poses.box)
    assert np.isnan(hidden.xy).all()
    assert np.isnan(hidden.area).all()
    assert (hidden.visibility == Visibility.UNLABELLED).all()
    assert (hidden.origin == 0).all()


def test_corpus_on_disk_is_what_is_drawn(tmp_path):
    truth, boxes = draw_corpus(tmp_path, images=5, seed=9, first=20, part_size=2)
    assert (len(truth), len(boxes), truth.num_parts) == (5, 5, 3)
    assert truth.skeleton.name == "coco17"
    for index, labelled, bare in zip(range(20, 25), truth, boxes, strict=True):
        drawing = draw(index, 9)
        assert labelled.poses.equals(drawing.poses)
        assert bare.key == labelled.key
        assert bare.poses.equals(hide_truth(drawing.poses))
        file = truth.image_path(labelled)
        assert labelled.id == hashlib.sha256(file.read_bytes()).hexdigest()[:32]
        image = np.asarray(Image.open(file))
        assert labelled.size == (image.shape[1], image.shape[0])
        # Quality 92 costs a few grey levels.
        assert np.abs(image.astype(int) - drawing.image).mean() < 6


def test_pieces_of_a_corpus_are_the_corpus(tmp_path):
    whole, _ = draw_corpus(tmp_path / "whole", images=4, seed=1)
    piece, _ = draw_corpus(tmp_path / "piece", images=2, seed=1, first=2)
    assert [s.key for s in piece] == [s.key for s in whole][2:]


def test_a_corpus_goes_on_where_it_stopped_and_never_overwrites(tmp_path):
    whole, _ = draw_corpus(tmp_path / "a", images=4, seed=5, part_size=2)
    with pytest.raises(ExistsError):
        draw_corpus(tmp_path / "a", images=4, seed=5, part_size=2)
    again, _ = draw_corpus(tmp_path / "a", images=4, seed=5, part_size=2, existing=Existing.OVERWRITE)
    assert again.digest == whole.digest
    # Stopped before its second part: the first one is not drawn again.
    for name in ("truth", "boxes"):
        (tmp_path / "a" / name / "manifest.json").unlink()
        (tmp_path / "a" / name / "samples-00001.parquet").unlink()
    first = tmp_path / "a" / "images" / "00000000.jpg"
    first.write_bytes(b"untouched")
    resumed, _ = draw_corpus(tmp_path / "a", images=4, seed=5, part_size=2, existing=Existing.RESUME)
    assert first.read_bytes() == b"untouched"
    assert resumed.digest == whole.digest == Manifest.open(tmp_path / "a" / "truth").digest
