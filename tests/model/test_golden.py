"""The arithmetic of `weights verify`, with a double whose peak lies where it is told.

Released weights cannot be had where tests run. What they would be shown, and how their answer becomes a keypoint, is
checked here: the double draws the heatmap that has the published nose of the second person, by formulas of its own.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autolabel.images import read_image
from autolabel.skeleton import Skeleton
from model.config import ViTPoseConfig
from model.golden import IMAGE, compare
from model.released import Golden, with_golden

PHOTOGRAPH = Path(__file__).parents[3] / "shared" / "data" / "coco25" / "images" / IMAGE

BOX = (384.43, 172.21, 15.12, 35.74)
"""The second person, xywh."""

CELLS = (64, 48)


class Stand(nn.Module):
    """Says that the second person's nose is at a place, for the crop and for its mirror image alike.

    Args:
        x: Of the nose, in the image's pixels.
        y: Likewise.
        score: Height of the peak.
    """

    def __init__(self, x: float, y: float, score: float) -> None:
        super().__init__()
        self.config = ViTPoseConfig()
        self.skeleton = Skeleton.load("coco17")
        self.skeletons = (self.skeleton,)
        self.input_size, self.heatmap_size = (256, 192), CELLS
        self.shown: list[Tensor] = []
        # The published box: 3:4 around its centre, 1.25 larger; UDP has the corners of both grids in common.
        left, top, width, height = BOX
        tall = max(height, width / 0.75) * 1.25
        wide = tall * 0.75
        column = (x - (left + width / 2 - wide / 2)) * (CELLS[1] - 1) / wide
        row = (y - (top + height / 2 - tall / 2)) * (CELLS[0] - 1) / tall
        # The rule that the published score is the highest cell, not the peak between cells, is the decoder's.
        rows, columns = np.mgrid[: CELLS[0], : CELLS[1]]
        peak = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * 2.0**2))
        self.map = torch.from_numpy(score * peak / peak.max()).float()

    def forward_features(self, images: Tensor) -> Tensor:
        return images

    def forward_heads(self, images: Tensor) -> tuple[Tensor, None, None]:
        """(2 B,3,H,W): B crops, then their mirror images; nose and, elsewhere, nothing but its map too."""
        self.shown.append(images)
        straight = self.map.expand(len(images) // 2, 17, *CELLS)
        return torch.cat([straight, straight.flip(-1)]), None, None


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    """Of the right size; a stand-in does not look."""
    return np.random.default_rng(0).integers(0, 255, (426, 640, 3), np.uint8)


@pytest.mark.parametrize("release", with_golden(), ids=lambda release: release.id)
def test_what_was_published_passes(release: object, picture: NDArray[np.uint8]) -> None:
    golden = release.golden  # type: ignore[attr-defined]
    rows = compare(Stand(golden.x, golden.y, golden.score), picture, golden)  # type: ignore[arg-type]
    assert [row.name for row in rows] == ["nose x", "nose y", "score"]
    assert all(row.ok for row in rows)
    assert max(abs(row.difference) for row in rows) < 0.02


@pytest.mark.parametrize(
    ("dx", "dy", "score", "wrong"),
    [
        (0.2, 0.0, 0.0, ["nose x"]),
        (-0.2, 0.0, 0.0, ["nose x"]),
        (0.0, 0.2, 0.0, ["nose y"]),
        (0.0, 0.0, -0.1, ["score"]),
        (0.02, -0.02, 0.02, []),
        (3.0, 4.0, -0.5, ["nose x", "nose y", "score"]),
    ],
)
def test_what_differs_fails(dx: float, dy: float, score: float, wrong: list[str], picture: NDArray[np.uint8]) -> None:
    golden = Golden(398.0791, 181.8281, 0.88235)
    network = Stand(golden.x + dx, golden.y + dy, golden.score + score)
    rows = compare(network, picture, golden)  # type: ignore[arg-type]
    assert [row.name for row in rows if not row.ok] == wrong
    differences = [row.difference for row in rows]
    assert differences == pytest.approx([dx, dy, score], abs=0.02)


def test_no_number_is_no_agreement(picture: NDArray[np.uint8]) -> None:
    golden = Golden(398.0791, 181.8281, 0.88235)
    rows = compare(Stand(golden.x, golden.y, float("nan")), picture, golden)  # type: ignore[arg-type]
    assert not any(row.ok for row in rows)


@pytest.mark.live
@pytest.mark.skipif(not PHOTOGRAPH.is_file(), reason="shared/data/coco25 is not here")
def test_the_network_is_shown_the_second_person_and_its_mirror_image() -> None:
    """The crop of the published box, by OpenCV."""
    cv2 = pytest.importorskip("cv2")
    image = read_image(PHOTOGRAPH)
    network = Stand(398.0, 181.8, 0.9)
    compare(network, image, Golden(398.0, 181.8, 0.9))  # type: ignore[arg-type]
    [shown] = network.shown
    assert shown.shape == (4, 3, 256, 192)
    assert torch.equal(shown[2:], shown[:2].flip(-1))
    left, top, width, height = BOX
    tall = height * 1.25
    wide = tall * 0.75
    sx, sy = 191 / wide, 255 / tall
    matrix = np.array([
        [sx, 0, -sx * (left + width / 2 - wide / 2)],
        [0, sy, -sy * (top + height / 2 - tall / 2)],
    ])  # fmt: skip
    crop = cv2.warpAffine(image, matrix, (192, 256), flags=cv2.INTER_LINEAR).astype(np.float64) / 255
    expected = (crop - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    off = np.abs(shown[1].permute(1, 2, 0).double().numpy() - expected)
    assert off.mean() < 0.02, "a grey level is 0.017"
