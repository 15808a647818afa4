from pathlib import Path

import pytest

from autolabel.errors import FormatError
from autolabel.formats.sleap_paths import VideoPlace, common_folder


@pytest.mark.parametrize(
    ("names", "there", "paths"),
    [
        pytest.param(["v/1.png", "v/2.png"], ["v/1.png"], ["v/1.png", "v/2.png"], id="as they are"),
        pytest.param(["/home/me/p/v/1.png"], ["v/1.png"], ["v/1.png"], id="absolute"),
        pytest.param(["C:\\me\\p\\v\\1.png"], ["v/1.png"], ["v/1.png"], id="absolute, of Windows"),
        pytest.param(["../../p/v/1.png"], ["p/v/1.png"], ["p/v/1.png"], id="from above"),
        pytest.param(["/p/v/1.png", "/p/w/2.png"], ["v/1.png", "w/2.png"], ["v/1.png", "w/2.png"], id="two"),
        pytest.param(["/p/v/1.png"], ["1.png"], ["1.png"], id="the name alone"),
        pytest.param(["/p/v/1.png"], [], ["p/v/1.png"], id="nowhere: the import says so"),
        pytest.param([f"/p/{300 * 'x'}.png"], [], [f"p/{300 * 'x'}.png"], id="a name that no file has"),
        pytest.param(["/a/b/1.png", "/a/b/2.png"], ["1.png", "b/1.png", "b/2.png"], ["b/1.png", "b/2.png"], id="most"),
    ],
)
def test_images_are_found_below_a_folder(tmp_path: Path, names: list[str], there: list[str], paths: list[str]) -> None:
    for name in there:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    place = VideoPlace("videos[0]", "a.slp", tuple(names), is_list=True)
    assert place.paths(range(len(names)), tmp_path) == paths


@pytest.mark.parametrize("name", ["", "/", "C:\\", "a/..", "."])
def test_a_name_of_nothing(name: str) -> None:
    with pytest.raises(FormatError, match=r"a.slp: videos\[0\].filenames\[0\]: is .*, expected a path to an image"):
        VideoPlace("videos[0]", "a.slp", (name,), is_list=True).paths([0], None)


@pytest.mark.parametrize(
    ("paths", "folder"),
    [
        ([], ""),
        (["a/b/1.png"], "a/b"),
        (["a/b/1.png", "a/c/1.png"], "a"),
        (["1.png", "a/1.png"], ""),
        (["a/1", "b/1"], ""),
    ],
)
def test_the_folder_of_all(paths: list[str], folder: str) -> None:
    assert common_folder(paths) == folder
