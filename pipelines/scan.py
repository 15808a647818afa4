"""``autolabel scan``: folders of images and videos become a manifest without poses.

The listing of names, sizes and times decides what there is to do: unchanged, nothing. Frames of videos are written
first, once (:mod:`autolabel.frames`), and are then images like the others. All images are cut into parts,
and a finished part is never decoded again; what it taught about duplicates is kept beside it until the
manifest is committed. Files that cannot be used are listed in ``quarantine.jsonl``, each with its reason.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from threading import Event, Lock
from typing import Any

from autolabel.corpus import grouping, in_order, scan_images, thumbnail_reader
from autolabel.duplicates import Duplicates, Learned
from autolabel.errors import ConfigError, InputError, WorkError
from autolabel.frames import FRAMES, FrameFolder
from autolabel.images import MAX_PIXELS
from autolabel.listing import ROOT, ImageFile, Quarantined, VideoFile, listing_digest
from autolabel.manifest import PART_SIZE, Existing, Manifest, ManifestWriter, Parent, write_text
from autolabel.poses import Sample
from autolabel.progress import SILENT, Progress, Task
from autolabel.roots import Images, Root, corpus_roots
from autolabel.run import Run, RunState
from autolabel.skeleton import Skeleton
from autolabel.stores import is_stored, url_of
from autolabel.video import require_video

QUARANTINE = "quarantine.jsonl"

_REPORT = "report-{:05d}.json"
_LEARNED = "learned-{:05d}.json"


@dataclass(frozen=True)
class ScanResult:
    """What ``scan`` made.

    Attributes:
        manifest: Its manifest.
        exact_duplicates: Samples with the same bytes as an earlier one.
        near_duplicates: Samples that show the picture of an earlier one in other bytes.
        quarantined: How many files were set aside, by reason.
        frames: How many of the samples are frames of videos.
    """

    manifest: Manifest
    exact_duplicates: int
    near_duplicates: int
    quarantined: dict[str, int]
    frames: int = 0

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "manifest": self.manifest.path,
            **self.manifest.counts,
            "digest": self.manifest.digest,
            "exact_duplicates": self.exact_duplicates,
            "near_duplicates": self.near_duplicates,
            "quarantined": sum(self.quarantined.values()),
            "reasons": self.quarantined,
            **({"frames": self.frames} if self.frames else {}),
        }


def scan(
    images: Images,
    *,
    out: str | Path,
    group_by: str | None = None,
    every: int | None = None,
    frames: str | Path | None = None,
    near_duplicates: bool = True,
    skeleton: str | Path = "coco17",
    part_size: int = PART_SIZE,
    max_pixels: int = MAX_PIXELS,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> ScanResult:
    """Find, verify and hash images; mark duplicates; set aside what cannot be read.

    Args:
        images: A folder, searched recursively, or a single file; several, of which a text may be ``NAME=DIR``; or
            folders by name.
        out: The manifest to write.
        group_by: ``folder``, ``video``, or a regular expression whose bracketed parts name the group.
        every: Take every so many-th frame of videos; without it, videos are left aside.
        frames: The folder for these frames; by default ``OUT/frames``, so that they move with the manifest.
        near_duplicates: Mark resized and recompressed copies too, not only equal bytes.
        skeleton: The skeleton that the manifest's poses will have: a built-in one or a file.
        part_size: Files a part.
        max_pixels: Larger images are set aside.
        overwrite: Replace another result in ``out``; frames elsewhere are never replaced.
        progress: Where to report.

    Raises:
        InputError: There is no such folder, or no image in it that can be read.
        ConfigError: An option cannot be used, or videos are to be decoded and PyAV is not installed.
        ExistsError: ``out`` holds another result, or ``frames`` other frames.
    """
    job = _Job(
        roots=corpus_roots(images),
        out=Path(out),
        elsewhere=None if frames is None else Path(frames),
        every=every,
        skeleton=Skeleton.load(skeleton),
        group_by=group_by,
        near_duplicates=near_duplicates,
        part_size=part_size,
        max_pixels=max_pixels,
    )
    job.check()
    videos: list[VideoFile] = []
    digests = {root.name: listing_digest(job.listing(root, videos)) for root in job.roots}
    total = sum(count for _, count in digests.values())
    _require_something(job, total, videos)
    inputs = {name: digest for name, (digest, _) in digests.items()}
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    with Run.open(out, "scan", config=job.config(), inputs=inputs, existing=existing) as run:
        if run.state is not RunState.DONE:
            taken = [job.folder(video) for video in videos] if every else []
            found = _extract(job, taken, overwrite and job.owns_frames, progress) if taken else 0
            with progress.task("scan", total - len(taken) + found, "files") as task:
                _scan_parts(job, run, inputs, taken, task)
        result = _result(run.path)
    if result.quarantined:
        count = sum(result.quarantined.values())
        progress.note(f"{count:,} files were set aside, see {run.path / QUARANTINE}")
    if videos and not every:
        progress.note(f"WARNING: {_count(videos)} left aside: --every N takes every N-th frame of them")
    return result


@dataclass(frozen=True)
class _Job:
    roots: list[Root]
    out: Path
    elsewhere: Path | None
    every: int | None
    skeleton: Skeleton
    group_by: str | None
    near_duplicates: bool
    part_size: int
    max_pixels: int

    @property
    def frames(self) -> Path:
        """The folder of the frames: in the manifest's own folder, unless another one was given."""
        return self.elsewhere or self.out / FRAMES

    def check(self) -> None:
        """Refuse what would fail later, before anything is read."""
        grouping(self.group_by)
        for name, value in (("part_size", self.part_size), ("every", 1 if self.every is None else self.every)):
            if value < 1:
                raise ConfigError("must be at least 1", subject=f"{name} {value}")
        if self.every is not None:
            require_video()
            if stored := [url_of(root.folder) for root in self.roots if is_stored(root.folder)]:
                remedy = "Copy the videos to this machine, or leave --every out."
                raise ConfigError("takes no frames out of a store", subject=f"--every, {stored[0]}", remedy=remedy)
            if any(root.name == FRAMES for root in self.roots):
                raise ConfigError(
                    f"the name {FRAMES!r} is that of the frames",
                    subject="IMAGES",
                    remedy="Name the folder otherwise: NAME=DIR.",
                )

    @property
    def owns_frames(self) -> bool:
        """Whether the frames lie in the result's own folder; elsewhere other manifests may show them."""
        return self.frames.resolve().is_relative_to(self.out.resolve())

    def config(self) -> dict[str, Any]:
        """What changes the result. The folders are in it because the manifest names them."""
        single = [root for root in self.roots if root.name == ROOT and not root.only]
        config: dict[str, Any] = {
            "folder": str(single[0].folder) if len(self.roots) == len(single) else None,
            "skeleton": self.skeleton.to_dict(),
            "group_by": self.group_by,
            "near_duplicates": self.near_duplicates,
            "part_size": self.part_size,
            "max_pixels": self.max_pixels,
        }
        if config["folder"] is None:
            config["roots"] = [[root.name, str(root.folder), *root.only] for root in self.roots]
        if self.group_by is not None:
            config["copies"] = "keep their own group"  # as they did not in an earlier version
        if self.every is not None:
            config["every"] = self.every
            config["frames"] = str(self.elsewhere.resolve()) if self.elsewhere else None
        return config

    def listing(self, root: Root, videos: list[VideoFile]) -> Iterator[ImageFile | VideoFile | Quarantined]:
        """What there is to do in a root; its videos are gathered, and left out where no frames are asked for."""
        others = [other.folder for other in self.roots if other is not root]
        for item in root.files([*others, self.out, self.frames]):
            if isinstance(item, VideoFile):
                videos.append(item)
                if self.every is None:
                    continue
            yield item

    def folder(self, video: VideoFile) -> FrameFolder:
        """Where the frames of a video go."""
        place = video.path if len(self.roots) == 1 else f"{video.root}/{video.path}"
        return FrameFolder(self.frames, place, video, self.every or 1)

    def folders(self) -> dict[str, Path]:
        """All corpus roots of the manifest, by name."""
        roots = {root.name: root.folder for root in self.roots}
        return roots if self.every is None else {**roots, FRAMES: self.frames}


