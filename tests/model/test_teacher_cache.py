"""What is kept of a teacher is what it said, or is not believed."""

import json
import os
import pickle
import resource
import threading

import numpy as np
import pytest

from autolabel.errors import CheckpointError, InputError, WorkError
from model.teacher_cache import CHECKS, IDENTITY, ROWS, TeacherCache, bytes_needed

SHAPES = {"heatmaps": (3, 8, 6), "presence": (3, 2), "whole_box": (4,)}
NUMBERS = 3 * 8 * 6 + 3 * 2 + 4
IDENTITY_OF = {"teacher": "aa", "augmentation": {"flip": 0.5, "area": (1, 2)}, "views": 4}


def opened(folder, *, rows: int = 20, shapes=SHAPES, **changes) -> TeacherCache:
    return TeacherCache.open(folder, identity={**IDENTITY_OF, **changes}, rows=rows, shapes=shapes)


def said(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(count, *shape)).astype(np.float32) for name, shape in SHAPES.items()}


def joined(outputs) -> np.ndarray:
    return np.concatenate([outputs[name].reshape(len(outputs[name]), -1) for name in SHAPES], axis=1)


def assert_kept(cache: TeacherCache, places, outputs) -> None:
    found, known = cache.read(places)
    assert known.all() and set(found) == set(SHAPES)
    for name, array in outputs.items():
        assert found[name].dtype == np.float16
        assert np.array_equal(found[name], array.astype(np.float16))


