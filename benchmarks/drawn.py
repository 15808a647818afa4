"""The drawn corpus and the demo on it, over several seeds.

    python -m benchmarks.drawn --seeds 5 --compare 1 --out demos

For each seed the whole demo: how bad the small ViTPose is after 300 poses (its difficulty is frozen between 15 and 40 %
of bad poses), how good the poses are that nobody touched, routed by doubt and at random, whether the certificate was
issued, and whether it is true by the drawn truth. Writes ``benchmarks/results/drawn.json``.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from benchmarks.results import table, write_result
from pipelines.console import LineProgress
from pipelines.demo import DemoResult, demo
from pipelines.demo_size import CONFIDENCE, MAX_BAD


def row(seed: int, result: DemoResult) -> dict[str, Any]:
    first, last = result.rounds[0], result.rounds[-1]
    certificate = result.loop.certificate
    unknown = {"bad": None, "epe": None}
    random = last["random"] or {"untouched": unknown, "test": unknown}
    return {
        "seed": seed,
        "bad of others after 300 poses": first["routed"]["untouched"]["bad"],
        "bad of test after 300 poses": first["routed"]["test"]["bad"],
        "untouched bad, routed": last["routed"]["untouched"]["bad"],
        "untouched bad, random": random["untouched"]["bad"],
        "same poses bad, first network": result.same[0],
        "same poses bad, last network": result.same[-1],
        "test bad, routed": last["routed"]["test"]["bad"],
        "test bad, random": random["test"]["bad"],
        "test px, before": first["routed"]["test"]["epe"],
        "test px, routed": last["routed"]["test"]["epe"],
        "test px, random": random["test"]["epe"],
        "accepted": certificate.population if certificate else 0,
        "audited": certificate.counts.audited if certificate else 0,
        "issued": bool(certificate and certificate.issued),
        "bound": certificate.bound_after if certificate else None,
        "true bad": result.true_bad,
        "false": result.true_bad is not None and result.true_bad > MAX_BAD,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, required=True, help="folder for the demos")
    parser.add_argument("--compare", type=int, default=1, help="of them, how many also route at random")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for seed in range(options.seeds):
        result = demo(
            out=options.out / str(seed), seed=seed, compare=seed < options.compare, progress=LineProgress(sys.stderr)
        )
        rows.append(row(seed, result))
        print(table(rows[-1:]), flush=True)
    print(table(rows))
    write_result(
        "drawn",
        rows,
        command=f"python -m benchmarks.drawn --seeds {options.seeds} --compare {options.compare} --out DIR",
        promise={"max_bad": MAX_BAD, "confidence": CONFIDENCE},
    )
    difficulty = all(0.15 <= r["bad of others after 300 poses"] <= 0.40 for r in rows)
    issued = sum(r["issued"] for r in rows)
    false = sum(r["false"] for r in rows)
    print(f"difficulty within 15-40 %: {difficulty}; issued {issued} of {len(rows)}; false {false}")
    return 0 if difficulty and issued >= 0.8 * len(rows) and not false else 1


if __name__ == "__main__":
    raise SystemExit(main())
