"""Suspected label errors: how many of the first hundred are real, and how many planted ones are found.

    python -m benchmarks.label_errors lspet --out DIR --data ../shared/data
    python -m benchmarks.label_errors lspet --out DIR --data ../shared/data --verdicts FILE
    python -m benchmarks.label_errors planted --out DIR --data ../shared/data

``lspet`` has many real errors. Each half of it is audited by the network that learnt the other half. Contact sheets are
written for a person to judge: the hundred most suspected poses among fifty random ones of the rest, shuffled, with
nothing but the label on the picture. ``--verdicts`` joins the judgements with the key, which lies apart, and writes
``benchmarks/results/lspet-verdicts.json``. Of each number they say "error", "ok" or "unsure", or
{"verdict": "error", "note": "..."}.

``planted`` hides errors in 3 % of labels that are right and writes ``benchmarks/results/label-errors.json``: the
precision among the first k by our order, by the distance between label and prediction alone (1 - OKS), and at random.
The networks are those of :mod:`benchmarks.scores_networks`.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.certify import upper_bound
from autolabel.images import read_image
from autolabel.manifest import Existing, Manifest, write_manifest, write_text
from autolabel.poses import Poses, split
from autolabel.progress import Progress
from autolabel.report.label_sheet import Cell, write_label_sheets
from autolabel.similarity import mean_similarity, pair_similarity
from benchmarks.label_planting import plant
from benchmarks.pages import DOCS, markdown, write_section
from benchmarks.results import RESULTS, table, write_result
from benchmarks.scores_networks import Networks
from benchmarks.training_data import Corpora
from pipelines.audit_labels import AuditLabelsResult, audit_labels
from pipelines.console import LineProgress
from pipelines.label_folds import Fold

TOP, RANDOM = 100, 50
SHEETS, KEY = "label-sheets", "label-sheets-key.json"
VERDICTS = ("error", "ok", "unsure")
BAR = 60
"""Of the first hundred, so many must be errors."""

PAGE = DOCS / "audit-labels.md"

SHARE = 0.03
SEEDS = 5
DRAWN_SEED, DRAWN_IMAGES = 202, 400


def checkpoint(networks: Networks, kind: str, number: int) -> Path:
    """A network that is there, however many steps it was given; else it is trained."""
    folder = networks.out / "networks" / f"{kind}-{number}"
    return folder if (folder / "done.json").is_file() else networks.network(kind, number)


def audit_lspet(networks: Networks, progress: Progress) -> AuditLabelsResult:
    """Each half of lspet by the network of the other half."""
    halves = [frozenset(_ids(networks.half(number))) for number in (0, 1)]
    folds = [Fold(checkpoint(networks, "lspet", 1 - number), halves[number]) for number in (0, 1)]
    corpus = networks.corpora.manifest("lspet")
    return audit_labels(corpus.path, out_of_fold=folds, out=networks.out / "label-audit-lspet", progress=progress)


def _ids(manifest: Manifest) -> list[str]:
    return [str(pose) for sample in manifest for pose in sample.poses.id.tolist()]


def write_sheets(result: AuditLabelsResult, corpus: Manifest, out: Path, seed: int = 0) -> list[Path]:
    """The blind contact sheets, and the key apart from them."""
    rng = np.random.default_rng(seed)
    top = [suspect.row for suspect in result.suspects[:TOP]]
    judged = np.flatnonzero(np.isfinite(result.quality.pose))
    rest = rng.permutation(np.setdiff1d(judged, top))[:RANDOM].tolist()
    rows = rng.permutation([*top, *rest]).tolist()
    samples = [sample for sample in corpus for _ in range(len(sample.poses))]
    cells = [
        Cell(number, read_image(corpus.image_path(samples[row])), result.poses.take([row]))
        for number, row in enumerate(rows, start=1)
    ]
    rank = {suspect.row: suspect for suspect in result.suspects}
    key = {
        str(number): {
            "pose": str(result.poses.id[row]),
            "group": "top" if row in set(top) else "random",
            "rank": rank[row].rank if row in rank else None,
            "what": rank[row].what if row in rank else "",
        }
        for number, row in enumerate(rows, start=1)
    }
    write_text(out / KEY, json.dumps(key, indent=1) + "\n")
    return write_label_sheets(cells, corpus.skeleton, out / SHEETS)


def join_verdicts(key: Mapping[str, Mapping[str, Any]], verdicts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Judgements by number, with what the key says about each.

    Raises:
        ValueError: A number has no verdict, or an unknown one.
    """
    rows: list[dict[str, Any]] = []
    for number, known in key.items():
        given = verdicts.get(number)
        verdict, note = (
            (given, "") if isinstance(given, str) or given is None else (given["verdict"], given.get("note", ""))
        )
        if verdict not in VERDICTS:
            raise ValueError(f"number {number}: verdict {verdict!r} is none of {', '.join(VERDICTS)}")
        rows.append({**known, "verdict": verdict, "note": note})
    return sorted(rows, key=lambda row: (row["group"] != "top", row["rank"] or sys.maxsize, row["pose"]))


