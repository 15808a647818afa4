"""A box drawn in a real browser gets a pose from the backend, is submitted, wakes the loop and comes back as a pose."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from autolabel.labelstudio.access import Access, save_token, write_settings
from autolabel.labelstudio.client import Client
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.smart import read_served
from autolabel.labelstudio.tasks import read_task_map
from autolabel.manifest import Manifest
from autolabel.merge import BOXED, State
from autolabel.poses import Origin
from autolabel.project import read_project
from autolabel.skeleton import Skeleton
from model.checkpoint import save_model
from model.config import ViTPoseConfig
from model.vitpose import build_vitpose
from pipelines.doctor_backend import backend_check
from pipelines.doctor_check import Outcome
from pipelines.drawn_corpus import draw_corpus
from pipelines.init import init
from pipelines.loop_wait import signs
from pipelines.pull import pull
from pipelines.push import push
from pipelines.scan import scan
from pipelines.serve import serve
from tests.live.browser import Desk
from tests.live.labelstudio_client import Server

pytestmark = [pytest.mark.live, pytest.mark.slow]

SKELETON = Skeleton.load("coco17")


@dataclass(frozen=True)
class Helped:
    """A project whose annotators are helped: its folder, the true poses, the server's numbers, the tasks by image."""

    folder: Path
    truth: Manifest
    remote: int
    tasks: dict[str, int]
    weights: Path


def tiny_network(folder: Path) -> Path:
    torch.manual_seed(0)
    config = ViTPoseConfig(input_size=(64, 48), patch_size=8, width=32, depth=1, heads=2, deconv_channels=16)
    save_model(build_vitpose(config, SKELETON), folder / "weights")
    return folder / "weights"


@pytest.fixture(scope="module")
def helped(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helped]:
    here = tmp_path_factory.mktemp("serve")
    truth, _ = draw_corpus(here, images=2, seed=5)
    project = init(here / "project", images=here / "images", skeleton="coco17").folder
    write_settings(project, url=server.url, smart=True)
    save_token(project, server.token)
    scanned = scan(here / "images", out=here / "scanned").manifest
    assert push(scanned.path, project=project, whole_images=True).tasks == 2
    client = Client(Access(server.url, server.token))
    number = read_project(project).labelstudio.project
    records = read_task_map(ReviewFolder.of(project).taskmap)
    tasks = {records[task.key].sample[2]: task.id for task in client.task_list(number)}
    yield Helped(project, truth, number, tasks, tiny_network(here))
    client.delete_project(number)


@contextmanager
def served(helped: Helped) -> Iterator[str]:
    """The backend, registered, for as long as a block lasts."""
    up, stop, addresses = threading.Event(), threading.Event(), list[str]()

    def until(url: str) -> None:
        addresses.append(url)
        up.set()
        stop.wait()

    def work() -> None:
        try:
            serve(project=helped.folder, weights=helped.weights, port=0, register=True, device="cpu", until=until)
        finally:
            up.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert up.wait(60) and addresses, "it did not start"
        yield addresses[0]
    finally:
        stop.set()
        thread.join(60)


def switch_on(desk: Desk) -> None:
    """What the task's header tells annotators to do."""
    desk.page.get_by_text("Auto-Annotation", exact=True).click()
    desk.page.get_by_text("Auto-Accept Suggestions", exact=True).click()
    desk.page.locator(".lsf-tool_smart").first.click()
    desk.press("y")


def test_a_drawn_box_gets_a_pose_and_its_answer_wakes_the_loop_and_comes_back(
    helped: Helped, desk: Desk, tmp_path: Path
) -> None:
    (path, number), *_ = helped.tasks.items()
    truth = next(sample for sample in helped.truth if sample.path == path)
    box, size = truth.poses.box[0], np.tile(truth.size, 2)
    start, end = np.split(100 * box / size, 2)
    with served(helped):
        desk.open_task(helped.remote, number)
        before = desk.regions()
        switch_on(desk)
        with desk.page.expect_response(lambda answer: "interactive-annotating" in answer.url) as asked:
            desk.drag(desk.at(*start), desk.at(*end))
        assert asked.value.ok, asked.value.text()
        desk.page.wait_for_function("() => Htx.annotationStore.selected.suggestions.size === 0", timeout=30_000)
        regions = desk.regions()[len(before) :]
        kinds = [region["type"] for region in regions]
        assert (kinds.count("keypointlabels"), kinds.count("rectanglelabels")) == (SKELETON.num_keypoints, 1)
        (frame,) = (region["id"] for region in regions if region["type"] == "rectanglelabels")
        assert {region["parentID"] for region in regions if region["id"] != frame} == {frame}
        # A joint can be taken hold of, though it lies on the box.
        nose = next(r["value"] for r in regions if r["value"].get("keypointlabels") == ["nose"])
        desk.page.locator(".lsf-tool_smart").first.click()
        desk.press("v")
        desk.drag(desk.at(nose["x"], nose["y"]), desk.at(nose["x"] + 5, nose["y"] + 5))
        news = signs(helped.folder)
        desk.submit()
        end_of_patience = time.monotonic() + 10
        while signs(helped.folder) == news and time.monotonic() < end_of_patience:
            time.sleep(0.1)
        assert signs(helped.folder) != news, "the webhook wakes the loop"

    pulled = pull(project=helped.folder, out=tmp_path / "answers")
    assert (pulled.answered, pulled.boxed, pulled.images, pulled.notices) == (1, 0, 1, 0)
    (sample,) = pulled.manifest
    pose = sample.poses[0]
    assert (sample.path, pose.attributes["state"]) == (path, State.REVIEWED)
    assert BOXED in pose.attributes
    assert np.abs(pose.box - box).max() < 2
    (network,) = (one.pose() for one in read_served(ReviewFolder.of(helped.folder).path).values())
    kept = np.arange(SKELETON.num_keypoints) != SKELETON.index("nose")
    assert np.array_equal(pose.xy[kept], network.xy[kept]), "what nobody touched stays bit by bit"
    assert set(pose.origin[kept].tolist()) == {Origin.MODEL}
    assert pose.origin[~kept] == Origin.HUMAN
    moved = (pose.xy[~kept] - network.xy[~kept])[0] / truth.size
    assert moved == pytest.approx([0.05, 0.05], abs=0.01)


def test_the_doctor_says_whether_the_backend_answers(helped: Helped, server: Server) -> None:
    access = Access(server.url, server.token)
    with served(helped) as url:
        found = backend_check(access, helped.remote)
        assert (found.outcome, found.detail) == (Outcome.OK, f"{url} answers the server"), (
            "one backend, at its new place"
        )
    gone = backend_check(access, helped.remote)
    assert gone.outcome is Outcome.FAILED
    assert f"{url} does not answer the server" in gone.detail
