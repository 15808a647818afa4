"""The images of samples, decoded by threads ahead of who looks at them.

One bad image never stops a job: it is set aside with its reason.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import ImageError
from autolabel.images import decode_reduced, read_bytes
from autolabel.manifest import Manifest
from autolabel.poses import Sample
from autolabel.progress import Task
from autolabel.stages import Stages
from autolabel.stores import is_stored

if TYPE_CHECKING:
    from torch import Tensor

    from model.cutting import Image

OTHER_SIZE = "other size"
"""Reason to set an image aside that :class:`autolabel.images.Reason` does not have."""

DECODERS, FETCHERS = 4, 16
"""Threads that read and decode; more of them where they mostly wait for an object store."""

LOOKAHEAD = 16
"""Images that are decoded ahead of the network, at most."""


@dataclass(frozen=True)
class ImageReader:
    """Reads images for networks, and tells of those that cannot be read.

    Attributes:
        manifest: Knows where they are.
        samples: N of them.
        readable: (N,) bool, where it becomes False for an image that cannot be read.
        quarantined: Where such an image is told, with the reason.
        task: Told of every image.
        stages: Told of the time.
    """

    manifest: Manifest
    samples: Sequence[Sample]
    readable: NDArray[np.bool_]
    quarantined: list[dict[str, str]]
    task: Task
    stages: Stages

    def whole(self, wanted: Sequence[int]) -> "Iterator[tuple[int, Tensor]]":
        """Numbers of samples, as they are wanted, and their images (3, H, W) uint8."""
        to_tensor = _to_tensor()
        for i, image in self._read(wanted, [1] * len(wanted)):
            yield i, to_tensor(image.pixels).permute(2, 0, 1)

    def reduced(self, wanted: Sequence[int], by: Sequence[int]) -> "Iterator[tuple[int, Image]]":
        """The same of images that may be reduced by ``by``, where their files' formats can do that."""
        from model.cutting import Reduced

        to_tensor = _to_tensor()
        for i, image in self._read(wanted, by):
            pixels = to_tensor(image.pixels).permute(2, 0, 1)
            yield i, Reduced(pixels, self.samples[i].size, image.by) if image.by > 1 else pixels

    def _read(self, wanted: Sequence[int], by: Sequence[int]) -> "Iterator[tuple[int, _Decoded]]":
        for i, image in _ahead(self.manifest, self.samples, wanted, by, self.stages):
            self.task.advance()
            if isinstance(image, ImageError):
                self.readable[i] = False
                record = {"path": self.samples[i].path, "reason": image.reason, "detail": image.message}
                self.quarantined.append(record)
            else:
                yield i, image


def decoded_ahead(
    manifest: Manifest, samples: Sequence[Sample], wanted: Sequence[int]
) -> Iterator[tuple[int, NDArray[np.uint8] | ImageError]]:
    """The images of the wanted samples, in order, or why there is none."""
    for i, image in _ahead(manifest, samples, wanted, [1] * len(wanted), Stages()):
        yield i, image if isinstance(image, ImageError) else image.pixels


class _Decoded(NamedTuple):
    """(h, w, 3) uint8 pixels of an image, reduced by a whole number."""

    pixels: NDArray[np.uint8]
    by: int


def _ahead(
    manifest: Manifest, samples: Sequence[Sample], wanted: Sequence[int], by: Sequence[int], stages: Stages
) -> Iterator[tuple[int, _Decoded | ImageError]]:
    waiting = deque[tuple[int, Future[_Decoded | ImageError]]]()
    far = any(is_stored(root) for root in manifest.roots.values())
    pool = ThreadPoolExecutor(FETCHERS if far else DECODERS, thread_name_prefix="decode")
    try:
        for i, most in zip(wanted, by, strict=True):
            waiting.append((i, pool.submit(_decoded, manifest, samples[i], most, stages)))
            if len(waiting) > LOOKAHEAD:
                first, future = waiting.popleft()
                yield first, future.result()
        for i, future in waiting:
            yield i, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _decoded(manifest: Manifest, sample: Sample, by: int, stages: Stages) -> _Decoded | ImageError:
    path = manifest.image_path(sample)
    try:
        with stages("read files"):
            data = read_bytes(path)
        with stages("decode"):
            size, image, reduced = decode_reduced(data, by, subject=str(path))
    except ImageError as error:
        return error
    if size != sample.size:
        now, then = ("x".join(map(str, each)) for each in (size, sample.size))
        return ImageError(f"is {now} now, the manifest says {then}", reason=OTHER_SIZE)
    return _Decoded(image, reduced)


def _to_tensor() -> "Callable[[NDArray[np.uint8]], Tensor]":
    """PyTorch's own function, which has no types; loaded when there is something to read."""
    import torch

    return cast("Any", torch).from_numpy
