"""What is drawn, and what is reviewed in which order: from the pool and the proposal to rows of every kind of task.

Every draw has a generator of its own, made of the seed and its name, so that asking for one more kind of task changes
no other draw. After a failed audit the failed routing's digest is a part of it: the same seed draws anew.
"""

import hashlib
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autolabel.errors import InputError
from autolabel.manifest import Manifest
from autolabel.portions import deal
from autolabel.poses import Sample
from autolabel.progress import SILENT, Progress
from autolabel.propose import Indices, Proposal
from autolabel.repeats import Repeats
from autolabel.route import Order, draw
from autolabel.select import clean_up, errors_per_second, learning_batch, uniform_draw
from pipelines.route_pool import Pool

LEARNABLE = 20_000
"""Poses that a batch to learn from is chosen among, and ..."""

REMEMBERED = 4_000
"""... poses that people have seen, from which it keeps its distance: drawn uniformly where there are more."""

UNIFORM = 0.1
"""Least share of the reviews that is drawn uniformly where a rule chooses the others to clean or to learn."""


@dataclass(frozen=True)
class Asked:
    """How many tasks of each kind were asked for.

    Attributes:
        budget: All tasks together.
        audit: Whether anything is drawn as proof.
        random_share: Share of the reviews that is drawn uniformly, to measure by.
        portions: Shares of what is measured by them.
        order: Which poses are reviewed first.
        planted: Planted errors.
        blind: Audited poses that are placed without a pre-label too; as many review poses are, as decoys.
        keypoints: Untouched keypoints.
        images: Whole images.
        max_gross: Expected share of gross ones among the keypoints that people are not asked about.
        seed: Of all draws.
        attempt: Which audit of the promise is drawn, from 1.
        after: Digest of the routing whose audit failed before, or "".
    """

    budget: int
    audit: bool
    random_share: float
    portions: Mapping[str, float]
    order: Order
    planted: int
    blind: int
    keypoints: int
    images: int
    max_gross: float
    seed: int
    attempt: int = 1
    after: str = ""

    def __post_init__(self) -> None:
        for name in ("budget", "seed"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}", remedy="Give a whole number, 0 or more.")
        if not 0 <= self.random_share <= 1:
            raise InputError(f"random_share is {self.random_share}", remedy="Give a share from 0 to 1.")
        if not 0 <= self.max_gross <= 1:
            raise InputError(f"max_gross is {self.max_gross}", remedy="Give a share from 0 to 1.")
        for name in ("planted", "blind", "keypoints", "images"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}", remedy="Give 0 or more.")
            if getattr(self, name) and not self.audit:
                raise InputError(f"{name} belongs to an audit, and none is drawn", remedy="Leave --no-audit out.")
        if self.beside > self.budget:
            raise InputError(
                f"budget is {self.budget}, but {self.beside} tasks are asked for beside the audit",
                remedy="Raise the budget, or plant and draw less.",
            )

    @property
    def beside(self) -> int:
        """Tasks that are drawn as proof beside the audit, at most; the decoys come out of what is left for review."""
        return self.planted + self.blind + self.keypoints + self.images

    @property
    def uniform_share(self) -> float:
        """The share of the reviews that is drawn uniformly."""
        chosen = self.order in (Order.CLEAN, Order.LEARN)
        return max(self.random_share, UNIFORM) if chosen else self.random_share

    def rng(self, name: str) -> np.random.Generator:
        """The generator of one draw: of a further audit another one than of those before it, with any seed."""
        of = [self.seed, zlib.crc32(name.encode())]
        if self.after:
            of += [self.attempt, int(hashlib.sha256(self.after.encode()).hexdigest(), 16)]
        return np.random.default_rng(of)


