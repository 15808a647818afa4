"""What each format keeps, found out by writing and reading back; ``docs/formats.md`` shows the table.

For every :class:`Aspect` there is one example that says it, and a view of what it says. A format keeps the aspect if
the view of what comes back equals the view of what went in. Run as a program, it writes the table into a page, or
checks that it stands there::

    python -m tests.autolabel.formats.kept [--check] docs/formats.md
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from autolabel.formats import coco_results, csv_table, deeplabcut, labelstudio, sleap, yolo_pose
from autolabel.formats.coco import read_coco, write_coco
from autolabel.formats.labels import Aspect, Labels, Written
from autolabel.formats.policy import ImagePolicy
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.skeleton import DEFAULT_SIGMA, Skeleton

BEGIN, END = "<!-- kept: begin -->\n", "<!-- kept: end -->\n"
SIZE = (64, 48)
NAMES = ("paw", "claw", "beak")  # names that tell no sides
PLAIN = Skeleton("plain", NAMES, (), (0, 1, 2), (DEFAULT_SIGMA,) * 3, "none")

View = Callable[[Skeleton, Sequence[Sample]], Any]
"""What is said, as values that can be compared."""


@dataclass(frozen=True)
class Example:
    """Samples that say something, and the view of it."""

    samples: Sequence[Sample]
    view: View
    skeleton: Skeleton = PLAIN


@dataclass(frozen=True)
class Format:
    """A format's way out and back. The folder is new; it holds the images below ``images``."""

    write: Callable[[Path, Sequence[Sample], Skeleton], Written]
    read: Callable[[Path], Labels]
    cannot: frozenset[Aspect]


# Examples


def poses(**given: Any) -> Poses:
    """Two poses with boxes, all keypoints visible, unless told otherwise."""
    base = {
        "xy": [[[10, 11], [12, 30], [20, 21]], [[40, 11], [42, 30], [50, 21]]],
        "visibility": [[2, 2, 2]] * 2,
        "box": [[8, 8, 24, 40], [36, 8, 56, 40]],
        "origin": [[Origin.IMPORTED] * 3] * 2,
    }
    return Poses.create(3, **{**base, **given})


def sample(own: Poses | None = None, name: str = "a.png", **given: Any) -> Sample:
    number = 1 + "ab".index(name[0])
    attributes = {"coco": {"id": number}, **given.pop("attributes", {})}
    return Sample("", "images", name, SIZE, poses() if own is None else own, attributes=attributes, **given)


def of_poses(field: str) -> View:
    """One field of all poses; numbers by their bits."""

    def view(_: Skeleton, samples: Sequence[Sample]) -> Any:
        arrays = [getattr(s.poses, field) for s in samples]
        return [array.tolist() if array.dtype == object else array.tobytes() for array in arrays]

    return view


def where(state: Visibility) -> View:
    return lambda _, samples: [(s.poses.visibility == state).tolist() for s in samples]


def of_samples(field: str) -> View:
    return lambda _, samples: [getattr(s, field) for s in samples]


def own_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name == "note"}


def places_beside(_: Skeleton, samples: Sequence[Sample]) -> Any:
    return [(s.poses.labelled[:, 2].tolist(), s.poses.xy[:, 2].tobytes()) for s in samples]


