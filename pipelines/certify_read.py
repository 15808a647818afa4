"""Reading a routing for its certificate: the promise, the frozen sets, and what was drawn from them.

Nothing in the folder is taken on trust where it can be checked: the manifest must be the one that was routed, every
nested set must still have the digest that routing noted, and every list must be the file that routing wrote.
"""

from dataclasses import dataclass
from pathlib import Path

from autolabel.certificate import Delta
from autolabel.errors import FormatError, InputError
from autolabel.formats.records import Record, json_line, read_json
from autolabel.manifest import Manifest
from pipelines.audit_chain import ROUTING, STANDS
from pipelines.routing_seal import require_plants, require_unedited

PUT_BACK = "Put back what was routed and drawn: the audit proves something about that alone."

ACCEPTED, AUDIT, BLIND = "accepted.txt", "audit.txt", "blind.txt"
KEYPOINTS, IMAGES, PLANTS = "keypoints.jsonl", "images.jsonl", "plants.jsonl"

SampleKey = tuple[str, str, str]


@dataclass(frozen=True)
class Step:
    """One of the nested sets: the first ``size`` accepted poses, which had this digest when they were frozen."""

    size: int
    digest: str


@dataclass(frozen=True)
class ImageStep:
    """The images that are complete with one of the nested sets, or without any: how many, and of which digest.

    Attributes:
        population: How many the drawn ones were drawn from.
        digest: Of these, "" where routing noted none.
        drawn: Those of the drawn ones that are among them.
    """

    population: int
    digest: str
    drawn: tuple[SampleKey, ...]


@dataclass(frozen=True)
class Routing:
    """What routing froze and drew.

    Attributes:
        folder: Of the routing.
        digest: Of the routing.
        manifest: What was routed.
        max_bad: The promise.
        confidence: Of the promise.
        delta: How it is spent.
        steps: Nested sets from strict to loose, one at least.
        accepted: Ids of the accepted poses, strict first.
        audit: Ids of the audited ones.
        blind: Ids of those of them that are placed without a pre-label too.
        plants: Ids of the planted poses.
        synthetic: How many of them were made up.
        keypoints: Untouched keypoints that were drawn, as pose id and name.
        num_keypoints: How many they were drawn from.
        keypoints_digest: Of these, "" where routing noted none.
        images: Whole images that were drawn.
        images_at: Those of them that are complete without an accepted pose, and then with each step. The drawn ones
            among them are a uniform draw from them, given their number.
        after: Digest of the routing whose audit failed before, or "".
    """

    folder: Path
    digest: str
    manifest: Manifest
    max_bad: float
    confidence: float
    delta: Delta
    steps: tuple[Step, ...]
    accepted: tuple[str, ...]
    audit: tuple[str, ...]
    blind: tuple[str, ...]
    plants: tuple[str, ...]
    synthetic: int
    keypoints: tuple[tuple[str, str], ...]
    num_keypoints: int
    keypoints_digest: str
    images: tuple[SampleKey, ...]
    images_at: tuple[ImageStep, ...]
    after: str = ""


def read_routing(folder: Path) -> Routing:
    """Read a routing's folder; lists that are not there are empty.

    Raises:
        InputError: There is no routing, its manifest has changed, or its lists were edited or contradict each other.
        FormatError: A file is malformed.
    """
    file = folder / ROUTING
    if not file.is_file():
        raise InputError(
            "there is no such file", subject=str(file), remedy="Give the folder that `autolabel route` wrote."
        )
    record = Record(read_json(file), "", str(file))
    manifest = Manifest.open(folder / record.text("manifest"))
    if record.text("manifest_digest") != manifest.digest:
        raise InputError(
            f"was made from another version of {manifest.path}",
            subject=str(folder),
            remedy=f"{PUT_BACK} If this audit was judged: {STANDS}",
        )
    require_unedited(record.data, folder)
    require_plants(record.data, folder)
    accepted = _ids(folder / ACCEPTED)
    plants, images = _lines(folder / PLANTS), _lines(folder / IMAGES)
    steps = _steps(record, len(accepted))
    routing = Routing(
        folder=folder,
        digest=record.text("digest"),
        manifest=manifest,
        max_bad=_share(record, "max_bad"),
        confidence=_share(record, "confidence"),
        delta=_delta(record),
        steps=steps,
        accepted=accepted,
        audit=_ids(folder / AUDIT),
        blind=_ids(folder / BLIND) if (folder / BLIND).exists() else (),
        plants=tuple(line.text("pose") for line in plants),
        synthetic=sum(line.require("synthetic") is True for line in plants),
        keypoints=tuple((line.text("pose"), line.text("keypoint")) for line in _lines(folder / KEYPOINTS)),
        num_keypoints=_drawn_from(record, "keypoints"),
        keypoints_digest=_digest(record.record("keypoints")),
        images=tuple(sample_key(line) for line in images),
        images_at=_images_at(record.record("images"), images, len(steps) if accepted else 0),
        after=record.text("after", ""),
    )
    _require_consistent(routing, record)
    return routing


