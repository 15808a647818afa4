"""``autolabel weights list``: every known release of ViTPose weights."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from autolabel.errors import ConfigError
from autolabel.progress import SILENT, Progress
from pipelines.console import aligned

if TYPE_CHECKING:
    from model.released import Release


@dataclass(frozen=True)
class WeightsList:
    """Releases that were asked for.

    Attributes:
        releases: In the order official, mmpose, easy_ViTPose, Hugging Face, encoders.
        dataset: Whose figures to show, or None for all.
    """

    releases: "tuple[Release, ...]"
    dataset: str | None = None

    def summary(self) -> dict[str, object]:
        """For ``--json``."""
        return {
            "releases": [
                {
                    "id": release.id,
                    "layout": release.layout,
                    "size": release.size,
                    "plus": release.plus,
                    "datasets": release.datasets,
                    "trained_on": release.trained_on,
                    "input_size": release.input_size,
                    "decoder": release.decoder,
                    "figures": [
                        {"dataset": f.dataset, "benchmark": f.benchmark, "value": f.value} for f in release.figures
                    ],
                    "licence": release.licence,
                    "file": release.file or None,
                    "where": release.where,
                    "golden": {"x": release.golden.x, "y": release.golden.y, "score": release.golden.score}
                    if release.golden
                    else None,
                }
                for release in self.releases
            ]
        }

    def table(self) -> str:
        """A line for each figure, and one for a release without any; ``-`` is what nobody published."""
        head = ("id", "size", "dataset", "input", "decoder", "reported", "of", "licence", "golden", "from")
        rows = [row for release in self.releases for row in _rows(release, self.dataset)]
        return aligned([head, *rows])


def weights_list(
    *, dataset: str | None = None, size: str | None = None, layout: str | None = None, progress: Progress = SILENT
) -> WeightsList:
    """Every known release of ViTPose weights, with what was reported of it.

    Args:
        dataset: Only those that predict this dataset's keypoints, and figures of it.
        size: Only ``s``, ``b``, ``l`` or ``h``.
        layout: Only ``official``, ``mmpose``, ``easy_vitpose``, ``huggingface`` or ``mae``.
        progress: Where to report.

    Raises:
        ConfigError: An unknown dataset, size or layout.
    """
    from model.config import DATASETS, SIZES
    from model.released import LAYOUTS, RELEASES

    del progress
    for what, value, known in (("dataset", dataset, DATASETS), ("size", size, SIZES), ("layout", layout, LAYOUTS)):
        if value is not None and value not in known:
            raise ConfigError(f"no {what} {value!r}", subject=f"--{what}", remedy=f"Known: {', '.join(known)}.")
    found = [
        release
        for release in RELEASES
        if (dataset is None or dataset in release.datasets)
        and size in (None, release.size)
        and layout in (None, release.layout)
    ]
    return WeightsList(tuple(found), dataset)


def _rows(release: "Release", dataset: str | None) -> list[tuple[str, ...]]:
    figures = [figure for figure in release.figures if dataset in (None, figure.dataset)]
    shown = [(f.dataset, f"{f.value:.1f}", f.benchmark) for f in figures]
    if not shown:
        shown = [(dataset or ",".join(release.datasets) or "-", "-", "-")]
    size = f"{release.size}{'++' if release.plus else ''}"
    pixels = "x".join(map(str, release.input_size)) if release.input_size else "-"
    end = (release.licence, "yes" if release.golden else "-", release.where)
    return [
        (release.id, size, name, pixels, release.decoder or "-", value, benchmark, *end)
        for name, value, benchmark in shown
    ]
