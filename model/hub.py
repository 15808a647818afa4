"""Folders of the Hugging Face hub, from the local cache or the network."""

import re
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)

from autolabel.errors import CheckpointError


def hub_folder(repository: str, files: Sequence[str], *, wanted: str) -> Path:
    """The folder of a hub repository.

    Args:
        repository: Its id, ``owner/name``.
        files: Names or patterns of what is needed of it; nothing else is fetched.
        wanted: What could be given instead of an id, for errors.

    Raises:
        CheckpointError: It is no id, the hub cannot be reached and the cache does not have it, or the hub refuses it.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", repository):
        raise CheckpointError("no such file or folder", subject=repository, remedy=f"Give {wanted}.")
    try:
        return Path(snapshot_download(repository, allow_patterns=list(files)))
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise CheckpointError(
            "no such folder, and the Hugging Face hub cannot be reached to look for one",
            subject=repository,
            remedy=f"Check the path, or bring {files[0]} and {files[1]} here and give their folder.",
        ) from error
    except (HfHubHTTPError, HFValidationError) as error:
        raise CheckpointError(
            f"no such folder, and the Hugging Face hub refuses it: {error}",
            subject=repository,
            remedy="Check the path or the id.",
        ) from error
