"""Reading the ``data.yaml`` of a YOLO-pose data set; ``yolo_pose.py`` tells the dialect."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from autolabel.errors import FormatError
from autolabel.formats.file_skeletons import our_skeleton
from autolabel.formats.records import Record
from autolabel.formats.yaml_files import read_yaml
from autolabel.skeleton import Skeleton

SPLITS = ("train", "val", "test")
OURS = "autolabel"
"""Key of our own block."""

_MAX_CLASSES = 100_000
_MAX_KEYPOINTS = 10_000


@dataclass(frozen=True)
class DataFile:
    """What a ``data.yaml`` says.

    Attributes:
        file: Where it lies.
        path: The folder that its paths start from, as it is written there; "" where it is not.
        entries: By split, the folders and lists of images, as they are written.
        classes: Their names, by index.
        num_keypoints: K.
        dims: 2 for x, y; 3 for x, y, v.
        flip: (K,) an involution; None where it is not stated.
        keypoints: K names; None where they are not stated.
        skeleton: From our own block.
        splits: Those that stand for themselves: trainers require ``train`` and ``val``, so that an export of one
            alone states it twice, and our own block says which it is.
    """

    file: Path
    path: str
    entries: Mapping[str, tuple[str, ...]]
    classes: tuple[str, ...]
    num_keypoints: int
    dims: int
    flip: tuple[int, ...] | None
    keypoints: tuple[str, ...] | None
    skeleton: Skeleton | None
    splits: tuple[str, ...]


def find_data_file(src: Path) -> Path:
    """``src`` itself, or the ``data.yaml`` or only YAML file in it.

    Raises:
        FormatError: There is none, or there are several.
    """
    if not src.is_dir():
        return src
    if (src / "data.yaml").is_file():
        return src / "data.yaml"
    found = sorted(file for file in src.iterdir() if file.suffix in (".yaml", ".yml") and file.is_file())
    if len(found) == 1:
        return found[0]
    names = ", ".join(file.name for file in found)
    raise FormatError(
        f"has several YAML files: {names}" if found else "has no data.yaml",
        subject=str(src),
        remedy="Give the YAML file itself.",
    )


def read_data_file(file: Path) -> DataFile:
    """Read a ``data.yaml``.

    Raises:
        FormatError: It is no YAML, or says what cannot be; names the line or the field.
    """
    content = read_yaml(file)
    if not isinstance(content, dict):
        message = "is empty" if content is None else "is not a mapping of names to values"
        remedy = "It names the images (train, val), the classes (names) and the keypoints (kpt_shape)."
        raise FormatError(message, subject=str(file), remedy=remedy)
    record = Record(cast("dict[str, Any]", content), "", str(file))
    num_keypoints, dims = _shape(record)
    classes = _classes(record)
    entries = _entries(record)
    return DataFile(
        file=file,
        path=_text_or_nothing(record, "path"),
        entries=entries,
        classes=classes,
        num_keypoints=num_keypoints,
        dims=dims,
        flip=_flip(record, num_keypoints),
        keypoints=_keypoint_names(record, num_keypoints, len(classes)),
        skeleton=our_skeleton(record.record(OURS)),
        splits=_our_splits(record, tuple(entries)),
    )


def _shape(record: Record) -> tuple[int, int]:
    if "kpt_shape" not in record.data:
        record.fail("kpt_shape", "is missing: this is no pose data set", "Add kpt_shape: [K, 2] or [K, 3].")
    values = record.items("kpt_shape", 2)
    if any(isinstance(value, bool) or not isinstance(value, int) for value in values):
        record.fail("kpt_shape", f"is {values}, expected two whole numbers")
    num_keypoints, dims = values
    if not 0 < num_keypoints <= _MAX_KEYPOINTS or dims not in (2, 3):
        record.fail("kpt_shape", f"is {values}, expected [K, 2] or [K, 3] with K from 1 to {_MAX_KEYPOINTS}")
    return num_keypoints, dims


def _classes(record: Record) -> tuple[str, ...]:
    count = record.data.get("nc")
    if count is not None and (isinstance(count, bool) or not isinstance(count, int) or not 0 < count <= _MAX_CLASSES):
        record.fail("nc", f"is {count!r}, expected the number of classes")
    given = record.data.get("names")
    if given is None and count is None:
        record.fail("names", "is missing", "Add names: [person], or what the classes are.")
    if given is None:
        return tuple(f"class_{i}" for i in range(cast("int", count)))
    names = tuple(_name(record, "names", i, value) for i, value in enumerate(_by_index(record, "names", given)))
    _refuse_repeated_names(record, "names", names)
    if not names:
        record.fail("names", "is empty")
    if count not in (None, len(names)):
        record.fail("nc", f"is {count}, but there are {len(names)} names")
    return names


def _by_index(record: Record, field: str, value: Any) -> list[Any]:
    """A list, or a mapping from 0, 1, 2, ... as one."""
    if isinstance(value, list):
        return cast("list[Any]", value)
    if not isinstance(value, dict):
        record.fail(field, f"is {value!r:.40}, expected a list, or texts by index")
    table = cast("dict[Any, Any]", value)
    if any(isinstance(key, bool) for key in table) or set(table) != set(range(len(table))):
        record.fail(field, f"has the indices {', '.join(map(str, table)):.80}, expected 0 to {len(table) - 1}")
    return [table[i] for i in range(len(table))]


def _name(record: Record, field: str, i: int, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value):
        record.fail(f"{field}[{i}]", f"is {value!r:.40}, expected a text", "Put it in quotes.")
    return str(value)


def _refuse_repeated_names(record: Record, field: str, names: tuple[str, ...]) -> None:
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        record.fail(field, f"has {twice!r} twice")


def _entries(record: Record) -> dict[str, tuple[str, ...]]:
    if "valid" in record.data and "val" not in record.data:
        record.fail("valid", "is not read by trainers either", "Call it val.")
    found: dict[str, tuple[str, ...]] = {}
    for split in SPLITS:
        value = record.data.get(split)
        entries = cast("list[Any]", value) if isinstance(value, list) else [value] if value not in (None, "") else []
        for i, entry in enumerate(entries):
            if not isinstance(entry, str) or not entry or "\0" in entry:
                record.fail(f"{split}[{i}]", f"is {entry!r:.80}, expected a folder or a .txt file")
        if entries:
            found[split] = tuple(cast("list[str]", entries))
    if not found:
        record.fail("train", "is missing, and so are val and test: no images are named")
    return found


def _flip(record: Record, num_keypoints: int) -> tuple[int, ...] | None:
    if not record.data.get("flip_idx"):
        return None
    flip = record.levels("flip_idx", num_keypoints, num_keypoints, [])
    for i, j in enumerate(flip):
        if flip[j] != i:
            record.fail(
                f"flip_idx[{i}]",
                f"is {j}, but flip_idx[{j}] is {flip[j]}: mirroring twice must give the same keypoint",
                "Pairs change places, all others keep theirs.",
            )
    return tuple(flip)


def _keypoint_names(record: Record, num_keypoints: int, num_classes: int) -> tuple[str, ...] | None:
    """One list for all, or one for each class, which must then be the same."""
    given = record.data.get("kpt_names")
    if not given:
        return None
    lists = cast("dict[Any, Any]", {0: given} if isinstance(given, list) else given)
    if not isinstance(given, list | dict):
        record.fail("kpt_names", f"is {given!r:.40}, expected a list of names, or one for each class")
    names: tuple[str, ...] = ()
    for key, value in lists.items():
        field = "kpt_names" if lists is not given else f"kpt_names[{key!r}]"
        if isinstance(key, bool) or not isinstance(key, int) or not 0 <= key < num_classes:
            record.fail(field, f"is for a class that is not there; there are 0 to {num_classes - 1}")
        if not isinstance(value, list) or len(cast("list[Any]", value)) != num_keypoints:
            record.fail(field, f"is {value!r:.80}, expected a list of {num_keypoints} names")
        own = tuple(_name(record, field, i, name) for i, name in enumerate(cast("list[Any]", value)))
        _refuse_repeated_names(record, field, own)
        if names and own != names:
            record.fail(field, "differs from that of another class", "Make a data set of each class.")
        names = own
    return names


def _our_splits(record: Record, stated: tuple[str, ...]) -> tuple[str, ...]:
    if OURS not in record.data or "splits" not in record.record(OURS).data:
        return stated
    block = record.record(OURS)
    named = block.items("splits")
    if not named or any(split not in stated for split in named):
        block.fail("splits", f"is {named}, expected some of {', '.join(stated)}")
    return tuple(split for split in stated if split in named)


def _text_or_nothing(record: Record, field: str) -> str:
    value = record.data.get(field)
    if value is None:
        return ""
    if not isinstance(value, str) or "\0" in value:
        record.fail(field, f"is {value!r:.80}, expected a folder")
    return value
