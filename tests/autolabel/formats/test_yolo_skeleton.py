from pathlib import Path

import pytest

from autolabel.errors import FormatError
from autolabel.formats.yolo_data import DataFile
from autolabel.formats.yolo_skeleton import skeleton_of
from autolabel.skeleton import DEFAULT_SIGMA, Skeleton

COCO = Skeleton.load("coco17")
FACE = Skeleton("face", ("left_eye", "right_eye", "nose"), ((0, 2),), (1, 0, 2), (0.1, 0.1, 0.2), "test")


def data(k: int, **given: object) -> DataFile:
    fields = {"classes": ("fox",), "flip": None, "keypoints": None, "skeleton": None, "splits": (), **given}
    return DataFile(file=Path("data.yaml"), path="", entries={}, num_keypoints=k, dims=3, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("file", "given", "wanted", "note"),
    [
        pytest.param(data(3), FACE, FACE, None, id="the user's"),
        pytest.param(data(3, keypoints=("a", "b", "c")), FACE, FACE, "not by kpt_names", id="the user's, renamed"),
        pytest.param(data(3, keypoints=FACE.keypoints, flip=FACE.flip), FACE, FACE, None, id="the user's agrees"),
        pytest.param(data(3, skeleton=FACE, flip=FACE.flip, keypoints=FACE.keypoints), None, FACE, None, id="ours"),
        pytest.param(data(3, skeleton=COCO), FACE, FACE, None, id="the user's before ours"),
        pytest.param(data(17, keypoints=COCO.keypoints, flip=COCO.flip), None, COCO, None, id="built-in names"),
        pytest.param(data(17, keypoints=COCO.keypoints), None, COCO, "taken from their names", id="without flip_idx"),
        pytest.param(data(17, flip=COCO.flip), None, COCO, "are taken for COCO's 17", id="COCO's flip_idx"),
    ],
)
def test_a_known_skeleton(file: DataFile, given: Skeleton | None, wanted: Skeleton, note: str | None) -> None:
    skeleton, notes = skeleton_of(file, given)
    assert skeleton == wanted
    assert len(notes) == (note is not None) and (note is None or note in notes[0])


@pytest.mark.parametrize(
    ("file", "names", "flip", "notes"),
    [
        pytest.param(data(3, keypoints=FACE.keypoints), FACE.keypoints, (1, 0, 2), 1, id="sides by name"),
        pytest.param(
            data(2, keypoints=("left_a", "right_a"), flip=(0, 1)), ("left_a", "right_a"), (0, 1), 0, id="flip"
        ),
        pytest.param(data(2), ("keypoint_0", "keypoint_1"), (0, 1), 2, id="nothing at all"),
        pytest.param(data(2, flip=(1, 0)), ("keypoint_0", "keypoint_1"), (1, 0), 1, id="flip alone"),
        pytest.param(data(17), tuple(f"keypoint_{i}" for i in range(17)), tuple(range(17)), 2, id="17 of who knows"),
    ],
)
def test_a_skeleton_made_of_what_is_said(
    file: DataFile, names: tuple[str, ...], flip: tuple[int, ...], notes: int
) -> None:
    skeleton, told = skeleton_of(file, None)
    assert (skeleton.name, skeleton.keypoints, skeleton.flip) == ("fox", names, flip)
    assert set(skeleton.sigmas) == {DEFAULT_SIGMA} and len(told) == notes


@pytest.mark.parametrize(
    ("file", "given", "message"),
    [
        pytest.param(data(2), FACE, "kpt_shape: is for 2 keypoints, but the skeleton 'face' has 3", id="K"),
        pytest.param(
            data(3, flip=(0, 1, 2)),
            FACE,
            r"flip_idx: is \[0, 1, 2\], but the skeleton 'face' mirrors \[1, 0, 2\]\. Give another --skeleton",
            id="flip",
        ),
        pytest.param(data(2, skeleton=FACE), None, "kpt_shape: .* our own block has 3. Remove the block", id="our K"),
        pytest.param(data(3, skeleton=FACE, flip=(0, 1, 2)), None, "flip_idx: .* but our own block", id="our flip"),
        pytest.param(
            data(3, skeleton=FACE, keypoints=("a", "b", "c")),
            None,
            "kpt_names: is .* our own block says",
            id="our names",
        ),
    ],
)
def test_a_skeleton_that_contradicts_the_file_is_refused(file: DataFile, given: Skeleton | None, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        skeleton_of(file, given)
