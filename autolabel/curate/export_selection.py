"""Poses that somebody selected in FiftyOne, as a manifest of their own and as a list of ids.

They are written as the manifest states them: decisions and edits that were made in FiftyOne come home with
``curate --pull`` alone.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from autolabel.curate.deciding import code
from autolabel.curate.selection import Shown
from autolabel.errors import InputError
from autolabel.manifest import Manifest, write_text
from autolabel.phrases import counted

IDS = "poses.txt"
"""The ids, one a line, in the folder of the manifest that is written."""

STAGE = "curate"


def target_of(shown: Shown, typed: str) -> Path:
    """The folder that somebody typed; a relative one is meant beside the manifest.

    Raises:
        InputError: Nothing was typed, or which manifest is shown is not known.
    """
    if not typed.strip():
        raise InputError("Which folder?", remedy="Type the name of a new one.")
    if not shown.manifest:
        raise InputError(
            "which manifest this data set shows is not written down", remedy="Run `autolabel curate` again."
        )
    return Path(shown.manifest).parent / Path(typed.strip()).expanduser()


def intention(shown: Shown, poses: int, told: str, typed: str) -> str:
    """What will happen, as Markdown for the form.

    Args:
        shown: The data sets.
        poses: How many.
        told: What was selected, in words.
        typed: The folder so far.

    Raises:
        InputError: There is nothing to write.
    """
    if not poses:
        raise InputError(f"No pose of the manifest is in {told}")
    where = f" → {code(str(target_of(shown, typed)))}" if typed.strip() else ""
    return (
        f"**{counted(poses, 'pose')}** of {told}{where}\n\nAs the manifest states them, without what was decided here."
    )


def export_poses(
    shown: Shown, poses: Sequence[str], out: Path, *, subset: Callable[..., Manifest]
) -> tuple[Manifest, Path]:
    """Write poses of the manifest that is shown.

    Args:
        shown: The data sets.
        poses: Ids of the poses.
        out: The folder.
        subset: Writes them: ``pipelines.subset.with_poses``.

    Returns:
        The manifest, and the file of ids.

    Raises:
        ExistsError: Another result stands there.
        ManifestError: The manifest that is shown is gone or damaged.
        InputError: It has changed since it was shown, or the folder cannot be written.
    """
    source = Manifest.open(shown.manifest)
    if shown.digest and source.digest != shown.digest:
        raise InputError("has changed since it was shown here", subject=str(source.path),
                         remedy="Run `autolabel curate` again, and select again.")  # fmt: skip
    try:
        made = subset(source, poses, out=out, stage=STAGE)
        known = {pose for i in range(made.num_parts) for pose in made.poses(i).id.tolist()}
        write_text(out / IDS, "".join(f"{pose}\n" for pose in poses if pose in known))
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", subject=str(out)) from error
    return made, out / IDS


def written(made: Manifest, ids: Path, asked: int) -> str:
    """What was written, as Markdown."""
    poses, images = made.counts["poses"], made.counts["samples"]
    lines = [f"{counted(poses, 'pose')} in {counted(images, 'image')} → {code(str(made.path))}"]
    if asked > poses:
        lines.append(f"{counted(asked - poses, 'pose')} of the selection left the manifest and could not be written.")
    return "\n\n".join([*lines, f"Their ids: {code(str(ids))}"])
