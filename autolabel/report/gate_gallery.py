"""Pictures of the poses that a new network changed most: joints that it fixed against joints that it broke."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from autolabel.errors import ImageError
from autolabel.formats.records import Record, read_json
from autolabel.images import read_image
from autolabel.manifest import COMMIT, Manifest
from autolabel.poses import Poses, Sample
from autolabel.report.gallery import PER_SHELF, SIDE, Shelf, Shot, as_jpeg
from autolabel.report.overlay import draw_poses, pose_view
from autolabel.skeleton import Skeleton

GATE = "gate.json"


def gate_shelf(here: Path) -> Shelf | None:
    """The poses that changed most at a round's gate; None where nothing was compared.

    Images that cannot be read any more are left out.

    Args:
        here: The round's folder.

    Raises:
        FormatError: ``gate.json`` is malformed.
    """
    file, predicted = here / GATE, here / "gate" / "predicted"
    if not file.is_file() or not (predicted / COMMIT).is_file():
        return None
    record, manifest = Record(read_json(file), "", str(file)), Manifest.open(predicted)
    changed = {change.text("pose"): change for change in record.records("changed")} if "changed" in record.data else {}
    order = {pose: i for i, pose in enumerate(changed)}
    found = [
        (order[pose], sample, row)
        for sample in manifest
        for row, pose in enumerate(sample.poses.id.tolist())
        if pose in changed
    ]
    found.sort(key=lambda entry: entry[0])
    known = ((sample, sample.poses.take([row])) for _, sample, row in found)
    shots = tuple(_shots(manifest, known, changed))
    if not shots:
        return None
    number = int(here.name)
    return Shelf(
        f"Changed by the network of round {number}",
        f"The gate poses whose OKS changed most; the network was {record.text('decision')}. Shown is the new network's "
        "pose; lines lead from where the old one put a joint. Rings: joints that it broke.",
        shots,
    )


def _shots(manifest: Manifest, poses: Iterator[tuple[Sample, Poses]], changed: dict[str, Record]) -> Iterator[Shot]:
    left = PER_SHELF
    for sample, pose in poses:
        try:
            image = read_image(manifest.image_path(sample))
        except ImageError:
            continue  # a report must not fail because some images have been moved away
        change = changed[str(pose.id[0])]
        fixed, broken = ([str(name) for name in change.items(field)] for field in ("fixed", "broken"))
        view = pose_view(pose, (image.shape[1], image.shape[0]), SIDE)
        drawn = draw_poses(
            image,
            pose,
            manifest.skeleton,
            view=view,
            marked=np.isin(manifest.skeleton.keypoints, broken)[None],
            before=_old(change, manifest.skeleton),
        )
        yield Shot(as_jpeg(drawn), _caption(change, fixed, broken), sample.path)
        left -= 1
        if not left:
            return


def _old(change: Record, skeleton: Skeleton) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """(1, K, 2) where the old network saw the joints, NaN where it saw none."""
    places = change.items("old_xy", skeleton.num_keypoints)
    return np.array([[[np.nan if v is None else v for v in xy] for xy in places]], np.float32)


def _caption(change: Record, fixed: list[str], broken: list[str]) -> str:
    parts = [f"OKS {change.number('old_oks'):.2f} to {change.number('oks'):.2f}"]
    for word, names in (("fixed", fixed), ("broken", broken)):
        if names:
            more = f" and {len(names) - 3} more" if names[3:] else ""
            parts.append(f"{word}: {', '.join(name.replace('_', ' ') for name in names[:3])}{more}")
    return " · ".join(parts)
