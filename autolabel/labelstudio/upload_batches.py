"""Images in batches that one request may carry: a server refuses more files, a proxy before it more bytes."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from autolabel.errors import InputError

BATCH_FILES, BATCH_BYTES = 100, 20_000_000
_TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}


def media_type(file: Path) -> str:
    """What a file is, by its name."""
    return _TYPES.get(file.suffix.lower(), "application/octet-stream")


def batches(files: Sequence[Path]) -> Iterator[list[tuple[Path, bytes]]]:
    """Files with their content, as many as one request may carry.

    Raises:
        InputError: A file cannot be read.
    """
    batch: list[tuple[Path, bytes]] = []
    size = 0
    for file in files:
        try:
            content = file.read_bytes()
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", subject=str(file)) from error
        if batch and (len(batch) == BATCH_FILES or size + len(content) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((file, content))
        size += len(content)
    if batch:
        yield batch
