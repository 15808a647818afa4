"""Where measured figures live: one JSON file per benchmark, with all that is needed to judge and repeat them.

A row is a mapping that is also one line of the printed table. No host name, no user, no path is written.
"""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "torchvision", "timm", "transformers", "numpy", "opencv-python-headless", "scipy")

Row = Mapping[str, Any]


def write_result(
    name: str, rows: Sequence[Row], *, command: str, packages: Sequence[str] = PACKAGES, **more: Any
) -> Path:
    """Write ``results/NAME.json``.

    Args:
        name: The benchmark.
        rows: Its table.
        command: What was run, as a reader would type it in the repository's root.
        packages: Whose versions to record; those not installed are left out.
        more: Anything else worth keeping, such as seeds.
    """
    content = {
        "benchmark": name,
        "command": command,
        "commit": _commit(),
        "machine": _machine(),
        "versions": {"python": platform.python_version(), **_versions(packages)},
        **more,
        "rows": [dict(row) for row in rows],
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def table(rows: Sequence[Row]) -> str:
    """The rows as aligned text, columns in the order of the first row's keys."""
    keys = list(rows[0])
    cells = [keys, *([_cell(row.get(key, "")) for key in keys] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(keys))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _machine() -> dict[str, Any]:
    machine: dict[str, Any] = {
        "system": platform.system(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
    }
    import torch

    if torch.cuda.is_available():
        machine["gpu"] = torch.cuda.get_device_name()
    return machine


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    """The commit, "+ changes" where the working tree differs from it (results themselves aside)."""
    git = ["git", "-C", str(Path(__file__).parent.parent)]
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode:
        return "none yet"
    # The result files are what a benchmark changes itself.
    scope = ["--", ".", ":!benchmarks/results"]
    status = subprocess.run([*git, "status", "--porcelain", *scope], capture_output=True, text=True, check=False)
    return head.stdout.strip() + (" + changes" if status.stdout.strip() else "")
