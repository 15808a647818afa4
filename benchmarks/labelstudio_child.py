"""One push or one pull in a process of its own, which the benchmark measures, or kills.

    python -m benchmarks.labelstudio_child push SOURCE --project P
    python -m benchmarks.labelstudio_child pull --project P --out M [--overwrite]

Says ``ready`` when everything is imported and waits for a line, so that neither the clock nor a kill falls on Python's
start, and two can begin at one moment; at the end a JSON line with what it took. Exit code 3: it stopped with one of
our errors, whose text is in that line. Any other code but 0 is a crash.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

from autolabel.errors import AutolabelError

READY = "ready"
STOPPED = 3
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Took:
    """What a push or a pull took, and how it ended.

    Attributes:
        seconds: From the first line of its work to the last.
        cpu: Seconds of processor time in it.
        before: MiB resident when it began.
        peak: MiB resident at most.
        error: Our error that it stopped with; empty where it was done.
        summary: What the command says of its result.
    """

    seconds: float
    cpu: float
    before: float
    peak: float
    error: str
    summary: dict[str, Any]


def ready(*words: object) -> "Popen[bytes]":
    """Start a push or a pull; returns when it is about to begin, for which it waits until it is let go."""
    command = [sys.executable, "-m", "benchmarks.labelstudio_child", *map(str, words)]
    # Unbuffered: what is read ahead with the first line would be lost to `communicate`.
    process = Popen(command, cwd=ROOT, stdin=PIPE, stdout=PIPE, stderr=PIPE, bufsize=0)
    assert process.stdout
    if process.stdout.readline().decode().strip() != READY:
        raise RuntimeError(f"{' '.join(command)} did not begin: {process.communicate()[1].decode()[-2000:]}")
    return process


def let_go(process: "Popen[bytes]") -> None:
    """Let a process that is ready begin."""
    assert process.stdin
    process.stdin.write(b"\n")


def begin(*words: object) -> "Popen[bytes]":
    """Start a push or a pull; returns when its work begins."""
    process = ready(*words)
    let_go(process)
    return process


def end(process: "Popen[bytes]") -> Took:
    """Wait until it has ended.

    Raises:
        RuntimeError: It crashed.
    """
    said, complaint = process.communicate()
    if process.returncode not in (0, STOPPED):
        raise RuntimeError(f"exit code {process.returncode}: {complaint.decode()[-2000:]}")
    return Took(**json.loads(said.splitlines()[-1]))


def work(*words: object) -> Took:
    """A push or a pull from beginning to end.

    Raises:
        RuntimeError: It crashed, or stopped with an error.
    """
    took = end(begin(*words))
    if took.error:
        raise RuntimeError(took.error)
    return took


def resident(field: str, pid: int | str = "self") -> float:
    """MiB of a process: ``VmRSS`` now, ``VmHWM`` at most."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("push", "pull"))
    parser.add_argument("source", nargs="?", help="what a push sends")
    parser.add_argument("--project", required=True)
    parser.add_argument("--out", help="what a pull writes")
    parser.add_argument("--overwrite", action="store_true")
    given = parser.parse_args(words)
    import pyarrow.parquet  # noqa: F401 -- these take seconds, and the commands import them when they need them
    from label_studio_sdk import LabelStudio  # noqa: F401

    from pipelines.pull import pull
    from pipelines.push import push

    print(READY, flush=True)
    sys.stdin.readline()
    before, start, cpu = resident("VmRSS"), time.perf_counter(), time.process_time()
    error, summary = "", dict[str, object]()
    try:
        if given.action == "push":
            summary = push(given.source, project=given.project).summary()
        else:
            summary = pull(project=given.project, out=given.out, overwrite=given.overwrite).summary()
    except AutolabelError as trouble:
        error = str(trouble)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    took = Took(seconds, cpu, before, resident("VmHWM"), error, summary)
    print(json.dumps(vars(took), default=str))
    return STOPPED if error else 0


if __name__ == "__main__":
    raise SystemExit(main())
