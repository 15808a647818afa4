"""Writing a table of poses; ``csv_table.py`` tells the columns."""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autolabel.errors import FormatError
from autolabel.formats.coco_writing import shortest
from autolabel.formats.csv_header import IMAGE_COLUMNS, PARTS, POSE_COLUMNS
from autolabel.formats.json_text import json_text
from autolabel.formats.labels import Aspect, Tally, Written, path_below_root
from autolabel.formats.output import new_file
from autolabel.formats.policy import ImagePolicy
from autolabel.poses import Origin, Pose, Sample, Visibility
from autolabel.progress import SILENT, Progress
from autolabel.skeleton import Skeleton

CANNOT = frozenset({Aspect.EDGES, Aspect.FLIP, Aspect.SIGMAS})
"""What the table cannot hold; ``--skeleton`` gives it back."""


def write_csv(
    path: str | Path,
    samples: Iterable[Sample],
    skeleton: Skeleton,
    *,
    policy: ImagePolicy = ImagePolicy.COMPLETE,
    file_name: Callable[[Sample], str] | None = None,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Written:
    """Write poses as a table.

    Args:
        path: The CSV file.
        samples: Streamed.
        skeleton: Of all poses.
        policy: What to do with images of which some people are not settled.
        file_name: Gives the ``image`` of a sample; its path below its root by default.
        overwrite: Replace a file that stands already.
        progress: Where to report.

    Raises:
        ExistsError: The file stands already.
        FormatError: An attribute that JSON cannot hold, or a text that UTF-8 cannot.
    """
    tally = Tally(CANNOT)
    tally.skeleton(skeleton)
    with new_file(path, overwrite=overwrite, newline="") as out:
        table = csv.writer(out)  # RFC 4180's line ends, so that every cell with a CR or LF is quoted
        keypoints = [f"{name}.{part}" for name in skeleton.keypoints for part in PARTS]
        table.writerow([*IMAGE_COLUMNS, *POSE_COLUMNS, *keypoints])
        name_of = file_name or path_below_root
        for sample in tally.samples(samples, policy, progress):
            try:
                table.writerows(_written(sample, name_of(sample)))
            except (csv.Error, UnicodeEncodeError) as error:
                raise FormatError(f"cannot be written as CSV: {error}", record=ascii(sample.path)[:80]) from error
    return tally.written()


def _written(sample: Sample, name: str) -> list[list[Any]]:
    image = [name, *sample.size, sample.id, sample.group, sample.duplicate_of, _attributes(sample.attributes)]
    nothing = [""] * (len(POSE_COLUMNS) + len(PARTS) * sample.poses.num_keypoints)
    return [[*image, *_cells(pose)] for pose in map(sample.poses.__getitem__, range(len(sample.poses)))] or [
        [*image, *nothing]
    ]


def _cells(pose: Pose) -> list[Any]:
    numbers = {part: _blank(shortest(values)) for part, values in (
        ("x", pose.xy[:, 0]), ("y", pose.xy[:, 1]), ("score", pose.score),
        ("presence", pose.presence), ("p_gross", pose.p_gross),
    )}  # fmt: skip
    words = {
        "visibility": [Visibility(v).name.lower() for v in pose.visibility.tolist()],
        "origin": [Origin(v).name.lower() for v in pose.origin.tolist()],
    }
    by_keypoint = zip(*({**numbers, **words}[part] for part in PARTS), strict=True)
    single = _blank(shortest(np.array([pose.box_score, pose.p_bad], np.float32)))
    return [
        *(pose.id, pose.by, pose.group),
        *_blank([None if np.isnan(edge) else repr(float(edge)) for edge in pose.box]),
        single[0],
        "" if np.isnan(pose.area) else repr(float(pose.area)),
        "yes" if pose.crowd else "no",
        single[1],
        _attributes(pose.attributes),
        *(cell for cells in by_keypoint for cell in cells),
    ]


def _blank(values: Sequence[Any]) -> list[Any]:
    return ["" if value is None else value for value in values]


def _attributes(attributes: Mapping[str, Any]) -> str:
    return json_text(attributes) if attributes else ""
