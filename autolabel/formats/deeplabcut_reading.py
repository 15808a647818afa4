"""Reading labels of DeepLabCut; ``deeplabcut.py`` tells the format.

All tables are checked before anything is given out: a malformed row refuses them and is named.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from autolabel.errors import FormatError
from autolabel.formats.deeplabcut_project import LABELED_DATA, Project, find_project, folder_path
from autolabel.formats.deeplabcut_table import Row, Table, read_table
from autolabel.formats.file_skeletons import file_skeleton
from autolabel.formats.image_files import is_file
from autolabel.formats.labels import TRACK, UNKNOWN_SIZE, Labels
from autolabel.formats.records import refuse_repeated_images
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.skeleton import Skeleton


def read_dlc(src: str | Path, *, images: str | Path | None = None, skeleton: Skeleton | None = None) -> Labels:
    """Read labels of DeepLabCut.

    Poses have no visibility of their own: a keypoint with a place is visible, one without is unlabelled. The group
    of a sample is its folder, which holds the frames of one video.

    Args:
        src: A ``CollectedData_*.csv``, a folder that holds one, a project folder or its ``config.yaml``.
        images: The folder of the images: the project's, its ``labeled-data``, or the folder of a project of ours
            was made of. Without it, paths are as the table has them, and of a project of ours those of the source.
        skeleton: What the body parts are; its names must be the table's, in any order.

    Raises:
        FormatError: A table is malformed, naming line and cell; tables that differ in body parts; no tables.
        ConfigError: The library that reads ``config.yaml`` is missing.
    """
    project = find_project(src)
    tables = [read_table(table) for table in project.tables]
    # A project of ours without images has no table; its body parts are those of its skeleton.
    ours = project.skeleton
    first = tables[0] if tables or ours is None else Table(str(src), project.scorer, ("",), ours.keypoints)
    chosen = _skeleton(first, project, skeleton)
    rename = _renaming(tables, images, ours=project.skeleton is not None)
    samples: list[Sample] = []
    for table in tables:
        order = _order(table, first, chosen)
        group = _grouping(table, ours=project.skeleton is not None)
        samples.extend(_sample(table, row, order, rename(row.path), group(row.path)) for row in table.rows)
    places = [(f"line {row.line}", table.subject) for table in tables for row in table.rows]
    refuse_repeated_images(((s.path, *place) for s, place in zip(samples, places, strict=True)), "image")
    header = {"deeplabcut": {"scorer": first.scorer, "task": project.task}}
    return Labels(chosen, samples, header, (*project.notes, *_notes(tables, samples)))


def _skeleton(table: Table, project: Project, given: Skeleton | None) -> Skeleton:
    ours = project.skeleton
    if given is None and ours is not None and set(ours.keypoints) == set(table.bodyparts):
        given = ours
    index = {name: i for i, name in enumerate(table.bodyparts)}
    edges = [(index[a], index[b]) for a, b in project.edges if a in index and b in index and a != b]
    return file_skeleton(
        table.bodyparts,
        name=project.task or "deeplabcut",
        subject=table.subject,
        tool="DeepLabCut",
        given=given,
        edges=edges,
    )


def _order(table: Table, first: Table, skeleton: Skeleton) -> list[int]:
    """Where each keypoint of the skeleton stands in the table."""
    if odd := set(table.bodyparts) ^ set(first.bodyparts):
        part = min(odd)
        has = "has" if part in table.bodyparts else "lacks"
        message = f"{has} {part!r}, unlike {first.subject}"
        raise FormatError(message, record="bodyparts", subject=table.subject, remedy="Import them one by one.")
    return [table.bodyparts.index(name) for name in skeleton.keypoints]


def _renaming(tables: Sequence[Table], images: str | Path | None, *, ours: bool) -> Callable[[str], str]:
    """How the tables' paths become paths below the folder of the images: the way that leads to most of them."""
    if images is None:
        return _source if ours else _as_it_is
    folder = Path(images)
    paths = [row.path for table in tables for row in table.rows]
    best, most = _as_it_is, 0
    for way in (_as_it_is, *((_source,) if ours else ()), _below_labeled_data, _name_alone):
        found = sum(is_file(folder / way(path)) for path in paths)
        if found > most:
            best, most = way, found
        if found == len(paths):
            break
    return best


def _as_it_is(path: str) -> str:
    return path


def _below_labeled_data(path: str) -> str:
    return path.removeprefix(f"{LABELED_DATA}/")


def _source(path: str) -> str:
    """The path that a project of ours was made of; as it is where that would lead outside."""
    parts = PurePosixPath(_below_labeled_data(path)).parts
    whole = PurePosixPath(folder_path(parts[0]), *parts[1:])
    outside = whole.is_absolute() or ".." in whole.parts or "\0" in str(whole)
    return path if outside or len(parts) < 2 else whole.as_posix()


def _name_alone(path: str) -> str:
    return PurePosixPath(path).name


def _grouping(table: Table, *, ours: bool) -> Callable[[str], str]:
    """How a path tells the group: its folder, for paths without one that of the table, which is named like a video."""

    def group(path: str) -> str:
        folder = PurePosixPath(_source(path) if ours else _below_labeled_data(path)).parent.as_posix()
        alone = "" if ours else Path(table.subject).resolve().parent.name
        return alone if folder == "." else folder

    return group


def _sample(table: Table, row: Row, order: Sequence[int], path: str, group: str) -> Sample:
    values = row.values[:, order]
    present: list[int] = np.flatnonzero(~np.isnan(values[..., 0]).all(axis=1)).tolist()
    values = values[present]
    placed = ~np.isnan(values[..., 0])
    scored = ~np.isnan(values[..., 2])
    names = [table.individuals[i] for i in present]
    poses = Poses.create(
        len(order),
        xy=values[..., :2],
        score=values[..., 2],
        visibility=np.where(placed, Visibility.VISIBLE, Visibility.UNLABELLED),
        origin=np.where(placed, np.where(scored, Origin.MODEL, Origin.IMPORTED), Origin.NONE),
        attributes=[{TRACK: name} if name else {} for name in names],
    )
    return Sample("", "", path, UNKNOWN_SIZE, poses, group=group)


def _notes(tables: Sequence[Table], samples: Sequence[Sample]) -> Iterator[str]:
    if scene := sum(table.scene_points for table in tables):
        yield f"{scene:,} unique body parts left out: they are points of the scene, not of an animal."
    if zeros := sum(int((sample.poses.xy == 0).all(axis=2).sum()) for sample in samples):
        yield f"{zeros:,} keypoints lie at (0, 0): a place here, but old projects wrote it for missing ones."
    if empty := sum(not len(sample.poses) for sample in samples):
        yield f"{empty:,} images without a labelled keypoint: they come in as images without animals."
