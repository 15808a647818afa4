"""Crops of people: what they show, and where their points lie on them."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autolabel.curate.documents import documents
from autolabel.curate.sheet import SIDE, Part, crop_documents
from tests.autolabel.curate.test_documents import FILES
from tests.curation import some_samples
from tests.standing import COCO

DOCUMENTS = documents(some_samples(), FILES, COCO)


def test_every_person_has_a_crop_that_says_what_the_image_says() -> None:
    people = [crop for d in DOCUMENTS for crop, _ in crop_documents(d, Path("/crops"))]
    assert [crop["pose_id"] for crop in people] == [f"{i:032x}" for i in range(3)]
    assert people[0]["image_key"] == DOCUMENTS[0]["key"]
    assert people[0]["p_bad"] == pytest.approx(0.4)
    assert people[0]["poses"]["keypoints"][0]["visibility"][15] == "absent"
    assert len({crop["filepath"] for crop in people}) == 3
    assert all(crop["digest"] for crop in people)


def test_a_point_lies_on_the_crop_where_it_lies_on_the_person() -> None:
    """A dot is drawn where a keypoint is; on the crop it is found where the crop's keypoint is."""
    ((crop, part), _) = crop_documents(DOCUMENTS[0], Path("/crops"))
    xy = some_samples()[0].poses.xy[0, 9].astype(int)
    image = np.zeros((240, 300, 3), np.uint8)
    image[xy[1], xy[0]] = 255
    shown = np.asarray(Image.open(io.BytesIO(part.cut(image)))).astype(float).sum(axis=-1)
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    bright = np.where(shown > shown.max() / 4, shown, 0)
    middle = np.array([(bright * columns).sum(), (bright * rows).sum()]) / bright.sum()
    # Drawn in whole pixels: the keypoint's own place is up to a pixel of the image further on.
    expected = np.array(crop["poses"]["keypoints"][0]["points"][9]) * SIDE - 0.5
    off = (some_samples()[0].poses.xy[0, 9] - xy) * SIDE / part.side
    assert middle == pytest.approx(expected - off, abs=0.5)


def test_a_crop_holds_box_and_points_with_a_margin() -> None:
    for document, sample in zip(DOCUMENTS[:2], some_samples(), strict=False):
        for row, (_, part) in enumerate(crop_documents(document, Path("/crops"))):
            low, high = sample.poses.box[row, :2], sample.poses.box[row, 2:]
            assert np.all(low >= [part.x, part.y])
            assert np.all(high <= [part.x + part.side, part.y + part.side])


def test_points_outside_a_crop_are_not_shown_on_it() -> None:
    shares = Part(100, 100, 50).shares([[0.5, 0.5], [0.55, 0.55], [np.nan, np.nan]], np.array([200.0, 200.0]))
    assert shares[0].tolist() == [0, 0]
    assert shares[1].tolist() == pytest.approx([0.2, 0.2])
    assert np.isnan(shares[2]).all()
    assert np.isnan(Part(101, 0, 50).shares([[0.5, 0.1]], np.array([200.0, 200.0]))).all()


def test_another_part_has_another_file() -> None:
    document = DOCUMENTS[1]
    ((before, part),) = crop_documents(document, Path("/crops"))
    box = document["boxes"]["detections"][0]
    wider = {**box, "bounding_box": [0, 0, 1, 1]}
    ((after, other),) = crop_documents({**document, "boxes": {"detections": [wider]}}, Path("/crops"))
    assert part != other
    assert before["filepath"] != after["filepath"]
