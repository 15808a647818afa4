"""Where things are in a DeepLabCut project, and what its ``config.yaml`` says; ``deeplabcut.py`` tells the format."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

from autolabel.errors import FormatError
from autolabel.formats.file_skeletons import our_skeleton
from autolabel.formats.records import Record, read_json
from autolabel.formats.yaml_files import read_yaml
from autolabel.skeleton import Skeleton

LABELED_DATA = "labeled-data"
CONFIG = "config.yaml"
OURS = "autolabel.json"
"""Says that we wrote the project, and in which skeleton."""

ROOT_FOLDER = "_"
"""What the folder of images is called that have none."""

_TABLES = "CollectedData_*.csv"


@dataclass(frozen=True)
class Project:
    """The tables of a project, or some of them, and what stands beside them.

    Attributes:
        tables: The CSV files, by folder; none in a project of ours without images.
        task: What the project is called, or "".
        scorer: Who labelled, as ``config.yaml`` has it, or "".
        edges: Pairs of body parts, as ``config.yaml`` names them.
        skeleton: Ours, where we wrote the project.
        notes: What was passed over, a sentence each.
    """

    tables: tuple[Path, ...]
    task: str = ""
    scorer: str = ""
    edges: tuple[tuple[str, str], ...] = ()
    skeleton: Skeleton | None = None
    notes: tuple[str, ...] = ()


def find_project(src: str | Path) -> Project:
    """The tables that ``src`` means.

    Args:
        src: A CSV file, a folder of ``labeled-data``, a project folder or its ``config.yaml``.

    Raises:
        FormatError: There is none, it is unclear which, or what stands beside it is damaged.
    """
    src = Path(src)
    if src.name == CONFIG and src.is_file():
        src = src.parent
    if src.is_dir():
        return _of_folder(src)
    if src.suffix.lower() in (".h5", ".hdf5"):
        raise FormatError("is HDF5 with pickled objects, which are not read", subject=str(src), remedy=_beside(src))
    if not src.is_file():
        raise FormatError("does not exist", subject=str(src))
    return _project((src,), _top(src.resolve().parent))


def folder_name(parent: str) -> str:
    """The one folder name that stands for a path of folders; :func:`folder_path` gives the path back."""
    if not parent:
        return ROOT_FOLDER
    return "%5F" if parent == ROOT_FOLDER else parent.replace("%", "%25").replace("/", "%2F")


def folder_path(name: str) -> str:
    """The path of folders that a folder name of ours stands for."""
    return "" if name == ROOT_FOLDER else unquote(name, errors="surrogateescape")


def _of_folder(folder: Path) -> Project:
    labeled = folder if folder.name == LABELED_DATA else folder / LABELED_DATA
    if not labeled.is_dir():
        table = _table(folder, None)
        if table is None:
            remedy = "Give a CollectedData_*.csv, the folder that holds it, or the project's folder."
            raise FormatError(f"holds neither {_TABLES} nor {LABELED_DATA}", subject=str(folder), remedy=remedy)
        return _project((table,), _top(folder.resolve()))
    top = labeled.resolve().parent
    config = _config(top / CONFIG)
    found = {sub: _table(sub, config.get("scorer")) for sub in sorted(labeled.iterdir()) if sub.is_dir()}
    tables = tuple(table for table in found.values() if table is not None)
    if not tables and not (top / OURS).is_file():
        raise FormatError(f"no folder in it holds {_TABLES}", subject=str(labeled))
    bare = [sub.name for sub, table in found.items() if table is None and not sub.name.endswith("_labeled")]
    notes = (f"{len(bare):,} folders without labels left out, such as {bare[0]}.",) if bare else ()
    return _project(tables, top, config, notes)


def _top(folder: Path) -> Path:
    """The project's folder, above one of its folders of labels; that folder itself where it stands alone."""
    return folder.parent.parent if folder.parent.name == LABELED_DATA else folder


def _table(folder: Path, scorer: object) -> Path | None:
    """The table of one folder: the project's scorer's, or the only one."""
    tables = sorted(folder.glob(_TABLES))
    own = folder / f"CollectedData_{scorer}.csv"
    if own in tables:
        return own
    if len(tables) > 1:
        names = ", ".join(table.name for table in tables)
        raise FormatError(f"holds several tables: {names}", subject=str(folder), remedy="Give one of them.")
    if not tables and any(folder.glob("CollectedData_*.h5")):
        remedy = _beside(folder / "CollectedData.h5")
        raise FormatError("holds labels only as HDF5 with pickled objects", subject=str(folder), remedy=remedy)
    return tables[0] if tables else None


def _project(
    tables: tuple[Path, ...], top: Path, config: dict[str, Any] | None = None, notes: tuple[str, ...] = ()
) -> Project:
    """The tables with what ``config.yaml`` and our own file say."""
    config = _config(top / CONFIG) if config is None else config
    task, scorer = (value if isinstance(value := config.get(name), str) else "" for name in ("Task", "scorer"))
    return Project(
        tables,
        task=task,
        scorer=scorer,
        edges=_edges(config, top / CONFIG),
        skeleton=_our_skeleton(top / OURS),
        notes=notes,
    )


def _config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    config: object = read_yaml(path)
    if not isinstance(config, dict):
        raise FormatError("is not a mapping of names to values", subject=str(path))
    return cast("dict[str, Any]", config)


def _edges(config: dict[str, Any], path: Path) -> tuple[tuple[str, str], ...]:
    skeleton: object = config.get("skeleton") or []
    if not isinstance(skeleton, list):
        raise FormatError("is not a list of pairs of body parts", field="skeleton", subject=str(path))
    edges: list[tuple[str, str]] = []
    for i, pair in enumerate(cast("list[object]", skeleton)):
        if not isinstance(pair, list) or len(cast("list[object]", pair)) != 2:
            raise FormatError("is not a pair of body parts", field=f"skeleton[{i}]", subject=str(path))
        ends = cast("Sequence[object]", pair)
        if not all(isinstance(end, str | int | float) for end in ends):
            raise FormatError("does not name body parts", field=f"skeleton[{i}]", subject=str(path))
        edges.append((str(ends[0]), str(ends[1])))
    return tuple(edges)


def _our_skeleton(path: Path) -> Skeleton | None:
    if not path.is_file():
        return None
    said = Record(read_json(path), "", str(path))
    said.require("skeleton")
    return our_skeleton(said)


def _beside(path: Path) -> str:
    return f"Give the CSV that DeepLabCut keeps beside it ({path.stem}.csv)."
