"""The server's half of ``autolabel push``: the written tasks of a routing become tasks of a Label Studio project.

Only where the project has a ``[labelstudio] url``. The first push makes the project on the server and writes its
number into ``autolabel.toml``; from then on the number decides, so that a deleted project is an error and not
silently a new one.
"""

from collections.abc import Callable
from pathlib import Path

from autolabel.labelstudio.access import Access, read_access
from autolabel.labelstudio.client import Client
from autolabel.labelstudio.delivery import Delivery
from autolabel.labelstudio.exports import standing
from autolabel.labelstudio.exposure import require_private
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.form import labelling_form
from autolabel.labelstudio.journal import Journal
from autolabel.labelstudio.oddities import understand
from autolabel.labelstudio.remote_project import make_project, set_up, show_predictions
from autolabel.labelstudio.server import Server
from autolabel.labelstudio.sync import Destination, SyncResult, sync
from autolabel.labelstudio.tasks import read_task_map
from autolabel.progress import SILENT, Progress
from autolabel.project import FILE, read_project
from autolabel.skeleton import Skeleton


def server_access(project: str | Path) -> Access | None:
    """How a project reaches its server; None where it has none, or where the folder is no project.

    Raises:
        ConfigError: A setting is impossible.
        InputError: There is no token, or others may read it.
    """
    return read_access(project) if (Path(project) / FILE).is_file() else None


def send(
    access: Access,
    project: str | Path,
    routing: str,
    skeleton: Skeleton,
    *,
    connect: Callable[[Access], Server] | None = None,
    progress: Progress = SILENT,
) -> SyncResult:
    """Bring a routing's written tasks to the server.

    Args:
        access: Address and token.
        project: The project folder.
        routing: Digest of the routing.
        skeleton: Of its tasks.
        connect: How to talk to a server; by default as :class:`autolabel.labelstudio.client.Client`.
        progress: Where to report.

    Raises:
        InputError: The project is not there, or its form was edited so that answers would not be ours.
        FormatError: A written task is not sound; nothing was sent.
        WorkError: The server failed; pushing again goes on.
    """
    server = connect(access) if connect else Client(access, note=progress.note)
    folder, settings = ReviewFolder.of(project), read_project(project).labelstudio
    number = settings.project or make_project(server, Path(project))
    set_up(
        server,
        number,
        folder,
        form=labelling_form(skeleton, smart=settings.smart),
        annotators=settings.annotators,
        progress=progress,
    )
    if settings.delivery == Delivery.LOCAL_FILES:
        require_private(server, number, folder, settings.prefix)
    to = Destination(server, number, folder, Delivery(settings.delivery), settings.prefix)
    answered = _answered(folder, routing, skeleton, settings.annotators)
    result = sync(to, folder.task_files(routing), skeleton, answered=answered, progress=progress)
    show_predictions(server, number)
    return result


def _answered(folder: ReviewFolder, routing: str, skeleton: Skeleton, annotators: int) -> set[str]:
    """Keys of a routing's tasks that as many people as are wanted gave an answer to that ``pull`` can use."""
    records = {key: r for key, r in read_task_map(folder.taskmap).items() if r.routing == routing}
    journal = standing(Journal.read(folder.journal).entries)
    found: set[str] = set()
    for key in records.keys() & journal.keys():
        usable = (a.by for a in journal[key] if understand(a, records[key], skeleton).answer is not None)
        if len(set(usable)) >= annotators:
            found.add(key)
    return found
