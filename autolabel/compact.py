"""A list of texts and a dictionary from texts to numbers that hold a million entries in a tenth of Python's memory.

Both only grow. Python's own cost about 100 bytes an entry for the objects alone; a corpus has as many entries as
images.
"""

import hashlib
from array import array

_KEY_BYTES = 16
_FULL = 0.6
"""How full the table of places may get before it is made anew, twice as large."""


class TextList:
    """Texts by number, kept one behind the other as UTF-8."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("Q")

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, i: int) -> str:
        start = self._ends[i - 1] if i else 0
        return self._bytes[start : self._ends[i]].decode("utf-8", "surrogatepass")

    def append(self, text: str) -> None:
        """Add a text at the end."""
        self._bytes += text.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._bytes))


class NumberByText:
    """Numbers below 2^32 by text: a hash table with open addressing.

    Texts are known by 128 bits of a hash: that two of a million are taken for one has a chance of 10^-27.
    """

    def __init__(self) -> None:
        self._keys = bytearray()
        self._numbers = array("I")
        self._places = array("I", bytes(4 * 1024))  # 0 is free, else one more than the entry that is there

    def __len__(self) -> int:
        return len(self._numbers)

    def get(self, text: str) -> int | None:
        """The number of a text, None when it has none."""
        entry = self._places[self._place(_key(text))]
        return self._numbers[entry - 1] if entry else None

    def add(self, text: str, number: int) -> None:
        """Give a number to a text that has none."""
        if len(self) + 1 > _FULL * len(self._places):
            self._grow()
        key = _key(text)
        self._keys += key
        self._numbers.append(number)
        self._places[self._place(key)] = len(self)

    def _place(self, key: bytes) -> int:
        """Where the key is, or the free place where it belongs."""
        last = len(self._places) - 1
        place = int.from_bytes(key[:8]) & last
        while (entry := self._places[place]) and not self._keys.startswith(key, (entry - 1) * _KEY_BYTES):
            place = (place + 1) & last
        return place

    def _grow(self) -> None:
        self._places = array("I", bytes(8 * len(self._places)))
        for entry in range(len(self)):
            key = bytes(self._keys[entry * _KEY_BYTES : (entry + 1) * _KEY_BYTES])
            self._places[self._place(key)] = entry + 1


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_KEY_BYTES).digest()
