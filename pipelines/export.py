"""``autolabel export``: a manifest as files that other tools read."""

import json
from dataclasses import dataclass
from pathlib import Path

from autolabel.errors import ConfigError
from autolabel.formats.coco import write_coco
from autolabel.formats.policy import ImagePolicy
from autolabel.manifest import Manifest
from autolabel.poses import Sample
from autolabel.progress import SILENT, Progress
from pipelines.import_ import HEADER, require_format

FORMATS = ("coco",)


@dataclass(frozen=True)
class ExportResult:
    """What was written.

    Attributes:
        path: The file.
        images: Images written.
        poses: Poses written, ignore regions included.
        left_out: Images that the image policy left out.
    """

    path: Path
    images: int
    poses: int
    left_out: int

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {"out": self.path, "images": self.images, "poses": self.poses, "left_out": self.left_out}


def export(
    format: str,
    manifest: str | Path,
    *,
    out: str | Path,
    images: str = ImagePolicy.COMPLETE.value,
    overwrite: bool = False,
    progress: Progress = SILENT,
) -> ExportResult:
    """Write a manifest in another tool's format.

    Args:
        format: ``coco``.
        manifest: The manifest folder.
        out: The file to write.
        images: ``complete``: only images all of whose people are settled; ``ignore-regions``: unsettled
            people become crowd regions; ``all``: every pose as it stands.
        overwrite: Replace a file that stands already.
        progress: Where to report.

    Raises:
        ConfigError: An unknown format or image policy.
        ManifestError: There is no such manifest.
        ExistsError: ``out`` stands already.
    """
    require_format(format, FORMATS)
    policies = [policy.value for policy in ImagePolicy]
    if images not in policies:
        raise ConfigError(f"is {images!r}", subject="--images", remedy=f"Known: {', '.join(policies)}.")
    source = Manifest.open(manifest)
    header = source.path / HEADER
    counts = write_coco(
        out,
        source,
        source.skeleton,
        header=json.loads(header.read_text(encoding="utf-8")) if header.is_file() else None,
        policy=ImagePolicy(images),
        file_name=_with_root if len(source.roots) > 1 else None,
        overwrite=overwrite,
        progress=progress,
    )
    if counts.left_out:
        progress.note(f"{counts.left_out} images left out: rejected, or somebody in them is not settled.")
    return ExportResult(Path(out), counts.images, counts.poses, counts.left_out)


def _with_root(sample: Sample) -> str:
    """The path below the folder of all roots: several roots may hold the same path."""
    return f"{sample.root}/{sample.path}"
