"""Jobs that go through the images of a manifest part by part, and write a part of another manifest for each.

A finished part is never computed again, so a killed job goes on where it stopped. What happened to a part besides its
poses is a report beside it; images that could not be read are told in ``quarantine.jsonl`` when all parts are there.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from autolabel.manifest import COMMIT, Manifest, ManifestWriter, part_file, write_text
from autolabel.poses import Sample
from autolabel.progress import Progress, Task
from autolabel.run import Run
from autolabel.stages import Stages

QUARANTINE = "quarantine.jsonl"
_REPORT = "report-{:05d}.json"
_FORGET = "retry.json"


class Part(NamedTuple):
    """A part that was worked through.

    Attributes:
        samples: With their poses.
        features: Of those poses, in the same order; None where there are none.
        report: What happened, as JSON values; ``quarantined`` lists the images that could not be read: ``path``,
            ``reason`` and ``detail``.
    """

    samples: Sequence[Sample]
    features: Mapping[str, Any] | None
    report: Mapping[str, Any]


class Written(NamedTuple):
    """What one call of :func:`write_parts` did.

    Attributes:
        skipped: Samples of parts that were there before.
        samples: That were worked through.
        poses: Of those.
    """

    skipped: int
    samples: int
    poses: int


Engine = Callable[[Sequence[int], Task], Iterator[tuple[int, Part]]]
"""Works through some parts, by number, and gives each as it is done; it tells the task of every image."""


def write_parts(
    run: Run,
    source: Manifest,
    writer: ManifestWriter,
    engine: Engine,
    *,
    name: str,
    progress: Progress,
    stages: Stages | None = None,
) -> "Written":
    """Work through the parts that are not there yet, and say what was set aside. The manifest is not committed yet.

    Args:
        run: The job's folder, where the manifest is written too.
        source: The manifest that is worked through.
        writer: Of the new manifest, whose parts are those of the source.
        engine: Does the work.
        name: What the progress bar calls it.
        progress: Where to report.
        stages: Told of the time.
    """
    stages = stages or Stages()
    done, samples, poses = writer.finished_parts(), 0, 0
    with progress.task(name, len(source), "image") as task:
        task.advance(skipped := sum(source.part_length(i) for i in done))
        for i, part in engine([i for i in range(source.num_parts) if i not in done], task):
            with stages("write"):
                # Before the part itself, so that a finished part always has its report.
                write_text(run.path / _REPORT.format(i), json.dumps(dict(part.report)))
                writer.write_part(i, part.samples, part.features)
            samples, poses = samples + len(part.samples), poses + sum(len(sample.poses) for sample in part.samples)
            run.log(f"part {i}: {len(part.samples)} samples, {len(part.report['quarantined'])} quarantined")
    quarantined = [record for report in reports(run.path) for record in report["quarantined"]]
    write_text(run.path / QUARANTINE, "".join(f"{json.dumps(record)}\n" for record in quarantined))
    return Written(skipped, samples, poses)


def forget_quarantined(folder: Path, retry: bool) -> None:
    """Remove the parts in which images were set aside, so that those are worked through again.

    Which parts those are is written down first: a kill in the middle forgets neither less nor more.

    Args:
        folder: Of a job.
        retry: Whether that is wanted. A job that is not finished just goes on; what a kill left of an earlier wish is
            always finished.
    """
    wanted = folder / _FORGET
    if retry and not wanted.is_file() and (folder / COMMIT).is_file():
        told = ((file, json.loads(file.read_text(encoding="utf-8"))) for file in folder.glob("report-*.json"))
        parts = [int(file.stem.removeprefix("report-")) for file, report in told if report["quarantined"]]
        if parts:
            write_text(wanted, json.dumps(sorted(parts)))
    if not wanted.is_file():
        return
    (folder / COMMIT).unlink(missing_ok=True)
    for number in json.loads(wanted.read_text(encoding="utf-8")):
        for name in ("samples", "poses", "features"):  # a part is there when its samples are
            part_file(folder, name, number).unlink(missing_ok=True)
    wanted.unlink()


def reports(folder: Path) -> list[dict[str, Any]]:
    """What happened to each part of a job, in their order."""
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("report-*.json"))]


def told_of_quarantine(folder: Path, quarantined: int, progress: Progress) -> None:
    """Say where to read which images were set aside, if any were."""
    if quarantined:
        progress.note(
            f"{quarantined:,} images were set aside, see {folder / QUARANTINE}. Where their files are whole again, the "
            "same command with --retry works through their parts anew."
        )
