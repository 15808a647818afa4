"""Which images repeat earlier ones: exactly, by their bytes, or nearly, by their look.

A near-duplicate is the same picture in other bytes: resized, recompressed, converted. Two frames of one video
are not, however alike, when somebody in them has moved: a pose corpus is made of them. Hence two steps:

1. *Candidates* share the look: 64-bit perceptual hashes (imagehash's ``phash``) at most ``MAX_HAMMING`` bits
   apart. They are looked up in four bands of 16 bits: of hashes at most 7 bits apart, one band differs in at
   most one bit (Norouzi, Punjani and Fleet, "Fast search in Hamming space with multi-index hashing", CVPR
   2012), so that the cost does not grow with the pairs.
2. The few candidates that are nearest in a 256-bit hash are *compared pixel by pixel* (:func:`same_picture`).

Memory grows with the images, by less than 200 bytes each, beside some 25 MB for the bands.
"""

from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autolabel.compact import NumberByText, TextList
from autolabel.errors import ImageError, ManifestError

SIDE = 128
"""Pixels a side of the grey squares that are hashed and compared."""

MAX_HAMMING = 7
"""Bits of 64 that a candidate may differ in; four bands with one flipped bit each find all of these."""

MAX_CHANGE = 0.5
NOISE = 4.0
"""See :func:`same_picture`. Chosen between copies of real images (half size, a third, JPEG quality 30) and the most
alike frames of two laboratory videos; ``tests/autolabel/test_duplicates.py`` holds both sides."""

MIN_SIDE = 32
"""Images with a shorter side, in pixels, show too little to be compared."""

_COMPARED = 4
_KEPT_THUMBNAILS = 1024
_BLOCK = 8
_HASH_BYTES, _DETAIL_BYTES = 8, 32
_PROBES = (0, *(1 << bit for bit in range(16)))
_BITS = np.unpackbits(np.arange(2**16, dtype=np.uint16).view(np.uint8)).reshape(-1, 16).sum(1, dtype=np.uint8)
"""How many bits of each 16-bit number are set."""


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """An image in small.

    Attributes:
        size: (width, height) of the image itself.
        grey: (SIDE, SIDE) uint8 luminance of the whole image, the aspect ratio given up.
    """

    size: tuple[int, int]
    grey: NDArray[np.uint8]


class First(NamedTuple):
    """The image that was the first to show a picture."""

    id: str
    path: str


class Learned(NamedTuple):
    """What was learned from one image, as text that can be kept and replayed.

    ``same_as`` is the id of the first image of the same picture, or "" when this one is the first.
    """

    id: str
    path: str
    look: str
    same_as: str