def _require_something(job: _Job, total: int, videos: list[VideoFile]) -> None:
    """Nothing to scan is a mistake that is told at once."""
    if total:
        return
    subject = ", ".join(str(root.folder) for root in job.roots)
    if videos:
        raise InputError(
            f"holds no images, but {_count(videos)}", subject=subject, remedy="Take their frames with --every N."
        )
    raise InputError("holds no images", subject=subject, remedy="Give the folder that holds them, at any depth.")


def _count(videos: list[VideoFile]) -> str:
    return (
        f"{len(videos):,} video{'s' if len(videos) > 1 else ''} ({videos[0].path!r}{', …' if len(videos) > 1 else ''})"
    )


def _extract(job: _Job, taken: list[FrameFolder], overwrite: bool, progress: Progress) -> int:
    """Write the frames of all videos, several videos at a time: how many items they are for the scan."""
    tops = {root.name: root.folder for root in job.roots}
    with progress.task("frames", unit="frames") as task:
        one_at_a_time, stopped = Lock(), Event()

        def seen() -> None:
            if stopped.is_set():
                raise WorkError("was stopped", subject="frames")
            with one_at_a_time:
                task.advance()

        def work(folder: FrameFolder) -> int:
            source = tops[folder.video.root] / folder.video.path
            folder.extract(source, overwrite=overwrite, max_pixels=job.max_pixels, seen=seen)
            return sum(1 for _ in folder.files())

        return sum(in_order(work, taken, stop=stopped.set))