def verdict_counts(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How many errors among the most suspected and among the random ones; at least so many with 95 % confidence."""
    counted: list[dict[str, Any]] = []
    for group in ("top", "random"):
        said = [row["verdict"] for row in rows if row["group"] == group]
        errors = said.count("error")
        most_right = upper_bound(len(said) - errors, len(said)) if said else 1.0
        counted.append(
            {
                "group": group,
                "judged": len(said),
                **{verdict: said.count(verdict) for verdict in VERDICTS},
                "at least, 95 %": round(1 - most_right, 3),
            }
        )
    return counted


def precision_at(order: NDArray[np.intp], wrong: NDArray[np.bool_], k: int) -> float:
    """Share of planted errors among the first k."""
    return float(wrong[order[:k]].mean())


def planted_row(corpus: Manifest, weights: Path, out: Path, seed: int, progress: Progress) -> dict[str, Any]:
    """Plant errors with one seed, and look for them."""
    samples = list(corpus)
    clean = Poses.concat([sample.poses for sample in samples])
    hidden = plant(clean, corpus.skeleton, SHARE, seed)
    manifest = write_manifest(
        out / "planted.m",
        split(samples, hidden.poses),
        corpus.skeleton,
        corpus.roots,
        stage="planted",
        existing=Existing.OVERWRITE,
    )
    result = audit_labels(manifest.path, weights=[weights], out=out / "audit", overwrite=True, progress=progress)
    wrong = hidden.kind != ""
    ours = np.argsort(np.nan_to_num(result.quality.pose, nan=1.0), kind="stable")
    oks = mean_similarity(pair_similarity(result.poses.replace(xy=result.evidence.xy), result.poses, corpus.skeleton))
    distance = np.argsort(np.nan_to_num(oks, nan=1.0), kind="stable")
    planted = int(wrong.sum())
    row: dict[str, Any] = {
        "seed": seed,
        "poses": len(clean),
        "planted": planted,
        "random": round(planted / len(clean), 4),
    }
    for k, name in ((planted, "planted"), (50, "50"), (100, "100")):
        row[f"ours at {name}"] = round(precision_at(ours, wrong, k), 4)
        row[f"distance at {name}"] = round(precision_at(distance, wrong, k), 4)
    for name, order in (("ours", ours), ("distance", distance)):
        for kind in sorted(set(hidden.kind[wrong].tolist())):
            row[f"{name}: {kind} found"] = round(
                float((hidden.kind[order[:planted]] == kind).sum() / (hidden.kind == kind).sum()), 4
            )
    return row


def planted_rows(networks: Networks, corpora: Sequence[str], seeds: int, progress: Progress) -> list[dict[str, Any]]:
    """All corpora and seeds."""
    rows: list[dict[str, Any]] = []
    for name in corpora:
        if name == "drawn":
            corpus, kind = networks.drawn(DRAWN_SEED, DRAWN_IMAGES), "drawn"
        else:
            corpus, kind = _unseen_fashion(networks), "fashion17"
        for seed in range(seeds):
            folder = networks.out / "label-errors" / f"{name}-{seed}"
            row = planted_row(corpus, checkpoint(networks, kind, 0), folder, seed, progress)
            rows.append({"corpus": name, **row})
            print(table(rows[-1:]), flush=True)
    return rows


def _unseen_fashion(networks: Networks) -> Manifest:
    """Poses of fashion17 that its network 0 did not adapt on."""
    from pipelines.subset import with_poses

    whole = networks.corpora.manifest("fashion17-lsp14")
    rest = set(_ids(whole)) - set(networks.adapted(0))
    return with_poses(whole, rest, out=networks.out / "data" / "fashion17-unseen-0", stage="subset")


def planted_section(rows: Sequence[Mapping[str, Any]]) -> str:
    """The page's table of planted errors: means over the seeds, with the least and the most."""
    lines = [("corpus", "poses", "planted", "k", "ours", "distance", "random")]
    for corpus in dict.fromkeys(row["corpus"] for row in rows):
        own = [row for row in rows if row["corpus"] == corpus]
        for name in ("planted", "50", "100"):
            told = []
            for order in ("ours", "distance"):
                values = [row[f"{order} at {name}"] for row in own]
                told.append(f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})")
            k = str(own[0]["planted"]) if name == "planted" else name
            lines.append((corpus, str(own[0]["poses"]), str(own[0]["planted"]), k, *told, f"{own[0]['random']:.2f}"))
    return markdown(lines, names=1)


