"""Whom the networks of the distillation benchmark learn from, and whom they are measured on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from autolabel.manifest import Existing, Manifest, Parent, write_manifest
from autolabel.run import Run, RunState
from benchmarks.distillation_plan import (
    DRAWN,
    DRAWN_SHARE,
    DRAWN_VAL,
    DRAWN_VAL_IMAGES,
    DRAWN_VAL_PEOPLE,
    DRAWN_VAL_SEED,
    FURTHER,
    FURTHER_SHARE,
    LABELLED,
    Arm,
)
from benchmarks.scores_networks import Networks
from benchmarks.training_people import Person, people_of
from pipelines.drawn_corpus import hide_truth
from pipelines.train import Portion


class Learnt(NamedTuple):
    """What an arm learns from.

    Attributes:
        data: Labelled.
        unlabelled: Of which only the boxes are there.
    """

    data: list[Portion]
    unlabelled: list[Portion]


class Held(NamedTuple):
    """Validation people of one kind.

    Attributes:
        people: P of them.
        image: (P,) which image each is on, for resampling.
    """

    people: list[Person]
    image: NDArray[np.intp]


@dataclass(frozen=True)
class People:
    """Manifests of everybody, made when they are first asked for.

    Attributes:
        networks: Tells where drawn people and corpora lie.
        images: Of each drawn corpus, for a rehearsal; 0 for the plan's.
        held: What was read of validation people, by name.
    """

    networks: Networks
    images: int = 0
    held: dict[str, Held] = field(default_factory=dict[str, Held], compare=False)

    def learnt(self, arm: Arm) -> Learnt:
        """What an arm learns from; without labels there are boxes alone, so that no joint tells where to cut."""
        share = 1 - FURTHER_SHARE if arm.further else 1.0
        known = self._labelled(share)
        further = _shared([_boxes(truth) for truth in self._drawn(FURTHER)], FURTHER_SHARE) if arm.further else []
        if arm.labels:
            return Learnt(known, further)
        return Learnt(
            [], [*(portion._replace(manifest=self._unlabelled(portion.manifest)) for portion in known), *further]
        )

    def validation(self, name: str) -> Held:
        """Validation people."""
        if name not in self.held:
            people = people_of(self.truth(name))[: DRAWN_VAL_PEOPLE if name == DRAWN_VAL else None]
            image = np.unique([str(person.image) for person in people], return_inverse=True)[1]
            self.held[name] = Held(people, image)
        return self.held[name]

    def truth(self, name: str) -> Manifest:
        """Validation people with their labels."""
        if name == DRAWN_VAL:
            return self.networks.drawn(DRAWN_VAL_SEED, self.images or DRAWN_VAL_IMAGES)
        return self.networks.corpora.manifest(name)

    def boxes(self, name: str) -> Manifest:
        """The boxes of validation people, for ``predict``."""
        truth = self.truth(name)
        return _boxes(truth) if name == DRAWN_VAL else self._unlabelled(truth)

    def _labelled(self, share: float) -> list[Portion]:
        photographs = [Portion(self.networks.corpora.manifest(name), share * part) for name, part in LABELLED.items()]
        return [*photographs, *_shared(self._drawn(DRAWN), share * DRAWN_SHARE)]

    def _drawn(self, wanted: Mapping[int, int]) -> list[Manifest]:
        return [self.networks.drawn(seed, self.images or images) for seed, images in wanted.items()]

    def _unlabelled(self, truth: Manifest) -> Manifest:
        """The same people with boxes alone."""
        if (truth.path.parent / "boxes").is_dir():
            return _boxes(truth)
        out = self.networks.out / "data" / f"{truth.path.name}-boxes"
        with Run.open(out, "boxes", config={}, inputs={"manifest": truth.digest}) as run:
            if run.state is RunState.DONE:
                return Manifest.open(out)
            samples = (sample.with_poses(hide_truth(sample.poses)) for sample in truth)
            parents = [Parent("manifest", truth.digest)]
            return write_manifest(
                out, samples, truth.skeleton, truth.roots, stage="boxes", parents=parents, existing=Existing.OVERWRITE
            )


def _boxes(truth: Manifest) -> Manifest:
    """Those that were drawn beside the truth."""
    return Manifest.open(truth.path.parent / "boxes")


def _shared(manifests: Sequence[Manifest], share: float) -> list[Portion]:
    """Manifests that share a part of the batch by how many people they have."""
    counts = [manifest.counts["poses"] for manifest in manifests]
    return [Portion(manifest, share * count / sum(counts)) for manifest, count in zip(manifests, counts, strict=True)]
