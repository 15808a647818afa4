"""What the annotators' side of the queue shows: the order of our priorities, and nothing of why a task was sent."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from autolabel.labelstudio.access import Access
from autolabel.labelstudio.client import Client
from autolabel.labelstudio.remote_project import TAB, set_up
from autolabel.labelstudio.tasks import BLIND, IMAGE, KINDS, PLANTED
from autolabel.poses import Poses, Sample
from autolabel.skeleton import Skeleton
from tests.live.browser import Desk, browser, sit_down
from tests.live.labelstudio_client import Server
from tests.live.review_project import Import, Review, drawn_people

pytestmark = [pytest.mark.live, pytest.mark.slow]

SKELETON = Skeleton.load("coco17")
ALIKE = [kind for kind in KINDS if kind not in (BLIND, IMAGE)]
"""Kinds that nobody may tell apart; a blind task and a whole image show by their nature what they are."""


@pytest.fixture(scope="module")
def desks(server: Server) -> Iterator[list[Desk]]:
    with browser() as chromium:
        yield [sit_down(chromium, server, name) for name in ("ann", "bob")]


def copies(sample: Sample, ids: list[str]) -> Sample:
    """The first pose of a sample once for every id."""
    return sample.with_poses(Poses.concat([sample.poses.take([0]).replace(id=[name]) for name in ids]))


def make_queue(server: Server, imported: Import, folder: Path) -> tuple[Review, int]:
    """One pose queued for every kind, in a project set up as ``push`` does it; gives the queue's tab."""
    (sample, *_) = drawn_people(folder, images=1)
    ordinary = copies(sample, [f"pose of {kind}" for kind in ALIKE if kind != PLANTED])
    planted = copies(sample, [f"pose of {PLANTED}"])
    queue = [{"pose": f"pose of {kind}", "kind": kind, "blind": False} for kind in ALIKE]
    review = imported(folder, [ordinary], SKELETON, queue, [planted])
    client = Client(Access(server.url, server.token))
    set_up(client, review.remote, review.folder, form=review.folder.form.read_text())
    return review, client.views(review.remote)[TAB]


def shown(desk: Desk) -> int:
    """The number of the task on the screen."""
    return desk.page.evaluate("() => Htx.task.id")


def next_task(desk: Desk) -> int:
    before = shown(desk)
    desk.submit()
    desk.page.wait_for_function(f"() => Htx.task && Htx.task.id !== {before}")
    desk.wait()
    return shown(desk)


def test_two_annotators_share_the_queue_in_the_order_of_priority(
    server: Server, imported: Import, desks: list[Desk], tmp_path: Path
) -> None:
    review, _ = make_queue(server, imported, tmp_path)
    wanted = sorted(review.tasks, key=lambda task: -review.record(task).priority)
    ann, bob = desks
    ann.label(review.remote)
    bob.label(review.remote)
    given = [shown(ann), shown(bob), next_task(ann), next_task(bob)]
    assert given == [review.tasks[task] for task in wanted[:4]]
    for desk in desks:
        desk.page.reload()
        desk.wait()
    assert [shown(ann), shown(bob)] == given[2:], "a tab with an order would hand out the same task to both"


def shape(value: Any) -> Any:
    """What a value looks like, without what must differ from task to task."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    if isinstance(value, str):
        return re.sub("[0-9]+", "0", re.sub("[0-9a-f]{6,}", "hash", value))
    return type(value).__name__


def test_nothing_that_an_annotator_can_ask_for_tells_what_a_task_is_for(
    server: Server, imported: Import, desks: list[Desk], tmp_path: Path
) -> None:
    review, tab = make_queue(server, imported, tmp_path)
    (ann, _) = desks

    def ask(path: str) -> Any:
        answer = ann.page.request.get(server.url + path)
        assert answer.ok
        return answer.json()

    kinds = {number: review.record(task).kind for task, number in review.tasks.items()}
    single = {kinds[number]: shape(ask(f"/api/tasks/{number}/")) for number in kinds}
    listed = ask(f"/api/tasks?project={review.remote}&view={tab}&fields=all")["tasks"]
    several = {kinds[task["id"]]: shape(task) for task in listed}
    for found in (single, several):
        assert set(found) == set(ALIKE)
        assert found["review"]["predictions"][0]["result"], "else there is nothing to compare"
        for kind in ALIKE:
            assert found[kind] == found["review"], kind
    columns = {column["id"] for column in ask(f"/api/dm/columns?project={review.remote}")["columns"]}
    assert {"image", "crop", "task_key", "header", "priority"} <= columns
    everything = str([ask(f"/api/tasks/{number}/") for number in kinds]) + str(listed)
    for word in ("pose of", "audit", "plant", "p_bad", "another"):
        assert word not in everything
