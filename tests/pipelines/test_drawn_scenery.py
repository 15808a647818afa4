import numpy as np
import pytest

from pipelines.drawn_canvas import OBJECT, Canvas, Light
from pipelines.drawn_scenery import (
    FAR,
    Objects,
    draw_background,
    draw_distractors,
    draw_grain,
    draw_occluder,
    noise,
)

SIZE = (160, 120)


def canvas() -> Canvas:
    blank = np.zeros((SIZE[1], SIZE[0], 3), np.float32)
    return Canvas(blank, Light(np.array([0.0, 0, 1]), 0.5), np.ones((SIZE[1], SIZE[0]), np.float32))


def roughness(picture: np.ndarray) -> float:
    return float(np.abs(np.diff(picture, axis=1)).mean())


def test_noise_is_smooth_and_has_the_size_of_the_picture():
    coarse, fine = (noise(np.random.default_rng(0), SIZE, cells) for cells in ((4,), (60,)))
    assert coarse.shape == fine.shape == (120, 160)
    assert np.abs(coarse).max() < 1.6
    assert roughness(fine) > 4 * roughness(coarse)


def test_background_grows_restless_with_clutter():
    calm, busy = (
        np.mean([roughness(draw_background(np.random.default_rng(s), SIZE, 0.6, c)) for s in range(20)])
        for c in (0.0, 1.0)
    )
    assert busy > 2 * calm


@pytest.mark.parametrize("size", [(160, 120), (161, 121), (97, 260)])
@pytest.mark.parametrize("horizon", [0.2, 0.95])
def test_background_fills_any_size(size: tuple[int, int], horizon: float):
    picture = draw_background(np.random.default_rng(5), size, horizon, 1.0)
    assert picture.shape == (size[1], size[0], 3)
    assert picture.dtype == np.float32
    assert 0 <= picture.min() <= picture.max() <= 255


def test_grain_is_near_one():
    grain = draw_grain(np.random.default_rng(0), SIZE)
    assert grain.shape == (120, 160)
    assert grain.mean() == pytest.approx(1, abs=0.05)
    assert grain.min() > 0.5


def test_distractors_stand_behind_everybody_and_come_with_clutter():
    assert draw_distractors(np.random.default_rng(0), SIZE, 0.6, 0) == Objects()
    made = [draw_distractors(np.random.default_rng(s), SIZE, 0.6, 1.0) for s in range(10)]
    assert np.mean([len(m.solids) for m in made]) > 3
    for solids in (s for m in made for s in m.solids):
        assert max(solids.start[:, 2].max(), solids.end[:, 2].max()) < FAR + 6000
        assert (solids.label == OBJECT).all()


def test_occluders_cover_a_part_of_the_person_from_the_front():
    low, high = np.array([60.0, 10]), np.array([100.0, 110])
    shares = []
    for seed in range(60):
        picture = canvas()
        draw_occluder(np.random.default_rng(seed), low, high, 500.0).draw(picture)
        body = picture.label[10:110, 60:100]
        assert set(np.unique(body)) <= {0, OBJECT}
        shares.append((body == OBJECT).mean())
        assert (picture.depth[picture.label == OBJECT] > 400).all()
    assert np.mean([share > 0.01 for share in shares]) > 0.9
    assert max(shares) < 0.8


def test_objects_add_up():
    a, b = (draw_occluder(np.random.default_rng(s), np.zeros(2), np.full(2, 50.0), 0.0) for s in (0, 1))
    both = a + b
    assert len(both.solids) == len(a.solids) + len(b.solids)
    assert len(both.slabs) == len(a.slabs) + len(b.slabs)
    nothing = canvas()
    Objects().draw(nothing)
    assert not nothing.label.any()
