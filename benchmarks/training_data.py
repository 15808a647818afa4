"""The corpora of the training benchmarks, made from ``../shared/data`` when they are first asked for.

No photograph is copied: a manifest refers to where the images lie.
"""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from autolabel.manifest import COMMIT, Manifest, write_text
from autolabel.progress import SILENT, Progress
from pipelines.import_ import import_
from pipelines.map_ import map_
from pipelines.subset import with_poses

OPENFIELD_VAL = 30
DRAWN, DRAWN_VAL = 600, 150


class Corpora:
    """Manifests by name.

    ``lspet`` and ``fashion17`` are the training parts, with ``-val`` for the others; ``openfield`` is one video, of
    which thirty frames are kept for measuring. ``NAME-SKELETON`` is mapped; ``NAME-N`` the first N poses in a random
    order.

    Args:
        data: ``shared/data``.
        out: Where manifests are written, and found again; another folder for another ``most``.
        most: Images of each corpus; 0 for all.
        progress: Where to report.
    """

    def __init__(self, data: Path, out: Path, *, most: int = 0, progress: Progress = SILENT) -> None:
        self._data, self._out, self._most, self._progress = data, out, most, progress
        coco: Mapping[str, Callable[[], Manifest]] = {
            f"{name}{end}": partial(self._imported, name, f"annotations_{part}.json", f"{name}{end}")
            for name in ("lspet", "fashion17")
            for part, end in (("train", ""), ("val", "-val"))
        }
        held = min(OPENFIELD_VAL, most // 2) if most else OPENFIELD_VAL
        self._make: dict[str, Callable[[], Manifest]] = {
            **coco,
            "openfield-all": partial(self._imported, "openfield", "annotations.json", "openfield-all"),
            "openfield": partial(self._shuffled, "openfield-all", slice(held, None), "openfield"),
            "openfield-val": partial(self._shuffled, "openfield-all", slice(held), "openfield-val"),
            "coco25": partial(self._imported, "coco25", "annotations.json", "coco25"),
            "lspet-coco17": partial(self._mapped, "lspet", "coco17", "lspet-coco17"),
            "lspet-coco17-val": partial(self._mapped, "lspet-val", "coco17", "lspet-coco17-val"),
            "fashion17-lsp14": partial(self._mapped, "fashion17", "lsp14", "fashion17-lsp14"),
            "fashion17-lsp14-val": partial(self._mapped, "fashion17-val", "lsp14", "fashion17-lsp14-val"),
            "drawn": partial(self._drawn, 0, most or DRAWN, "drawn"),
            "drawn-val": partial(self._drawn, DRAWN, most or DRAWN_VAL, "drawn-val"),
        }

    def manifest(self, name: str) -> Manifest:
        """The manifest of this name; made now if it is not there, and not looked at again if it is."""
        if (self._out / name / COMMIT).is_file():
            return Manifest.open(self._out / name)
        if name in self._make:
            return self._make[name]()
        whole, _, count = name.rpartition("-")
        return self._shuffled(whole, slice(int(count)), name)

    def _imported(self, folder: str, file: str, name: str) -> Manifest:
        here = self._data / folder
        labels = self._some(here / file, name) if self._most else here / file
        return import_("coco", labels, images=here / "images", out=self._out / name, progress=self._progress).manifest

    def _some(self, file: Path, name: str) -> Path:
        """The same labels of the first images only."""
        content = json.loads(file.read_text(encoding="utf-8"))
        content["images"] = content["images"][: self._most]
        kept = {image["id"] for image in content["images"]}
        content["annotations"] = [record for record in content["annotations"] if record["image_id"] in kept]
        small = self._out / f"{name}.json"
        small.parent.mkdir(parents=True, exist_ok=True)
        write_text(small, json.dumps(content))
        return small

    def _mapped(self, source: str, skeleton: str, name: str) -> Manifest:
        return map_(self.manifest(source).path, to=skeleton, out=self._out / name)

    def _shuffled(self, source: str, chosen: slice, name: str) -> Manifest:
        """Some poses in an order that is drawn once: 50 of them are among the 200."""
        whole = self.manifest(source)
        ids = np.sort([pose for sample in whole for pose in sample.poses.id.tolist()])
        some = np.random.default_rng(0).permutation(ids)[chosen].tolist()
        return with_poses(whole, some, out=self._out / name, stage="subset")

    def _drawn(self, first: int, images: int, name: str) -> Manifest:
        from pipelines.drawn_corpus import draw_corpus

        folder = self._out / name
        if (folder / "truth").is_dir():
            return Manifest.open(folder / "truth")
        return draw_corpus(folder, images=images, seed=0, first=first, progress=self._progress)[0]
