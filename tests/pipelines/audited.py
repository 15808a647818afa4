"""A routing folder and its answers, made by hand in the files' own formats: what certifying starts from."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from autolabel.digests import population_digest
from autolabel.labelstudio.images import image_key
from autolabel.labelstudio.tasks import task_key
from autolabel.manifest import Existing, Manifest, write_manifest
from autolabel.merge import Correction, KeypointChange, PoseChange, State, Stated, write_corrections
from autolabel.poses import Origin, Poses, Sample, Visibility
from autolabel.skeleton import Skeleton
from pipelines.certify import Certificate
from pipelines.certify import certify as run
from pipelines.routing_seal import sealed

SKELETON = Skeleton.load("lsp14")
K = SKELETON.num_keypoints
POSES, ACCEPTED, AUDITED = 60, 48, 30
DIGEST = "routing-digest"


@dataclass
class Audit:
    """A routed manifest of 60 poses, two a sample, of which 48 are accepted and 30 of those audited.

    Attributes:
        folder: Where everything lies.
        truth: (60,) where everybody is.
        model: (60,) the same, until a test lets the network err.
        audited: Rows of the audited poses.
    """

    folder: Path
    truth: Poses
    model: Poses
    audited: list[int] = field(default_factory=lambda: list(range(AUDITED)))

    @classmethod
    def make(cls, folder: Path) -> "Audit":
        poses = Poses.create(
            K,
            id=[f"pose{i:02d}" for i in range(POSES)],
            xy=np.random.default_rng(3).uniform(20, 180, (POSES, K, 2)),
            visibility=np.full((POSES, K), Visibility.VISIBLE),
            origin=np.full((POSES, K), Origin.MODEL),
            box=np.tile([0.0, 0.0, 200.0, 200.0], (POSES, 1)),
        )
        return cls(folder, poses, poses)

    @property
    def routing(self) -> Path:
        return self.folder / "routing"

    def ids(self, rows: Iterable[int]) -> list[str]:
        return self.model.id[list(rows)].tolist()

    def err(self, *rows: int, keypoints: int = 2) -> None:
        """Let the network place some keypoints of these poses far off."""
        self.model = wild(self.model, rows, keypoints)

    def write(self, name: str, poses: Poses, skeleton: Skeleton = SKELETON) -> Path:
        samples = [
            Sample(f"s{i}", "root", f"{i}.png", (200, 200), poses.take([2 * i, 2 * i + 1]), group=f"video{i % 2}")
            for i in range(len(poses) // 2)
        ]
        path, roots = self.folder / name, {"root": self.folder}
        write_manifest(path, samples, skeleton, roots, stage="test", part_size=7, existing=Existing.OVERWRITE)
        return path

    def route(
        self,
        max_bad: float = 0.1,
        *,
        steps: Sequence[int] = (),
        blind: Sequence[int] = (),
        plants: Poses | None = None,
        synthetic: int = 0,
        keypoints: Sequence[tuple[int, int]] = (),
        images: Sequence[int] = (),
        need: Sequence[int] = (),
        complete: Sequence[int] = (),
        seal: bool = False,
        **changes: object,
    ) -> Path:
        """Write the routing's folder; without steps and drawn extras it is one of before there were any.

        Each of the images needs a step to be complete, and so many are complete without any, with the first, ...
        """
        self.routing.mkdir(exist_ok=True)
        manifest = Manifest.open(self.write("model", self.model))
        _lines(self.routing / "accepted.txt", self.ids(range(ACCEPTED)))
        _lines(self.routing / "audit.txt", self.ids(self.audited)[::-1])
        record: dict[str, Any] = {
            "manifest": "../model",
            "manifest_digest": manifest.digest,
            "digest": DIGEST,
            "max_bad": max_bad,
            "confidence": 0.9,
            "population_digest": self.digest(ACCEPTED),
        }
        if steps:
            record["steps"] = [{"size": size, "population_digest": self.digest(size)} for size in steps]
        if blind or plants is not None:
            record["delta"] = {"total": 0.1, "this_audit": 0.1, "reviewers": 0.02}
        if blind:
            _lines(self.routing / "blind.txt", self.ids(blind))
        if plants is not None:
            self.write("routing/plants", plants)
            made = [{"pose": pose, "of": "x", "synthetic": i < synthetic} for i, pose in enumerate(plants.id)]
            _lines(self.routing / "plants.jsonl", map(json.dumps, made))
        if keypoints:
            drawn = [{"pose": self.ids([i])[0], "keypoint": SKELETON.keypoints[k]} for i, k in keypoints]
            _lines(self.routing / "keypoints.jsonl", map(json.dumps, drawn))
            record["keypoints"] = {"population": 5 * K, "drawn": len(keypoints), "digest": "of keypoints"}
        if images:
            noted = [{"step": step} for step in need] or [{}] * len(images)
            drawn = [{"sample": sample(i), **more} for i, more in zip(images, noted, strict=True)]
            _lines(self.routing / "images.jsonl", map(json.dumps, drawn))
            record["images"] = {"population": complete[-1] if complete else 25, "drawn": len(images)}
            levels = [{"population": n, "digest": f"of {n} images"} for n in complete]
            record["images"] |= {"settled": levels[0], "steps": levels[1:]} if complete else {}
        record |= changes
        (self.routing / "routing.json").write_text(json.dumps(sealed(record, self.routing) if seal else record))
        return self.routing

    def digest(self, size: int) -> str:
        return population_digest(self.model.take(range(size)))

    def answer(self, rejected: Iterable[int] = (), **changes: Any) -> Path:
        """Everybody answered with the truth; the pixels by which all is shifted change no pose's verdict."""
        given = self.truth.replace(xy=self.truth.xy + 0.25, **changes)
        if "attributes" not in changes:
            given = given.replace(attributes=states(*rejected))
        return self.write("answers", given)

    def check(
        self,
        checks: Iterable[Correction] = (),
        corrections: Iterable[Correction] = (),
        images: Iterable[dict[str, Any]] = (),
    ) -> Path:
        """What ``pull`` writes beside the manifest of answers."""
        path = self.answer()
        write_corrections(path / "checks.jsonl", checks)
        write_corrections(path / "corrections.jsonl", corrections)
        _lines(path / "images.jsonl", map(json.dumps, images))
        return path

    def certify(self, answers: Path, overwrite: bool = False) -> Certificate:
        return run(self.routing, audit=answers, out=self.folder / "certificate.json", overwrite=overwrite)

    def said(self, row: int, kind: str = "audit", *, bad: bool, **more: Any) -> Correction:
        """Somebody's answer to one pose, which shows the network's pose to be bad or lets it pass."""
        shown = self.model.take([row])
        left = wild(shown, [0], 3) if bad else shown
        return correction(shown, left, task_key(DIGEST, shown.id[0], kind), **more)


