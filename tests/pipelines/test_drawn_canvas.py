import numpy as np
import pytest

from pipelines.drawn_canvas import OBJECT, Canvas, Light, Solids

SIZE = (40, 48)
LIGHT = Light(np.array([0.0, 0.0, 1.0]), 0.3)


def canvas() -> Canvas:
    return Canvas(np.full((*SIZE, 3), 100, np.float32), LIGHT, np.ones(SIZE, np.float32))


def solids(start, end, axes, taper=(1, 1, 1), label=1, colour=(200, 50, 50)) -> Solids:
    return Solids(
        start=np.array([start], np.float32),
        end=np.array([end], np.float32),
        axes=np.array([axes], np.float32),
        taper=np.array([taper], np.float32),
        colour=np.broadcast_to(np.array(colour, np.float32), (1, 3, 3)),
        cut=np.array([2], np.float32),
        bands=np.zeros(1, np.float32),
        label=np.array([label], np.uint8),
    )


def sphere(centre, radius, **given) -> Solids:
    return solids(centre, centre, np.eye(3) * radius, **given)


def brute_depth(solid: Solids) -> np.ndarray:
    """(H, W) depth by taking the sweep for a dense row of ellipsoids and solving each for z, in float64."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float64)
    start, end, axes, taper = (a[0].astype(np.float64) for a in (solid.start, solid.end, solid.axes, solid.taper))
    depth = np.full(SIZE, -np.inf)
    for t in np.linspace(0, 1, 401):
        scale = taper @ [2 * (t - 0.5) * (t - 1), 4 * t * (1 - t), 2 * t * (t - 0.5)]
        centre = start + t * (end - start)
        # The product's rule that no semi-axis vanishes between pixel centres.
        covariance = (axes @ axes.T + 0.36 * np.eye(3)) * scale**2
        precision = np.linalg.inv(covariance)
        dx, dy = x - centre[0], y - centre[1]
        a = precision[2, 2]
        b = 2 * (precision[0, 2] * dx + precision[1, 2] * dy)
        c = precision[0, 0] * dx**2 + 2 * precision[0, 1] * dx * dy + precision[1, 1] * dy**2 - 1
        disc = b * b - 4 * a * c
        z = np.where(disc >= 0, (-b + np.sqrt(np.maximum(disc, 0))) / (2 * a) + centre[2], -np.inf)
        depth = np.maximum(depth, z)
    return depth


def turned(seed: int) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q


@pytest.mark.parametrize(
    ("name", "solid"),
    [
        ("sphere", sphere((20.3, 18.7, 3), 9)),
        ("flat ellipsoid, turned", solids((22, 20, 0), (22, 20, 0), turned(1) @ np.diag([12.0, 7, 4]))),
        ("limb across the picture", solids((8, 10, 0), (36, 28, 0), np.eye(3) * 5)),
        ("limb towards the viewer", solids((16, 18, -20), (28, 22, 20), np.eye(3) * 6)),
        ("limb straight at the viewer", solids((22, 20, -20), (22, 20, 20), np.eye(3) * 6)),
        ("limb away from the viewer", solids((12, 8, 15), (30, 30, -10), np.eye(3) * 5)),
        ("torso, turned", solids((20, 12, 4), (26, 26, -4), turned(2) @ np.diag([9.0, 4, 6]))),
        ("leaving the picture", solids((-5, 10, 0), (12, 50, 0), np.eye(3) * 6)),
    ],
)
def test_depth_is_that_of_a_row_of_ellipsoids(name: str, solid: Solids):
    picture = canvas()
    picture.draw(solid)
    expected = brute_depth(solid)
    drawn, there = np.isfinite(picture.depth), np.isfinite(expected)
    assert (drawn != there).sum() <= 0.01 * there.sum() + 2, name
    both = drawn & there
    error = np.abs(picture.depth[both] - expected[both])
    assert np.quantile(error, 0.95) < 0.35, name
    assert (picture.label[drawn] == 1).all()
    assert (picture.label[~drawn] == 0).all()


def test_taper_narrows_the_silhouette_and_keeps_the_depth_close():
    solid = solids((10, 8, 0), (34, 32, 8), np.eye(3) * 6, taper=(1.1, 0.9, 0.5))
    picture = canvas()
    picture.draw(solid)
    expected = brute_depth(solid)
    both = np.isfinite(picture.depth) & np.isfinite(expected)
    assert both.sum() > 0.93 * np.isfinite(expected).sum()
    assert np.median(np.abs(picture.depth[both] - expected[both])) < 0.4


@pytest.mark.parametrize("first", [0, 1])
def test_the_nearer_solid_hides_the_other_in_any_order_of_calls(first: int):
    pair = [sphere((20, 20, 30), 6, label=1), sphere((20, 20, 0), 10, label=2)]
    picture = canvas()
    picture.draw(pair[first])
    picture.draw(pair[1 - first])
    assert picture.label[20, 20] == 1
    assert picture.label[20, 28] == 2


def test_edges_are_soft_and_area_is_right():
    picture = canvas()
    before = picture.colour.copy()
    picture.draw(sphere((20, 20, 0), 10))
    radius = np.hypot(10, 0.6)
    assert (picture.label == 1).sum() == pytest.approx(np.pi * radius**2, rel=0.03)
    changed = np.abs(picture.colour - before).max(axis=2) > 0
    assert ((picture.label == 1) & ~changed).sum() == 0
    # The rim beyond the silhouette, less than a pixel wide, is blended, not labelled.
    assert 0 < (changed & (picture.label == 0)).sum() < 2 * np.pi * radius


def test_light_from_the_left_lights_the_left():
    picture = Canvas(np.zeros((*SIZE, 3), np.float32), Light(np.array([-1.0, 0, 0]), 0), np.ones(SIZE, np.float32))
    picture.draw(sphere((20, 20, 0), 10))
    assert picture.colour[20, 14, 0] > 2 * picture.colour[20, 26, 0]


def test_cut_and_bands_change_the_colour_along_the_sweep():
    solid = solids((6, 20, 0), (40, 20, 0), np.eye(3) * 4)
    palette = np.array([[[200, 0, 0], [0, 200, 0], [0, 0, 200]]], np.float32)
    dressed = Solids(**{**vars(solid), "colour": palette, "cut": np.array([0.5]), "bands": np.array([3.0])})
    picture = canvas()
    picture.draw(dressed)
    row = picture.colour[20, 6:40].argmax(axis=1)
    assert set(row[:15].tolist()) == {0, 1}
    assert set(row[19:].tolist()) == {2}


def test_slab_respects_depth_and_the_picture():
    picture = canvas()
    picture.draw(sphere((20, 20, 50), 5))
    picture.draw_slab((10, 15, 999, 25), 10.0, np.full(3, 7, np.float32))
    assert picture.label[20, 20] == 1
    assert picture.label[20, 40] == OBJECT
    assert picture.label[14, 40] == 0
    assert (picture.colour[20, 40] == 7).all()
    picture.draw_slab((-30, 0, -5, 9), 99.0, np.full(3, 7, np.float32))
    assert (picture.label[:9] == 0).all()


def test_shade_darkens_without_a_trace_in_the_buffers():
    picture = canvas()
    picture.draw_shade((20, 20), (8, 4), 0.5)
    assert picture.colour[20, 20, 0] == pytest.approx(50, rel=0.05)
    assert picture.colour[20, 32, 0] == 100
    assert not picture.label.any()
    picture.draw_shade((-100, 20), (8, 4), 0.5)
    assert picture.colour[20, 0, 0] == 100


def test_extent_and_move():
    solid = solids((10, 10, 0), (20, 30, 0), np.eye(3) * 4)
    low, high = solid.moved(np.array([5.0, -5, 100]), 2).extent()
    # A tenth of the radius is allowed for tapers that bulge.
    assert low == pytest.approx([25 - 8.8, 15 - 8.8])
    assert high == pytest.approx([45 + 8.8, 55 + 8.8])
