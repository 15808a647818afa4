"""The lint step of a round: what seems wrong with poses, whatever the score says, and what becomes of it.

``score`` looks at every pose that no person has seen, and what it finds travels with the pose: routing accepts no such
pose (:func:`pipelines.lint.faulty`), however sure the score is, so that it stays open until a person has seen it. This
step writes the findings down
where people can read them, ``rounds/NN/lint/findings.jsonl`` with one line a pose, and looks at the poses that people
answered too: a finger that slipped shows as a bone that is too long or as two joints in one place. Those are told and
change nothing, because a person's word stands until a person takes it back.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autolabel.formats.records import read_json
from autolabel.manifest import Manifest, write_text
from autolabel.merge import SEEN
from autolabel.phrases import counted
from autolabel.poses import Sample
from pipelines.lint import LINT, Linter, faulty
from pipelines.loop_state import Loop

FOUND = "lint/lint.json"
"""In a round's folder: how much was found; written last."""

FINDINGS = "lint/findings.jsonl"
"""In a round's folder: a line for each pose with a finding."""


@dataclass(frozen=True)
class Found:
    """How much lint found.

    Attributes:
        poses: Poses that no person has seen.
        faulty: Those of them with a finding that only a person can settle: they are not accepted.
        answered: Poses that people answered.
        answered_faulty: Those of them with such a finding.
        kinds: All findings in poses that no person has seen, by kind; kinds that were not found are left out.
    """

    poses: int
    faulty: int
    answered: int
    answered_faulty: int
    kinds: dict[str, int]

    def words(self) -> str:
        """One sentence for people."""
        told = f"{self.faulty:,} of {counted(self.poses, 'pose')} that nobody has seen"
        if self.answered_faulty:
            told += f" and {self.answered_faulty:,} of {self.answered:,} that people answered"
        return f"lint finds faults in {told}"


def lint_round(loop: Loop, n: int) -> dict[str, Any]:
    """Look for faults in a round's poses; once, however often it is called.

    Args:
        loop: The loop.
        n: The round; its poses are scored.

    Returns:
        The fields of :class:`Found`, for ``round.json``.
    """
    here = loop.round(n)
    if not (here / FOUND).is_file():
        (here / FOUND).parent.mkdir(parents=True, exist_ok=True)
        with loop.timed(here, LINT):
            found = _looked(loop, Manifest.open(here / "scored"), here / FINDINGS)
        write_text(here / FOUND, json.dumps(asdict(found), indent=2) + "\n")
        loop.progress.note(found.words() + (f"; see {here / FINDINGS}" if found.kinds or found.answered_faulty else ""))
    return read_json(here / FOUND)


def _looked(loop: Loop, scored: Manifest, out: Path) -> Found:
    """Write a line for each pose with a finding, part by part; returns how much is found."""
    looked, faults, kinds = Counter[bool](), Counter[bool](), Counter[str]()
    with loop.progress.task(LINT, len(scored), "image") as task, out.open("w", encoding="utf-8") as file:
        for i, samples in enumerate(_linted(scored)):
            for sample in samples:
                looked.update(a.get("state") in SEEN for a in sample.poses.attributes)
                for line in _lines(sample):
                    file.write(f"{json.dumps(line, ensure_ascii=False)}\n")
                    faults[line["answered"]] += line["faulty"]
                    kinds.update(finding["kind"] for finding in line["findings"] if not line["answered"])
            task.advance(scored.part_length(i))
    return Found(looked[False], faults[False], looked[True], faults[True], dict(sorted(kinds.items())))


def _linted(scored: Manifest) -> Iterator[list[Sample]]:
    """The parts with their findings; what ``score`` looked at already is not looked at again."""
    linter: Linter | None = None
    for i in range(scored.num_parts):
        samples = scored.part(i)
        if any(a.get("state") in SEEN for sample in samples for a in sample.poses.attributes):
            linter = linter or Linter(scored)
            samples = linter.part(i)
        yield samples


def _lines(sample: Sample) -> Iterator[dict[str, Any]]:
    poses = sample.poses
    for pose, attributes, fault in zip(poses.id.tolist(), poses.attributes, faulty(poses).tolist(), strict=True):
        if found := attributes.get(LINT):
            yield {
                "pose": pose,
                "image": sample.path,
                "answered": attributes.get("state") in SEEN,
                "faulty": fault,
                "findings": [{"kind": finding["kind"], "text": finding["text"]} for finding in found],
            }
