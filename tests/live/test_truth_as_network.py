"""Real people through everything around the network, which answers with the truth: nothing may be lost."""

import numpy as np
import pytest

from autolabel.formats.coco import read_coco
from benchmarks.parity_truth import ASKED, BOUNDS, DATA, LEAST_AP, outcome
from model.config import Codec

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not DATA.is_dir(), reason="shared/data/coco25 is not here"),
]


@pytest.mark.parametrize("codec", ["udp", "plain"])
@pytest.mark.parametrize(("way", "flip_test"), ASKED)
def test_the_truth_comes_back(codec: Codec, way: str, flip_test: bool) -> None:
    found = outcome(codec, flip_test=flip_test, way=way)
    assert found.error.mean() < BOUNDS[codec]
    assert found.ap >= LEAST_AP[codec]
    assert found.crops >= 0.999
    assert found.unequal == 0
    if codec == "udp":
        assert found.error[~found.near].max() < 0.1, "not only on average, away from the map's border"


@pytest.mark.parametrize(("way", "most"), [("as it is", 0.01), ("loose boxes", 0.02)])
def test_nothing_is_left_out_but_what_no_crop_shows(way: str, most: float) -> None:
    labelled = np.concatenate([sample.poses.labelled for sample in read_coco(DATA / "annotations.json").samples])
    found = outcome("udp", way=way)
    assert found.people == labelled.any(axis=1).sum()
    assert len(found.error) + found.outside == labelled.sum()
    assert 0 < found.outside < most * labelled.sum()
