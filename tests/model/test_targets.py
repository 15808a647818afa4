"""What each state of a keypoint teaches; several conventions in one batch teach as each alone."""

import numpy as np
import pytest
import torch

from autolabel.poses import Visibility
from model.augment import Augmented
from model.targets import absent_targets, targets

INPUT, CELLS = (64, 48), (16, 12)
U, H, V, A = Visibility.UNLABELLED, Visibility.HIDDEN, Visibility.VISIBLE, Visibility.ABSENT


def crops(xy, states, inside, *, dataset=None, tells_hidden=True, first_look=False, trust=None) -> Augmented:
    count = len(xy)
    return Augmented(
        images=torch.zeros(count, 3, *INPUT),
        xy=torch.tensor(xy, dtype=torch.float32),
        visibility=torch.tensor(states, dtype=torch.uint8),
        inside=torch.tensor(inside),
        dataset=torch.zeros(count, dtype=torch.int64) if dataset is None else torch.tensor(dataset),
        tells_hidden=torch.full((count,), tells_hidden),
        reach=torch.full((count, 4), torch.nan),
        first_look=torch.full((count,), first_look),
        trust=torch.ones(count, len(xy[0])) if trust is None else torch.tensor(trust),
    )


def taught(crops, codecs=("udp",), sigma=2.0):
    return targets(crops, input_size=INPUT, heatmap_size=CELLS, codecs=codecs, sigma=sigma)


def test_a_first_look_teaches_who_is_there_and_no_place() -> None:
    given = [[ON, NEAR, FAR]], [[V, V, A]], [[True, True, False]]
    first, other = (taught(crops(*given, first_look=look)) for look in (True, False))
    assert other.weights.tolist() == [[1, 1, 1]] and first.weights.tolist() == [[0, 0, 0]]
    assert other.heatmaps.any() and not first.heatmaps.any()
    for name in ("presence", "presence_weights"):
        assert torch.equal(getattr(first, name), getattr(other, name))


ON, NEAR, FAR = (20.0, 30.0), (-12.0, 30.0), (-200.0, 30.0)


@pytest.mark.parametrize("tells_hidden", [True, False])
@pytest.mark.parametrize(
    ("state", "at", "inside", "weight", "peak", "presence", "visible"),
    [
        # presence and visible: the target, or None where nothing is taught
        (V, ON, True, 1, True, 1, 1),
        (H, ON, True, 1, True, 1, 0),
        (V, FAR, True, 0, False, 1, 1),  # outside the crop: calls for a larger one
        (H, FAR, True, 0, False, 1, 0),
        (V, NEAR, False, 1, True, 0, None),  # outside the image, and the Gaussian reaches the map
        (V, FAR, False, 0, False, 0, None),
        (A, ON, False, 1, False, 0, None),  # cut away, wherever it was
        (A, FAR, False, 1, False, 0, None),
        (U, ON, False, 0, False, None, None),
    ],
)
def test_what_a_keypoint_teaches(state, at, inside, weight, peak, presence, visible, tells_hidden) -> None:
    found = taught(crops([[at]], [[state]], [[inside]], tells_hidden=tells_hidden))
    assert found.heatmaps.shape == (1, 1, *CELLS) and found.presence.shape == (1, 1, 2)
    assert found.weights.item() == weight
    assert (found.heatmaps.max().item() > 0.1) == peak
    for column, target in enumerate((presence, visible if tells_hidden else None)):
        assert found.presence_weights[0, 0, column].item() == (target is not None)
        if target is not None:
            assert found.presence[0, 0, column].item() == target


@pytest.mark.parametrize("state", [V, H, A])
def test_what_a_network_filled_in_teaches_less(state) -> None:
    given = [[ON, NEAR]], [[state, state]], [[True, True]]
    full, less = taught(crops(*given)), taught(crops(*given, trust=[[1.0, 0.5]]))
    assert torch.equal(less.heatmaps, full.heatmaps)
    assert less.weights.tolist() == [[1, 0.5]]
    squared = 0.25 * full.presence_weights[:, 1]  # as the heatmaps' loss squares their weight
    assert torch.equal(less.presence_weights[:, 1], squared)
    assert torch.equal(less.presence_weights[:, 0], full.presence_weights[:, 0])


def gaussian(x, y, codec):
    """The official recipe's target (``vitpose.md`` 3.3), cell by cell."""
    height, width = CELLS
    less = codec == "udp"
    mu = (x / ((INPUT[1] - less) / (width - less)), y / ((INPUT[0] - less) / (height - less)))
    cell = [int(m + 0.5) for m in mu]
    middle = mu if codec == "udp" else cell
    target = np.zeros(CELLS)
    for i, j in np.ndindex(*CELLS):
        if abs(i - cell[1]) <= 6 and abs(j - cell[0]) <= 6:
            target[i, j] = np.exp(-((j - middle[0]) ** 2 + (i - middle[1]) ** 2) / 8)
    return target


def test_each_head_has_its_convention() -> None:
    rng = np.random.default_rng(0)
    xy = rng.uniform(-10, 60, (8, 5, 2))
    dataset = [0, 1, 2, 1, 0, 2, 2, 1]
    codecs = ("plain", "udp", "plain")
    found = taught(crops(xy, np.full((8, 5), V), np.ones((8, 5), bool), dataset=dataset), codecs)
    for n, k in np.ndindex(8, 5):
        expected = gaussian(*xy[n, k], codecs[dataset[n]])
        assert np.abs(found.heatmaps[n, k].numpy() - expected).max() < 1e-5
        assert found.weights[n, k] == (expected.max() > 0)


def test_sigma() -> None:
    one = crops([[ON]], [[V]], [[True]])
    narrow, wide = (taught(one, sigma=sigma).heatmaps.sum().item() for sigma in (1.0, 2.0))
    assert wide / narrow == pytest.approx(4, rel=0.1)


def test_absent_keypoints_teach_that_there_is_nothing() -> None:
    visibility = torch.tensor([[U, H, V, A]], dtype=torch.uint8)
    maps, weights = absent_targets(torch.ones(1, 4, 2, 2), torch.tensor([[0.0, 1.0, 0.5, 0.0]]), visibility)
    assert weights.tolist() == [[0.0, 1.0, 0.5, 1.0]]
    assert maps.amax(dim=(2, 3)).tolist() == [[1.0, 1.0, 1.0, 0.0]]
