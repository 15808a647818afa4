"""The data set of a manifest: made, found again, and told from everybody else's."""

from collections.abc import Mapping
from typing import Any, cast

from autolabel.errors import InputError, SkeletonError
from autolabel.skeleton import Skeleton

INFO = "autolabel"
"""Entry of a data set's ``info`` that says it is ours, and what it shows."""


def open_dataset(fiftyone: Any, name: str, skeleton: Skeleton, *, shows: str) -> Any:
    """A persistent data set of ours, new or as it stands.

    Args:
        fiftyone: The module, with a database that answers.
        name: Of the data set.
        skeleton: Of its poses.
        shows: What it shows: ``images``, or ``people`` for a contact sheet.

    Raises:
        InputError: Something else has the name.
        SkeletonError: It shows poses of another skeleton.
    """
    if fiftyone.dataset_exists(name):
        dataset = fiftyone.load_dataset(name)
        mark = dataset.info.get(INFO)
        if mark is None and not dataset.persistent and not len(dataset):
            fiftyone.delete_dataset(name)  # a command was killed before it could say that it is ours
        else:
            _require_ours(name, mark, skeleton, shows)
            return dataset
    try:
        dataset = fiftyone.Dataset(name)
    except ValueError as error:
        raise InputError(
            f"FiftyOne does not take the name: {error}", subject=name, remedy="Give another --name."
        ) from error
    dataset.info[INFO] = {
        "shows": shows,
        "skeleton": skeleton.fingerprint,
        "keypoints": list(skeleton.keypoints),
        "definition": skeleton.to_dict(),
    }
    dataset.persistent = True
    dataset.save()
    return dataset


def existing_dataset(fiftyone: Any, name: str, skeleton: Skeleton, *, shows: str) -> Any | None:
    """A data set of ours, or nothing where there is none.

    Raises:
        InputError: Something else has the name.
        SkeletonError: It shows poses of another skeleton.
    """
    if not fiftyone.dataset_exists(name):
        return None
    dataset = fiftyone.load_dataset(name)
    _require_ours(name, dataset.info.get(INFO), skeleton, shows)
    return dataset


def index_keys(dataset: Any) -> None:
    """Let the database itself refuse two documents of one key; to be called when the field is there."""
    if "key" not in dataset.list_indexes():
        dataset.create_index("key", unique=True)


def note(dataset: Any, said: Mapping[str, Any]) -> None:
    """Write down what the data set was made from."""
    dataset.info[INFO] = {**dataset.info[INFO], **said}
    dataset.save()


def _require_ours(name: str, said: Any, skeleton: Skeleton, shows: str) -> None:
    mark: Mapping[str, Any] = cast("Mapping[str, Any]", said) if isinstance(said, dict) else {}
    if mark.get("shows") != shows:
        raise InputError(
            "is a data set that `autolabel curate` did not make",
            subject=f"FiftyOne data set {name!r}",
            remedy="Give another --name; nothing of it was changed.",
        )
    if mark["skeleton"] != skeleton.fingerprint:
        keypoints: list[str] = mark["keypoints"]
        raise SkeletonError(
            f"shows poses of another skeleton ({len(keypoints)} keypoints: {', '.join(keypoints[:3])}, …) than "
            f"{skeleton.name!r} ({skeleton.num_keypoints})",
            subject=f"FiftyOne data set {name!r}",
            remedy="Give another --name, or convert the manifest with `autolabel map`.",
        )