@dataclass(frozen=True)
class _Report:
    """What one part came to; kept beside it, so that a resumed scan adds up the same."""

    samples: int
    exact_duplicates: int
    near_duplicates: int
    quarantined: list[Quarantined]
    frames: int

    def record(self, *, several: bool) -> dict[str, Any]:
        """As JSON; the root of a file is named where there are several."""
        record = asdict(self)
        for line in () if several else record["quarantined"]:
            del line["root"]
        return record


def _scan_parts(job: _Job, run: Run, inputs: dict[str, str], taken: list[FrameFolder], task: Task) -> None:
    """Scan the parts that are not there yet, and commit."""
    writer = ManifestWriter(
        run.path,
        job.skeleton,
        job.folders(),
        stage="scan",
        parents=[Parent(name, digest) for name, digest in inputs.items()],
        existing=Existing.RESUME,
    )
    done = writer.finished_parts()
    journal: list[Learned] = []
    seen = Duplicates(thumbnail_reader(job.folders(), job.max_pixels), near=job.near_duplicates, journal=journal)
    for i, listing in enumerate(_batched(_images(job, taken), job.part_size)):
        journal.clear()
        if i in done:
            seen.replay(Learned(*line) for line in json.loads((run.path / _LEARNED.format(i)).read_text()))
            task.advance(len(listing))
            continue
        samples, report = _scan_part(job, listing, seen, journal, task)
        # Before the part itself, so that a finished part always has them.
        write_text(run.path / _LEARNED.format(i), json.dumps(journal))
        write_text(run.path / _REPORT.format(i), json.dumps(report.record(several=len(job.folders()) > 1)))
        writer.write_part(i, samples)
        run.log(f"part {i}: {len(samples)} samples, {len(report.quarantined)} quarantined")
    _list_quarantined(run.path)
    writer.commit()
    for file in run.path.glob("learned-*.json"):
        file.unlink()


def _images(job: _Job, taken: list[FrameFolder]) -> Iterator[ImageFile | Quarantined]:
    """The images of all roots, then the frames of all videos."""
    for item in chain.from_iterable(job.listing(root, []) for root in job.roots):
        if not isinstance(item, VideoFile):
            yield item
    for folder in taken:
        yield from folder.files()


def _scan_part(
    job: _Job,
    listing: list[ImageFile | Quarantined],
    seen: Duplicates,
    journal: list[Learned],
    task: Task,
) -> tuple[list[Sample], _Report]:
    samples: list[Sample] = []
    quarantined: list[Quarantined] = []
    for item in scan_images(
        job.folders(),
        listing,
        num_keypoints=job.skeleton.num_keypoints,
        group_by=job.group_by,
        frames_root=FRAMES if job.every else None,
        duplicates=seen,
        max_pixels=job.max_pixels,
    ):
        if isinstance(item, Sample):
            samples.append(item)
        else:
            quarantined.append(item)
        task.advance()
    repeats = sum(bool(sample.duplicate_of) for sample in samples)
    near = sum(bool(line.same_as) for line in journal)
    frames = sum(sample.root == FRAMES for sample in samples) if job.every else 0
    return samples, _Report(len(samples), repeats - near, near, quarantined, frames)


def _list_quarantined(folder: Path) -> None:
    """Write the one list of what was set aside.

    Raises:
        InputError: That is everything.
    """
    reports = _reports(folder)
    records = [record for report in reports for record in report["quarantined"]]
    write_text(folder / QUARANTINE, "".join(f"{json.dumps(record)}\n" for record in records))
    if not any(report["samples"] for report in reports):
        raise InputError(
            f"none of {len(records)} images can be read; the first: {records[0]['detail']}",
            subject=records[0]["path"],
            remedy=f"All reasons are in {folder / QUARANTINE}.",
        )


def _result(folder: Path) -> ScanResult:
    reports = _reports(folder)
    return ScanResult(
        Manifest.open(folder),
        exact_duplicates=sum(report["exact_duplicates"] for report in reports),
        near_duplicates=sum(report["near_duplicates"] for report in reports),
        quarantined=dict(Counter(record["reason"] for report in reports for record in report["quarantined"])),
        frames=sum(report.get("frames", 0) for report in reports),
    )


def _reports(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(folder.glob("report-*.json"))]


def _batched(items: Iterable[ImageFile | Quarantined], size: int) -> Iterator[list[ImageFile | Quarantined]]:
    stream = iter(items)
    while batch := list(islice(stream, size)):
        yield batch