def sample_key(line: Record) -> SampleKey:
    """The sample (id, root, path) that a line names."""
    a, b, c = (str(part) for part in line.items("sample", 3))
    return a, b, c


def _share(record: Record, name: str) -> float:
    share = record.number(name)
    if not 0 < share < 1:
        record.fail(name, f"is {share:g}, expected a number between 0 and 1")
    return share


def _delta(record: Record) -> Delta:
    whole = 1 - _share(record, "confidence")
    parts = record.record("delta")
    try:
        return Delta(
            total=whole,
            this_audit=parts.number("this_audit", whole),
            reviewers=parts.number("reviewers", 0.0),
            attempt=int(record.number("attempt", 1)),
            attempts=int(record.number("attempts", 1)),
        )
    except InputError as error:
        record.fail("delta", error.message)


def _steps(record: Record, accepted: int) -> tuple[Step, ...]:
    """The nested sets; before there were several, and where nothing is accepted, there is one."""
    steps = record.items("steps") if "steps" in record.data else []
    whole = Step(accepted, record.text("population_digest"))
    if not steps:
        return (whole,)
    made = tuple(Step(step.size("size"), step.text("population_digest")) for step in record.records("steps"))
    if made[-1] != whole:
        record.fail("steps", f"end with another set than the {accepted} poses of {ACCEPTED}", PUT_BACK)
    return made


def _images_at(record: Record, lines: list[Record], steps: int) -> tuple[ImageStep, ...]:
    """Before it was noted with which step an image is complete, it was known for the loosest alone."""
    whole = int(record.number("population", 0))
    if "settled" not in record.data:
        every = ImageStep(whole, "", tuple(sample_key(line) for line in lines))
        return (*[ImageStep(0, "", ())] * steps, every)
    noted = [record.record("settled"), *record.records("steps")]
    need = [line.number("step") for line in lines]
    if len(noted) != steps + 1:
        record.fail("steps", f"are {len(noted) - 1}, but there are {steps} nested sets")
    made = tuple(
        ImageStep(
            int(part.number("population")),
            _digest(part),
            tuple(sample_key(line) for line, at in zip(lines, need, strict=True) if at <= step),
        )
        for step, part in enumerate(noted, start=-1)
    )
    sizes = [part.population for part in made]
    if sizes != sorted(sizes) or made[-1] != ImageStep(whole, made[-1].digest, tuple(map(sample_key, lines))):
        record.fail("steps", f"do not grow to the {whole} images, and {len(lines)} drawn ones, that there are")
    if any(len(part.drawn) > part.population for part in made):
        record.fail("steps", "hold fewer images than were drawn from them")
    return made


def _digest(record: Record) -> str:
    return record.text("digest", "")


def _drawn_from(record: Record, draw: str) -> int:
    return int(record.record(draw).number("population", 0))


def _require_consistent(routing: Routing, record: Record) -> None:
    lists = (
        (AUDIT, routing.audit, set(routing.accepted), "audited poses are not accepted ones"),
        (BLIND, routing.blind, set(routing.audit), "blind tasks are of poses that are not audited"),
    )
    for name, ids, allowed, what in lists:
        if strangers := sorted(set(ids) - allowed):
            raise InputError(
                f"{len(strangers)} {what}, such as {strangers[0]}",
                subject=str(routing.folder / name),
                remedy=PUT_BACK,
            )
    for name, items in (("keypoints", routing.keypoints), ("images", routing.images)):
        drawn = record.record(name).number("drawn", 0)
        if len(set(items)) != drawn or len(items) != drawn:
            record.fail(name, f"{drawn:g} were drawn, and {name}.jsonl lists {len(set(items))} different ones")
    if len(set(routing.plants)) < len(routing.plants):
        raise FormatError("names a pose twice", subject=str(routing.folder / PLANTS))
    if (routing.plants or routing.blind) and not routing.delta.reviewers:
        record.fail("delta", "leaves nothing to the reviewers, who are tested")


def _lines(file: Path) -> list[Record]:
    """The objects of a JSON-lines file; none where it is not there."""
    if not file.exists():
        return []
    lines = file.read_bytes().split(b"\n")
    return [json_line(line, number, str(file)) for number, line in enumerate(lines, start=1) if line]


def _ids(file: Path) -> tuple[str, ...]:
    """The pose ids of a list, one a line."""
    try:
        ids = tuple(file.read_text(encoding="utf-8").split())
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror}", subject=str(file)) from error
    if len(set(ids)) < len(ids):
        raise FormatError("names a pose twice", subject=str(file))
    return ids
