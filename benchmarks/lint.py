"""What `autolabel lint` finds of faults planted in correct labels, and what it finds that is none.

    python -m benchmarks.lint --weights-drawn NET --weights-fashion17 NET --learnt-fashion17 M --data DATA --out DIR

Each kind of fault is planted apart in 2 % of otherwise correct poses, several times over with other seeds, and `lint`
gets the faulty labels and the prediction of a network that has never seen these images, made once, with a flip test. A
finding is true if the pose had that kind of fault planted; every finding of that kind on another pose is false.
Intervals hold 95 %: images drawn anew, all plantings of an image together. Writes ``benchmarks/results/lint.json``.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.lint import Kind, lint_poses
from autolabel.manifest import COMMIT, Manifest, write_manifest
from autolabel.poses import Poses, Sample
from autolabel.progress import Progress
from benchmarks.pages import DOCS, markdown, write_section
from benchmarks.planted import SHARE, Planted, Scene, companions, empty_boxes, plant
from benchmarks.results import table, write_result
from benchmarks.training_data import Corpora
from pipelines.console import LineProgress
from pipelines.drawn_corpus import draw_corpus
from pipelines.manifest_evidence import image_sizes
from pipelines.predict import predict
from pipelines.subset import with_poses

DRAWN_SEED = 101
IMAGES, SEEDS, RESAMPLES = 3000, 10, 2000
EMPTY = "-empty"
"""What the id of a box without a person ends in."""

FASHION17 = "fashion17-lsp14"
"""Of which 300 people are learnt from; its val part, ``fashion17-lsp14-val``, never is, and is small."""

Features = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Pool:
    """Correct poses and a network's predictions of them.

    Attributes:
        scene: N correct poses, and what faults are made of.
        owner: (N,) which image each is in.
        other: N predictions in the poses' own boxes.
        features: Of those.
        other_empty: N predictions in boxes without a person, NaN where there is none.
        features_empty: Of those.
    """

    scene: Scene
    owner: NDArray[np.intp]
    other: Poses
    features: Features
    other_empty: Poses
    features_empty: Features


def pool(truth: Manifest, weights: Path, out: Path, progress: Progress) -> Pool:
    """Predict the poses of a manifest, and a box without a person for each, once."""
    samples = list(truth)
    poses = Poses.concat([sample.poses for sample in samples])
    owner = np.repeat(np.arange(len(samples)), [len(sample.poses) for sample in samples])
    empty = empty_boxes(poses, owner, image_sizes(samples), seed=0)
    # One a picture is enough: a fiftieth of them is needed.
    repeated = np.r_[False, owner[1:] == owner[:-1]]
    empty[repeated] = np.nan
    scene = Scene(poses, companions(owner, seed=0), empty, truth.skeleton)
    boxes = out / "with-empty"  # a drawn corpus has "boxes" of its own
    if not (boxes / COMMIT).is_file():
        write_manifest(boxes, _boxed(samples, owner, scene), truth.skeleton, truth.roots, stage="boxes", part_size=250)
    made = out / "with-empty-predicted"
    predicted = predict(boxes, weights=weights, out=made, flip_test=True, progress=progress).manifest
    other, features = _everything(predicted)
    row = {name: i for i, name in enumerate(other.id.tolist())}
    own = np.array([row[name] for name in poses.id.tolist()], np.intp)
    theirs = np.array([row.get(f"{name}{EMPTY}", -1) for name in poses.id.tolist()], np.intp)
    nobody = Poses.create(
        poses.num_keypoints, id=poses.id, xy=np.where((theirs >= 0)[:, None, None], other.xy[theirs], np.nan)
    )
    return Pool(
        scene,
        owner,
        other.take(own),
        {name: values[own] for name, values in features.items()},
        nobody,
        {name: _where(theirs >= 0, values[theirs]) for name, values in features.items()},
    )


def _where(known: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[Any]:
    """The values of the rows that there are, NaN elsewhere."""
    return np.where(known.reshape(-1, *[1] * (values.ndim - 1)), values, np.nan)


def _boxed(samples: Sequence[Sample], owner: NDArray[np.intp], scene: Scene) -> list[Sample]:
    """Boxes only: those of the people, then those without one."""
    boxed: list[Sample] = []
    for i, sample in enumerate(samples):
        rows = np.flatnonzero(owner == i)
        free = rows[np.isfinite(scene.empty[rows, 0])]
        ids = [*sample.poses.id.tolist(), *(f"{scene.poses.id[r]}{EMPTY}" for r in free)]
        box = np.concatenate([sample.poses.box, scene.empty[free]])
        boxed.append(sample.with_poses(Poses.create(scene.poses.num_keypoints, id=ids, box=box)))
    return boxed


def _everything(manifest: Manifest) -> tuple[Poses, Features]:
    poses = Poses.concat([manifest.poses(i) for i in range(manifest.num_parts)])
    parts = [part for i in range(manifest.num_parts) if (part := manifest.features(i))]
    return poses, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def unlearnt(whole: Manifest, learnt: Manifest, out: Path) -> Manifest:
    """The poses that a network has not learnt."""
    known = {pose for sample in learnt for pose in sample.poses.id.tolist()}
    rest = [pose for sample in whole for pose in sample.poses.id.tolist() if pose not in known]
    return with_poses(whole, rest, out=out / "unlearnt", stage="subset")


def found_rows(planted: Planted, kind: Kind, pool: Pool) -> NDArray[np.bool_]:
    """(N,) poses in which lint finds this kind."""
    other, features = pool.other, pool.features
    if kind is Kind.NOBODY:  # the prediction is of the box that was moved
        at = planted.rows
        xy, visibility = other.xy.copy(), other.visibility.copy()
        xy[at], visibility[at] = pool.other_empty.xy[at], pool.other_empty.visibility[at]
        other = other.replace(xy=xy, visibility=visibility)
        features = {name: values.copy() for name, values in features.items()}
        for name, values in features.items():
            values[at] = pool.features_empty[name][at]
    findings = lint_poses(planted.poses, pool.owner, pool.scene.skeleton, other=other, other_features=features)
    return np.array([any(finding.kind is kind for finding in its) for its in findings], bool)


def counts(pool: Pool, kind: Kind, seeds: int) -> NDArray[np.float64]:
    """(images, 3) findings that are true, findings that are false, faults that are not found; of all seeds."""
    total = np.zeros((int(pool.owner.max()) + 1, 3))
    for seed in range(seeds):
        planted = plant(kind, pool.scene, seed=seed)
        is_planted = np.zeros(len(pool.owner), bool)
        is_planted[planted.rows] = True
        found = found_rows(planted, kind, pool)
        for column, rows in enumerate((found & is_planted, found & ~is_planted, ~found & is_planted)):
            total[:, column] += np.bincount(pool.owner[rows], minlength=len(total))
    return total


def rates(counted: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., 2) precision and recall of (..., 3) counts; NaN where there is nothing to divide by."""
    true, false, missed = np.moveaxis(np.asarray(counted, np.float64), -1, 0)
    with np.errstate(invalid="ignore"):
        return np.stack([true / (true + false), true / (true + missed)], axis=-1)  # of nothing: NaN


