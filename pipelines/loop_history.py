"""What rounds of the loop were expected to find, and what they found: forecasts are checked, and learn from that.

Before a round is reviewed, its routing holds a forecast; after it, ``forecast.json`` in the round's folder says what
came of it: the forecast, what was found, and whether the intervals held. The rounds' findings are the history that the
next forecast learns from. A round whose doubts are no probabilities is not forecast.
"""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from autolabel.audit import find
from autolabel.formats.records import read_json
from autolabel.manifest import Manifest, write_text
from autolabel.merge import CORRECTIONS, SETTLED, State, read_corrections
from autolabel.planner import Forecast, Past, Record, check
from autolabel.portions import KINDS as PORTIONS
from autolabel.poses import Poses
from autolabel.similarity import BadRule
from pipelines.certify_population import poses_in_order
from pipelines.loop_state import Loop
from pipelines.push_queue import read_routing
from pipelines.route import FORETOLD, ROUTING

FORECAST = "forecast.json"
_HISTORY = "history.jsonl"


def history(loop: Loop, n: int) -> Path | None:
    """What the rounds before round ``n`` found, for ``route``; None while doubts are no probabilities."""
    if not (loop.round(n - 1) / "calibrator.json").is_file():
        return None
    here = loop.round(n)
    here.mkdir(parents=True, exist_ok=True)
    checked = _checked(loop, n)
    lines = [json.dumps(record["past"]) for record in checked]
    lines += [json.dumps({**record["uniform"], "uniform": True}) for record in checked if record["uniform"]]
    write_text(here / _HISTORY, "".join(f"{line}\n" for line in lines))
    return here / _HISTORY


def check_forecast(loop: Loop, n: int, pulled: Manifest) -> None:
    """Write what came of round ``n``'s forecast; nothing where there is none.

    Args:
        loop: The loop.
        n: The round.
        pulled: All answers so far.
    """
    here = loop.round(n)
    foretold = read_json(here / "routing" / ROUTING).get("forecast")
    if foretold is None or (here / FORECAST).is_file():
        return
    promised = Forecast.from_dict(foretold)
    past, uniform = _past(loop, n, pulled, FORETOLD), _past(loop, n, pulled, PORTIONS)
    record: dict[str, Any] = {
        "words": foretold["words"],
        "forecast": promised.to_dict(),
        "past": past.to_dict(),
        "uniform": uniform.to_dict() if uniform.reviews else None,
    }
    if past.reviews == promised.reviews - promised.unforeseen:
        held = check(promised, past)
        record["held"] = {"bad": held.bad, "gross": held.gross, "seconds": held.seconds}
    else:
        loop.progress.note(f"the forecast was about {promised.reviews} reviews, of which {past.reviews} are answered")
    write_text(here / FORECAST, json.dumps(record, indent=2) + "\n")
    loop.progress.note(f"{foretold['words']}. Found: {past.bad} bad poses, {past.gross} gross keypoints.")
    if pairs := forecasts(loop, n + 1):
        loop.progress.note(Record.of(pairs).words())


def forecasts(loop: Loop, n: int) -> list[tuple[Forecast, Past]]:
    """The forecasts of the rounds before round ``n`` that could be checked, each with what was found."""
    return [
        (Forecast.from_dict(record["forecast"]), Past.from_dict(record["past"]))
        for record in _checked(loop, n)
        if "held" in record
    ]


def _checked(loop: Loop, n: int) -> list[dict[str, Any]]:
    files = [loop.round(m) / FORECAST for m in range(1, n)]
    return [read_json(file) for file in files if file.is_file()]


def _past(loop: Loop, n: int, pulled: Manifest, kinds: Collection[str]) -> Past:
    """What people found in the poses that they opened for the first time, in tasks of these kinds."""
    routing = read_routing(loop.round(n) / "routing")
    blind = {entry.pose: entry.blind for entry in routing.queue if entry.kind in kinds}
    asked = tuple(blind)
    answers = _of(pulled, asked)
    states = [attributes.get("state") for attributes in answers.attributes]
    answers = answers.take(np.array([state in SETTLED for state in states], bool))
    rejected = np.array([attributes["state"] == State.REJECTED for attributes in answers.attributes], bool)
    sent = _of(routing.manifest, tuple(answers.id.tolist()))
    found = find(sent, answers, rejected, pulled.skeleton, BadRule())
    spent = {c.pose: c.seconds for c in read_corrections(pulled.path / CORRECTIONS, pulled.skeleton.num_keypoints)}
    seconds = np.array([np.nan if (s := spent.get(pose)) is None else s for pose in answers.id.tolist()], np.float64)
    by_hand = [blind[pose] for pose in answers.id.tolist()]
    return Past.of(sent.p_bad, sent.p_gross, found.bad, found.gross.sum(axis=1), seconds, by_hand=by_hand)


def _of(manifest: Manifest, ids: tuple[str, ...]) -> Poses:
    parts = (manifest.poses(i) for i in range(manifest.num_parts))
    return poses_in_order(parts, ids, manifest.skeleton.num_keypoints, str(manifest.path))
