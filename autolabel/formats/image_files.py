"""The image files that labels speak of: whether one is there, and how it comes into a data set that an export makes."""

import shutil
from enum import StrEnum
from pathlib import Path

from autolabel.errors import FormatError, InputError


class ImageFiles(StrEnum):
    """How the images come into a data set."""

    LINK = "link"
    """A symbolic link to where each image lies: no space, until the images are moved."""
    COPY = "copy"
    """The bytes: a folder that can be handed on."""
    NONE = "none"
    """Not at all: labels alone, for whoever puts the images there."""


def is_file(path: Path) -> bool:
    """Whether a file is there; a name that no file can have, such as one of 300 letters, is nowhere."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def require_image(file: Path, *, option: str = "") -> Path:
    """``file``, which must be there: a label file that names vanished images helps nobody.

    Args:
        file: The image.
        option: The user's option that does without images, for the remedy; "" where there is none.

    Raises:
        InputError: It is not there.
    """
    if not is_file(file):
        otherwise = f", or give {option} {ImageFiles.NONE}" if option else ""
        raise InputError("is not there", subject=str(file), remedy=f"Scan again{otherwise}.")
    return file


def put_image(source: Path, target: Path, how: ImageFiles = ImageFiles.LINK, *, option: str = "") -> None:
    """Bring an image into a data set; folders above it are made.

    Args:
        source: Where it lies.
        target: Its place in the data set, where nothing may stand.
        how: By which means.
        option: The user's option that says so, for the remedies; "" where there is none.

    Raises:
        InputError: It is not there, or cannot be brought.
    """
    if how is ImageFiles.NONE:
        return
    require_image(source, option=option)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if how is ImageFiles.COPY:
            shutil.copyfile(source, target)
        else:
            target.symlink_to(source.resolve())
    except OSError as error:
        remedy = f"Try {option} {ImageFiles.COPY}." if option and how is ImageFiles.LINK else None
        raise InputError(f"cannot be made of {source}: {error.strerror}", subject=str(target), remedy=remedy) from error


def require_slashes(name: str, tool: str) -> str:
    """The path of an image, which must not hold a backslash: to tools that know Windows it names another image.

    Raises:
        FormatError: It holds one.
    """
    if "\\" in name:
        raise FormatError(f"has a backslash in its path, which {tool} takes for a slash", record=name)
    return name
