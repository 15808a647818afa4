"""What must not change under a loop's feet: the skeleton, the images, and the rounds that later ones were made from.

Everything is looked at before any work. What cannot be gone on with is an error that says what, where and what to do;
images that were added are told, and left out. To see whether an image is the one that was labelled, its size and time
are noted when the first round is made, and only a file that differs in them is read: its bytes decide.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path

from autolabel.errors import ConfigError, InputError, SkeletonError
from autolabel.formats.records import read_json
from autolabel.listing import Quarantined, list_images
from autolabel.manifest import COMMIT, Manifest, write_text
from autolabel.phrases import counted
from autolabel.skeleton import Skeleton
from pipelines.loop_predict import digest_in_force, digest_of_weights
from pipelines.loop_state import Loop, asked_skeleton, round_folders
from pipelines.route import ROUTING

IMAGES = "images.jsonl"
"""In round 0's folder: the images as they were when it was made, one a line."""

_KEEPS = (
    "A project keeps the images it began with: put them back as they were, or start a new project with "
    "`autolabel init` for the corpus as it is now."
)

_NO_SECOND_AUDIT = (
    "Put it back. The audit is drawn, and cannot be drawn twice: without that round, start a new project with the last "
    "network as network.weights."
)


@dataclass(frozen=True)
class _Noted:
    """An image as it was; an ``id`` of "" is that of a file which the corpus leaves out."""

    id: str
    root: str
    path: str
    bytes: int
    mtime_ns: int


def require_intact(loop: Loop) -> None:
    """Refuse to go on with a project that was changed in a way that would spoil what is done.

    Raises:
        SkeletonError: ``corpus.skeleton`` names another one than the first round was made with.
        InputError: Images are gone or were altered.
        ConfigError: A round is gone from which later ones were made, or the settings say that it should be; or they
            name another first network than the one that labelled.
    """
    _require_rounds(loop)
    _require_count(loop)
    predicted = loop.round(0) / "predicted"
    if not (predicted / COMMIT).is_file():
        return
    manifest = Manifest.open(predicted)
    _require_skeleton(loop, manifest.skeleton)
    _require_weights(loop)
    _tell_promise(loop)
    if not (loop.round(0) / IMAGES).is_file():
        note_images(loop)
        return
    require_images(loop)
    _tell_added(loop, _noted(loop))


def require_images(loop: Loop) -> None:
    """Refuse to go on where an image that round 0 labelled is gone or was altered; people may have worked for days.

    Raises:
        InputError: It is.
    """
    manifest = Manifest.open(loop.round(0) / "predicted")
    _require_images((image for image in _noted(loop) if image.id), manifest)


def _noted(loop: Loop) -> list[_Noted]:
    """The images as they were when round 0 was made."""
    with (loop.round(0) / IMAGES).open(encoding="utf-8") as lines:
        return [_Noted(*json.loads(line)) for line in lines]


def note_images(loop: Loop) -> None:
    """Note how the corpus lies on disk, beside what the first network says about it."""
    manifest = Manifest.open(loop.round(0) / "predicted")
    noted = [_note(sample.id, sample.root, sample.path, manifest.image_path(sample)) for sample in manifest]
    known = {image.path for image in noted}
    noted += [_note("", "", path, loop.path(loop.project.corpus.images) / path) for path in _listed(loop) - known]
    lines = (json.dumps(astuple(image)) for image in noted)
    write_text(loop.round(0) / IMAGES, "".join(f"{line}\n" for line in lines))


def _note(id: str, root: str, path: str, file: Path) -> _Noted:
    """An image as it is; one that is not there is noted as a file of no bytes."""
    try:
        status = file.stat()
    except OSError:
        return _Noted(id, root, path, 0, 0)
    return _Noted(id, root, path, status.st_size, status.st_mtime_ns)


def _require_rounds(loop: Loop) -> None:
    """Every round up to the last finished one, and up to the audit's, must be there."""
    there = [n for here in round_folders(loop.folder) if loop.finished(n := int(here.name))]
    gone = sorted(set(range(max(there, default=0))) - set(there))
    audited = loop.audit / "routing" / ROUTING
    if gone:
        later = ", ".join(f"rounds/{n:02d}" for n in there if n > gone[0])
        again = (
            f"Put it back, or remove {later} too, and the rounds are done again from there: the answers are kept in "
            "labelstudio/journal.jsonl, and nobody is asked twice for the same."
        )
        raise ConfigError(
            f"is gone or not finished, though later rounds were made from it: {later}",
            subject=str(loop.round(gone[0])),
            remedy=_NO_SECOND_AUDIT if audited.is_file() else again,
        )
    if not audited.is_file():
        return
    scored = (audited.parent / read_json(audited)["manifest"]).resolve()
    if scored.is_relative_to((loop.folder / "rounds").resolve()) and not (scored / COMMIT).is_file():
        raise ConfigError(
            "is gone, though the audit was drawn from it",
            subject=str(scored.parent),
            remedy=_NO_SECOND_AUDIT,
        )


