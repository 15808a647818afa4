"""Which skeleton the keypoints of a YOLO-pose data set belong to.

The format states their number, often how they mirror, seldom what they are called. What it leaves open comes from
the user, or is said in a note; nothing is guessed where two answers fit.
"""

from collections.abc import Sequence

from autolabel.errors import FormatError
from autolabel.formats.file_skeletons import file_skeleton
from autolabel.formats.yolo_data import DataFile
from autolabel.skeleton import Skeleton


def skeleton_of(data: DataFile, given: Skeleton | None) -> tuple[Skeleton, list[str]]:
    """The skeleton, and what the user should know of how it was found.

    In this order: the user's, our own block, the names in the file, COCO's where K and ``flip_idx`` are COCO's,
    and keypoints that are only numbered.

    Raises:
        FormatError: The user's or our own does not fit the file.
    """
    if given is not None:
        _require_fit(data, given, f"the skeleton {given.name!r}", "Give another --skeleton, or correct data.yaml.")
        renamed = data.keypoints not in (None, given.keypoints)
        return given, [f"Keypoints are called as {given.name!r} calls them, not by kpt_names."] if renamed else []
    if data.skeleton is not None:
        ours = data.skeleton
        _require_fit(data, ours, "our own block", "Remove the block `autolabel` if the rest is right.")
        if data.keypoints not in (None, ours.keypoints):
            _fail(data, "kpt_names", f"is {list(data.keypoints or ())}, but our own block says {list(ours.keypoints)}")
        return ours, []
    if data.keypoints is not None:
        return _named(data, data.keypoints)
    coco = Skeleton.load("coco17")
    if data.num_keypoints == coco.num_keypoints and data.flip == coco.flip:
        return coco, ["Keypoints are taken for COCO's 17: their number and flip_idx are. Otherwise give --skeleton."]
    return _numbered(data)


def _require_fit(data: DataFile, skeleton: Skeleton, whose: str, remedy: str) -> None:
    if skeleton.num_keypoints != data.num_keypoints:
        what = f"is for {data.num_keypoints} keypoints, but {whose} has {skeleton.num_keypoints}"
        _fail(data, "kpt_shape", what, remedy)
    if data.flip not in (None, skeleton.flip):
        _fail(data, "flip_idx", f"is {list(data.flip or ())}, but {whose} mirrors {list(skeleton.flip)}", remedy)


def _named(data: DataFile, names: Sequence[str]) -> tuple[Skeleton, list[str]]:
    told = "data.yaml has no flip_idx: which keypoints mirror each other is taken from their names."
    return _made(data, names), [] if data.flip else [told]


def _numbered(data: DataFile) -> tuple[Skeleton, list[str]]:
    names = [f"keypoint_{i}" for i in range(data.num_keypoints)]
    notes = [f"data.yaml names no keypoints: they are called {names[0]} to {names[-1]}; or give --skeleton."]
    if data.flip is None:
        notes.append("data.yaml has no flip_idx: no keypoint is taken to mirror another.")
    return _made(data, names), notes


def _made(data: DataFile, names: Sequence[str]) -> Skeleton:
    name = data.classes[0] if len(data.classes) == 1 else "yolo"
    return file_skeleton(names, name=name, subject=str(data.file), tool="a YOLO data set", flip=data.flip)


def _fail(data: DataFile, field: str, message: str, remedy: str | None = None) -> None:
    raise FormatError(message, field=field, subject=str(data.file), remedy=remedy)
