"""What the Label Studio benchmark works on: a server of its own, drawn people, and projects that push and pull them.

A few drawn pictures are used again and again: every person of every repetition is a pose of its own, with a task, a
crop and an upload of its own, so that five thousand tasks need no five thousand drawings.
"""

import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np

from autolabel.labelstudio.access import Access, save_token, write_settings
from autolabel.labelstudio.client import Client
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.remote_project import title_of
from autolabel.labelstudio.tasks import REVIEW, task_key
from autolabel.manifest import Manifest, write_manifest
from autolabel.poses import Origin, Poses, Sample
from autolabel.project import read_project
from autolabel.skeleton import Skeleton
from benchmarks.labelstudio_child import resident
from benchmarks.labelstudio_requests import projects
from pipelines.drawn_corpus import draw_corpus
from pipelines.labelstudio_environment import PLACE, environment_folder, install
from pipelines.labelstudio_process import Account, OwnServer, start, stop

PICTURES = 40
SKELETON = Skeleton.load("coco17")
_REPOSITORY = Path(__file__).parents[1] / ".venv-labelstudio"


@dataclass(frozen=True)
class Case:
    """A project folder, and the server that it names.

    Attributes:
        project: The project folder.
        access: Address and token of the server.
    """

    project: Path
    access: Access

    @property
    def client(self) -> Client:
        return Client(self.access)

    @property
    def number(self) -> int:
        """The server's number of the project; 0 before the first push."""
        return read_project(self.project).labelstudio.project

    @property
    def folder(self) -> ReviewFolder:
        return ReviewFolder.of(self.project)

    def copy(self, project: Path) -> "Case":
        """The same project as another machine would have it, without what was pulled."""
        unneeded = shutil.ignore_patterns("crops", "journal.jsonl", "cursor.json")
        shutil.copytree(self.project, project, ignore=unneeded)
        return Case(project, self.access)

    def discard(self) -> None:
        """Delete the project here and on the server."""
        client = self.client
        for number in self.numbers():
            client.delete_project(number)
        self.forget()

    def numbers(self) -> list[int]:
        """Its projects on the server: a push that was killed in the moment when it made one leaves one more."""
        return projects(self.access, title_of(read_project(self.project).name))

    def forget(self) -> None:
        """Delete the project here alone."""
        shutil.rmtree(self.project)


@dataclass(frozen=True)
class Bench:
    """A running server, and the drawn people that are sent to it.

    Attributes:
        folder: Where everything lies.
        own: The server.
        program: Label Studio.
        account: Who may do everything there.
        truth: The drawn pictures with their people.
    """

    folder: Path
    own: OwnServer
    program: Path
    account: Account
    truth: Manifest

    def case(self, name: str) -> Case:
        """A new project; the first push makes its other half on the server."""
        project = self.folder / name
        project.mkdir()
        (project / "autolabel.toml").write_text(f'name = "{name[:40]}"\n[corpus]\nimages = "images"\n[labelstudio]\n')
        write_settings(project, url=self.own.url())
        save_token(project, self.account.token)
        return Case(project, Access(self.own.url(), self.account.token))

    def queue(self, people: int, *, first: int = 0) -> Manifest:
        """A manifest of this many poses, each of which ``push`` makes a task of; queues of other ``first`` differ."""
        path = self.folder / f"queue-{first}-{people}"
        if not path.exists():
            write_manifest(path, _repeated(self.truth, people, first), SKELETON, self.truth.roots, stage="benchmark")
        return Manifest.open(path)

    def kill(self) -> None:
        """End the server as a power cut would."""
        os.kill(self.own.process(), signal.SIGKILL)
        while self.own.process():
            time.sleep(0.01)

    def restart(self) -> float:
        """Start the server again; seconds until it answers."""
        begin = time.monotonic()
        start(self.own, self.program)
        return time.monotonic() - begin

    def memory(self) -> float:
        """MiB that the server has resident."""
        return resident("VmRSS", self.own.process())

    def cpu(self) -> float:
        """Seconds of processor time that the server has used since it was started."""
        stat = Path(f"/proc/{self.own.process()}/stat").read_text(encoding="utf-8")
        user, system = stat.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def database(self) -> tuple[float, bool]:
        """Megabytes of the server's database, and whether it is sound."""
        (file,) = self.own.folder.glob("label_studio.sqlite3")
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=60) as database:
            (said,) = database.execute("PRAGMA integrity_check").fetchone()
        return file.stat().st_size / 1e6, said == "ok"


@contextmanager
def bench(folder: Path, *, pictures: int = PICTURES, environment: Path | None = None) -> Iterator[Bench]:
    """Start a server of one's own and draw the pictures; the server is stopped at the end.

    Args:
        folder: Made anew; what an earlier call left there goes.
        pictures: How many to draw.
        environment: Where Label Studio is installed; by default the repository's own, or where the user says.
    """
    for part in folder.glob("*"):
        shutil.rmtree(part) if part.is_dir() else part.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    truth, _ = draw_corpus(folder / "drawn", images=pictures, seed=0)
    own = OwnServer.at(folder / "server")
    program = install(environment or environment_of_user())
    try:
        yield Bench(folder, own, program, start(own, program), truth)
    finally:
        stop(own)


def environment_of_user() -> Path:
    """Where Label Studio is installed: where the user says, else the repository's own where it is, else the user's."""
    return _REPOSITORY if _REPOSITORY.is_dir() and PLACE not in os.environ else environment_folder()


def keys_of(queue: Manifest) -> list[str]:
    """The keys of the tasks that a manifest's poses become, worked out from the poses alone."""
    poses = (queue.poses(i) for i in range(queue.num_parts))
    return [task_key(queue.digest, pose, REVIEW) for part in poses for pose in part.id.tolist()]


def _repeated(truth: Manifest, people: int, first: int) -> Iterator[Sample]:
    """Drawn people, again and again, as a network would label them: a little beside the truth."""
    left, rng = people, np.random.default_rng(first)
    samples = list(truth)
    for i in count():
        sample = samples[i % len(samples)]
        poses = sample.poses.take(range(min(left, len(sample.poses))))
        n, k = poses.xy.shape[:2]
        name = f"{first:06x}{i:026x}"
        labelled = Poses.create(
            k, id=[f"{name[:24]}{name[-6:]}{j:02x}" for j in range(n)], box=poses.box, area=poses.area,
            xy=poses.xy + rng.normal(0, 2, (n, k, 2)), score=rng.uniform(0.2, 1, (n, k)),
            presence=np.full((n, k), 0.9), origin=np.full((n, k), Origin.MODEL), by=["net"] * n,
        )  # fmt: skip
        yield Sample(name, sample.root, sample.path, sample.size, labelled)
        left -= n
        if not left:
            return