HALF = np.float32(1) / np.float32(3)
EXAMPLES: Mapping[Aspect, Example] = {
    Aspect.COORDINATES: Example(
        [sample(poses(xy=np.linspace(9.1, 47.3, 12, dtype=np.float32).reshape(2, 3, 2)))], of_poses("xy")
    ),
    Aspect.HIDDEN: Example([sample(poses(visibility=[[1, 2, 2], [2, 2, 1]]))], where(Visibility.HIDDEN)),
    Aspect.ABSENT: Example([sample(poses(visibility=[[2, 2, 3], [2, 2, 0]]))], where(Visibility.ABSENT)),
    Aspect.PLACE: Example([sample(poses(visibility=[[2, 2, 0], [2, 2, 3]]))], places_beside),
    Aspect.SCORE: Example([sample(poses(score=[[0.5, HALF, 0.25], [1, 0.75, HALF]]))], of_poses("score")),
    Aspect.PRESENCE: Example([sample(poses(presence=[[0.5, HALF, 0.25]] * 2))], of_poses("presence")),
    Aspect.BOX: Example([sample(poses(box=[[7.1, 8, 24.3, 40], [36, 8.7, 57.9, 40]]))], of_poses("box")),
    # With keypoint scores so low that an instance score made of them and the box's holds no trace of the box's.
    Aspect.BOX_SCORE: Example(
        [sample(poses(box_score=[HALF, 0.5], score=np.full((2, 3), 0.1)))], of_poses("box_score")
    ),
    Aspect.AREA: Example([sample(poses(area=[123.4, 222]))], of_poses("area")),
    Aspect.CROWD: Example([sample(poses(crowd=[False, True]))], of_poses("crowd")),
    Aspect.DOUBT: Example(
        [sample(poses(p_bad=[HALF, 0.5], p_gross=[[HALF, 0, 1]] * 2))],
        lambda k, s: (of_poses("p_bad")(k, s), of_poses("p_gross")(k, s)),
    ),
    Aspect.ORIGIN: Example([sample(poses(origin=[[1, 2, 3]] * 2))], of_poses("origin")),
    Aspect.BY: Example([sample(poses(by=["anna", "model-1"]))], of_poses("by")),
    Aspect.POSE_ID: Example([sample(poses(id=["p1", "p2"]))], of_poses("id")),
    Aspect.POSE_GROUP: Example([sample(poses(group=["twins", "twins"]))], of_poses("group")),
    Aspect.ATTRIBUTES: Example(
        [sample(poses(attributes=[{"note": False}, {"note": 0}]))],  # answers all the same
        lambda _, samples: [[own_attributes(a) for a in s.poses.attributes] for s in samples],
    ),
    Aspect.UNLABELLED: Example(
        [sample(poses(xy=[[[np.nan] * 2] * 3, [[40, 11], [42, 30], [50, 21]]], visibility=[[0] * 3, [2] * 3]))],
        lambda _, samples: [len(s.poses) for s in samples],
    ),
    Aspect.EMPTY: Example(
        [sample(), sample(Poses.empty(3), "b.png")], lambda _, samples: [len(s.poses) for s in samples]
    ),
    Aspect.IMAGE_ID: Example([sample()], of_samples("id")),
    Aspect.GROUP: Example([sample(group="film 3")], of_samples("group")),
    Aspect.DUPLICATE: Example([sample(), sample(name="b.png", duplicate_of="a.png")], of_samples("duplicate_of")),
    Aspect.IMAGE_ATTRIBUTES: Example(
        [sample(attributes={"note": 0})], lambda _, samples: [own_attributes(s.attributes) for s in samples]
    ),
    Aspect.EDGES: Example([sample()], lambda skeleton, _: skeleton.edges, replace(PLAIN, edges=((0, 2), (1, 2)))),
    Aspect.FLIP: Example([sample()], lambda skeleton, _: skeleton.flip, replace(PLAIN, flip=(1, 0, 2), colors=())),
    Aspect.OUTSIDE: Example(
        [sample(poses(xy=[[[10, 11], [-3, 30], [20, 21]], [[40, 11], [42, 30], [50, 90]]]))], of_poses("xy")
    ),
    Aspect.BOXLESS: Example([sample(poses(box=[[np.nan] * 4, [36, 8, 56, 40]]))], of_poses("box")),
    Aspect.SIGMAS: Example([sample()], lambda skeleton, _: skeleton.sigmas, replace(PLAIN, sigmas=(0.1, 0.2, 0.3))),
}
EXAMPLES = {**EXAMPLES, Aspect.IMAGE_ID: Example([replace(sample(), id="0" * 32)], of_samples("id"))}

# Formats


def _listing(folder: Path) -> Path:
    """A COCO file that says nothing but which images there are, and which keypoints."""
    names = sorted(path.name for path in (folder / "images").iterdir())
    listed = [{"id": i, "file_name": name, "width": 64, "height": 48} for i, name in enumerate(names, start=1)]
    content = {"images": listed, "annotations": [], "categories": [{"id": 1, "name": "x", "keypoints": list(NAMES)}]}
    (folder / "listing.json").write_text(json.dumps(content))
    return folder / "listing.json"