def verdict_section(counted: Sequence[Mapping[str, Any]]) -> str:
    """The page's table of verdicts."""
    names = ("group", "judged", "error", "ok", "unsure")
    return markdown([names, *(tuple(str(row[name]) for name in names) for row in counted)], names=1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("lspet", "planted"))
    parser.add_argument("--out", type=Path, required=True, help="folder of corpora, networks and sheets")
    parser.add_argument("--data", type=Path, required=True, help="shared/data")
    parser.add_argument("--verdicts", type=Path, help="the judgements of the sheets, by number")
    parser.add_argument("--corpora", nargs="+", default=["drawn", "fashion17"], choices=("drawn", "fashion17"))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    options = parser.parse_args()
    progress = LineProgress(sys.stderr)
    networks = Networks(Corpora(options.data, options.out / "corpora", progress=progress), options.out, 0, progress)
    if options.part == "planted":
        rows = planted_rows(networks, options.corpora, options.seeds, progress)
        print(table(rows))
        command = (
            f"python -m benchmarks.label_errors planted --corpora {' '.join(options.corpora)} --out DIR --data DATA"
        )
        write_section(PAGE, "label-errors", planted_section(rows))
        write_result("label-errors", rows, command=command, share=SHARE)
        return 0
    if options.verdicts is None:
        result = audit_lspet(networks, progress)
        print(result.table())
        print("\n".join(map(str, write_sheets(result, networks.corpora.manifest("lspet"), options.out))))
        return 0
    key = json.loads((options.out / KEY).read_text(encoding="utf-8"))
    rows = join_verdicts(key, json.loads(options.verdicts.read_text(encoding="utf-8")))
    counted = verdict_counts(rows)
    print(table(counted))
    command = "python -m benchmarks.label_errors lspet --verdicts FILE --out DIR --data DATA"
    write_section(PAGE, "lspet-verdicts", verdict_section(counted))
    write_result("lspet-verdicts", rows, command=command, counts=counted, bar=BAR)
    print(RESULTS / "lspet-verdicts.json")
    return 0 if counted[0]["error"] >= BAR else 1


if __name__ == "__main__":
    raise SystemExit(main())
