"""Tables and the picture of the certificate benchmark, from what was measured.

``docs/confidence.md`` holds a pair of comments ``<!-- table NAME -->`` and ``<!-- end NAME -->`` for each of
``TABLES``; what stands between them is written here. The picture holds no photograph.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autolabel.report.plots import INK, MUTED, RANDOM, ROUTED, styled_figure
from benchmarks.certificate_planted import ALL_STEPS, BEFORE, GOOD, LEFT, LOOSEST, TOO_BAD
from benchmarks.certificate_redraw import MORE_LABELS, OURS, PEAKS, SAME_LABELS
from benchmarks.pages import fill, markdown

Row = Mapping[str, Any]

ROOT = Path(__file__).parent.parent
PAGE, PICTURES = ROOT / "docs" / "confidence.md", ROOT / "docs" / "pictures"
PICTURE = "certificate.png"

TABLES = (
    "certificate-pools",
    "certificate-promises",
    "certificate-others",
    "certificate-planted",
    "certificate-before",
    "certificate-bars",
)

LOOKS: Mapping[str, tuple[str, str]] = {OURS: (ROUTED, "o"), SAME_LABELS: (RANDOM, "^"), MORE_LABELS: ("#3d9a50", "D")}
"""Colour and marker of each arm."""

_DPI = 144
_MISSING = "*Not measured yet.*"


def write_report(pools: Sequence[Row], planted: Sequence[Row], held: Sequence[Row], page: Path, pictures: Path) -> None:
    """Write what is measured into the page, and the picture beside it."""
    page.write_text(fill(page.read_text(encoding="utf-8"), sections(pools, planted, held)), encoding="utf-8")
    pictures.mkdir(parents=True, exist_ok=True)
    (pictures / PICTURE).write_bytes(picture(pools))


def sections(pools: Sequence[Row], planted: Sequence[Row], held: Sequence[Row]) -> dict[str, str]:
    """Markdown by table's name."""
    made = (_pools(pools), _promises(pools), _others(pools), _planted(planted), _before(planted), _bars(held))
    return {name: text or _MISSING for name, text in zip(TABLES, made, strict=True)}


def _pools(pools: Sequence[Row]) -> str:
    lines: list[tuple[str, ...]] = [
        ("pool", "poses", "bad", "redraws", "calibration", "development", "audit at most", "plants")
    ]
    for pool in pools:
        plan = pool["plan"]
        counts = (pool["runs"], *(plan[name] for name in ("calibration", "development", "budget", "plants")))
        cells = (f"{count:,}" for count in counts)
        lines.append((pool["pool"], f"{pool['poses']:,}", f"{100 * pool['bad']:.1f} %", *cells))
    return _table(lines, 1)


def _promises(pools: Sequence[Row]) -> str:
    head = (
        "pool",
        "reviewers",
        "promise",
        "issued",
        "not true",
        "certified",
        "true share",
        "worst",
        "audited",
        "found",
    )
    lines: list[tuple[str, ...]] = [(*head, "sensitivity", "nothing accepted")]
    for pool in pools:
        for row in pool["arms"]:
            if row["arm"] == OURS:
                spent = (
                    f"{row['audited']:,.0f}",
                    f"{row['found']:,.0f}",
                    f"{row['sensitivity']:.3f}",
                    str(row["nothing accepted"]),
                )
                lines.append((pool["pool"], row["reviewer"], *_claims(row), *spent))
    return _table(lines, 2)


def _others(pools: Sequence[Row]) -> str:
    lines: list[tuple[str, ...]] = [
        ("pool", "accepted by", "promise", "claimed", "not true", "accepted", "true share", "worst", "checked")
    ]
    for pool in pools:
        for row in pool["arms"]:
            if row["arm"] != OURS:
                lines.append((pool["pool"], row["arm"], *_claims(row), f"{row['checked']:,.0f}"))
    return _table(lines, 2)


def _claims(row: Row) -> tuple[str, ...]:
    """What is claimed and how often it is not so; coverage is the median over all redraws."""
    low, high = (100 * share for share in row["coverage quartiles"])
    covered = f"{100 * row['coverage']:.1f} % ({low:.1f} to {high:.1f})"
    issued = f"{row['issued']} of {row['runs']}"
    return (_share(row["alpha"], 0), issued, str(row["wrong"]), covered, _share(row["true"]), _share(row["worst"]))