@dataclass(frozen=True, eq=False)
class Draws:
    """What goes to people.

    Attributes:
        tasks: Rows of the poses by kind of task; those of ``review`` in their order, of ``blind`` the audited ones.
        decoys: Rows of the review poses that are placed without a pre-label too. If only audited poses were, whoever
            meets one of them blind would know that its other task is an audit.
        keypoints: Drawn keypoints: row of the pose and number of the keypoint.
        num_keypoints: How many they were drawn from.
        images: Numbers of the drawn images, ascending.
        complete_at: (I,) the step with which each image is complete, as :meth:`Pool.complete_at`; empty where no proof
            is drawn.
        num_steps: How many steps there are: images of this number are in no step, and none is drawn.
        candidates: How many poses the uniform draw was from.
        probability: By row, the probability with which a pose got into the uniform draw.
    """

    tasks: dict[str, Indices]
    decoys: Indices
    keypoints: list[tuple[int, int]]
    num_keypoints: int
    images: Indices
    complete_at: Indices
    num_steps: int
    candidates: int
    probability: Mapping[int, float]

    @property
    def num_images(self) -> int:
        """Images that the drawn ones were drawn from."""
        return len(self.complete(self.num_steps - 1))

    def complete(self, step: int) -> Indices:
        """Numbers of the images that are complete with a step, ascending; with -1 those that need none."""
        return np.flatnonzero(self.complete_at <= step)

    @property
    def uniform(self) -> int:
        """Poses that were drawn uniformly to measure by."""
        return sum(len(self.tasks[kind]) for kind in ("development", "calibration", "gate"))


def make_draws(
    manifest: Manifest,
    pool: Pool,
    proposal: Proposal,
    asked: Asked,
    *,
    planted: int,
    maturity: float,
    progress: Progress = SILENT,
) -> Draws:
    """Draw the proof first, then what is measured by, then review with what is left.

    Poses of which nothing was predicted are in none of them: people correct, they do not place everything anew.

    Args:
        manifest: What is routed; read again where poses are chosen to learn from.
        pool: Its columns.
        proposal: What is accepted.
        asked: How many of each.
        planted: Tasks that go to planted errors.
        maturity: How good the network is, 0..1.
        progress: Where to report.
    """
    audit = draw(proposal.accepted, proposal.audit if asked.audit else 0, asked.rng("audit"))
    blind = draw(audit, asked.blind, asked.rng("blind"))
    keypoints, num_keypoints = _keypoints(pool, asked)
    sizes = [step.size for step in proposal.steps]
    complete_at = pool.complete_at(proposal.accepted, sizes) if asked.audit else np.empty(0, np.intp)
    images = draw(np.flatnonzero(complete_at < len(sizes)), asked.images, asked.rng("images"))
    keypoint_poses = np.unique(np.array([row for row, _ in keypoints], np.intp))
    candidates = np.flatnonzero(pool.open & pool.shown)
    if asked.audit:
        candidates = np.setdiff1d(candidates, proposal.accepted, assume_unique=True)
    left = max(asked.budget - len(audit) - len(blind) - len(keypoint_poses) - len(images) - planted, 0)
    decoys = _num_decoys(len(blind), left, len(candidates), asked.uniform_share)
    left -= decoys
    repeats = _repeats(manifest, progress) if left and len(candidates) else Repeats.none(len(pool.ids))
    uniform, chance = uniform_draw(candidates, round(asked.uniform_share * left), asked.rng("uniform"), repeats)
    portion = deal(pool.group, asked.portions)[pool.image[uniform]]
    rest = np.setdiff1d(candidates, uniform, assume_unique=True)
    tasks = {
        "review": _reviews(manifest, pool, rest, left - len(uniform), asked, maturity, repeats),
        **{kind: uniform[portion == kind] for kind in ("development", "calibration", "gate")},
        "audit": audit,
        "blind": blind,
        "keypoint": keypoint_poses,
    }
    probability = dict(zip(uniform.tolist(), chance.tolist(), strict=True))
    return Draws(
        tasks=tasks,
        decoys=draw(tasks["review"], decoys, asked.rng("decoys")),
        keypoints=keypoints,
        num_keypoints=num_keypoints,
        images=images,
        complete_at=complete_at,
        num_steps=len(sizes),
        candidates=len(candidates),
        probability=probability,
    )


def _num_decoys(blind: int, left: int, candidates: int, uniform_share: float) -> int:
    """How many review poses are placed blind: as many as audited ones, if what is left then holds so many reviews."""
    for count in range(min(blind, left), 0, -1):
        uniform = min(round(uniform_share * (left - count)), candidates)
        if min(left - count, candidates) - uniform >= count:
            return count
    return 0