def correction(
    shown: Poses, left: Poses, task: str, *, state: State = State.REVIEWED, by: str = "bo", when: str = "2026-05-01"
) -> Correction:
    """One person's answer to one pose."""
    return Correction(
        pose=shown.id[0],
        sample=("s0", "root", "0.png"),
        change=PoseChange.REJECTED if state is State.REJECTED else PoseChange.KEPT,
        keypoints=(KeypointChange.MOVED,) * K,
        before=Stated.of(shown[0]),
        after=Stated.of(left[0]),
        state=state,
        verdict=(),
        by=by,
        when=when,
        seconds=4.0,
        clicks=3,
        task=task,
    )


def image(i: int, missed: int = 0, nobody: Sequence[str] = (), task: str = "", by: str = "bo") -> dict[str, Any]:
    """Somebody's answer about one whole image."""
    key = task or image_key(DIGEST, sample(i))
    return {"sample": sample(i), "missed": missed, "nobody": list(nobody), "by": by, "when": "2026-05-01", "task": key}


def sample(i: int) -> tuple[str, str, str]:
    return (f"s{i}", "root", f"{i}.png")


def wild(poses: Poses, rows: Sequence[int], keypoints: int = 2) -> Poses:
    xy = poses.xy.copy()
    xy[list(rows), :keypoints] += 150
    return poses.replace(xy=xy)


def states(*rejected: int) -> list[dict[str, str]]:
    return [{"state": "rejected" if i in rejected else "reviewed"} for i in range(POSES)]


def _lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))