def _share(share: float | None, digits: int = 2) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def _planted(planted: Sequence[Row]) -> str:
    """How often a certificate is issued: for good sets, and for sets of which too much is left bad."""
    columns = [(GOOD, BEFORE), (GOOD, ALL_STEPS), *((factor, LEFT) for factor in TOO_BAD)]
    names = ("half the promise", "half, nested", *(f"{factor:g}x left" for factor in TOO_BAD))
    lines: list[tuple[str, ...]] = [("reviewers", "promise", "poses", "audited", "runs", *names)]
    for key, rows in _by_set(planted).items():
        told = [row for row in rows.values() if row["runs"]]
        audited = " / ".join(f"{count:,}" for count in sorted({row["audited"] for row in told})) or "–"
        runs = f"{max((row['runs'] for row in told), default=0):,}"
        cells = [_of_runs(rows.get(column), "issued") for column in columns]
        lines.append((*_named(key), audited, runs, *cells))
    return _table(lines, 1)


def _before(planted: Sequence[Row]) -> str:
    """How often one is issued for sets that are too bad as accepted, and how often it is not true."""
    columns = [(factor, kind) for kind in (BEFORE, ALL_STEPS, LOOSEST) for factor in TOO_BAD]
    names = (f"{kind}, {factor:g}x" for factor, kind in columns)
    lines: list[tuple[str, ...]] = [("reviewers", "promise", "poses", *names)]
    for key, rows in _by_set(planted).items():
        pairs = [(_of_runs(rows.get(column), "issued"), _of_runs(rows.get(column), "wrong")) for column in columns]
        lines.append((*_named(key), *(issued if issued == "–" else f"{issued}, {wrong}" for issued, wrong in pairs)))
    return _table(lines, 1)


def _by_set(planted: Sequence[Row]) -> dict[tuple[str, float, int], dict[tuple[float, str], Row]]:
    """The rows of each kind of people, promise and size, by how they are planted."""
    found: dict[tuple[str, float, int], dict[tuple[float, str], Row]] = {}
    for row in planted:
        found.setdefault((row["reviewer"], row["alpha"], row["size"]), {})[row["factor"], row["kind"]] = row
    return found


def _named(key: tuple[str, float, int]) -> tuple[str, str, str]:
    return key[0], _share(key[1], 0), f"{key[2]:,}"


def _of_runs(row: Row | None, what: str) -> str:
    return "–" if row is None or not row["runs"] else _share(row[what] / row["runs"], 1)


def _bars(held: Sequence[Row]) -> str:
    lines = [("what", "promise", "bar", "found", "")]
    for row in held:
        met = "met" if row["met"] else "**not met**"
        lines.append((row["what"], _share(row["alpha"], 0), row["bar"], row["found"], met))
    return _table(lines, 5)


def _table(lines: Sequence[Sequence[str]], names: int) -> str:
    return markdown(lines, names=names) if len(lines) > 1 else ""


def picture(pools: Sequence[Row]) -> bytes:
    """True share of every claim against how much it covers, a panel for each promise; of the drawn pool."""
    pool = next((pool for pool in pools if pool["pool"] == "drawn"), None)
    points = pool["points"] if pool else []
    alphas = sorted({row["alpha"] for row in points}) or [0.02]
    runs = pool["runs"] if pool else 0
    with styled_figure(3.6 * len(alphas), 3.8, 1, len(alphas)) as (figure, grid):
        for axes, alpha in zip(grid[0], alphas, strict=True):
            for row in (row for row in points if row["alpha"] == alpha):
                _claims_drawn(axes, row)
            axes.axhline(100 * alpha, color=INK, linewidth=1.0)
            axes.set_title(f"{alpha:.0%} promised, {runs} redraws")
            axes.set_xlabel("poses claimed, %")
            axes.set_ylabel("truly bad among them, %")
            axes.set_xlim(0, 100)
            axes.set_ylim(0, 250 * alpha)
        figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside lower center", ncol=4, fontsize=7.5)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
        return buffer.getvalue()


def _claims_drawn(axes: Any, row: Row) -> None:
    """One dot a claim; what lies beyond the panel stands at its edge."""
    color, marker = LOOKS.get(row["arm"], (MUTED, "s"))
    true = [min(100 * share, 247 * row["alpha"]) for share in row["true"]]
    covered = [100 * share for share in row["coverage"]]
    label = row["arm"]
    if row["arm"] not in LOOKS:
        label = "a fixed height of the peaks" if row["arm"] == f"peak >= {PEAKS[0]}" else None
    size = 14 if row["arm"] in LOOKS else 8
    axes.scatter(covered, true, s=size, color=color, marker=marker, alpha=0.35, linewidths=0, label=label)