def _repeats(manifest: Manifest, progress: Progress) -> Repeats:
    """Which poses repeat each other; reads the manifest once more."""
    with progress.task("repeats", len(manifest), "image") as task:

        def samples() -> Iterator[Sample]:
            for i in range(manifest.num_parts):
                part = manifest.part(i)
                yield from part
                task.advance(len(part))

        return Repeats.of(samples())


def _keypoints(pool: Pool, asked: Asked) -> tuple[list[tuple[int, int]], int]:
    """Untouched keypoints, drawn singly and uniformly from all of them, and how many there are."""
    ends = np.cumsum(pool.untouched_counts())
    total = int(ends[-1]) if len(ends) else 0
    chosen = np.sort(asked.rng("keypoints").choice(total, min(asked.keypoints, total), replace=False))
    rows = np.searchsorted(ends, chosen, side="right")
    places = chosen - np.append(0, ends)[rows]
    bits = np.unpackbits(pool.untouched[rows], axis=1)
    # The n-th set bit of a row is where the running count first exceeds n.
    columns = (np.cumsum(bits, axis=1, dtype=np.int64) > places[:, None]).argmax(axis=1)
    return list(zip(rows.tolist(), columns.tolist(), strict=True)), total


def _reviews(
    manifest: Manifest, pool: Pool, rest: Indices, count: int, asked: Asked, maturity: float, repeats: Repeats
) -> Indices:
    """What to review, first things first; what the model alone rejected is to be confirmed before all others."""
    first = rest[pool.second[rest]][:count]
    others, count = rest[~pool.second[rest]], count - len(first)
    if asked.order is Order.RANDOM:
        chosen = asked.rng("review").permutation(others)[:count]
    elif asked.order is Order.LEARN:
        chosen = _to_learn(manifest, pool, others, count, asked, maturity, repeats)
    else:
        worth = errors_per_second(pool.p_bad, pool.p_gross) if asked.order is Order.CLEAN else pool.p_bad
        chosen = clean_up(worth, others, count, repeats)
    return np.concatenate([first, chosen])


def _to_learn(
    manifest: Manifest, pool: Pool, others: Indices, count: int, asked: Asked, maturity: float, repeats: Repeats
) -> Indices:
    """A batch that is doubtful and unlike what people have seen."""
    rng = asked.rng("learn")
    seen = draw(np.flatnonzero(~pool.open & pool.shown), REMEMBERED, rng)
    pick = draw(others, max(LEARNABLE, count), rng)
    embedding = _embeddings(manifest, np.concatenate([pick, seen]))
    chosen = learning_batch(
        embedding[: len(pick)],
        pool.p_bad[pick],
        np.arange(len(pick)),
        count,
        known=embedding[len(pick) :],
        maturity=maturity,
        repeats=Repeats(repeats.group[pick], repeats.image[pick]),
    )
    return pick[chosen]


def _embeddings(manifest: Manifest, rows: Indices) -> NDArray[np.float32]:
    """(n, D) of some poses, NaN where there is none.

    Raises:
        InputError: No pose has an embedding.
    """
    found: dict[int, NDArray[Any]] = {}
    first, width = 0, 0
    place = {row: i for i, row in enumerate(rows.tolist())}
    for i in range(manifest.num_parts):
        features, length = manifest.features(i), len(manifest.owners(i))
        embedding = (features or {}).get("embedding")
        mine = np.sort(rows[(rows >= first) & (rows < first + length)])
        if embedding is not None and len(mine):
            width = embedding.shape[1]
            found.update(zip(mine.tolist(), np.asarray(embedding, np.float32)[mine - first], strict=True))
        first += length
    if not found:
        raise InputError(
            "holds no embeddings to choose poses to learn from",
            subject=str(manifest.path),
            remedy="Predict again with features, or review by doubt.",
        )
    made = np.full((len(rows), width), np.nan, np.float32)
    for row, values in found.items():
        made[place[row]] = values
    return made
