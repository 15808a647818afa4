"""Broken variants of good files: byte by byte, token by token, or value by value of a JSON tree.

Bytes alone rarely get past a parser, so files with a structure are mostly changed within it: a value becomes one of
those that break programs, a part is left out, doubled, or takes another's place.
"""

import json
import random
import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

Mutator = Callable[[bytes, random.Random], bytes]

_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3, 255, 256, 2**31, -(2**31), 2**53, 2**63, 2**64, 10**400),
    *(0.5, -0.5, -0.0, 1e-320, 3.5e38, 1e39, 1.7e308, float("nan"), float("inf"), float("-inf")),
    *(
        "",
        " ",
        "0",
        "a",
        "../../etc/passwd",
        "/etc/passwd",
        "C:\\x",
        "a\0b",
        "\ud800",
        "\u202e",
        "é" * 300,
        "%s{0}",
        "-",
    ),
    *([], {}, [[]], [0] * 51, [None], {"": None}, [1, 2, 3], {"id": 1}),
)
_TOKENS = (
    *(b"", b"-", b"0", b"1", b"-1", b"2", b"3", b"999999999999999999999", b"1e400", b"nan", b"inf", b"-inf", b"1_0"),
    *(b"0x10", b".", b"..", b"../..", b"/etc/passwd", b"a", b"\0", b"\xff\xfe", b'"', b"'", b",", b"\t", b"\r", b"  "),
    *(
        b"!!python/object:os.system",
        b"&a [*a]",
        b"*a",
        b"{",
        b"}",
        b"[",
        b"]",
        b": ",
        b"# ",
        b"%",
        b"~",
        b"\xef\xbb\xbf",
    ),
)
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip, cut, copy or overwrite a few bytes."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        place = rng.randrange(len(changed) + 1)
        length = min(rng.choice((1, 1, 2, 4, 8, 64, 1024)), len(changed) - place)
        match rng.randrange(6):
            case 0 if place < len(changed):
                changed[place] ^= 1 << rng.randrange(8)
            case 1:
                del changed[place : place + length]
            case 2:
                changed[place:place] = changed[place : place + length]
            case 3:
                width = rng.choice((1, 2, 4))
                number = rng.choice(_NUMBERS) & (256**width - 1)
                changed[place : place + width] = number.to_bytes(width, rng.choice(("little", "big")))
            case 4:
                del changed[place:]
            case _:
                source = rng.randrange(len(changed) + 1)
                changed[place : place + length] = changed[source : source + length]
    return bytes(changed)


def mutate_text(data: bytes, rng: random.Random) -> bytes:
    """Change tokens and lines; now and then bytes."""
    if rng.random() < 0.15:
        return mutate_bytes(data, rng)
    for _ in range(rng.randint(1, 4)):
        lines = data.split(b"\n")
        i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
        match rng.randrange(6):
            case 0:
                del lines[i]
            case 1:
                lines.insert(i, lines[j])
            case 2:
                lines[i], lines[j] = lines[j], lines[i]
            case _:
                tokens = re.split(rb"([ ,:\t\[\]{}]+)", lines[i])
                tokens[rng.randrange(len(tokens))] = rng.choice(_TOKENS)
                lines[i] = b"".join(tokens)
        data = b"\n".join(lines)
    return data


def mutate_json(data: bytes, rng: random.Random) -> bytes:
    """Change values of the tree; now and then bytes, and always where it is no JSON any more."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return mutate_bytes(data, rng)
    if rng.random() < 0.1:
        return mutate_bytes(data, rng)
    for _ in range(rng.randint(1, 4)):
        tree = _changed(tree, rng)
    try:
        return json.dumps(tree).encode()
    except RecursionError:
        return mutate_bytes(data, rng)


def _changed(tree: Any, rng: random.Random) -> Any:
    """The tree with one value changed."""
    holders = [node for node in _nodes(tree) if node]
    if not holders or rng.random() < 0.02:
        return deepcopy(rng.choice(_VALUES))
    holder = rng.choice(holders)
    keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    key, other = rng.choice(keys), rng.choice(keys)
    match rng.randrange(8):
        case 0:
            del holder[key]
        case 1:
            holder[key], holder[other] = holder[other], holder[key]
        case 2 if isinstance(holder, list):
            holder.append(holder[key])
        case 3 if isinstance(holder, dict):
            holder[rng.choice(("id", "x", "autolabel", "value", "keypoints", ""))] = holder[key]
        case 4:
            donor = rng.choice(holders)
            given = rng.choice(list(donor.values()) if isinstance(donor, dict) else donor)
            holder[key] = json.loads(json.dumps(given))  # a copy, so that no tree holds itself
        case 5:
            holder[key] = [holder[key]]
        case _:
            holder[key] = deepcopy(rng.choice(_VALUES))
    return json.loads(json.dumps(tree))


def _nodes(tree: Any) -> list[Any]:
    """Every object and list of the tree."""
    found, pending = [], [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, dict | list):
            found.append(node)
            pending.extend(node.values() if isinstance(node, dict) else node)
    return found
