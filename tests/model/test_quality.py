"""The quality head: what it says of places, how it is kept, and whose it is."""

from pathlib import Path

import numpy as np
import pytest
import torch

from autolabel.errors import CheckpointError
from autolabel.skeleton import Skeleton
from model.config import ViTPoseConfig
from model.quality import (
    FORMAT,
    Quality,
    QualityHead,
    fractions,
    judge,
    load_quality,
    person_size,
    quality_digest,
    save_quality,
)
from model.tensor_files import of_tensors, read_tensors, write_together
from model.vitpose import ViTPose, build_vitpose

SKELETON = Skeleton("dots", ("nose", "left", "right"), (), (0, 2, 1), (0.05,) * 3, "test")
BOXES = torch.tensor([[0.0, 0, 40, 90], [10, 10, 50, 30]])
REGION = torch.tensor([[90.0, 120], [75, 100]])


def network(seed: int = 0, skeleton: Skeleton = SKELETON) -> ViTPose:
    fields = {"input_size": (64, 48), "patch_size": 16, "width": 16, "depth": 1, "heads": 2}
    torch.manual_seed(seed)
    return build_vitpose(ViTPoseConfig.parse(fields, subject="test"), [skeleton]).eval()


def head(seed: int = 0, k: int = 3) -> QualityHead:
    torch.manual_seed(seed)
    return QualityHead(16, k).eval()


def features(n: int = 2) -> torch.Tensor:
    return torch.randn(n, 16, 4, 3, generator=torch.Generator().manual_seed(0))


def cells(n: int = 2, k: int = 3) -> torch.Tensor:
    return 10 * torch.rand(n, k, 2, generator=torch.Generator().manual_seed(1))


def judged(head: QualityHead, features: torch.Tensor, cells: torch.Tensor) -> Quality:
    n = len(cells)
    return judge(head, features, fractions(cells, (16, 12)), person_size(BOXES[:n], REGION[:n]))


def test_each_place_is_judged_by_itself_and_missing_ones_are_not() -> None:
    places = cells()
    places[0, 1] = torch.nan
    places[1] = torch.nan
    said = judged(head(), features(), places)
    assert said.ks.isnan().tolist() == [[False, True, False], [True] * 3]
    assert said.gross.isnan().tolist() == said.ks.isnan().tolist()
    assert said.bad.isnan().tolist() == [False, True]
    elsewhere = cells()
    elsewhere[0, 0] += 3
    moved, before = judged(head(), features(), elsewhere), judged(head(), features(), cells())
    assert moved.ks[0, 0] != before.ks[0, 0]
    assert torch.equal(moved.ks[1], before.ks[1]), "nobody else's answer changes"


def test_a_pose_s_answer_does_not_hang_on_the_others() -> None:
    both = judged(head(), features(), cells())
    alone = judged(head(), features()[:1], cells()[:1])
    for together, single in zip(both, alone, strict=True):
        torch.testing.assert_close(together[:1], single)


def test_features_are_read_where_the_place_is() -> None:
    """The middle of token (1, 2) is the middle of its cells; what other tokens far from it say is not read there."""
    one = head()
    seen: list[torch.Tensor] = []
    one.patch.register_forward_hook(lambda module, given, answer: seen.append(given[0]))
    maps = features(1)
    at = torch.tensor([[[[2.5 / 3, 1.5 / 4]]]])
    one(maps, at.expand(1, 1, 3, 2), torch.zeros(1, 2))
    expected = one.read((maps[0, :, 1, 2] - one.mean) / one.spread)
    torch.testing.assert_close(seen[0][0, 0, 0].view(9, -1)[4], expected)
    assert not seen[0][0, 0, 0].view(3, 3, -1)[:, 2].any(), "beyond the crop there is nothing"


@pytest.mark.parametrize("far", [1e3, -1e6, 1e30])
def test_a_place_far_outside_the_crop_is_judged_all_the_same(far: float) -> None:
    places = cells()
    places[0, 0] = far
    said = judged(head(), features(), places)
    assert all(answer.isfinite().all() for answer in said)


def test_half_precision_features_and_an_empty_batch() -> None:
    torch.testing.assert_close(
        judged(head(), features().half(), cells()).ks, judged(head(), features(), cells()).ks, atol=1e-2, rtol=0
    )
    none = judged(head(), features(0), cells(0))
    assert [tuple(answer.shape) for answer in none] == [(0, 3), (0, 3), (0,)]


def test_size_is_measured_in_pixels_and_in_the_crop() -> None:
    small, large = person_size(BOXES, REGION), person_size(2 * BOXES, 2 * REGION)
    assert torch.allclose(large[:, 0] - small[:, 0], torch.full((2,), np.log(2), dtype=torch.float32))
    assert torch.allclose(large[:, 1], small[:, 1], atol=1e-6)
    assert person_size(torch.zeros(1, 4), REGION[:1]).isfinite().all()


def test_fractions_reach_from_edge_to_edge() -> None:
    ends = torch.tensor([[-0.5, -0.5], [11.5, 15.5]])
    assert fractions(ends, (16, 12)).tolist() == [[0, 0], [1, 1]]


def test_a_saved_head_comes_back(tmp_path: Path) -> None:
    model, one = network(), head()
    path = save_quality(one, tmp_path / "deep" / "a.quality.safetensors", model, {"poses": "12"})
    torch.testing.assert_close(judged(load_quality(path, model), features(), cells()), judged(one, features(), cells()))
    assert quality_digest(load_quality(path, model)) == quality_digest(one) != quality_digest(head(seed=1))
    _, said = read_tensors(path, "")
    assert said["poses"] == "12"
    assert said["input_size"] == "64x48"
    assert said["skeleton"] == SKELETON.fingerprint


def test_another_network_is_refused(tmp_path: Path) -> None:
    path = save_quality(head(), tmp_path / "a.safetensors", network())
    for other in (network(seed=1), network(skeleton=Skeleton("d", ("a", "b", "c"), (), (0, 1, 2), (0.05,) * 3, "t"))):
        with pytest.raises(CheckpointError, match="trained for network"):
            load_quality(path, other)


@pytest.mark.parametrize("kind", ["missing", "text", "other", "damaged"])
def test_what_is_no_head_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.safetensors"
    model = network()
    if kind == "text":
        path.write_text("not tensors")
    elif kind == "other":
        write_together([of_tensors(path, {"a": torch.zeros(1)}, {"format": "pt"})])
    elif kind == "damaged":
        save_quality(head(k=5), path, model)
    match = {"missing": "has no", "text": "damaged|safetensors", "other": "not a quality head", "damaged": "damaged"}
    with pytest.raises(CheckpointError, match=match[kind]):
        load_quality(path, model)
    assert FORMAT.endswith("1")
