"""What a report about a project rests on beside the rounds' own numbers: measured again from what lies on disk.

Nothing here needs the truth of all poses, which nobody has: every round's network left its poses of the held-out test
and of the whole corpus, people left their answers, and some of these are about poses that were drawn at random and kept
from training. A part that cannot be read any more does not keep the others from being told: its reason goes onto the
page. Reports of old projects are made in the same way.
"""

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from autolabel.calibrator import Calibrator
from autolabel.errors import AutolabelError
from autolabel.manifest import COMMIT, Manifest
from autolabel.merge import SEEN, SETTLED, State
from autolabel.poses import Sample
from autolabel.progress import SILENT
from autolabel.project import FILE, read_project
from autolabel.report.answers import DRAWN, LEAST, Answered, score_of
from autolabel.report.evidence import Evidence
from autolabel.report.rounds import Score
from autolabel.report.yardstick import Yardstick, read_yardstick
from autolabel.score import score
from pipelines.check import check
from pipelines.loop_state import Loop, read_seconds
from pipelines.report_answers import answered, drawn_poses, newest_answers

T = TypeVar("T")

_ON_ANSWERS = "Learning on answers"


def evidence(folder: Path, upto: int | None, last: int) -> Evidence:
    """Measure what a page needs.

    Args:
        folder: The project.
        upto: The last round that is looked at; None for all of them, and the audit.
        last: The number of that round.
    """
    gaps: list[tuple[str, str]] = []
    if not (folder / FILE).is_file():
        return Evidence(gaps=(("What is measured from the project's files", f"{FILE} is not there any more."),))

    def tried(what: str, measure: Callable[[], T | None]) -> T | None:
        try:
            return measure()
        except AutolabelError as error:
            gaps.append((what, str(error)))
            return None

    settings = tried("What is measured from the project's files", lambda: read_project(folder))
    if settings is None:
        return Evidence(gaps=tuple(gaps))
    loop = Loop(folder, settings, None, None, SILENT)
    networks = [n for n in range(last + 1) if loop.network(n)[0] == n]
    whole = upto is None
    test = tried("Learning on the held-out test", lambda: _held_out(loop, networks, "test"))
    kept = tried(_ON_ANSWERS, lambda: _answers(loop, networks, last, gaps, whole=whole))
    base = tried("Forgetting", lambda: _held_out(loop, networks, "base")) if _own_base(loop) else None
    doubt = tried("Doubt of the held-out test", lambda: _doubt_of_test(loop, networks[-1], last))
    said = tried("People's answers", lambda: answered(loop, last, whole=whole))
    scored = loop.round(last) / "scored"
    return Evidence(
        skeleton=Manifest.open(scored).skeleton if (scored / COMMIT).is_file() else None,
        yardsticks=tuple(yardstick for yardstick in (test, kept) if yardstick is not None),
        base=base or test,
        doubt=tuple(_doubts(doubt, said)),
        answered=said,
        speed=_speed(loop, networks),
        states=(tried("The dataset's states", lambda: _states(folder / "dataset")) or {}) if whole else {},
        gaps=tuple(gaps),
    )


def _few(placed: int) -> str:
    """Why answers measure no network."""
    return (
        "Joints that people left alone beside a pre-label are the network's own, and would praise it. Of the random "
        f"draws {placed} were placed without one, and fewer than {LEAST} tell nothing. Give corpus.test, or "
        "rounds.gate_share, whose poses are shown without a pre-label."
    )


def _own_base(loop: Loop) -> bool:
    corpus = loop.project.corpus
    return corpus.base not in ("", corpus.test)


def _held_out(loop: Loop, networks: list[int], name: str) -> Yardstick | None:
    """A manifest of the settings, as every network left its poses; None where it is not given, or none did."""
    known = loop.manifest(getattr(loop.project.corpus, name))
    folders = [(n, loop.round(n) / name) for n in networks]
    placed = [(n, Manifest.open(folder)) for n, folder in folders if (folder / COMMIT).is_file()]
    if known is None or not placed:
        return None
    words = {"test": "held-out test", "base": "base set"}
    return read_yardstick(
        words[name], f"labelled people of corpus.{name}, which never train", list(known), placed, known.skeleton
    )


