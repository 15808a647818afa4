"""The project on the server: made once, and before every push set up so that people see what they should.

It has our form; it shows the predictions of our version, without which annotators start from an empty canvas; it
gives the tasks out one after the other; and a tab of the Data Manager lists what is still open, most urgent first.
What people changed by taste in the form or the tab is left alone.
"""

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autolabel.errors import InputError, WorkError
from autolabel.labelstudio.access import write_settings
from autolabel.labelstudio.folder import ReviewFolder
from autolabel.labelstudio.form_check import differences, form_digest, is_empty
from autolabel.labelstudio.sent_log import FORM, log_sent, read_sent
from autolabel.labelstudio.server import RemoteProject, Server
from autolabel.labelstudio.tasks import MODEL_VERSION
from autolabel.manifest import make_folder
from autolabel.progress import SILENT, Progress
from autolabel.project import read_project

PLAIN = "All tasks"
"""The first tab, which is the one that opens. It neither sorts nor filters, for the sake of several annotators: only
then does the server hand out tasks by their locks, in the order in which they were imported. From a tab with an order
of its own everybody is given the same task, by the button for it and by reloading the page."""

TAB = "Review queue"
"""The tab that lists what is still open, most urgent first; to look at, or to label from when alone."""

SAMPLING = "Sequential sampling"

UNMADE = 0
"""Stands in the log for the number of a project that is about to be made."""

_WAITS = (0.5, 2.0)
"""Seconds between tries to set the version of the predictions that are shown."""


def title_of(name: str) -> str:
    """A title that the server takes, 3 to 50 characters."""
    return (name if len(name.strip()) >= 3 else f"{name} (autolabel)").strip()[:50]


def make_project(server: Server, project: Path) -> int:
    """Make a project's place on the server and write its number into the settings; one a project, whatever ends it.

    That it is about to be made is noted first. Where the note stands and no number does, the server may have made it
    already: then an empty one of this title is taken.

    Args:
        server: The server.
        project: The project folder.

    Raises:
        WorkError: The server failed; doing it again makes no second one.
    """
    log, title = ReviewFolder.of(project).server, title_of(read_project(project).name)
    intent = hashlib.sha256(json.dumps([server.url, title]).encode()).hexdigest()
    last = read_sent(log, server.url, UNMADE).get(FORM)
    begun = last is not None and (last.number, last.digest) == (0, intent)
    left = server.empty_projects(title) if begun else []
    if not left:
        make_folder(log.parent)
        log_sent(log, server.url, UNMADE, [(FORM, 0, intent)])
    number = left[-1] if left else server.create_project(title)
    write_settings(project, project=number)
    log_sent(log, server.url, UNMADE, [(FORM, number, intent)])
    return number


def set_up(
    server: Server, number: int, folder: ReviewFolder, *, form: str, annotators: int = 1, progress: Progress = SILENT
) -> None:
    """See that a project asks and shows what it should; call it before tasks are sent.

    Args:
        server: The server.
        number: Its number of the project.
        folder: The review folder, where it is noted which form was set.
        form: Our form.
        annotators: How many people answer each task.
        progress: Where to say that a form was edited by hand.

    Raises:
        InputError: There is no such project, or its form was edited so that its answers would not be ours.
        WorkError: The server failed.
    """
    project = server.project(number)
    _set_form(server, project, folder, form, progress)
    wanted = {"sampling": SAMPLING, "maximum_annotations": annotators, "show_collab_predictions": True}
    stands = (project.sampling, project.annotators, project.shows_predictions)
    changed = {name: value for (name, value), is_ in zip(wanted.items(), stands, strict=True) if value != is_}
    if changed:
        server.update_project(number, **changed)
    views = server.views(number)
    if not views:
        server.save_view(number, PLAIN, {"title": PLAIN})
    if TAB not in views or "maximum_annotations" in changed:
        server.save_view(number, TAB, _tab(annotators))


def show_predictions(server: Server, number: int, sleep: Callable[[float], None] = time.sleep) -> None:
    """Have annotators start from our predictions; call it after tasks were sent: the server must know the version.

    Args:
        server: The server.
        number: Its number of the project.
        sleep: How to wait: a busy server may say for a moment that it does not know the version yet.

    Raises:
        WorkError: The server failed, or still does not know the version.
    """
    project = server.project(number)
    if not project.tasks or project.model_version == MODEL_VERSION:
        return
    for seconds in _WAITS:
        try:
            server.update_project(number, model_version=MODEL_VERSION)
        except WorkError:
            sleep(seconds)
        else:
            return
    server.update_project(number, model_version=MODEL_VERSION)


def _set_form(server: Server, project: RemoteProject, folder: ReviewFolder, form: str, progress: Progress) -> None:
    shown, ours = form_digest(project.form), form_digest(form)
    last = read_sent(folder.server, server.url, project.id).get(FORM)
    if shown == ours:
        if last is None or last.digest != ours:
            log_sent(folder.server, server.url, project.id, [(FORM, project.id, ours)])
        return
    if is_empty(project.form) or (last is not None and last.digest == shown):
        server.update_project(project.id, label_config=form)
        log_sent(folder.server, server.url, project.id, [(FORM, project.id, ours)])
        return
    where = f"{server.url}/projects/{project.id}/settings/labeling"
    if wrong := differences(project.form, form):
        more = f" and {len(wrong) - 3} differences more" if len(wrong) > 3 else ""
        raise InputError(
            f"the form was edited by hand: {'; '.join(wrong[:3])}{more}",
            subject=where,
            remedy=f"Put the content of {folder.form} there, or set labelstudio.project to 0 for a new project.",
        )
    progress.note(f"{where}: the form was edited by hand, in its looks only: it is left as it is")


def _tab(annotators: int) -> dict[str, Any]:
    still_open = {
        "filter": "filter:tasks:total_annotations",
        "operator": "less",
        "type": "Number",
        "value": annotators,
    }
    return {
        "title": TAB,
        "filters": {"conjunction": "and", "items": [still_open]},
        "ordering": ["-tasks:data.priority"],
    }