class Duplicates:
    """The images seen so far.

    Args:
        read: Gives the thumbnail of an earlier image by its path; an :class:`ImageError` rules it out.
        near: Look for near-duplicates too, and not for equal bytes only.
        journal: Gets a line for every image that is not an exact duplicate; :meth:`replay` takes them back.
    """

    def __init__(
        self, read: Callable[[str], Thumbnail], *, near: bool = True, journal: list[Learned] | None = None
    ) -> None:
        self.near = near
        self._read = read
        self._journal = journal
        self._ids, self._paths = TextList(), TextList()
        self._first_by_id = NumberByText()
        self._looks = np.empty((1024, _HASH_BYTES + _DETAIL_BYTES), np.uint8)
        self._bands: list[list[array[int] | None]] = [[None] * 2**16 for _ in range(_HASH_BYTES // 2)]
        self._thumbnails: OrderedDict[str, Thumbnail] = OrderedDict()

    def settle(self, id: str, path: str, look: bytes = b"", thumbnail: Thumbnail | None = None) -> First | None:
        """The first image that this one repeats; None when it is the first itself, and is remembered.

        Args:
            id: Hash of its bytes.
            path: Where it is.
            look: :func:`look` of its thumbnail; left out, only equal bytes are found.
            thumbnail: The image in small.
        """
        known = self._first_by_id.get(id)
        if known is not None:
            return self._first(known)
        same = self._find(look, thumbnail) if self.near and thumbnail is not None else None
        self._learn(Learned(id, path, look.hex(), "" if same is None else self._ids[same]))
        if same is not None:
            return self._first(same)
        if thumbnail is not None:
            self._keep(path, thumbnail)
        return None

    def replay(self, journal: Iterable[Learned]) -> None:
        """Learn again what an earlier run learned."""
        for line in journal:
            self._learn(line)

    def _learn(self, line: Learned) -> None:
        if self._journal is not None:
            self._journal.append(line)
        if line.same_as:
            first = self._first_by_id.get(line.same_as)
            if first is None:
                raise ManifestError(f"image {line.id} repeats {line.same_as}, which is unknown", subject=line.path)
            self._first_by_id.add(line.id, first)
            return
        index = len(self._ids)
        self._ids.append(line.id)
        self._paths.append(line.path)
        self._first_by_id.add(line.id, index)
        if line.look:
            self._index(index, bytes.fromhex(line.look))

    def _first(self, index: int) -> First:
        return First(self._ids[index], self._paths[index])

    def _index(self, index: int, look: bytes) -> None:
        if index >= len(self._looks):
            more = np.empty((index // 4 + 1024, self._looks.shape[1]), np.uint8)
            self._looks = np.concatenate([self._looks, more])
        self._looks[index] = np.frombuffer(look, np.uint8)
        for band, key in zip(self._bands, _words(look), strict=True):
            bucket = band[key]
            if bucket is None:
                band[key] = array("I", [index])
            else:
                bucket.append(index)

    def _find(self, look: bytes, thumbnail: Thumbnail) -> int | None:
        """The index of the first image of the same picture."""
        for index in self._candidates(look):
            try:
                earlier = self._thumbnail(self._paths[index])
            except ImageError:
                continue  # gone since it was seen: there is nothing left to repeat
            if same_picture(thumbnail, earlier):
                return index
        return None

    def _candidates(self, look: bytes) -> list[int]:
        """The images nearest in look, nearest first, earliest first among equals."""
        members = self._close(look)
        distance = _hamming(self._looks[members], np.frombuffer(look, np.uint8))
        nearest = np.argsort(distance, kind="stable")[:_COMPARED]
        return cast("list[int]", members[nearest].tolist())

    def _close(self, look: bytes) -> NDArray[np.uint32]:
        """In order, the images whose 64-bit hashes differ in at most ``MAX_HAMMING`` bits."""
        found = array("I")
        for band, key in zip(self._bands, _words(look), strict=True):
            for flip in _PROBES:
                if (bucket := band[key ^ flip]) is not None:
                    found.extend(bucket)
        members = np.unique(np.array(found, np.uint32))
        hashes = self._looks[members, :_HASH_BYTES]
        return members[_hamming(hashes, np.frombuffer(look, np.uint8, _HASH_BYTES)) <= MAX_HAMMING]

    def _thumbnail(self, path: str) -> Thumbnail:
        if path not in self._thumbnails:
            self._keep(path, self._read(path))
        self._thumbnails.move_to_end(path)
        return self._thumbnails[path]

    def _keep(self, path: str, thumbnail: Thumbnail) -> None:
        self._thumbnails[path] = thumbnail
        if len(self._thumbnails) > _KEPT_THUMBNAILS:
            self._thumbnails.popitem(last=False)


def look(thumbnail: Thumbnail) -> bytes:
    """How a picture looks, in 40 bytes: ``phash`` of 64 bits, and of 256 bits to tell candidates apart."""
    import imagehash

    image = Image.fromarray(thumbnail.grey)
    hashes: list[Any] = [imagehash.phash(image, hash_size=8), imagehash.phash(image, hash_size=16)]
    return b"".join(np.packbits(found.hash).tobytes() for found in hashes)


def same_picture(a: Thumbnail, b: Thumbnail) -> bool:
    """Whether two images are one picture at other sizes or in other bytes.

    Their aspect ratios are equal up to the rounding of one pixel, and in no block of 8 x 8 of the 128 x 128
    pixels do they differ, on average, by more than ``MAX_CHANGE`` times the mean gradient there plus
    ``NOISE`` grey levels. Resizing and compression change a picture in proportion to its gradients; whoever
    moves changes it most where one of the two images is smooth, hence the smaller gradient of the two.
    """
    (aw, ah), (bw, bh) = a.size, b.size
    if min(aw, ah, bw, bh) < MIN_SIDE or abs(aw * bh - bw * ah) > max(aw + ah, bw + bh):
        return False
    one, two = a.grey.astype(np.float32), b.grey.astype(np.float32)
    texture = np.minimum(_block_means(_gradient(one)), _block_means(_gradient(two)))
    return bool((_block_means(np.abs(one - two)) <= MAX_CHANGE * (texture + NOISE)).all())


def _gradient(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    across = np.abs(np.diff(grey, axis=1, append=grey[:, -1:]))
    down = np.abs(np.diff(grey, axis=0, append=grey[-1:]))
    return across + down


def _block_means(values: NDArray[np.float32]) -> NDArray[np.float32]:
    n = SIDE // _BLOCK
    return values.reshape(n, _BLOCK, n, _BLOCK).mean((1, 3))


def _words(look: bytes) -> list[int]:
    return [int.from_bytes(look[start : start + 2]) for start in range(0, _HASH_BYTES, 2)]


def _hamming(looks: NDArray[np.uint8], one: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(M,) differing bits between (M, B) and (B,) bytes."""
    return _BITS[np.ascontiguousarray(np.bitwise_xor(looks, one)).view(np.uint16)].sum(axis=1, dtype=np.int64)
