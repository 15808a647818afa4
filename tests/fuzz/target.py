"""A reader under attack: what it starts from, how good inputs are broken, what counts as a finding.

A reader may refuse anything, with an error of ours. Any other exception, a hang, or memory without end is a finding.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from autolabel.errors import AutolabelError
from tests.fuzz.mutate import Mutator

PARTS = b"\n=====\n"
"""Parts the files of a reader that takes several."""


@dataclass(frozen=True)
class Target:
    """A reader under attack.

    Attributes:
        seeds: Good inputs, made in an empty folder.
        read: Read an input; the folder is scratch space that stays between calls.
        mutate: How good inputs are broken.
        mutations: How many of them the tests try.
    """

    seeds: Callable[[Path], Sequence[bytes]]
    read: Callable[[bytes, Path], object]
    mutate: Mutator
    mutations: int = 100


def attack(target: Target, data: bytes, folder: Path) -> str:
    """Read once: "" where it was taken, else the message of the refusal.

    Raises:
        Exception: A finding.
    """
    try:
        target.read(data, folder)
    except AutolabelError as error:
        return str(error)
    return ""


def put(data: bytes, folder: Path, name: str) -> Path:
    """A file with these bytes."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def broken(target: Target, seeds: Sequence[bytes], rng: random.Random) -> bytes:
    """A seed, broken once."""
    return target.mutate(rng.choice(seeds), rng)
