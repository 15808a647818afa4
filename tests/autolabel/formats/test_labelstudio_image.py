"""Which image a task shows."""

from pathlib import Path
from typing import Any

import pytest

from autolabel.errors import FormatError
from tests.autolabel.formats.labelstudio_exports import annotation, kp, read, task

ANSWER = annotation(kp("nose"))


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (folder / "images").mkdir(exist_ok=True)
    return folder / "images"


@pytest.mark.parametrize(
    ("files", "address", "expected"),
    [
        ("a.jpg", "/data/upload/3/d4e4a592-a.jpg", "a.jpg"),  # what the server put before the name is dropped
        ("d4e4a592-a.jpg, a.jpg", "/data/upload/3/d4e4a592-a.jpg", "d4e4a592-a.jpg"),  # but not from a file's own name
        ("d4e4a59-a.jpg", "/data/upload/3/d4e4a59-a.jpg", "d4e4a59-a.jpg"),  # seven digits are none of its doing
        ("s/a.jpg, b/s/a.jpg", "/data/local-files/?d=b/s/a.jpg", "b/s/a.jpg"),  # the whole path first
        ("s/a.jpg", "/data/local-files/?d=photos/s/a.jpg", "s/a.jpg"),  # then its ends
        ("a%20b.jpg, ä/c+d.jpg", "/data/local-files/?d=%C3%A4/c%2Bd.jpg", "ä/c+d.jpg"),
        ("x/c+d.jpg", "/data/local-files/?d=x/c+d.jpg", "x/c+d.jpg"),  # a plus that nobody escaped
        ("s/a.jpg", "/data/local-files/?d=s%5Ca.jpg", "s/a.jpg"),  # a server on Windows
        ("s/a.jpg", "http://host/data/local-files/?d=s/a.jpg", "s/a.jpg"),
        ("k/a.jpg", "s3://bucket/k/a.jpg", "k/a.jpg"),
        ("bucket/k/a.jpg, k/a.jpg", "gs://bucket/k/a.jpg", "bucket/k/a.jpg"),
        ("k/a#1?.jpg", "s3://bucket/k/a#1?.jpg", "k/a#1?.jpg"),  # keys are not addresses
        ("p/a.jpg", "https://host/x/p/a.jpg?sig=1/b.jpg#p", "p/a.jpg"),
        ("p/a b.jpg", "https://host/p/a%20b.jpg", "p/a b.jpg"),
        ("s/a.jpg", "./s//a.jpg", "s/a.jpg"),
        ("s/a.jpg", "C:\\photos\\s\\a.jpg", "s/a.jpg"),
        ("s/a.jpg", "/home/anna/s/a.jpg", "s/a.jpg"),
        ("deep/er/a.jpg", "/data/upload/3/d4e4a592-a.jpg", "deep/er/a.jpg"),  # by its name alone
        ("x/s/a.jpg, y/t/a.jpg", "s3://bucket/s/a.jpg", "x/s/a.jpg"),  # the one that agrees further
        ("other.jpg", "s3://bucket/s/a.jpg", "bucket/s/a.jpg"),  # nowhere: the import sets it aside
    ],
)
def test_addresses_lead_to_files(files: str, address: str, expected: str, tmp_path: Path) -> None:
    labels = read(tmp_path, task(ANSWER, image=address), images=touch(tmp_path, *files.split(", ")))
    assert [sample.path for sample in labels.samples] == [expected]
    assert labels.samples[0].root == ""


def test_without_a_folder_paths_are_the_addresses(tmp_path: Path) -> None:
    labels = read(tmp_path, task(ANSWER, image="/data/local-files/?d=s/a%20b.jpg"))
    assert labels.samples[0].path == "s/a b.jpg"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("/data/local-files/?d=../../etc/passwd.jpg", "below the images folder"),
        ("/data/local-files/?d=s%2F..%2F..%2Fa.jpg", "below the images folder"),
        ("s3://bucket/../a.jpg", "below the images folder"),
        ("..\\a.jpg", "below the images folder"),
        ("a\0.jpg", "below the images folder"),
        ("data:image/png;base64,AAAA", "names no image file"),
        (["a.jpg", "b.jpg"], "holds several images"),
        ("/data/local-files/?d=a.jpg", "several files below .*: x/a.jpg, y/a.jpg"),
    ],
)
def test_what_leads_nowhere_or_out_is_refused(address: Any, message: str, tmp_path: Path) -> None:
    folder = touch(tmp_path, "x/a.jpg", "y/a.jpg")
    with pytest.raises(FormatError, match=message) as caught:
        read(tmp_path, task(ANSWER, image=address, id=5), images=folder)
    assert "task 5: tasks[0].data" in str(caught.value)


def test_an_image_in_the_task_itself_is_known_by_its_upload(tmp_path: Path) -> None:
    shown = task(ANSWER, image="data:image/png;base64,AAAA", file_upload="0123abcd-a.jpg")
    assert read(tmp_path, shown, images=touch(tmp_path, "a.jpg")).samples[0].path == "a.jpg"


def test_two_answered_tasks_of_one_image_are_refused(tmp_path: Path) -> None:
    pair = [task(ANSWER, id=i, image="/data/upload/1/0123abcd-a.jpg") for i in (4, 9)]
    with pytest.raises(
        FormatError, match=r"task 9: tasks\[1\]: is '.*a.jpg', the image of tasks\[0\] of .*task 4 already.* Delete one"
    ):
        read(tmp_path, *pair)
    # One that nobody answered is a copy that does not matter.
    labels = read(tmp_path, pair[0], {**pair[1], "annotations": []})
    assert len(labels.samples) == 1


CONFIG = (
    '<View><Image name="img" value="$left"/><KeyPointLabels toName="img"><Label value="nose"/></KeyPointLabels></View>'
)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"photo": "a.jpg", "page": "https://host/x", "text": "no image"}, "a.jpg"),
        ({"image": "a.jpg", "map": "b.png"}, "a.jpg"),  # the usual name
        ({"left": "a.jpg", "right": "b.jpg"}, None),
        ({"text": "a"}, None),
    ],
)
def test_the_field_with_the_image(data: dict[str, Any], expected: str | None, tmp_path: Path) -> None:
    shown = {**task(ANSWER), "data": data}
    if expected is None:
        with pytest.raises(FormatError, match=r"left, right.*--labelling-config|no field that looks like an image"):
            read(tmp_path, shown)
    else:
        assert read(tmp_path, shown).samples[0].path == expected


def test_the_labelling_configuration_tells_the_field(tmp_path: Path) -> None:
    (tmp_path / "form.xml").write_text(CONFIG)
    shown = {**task(ANSWER), "data": {"left": "a.jpg", "right": "b.jpg"}}
    (sample,) = read(tmp_path, shown, labelling_config=tmp_path / "form.xml").samples
    assert sample.path == "a.jpg"
    assert sample.attributes["labelstudio"]["data"] == {"right": "b.jpg"}
