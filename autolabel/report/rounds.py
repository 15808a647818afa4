"""What the loop wrote about its rounds, read for a report.

``PROJECT/rounds/NN/round.json`` says what a round cost and what it bought, ``PROJECT/audit/audit.json`` what the audit
cost, ``PROJECT/certificate.json`` what it proved. Shares lie in 0..1, errors are in image pixels, times in seconds;
null stands for "not known", as for the error of poses whose truth nobody has.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autolabel.certify import Certificate
from autolabel.errors import InputError
from autolabel.formats.records import Record, read_json

ROUND = "round.json"
ROUNDS = "rounds"
CERTIFICATE = "certificate.json"
AUDIT = "audit.json"
AUDITS = "audit"


@dataclass(frozen=True)
class Quality:
    """How good some poses are, measured against the truth.

    Attributes:
        poses: How many were measured.
        bad: Share of bad poses.
        gross: Share of gross keypoints.
        epe: Mean end-point error in pixels.
        oks: Mean OKS.
    """

    poses: int
    bad: float
    gross: float
    epe: float
    oks: float


@dataclass(frozen=True)
class Arm:
    """What one way to choose poses for review led to; None where no truth is known.

    Attributes:
        untouched: Poses that nobody opened.
        test: Held-out poses that never train.
    """

    untouched: Quality | None = None
    test: Quality | None = None


@dataclass(frozen=True)
class Score:
    """How good the doubt is.

    Attributes:
        auroc_bad: Area under the ROC curve of ``p_bad`` for telling bad poses.
        risk_coverage: (share of poses kept, share of bad ones among them), the least doubtful first.
        reliability: (mean ``p_bad``, share of bad poses, poses) of each bin.
    """

    auroc_bad: float
    risk_coverage: tuple[tuple[float, float], ...]
    reliability: tuple[tuple[float, float, int], ...]


@dataclass(frozen=True)
class Compared:
    """A new network beside the old one on the same poses.

    Attributes:
        poses: How many.
        oks: Mean OKS of the new network; NaN of no poses.
        old_oks: Of the old one.
        fixed: Poses that are bad with the old network only.
        broken: Poses that are bad with the new network only.
    """

    poses: int
    oks: float
    old_oks: float
    fixed: int
    broken: int


@dataclass(frozen=True)
class Gate:
    """What was decided about a round's new network.

    Attributes:
        decision: ``promoted`` or ``refused``.
        reason: Why.
        gate: On the gate poses; None where nothing was held out for a gate.
        base: On the base set; None where there is none.
    """

    decision: str
    reason: str
    gate: Compared | None
    base: Compared | None


@dataclass(frozen=True)
class ColdStart:
    """What people labelled before there was any network.

    Attributes:
        chosen: People, or whole images, that they were asked about.
        candidates: Of how many.
        boxed: Whether the boxes of people were known; else whole images were asked about.
        features: What told the candidates apart.
    """

    chosen: int
    candidates: int
    boxed: bool
    features: str


@dataclass(frozen=True)
class Lessons:
    """A part of what a round's network learnt from.

    Attributes:
        source: ``corrected``, ``base`` and so on.
        poses: How many it holds.
        share: Of the crops of every batch.
        filled: Keypoints that the last network taught where people left them open.
    """

    source: str
    poses: int
    share: float
    filled: int


@dataclass(frozen=True)
class Faults:
    """What lint found that only a person can settle.

    Attributes:
        poses: Poses that nobody had seen.
        faulty: Of them.
        answered: Poses that people had answered.
        answered_faulty: Of them.
    """

    poses: int
    faulty: int
    answered: int
    answered_faulty: int


@dataclass(frozen=True)
class Student:
    """A round's student.

    Attributes:
        state: ``distilled``, ``kept``, or ``none`` where it was not used.
        placed: Poses that it placed.
        asked: Poses that its teacher placed.
        seconds: That both took for that, when they came together.
    """

    state: str
    placed: int = 0
    asked: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Round:
    """One turn of the loop.

    Attributes:
        number: From 0 or 1 on.
        model: Digest of the model that labelled.
        trained_on: Poses that it was trained on.
        counts: Poses by where routing sent them.
        opened: Poses that people opened so far.
        clicks: Clicks so far.
        routed: What our routing led to.
        random: What random routing at the same budget led to, if it was tried.
        score: How good the doubt was, where the truth is known.
        seconds: Time by step.
        gate: What was decided about the network that it trained; None where it trained none.
        cold: What people labelled first; None where there was no cold start, and in later rounds.
        lessons: What its network learnt from; empty where it trained none.
        faults: What lint found; None where it did not look.
        stop: Why it was the last round; "" where it was not, or nothing is told.
        student: Its student; None where none was asked for.
    """

    number: int
    model: str
    trained_on: int
    counts: Mapping[str, int]
    opened: int
    clicks: int
    routed: Arm
    random: Arm | None
    score: Score | None
    seconds: Mapping[str, float]
    gate: Gate | None = None
    cold: ColdStart | None = None
    lessons: tuple[Lessons, ...] = ()
    faults: Faults | None = None
    stop: str = ""
    student: Student | None = None


@dataclass(frozen=True)
class AuditCost:
    """What the last step of a project cost.

    Attributes:
        audited: Accepted poses that people opened to audit them.
        reviewed: Other poses that they opened with what was left of the budget.
        opened: Poses that people opened in the whole project, these included.
        clicks: Clicks in the whole project.
        seconds: Time by step.
    """

    audited: int
    reviewed: int
    opened: int
    clicks: int
    seconds: Mapping[str, float]


def read_audit(project: Path) -> AuditCost | None:
    """What the audit cost; None where none was answered yet.

    Raises:
        FormatError: The file is malformed; names the field.
    """
    file = project / AUDITS / AUDIT
    if not file.is_file():
        return None
    record = Record(read_json(file), "", str(file))
    tasks, effort, seconds = record.record("tasks"), record.record("effort"), record.record("seconds")
    return AuditCost(
        audited=int(tasks.number("audit")),
        reviewed=int(tasks.number("review")),
        opened=int(effort.number("poses_opened")),
        clicks=int(effort.number("clicks")),
        seconds={name: seconds.number(name) for name in seconds.data},
    )


def read_rounds(project: Path) -> tuple[Round, ...]:
    """All finished rounds of a project, in order.

    Raises:
        InputError: There are none.
        FormatError: A file is malformed.
    """
    files = sorted((project / ROUNDS).glob(f"*/{ROUND}"))
    if not files:
        raise InputError(
            "no round is finished yet",
            subject=str(project),
            remedy="`autolabel loop status` says what the first one waits for.",
        )
    return tuple(sorted((read_round(file) for file in files), key=lambda r: r.number))


def read_round(file: Path) -> Round:
    """One round.

    Raises:
        FormatError: The file is malformed; names the field.
    """
    record = Record(read_json(file), "", str(file))
    effort = record.record("effort")
    return Round(
        number=int(record.number("round")),
        model=record.text("model"),
        trained_on=int(record.number("trained_on")),
        counts={name: int(record.record("counts").number(name)) for name in record.record("counts").data},
        opened=int(effort.number("poses_opened")),
        clicks=int(effort.number("clicks")),
        routed=_arm(record.record("routed")),
        random=None if record.require("random") is None else _arm(record.record("random")),
        score=None if record.require("score") is None else _score(record.record("score")),
        seconds={name: record.record("seconds").number(name) for name in record.record("seconds").data},
        gate=None if record.data.get("gate") is None else _gate(record.record("gate")),
        cold=None if record.data.get("cold") is None else _cold(record.record("cold")),
        lessons=() if record.data.get("learning") is None else _lessons(record.record("learning")),
        faults=None if record.data.get("lint") is None else _faults(record.record("lint")),
        stop="" if record.data.get("stop") is None else record.record("stop").text("reason"),
        student=None if record.data.get("student") is None else _student(record.record("student")),
    )


def read_certificate(project: Path) -> Certificate | None:
    """The project's certificate, issued or refused; None where no audit was judged yet.

    Raises:
        FormatError: The file is malformed.
    """
    file = project / CERTIFICATE
    if not file.is_file():
        return None
    return Certificate.from_dict(Record(read_json(file), "", str(file)).data, subject=str(file))


def _arm(record: Record) -> Arm:
    return Arm(untouched=_quality(record, "untouched"), test=_quality(record, "test"))


def _gate(record: Record) -> Gate:
    return Gate(record.text("decision"), record.text("reason"), _two(record, "gate"), _two(record, "base"))


def _cold(record: Record) -> ColdStart:
    chosen, candidates = (int(record.number(name)) for name in ("chosen", "candidates"))
    return ColdStart(chosen, candidates, record.require("boxes") is True, record.text("looks"))


def _lessons(record: Record) -> tuple[Lessons, ...]:
    sources = record.items("sources")
    return tuple(
        _lesson(Record(source, f"{record.place}.sources[{i}]", record.subject)) for i, source in enumerate(sources)
    )


def _lesson(source: Record) -> Lessons:
    poses, share, filled = (source.number(name) for name in ("poses", "share", "filled"))
    return Lessons(source.text("from"), int(poses), share, int(filled))


def _faults(record: Record) -> Faults:
    return Faults(*(int(record.number(name)) for name in ("poses", "faulty", "answered", "answered_faulty")))


def _student(record: Record) -> Student:
    state = record.text("state")
    if record.require("cascade") is None:
        return Student(state)
    cascade = record.record("cascade")
    seconds = cascade.record("seconds")
    spent = sum(seconds.number(name) for name in seconds.data)
    return Student(state, int(cascade.number("student")), int(cascade.number("teacher")), spent)


def _two(record: Record, field: str) -> Compared | None:
    if record.require(field) is None:
        return None
    compared = record.record(field)
    poses, fixed, broken = (int(compared.number(name)) for name in ("poses", "fixed", "broken"))
    return Compared(poses, _share(compared, "oks"), _share(compared, "old_oks"), fixed, broken)


def _quality(record: Record, field: str) -> Quality | None:
    if record.data.get(field) is None:
        return None
    quality = record.record(field)
    return Quality(
        poses=int(quality.number("n")),
        bad=_share(quality, "bad"),
        gross=_share(quality, "gross"),
        epe=_number(quality, "epe"),
        oks=_share(quality, "oks"),
    )


def _score(record: Record) -> Score:
    curve = [
        Record({"point": point}, f"{record.place}.risk_coverage[{i}]", record.subject).numbers("point", 2)
        for i, point in enumerate(record.items("risk_coverage"))
    ]
    bins = [
        Record({"bin": point}, f"{record.place}.reliability[{i}]", record.subject).numbers("bin", 3)
        for i, point in enumerate(record.items("reliability"))
    ]
    return Score(
        auroc_bad=_share(record, "auroc_bad"),
        risk_coverage=tuple((coverage, risk) for coverage, risk in curve),
        reliability=tuple((p, rate, int(n)) for p, rate, n in bins),
    )


def _number(record: Record, field: str) -> float:
    """A number; NaN for null."""
    return math.nan if record.require(field) is None else record.number(field)


def _share(record: Record, field: str) -> float:
    value = _number(record, field)
    if value < 0 or value > 1:
        record.fail(field, f"is {value:g}, expected a share from 0 to 1")
    return value