FORMATS: Mapping[str, Format] = {
    "coco": Format(
        lambda folder, samples, skeleton: write_coco(folder / "x.json", samples, skeleton, policy=ImagePolicy.ALL),
        lambda folder: read_coco(folder / "x.json"),
        frozenset(),
    ),
    "coco-results": Format(
        lambda folder, samples, skeleton: coco_results.write_coco_results(
            folder / "x.json", samples, skeleton, policy=ImagePolicy.ALL
        ),
        lambda folder: coco_results.read_coco_results(folder / "x.json", _listing(folder)),
        coco_results.CANNOT,
    ),
    "csv": Format(
        lambda folder, samples, skeleton: csv_table.write_csv(
            folder / "x.csv", samples, skeleton, policy=ImagePolicy.ALL
        ),
        lambda folder: csv_table.read_csv(folder / "x.csv"),
        csv_table.CANNOT,
    ),
    "labelstudio": Format(
        lambda folder, samples, skeleton: labelstudio.write_labelstudio(
            folder / "x", samples, skeleton, policy=ImagePolicy.ALL
        ),
        lambda folder: labelstudio.read_labelstudio(folder / "x", folder / "images"),
        labelstudio.CANNOT,
    ),
    "yolo-pose": Format(
        lambda folder, samples, skeleton: yolo_pose.write_yolo_pose(
            folder / "x",
            samples,
            skeleton,
            image_path=lambda sample: folder / "images" / sample.path,
            policy=ImagePolicy.ALL,
        ),
        lambda folder: yolo_pose.read_yolo_pose(folder / "x", folder / "x"),
        yolo_pose.CANNOT,
    ),
    "dlc": Format(
        lambda folder, samples, skeleton: deeplabcut.write_dlc(folder / "x", samples, skeleton, policy=ImagePolicy.ALL),
        lambda folder: deeplabcut.read_dlc(folder / "x"),
        deeplabcut.CANNOT,
    ),
    "sleap": Format(
        lambda folder, samples, skeleton: sleap.write_sleap(
            folder / "x.slp", samples, skeleton, policy=ImagePolicy.ALL
        ),
        lambda folder: sleap.read_sleap(folder / "x.slp"),
        sleap.CANNOT,
    ),
}


# The table


@dataclass(frozen=True)
class Outcome:
    """Whether an aspect came back, and whether the writer said that it would not."""

    kept: bool
    said: bool


def round_trip(format: Format, aspect: Aspect, folder: Path) -> Outcome:
    """Write the aspect's example and read it back."""
    example = EXAMPLES[aspect]
    (folder / "images").mkdir(parents=True)
    for each in example.samples:
        Image.new("RGB", SIZE, "teal").save(folder / "images" / each.path)
    written = format.write(folder, example.samples, example.skeleton)
    back = format.read(folder)
    wanted = example.view(example.skeleton, example.samples)
    found = example.view(back.skeleton, back.samples)
    return Outcome(found == wanted, aspect in written.lost)


@cache
def outcome(format: str, aspect: Aspect) -> Outcome:
    """What becomes of an aspect in a format, tried once a process: opening SLEAP files takes a while."""
    with tempfile.TemporaryDirectory() as folder:
        return round_trip(FORMATS[format], aspect, Path(folder))


def table() -> str:
    """What every format keeps, in Markdown."""
    rows = [(aspect, [outcome(format, aspect) for format in FORMATS]) for aspect in Aspect]
    lines = [f"| | {' | '.join(FORMATS)} |", f"|---|{'---|' * len(FORMATS)}"]
    lines += [
        f"| {aspect.value} | {' | '.join('yes' if o.kept else '–' for o in outcomes)} |" for aspect, outcomes in rows
    ]
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the table of what formats keep into a page.")
    parser.add_argument("page", type=Path)
    parser.add_argument("--check", action="store_true", help="Only tell whether it stands there.")
    given = parser.parse_args(argv)
    page = given.page.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    made = f"{before}{BEGIN}{table()}{END}{rest.split(END)[1]}"
    if not given.check:
        given.page.write_text(made, encoding="utf-8")
    elif made != page:
        sys.stderr.write(f"{given.page} is out of date: run `make docs`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