def damage(path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


# ---- what comes back


def test_outputs_come_back_at_their_places(tmp_path) -> None:
    cache = opened(tmp_path / "made" / "here")
    outputs = said(3)
    cache.write([7, 0, 19], outputs)
    assert_kept(cache, np.array([7, 0, 19]), outputs)
    assert_kept(opened(tmp_path / "made" / "here"), [0, 7], {name: array[[1, 0]] for name, array in outputs.items()})
    assert_kept(pickle.loads(pickle.dumps(cache)), [19, 19], {name: array[[2, 2]] for name, array in outputs.items()})
    assert cache.filled == 3


def test_what_was_never_written_is_not_known(tmp_path) -> None:
    cache = opened(tmp_path)
    cache.write([1], said(1))
    found, known = cache.read([0, 1, 2])
    assert known.tolist() == [False, True, False]
    assert not any(array[[0, 2]].any() for array in found.values()) and found["heatmaps"].shape == (3, 3, 8, 6)
    nothing, nobody = cache.read([])
    assert nothing["presence"].shape == (0, 3, 2) and nobody.shape == (0,)
    cache.write([], said(0))
    assert cache.filled == 1


def test_the_order_of_names_does_not_matter(tmp_path) -> None:
    outputs = said(2)
    opened(tmp_path).write([0, 1], {name: outputs[name] for name in sorted(outputs, key=len)})
    assert_kept(opened(tmp_path, shapes=dict(reversed(SHAPES.items()))), [0, 1], outputs)


def test_a_row_of_zeros_is_known(tmp_path) -> None:
    cache = opened(tmp_path)
    zeros = {name: np.zeros((1, *shape), np.float32) for name, shape in SHAPES.items()}
    cache.write([3], zeros)
    assert_kept(cache, [3], zeros)


def test_the_later_writing_stays(tmp_path) -> None:
    cache = opened(tmp_path)
    cache.write([2, 5], said(2))
    cache.write([2], said(1, seed=1))
    assert_kept(cache, [2], said(1, seed=1))
    assert cache.filled == 2


def test_what_float16_cannot_hold_becomes_its_largest_number(tmp_path) -> None:
    cache = opened(tmp_path)
    outputs = said(1)
    outputs["presence"][0] = [[1e9, -1e9], [np.inf, -np.inf], [65519.0, 1e-9]]
    cache.write([0], outputs)
    assert cache.read([0])[0]["presence"][0].tolist() == [[65504, -65504], [65504, -65504], [65504, 0]]


# ---- what is not believed


@pytest.mark.parametrize(
    ("file", "offset", "data"),
    [
        (ROWS, 2 * NUMBERS * 1, b"\xff"),  # the first byte of the row
        (ROWS, 2 * NUMBERS * 2 - 4, b"\0\0\0\0"),  # its end was not written before the kill
        (CHECKS, 4, b"\0\0\0\0"),  # its checksum was not
        (CHECKS, 4, b"\1\2\3\4"),  # or that of an older row
    ],
)
def test_a_torn_row_is_not_believed_and_written_anew(tmp_path, file, offset, data) -> None:
    cache = opened(tmp_path)
    outputs = said(3)
    cache.write([0, 1, 2], outputs)
    damage(tmp_path / file, offset, data)
    found, known = cache.read([0, 1, 2])
    assert known.tolist() == [True, False, True] and not any(array[1].any() for array in found.values())
    cache.write([1], {name: array[1:2] for name, array in outputs.items()})
    assert_kept(cache, [0, 1, 2], outputs)


def test_files_that_were_cut_get_their_size_and_lose_no_more_than_what_is_gone(tmp_path) -> None:
    cache = opened(tmp_path)
    cache.write([0, 19], said(2))
    os.truncate(tmp_path / ROWS, 2 * NUMBERS * 5)
    assert cache.read([0, 19])[1].tolist() == [True, False]
    (tmp_path / CHECKS).unlink()
    again = opened(tmp_path)
    assert (tmp_path / ROWS).stat().st_size == 2 * NUMBERS * 20
    assert not again.read([0, 19])[1].any()


def test_rows_of_another_folder_are_not_believed(tmp_path) -> None:
    opened(tmp_path / "one").write([0], said(1))
    other = opened(tmp_path / "other", teacher="bb")
    for name in (ROWS, CHECKS):
        (tmp_path / "other" / name).write_bytes((tmp_path / "one" / name).read_bytes())
    assert not other.read([0])[1].any()


def test_several_write_at_once(tmp_path) -> None:
    """Two sets of outputs for the same places: each row is of one of them as a whole, or not known."""
    sets = [said(20, seed) for seed in (0, 1)]
    handles = [opened(tmp_path) for _ in sets]

    def write(which: int) -> None:
        for _ in range(30):
            handles[which].write(range(20), sets[which])

    threads = [threading.Thread(target=write, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    cache = opened(tmp_path)
    wanted = [joined(one).astype(np.float16) for one in sets]
    while any(thread.is_alive() for thread in threads):
        found, known = cache.read([4])
        assert not known[0] or any(np.array_equal(joined(found)[0], one[4]) for one in wanted)
    for thread in threads:
        thread.join()
    opened(tmp_path).write(range(20), sets[0])
    assert_kept(cache, range(20), sets[0])
    assert cache.filled == 20


# ---- what is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": "bb"}, r"the cached targets are of another teacher\. Remove the folder"),
        ({"teacher": "bb", "views": 5}, "of another teacher"),
        ({"views": 5}, "other than here: views"),
        ({"augmentation": {"flip": 0.0, "area": (1, 2)}}, "other than here: augmentation"),
        ({"more": 1}, "other than here: more"),
        ({"rows": 21}, "other than here: rows"),
        ({"shapes": {"heatmaps": (3, 8, 6)}}, "other than here: outputs"),
        ({"shapes": {**SHAPES, "whole_box": (3,)}, "rows": 2}, "other than here: rows, outputs"),
    ],
)
def test_targets_of_others_are_refused(tmp_path, changes, message) -> None:
    before = opened(tmp_path)
    before.write([0], said(1))
    with pytest.raises(CheckpointError, match=message):
        opened(tmp_path, **changes)
    assert_kept(before, [0], said(1))


@pytest.mark.parametrize("text", ["", "{", "[1]", '"teacher"', "\x00\x01"])
def test_a_damaged_identity_is_refused(tmp_path, text) -> None:
    opened(tmp_path)
    (tmp_path / IDENTITY).write_text(text)
    with pytest.raises(CheckpointError, match=r"identity\.json is damaged.*Remove the folder"):
        opened(tmp_path)


def test_a_kill_between_the_files_is_mended(tmp_path) -> None:
    opened(tmp_path)
    identity = json.loads((tmp_path / IDENTITY).read_text())
    assert identity["teacher"] == "aa" and identity["outputs"]["whole_box"] == [4]
    (tmp_path / ROWS).unlink()
    (tmp_path / CHECKS).unlink()
    cache = opened(tmp_path)
    cache.write([0], said(1))
    assert_kept(cache, [0], said(1))


@pytest.mark.parametrize("places", [[20], [0, -1], [0, 10**12]])
def test_places_beyond_the_rows(tmp_path, places) -> None:
    cache = opened(tmp_path)
    with pytest.raises(InputError, match=r"there is no place .* among 20"):
        cache.read(places)
    with pytest.raises(InputError, match=r"there is no place .* among 20"):
        cache.write(places, said(len(places)))
    assert cache.filled == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda outputs: outputs.pop("presence"),
        lambda outputs: outputs.update(features=np.zeros((2, 4))),
        lambda outputs: outputs.update(presence=np.zeros((1, 3, 2))),
        lambda outputs: outputs.update(presence=np.zeros((2, 2, 3))),
    ],
)
def test_outputs_of_other_shapes(tmp_path, change) -> None:
    cache, outputs = opened(tmp_path), said(2)
    change(outputs)
    with pytest.raises(InputError, match="the outputs have shapes"):
        cache.write([0, 1], outputs)
    assert cache.filled == 0


