"""The table about new networks: which of them replaced the old one, and what was seen before that was decided."""

import math
from collections.abc import Sequence

from autolabel.report.page import Table
from autolabel.report.rounds import Compared, Round

_UNKNOWN = "–"


def gate_table(rounds: Sequence[Round]) -> Table | None:
    """One row for each round that trained a network; None where no round did."""
    judged = [(r.number, r.gate) for r in rounds if r.gate]
    if not judged:
        return None
    columns = ("Round", "network", "gate poses, OKS old", "new", "fixed", "broken", "base, OKS old", "new", "why")
    rows = [(str(n), gate.decision, *_cells(gate.gate), *_cells(gate.base)[:2], gate.reason) for n, gate in judged]
    kept = [i for i in range(len(columns)) if any(row[i] != _UNKNOWN for row in rows)]
    return Table(
        title="New networks, round by round",
        caption="A new network replaces the old one where it is shown to be better on checked poses that nothing was "
        "learnt from, and not to have lost more than a stated part of its OKS on the base set; where no poses are held "
        "out to show it, it does unless the base set shows such a loss. A refused network labels nothing. Fixed: bad "
        "poses of the old network that are not bad with the new one; broken: the reverse.",
        columns=tuple(columns[i] for i in kept),
        rows=tuple(tuple(row[i] for i in kept) for row in rows),
    )


def _cells(compared: Compared | None) -> tuple[str, str, str, str]:
    if compared is None or not compared.poses:
        return _UNKNOWN, _UNKNOWN, _UNKNOWN, _UNKNOWN
    return _oks(compared.old_oks), _oks(compared.oks), f"{compared.fixed:,}", f"{compared.broken:,}"


def _oks(value: float) -> str:
    return _UNKNOWN if math.isnan(value) else f"{value:.3f}"
