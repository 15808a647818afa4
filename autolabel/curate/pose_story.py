"""A pose explained, as Markdown: why it is doubted, which keypoints most, what the network saw, who said what since.

Numbers come from the data set, which shows them for every pose. What the network measured (features) and what people
answered (the ledger) lie beside the manifest; where they do not, the rest is told without them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.curate.deciding import code
from autolabel.evidence import KEYPOINT_COLUMNS, POSE_COLUMNS
from autolabel.ledger import Entry
from autolabel.merge import KeypointChange, PoseChange
from autolabel.phrases import counted, named
from autolabel.skeleton import Skeleton

WORST = 5
"""Keypoints that are listed, the most doubtful first."""

COLUMNS = 3
"""Keypoints whose features are told."""

ANSWERS = 12
"""Answers that are listed, the last ones."""

UNTOLD = ("embedding",)
"""Features that say nothing to people."""

_GROWS = {1: "high", -1: "low", 0: "either"}


@dataclass(frozen=True, eq=False)
class Story:
    """What is known of one pose.

    Attributes:
        pose: The attributes of its label in FiftyOne.
        path: Of its image.
        keypoints: K names.
        skeleton: Names them in words; None where the manifest is not there.
        history: Every answer about it.
        features: By name, (K,) or (1,) values that the network measured.
        missing: What could not be looked up, and why.
    """

    pose: Mapping[str, Any]
    path: str
    keypoints: Sequence[str]
    skeleton: Skeleton | None = None
    history: Sequence[Entry] = ()
    features: Mapping[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])
    missing: str = ""


def tell(story: Story) -> str:
    """The story as Markdown."""
    worst = most_doubtful(story)
    parts = [
        f"Pose {code(str(story.pose.get('pose_id') or '?'))}" + (f" in {code(story.path)}" if story.path else ""),
        _summary(story.pose),
        _reasons(story.pose),
        _keypoints(story, worst[:WORST]),
        _history(story),
        _features(story, worst[:COLUMNS]),
        code(story.missing) if story.missing else "",
    ]
    return "\n\n".join(part for part in parts if part)


def tell_all(stories: Sequence[Story], asked: int) -> str:
    """Several stories, and how many were not told.

    Args:
        stories: The stories.
        asked: How many were asked for.
    """
    left = asked - len(stories)
    more = f"*{counted(left, 'pose')} more of the selection: select fewer to see them.*" if left > 0 else ""
    return "\n\n---\n\n".join(part for part in (*map(tell, stories), more) if part)


def most_doubtful(story: Story) -> list[int]:
    """Indices of all keypoints, the most doubtful first; those without a probability last, the lowest score first."""
    gross, score = (_numbers(story.pose.get(name), len(story.keypoints)) for name in ("p_gross", "confidence"))
    known = np.isfinite(gross)
    return np.lexsort((np.nan_to_num(score, nan=2.0), np.where(known, -gross, 2.0))).tolist()


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown; empty without rows."""
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _summary(pose: Mapping[str, Any]) -> str:
    """Where it stands, in one line or two."""
    told = [
        f"**p_bad {_number(pose['p_bad'])}**" if pose.get("p_bad") is not None else "",
        f"state {pose.get('state') or 'open'}",
        f"stated by {code(str(pose['by']))}" if pose.get("by") else "",
        f"routed to {pose['routed']}" if pose.get("routed") else "",
        f"OKS with the truth {_number(pose['oks'])}" if pose.get("oks") is not None else "",
        "bad by the truth" if pose.get("bad") else "",
    ]
    tags = [str(tag) for tag in pose.get("tags") or ()]
    signed = f" by {code(str(pose['decided_by']))}" if pose.get("decided_by") and tags else ""
    at = f" at {_time(str(pose['decided_at']))}" if pose.get("decided_at") and tags else ""
    tagged = f"Tagged {', '.join(map(code, tags))}{signed}{at}." if tags else ""
    return "\n\n".join(line for line in (" · ".join(filter(None, told)), tagged) if line)


def _reasons(pose: Mapping[str, Any]) -> str:
    reasons, lint = ([_cell(str(word)) for word in pose.get(name) or ()] for name in ("reasons", "lint"))
    told = [f"- {reason}" for reason in reasons] + [f"- lint: {finding}" for finding in lint]
    return "\n".join(["**Why it is doubted**", "", *told]) if told else "No reason to doubt it was written down."


