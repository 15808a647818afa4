"""``autolabel scan``: a folder of images becomes a manifest without poses.

The listing of names, sizes and times decides what there is to do: unchanged, nothing. It is cut into parts,
and a finished part is never decoded again; what it taught about duplicates is kept beside it until the
manifest is committed. Files that cannot be used are listed in ``quarantine.jsonl``, each with its reason.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from autolabel.corpus import (
    ROOT,
    ImageFile,
    Quarantined,
    grouping,
    list_images,
    listing_digest,
    scan_images,
    thumbnail_reader,
)
from autolabel.duplicates import Duplicates, Learned
from autolabel.errors import ConfigError, InputError
from autolabel.images import MAX_PIXELS
from autolabel.manifest import PART_SIZE, Existing, Manifest, ManifestWriter, Parent, write_text
from autolabel.poses import Sample
from autolabel.progress import SILENT, Progress, Task
from autolabel.run import Run, RunState
from autolabel.skeleton import Skeleton

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
    """

    manifest: Manifest
    exact_duplicates: int
    near_duplicates: int
    quarantined: dict[str, int]

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
        }


def scan(
    images: str | Path,
    *,
    out: str | Path,
    group_by: str | None = None,
    near_duplicates: bool = True,
    skeleton: str | Path = "coco17",
    part_size: int = PART_SIZE,
    max_pixels: int = MAX_PIXELS,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> ScanResult:
    """Find, verify and hash images; mark duplicates; set aside what cannot be read.

    Args:
        images: A folder, searched recursively.
        out: The manifest to write.
        group_by: ``folder``, or a regular expression whose bracketed parts name the group.
        near_duplicates: Mark resized and recompressed copies too, not only equal bytes.
        skeleton: The skeleton that the manifest's poses will have: a built-in one or a file.
        part_size: Files a part.
        max_pixels: Larger images are set aside.
        overwrite: Replace another result in ``out``.
        progress: Where to report.

    Raises:
        InputError: There is no such folder, or no image in it that can be read.
        ConfigError: ``group_by`` or ``part_size`` cannot be used.
        ExistsError: ``out`` holds another result.
    """
    job = _Job(Path(images).resolve(), Skeleton.load(skeleton), group_by, near_duplicates, part_size, max_pixels)
    job.check()
    digest, total = listing_digest(list_images(job.folder))
    if not total:
        raise InputError(
            "holds no images", subject=str(images), remedy="Give the folder that holds them, at any depth."
        )
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    with Run.open(out, "scan", config=job.config(), inputs={ROOT: digest}, existing=existing) as run:
        if run.state is not RunState.DONE:
            with progress.task("scan", total, "files") as task:
                _scan_parts(job, run, digest, task)
        result = _result(run.path)
    if result.quarantined:
        count = sum(result.quarantined.values())
        progress.note(f"{count:,} files were set aside, see {run.path / QUARANTINE}")
    return result


@dataclass(frozen=True)
class _Job:
    folder: Path
    skeleton: Skeleton
    group_by: str | None
    near_duplicates: bool
    part_size: int
    max_pixels: int

    def check(self) -> None:
        """Refuse what would fail later, before anything is read."""
        grouping(self.group_by)
        if self.part_size < 1:
            raise ConfigError("must be at least 1", subject=f"part_size {self.part_size}")

    def config(self) -> dict[str, Any]:
        """What changes the result. The folder is in it because the manifest names it."""
        return asdict(self) | {"folder": str(self.folder), "skeleton": self.skeleton.to_dict()}


@dataclass(frozen=True)
class _Report:
    """What one part came to; kept beside it, so that a resumed scan adds up the same."""

    samples: int
    exact_duplicates: int
    near_duplicates: int
    quarantined: list[Quarantined]


def _scan_parts(job: _Job, run: Run, digest: str, task: Task) -> None:
    """Scan the parts that are not there yet, and commit."""
    writer = ManifestWriter(
        run.path,
        job.skeleton,
        {ROOT: job.folder},
        stage="scan",
        parents=[Parent(ROOT, digest)],
        existing=Existing.RESUME,
    )
    done = writer.finished_parts()
    journal: list[Learned] = []
    reader = thumbnail_reader(job.folder, job.max_pixels)
    seen = Duplicates(reader, near=job.near_duplicates, journal=journal)
    for i, listing in enumerate(_batched(list_images(job.folder), job.part_size)):
        journal.clear()
        if i in done:
            seen.replay(Learned(*line) for line in json.loads((run.path / _LEARNED.format(i)).read_text()))
            task.advance(len(listing))
            continue
        samples, report = _scan_part(job, listing, seen, journal, task)
        # Before the part itself, so that a finished part always has them.
        write_text(run.path / _LEARNED.format(i), json.dumps(journal))
        write_text(run.path / _REPORT.format(i), json.dumps(asdict(report)))
        writer.write_part(i, samples)
        run.log(f"part {i}: {len(samples)} samples, {len(report.quarantined)} quarantined")
    _list_quarantined(run.path)
    writer.commit()
    for file in run.path.glob("learned-*.json"):
        file.unlink()


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
        job.folder,
        listing,
        num_keypoints=job.skeleton.num_keypoints,
        group_by=job.group_by,
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
    return samples, _Report(len(samples), repeats - near, near, quarantined)


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
    )


def _reports(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(folder.glob("report-*.json"))]


def _batched(items: Iterable[ImageFile | Quarantined], size: int) -> Iterator[list[ImageFile | Quarantined]]:
    stream = iter(items)
    while batch := list(islice(stream, size)):
        yield batch
