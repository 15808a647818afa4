"""The pictures of ``docs/annotators.md``: drawn people in the real editor."""

import tempfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

from autolabel.labelstudio.tasks import doubtful
from autolabel.skeleton import Skeleton
from tests.live.browser import browser, sit_down
from tests.live.labelstudio_client import Server
from tests.live.review_project import drawn_people, import_review

SEED = 5
BITS = 6
"""Of a colour: fewer, which nobody sees, make the files a good deal smaller."""

WINDOW = {"width": 1280, "height": 760}


def take(server: Server, folder: Path) -> list[Path]:
    """Open a task, select a point, open a whole image; give the pictures written to ``folder``."""
    skeleton = Skeleton.load("coco17")
    with tempfile.TemporaryDirectory() as name, browser() as chromium:
        samples = drawn_people(Path(name), images=2, seed=SEED)
        pose = samples[0].poses.id.tolist()[1]
        queue = [
            {"pose": pose, "kind": "review", "blind": False},
            {"pose": "", "kind": "image", "image": list(samples[0].key), "blind": False},
        ]
        review = import_review(server, Path(name), samples, skeleton, queue)
        (task, _), (_, image) = review.tasks.items()
        desk = sit_down(chromium, server, "ann")
        desk.page.set_viewport_size(WINDOW)
        desk.label(review.remote)
        pictures = [_keep(desk.page, folder / "annotate-task.png")]
        before, record = review.model[review.pose(task)], review.record(task)
        first = doubtful(before, record)[0]
        desk.page.mouse.click(*desk.at(*record.frame.to_percent(before.xy[first]).tolist()))
        desk.page.wait_for_timeout(500)
        pictures.append(_keep(desk.page, folder / "annotate-selected.png"))
        desk.submit()
        desk.page.wait_for_function(f"() => Htx.task && Htx.task.id === {image}")
        desk.page.reload()  # without the notice that the first answer was saved
        desk.wait()
        desk.press("y")
        pictures.append(_keep(desk.page, folder / "annotate-image.png"))
        server.call("DELETE", f"/api/projects/{review.remote}/")
    return pictures


def _keep(page: Any, path: Path) -> Path:
    page.screenshot(path=str(path))
    with Image.open(path) as picture:
        plain = ImageOps.posterize(picture.convert("RGB"), BITS)
    plain.save(path, optimize=True)
    return path


if __name__ == "__main__":
    import sys

    take(Server(sys.argv[1], sys.argv[2], Path(), Path()), Path(__file__).parents[2] / "docs" / "pictures")
