"""``autolabel map``: a manifest in another skeleton."""

from collections.abc import Iterator
from pathlib import Path

from autolabel.manifest import Existing, Manifest, ManifestWriter, Parent
from autolabel.mapping import apply, keypoint_map, read_names
from autolabel.progress import SILENT, Progress
from autolabel.run import Run, RunState
from autolabel.skeleton import Skeleton


def map_(
    manifest: str | Path,
    *,
    to: str | Path,
    names: str | Path | None = None,
    out: str | Path,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> Manifest:
    """Write a manifest's poses in another skeleton.

    Part by part: a killed job goes on where it stopped. Features are left behind, because their columns are
    the keypoints of the old skeleton.

    Args:
        manifest: The manifest folder to read.
        to: A built-in skeleton or a skeleton file.
        names: A names file (``autolabel.mapping.read_names``); without it, equal names and derived keypoints.
        out: The manifest folder to write.
        overwrite: Replace another result in ``out``.
        progress: Where to report.

    Raises:
        InputError: An unknown skeleton, a keypoint that its skeleton has not, or nothing in common.
        ExistsError: ``out`` holds another result.
    """
    source = Manifest.open(manifest)
    target = Skeleton.load(to)
    mapping = keypoint_map(source.skeleton, target, read_names(names) if names is not None else None)
    if mapping.unsourced:
        progress.note(f"Nothing maps to {', '.join(mapping.unsourced)}: they stay unlabelled.")
    existing = Existing.OVERWRITE if overwrite else Existing.RESUME
    config = {"skeleton": target.to_dict(), "weights": mapping.weights.tolist()}
    with Run.open(out, "map", config=config, inputs={"manifest": source.digest}, existing=existing) as run:
        if run.state is RunState.DONE:
            return Manifest.open(run.path)
        writer = ManifestWriter(
            run.path,
            target,
            source.roots,
            stage="map",
            parents=[Parent("manifest", source.digest)],
            existing=Existing.RESUME,
        )
        with progress.task("map", len(source), "image") as task:
            for i in _missing_parts(source, writer):
                samples = source.part(i)
                writer.write_part(i, [sample.with_poses(apply(mapping, sample.poses)) for sample in samples])
                task.advance(len(samples))
        return writer.commit()


def _missing_parts(source: Manifest, writer: ManifestWriter) -> Iterator[int]:
    done = writer.finished_parts()
    return (i for i in range(source.num_parts) if i not in done)
