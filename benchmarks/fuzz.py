"""Coverage-guided fuzzing of every reader of files from outside, with atheris (libFuzzer) and our own mutations.

    python -m benchmarks.fuzz --seconds 1200        # shared out among the targets
    python -m benchmarks.fuzz --target coco --seconds 60

Each target runs in a process of its own, with a limit of memory and of time for one input. An input that raises
anything but our own errors is a finding: it is kept in ``tests/fuzz/seeds/TARGET``, where the tests read it ever after.
Needs ``pip install atheris``; ``tests/fuzz`` runs a small slice without it.
"""

import argparse
import hashlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.results import Row, table, write_result
from tests.fuzz.target import attack
from tests.fuzz.targets import TARGETS

KEPT = Path(__file__).parents[1] / "tests" / "fuzz" / "seeds"
INSTRUMENTED = ["autolabel", "model"]
MEGABYTES = 3000
SECONDS_AN_INPUT = 20
LAST = "last-input"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=1200, help="of all targets together")
    parser.add_argument("--target", choices=TARGETS, action="append", help="only these")
    parser.add_argument("--dry", action="store_true", help="write no result file")
    given = parser.parse_args()
    names = given.target or list(TARGETS)
    rows = [fuzz(name, max(1, given.seconds // len(names))) for name in names]
    sys.stdout.write(table(rows) + "\n")
    if not given.dry:
        write_result("fuzz", rows, command=f"python -m benchmarks.fuzz --seconds {given.seconds}",
                     packages=("atheris", "numpy", "pillow", "pyarrow", "sleap-io", "torch", "av"))  # fmt: skip


def fuzz(name: str, seconds: int) -> Row:
    """Fuzz one target, again after each finding, until its time is over."""
    inputs = findings = coverage = 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        corpus, scratch = folder / "corpus", folder / "scratch"
        corpus.mkdir()
        for i, seed in enumerate([*TARGETS[name].seeds(folder), *(path.read_bytes() for path in kept(name))]):
            (corpus / f"seed-{i}").write_bytes(seed)
        end = time.monotonic() + seconds
        while (left := int(end - time.monotonic())) > 0:
            shutil.rmtree(scratch, ignore_errors=True)  # of what was found last, nothing must be left
            scratch.mkdir()
            output = run(name, corpus, scratch, left)
            inputs += number(r"number_of_executed_units: (\d+)", output) or number(r"#(\d+)\t", output)
            coverage = max(coverage, number(r"cov: (\d+)", output))
            if re.search(r"^Done \d+ runs", output, re.M):
                break
            findings += 1
            keep(name, (scratch / LAST).read_bytes(), output)
    return {"target": name, "seconds": seconds, "inputs": inputs, "edges": coverage, "findings": findings}


def run(name: str, corpus: Path, scratch: Path, seconds: int) -> str:
    """One process, until its time is over or it found something; what it printed."""
    command = [
        *(sys.executable, "-m", "benchmarks.fuzz_target", name, str(scratch), str(corpus)),
        *(f"-max_total_time={seconds}", f"-rss_limit_mb={MEGABYTES}", f"-timeout={SECONDS_AN_INPUT}"),
        *("-print_final_stats=1", "-max_len=200000", f"-artifact_prefix={scratch}/"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    return done.stdout + done.stderr


def kept(name: str) -> list[Path]:
    return sorted((KEPT / name).glob("*"))


def keep(name: str, data: bytes, output: str) -> None:
    """Put a finding among the tests' seeds, and show what it did."""
    path = KEPT / name / hashlib.sha256(data).hexdigest()[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    shown = re.search(r"=== Uncaught Python exception: ===\n(.*?)(?:\n==|$)", output, re.S)
    sys.stderr.write(f"{name}: {path.name}\n{(shown[1] if shown else output)[-1500:]}\n")


def number(pattern: str, text: str) -> int:
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def attack_once(name: str, data: bytes, folder: Path) -> None:
    """What atheris calls. The input is put down first: a process that dies of it can tell nobody."""
    (folder / LAST).write_bytes(data)
    attack(TARGETS[name], data, folder)


def mutator(name: str):
    """A custom mutator of libFuzzer: mostly ours, now and then its own."""
    import atheris

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < 0.1:
            return atheris.Mutate(data, max_size)
        return TARGETS[name].mutate(data, rng)[:max_size]

    return mutate


if __name__ == "__main__":
    main()
