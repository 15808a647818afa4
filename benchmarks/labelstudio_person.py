"""A simulated reviewer who sits at a real Label Studio: sees what the server shows, and submits through its API."""

from dataclasses import dataclass
from pathlib import Path

from autolabel.errors import ConfigError
from autolabel.labelstudio.access import read_access
from autolabel.labelstudio.client import Client
from autolabel.project import read_project
from benchmarks.labelstudio_requests import listed
from pipelines.simulated_reviewer import SimulatedReviewer


@dataclass(frozen=True)
class ServerReviewer:
    """Answers a project's tasks on its server, one request each.

    Attributes:
        simulated: Who decides what to answer, from what the server shows.
    """

    simulated: SimulatedReviewer

    def review(self, project: str | Path) -> int:
        """Answer the tasks that have no answer on the server.

        Args:
            project: The project folder; its tasks were pushed.

        Returns:
            How many were answered.

        Raises:
            ConfigError: The project has no server, or was not pushed to it yet.
        """
        access, number = read_access(project), read_project(project).labelstudio.project
        if access is None or not number:
            raise ConfigError("has no project on a server", subject=str(project), remedy="Give a url, and push first.")
        client = Client(access)
        tasks = [{"meta": {}, **task} for task in listed(access, number) if not task["annotations"]]
        for task, answer in zip(tasks, self.simulated.answers(project, tasks), strict=True):
            given = answer["annotations"][0]
            client.annotate(task["id"], given["result"], lead_time=given["lead_time"], was_cancelled=False)
        return len(tasks)
