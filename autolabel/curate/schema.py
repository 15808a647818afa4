"""The fields of a data set, stated before anything is written, and what the App's first screen shows.

FiftyOne would guess the fields from the first documents. Stated, they are there for filters and views from the start,
they have descriptions, and documents of both ways to write (:mod:`autolabel.curate.writers`) fit them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autolabel.curate.documents import BOXES, POSES, PREVIOUS, STUDENT, SUSPICION, TRUTH
from autolabel.skeleton import Skeleton

_LABELS = {"poses": "Keypoints", "boxes": "Detections"}
"""FiftyOne's names of the kinds of labels."""

COLOURS = {POSES: "#00e5ff", TRUTH: "#3ddc84", PREVIOUS: "#b0b7c3", STUDENT: "#ffb020", BOXES: "#a855f7"}
"""How fields are drawn: ours bright, what it is compared with beside it."""


@dataclass(frozen=True)
class FieldSpec:
    """A field.

    Attributes:
        path: Its place, with dots.
        kind: ``text``, ``number``, ``count``, ``flag``, ``texts``, ``numbers``, ``poses`` or ``boxes``.
        means: Its description in the App.
    """

    path: str
    kind: str
    means: str


SAMPLE_FIELDS = (
    FieldSpec("key", "text", "autolabel's name of the image in this data set"),
    FieldSpec("digest", "text", "digest of what autolabel wrote about the image"),
    FieldSpec("root", "text", "corpus root"),
    FieldSpec("path", "text", "file below the corpus root"),
    FieldSpec("group", "text", "images of one group never part when the data set is split"),
    FieldSpec("duplicate_of", "text", "the image that this one repeats"),
    FieldSpec("split", "text", "split of the data set"),
    FieldSpec("round", "count", "round of the loop"),
    FieldSpec("num_poses", "count", "poses in the image"),
    FieldSpec("p_bad", "number", "probability that its most doubtful pose is bad"),
    FieldSpec("oks", "number", "lowest OKS of its poses with the truth"),
    FieldSpec("truncated", "flag", "a keypoint of somebody lies outside the image"),
    FieldSpec("states", "texts", "where its poses stand"),
    FieldSpec("left", "flag", "no longer in the manifest; kept because somebody tagged it"),
)

_OF_ALL = (
    FieldSpec("pose_id", "text", "autolabel's id of the pose, the same in every round"),
    FieldSpec("visibility", "texts", "of each keypoint: visible, hidden, absent or unlabelled"),
    FieldSpec("origin", "texts", "what kind of hand placed each keypoint: model, human, imported"),
    FieldSpec("by", "text", "which network or person stated the pose last"),
    FieldSpec("mean_score", "number", "mean of the network's own scores"),
    FieldSpec("stated", "text", "digest of the points as autolabel wrote them"),
)

_OF_OURS = (
    FieldSpec("p_gross", "numbers", "probability that each keypoint is gross"),
    FieldSpec("presence", "numbers", "probability that each keypoint lies inside the image"),
    FieldSpec("p_bad", "number", "probability that the pose is bad"),
    FieldSpec("worst_gross", "number", "p_gross of its most doubtful keypoint"),
    FieldSpec("reasons", "texts", "why the pose is doubted"),
    FieldSpec("lint", "texts", "faults that need no truth to be suspected"),
    FieldSpec("swap", "flag", "left and right seem to have changed places"),
    FieldSpec("label_error", "flag", "a label of a person or a source that seems wrong"),
    FieldSpec("truncated", "flag", "a keypoint lies outside the image"),
    FieldSpec("state", "text", "open, or what a person said: reviewed, rejected, expert, boxed"),
    FieldSpec("decided_by", "text", "who tagged the pose"),
    FieldSpec("decided_at", "text", "when the tag was first seen"),
)

EXTRA = {
    "routed": FieldSpec("routed", "text", "where routing sends the pose: accepted, review, audit, rejected"),
    "oks": FieldSpec("oks", "number", "OKS with the truth, as autolabel measures it"),
    "ks": FieldSpec("ks", "numbers", "similarity of each keypoint with the truth, 1 where it is the same"),
    "bad": FieldSpec("bad", "flag", "bad by the truth"),
    "gross": FieldSpec("gross", "texts", "keypoints that are gross by the truth"),
    "previous_oks": FieldSpec("previous_oks", "number", "OKS with what the previous model said"),
    "student_oks": FieldSpec("student_oks", "number", "OKS with what the student says"),
    SUSPICION: FieldSpec(SUSPICION, "number", "how much audit-labels suspects the label"),
}
"""Attributes of a pose that are there when what they need was given."""


