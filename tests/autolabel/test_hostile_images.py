"""Each hostile image is read rightly or refused with its reason, in little time and memory, alone and by a scan."""

import json
import multiprocessing
import resource
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from autolabel.errors import ImageError
from autolabel.images import Reason, decode_image, decode_thumbnail, image_size, probe
from autolabel.manifest import Manifest
from pipelines.scan import QUARANTINE, scan
from tests.autolabel.hostile_images import Hostile, hostile_images

# pytest undoes the filter that importing images.py sets.
pytestmark = [pytest.mark.filterwarnings(r"ignore:::PIL\."), pytest.mark.timeout(120)]

IMAGES = hostile_images()
GOOD = [item for item in IMAGES if item.reason is None]
BAD = [item for item in IMAGES if item.reason is not None]
MEMORY = 400 * 2**20
"""What one image may cost beyond what the process has: far less than any bomb asks for."""


def middles(pixels: np.ndarray, rows: int, columns: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    y = [int((r + 0.5) * height / rows) for r in range(rows)]
    x = [int((c + 0.5) * width / columns) for c in range(columns)]
    return pixels[np.ix_(y, x)]


def test_there_are_many_and_no_two_are_alike() -> None:
    assert len(IMAGES) >= 40
    assert len({item.name for item in IMAGES}) == len(IMAGES)
    assert {item.reason for item in BAD} == {
        *(Reason.EMPTY, Reason.TRUNCATED, Reason.DAMAGED, Reason.NOT_AN_IMAGE, Reason.UNSUPPORTED, Reason.TOO_LARGE)
    }


@pytest.mark.parametrize("item", GOOD, ids=lambda item: item.name)
def test_what_can_be_read_is_read_rightly(item: Hostile, tmp_path: Path) -> None:
    assert item.blocks is not None
    pixels = decode_image(item.data, subject=item.name)
    assert (pixels.shape[1], pixels.shape[0]) == item.size
    found = middles(pixels, *item.blocks.shape[:2])
    assert np.abs(found.astype(int) - item.blocks).max() <= item.tolerance, found.tolist()
    info, grey = decode_thumbnail(item.data, 96, subject=item.name)
    assert info.size == item.size
    luminance = pixels @ [0.299, 0.587, 0.114]
    if min(item.size) >= 32:  # of a smaller one, the middle of a block is a mixture
        off = middles(grey, *item.blocks.shape[:2]) - middles(luminance, *item.blocks.shape[:2])
        assert np.abs(off).max() <= 12
    file = tmp_path / "file"
    file.write_bytes(item.data)
    assert image_size(file) == probe(file).size == item.size


@pytest.mark.parametrize("item", BAD, ids=lambda item: item.name)
def test_what_cannot_be_read_is_refused_with_its_reason(item: Hostile) -> None:
    for read in (decode_image, lambda data, subject: decode_thumbnail(data, 128, subject=subject)):
        with pytest.raises(ImageError) as refused:
            read(item.data, subject=item.name)
        assert (refused.value.reason, refused.value.subject) == (item.reason, item.name), refused.value.message
        assert item.detail in refused.value.message
        assert refused.value.message.isprintable()


def _within_memory(names: list[str], answers: "multiprocessing.queues.Queue[tuple[str, str]]") -> None:
    """In a process of its own: every image under a limit of address space."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    for item in IMAGES:
        if item.name not in names:
            continue
        try:
            decode_image(item.data, subject=item.name)
            answer = ""
        except ImageError as error:
            answer = error.reason
        except MemoryError:
            answer = "out of memory"
        answers.put((item.name, answer))


def test_bombs_stay_small() -> None:
    bombs = {item.name: item.reason or "" for item in IMAGES if item.name.startswith("bomb")}
    assert len(bombs) > 10
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_within_memory, args=(list(bombs), answers))
    child.start()
    found = dict(answers.get(timeout=60) for _ in bombs)
    child.join(60)
    assert child.exitcode == 0
    assert found == bombs


def test_the_page_tells_of_every_reason() -> None:
    page = (Path(__file__).parents[2] / "docs" / "corpora.md").read_text(encoding="utf-8")
    assert [reason for reason in Reason if f"\n| `{reason}` |" not in page] == []
    assert f"makes {len(IMAGES)} files" in page


def test_a_scan_of_all_of_them(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for item in IMAGES:
        (folder / item.name).write_bytes(item.data)
    result = scan(folder, out=tmp_path / "m", near_duplicates=False, part_size=50)
    manifest = Manifest.open(tmp_path / "m")
    assert {sample.path: sample.size for sample in manifest} == {item.name: item.size for item in GOOD}
    lines = [json.loads(line) for line in (tmp_path / "m" / QUARANTINE).read_text().splitlines()]
    assert {line["path"]: line["reason"] for line in lines} == {item.name: item.reason for item in BAD}
    assert result.quarantined == Counter(item.reason for item in BAD)