def _require_count(loop: Loop) -> None:
    """A finished round cannot be undone by a setting: the audit would be drawn from the one before it."""
    last = max((n for here in round_folders(loop.folder) if loop.finished(n := int(here.name))), default=0)
    count = loop.project.rounds.count
    if last > count and not (loop.audit / "routing" / ROUTING).is_file():
        raise ConfigError(
            f"rounds.count is {count}, but round {last} is finished: its answers would count for nothing",
            subject=loop.settings,
            remedy=f"Set rounds.count to {last} or more, or remove the folders of the later rounds.",
        )


def _require_weights(loop: Loop) -> None:
    """The first network must be the one that labelled, as long as it is in force and the audit is not drawn."""
    if (loop.audit / "routing" / ROUTING).is_file():
        return
    last = max(int(here.name) for here in round_folders(loop.folder))
    owner, weights = loop.network(last)
    if owner or (loop.round(0) / "model").is_dir():
        return
    if digest_of_weights(loop, weights) != digest_in_force(loop, 0):
        raise ConfigError(
            f"network.weights is another network than the one that labelled round 0: {weights}",
            subject=loop.settings,
            remedy="Change it back, or start a new project for the other network.",
        )


def _tell_promise(loop: Loop) -> None:
    """Once the audit is drawn, its promise stands, whatever the settings say."""
    file = loop.audit / "routing" / ROUTING
    if not file.is_file():
        return
    drawn, now = read_json(file), loop.project.promise
    if (drawn.get("max_bad"), drawn.get("confidence")) != (now.max_bad, now.confidence):
        loop.progress.note(
            f"WARNING: [promise] was changed after the audit was drawn: the certificate is about max_bad = "
            f"{drawn.get('max_bad')} and confidence = {drawn.get('confidence')}, as they were then"
        )


def _require_skeleton(loop: Loop, made: Skeleton) -> None:
    asked = asked_skeleton(loop)
    if asked is None:
        return
    try:
        asked.require_same(made, str(loop.round(0) / "predicted"))
    except SkeletonError as error:
        raise SkeletonError(
            f"corpus.skeleton is {asked.name}, but the rounds were made with {made.name}: {error.message}",
            subject=loop.settings,
            remedy="Change it back. For another skeleton start a new project; `autolabel map` brings poses over.",
        ) from None


def _require_images(noted: Iterable[_Noted], manifest: Manifest) -> None:
    gone: list[Path] = []
    altered: list[Path] = []
    for image in noted:
        if not image.bytes:  # it was not there to begin with
            continue
        file = manifest.roots[image.root] / image.path
        now = _note(image.id, image.root, image.path, file)
        if not now.bytes:
            gone.append(file)
        elif now != image and not _sha256(file).startswith(image.id):
            altered.append(file)
    if gone:
        raise InputError(f"is gone since round 0 was made{_more(gone)}", subject=str(gone[0]), remedy=_KEEPS)
    if altered:
        raise InputError(
            f"was altered since round 0 was made{_more(altered)}: its keypoints would lie on other pixels",
            subject=str(altered[0]),
            remedy=_KEEPS,
        )


def _more(files: list[Path]) -> str:
    return f", as {counted(len(files) - 1, 'other image')} of the corpus" if len(files) > 1 else ""


def _sha256(file: Path) -> str:
    with file.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def _tell_added(loop: Loop, noted: Iterable[_Noted]) -> None:
    added = sorted(_listed(loop) - {image.path for image in noted})
    if added:
        loop.progress.note(
            f"WARNING: {counted(len(added), 'image')} came into {loop.path(loop.project.corpus.images)} after round 0 "
            f"was made ({added[0]}): this project leaves them out. Start another project for them, with this one's "
            "last network as network.weights"
        )


def _listed(loop: Loop) -> set[str]:
    """Images in the project's folder; none where a manifest of boxes says what the corpus is."""
    corpus = loop.project.corpus
    folder = loop.path(corpus.images)
    if corpus.boxes or not folder.is_dir():
        return set()
    return {item.path for item in list_images(folder, others=[loop.folder]) if not isinstance(item, Quarantined)}
