"""A small seeded slice of ``benchmarks/fuzz.py``, and every input that ever broke a reader (``seeds/TARGET/``)."""

import random
from itertools import islice
from pathlib import Path

import pytest

from autolabel.formats.policy import ImagePolicy
from tests.fuzz.passed_on import SOURCES, WRITERS, broken_labels, pass_on
from tests.fuzz.target import attack, broken
from tests.fuzz.targets import TARGETS

KEPT = Path(__file__).parent / "seeds"
FINDINGS = sorted(path for path in KEPT.glob("*/*") if path.is_file())


@pytest.mark.parametrize("name", TARGETS)
def test_good_files_are_taken(name: str, tmp_path: Path) -> None:
    target = TARGETS[name]
    for seed in target.seeds(tmp_path):
        assert attack(target, seed, tmp_path) == ""


@pytest.mark.parametrize("name", TARGETS)
def test_broken_files_are_refused_with_our_errors(name: str, tmp_path: Path) -> None:
    target, rng = TARGETS[name], random.Random(name)
    seeds = target.seeds(tmp_path)
    refusals = [attack(target, broken(target, seeds, rng), tmp_path) for _ in range(target.mutations)]
    # Most mutations break something; a reader that takes nearly everything does not look.
    assert sum(map(bool, refusals)) > target.mutations / 10


@pytest.mark.parametrize("source", SOURCES)
def test_what_a_reader_takes_every_writer_writes_or_refuses_with_our_errors(source: str, tmp_path: Path) -> None:
    rng, policies = random.Random(source), list(ImagePolicy)
    tried = (broken_labels(source, rng, tmp_path) for _ in range(400))
    taken = list(islice(filter(None, tried), 20))
    refusals = [pass_on(labels, writer, rng.choice(policies), tmp_path) for labels in taken for writer in WRITERS]
    # Mutations that no reader takes, or that no writer writes, would try nothing.
    assert len(taken) == 20 and sum(map(bool, refusals)) < len(refusals) / 2


@pytest.mark.parametrize("path", FINDINGS, ids=[f"{path.parent.name}-{path.name[:12]}" for path in FINDINGS])
def test_what_once_broke_a_reader(path: Path, tmp_path: Path) -> None:
    attack(TARGETS[path.parent.name], path.read_bytes(), tmp_path)


def test_findings_belong_to_targets() -> None:
    assert {path.parent.name for path in FINDINGS} <= set(TARGETS)