def intervals(by_image: NDArray[np.float64], resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """(2, 2) lower and upper ends for precision and recall, images drawn anew."""
    rng, kept = np.random.default_rng(0), by_image[by_image.any(axis=1)]
    if not len(kept):
        return np.full((2, 2), np.nan)
    # Images without a finding or a fault add nothing: how many of the others come is Poisson, each.
    drawn = rng.poisson(1.0, (resamples, len(kept))) @ kept
    drawn_rates = rates(drawn)
    some = np.isfinite(drawn_rates).any(axis=0)
    return np.nanpercentile(np.where(some, drawn_rates, 0.0), [2.5, 97.5], axis=0) + np.where(some, 0.0, np.nan)


def row(corpus: str, pool: Pool, kind: Kind, seeds: int) -> dict[str, Any]:
    """One line of the table; a rate of nothing is None."""
    counted = counts(pool, kind, seeds)
    total = counted.sum(axis=0)
    low, high = intervals(counted)
    numbers = np.array([rates(total), low, high]).round(4).tolist()
    (precision, recall), low, high = [[None if x != x else x for x in pair] for pair in numbers]
    return {
        "corpus": corpus,
        "kind": str(kind),
        "poses": len(pool.owner),
        "planted": int(total[0] + total[2]),
        "found": int(total[0]),
        "false": int(total[1]),
        "precision": precision,
        "precision_95": [low[0], high[0]],
        "recall": recall,
        "recall_95": [low[1], high[1]],
    }


def section(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table of the page."""

    def told(row: Mapping[str, Any], name: str) -> str:
        if row[name] is None:
            return "–"
        low, high = row[f"{name}_95"]
        return f"{row[name]:.2f} ({low:.2f} to {high:.2f})"

    lines = [("corpus", "kind", "planted", "precision (95 %)", "recall (95 %)")]
    lines += [
        (row["corpus"], f"`{row['kind']}`", f"{row['planted']:,}", told(row, "precision"), told(row, "recall"))
        for row in rows
    ]
    return markdown(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights-drawn", type=Path, help="network that has not seen the pictures of --drawn-seed")
    parser.add_argument("--weights-fashion17", type=Path, help="network of lsp14 that has not seen the measured part")
    parser.add_argument(
        "--learnt-fashion17", type=Path, help="manifest of what that network learnt; the rest is measured"
    )
    parser.add_argument("--data", type=Path, help="folder of fashion17")
    parser.add_argument("--out", type=Path, required=True, help="folder for corpora and predictions, used again")
    parser.add_argument("--images", type=int, default=IMAGES, help="drawn pictures")
    parser.add_argument("--drawn-seed", type=int, default=DRAWN_SEED)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="plantings")
    parser.add_argument("--no-write", action="store_true", help="print the table only")
    options = parser.parse_args()
    progress, pools = LineProgress(sys.stderr), dict[str, Pool]()
    if options.weights_drawn:
        folder = options.out / f"drawn-{options.drawn_seed}-{options.images}"
        if not (folder / "truth" / COMMIT).is_file():
            draw_corpus(folder, images=options.images, seed=options.drawn_seed, progress=progress)
        pools["drawn"] = pool(Manifest.open(folder / "truth"), options.weights_drawn, folder, progress)
    if options.weights_fashion17:
        corpora = Corpora(options.data, options.out / "corpora", progress=progress)
        truth = corpora.manifest(f"{FASHION17}-val")
        if options.learnt_fashion17:
            truth = unlearnt(corpora.manifest(FASHION17), Manifest.open(options.learnt_fashion17), options.out)
        pools["fashion17"] = pool(truth, options.weights_fashion17, options.out / "fashion17", progress)
    rows = [row(name, pool, kind, options.seeds) for name, pool in pools.items() for kind in Kind]
    print(table(rows))
    if not options.no_write:
        given = ["--weights-drawn NET"] * bool(options.weights_drawn)
        given += ["--weights-fashion17 NET --learnt-fashion17 M --data DATA"] * bool(options.weights_fashion17)
        command = (
            f"python -m benchmarks.lint {' '.join(given)} --images {options.images} --seeds {options.seeds} --out DIR"
        )
        write_section(DOCS / "lint.md", "lint", section(rows))
        write_result("lint", rows, command=command, share=SHARE, drawn_seed=options.drawn_seed)
    drawn = [r for r in rows if r["corpus"] == "drawn" and r["kind"] == Kind.MIRRORED]
    return int(any((r["precision"] or 0) < 0.9 or (r["recall"] or 0) < 0.7 for r in drawn))


if __name__ == "__main__":
    raise SystemExit(main())
