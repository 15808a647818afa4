"""Saved views: the questions that a curator asks of a data set, ready to click.

A view that has nothing to show now is not there, so that the list says what there is to do. Views that curators saved
themselves are left alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autolabel.curate.documents import POSES

MARK = "autolabel: "
"""How the description of every view of ours begins."""

DISAGREES = 0.75
"""OKS below which two opinions of a pose disagree: a pose is bad below it."""

CHANGED = 0.9
"""OKS with what the previous model said below which a pose changed."""

FIRST = "most doubtful"
"""The view that is looked at first."""

_BY = "by "
_FALLBACK = "#9aa4b2"


@dataclass(frozen=True)
class View:
    """A saved view.

    Attributes:
        name: Its name.
        means: Its description.
        color: Of its name in the list.
        needs: The attribute of poses, or field of samples, that it looks at.
        of: The view, of FiftyOne's module and the data set.
    """

    name: str
    means: str
    color: str
    needs: str
    of: Callable[[Any, Any], Any]


def save_views(fiftyone: Any, dataset: Any) -> list[str]:
    """Save the views of a data set of images.

    Returns:
        Names of those that have something to show, in order.
    """
    by = [_by(name) for name in dataset.distinct(f"{POSES}.keypoints.by") if name]
    return _save(fiftyone, dataset, [*VIEWS, *by])


def save_people_views(fiftyone: Any, dataset: Any) -> list[str]:
    """The same of a contact sheet."""
    return _save(fiftyone, dataset, PEOPLE_VIEWS)


def _save(fiftyone: Any, dataset: Any, views: Sequence[View]) -> list[str]:
    """Save the views that have something to show, and forget ours that have not."""
    schema = dataset.get_field_schema(flat=True)
    wanted = [view for view in views if view.needs in schema]
    made = {view.name: (view, view.of(fiftyone, dataset)) for view in wanted}
    shown = {name: (view, found) for name, (view, found) in made.items() if len(found)}
    saved: Mapping[str, Any] = {info["name"]: info for info in dataset.list_saved_views(info=True)}
    for name, info in saved.items():
        if str(info["description"]).startswith(MARK) and name not in shown:
            dataset.delete_saved_view(name)
    for name, (view, found) in shown.items():
        mine = name not in saved or str(saved[name]["description"]).startswith(MARK)
        if mine:
            dataset.save_view(name, found, description=MARK + view.means, color=view.color, overwrite=True)
    return list(shown)


def _poses(matching: Callable[[Any], Any], *, sort: str = "p_bad", reverse: bool = True) -> Callable[[Any, Any], Any]:
    """Images with the poses that match, and those alone, the most doubtful first."""

    def view(fiftyone: Any, dataset: Any) -> Any:
        chosen = dataset.filter_labels(POSES, matching(fiftyone.ViewField))
        return chosen.sort_by(sort, reverse=reverse)

    return view


def _images(matching: Callable[[Any], Any], *, sort: str = "p_bad", reverse: bool = True) -> Callable[[Any, Any], Any]:
    """Images that match, with all that is in them."""
    return lambda fiftyone, dataset: dataset.match(matching(fiftyone.ViewField)).sort_by(sort, reverse=reverse)


def _lower(name: str, limit: float) -> Callable[[Any], Any]:
    """Known and below a limit: to MongoDB nothing is less than any number."""
    return lambda F: (F(name) != None) & (F(name) < limit)  # noqa: E711


def _pose(name: str) -> str:
    return f"{POSES}.keypoints.{name}"


def _by(name: str) -> View:
    return View(
        f"{_BY}{name}",
        f"poses that {name} stated last",
        _FALLBACK,
        _pose("by"),
        _poses(lambda F: F("by") == name),
    )


VIEWS = (
    View(FIRST, "images by the doubt of their most doubtful pose", "#ef4444", "p_bad",
         _images(lambda F: F("p_bad") != None)),  # noqa: E711
    View("suspected swaps", "left and right seem to have changed places", "#f97316", _pose("swap"),
         _poses(lambda F: F("swap") == True)),  # noqa: E712
    View("label errors", "labels of people or of a source that seem wrong", "#f97316", _pose("label_error"),
         _poses(lambda F: F("label_error") == True)),  # noqa: E712
    View("wrong by the truth", "poses that are bad by the truth that was given", "#ef4444", _pose("bad"),
         _poses(lambda F: F("bad") == True)),  # noqa: E712
    View("near-duplicates", "images that repeat another one", "#8b5cf6", "duplicate_of",
         _images(lambda F: F("duplicate_of") != "", sort="duplicate_of", reverse=False)),
    View("alike", "images whose people look like another image's to the pose encoder", "#8b5cf6", "alike",
         _images(lambda F: (F("alike") != None) & (F("alike") != ""), sort="alike", reverse=False)),  # noqa: E711
    View("changed by the last model", "poses that the previous model placed elsewhere", "#0ea5e9",
         _pose("previous_oks"), _poses(_lower("previous_oks", CHANGED))),
    View("disagreements with the student", "poses that the student places elsewhere", "#0ea5e9",
         _pose("student_oks"), _poses(_lower("student_oks", DISAGREES))),
    View("truncated bodies", "people of whom a part lies outside the image", "#eab308", _pose("truncated"),
         _poses(lambda F: F("truncated") == True)),  # noqa: E712
    View("accepted", "poses that routing accepts unseen", "#22c55e", _pose("routed"),
         _poses(lambda F: F("routed").is_in(["accepted", "audit"]))),
    View("to review", "poses that routing sends to people", "#eab308", _pose("routed"),
         _poses(lambda F: F("routed") == "review")),
    View("audited", "accepted poses that were drawn to prove the promise", "#22c55e", _pose("routed"),
         _poses(lambda F: F("routed") == "audit")),
    View("rejected", "poses that a person rejected", "#6b7280", _pose("state"),
         _poses(lambda F: F("state") == "rejected")),
    View("left the manifest", "tagged images that the manifest has no more", "#6b7280", "left",
         _images(lambda F: F("left") == True)),  # noqa: E712
)  # fmt: skip
"""Of images: all of them but those by annotator."""

PEOPLE_VIEWS = (
    View(FIRST, "people by their doubt", "#ef4444", "p_bad", _images(lambda F: F("p_bad") != None)),  # noqa: E711
    View("accepted", "people whom routing accepts unseen", "#22c55e", "routed",
         _images(lambda F: F("routed").is_in(["accepted", "audit"]))),
    View("to review", "people whom routing sends to reviewers", "#eab308", "routed",
         _images(lambda F: F("routed") == "review")),
    View("left the manifest", "tagged people whom the manifest has no more", "#6b7280", "left",
         _images(lambda F: F("left") == True)),  # noqa: E712
)  # fmt: skip
"""Of contact sheets."""
