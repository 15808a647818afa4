"""What a drawn box is answered: from the project's own images by task, never by a path, and else in clear words."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autolabel.errors import AutolabelError, FormatError, ImageError, SkeletonError
from autolabel.labelstudio.smart import read_served
from autolabel.labelstudio.tasks import read_task_map
from pipelines.loop_wait import signs
from pipelines.push import push
from pipelines.serve_answer import Backend, UnknownTask
from tests.pipelines.plants import whole
from tests.pipelines.served import DRAWN, Middle, backend, request

SIZE = (160, 120)
SERVER = "http://labels.example:8080"


def pushed(case: Any, *entries: dict[str, Any]) -> tuple[Backend, dict[str, str]]:
    """A backend, and the keys of the tasks by kind."""
    push(case.route(*entries), project=case.project)
    answering = backend(case.project)
    return answering, {record.kind: key for key, record in read_task_map(answering.folder.taskmap).items()}


@pytest.mark.parametrize("image", [1, 2])  # the last one is stored on its side
def test_a_box_in_a_whole_image_gets_a_pose_in_the_image_s_pixels(review_case: Any, image: int) -> None:
    answering, keys = pushed(review_case, whole(image))
    (answer,) = answering.predict(request(keys["image"], image="/etc/passwd"))["results"]
    assert answer["model_version"] == "autolabel"
    *joints, box = answer["result"]
    assert [box["value"][name] for name in ("x", "y", "width", "height")] == pytest.approx(DRAWN, abs=1e-9)
    (served,) = read_served(answering.folder.path).values()
    expected = [0.25 * SIZE[0], 0.1 * SIZE[1], 0.65 * SIZE[0], 0.6 * SIZE[1]]
    assert served.box == pytest.approx(expected)
    assert isinstance(answering.poser, Middle)
    assert answering.poser.box == pytest.approx(expected), "the picture has the size of the image"
    nose = next(
        r["value"] for r in joints if r["type"] == "keypointlabels" and r["value"]["keypointlabels"] == ["nose"]
    )
    shown = (np.array(served.xy[0]) + 0.5) / SIZE * 100
    assert (nose["x"], nose["y"]) == pytest.approx(tuple(shown))


def test_in_a_crop_a_box_stays_a_box(review_case: Any) -> None:
    answering, keys = pushed(review_case, {"pose": "pose-1"})
    (answer,) = answering.predict(request(keys["review"]))["results"]
    (box,) = answer["result"]
    assert box["type"] == "rectanglelabels"
    assert read_served(answering.folder.path) == {}


def test_without_a_drawing_there_is_nothing_to_answer(review_case: Any) -> None:
    answering, keys = pushed(review_case, whole(1))
    body = request(keys["image"])
    assert answering.predict({**body, "params": {"context": None}}) == {"results": []}
    assert answering.predict(request(keys["image"], box=(1.0, 1.0, 0.01, 0.01)))["results"][0]["result"] == []


@pytest.mark.parametrize(
    ("body", "error", "says"),
    [
        ({}, FormatError, "tasks: is no list"),
        ({"tasks": "all"}, FormatError, "tasks: is no list"),
        ({**request("x"), "tasks": []}, FormatError, "holds 0, expected one"),
        ({**request("x"), "tasks": ["x"]}, UnknownTask, "task None was not sent by this project"),
        (request("../../etc/passwd"), UnknownTask, "was not sent by this project"),
        (request(["x"]), UnknownTask, "was not sent by this project"),
        (request(None), UnknownTask, "was not sent by this project"),
    ],
)
def test_a_request_that_cannot_be_answered(
    review_case: Any, body: dict[str, Any], error: type[AutolabelError], says: str
) -> None:
    answering, _ = pushed(review_case, whole(1))
    with pytest.raises(error, match=says):
        answering.predict(body)


def test_a_network_of_another_skeleton_is_refused(review_case: Any) -> None:
    _, keys = pushed(review_case, whole(1))
    with pytest.raises(SkeletonError):
        backend(review_case.project, "lsp14").predict(request(keys["image"]))


def jpeg(size: tuple[int, int]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.zeros((size[1], size[0], 3), np.uint8)).save(content, "JPEG")
    return content.getvalue()


@pytest.mark.parametrize("place", ["/data/upload/1/ab-x.jpg", f"{SERVER}/data/upload/1/ab-x.jpg"])
def test_an_image_that_is_gone_is_fetched_from_the_project_s_server_in_whatever_size(
    review_case: Any, place: str
) -> None:
    _, keys = pushed(review_case, whole(1))
    (review_case.folder / "images" / "1.png").unlink()
    asked = list[str]()

    def fetch(where: str) -> bytes:
        asked.append(where)
        return jpeg((640, 480))

    answering = backend(review_case.project, url=SERVER, fetch=fetch)
    answering.predict(request(keys["image"], image=place))
    assert asked == [place]
    (served,) = read_served(answering.folder.path).values()
    assert served.box == pytest.approx([40, 12, 104, 72]), "of the image, not of what was fetched"
    assert np.max(served.xy) < 104
    assert isinstance(answering.poser, Middle)
    assert answering.poser.box == pytest.approx([160, 48, 416, 288])


@pytest.mark.parametrize(
    "place",
    [
        "http://elsewhere.example/a.jpg",
        "http://labels.example:8081/a.jpg",
        "https://labels.example:8080/a.jpg",
        "http://labels.example:8080@elsewhere.example/a.jpg",
        "//elsewhere.example/a.jpg",
        "file:///etc/passwd",
        "s3://bucket/a.jpg",
    ],
)
def test_nothing_is_fetched_from_elsewhere(review_case: Any, place: str) -> None:
    _, keys = pushed(review_case, whole(1))
    (review_case.folder / "images" / "1.png").unlink()
    with pytest.raises(ImageError, match=r"1\.png"):
        backend(review_case.project, url=SERVER).predict(request(keys["image"], image=place))


def test_an_image_of_another_size_than_was_sent_is_refused(review_case: Any) -> None:
    answering, keys = pushed(review_case, whole(1))
    (review_case.folder / "images" / "1.png").write_bytes(jpeg((50, 40)))
    with pytest.raises(ImageError, match=r"is \(50, 40\), was \(160, 120\)"):
        answering.predict(request(keys["image"]))


def test_waking_is_a_sign_of_news(review_case: Any) -> None:
    answering, _ = pushed(review_case, whole(1))
    before = signs(Path(review_case.project))
    answering.wake()
    assert signs(Path(review_case.project)) != before
