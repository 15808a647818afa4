"""Our plugin into FiftyOne's folder of plugins: a copy, so that FiftyOne finds it wherever autolabel is installed."""

import os
import shutil
from pathlib import Path
from typing import Any

from autolabel.errors import InputError

PLUGIN = "@autolabel/curate"
"""Its name, which every operator's address begins with."""

FOLDER = "autolabel"
"""Its folder among the plugins."""

SOURCE = Path(__file__).with_name("plugin")
DESCRIPTION = "fiftyone.yml"


def install_plugin(fiftyone: Any) -> Path:
    """Copy the plugin to where FiftyOne looks for plugins, in place of an older version of it.

    Args:
        fiftyone: The module.

    Returns:
        The folder.

    Raises:
        InputError: Something else stands there, or the folder of plugins cannot be written.
    """
    plugins = Path(fiftyone.config.plugins_dir).expanduser()
    target = plugins / FOLDER
    # FiftyOne does not look into hidden folders: a copy that a kill left behind is no second plugin.
    fresh, old = (plugins / f".{FOLDER}.{os.getpid()}.{word}" for word in ("new", "old"))
    try:
        _require_ours(target)
        plugins.mkdir(parents=True, exist_ok=True)
        for left in plugins.glob(f".{FOLDER}.*.*"):
            shutil.rmtree(left, ignore_errors=True)
        shutil.copytree(SOURCE, fresh, ignore=shutil.ignore_patterns("__pycache__"))
        if target.exists():
            target.rename(old)
        try:
            fresh.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise InputError(f"the plugin cannot be written: {error.strerror}", subject=str(target),
                         remedy="Set FIFTYONE_PLUGINS_DIR to a folder that can be written.") from error  # fmt: skip
    return target


def _require_ours(target: Path) -> None:
    """Refuse to replace what is not an earlier copy of ours."""
    if target.is_symlink() or (target.exists() and not _is_ours(target)):
        raise InputError("something else than autolabel's plugin stands there", subject=str(target),
                         remedy="Move it away, or set FIFTYONE_PLUGINS_DIR to another folder.")  # fmt: skip


def _is_ours(folder: Path) -> bool:
    file = folder / DESCRIPTION
    if not file.is_file():
        return False
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    return any(line.replace('"', "").replace("'", "").split() == ["name:", PLUGIN] for line in lines)
