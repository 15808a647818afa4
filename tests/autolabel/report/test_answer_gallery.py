"""Pictures of swaps found and of planted errors missed; images that are gone are left out."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autolabel.poses import Poses
from autolabel.report.answer_gallery import answer_shelves
from autolabel.report.answers import Answer, Answered, read_answers
from tests.looks import AREA, SENT, STICK, K, look, sent_pose

SWAP = {1: (70.0, 80.0), 2: (30.0, 80.0)}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.new("RGB", (120, 100), "white").save(tmp_path / "a.png")
    return tmp_path / "a.png"


def answered(image: Path, truth: Poses | None = None) -> Answered:
    swap = Answer("round 1", "review", look("ann", SWAP, pose=sent_pose("s")), 0.5, image, "s.png")
    planted = look("bob", pose=sent_pose("p"), planted=True)
    plant = Answer("audit", "planted", planted, float("nan"), image, "p.png", truth)
    return read_answers([swap, plant], STICK, ("round 1", "audit"))


def a_person(xy: np.ndarray) -> Poses:
    return Poses.create(K, id=["t"], xy=[xy], visibility=[[2] * K], box=[[20.0, 10.0, 80.0, 90.0]], area=[AREA])


def pixels(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"), int)


def test_swaps_and_missed_plants_are_shown_and_told(image: Path) -> None:
    elsewhere = SENT.copy()
    elsewhere[0] = (90.0, 60.0)
    swaps, plants = answer_shelves(answered(image, a_person(elsewhere)), STICK)
    assert (swaps.title, plants.title) == ("Swaps found", "Planted errors missed")
    assert swaps.shots[0].caption == "ends exchanged by ann · round 1"
    assert plants.shots[0].caption.startswith("passed by bob · OKS 0.") and plants.shots[0].caption.endswith("top")
    assert "1 of 1" in plants.caption
    assert (swaps.shots[0].source, plants.shots[0].source) == ("s.png", "p.png")
    assert pixels(swaps.shots[0].jpeg).std() > 5, "something is drawn on the white picture"


def test_a_plant_whose_person_is_not_known_is_shown_without_marks(image: Path) -> None:
    _, known = answer_shelves(answered(image, a_person(SENT + 25)), STICK)
    _, unknown = answer_shelves(answered(image), STICK)
    assert unknown.shots[0].caption == "passed by bob"
    assert not np.array_equal(pixels(known.shots[0].jpeg), pixels(unknown.shots[0].jpeg))


def test_images_that_are_gone_leave_no_shelf(tmp_path: Path) -> None:
    assert answer_shelves(answered(tmp_path / "gone.png"), STICK) == ()


def test_nothing_found_is_no_shelf(image: Path) -> None:
    nothing = replace(answered(image), swapped=(), missed=())
    assert answer_shelves(nothing, STICK) == ()
