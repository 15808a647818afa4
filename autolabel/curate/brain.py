"""What FiftyOne's Brain makes of the pose encoder's embeddings: a map of the people, similar ones, unique images.

An embedding is what the network saw of a person, so people near each other look alike to it, in posture and picture.
They are reduced to their first principal components as they stream by, so that a hundred thousand of them take some
tens of megabytes.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from autolabel.curate.documents import BOXES, POSES
from autolabel.curate.schema import FieldSpec, state_fields

COMPONENTS = 32
FITTED = 5000
"""People from whom the components are learnt."""

LEAST = 5
"""Fewer people have no map."""

MAP, SIMILAR, UNIQUENESS, ALIKE = "people_map", "similar_people", "uniqueness", "alike"

NEAR = 0.02
"""Cosine distance below which two images are alike: of the mean of their people's embeddings, centred."""

Embeddings = Callable[[], Iterable[tuple[str, NDArray[np.float32]]]]
"""Streams the key of each image and the embeddings (n, D) of its n poses, rows of NaN where one has none."""


@dataclass(frozen=True)
class EmbeddingResult:
    """What was made.

    Attributes:
        people: How many have an embedding.
        map: How they were laid out: ``umap`` or ``pca``; "" where there were too few.
        alike: Images whose people look like another image's, so that one may repeat the other.
    """

    people: int
    map: str
    alike: int

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {"people": self.people, "map": self.map, "alike": self.alike}


def embed(fiftyone: Any, dataset: Any, embeddings: Embeddings, note: Callable[[str], None]) -> EmbeddingResult:
    """Lay the people of a data set out, and tell similar people and unique images.

    Args:
        fiftyone: The module.
        dataset: Of images; every pose of an image has a row among its embeddings.
        embeddings: Of the manifest that it shows.
        note: Told what was left out, and why.
    """
    shown = dict(zip(*dataset.values(["key", "id"]), strict=True))
    reduced = {shown[key]: rows for key, rows in _reduced(embeddings) if key in shown}
    people = sum(int(np.isfinite(rows[:, 0]).sum()) for rows in reduced.values())
    if people < LEAST:
        note(f"{people} people have embeddings, too few for a map: `autolabel predict` stores them")
        return EmbeddingResult(people, "", 0)
    import fiftyone.brain as fob  # pyright: ignore[reportMissingTypeStubs]  # it has none

    brain: Any = fob
    whole = {sample: rows for sample, rows in reduced.items() if len(rows) and np.isfinite(rows).all()}
    view = dataset.select(list(whole), ordered=True)
    for key in (MAP, SIMILAR):
        if dataset.has_brain_run(key):
            dataset.delete_brain_run(key)
    method = _method()
    brain.compute_visualization(
        view, patches_field=POSES, embeddings=whole, method=method, brain_key=MAP, verbose=False, seed=0
    )
    _similar(brain, view, whole)
    means = np.stack([rows.mean(axis=0) for rows in whole.values()])
    brain.compute_uniqueness(view, uniqueness_field=UNIQUENESS, embeddings=means)
    alike = _alike(fiftyone, brain, dataset, view, means)
    if method == "pca":
        note("the map shows the first two components: with `pip install umap-learn` neighbourhoods are told better")
    return EmbeddingResult(people, method, alike)


def _alike(fiftyone: Any, brain: Any, dataset: Any, view: Any, means: NDArray[np.float32]) -> int:
    """Write down which image each near-duplicate is like; how many there are."""
    found = brain.compute_near_duplicates(view, threshold=NEAR, embeddings=means)
    ids, paths = view.values(["id", "path"])
    path = dict(zip(ids, paths, strict=True))
    like = {other: path[first] for first, others in found.neighbors_map.items() for other, _ in others}
    state_fields(fiftyone, dataset, [FieldSpec(ALIKE, "text", "image whose people look the same to the pose encoder")])
    dataset.set_values(ALIKE, dict.fromkeys(dataset.values("id"), "") | like, key_field="id")
    return len(like)


def _similar(brain: Any, view: Any, whole: dict[str, NDArray[np.float32]]) -> None:
    """Who looks alike, asked through the people's boxes: FiftyOne sorts no keypoints by similarity."""
    ids, poses, boxed = view.values(["id", f"{POSES}.keypoints.pose_id", f"{BOXES}.detections.pose_id"])
    rows = dict[str, NDArray[np.float32]]()
    for sample, names, having in zip(ids, poses, boxed, strict=True):
        place = {name: i for i, name in enumerate(names)}
        if having:
            rows[sample] = whole[sample][[place[name] for name in having]]
    if rows:
        chosen = view.select(list(rows), ordered=True)
        brain.compute_similarity(chosen, patches_field=BOXES, embeddings=rows, brain_key=SIMILAR, backend="sklearn")


def _reduced(embeddings: Embeddings) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The embeddings in their first components, which the first people teach."""
    learnt, count = list[NDArray[np.float32]](), 0
    for _, rows in embeddings():
        learnt.append(rows[np.isfinite(rows).all(axis=1)])
        count += len(learnt[-1])
        if count >= FITTED:
            break
    known = np.concatenate(learnt) if learnt else np.empty((0, 1), np.float32)
    if len(known) < LEAST:
        return
    mean = known.mean(axis=0)
    axes = cast("NDArray[np.float32]", np.linalg.svd(known - mean, full_matrices=False)[2][:COMPONENTS])
    for key, rows in embeddings():
        yield key, (rows - mean) @ axes.T  # NaN stays NaN


def _method() -> str:
    """UMAP keeps neighbours together, and needs a library that FiftyOne does not bring."""
    try:
        import umap  # pyright: ignore[reportMissingImports, reportUnusedImport]  # noqa: F401
    except ImportError:
        return "pca"
    return "umap"
