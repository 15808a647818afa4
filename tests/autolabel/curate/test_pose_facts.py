"""Features of poses, looked up in a manifest."""

from pathlib import Path

import numpy as np

from autolabel.curate.pose_facts import measured
from autolabel.manifest import Manifest, ManifestWriter
from tests.curation import some_samples
from tests.standing import COCO


def manifest(folder: Path, *, features: bool = True) -> Manifest:
    """Two parts: of two people, and of one and nobody."""
    samples = some_samples()
    writer = ManifestWriter(folder, COCO, {"images": folder}, stage="test")
    for i, part in enumerate((samples[:1], samples[1:])):
        count = sum(len(sample.poses) for sample in part)
        values = {"peak": np.arange(count * 17).reshape(count, 17) + 100 * i, "size": np.arange(count) + 7.0}
        writer.write_part(i, part, values if features else None)
    return writer.commit()


def test_a_row_is_found_in_whichever_part_it_lies(tmp_path: Path) -> None:
    second, third, stranger = f"{1:032x}", f"{2:032x}", f"{9:032x}"
    found = measured(manifest(tmp_path), [second, third, stranger])
    assert set(found) == {second, third}
    assert found[second]["peak"].tolist() == list(range(17, 34))
    assert found[third]["peak"].tolist() == list(range(100, 117))
    assert found[second]["size"].tolist() == [8.0]


def test_a_manifest_without_features_has_none(tmp_path: Path) -> None:
    assert measured(manifest(tmp_path, features=False), [f"{1:032x}"]) == {f"{1:032x}": {}}
