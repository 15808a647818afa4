"""Are our numbers the reference's? Network: transformers; crop: OpenCV; decoding: float64 NumPy; all else: the truth.

    python -m benchmarks.parity

About four minutes of processor time, and memory for three copies of the largest network (11 GB). Exits with 1 if a
row misses its bound.
"""

import sys

from benchmarks.results import table, write_result


def main() -> int:
    """Measure, print, write ``results/parity.json``."""
    # Imported here so that one part can be measured where the other's references are not installed.
    from benchmarks import parity_geometry, parity_network, parity_truth

    rows = []
    for part in (parity_network, parity_geometry, parity_truth):
        for row in part.rows():
            rows.append(row)
            print(row["name"], row["value"], flush=True, file=sys.stderr)
    print(table(rows))
    print(write_result("parity", rows, command="python -m benchmarks.parity").name)
    return 0 if all(row["passed"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