def test_what_is_no_number_is_never_kept(tmp_path) -> None:
    cache, outputs = opened(tmp_path), said(3)
    outputs["heatmaps"][1, 0, 0, 0] = np.nan
    with pytest.raises(WorkError, match="no numbers at 1 of 3 crops"):
        cache.write([0, 1, 2], outputs)
    assert cache.filled == 0 and not cache.read([0, 1, 2])[1].any()


# ---- the disk


def test_room_is_needed_for_all_rows(tmp_path) -> None:
    assert bytes_needed(20, SHAPES) == 20 * (4 + 2 * NUMBERS)
    with pytest.raises(WorkError, match=r"GiB when all are kept.*free\. Make room, .*fewer views"):
        opened(tmp_path, rows=10**14)
    assert not list(tmp_path.iterdir())


def test_an_empty_cache_takes_little_room(tmp_path) -> None:
    opened(tmp_path, rows=100_000)
    assert (tmp_path / ROWS).stat().st_size == 100_000 * 2 * NUMBERS
    assert sum(512 * path.stat().st_blocks for path in tmp_path.iterdir()) < 100_000


def test_a_disk_that_fills_up_is_told_and_leaves_what_was_kept(tmp_path) -> None:
    cache = opened(tmp_path)
    cache.write([0], said(1))
    kept = (tmp_path / ROWS).rename(tmp_path / "aside")
    (tmp_path / ROWS).symlink_to("/dev/full")
    with pytest.raises(WorkError, match=r"cannot be used: No space left on device.*Make room"):
        cache.write([0, 1], said(2, seed=1))
    (tmp_path / ROWS).unlink()
    kept.rename(tmp_path / ROWS)
    assert_kept(cache, [0], said(1))
    assert not cache.read([1])[1].any()


def test_a_write_that_the_system_cuts_short_is_told(tmp_path) -> None:
    """A limit on a file's size, inside a row: its first part is written without an error, the rest is not."""
    cache = opened(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * NUMBERS + 10, hard))
    try:
        with pytest.raises(WorkError, match="cannot be used: File too large"):
            cache.write([0, 1], said(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert cache.read([0, 1])[1].tolist() == [True, False]


def test_a_folder_that_is_gone_or_a_file(tmp_path) -> None:
    cache = opened(tmp_path / "cache")
    (tmp_path / "cache" / ROWS).unlink()
    with pytest.raises(WorkError, match=r"rows\.f16: cannot be used: No such file"):
        cache.read([0])
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkError, match="file: cannot be used: File exists"):
        opened(tmp_path / "file")