def _keypoints(story: Story, which: Sequence[int]) -> str:
    count, pose = len(story.keypoints), story.pose
    told = (("p_gross", "p_gross"), ("presence", "presence"), ("score", "confidence"))
    numbers = {name: _numbers(pose.get(source), count) for name, source in told}
    columns = {name: list(map(_number, values)) for name, values in numbers.items() if np.isfinite(values).any()}
    if not columns:
        return ""
    words = (("said to be", "visibility"), ("placed by", "origin"))
    columns |= {name: list(pose[source]) for name, source in words if len(pose.get(source) or ()) == count}
    rows = [[_spoken(story.keypoints[k]), *(column[k] for column in columns.values())] for k in which]
    return table(("most doubtful", *columns), rows)


def _features(story: Story, which: Sequence[int]) -> str:
    """What the network measured: of the most doubtful keypoints, and of the whole pose."""
    count, told = len(story.keypoints), {n: v for n, v in story.features.items() if n not in UNTOLD}
    ways = {column.name: _GROWS[column.direction] for column in (*POSE_COLUMNS, *KEYPOINT_COLUMNS)}
    each = [
        [name, *(_number(values[k]) for k in which), ways.get(name, "")]
        for name, values in told.items()
        if len(values) == count > 1 and np.isfinite(values[list(which)]).any()
    ]
    whole = [f"{n} {_number(v[0])}" for n, v in told.items() if len(v) == 1 and np.isfinite(v[0])]
    head = ["measured", *(_spoken(story.keypoints[k]) for k in which), "doubtful if"]
    parts = (table(head, each), f"Of the whole pose: {', '.join(whole)}." if whole else "")
    return "\n\n".join(part for part in parts if part)


def _history(story: Story) -> str:
    if not story.history:
        return "" if story.missing else "Nobody has answered about it yet."
    entries = sorted(story.history, key=lambda entry: entry.correction.when)
    left = f"Earlier answers that are not listed: {len(entries) - ANSWERS}." if len(entries) > ANSWERS else ""
    head = ("answered", "by", "task", "seconds", "what")
    rows = [_answer(entry, story) for entry in entries[-ANSWERS:]]
    return "\n\n".join(part for part in (table(head, rows), left) if part)


def _answer(entry: Entry, story: Story) -> list[str]:
    correction = entry.correction
    task = entry.kind if entry.laid else f"{entry.kind}, laid over nothing"
    seconds = "" if correction.seconds is None else f"{correction.seconds:.0f}"
    return [_time(correction.when), correction.by, task, seconds, _deed(entry, story)]


def _deed(entry: Entry, story: Story) -> str:
    """What one answer did to the pose."""
    correction = entry.correction
    verdict = "; ".join(correction.verdict)
    if correction.change is PoseChange.REJECTED:
        return f"rejected: {verdict}" if verdict else "rejected"
    told = [verdict] if verdict else list[str]()
    if correction.change is PoseChange.BOX_MOVED:
        told.append("box moved")
    for change in (c for c in KeypointChange if c is not KeypointChange.KEPT):
        which = [k for k, made in enumerate(correction.keypoints) if made is change]
        if which:
            told.append(f"{_names(which, story)} {change}{_far(entry, which, change)}")
    return "; ".join(told) or "left as it was"


def _far(entry: Entry, which: Sequence[int], change: KeypointChange) -> str:
    far = entry.correction.distance[list(which)]
    if change is not KeypointChange.MOVED or not np.isfinite(far).any():
        return ""
    return f" {'up to ' if len(which) > 1 else ''}{np.nanmax(far):.1f} px"


def _names(which: Sequence[int], story: Story) -> str:
    if story.skeleton is not None:
        return named(which, story.skeleton)
    return counted(len(which), "keypoint")


def _numbers(values: Any, count: int) -> NDArray[np.float64]:
    """(K,) numbers of a label's list, NaN for what is not there."""
    told = np.full(count, np.nan)
    for k, value in enumerate(list(values or ())[:count]):
        told[k] = np.nan if value is None else float(value)
    return told


def _number(value: Any) -> str:
    if value is None or not np.isfinite(float(value)):
        return "–"
    number = float(value)
    return f"{number:.3f}" if abs(number) < 1 else f"{number:.3g}"


def _spoken(name: str) -> str:
    return name.replace("_", " ")


def _time(text: str) -> str:
    return text[:16].replace("T", " ")


def _cell(text: str) -> str:
    """Text that cannot leave its cell, nor become formatting that nobody meant."""
    return " ".join(text.replace("|", "\\|").split())
