"""The loop beside a real Label Studio: it sends, waits, fetches what was answered, and goes on by itself."""

from pathlib import Path
from typing import Any

import pytest

from autolabel.formats.records import read_json
from autolabel.labelstudio.access import Access, save_token, write_settings
from autolabel.labelstudio.client import Client
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.project import read_project
from pipelines import loop
from tests.doubles import Recorder
from tests.live.labelstudio_client import Server
from tests.pipelines.conftest import drawn_case, tiny_weights

__all__ = ["drawn_case", "tiny_weights"]

pytestmark = [pytest.mark.live, pytest.mark.slow]


class Office(Recorder):
    """Hears that people are waited for, and then answers some of the open tasks on the server as they are shown."""

    def __init__(self, project: Path, client: Client, at_once: int) -> None:
        super().__init__()
        self._project, self._client, self._at_once = project, client, at_once
        self._answered = set[str]()

    def note(self, message: str) -> None:
        super().note(message)
        if not message.startswith("waiting for reviewers"):
            return
        number = read_project(self._project).labelstudio.project
        tasks = [task for file in ReviewFolder.of(self._project).task_files() for task in read_json(file)]
        shown = {task["data"]["task_key"]: task["predictions"][0]["result"] for task in tasks}
        open_ = [task for task in self._client.task_list(number) if task.key not in self._answered]
        for task in open_[: self._at_once]:
            self._client.annotate(task.id, shown[task.key], lead_time=4.5)
            self._answered.add(task.key)


def test_the_loop_waits_for_the_server_s_answers_and_goes_on(
    server: Server, drawn_case: Any, tiny_weights: Path
) -> None:
    project = drawn_case.project("live", rounds={"count": 1}, network={"weights": str(tiny_weights)})
    write_settings(project, url=server.url)
    save_token(project, server.token)
    client = Client(Access(server.url, server.token))
    office = Office(project, client, at_once=3)
    result = loop.run(project, wait=True, poll=1.0, progress=office)
    try:
        assert (result.state, result.rounds) == ("done", 1)
        waited = [note[:35] for note in office.notes if note.startswith("waiting for reviewers")]
        assert waited == [
            "waiting for reviewers: 4 of 4 tasks",
            "waiting for reviewers: 1 of 4 tasks",
            "waiting for reviewers: 3 of 7 tasks",
        ]
        told = loop.status(project).board
        assert told is not None
        assert (told.total.openings, told.total.seconds) == (7, pytest.approx(7 * 4.5))
    finally:
        client.delete_project(read_project(project).labelstudio.project)
