"""What the variants cost, computed from their description: nothing is trained, and nothing is timed."""

from collections.abc import Mapping, Sequence
from typing import Any

from model.config import ViTPoseConfig
from model.cost import cost

KEYPOINTS = 17
SIZES = ("ti", "s", "b", "l", "h")
STRIDE_8: Mapping[str, Any] = {"ratio": 2, "upsampling": 2}

ATTENTION: Sequence[tuple[str, Mapping[str, Any], float, int]] = (
    ("full", {}, 76.59, 36_141),
    ("window 8x8", {"attention": "window"}, 66.31, 21_161),
    ("window+shift 8x8", {"attention": "window", "shift": True}, 66.31, 21_161),
    ("window+pool 8x8", {"attention": "window", "pool": True}, 66.39, 22_893),
    ("window+shift+pool 8x8", {"attention": "window", "shift": True, "pool": True}, 66.39, 22_893),
    ("full every L/4, window 8x8", {"attention": "window", "full_every": 3}, 69.94, 28_594),
    (
        "window+shift+pool 16x12",
        {"attention": "window", "window": (16, 12), "shift": True, "pool": True},
        68.46,
        26_778,
    ),
)
"""Variants of ViTPose-B at stride 8, with the paper's GFLOPs and megabytes of training (``vitpose.md`` 5.3)."""


def sizes() -> list[dict[str, str]]:
    """Of every size with both decoders."""
    rows: list[dict[str, str]] = []
    for size in SIZES:
        row: dict[str, str] = {"size": size}
        for decoder in ("simple", "classic"):
            found = cost(ViTPoseConfig.of_size(size, decoder=decoder), KEYPOINTS)
            row["GMACs, encoder"] = _giga(found.encoder_macs)
            row |= {
                f"{decoder}: M parameters": f"{found.parameters / 1e6:.1f}",
                f"{decoder}: GMACs": _giga(found.macs),
                f"{decoder}: MiB a crop": f"{found.activation_bytes / 2**20:.0f}",
            }
        rows.append(row)
    return rows


def attention() -> list[dict[str, str]]:
    """Of ViTPose-B at stride 8, beside the paper's."""
    rows: list[dict[str, str]] = []
    full: tuple[int, int] | None = None
    for name, fields, macs, megabytes in ATTENTION:
        found = cost(ViTPoseConfig.of_size("b", **STRIDE_8, **fields), KEYPOINTS)
        ours = found.activation_bytes
        full = full or (ours, megabytes)
        rows.append(
            {
                "attention": name,
                "GMACs, encoder": _giga(found.encoder_macs),
                "paper": f"{macs:.2f}",
                "MiB a crop": f"{ours / 2**20:.0f}",
                "of full": f"{ours / full[0]:.2f}",
                "paper, of full": f"{megabytes / full[1]:.2f}",
            }
        )
    return rows


def _giga(macs: int) -> str:
    return f"{macs / 1e9:.2f}"