def declare(fiftyone: Any, dataset: Any, columns: Iterable[str], others: Iterable[str]) -> None:
    """State the fields of a data set that it does not have yet.

    Args:
        fiftyone: The module.
        dataset: The data set.
        columns: Names of :data:`EXTRA` that will be written.
        others: Fields of other manifests' poses that will be written.
    """
    ours = (*_OF_ALL, *_OF_OURS, *(EXTRA[name] for name in columns))
    specs = [*SAMPLE_FIELDS, FieldSpec(POSES, "poses", "poses of the manifest")]
    specs += [_below(f"{POSES}.keypoints", spec) for spec in ours]
    specs.append(FieldSpec(BOXES, "boxes", "boxes of the poses"))
    specs += [_below(f"{BOXES}.detections", spec) for spec in (_OF_ALL[0], _OF_OURS[2])]
    for name in others:
        specs.append(FieldSpec(name, "poses", f"poses of the manifest that was given as --{name}"))
        specs += [_below(f"{name}.keypoints", spec) for spec in _OF_ALL]
    state_fields(fiftyone, dataset, specs)


def state_fields(fiftyone: Any, dataset: Any, specs: Iterable[FieldSpec]) -> None:
    """State those of the fields that a data set does not have: labels first, then in one go all that lies in them."""
    have, kinds = dataset.get_field_schema(flat=True), _kinds(fiftyone)
    missing = [spec for spec in specs if spec.path not in have]
    for spec in missing:
        if spec.kind in _LABELS:
            embedded = {"embedded_doc_type": getattr(fiftyone, _LABELS[spec.kind])}
            dataset.add_sample_field(spec.path, fiftyone.EmbeddedDocumentField, description=spec.means, **embedded)
    plain = {spec.path: kinds[spec.kind](spec.means) for spec in missing if spec.kind not in _LABELS}
    if plain:
        dataset.add_dynamic_sample_fields(plain)


def show(fiftyone: Any, dataset: Any, skeleton: Skeleton, others: Sequence[str]) -> None:
    """Set up the first screen of a data set of images.

    Args:
        fiftyone: The module.
        dataset: The data set.
        skeleton: Of its poses.
        others: Fields of other manifests' poses.
    """
    groups = {
        "tags": list[str](),
        "doubt": ["p_bad", "oks", "num_poses", "states", "truncated"],
        "poses": [POSES, BOXES, *others],
        "image": ["path", "split", "round", "group", "duplicate_of", "left"],
    }
    set_up(fiftyone, dataset, skeleton, [POSES, BOXES, *others], groups, ticked=[POSES, "p_bad"])


def set_up(
    fiftyone: Any,
    dataset: Any,
    skeleton: Skeleton,
    drawn: Sequence[str],
    groups: Mapping[str, list[str]],
    *,
    ticked: Sequence[str],
) -> None:
    """Set the skeleton, the colours, the groups of the sidebar, and which fields are drawn at first.

    Args:
        fiftyone: The module.
        dataset: The data set.
        skeleton: Of its poses.
        drawn: Fields of labels.
        groups: Of the sidebar, what is asked first on top; all other fields come below.
        ticked: What is drawn at first.
    """
    stored = fiftyone.core.odm.dataset
    limbs = fiftyone.KeypointSkeleton(labels=list(skeleton.keypoints), edges=[list(edge) for edge in skeleton.edges])
    dataset.default_skeleton = limbs
    dataset.skeletons = {name: limbs for name in drawn if name != BOXES}
    config = dataset.app_config
    config.color_scheme = fiftyone.ColorScheme(
        color_by="field",
        show_skeletons=True,
        multicolor_keypoints=False,
        fields=[{"path": path, "fieldColor": COLOURS[path]} for path in drawn],
    )
    config.sidebar_groups = [
        stored.SidebarGroupDocument(name=name, paths=paths, expanded=name in groups)
        for name, paths in _with_the_rest(groups, dataset.get_field_schema()).items()
    ]
    config.active_fields = stored.ActiveFields(exclude=False, paths=list(ticked))
    dataset.save()


def _with_the_rest(groups: Mapping[str, list[str]], schema: Mapping[str, Any]) -> dict[str, list[str]]:
    """The sidebar's groups with every field once."""
    more = {**groups, "metadata": ["id", "filepath", "metadata", "created_at", "last_modified_at"]}
    placed = {path for paths in more.values() for path in paths} | {"tags"}
    rest = [path for path in schema if path not in placed and not path.startswith("_")]
    return {**{name: [path for path in paths if path in schema] for name, paths in more.items()}, "other": rest}


def _below(path: str, spec: FieldSpec) -> FieldSpec:
    return FieldSpec(f"{path}.{spec.path}", spec.kind, spec.means)


def _kinds(fiftyone: Any) -> Mapping[str, Callable[[str], Any]]:
    """Makes a field, of its description, by the kind of what it holds."""

    def several(of: Any) -> Callable[[str], Any]:
        return lambda means: fiftyone.ListField(of(), description=means)

    return {
        "text": lambda means: fiftyone.StringField(description=means),
        "number": lambda means: fiftyone.FloatField(description=means),
        "count": lambda means: fiftyone.IntField(description=means),
        "flag": lambda means: fiftyone.BooleanField(description=means),
        "texts": several(fiftyone.StringField),
        "numbers": several(fiftyone.FloatField),
    }
