"""PCK by the product's definition, and a presence head's thresholds, from the canvases of a training."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from autolabel.poses import Visibility
from model.config import ViTPoseConfig
from model.supervised import Source, pose_crops
from model.validate import CUT, Validation
from model.vitpose import build_vitpose

SIZE = (64, 48)


class Seeing(nn.Module):
    """Says where the dots are, ``shift`` input pixels to the right; and what of each picture is its own chance."""

    def __init__(self, shift: int = 0, sees_black: bool = True) -> None:
        super().__init__()
        self.shift, self.sees_black = shift, sees_black
        self.still = nn.Parameter(torch.zeros(1))

    def forward(self, images, dataset):
        maps = images - images.amin(dim=(2, 3), keepdim=True)
        maps = torch.roll(maps, self.shift, dims=3)
        heatmaps = F.interpolate(maps, size=(32, 24), mode="area")
        # A dot that was cut away leaves its channel dark; one inside shines.
        brightest = maps.amax(dim=(2, 3))
        logits = (brightest - 1.0) * (4.0 if self.sees_black else 0.0)
        return heatmaps, torch.stack([logits, logits], dim=-1)


def validation(dots, manifest, *, presence=False, batch_size=4):
    config = {"input_size": SIZE, "patch_size": 8, "width": 16, "depth": 1, "heads": 2, "decoder": "simple"}
    model = build_vitpose(ViTPoseConfig(**config, presence=presence), dots.skeleton)
    return Validation(
        pose_crops(model, [Source(manifest)], CUT, batch_size=batch_size), model, batch_size=batch_size, seed=0
    )


@pytest.mark.parametrize(("shift", "pck"), [(0, 1.0), (3, 1.0), (5, 0.0)])
def test_pck_is_measured_in_longer_sides_of_the_box(dots, shift, pck) -> None:
    """A square box of side a fills 48 pixels with 1.25 a: a tenth of it is 3.84 input pixels, whatever its size."""
    manifest = dots.manifest("people", 10, sides=(30, 90))
    found = validation(dots, manifest)(Seeing(shift))
    assert found["pck"] == found["score"] == pck
    assert found["loss"] > 0
    assert "presence_auroc" not in found


def test_only_labelled_keypoints_count(dots) -> None:
    """The right dot, which nobody labelled, is the one that the network misses."""
    manifest = dots.manifest("people", 6, visibility=(Visibility.VISIBLE, Visibility.HIDDEN, Visibility.UNLABELLED))

    class Misses(Seeing):
        def forward(self, images, dataset):
            heatmaps, logits = super().forward(images, dataset)
            return torch.cat([heatmaps[:, :2], heatmaps[:, 2:].flip(-1, -2)], dim=1), logits

    assert validation(dots, manifest)(Misses())["pck"] == 1.0
    assert validation(dots, dots.manifest("all", 6))(Misses())["pck"] < 1.0


def test_the_batch_size_changes_nothing(dots) -> None:
    manifest = dots.manifest("people", 7)
    ends = [validation(dots, manifest, batch_size=size)(Seeing(4)) for size in (1, 3, 7)]
    assert ends[0] == pytest.approx(ends[1], abs=1e-6) and ends[0] == pytest.approx(ends[2], abs=1e-6)


def test_presence_is_measured_on_people_that_an_image_cuts(dots) -> None:
    manifest = dots.manifest("people", 80, sides=(50, 90))
    measured = validation(dots, manifest, presence=True, batch_size=16)
    found = measured(Seeing())
    assert found["presence_auroc"] > 0.95
    assert 0 < found["presence_threshold"] < 1
    assert "visible_auroc" not in found, "nobody said of any dot that it is hidden"
    blind = measured(Seeing(sees_black=False))
    assert blind["presence_auroc"] == 0.5
    assert measured(Seeing()) == found, "the same cuts every time"
