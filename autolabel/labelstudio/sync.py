"""Bringing tasks to a server: new ones are imported, changed ones are refreshed, and no task is there twice.

The server does not know our keys, makes a new task of everything it is given, and may have done so although its
answer never came. So it is asked before and after: what is there, by key; after an import whose end nobody knows,
whether it arrived; and when all is sent, whether anything is there twice, because somebody else pushed the same
tasks at the same moment. Of doubles the answered ones stay, else the oldest. Whatever kills the work, doing it again
ends at the same place.

A task that somebody answered or began to answer is never touched: right before tasks are deleted or changed they are
read once more, because people work while we send, and because a server may give a deleted task's number to another.
A prediction only goes when its task's content has changed: an answer names the prediction that it began with. A task
without its prediction, which a busy server may lose, gets it again.
"""

import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from autolabel.errors import FormatError, UnsureError, WorkError
from autolabel.formats.records import read_json
from autolabel.labelstudio.delivery import Delivery, deliver
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.sent_log import Sent, log_sent, read_sent
from autolabel.labelstudio.server import RemoteTask, Server
from autolabel.labelstudio.tasks import MODEL_VERSION
from autolabel.labelstudio.validate import problems
from autolabel.progress import SILENT, Progress, Task
from autolabel.skeleton import Skeleton

CHUNK_TASKS = 500
CHUNK_BYTES = 10_000_000
"""At most this much in one request: a server behind a proxy refuses larger ones, and a lost answer costs less."""

_AT_ONCE = 20
"""Tasks that are changed or deleted after one look at whether anybody is at work on them."""

_REPAIRS = 2
"""How often lost predictions are sent again before that is an error."""

_WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between looks after an import whose end nobody knows: the server may still be at it."""

Json = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class SyncResult:
    """What became of the tasks that a server was to have.

    Attributes:
        project: The server's number of the project.
        url: Where people open it.
        sent: New ones; each of the routing's tasks counts as one of this and the next three.
        changed: Those that were there with other content, or without their prediction, and were sent it.
        standing: Those that were there as they should be, whoever had brought them.
        left_answered: Those that were there with other content and an answer, or somebody at work on them, and stayed
            as they were; and those gone from the server but answered in the journal, which are not asked again.
        doubles: Surplus copies that were deleted; of all tasks of the project.
    """

    project: int
    url: str
    sent: int
    changed: int
    standing: int
    left_answered: int
    doubles: int


@dataclass(frozen=True)
class Destination:
    """Where tasks go, and how their crops do.

    Attributes:
        server: The server.
        project: Its number of the project, which has the form.
        folder: The review folder with crops and log.
        delivery: How crops reach the browser.
        prefix: What stands before a crop's name; see :func:`autolabel.labelstudio.delivery.deliver`.
        sleep: How to wait.
    """

    server: Server
    project: int
    folder: ReviewFolder
    delivery: Delivery = Delivery.UPLOAD
    prefix: str = ""
    sleep: Callable[[float], None] = time.sleep

    def digest(self, task: Json) -> str:
        """Hex digest of a task's content and of how its crop is delivered."""
        text = json.dumps([task, self.delivery, self.prefix], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def log(self, lines: Sequence[tuple[str, int, str]]) -> None:
        """Note what was sent."""
        log_sent(self.folder.server, self.server.url, self.project, lines)


@dataclass(frozen=True)
class _Plan:
    """What is to be done, by key."""

    digests: Mapping[str, str]
    new: frozenset[str]
    changed: Mapping[str, RemoteTask]
    answered: int


@dataclass
class _Tally:
    """What was done: new tasks, changed ones, and those to change that somebody is at work on, by key."""

    sent: int
    changed: int
    busy: set[str]


def sync(
    to: Destination,
    files: Sequence[Path],
    skeleton: Skeleton,
    *,
    answered: Collection[str] = frozenset(),
    progress: Progress = SILENT,
) -> SyncResult:
    """See that a server has the tasks of some files, each once.

    Args:
        to: Where they go.
        files: Lists of tasks in the import format, in the order of the queue.
        skeleton: Of the tasks and the form.
        answered: Keys of tasks that the journal holds an answer for: they are not sent a second time.
        progress: Where to report.

    Raises:
        FormatError: A task that is to be sent is not sound; nothing was sent.
        WorkError: The server failed; everything may be done again.
    """
    there, doubles = _without_doubles(to, progress)
    plan = _plan(to, files, skeleton, there, answered)
    tally = _Tally(0, 0, set())
    if work := len(plan.new) + len(plan.changed):
        with progress.task("send", work, "task") as task:
            for file in files:
                _send(to, file, plan, tally, task, progress)
        there, more = _without_doubles(to, progress)
        doubles += more
        _require_all(to, plan, there)
        _send_lost_predictions(to, files, plan, there, tally.busy, progress)
    left = plan.answered + len(tally.busy)
    return SyncResult(
        project=to.project,
        url=f"{to.server.url}/projects/{to.project}",
        sent=tally.sent,
        changed=tally.changed,
        standing=len(plan.digests) - tally.sent - tally.changed - left,
        left_answered=left,
        doubles=doubles,
    )


def _send(to: Destination, file: Path, plan: _Plan, tally: _Tally, counted: Task, progress: Progress) -> None:
    """Import and refresh what a file has to send."""
    tasks = {key: task for key, task in _tasks(file) if key in plan.new or key in plan.changed}
    if not tasks:
        return
    crops = [to.folder.crops / task["data"]["crop"] for task in tasks.values()]
    images = deliver(to.server, to.project, crops, to.delivery, to.prefix, progress)
    ready = {key: _with_image(task, images[task["data"]["crop"]]) for key, task in tasks.items()}
    there = {key: plan.changed[key] for key in ready if key in plan.changed}
    for chunk in _chunks({key: task for key, task in ready.items() if key in plan.new}):
        found = _import(to, chunk, plan.digests)
        there |= found
        tally.sent += len(chunk) - len(found)
        counted.advance(len(chunk) - len(found))
    for some in _some(list(there.items())):
        free = to.server.untouched(to.project, [remote.id for _, remote in some])
        for key, remote in some:
            now = free.get(remote.id)
            if now is None or now.key != key:
                tally.busy.add(key)
            else:
                tally.changed += _refresh(to, now, ready[key], plan.digests[key])
            counted.advance()


def _plan(
    to: Destination,
    files: Sequence[Path],
    skeleton: Skeleton,
    there: Mapping[str, RemoteTask],
    answered: Collection[str],
) -> _Plan:
    """Compare what should be there with what is; checks every task that is to be sent."""
    log = read_sent(to.folder.server, to.server.url, to.project)
    bare = to.server.unlabelled(to.project, MODEL_VERSION) if there else set[int]()
    digests, new, changed = dict[str, str](), set[str](), dict[str, RemoteTask]()
    left, learnt = 0, list[tuple[str, int, str]]()
    for file in files:
        for i, (key, task) in enumerate(_tasks(file)):
            digest, remote, last = to.digest(task), there.get(key), log.get(key)
            digests[key] = digest
            if remote is not None and _stands(remote, last, digest) and (remote.annotations or remote.id not in bare):
                if last is not None and last.number != remote.id:
                    learnt.append((key, remote.id, digest))
            elif remote is None and key not in answered:
                new.add(key)
                _require_sound(task, skeleton, file, i)
            elif remote is not None and not remote.annotations:
                changed[key] = remote
                _require_sound(task, skeleton, file, i)
            else:
                left += 1
    to.log(learnt)
    return _Plan(digests, frozenset(new), changed, left)


def _stands(remote: RemoteTask, last: Sent | None, digest: str) -> bool:
    """Whether the log says that a task is as it should be. One of another number was made by somebody else."""
    return last is not None and last.digest == digest and last.number in (0, remote.id)


def _import(to: Destination, chunk: Mapping[str, Json], digests: Mapping[str, str]) -> dict[str, RemoteTask]:
    """Import tasks; gives those that somebody else had brought there before."""
    others = to.server.find(to.project, list(chunk))
    rest = {key: task for key, task in chunk.items() if key not in others}
    for attempt in range(3):
        if not rest:
            break
        to.log([(key, 0, digests[key]) for key in rest])
        try:
            numbers = to.server.import_tasks(to.project, list(rest.values()))
            _require_numbers(to, numbers, len(rest))
        except UnsureError:
            arrived = _look(to, list(rest))
            if not arrived and attempt == 2:
                raise
            to.log([(key, remote.id, digests[key]) for key, remote in arrived.items()])
            rest = {key: task for key, task in rest.items() if key not in arrived}
        else:
            to.log([(key, number, digests[key]) for key, number in zip(rest, numbers, strict=True)])
            break
    return others


def _require_numbers(to: Destination, numbers: Sequence[int], count: int) -> None:
    if len(numbers) != count:
        raise UnsureError(
            f"gave {len(numbers)} numbers for {count} tasks, so nobody can tell which of them it has",
            subject=f"{to.server.url}, project {to.project}",
            remedy="Push again: what is there is not sent twice.",
        )


def _look(to: Destination, keys: Sequence[str]) -> dict[str, RemoteTask]:
    """What arrived of an import whose end nobody knows."""
    for seconds in _WAITS:
        to.sleep(seconds)
        if found := to.server.find(to.project, keys):
            return found
    return {}


def _refresh(to: Destination, remote: RemoteTask, task: Json, digest: str) -> bool:
    """Give a task on the server, which nobody is at work on, the content that it should have; says if it had other."""
    other = dict(remote.data) != task["data"]
    if other:
        to.server.update_task(remote.id, task["data"])
    result = list(task["predictions"][0]["result"])
    old = to.server.predictions(remote.id)
    same = [p.id for p in old if p.version == MODEL_VERSION and p.result == result]
    if not same:
        to.server.add_prediction(remote.id, result, MODEL_VERSION)
    for prediction in old:
        if prediction.id not in same[:1]:
            to.server.delete_prediction(prediction.id)
    to.log([(remote.key, remote.id, digest)])
    return other or len(same) != 1 or len(old) > 1


def _without_doubles(to: Destination, progress: Progress) -> tuple[dict[str, RemoteTask], int]:
    """Our tasks on the server by key, after surplus copies were deleted; and how many those were."""
    copies = defaultdict[str, list[RemoteTask]](list)
    for remote in to.server.task_list(to.project):
        if remote.key:
            copies[remote.key].append(remote)
    kept = {key: min(same, key=lambda task: (not task.annotations, task.id)) for key, same in copies.items()}
    surplus = [task for key, same in copies.items() for task in same if task is not kept[key] and not task.annotations]
    deleted = 0
    for some in _some(surplus):
        # By number and key: meanwhile somebody may have answered a copy, or a number may mean another task.
        now = to.server.untouched(to.project, [task.id for task in some])
        free = [task.id for task in some if task.id in now and now[task.id].key == task.key]
        if free:
            to.server.delete_tasks(to.project, free)
        deleted += len(free)
    if deleted:
        progress.note(f"{deleted} tasks were on the server twice: the copies that nobody answered are deleted")
    return kept, deleted


def _send_lost_predictions(
    to: Destination,
    files: Sequence[Path],
    plan: _Plan,
    there: Mapping[str, RemoteTask],
    busy: Collection[str],
    progress: Progress,
) -> None:
    """See that every task of ours that nobody answered has its prediction."""

    def missing() -> dict[str, RemoteTask]:
        bare = to.server.unlabelled(to.project, MODEL_VERSION)
        open_ = {key: there[key] for key in plan.digests if key in there and key not in busy}
        return {key: remote for key, remote in open_.items() if remote.id in bare and not remote.annotations}

    lost = missing()
    for _ in range(_REPAIRS):
        if not lost:
            return
        again, tally = replace(plan, new=frozenset(), changed=lost), _Tally(0, 0, set())
        with progress.task("send again", len(lost), "prediction") as task:
            for file in files:
                _send(to, file, again, tally, task, progress)
        busy = {*busy, *tally.busy}
        lost = missing()
    if lost:
        raise WorkError(
            f"shows {len(lost)} tasks without the predictions that it was sent",
            subject=f"{to.server.url}, project {to.project}",
            remedy="Push again: only what is missing is sent.",
        )


def _require_all(to: Destination, plan: _Plan, there: Mapping[str, RemoteTask]) -> None:
    if missing := plan.new - set(there):
        raise WorkError(
            f"lacks {len(missing)} of {len(plan.new)} tasks that it was sent",
            subject=f"{to.server.url}, project {to.project}",
            remedy="Push again: only what is missing is sent.",
        )


def _require_sound(task: Json, skeleton: Skeleton, file: Path, i: int) -> None:
    if wrong := problems(task, skeleton):
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise FormatError(
            f"{wrong[0]}{more}",
            record=f"[{i}]",
            subject=str(file),
            remedy="Nothing was sent. Delete the file and push again, which writes it anew.",
        )


def _tasks(file: Path) -> Iterator[tuple[str, Json]]:
    """The tasks of a file by their keys."""
    content = read_json(file)
    if not isinstance(content, list):
        raise FormatError("is not a list of tasks", subject=str(file), remedy="Delete it and push again.")
    for i, task in enumerate(cast("list[Any]", content)):
        try:
            key = task["data"]["task_key"]
        except (KeyError, TypeError) as error:
            raise FormatError("has no data.task_key", record=f"[{i}]", subject=str(file)) from error
        yield str(key), task


def _some(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """As many as are changed after one look."""
    for start in range(0, len(items), _AT_ONCE):
        yield items[start : start + _AT_ONCE]


def _with_image(task: Json, image: str) -> Json:
    return {**task, "data": {**task["data"], "image": image}}


def _chunks(tasks: Mapping[str, Json]) -> Iterator[dict[str, Json]]:
    chunk, size = dict[str, Json](), 0
    for key, task in tasks.items():
        length = len(json.dumps(task))
        if chunk and (len(chunk) >= CHUNK_TASKS or size + length > CHUNK_BYTES):
            yield chunk
            chunk, size = {}, 0
        chunk[key] = task
        size += length
    if chunk:
        yield chunk