def _answers(
    loop: Loop, networks: list[int], last: int, gaps: list[tuple[str, str]], *, whole: bool
) -> Yardstick | None:
    """Answered poses that random draws kept from training, as every network placed them; None where there are none.

    Only those count that people placed without a pre-label. Beside one, a joint that they leave alone is the coordinate
    of the network that placed it, which then agrees with itself. Where too few are left, a gap says so.
    """
    pulled = newest_answers(loop, last, whole=whole)
    if pulled is None:
        return None
    answers = Manifest.open(pulled)
    truth = list(_settled(answers, drawn_poses(loop.folder, DRAWN, blind=True)))
    placed_by_hand = sum(len(sample.poses) for sample in truth)
    if placed_by_hand < LEAST:
        if any(True for _ in _settled(answers, drawn_poses(loop.folder, DRAWN, blind=False))):
            gaps.append((_ON_ANSWERS, _few(placed_by_hand)))
        return None
    ids = {pose for sample in truth for pose in sample.poses.id.tolist()}
    folders = [(n, loop.round(n) / "predicted") for n in networks]
    placed = [(n, list(_only(Manifest.open(folder), ids))) for n, folder in folders if (folder / COMMIT).is_file()]
    placed = [(n, samples) for n, samples in placed if samples]
    if not ids or not placed:
        return None
    known = [_without_rejected(sample) for sample in truth]
    what = (
        "people drawn at random and placed by reviewers who saw no pre-label, kept from training (where gates chose by "
        "them, later networks look a little too good)"
    )
    return read_yardstick("answers kept from training", what, known, placed, answers.skeleton)


def _settled(answers: Manifest, drawn: Collection[str]) -> Iterator[Sample]:
    for sample in answers:
        pairs = zip(sample.poses.id.tolist(), sample.poses.attributes, strict=True)
        rows = np.array([pose in drawn and a.get("state") in SETTLED for pose, a in pairs], bool)
        if rows.any():
            yield sample.with_poses(sample.poses.take(rows))


def _without_rejected(sample: Sample) -> Sample:
    """The people: a pose that people threw out is nobody, and a network that still places it makes an extra one."""
    person = [attributes.get("state") != State.REJECTED for attributes in sample.poses.attributes]
    return sample.with_poses(sample.poses.take(np.array(person, bool)))


def _only(manifest: Manifest, ids: Collection[str]) -> Iterator[Sample]:
    """Samples with some of these poses, and these alone; parts without any are not read in full."""
    for i in range(manifest.num_parts):
        if not any(pose in ids for pose in manifest.poses(i).id.tolist()):
            continue
        for sample in manifest.part(i):
            rows = np.array([pose in ids for pose in sample.poses.id.tolist()], bool)
            if rows.any():
                yield sample.with_poses(sample.poses.take(rows))


def _doubt_of_test(loop: Loop, network: int, last: int) -> Score | None:
    """How good the newest calibrator's doubts of the held-out test are; None without a test or a calibrator."""
    known, file = loop.manifest(loop.project.corpus.test), loop.round(last) / "calibrator.json"
    placed = loop.round(network) / "test"
    if known is None or not file.is_file() or not (placed / COMMIT).is_file():
        return None
    checked = check(Manifest.open(placed), known)
    scored = score(checked.poses, checked.features, known.skeleton, Calibrator.read(file))
    return score_of(scored.poses.p_bad, checked.bad)


def _doubts(test: Score | None, said: Answered | None) -> Iterator[tuple[str, Score]]:
    if test is not None:
        yield "the held-out test, by the newest calibrator", test
    if said is not None and said.doubt is not None:
        yield "random draws, as it was before anybody looked", said.doubt


def _speed(loop: Loop, networks: list[int]) -> tuple[int, float] | None:
    """Images of the corpus that networks predicted, and the seconds; None where that was not timed."""
    done = [(loop.round(n) / "predicted", read_seconds(loop.round(n)).get("predict", 0.0)) for n in networks]
    timed = [(folder, seconds) for folder, seconds in done if seconds > 0 and (folder / COMMIT).is_file()]
    if not timed:
        return None
    return sum(len(Manifest.open(folder)) for folder, _ in timed), sum(seconds for _, seconds in timed)


def _states(dataset: Path) -> dict[str, int]:
    """How many poses of the dataset are accepted, review (opened), rejected or untouched; empty where there is none."""
    if not (dataset / COMMIT).is_file():
        return {}
    counts: dict[str, int] = dict.fromkeys(("accepted", "review", "rejected", "untouched"), 0)
    manifest = Manifest.open(dataset)
    for i in range(manifest.num_parts):
        for attributes in manifest.poses(i).attributes:
            state = attributes.get("state")
            opened = state in SEEN and state != State.REJECTED
            name = "review" if opened else state if state in ("accepted", "rejected") else "untouched"
            counts[str(name)] += 1
    return {name: count for name, count in counts.items() if count}
