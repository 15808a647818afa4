"""One target under atheris; :mod:`benchmarks.fuzz` starts it.

python -m benchmarks.fuzz_target NAME SCRATCH CORPUS [libFuzzer's flags]
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["autolabel", "model"]):
    from benchmarks.fuzz import attack_once, mutator
    from tests.fuzz.targets import TARGETS


def main() -> None:
    name, folder, rest = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
    with atheris.instrument_imports(include=["autolabel", "model"]):  # what readers import when they are called
        for seed in TARGETS[name].seeds(folder):
            attack_once(name, seed, folder)
    atheris.Setup(
        [sys.argv[0], *rest],
        lambda data: attack_once(name, data, folder),
        custom_mutator=mutator(name),
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
