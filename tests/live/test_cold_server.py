"""A cold start beside a real Label Studio: people box and place who is in bare images; a first network learns it."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autolabel.formats.records import read_json
from autolabel.labelstudio.access import Access, save_token, write_settings
from autolabel.labelstudio.client import Client
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.form import ABOUT
from autolabel.labelstudio.tasks import IMAGE, read_task_map
from autolabel.manifest import Manifest
from autolabel.project import read_project
from pipelines import loop
from pipelines.simulated_reviewer import SimulatedReviewer
from tests.doubles import Recorder
from tests.live.labelstudio_client import Server
from tests.pipelines.conftest import drawn_case

__all__ = ["drawn_case"]

pytestmark = [pytest.mark.live, pytest.mark.slow]

Results = Mapping[str, list[dict[str, Any]]]


class Office(Recorder):
    """Hears that people are waited for, looks at what their open tasks show, and answers them on the server."""

    def __init__(self, project: Path, client: Client, truth: Manifest, desk: Path) -> None:
        super().__init__()
        self._project, self._client, self._desk = project, client, desk
        self._reviewer = SimulatedReviewer(truth, seed=0, noise=0.0)
        self.shown: dict[str, list[dict[str, Any]]] = {}

    def note(self, message: str) -> None:
        super().note(message)
        if not message.startswith("waiting for reviewers"):
            return
        answers, number = self._answers(), read_project(self._project).labelstudio.project
        for task in self._client.task_list(number):
            if task.key not in self.shown:
                self.shown[task.key] = [item for p in self._client.predictions(task.id) for item in p.result]
                self._client.annotate(task.id, answers[task.key], lead_time=4.5)

    def _answers(self) -> Results:
        """What somebody who knows the truth says, worked out in a copy of what was sent."""
        sent = ReviewFolder.of(self._desk)
        shutil.rmtree(sent.path, ignore_errors=True)
        shutil.copytree(ReviewFolder.of(self._project).path, sent.path)
        self._reviewer.review(self._desk)
        exported = [task for file in sent.exports.glob("*.json") for task in read_json(file)]
        return {task["data"]["task_key"]: task["annotations"][0]["result"] for task in exported}


def test_bare_images_become_the_poses_of_a_first_network(server: Server, drawn_case: Any, tmp_path: Path) -> None:
    nothing = dict.fromkeys(("boxes", "labelled", "calibration", "test"), "")
    corpus = {**nothing, "images": "../drawn/images", "skeleton": "coco17"}
    rounds = {"count": 0, "first": 4, "random_share": 0.25}
    project = drawn_case.project("cold-live", corpus=corpus, rounds=rounds)
    write_settings(project, url=server.url)
    save_token(project, server.token)
    client = Client(Access(server.url, server.token))
    truth = Manifest.open(drawn_case.folder / "drawn" / "truth")
    (tmp_path / "desk").mkdir()
    office = Office(project, client, truth, tmp_path / "desk")
    result = loop.run(project, wait=True, poll=1.0, audit=False, progress=office)
    try:
        assert (result.state, result.rounds) == ("done", 0)
        records = read_task_map(ReviewFolder.of(project).taskmap)
        kinds = [records[task].kind for task in office.shown]
        assert kinds.count(IMAGE) == 4
        assert set(kinds) == {IMAGE, "review", "calibration"}
        for task, items in office.shown.items():
            # Nothing is filled in: of a whole image only the word that it is one, of a person nothing at all.
            assert [item["from_name"] for item in items] == [ABOUT] * (records[task].kind == IMAGE)
        true = {sample.id: sample.poses for sample in truth}
        pulled = list(Manifest.open(project / "rounds" / "00" / "pulled"))
        assert sum(len(sample.poses) for sample in pulled) == sum(len(true[sample.id]) for sample in pulled) > 0
        for sample in pulled:
            noses = true[sample.id].xy[:, 0]
            assert all(np.linalg.norm(noses - nose, axis=1).min() < 0.1 for nose in sample.poses.xy[:, 0])
        record = read_json(project / "rounds" / "00" / "round.json")
        assert record["trained_on"] == kinds.count("review")
        assert (project / "rounds" / "00" / "model" / "model.safetensors").is_file()
    finally:
        client.delete_project(read_project(project).labelstudio.project)
