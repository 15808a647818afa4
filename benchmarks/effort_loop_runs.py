"""Three ways to label a corpus, each a project on disk that goes on where it stopped.

* ``loop``: the loop as people use it. Rounds of review by doubt, each with fine-tuning, then the audit. The simulated
  reviewer answers through the API of a real Label Studio.
* ``random``: the same rounds with as many tasks and as much training, but poses are reviewed in random order, and
  nothing is audited.
* ``everything``: all poses are reviewed as the first network labelled them; nothing is learnt.

In the end each reviews whatever is neither reviewed nor certified. All start from one first round, made once. Answers
of the two arms without a server go through files; the reviewer answers alike either way.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autolabel.labelstudio.access import Access, save_token, write_settings
from autolabel.manifest import COMMIT, Manifest
from autolabel.merge import SEEN
from autolabel.progress import SILENT, Progress
from autolabel.project import FILE, to_toml
from benchmarks.effort_loop_cases import Case
from benchmarks.labelstudio_person import ServerReviewer
from pipelines import loop
from pipelines.loop_state import Reviewer, last_pulled
from pipelines.merge import merge
from pipelines.pull import pull
from pipelines.push import push
from pipelines.simulated_reviewer import SimulatedReviewer
from pipelines.subset import with_poses

LOOP, RANDOM, EVERYTHING = "loop", "random", "everything"
ARMS = (LOOP, RANDOM, EVERYTHING)

ACCEPTED = "accepted"
"""State of a pose that the certificate covers."""

_REST = "rest"


@dataclass(frozen=True)
class Run:
    """One arm of one seed.

    Attributes:
        case: The corpus.
        arm: One of ``ARMS``.
        seed: Of everything that is drawn, and of the reviewer.
        access: The server; for ``loop`` alone. None answers through files there too.
        progress: Where to report.
    """

    case: Case
    arm: str
    seed: int
    access: Access | None = None
    progress: Progress = SILENT

    @property
    def folder(self) -> Path:
        """The project."""
        return self.case.folder / f"seed-{self.seed}-{self.arm}"

    @property
    def end(self) -> Path:
        """The corpus as the arm leaves it."""
        return self.folder / "end"

    @property
    def answers(self) -> Path:
        """All answers of the arm, once there are any."""
        pulled = self.folder / _REST / "pulled"
        found = pulled if (pulled / COMMIT).is_file() else last_pulled(self.folder)
        assert found is not None, f"{self.folder} has no answers"
        return found

    def go(self) -> None:
        """Do what is not done; afterwards :attr:`end` is there."""
        if (self.end / COMMIT).is_file():
            return
        first_round(self.case, self.progress)
        self._set_up()
        reviewer = self._reviewer()
        if self.arm == EVERYTHING:
            labelled = self.folder / "rounds" / "00" / "scored"
        else:
            loop.run(self.folder, reviewer=reviewer, audit=self.arm == LOOP, progress=self.progress)
            last = self.folder / "rounds" / f"{loop.status(self.folder).rounds:02d}" / "scored"
            labelled = self.folder / "dataset" if self.arm == LOOP else last
        self._review_rest(Manifest.open(labelled), reviewer)

    def _set_up(self) -> None:
        """Write the project's settings and give it the first round."""
        order = {"order": "random"} if self.arm == RANDOM else {}
        _write_project(self.case, self.folder, {"seed": self.seed, **order})
        if not (self.folder / "rounds" / "00").is_dir():
            begun = self.folder / "rounds" / ".begun"
            shutil.copytree(first_project(self.case) / "rounds" / "00", begun, dirs_exist_ok=True)
            begun.rename(self.folder / "rounds" / "00")
        if self.access is not None:
            write_settings(self.folder, url=self.access.url)
            save_token(self.folder, self.access.token)

    def _reviewer(self) -> Reviewer:
        plan = self.case.plan
        simulated = SimulatedReviewer(self.case.known, seed=self.seed, noise=plan.noise, overlook=plan.overlook)
        return simulated if self.access is None else ServerReviewer(simulated)

    def _review_rest(self, labelled: Manifest, reviewer: Reviewer) -> None:
        """Have everything reviewed that is neither reviewed nor certified, and lay it over the rest."""
        here = self.folder / _REST
        rest = [
            pose
            for sample in labelled
            for pose, said in zip(sample.poses.id.tolist(), sample.poses.attributes, strict=True)
            if said.get("state") not in {*SEEN, ACCEPTED}
        ]
        pulled: Path | None = None
        if rest:
            asked = with_poses(labelled, rest, out=here / "asked", stage="select")
            push(asked.path, project=self.folder, progress=self.progress)
            reviewer.review(self.folder)
            pulled = pull(
                project=self.folder, out=here / "pulled", overwrite=True, progress=self.progress
            ).manifest.path
        merge(labelled, pulled or self.answers, out=self.end, overwrite=True, progress=self.progress)


def first_round(case: Case, progress: Progress = SILENT) -> None:
    """What the first network says of the corpus, from which all arms of all seeds start; made once."""
    _write_project(case, first_project(case), {"count": 0})
    loop.run(first_project(case), audit=False, progress=progress)


def first_project(case: Case) -> Path:
    """The project that made the first round of all others."""
    return case.folder / "start"


def _write_project(case: Case, folder: Path, rounds: Mapping[str, Any]) -> None:
    """Write a project's settings, unless they are there."""
    if (folder / FILE).is_file():
        return
    tables = {name: dict(table) for name, table in case.plan.settings.items()}
    tables["rounds"] |= rounds
    tables |= {"corpus": dict(case.corpus), "network": {"weights": str(case.weights.resolve())}, "labelstudio": {}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_text(to_toml({"name": f"{case.name} {folder.name}", **tables}), encoding="utf-8")
