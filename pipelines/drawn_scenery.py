"""What surrounds drawn people: textured backgrounds, things that look like limbs, objects in front of them.

Everything comes from a generator that the caller seeds, and cheaply: textures are small random grids
enlarged, so that a picture costs milliseconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from PIL import Image

from pipelines.drawn_canvas import OBJECT, Canvas, Floats, Solids
from pipelines.drawn_person import cloth, skin

FAR = -50_000.0
"""Depth of what stands behind all people, pixels."""


_WALLS = (
    *((226, 220, 208), (198, 204, 206), (168, 176, 168), (214, 196, 172), (150, 144, 140), (96, 100, 108)),
    *((168, 200, 228), (128, 164, 204), (206, 220, 232), (92, 116, 78), (70, 92, 66), (164, 104, 84)),
)
"""Plaster, stone, sky, leaves, brick."""

_FLOORS = (
    *((146, 110, 76), (112, 82, 58), (186, 158, 122), (104, 104, 106), (150, 150, 150), (74, 76, 82)),
    *((98, 128, 66), (76, 104, 56), (132, 146, 84), (206, 190, 152), (120, 70, 62), (88, 96, 122)),
)
"""Wood, stone, asphalt, grass, sand, carpet."""


@dataclass(frozen=True)
class Slab:
    """An upright board: see :meth:`pipelines.drawn_canvas.Canvas.draw_slab`."""

    box: tuple[int, int, int, int]
    depth: float
    colour: Floats


@dataclass(frozen=True)
class Objects:
    """Solids and boards that belong to no person."""

    solids: tuple[Solids, ...] = ()
    slabs: tuple[Slab, ...] = ()

    def __add__(self, other: "Objects") -> "Objects":
        return Objects(self.solids + other.solids, self.slabs + other.slabs)

    def draw(self, canvas: Canvas) -> None:
        """Draw them all."""
        for slab in self.slabs:
            canvas.draw_slab(slab.box, slab.depth, slab.colour)
        if self.solids:
            canvas.draw(Solids.concat(self.solids))


def noise(rng: Generator, size: tuple[int, int], cells: Sequence[int]) -> Floats:
    """(H, W) smooth noise in about -1..1: octaves of ``cells`` lattice cells, each half as strong."""
    total = np.zeros((size[1], size[0]), np.float32)
    for octave, count in enumerate(cells):
        lattice = rng.uniform(-1, 1, (max(2, count * size[1] // size[0]), count)).astype(np.float32)
        image = Image.fromarray(lattice).resize(size, Image.Resampling.BICUBIC)
        total += np.asarray(image) * np.float32(0.5**octave)
    return total


def draw_grain(rng: Generator, size: tuple[int, int]) -> Floats:
    """(H, W) factors near 1: folds and roughness of the surfaces."""
    return 1 + noise(rng, size, (24, 90)) * np.float32(rng.uniform(0.02, 0.11))


def draw_background(rng: Generator, size: tuple[int, int], horizon: float, clutter: float) -> Floats:
    """(H, W, 3) RGB: a wall or sky over a floor or meadow, with patterns and panels.

    Args:
        rng: Where chance comes from.
        size: (W, H).
        horizon: Share of the height where the floor begins.
        clutter: 0..1. At 0 two plain surfaces; at 1 strong noise, stripes and many panels.
    """
    # Drawn at half size: what lies behind is a little out of focus, and it costs a quarter.
    width, height = small = (size[0] // 2, size[1] // 2)
    edge = int(height * horizon)
    picture = np.empty((height, width, 3), np.float32)
    gradient = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None]
    picture[:edge] = _colour(rng, _WALLS) + gradient[:edge] * np.float32(rng.uniform(-35, 35))
    picture[edge:] = _colour(rng, _FLOORS) + gradient[edge:] * np.float32(rng.uniform(-10, 50))
    for rows in (picture[:edge], picture[edge:]):
        if rng.random() < 0.9 * clutter and len(rows):
            strength = np.float32(40 * clutter * rng.random())
            rows += _pattern(rng, rows.shape[:2])[..., None] * (_tint(rng) * strength)
    for _ in range(rng.binomial(8, 0.6 * clutter)):
        _panel(rng, picture[:edge])
    coarse = noise(rng, small, (3, 7, 17, 45))
    picture += coarse[..., None] * (_tint(rng) * np.float32((10 + 45 * clutter) * rng.uniform(0.3, 1)))
    pixels = np.clip(picture, 0, 255).astype(np.uint8)
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR), np.float32)


def draw_distractors(rng: Generator, size: tuple[int, int], horizon: float, clutter: float) -> Objects:
    """Things behind the people that resemble arms, legs and heads: trees, balls, rods in skin and cloth."""
    objects = Objects()
    for _ in range(rng.binomial(2, 0.5 * clutter)):
        objects += _tree(rng, size, horizon)
    for _ in range(rng.binomial(8, 0.6 * clutter)):
        base = np.array([*(rng.uniform(-0.05, 1.05, 2) * size), FAR + rng.uniform(0, 5000)], np.float32)
        reach = size[1] * rng.uniform(0.06, 0.2)
        colour = skin(rng) if rng.random() < 0.4 else cloth(rng)
        if rng.random() < 0.3:
            radii = np.array([[1, rng.uniform(1, 1.35), 1]]) * reach * rng.uniform(0.25, 0.5)
            objects += Objects((_blobs(base[None], radii, colour[None]),))
        else:
            objects += Objects((_chain(rng, base, rng.uniform(-np.pi, np.pi), reach, reach * 0.16, colour),))
    return objects


def draw_occluder(rng: Generator, low: Floats, high: Floats, depth: float) -> Objects:
    """An object in front of a person that covers part of it.

    Args:
        rng: Where chance comes from.
        low: (2,) least x, y of the person.
        high: (2,) largest x, y.
        depth: z of the object.
    """
    kind = (_table, _board, _bush, _ball, _pole, _rail)[rng.integers(6)]
    centre = np.array([*(low + (high - low) * rng.uniform(0.15, 0.85, 2)), depth])
    return kind(rng, centre, float((high - low).max()), float(high[1]))


def _table(rng: Generator, centre: Floats, span: float, bottom: float) -> Objects:
    """A long low board over the lower part of somebody ``span`` pixels long, whose feet are at ``bottom``."""
    width = 2.5 * span
    corner = (centre[0] - width * rng.uniform(0.3, 0.7), bottom - span * rng.uniform(0.1, 0.35))
    return Objects(slabs=(_slab(rng, corner, (width, span / 2), centre[2]),))


def _board(rng: Generator, centre: Floats, span: float, _: float) -> Objects:
    size = span * rng.uniform(0.2, 0.45, 2)
    return Objects(slabs=(_slab(rng, centre[:2] - size / 2, size, centre[2]),))


def _bush(rng: Generator, centre: Floats, span: float, bottom: float) -> Objects:
    centre[1] = max(centre[1], bottom - span / 2)
    return Objects((_leaves(rng, centre, span * 0.17),))


def _ball(rng: Generator, centre: Floats, span: float, _: float) -> Objects:
    return Objects((_blobs(centre[None], np.full((1, 3), span * rng.uniform(0.07, 0.16)), cloth(rng)[None]),))


def _pole(rng: Generator, centre: Floats, span: float, _: float) -> Objects:
    reach = np.array([rng.uniform(-0.15, 0.15) * span, 2 * span, 0])
    return Objects((_rods((centre - reach)[None], (centre + reach)[None], span * rng.uniform(0.02, 0.07), cloth(rng)),))


def _rail(rng: Generator, centre: Floats, span: float, bottom: float) -> Objects:
    """Four thin bars across the lower part."""
    middle = np.tile(centre, (4, 1))
    middle[:, 1] = bottom - span * np.linspace(0.06, rng.uniform(0.3, 0.5), 4)
    reach = np.array([3 * span, rng.uniform(-0.3, 0.3) * span, 0])
    return Objects((_rods(middle - reach, middle + reach, span * rng.uniform(0.01, 0.022), cloth(rng)),))


def _chain(rng: Generator, base: Floats, angle: float, reach: float, radius: float, colour: Floats) -> Solids:
    """Two or three rods from (3,) ``base`` on with bends between them, like a limb."""
    bends = angle + np.cumsum(rng.uniform(-0.9, 0.9, rng.integers(2, 4)))
    steps = np.stack([np.cos(bends), np.sin(bends), np.zeros_like(bends)], axis=1) * reach
    points = base + np.concatenate([np.zeros((1, 3)), np.cumsum(steps, axis=0)])
    return _rods(points[:-1], points[1:], radius * rng.uniform(0.7, 1.3), colour)


def _tree(rng: Generator, size: tuple[int, int], horizon: float) -> Objects:
    """A trunk with branches and, mostly, a crown, its foot on the floor."""
    tall = size[1] * rng.uniform(0.4, 0.9)
    foot = np.array([rng.uniform(0, size[0]), size[1] * min(1, horizon + rng.uniform(0, 0.1)), FAR - 3000])
    top = foot - np.array([rng.uniform(-0.1, 0.1) * tall, tall * 0.7, 0])
    bark = np.array([96, 74, 56], np.float32) * np.float32(rng.uniform(0.5, 1.3))
    width = tall * rng.uniform(0.025, 0.06)
    parts = [_rods(foot[None], top[None], width, bark)]
    parts += [_chain(rng, top, rng.uniform(-2.8, -0.3), tall * 0.15, width * 0.5, bark) for _ in range(3)]
    if rng.random() < 0.7:
        parts.append(_leaves(rng, top + np.array([0, -tall * 0.15, 1000]), tall * 0.2))
    return Objects(tuple(parts))


def _leaves(rng: Generator, centre: Floats, spread: float) -> Solids:
    """Some green blobs about (3,) ``centre``."""
    places = centre + rng.normal(0, 1, (14, 3)) * np.array([spread * 0.6, spread * 0.45, 2])
    radii = rng.uniform(0.15, 0.5, (14, 3)) * spread
    leaf = np.array([rng.uniform(30, 100), rng.uniform(80, 130), rng.uniform(25, 70)])
    return _blobs(places, radii, leaf * rng.uniform(0.7, 1.2, (14, 1)))


def _tint(rng: Generator) -> Floats:
    """(3,) random weights of the channels, near grey."""
    return rng.uniform(0.6, 1.2, 3).astype(np.float32)


def _colour(rng: Generator, palette: tuple[tuple[int, int, int], ...]) -> Floats:
    """(3,) RGB near one of a palette's, or now and then some paint."""
    if rng.random() < 0.12:
        return cloth(rng)
    base = np.array(palette[rng.integers(len(palette))], np.float32)
    return base * rng.uniform(0.85, 1.12, 3).astype(np.float32)


def _pattern(rng: Generator, shape: tuple[int, ...]) -> Floats:
    """(H, W) stripes, planks or tiles in -1..1, mostly upright."""
    angle = (0, np.pi / 2, rng.uniform(0, np.pi))[rng.integers(3)]
    turn = np.float32(2 * np.pi / (shape[1] * rng.uniform(0.025, 0.14)))
    x = np.arange(shape[1], dtype=np.float32)
    y = np.arange(shape[0], dtype=np.float32)[:, None]
    along = np.sin(x * np.float32(np.cos(angle) * turn) + y * np.float32(np.sin(angle) * turn))
    if rng.random() < 0.4:
        along = along * np.sin(y * np.float32(np.cos(angle) * turn) - x * np.float32(np.sin(angle) * turn))
    return np.clip(along * np.float32(rng.uniform(1, 6)), -1, 1)


def _panel(rng: Generator, picture: Floats) -> None:
    """A framed rectangle on the wall: a window, a poster, a door, a shelf."""
    height, width = picture.shape[:2]
    w, h = int(width * rng.uniform(0.04, 0.3)) + 4, int(height * rng.uniform(0.05, 0.6)) + 4
    x, y = int(rng.integers(-w // 2, width)), int(rng.integers(-h // 2, max(height, 1)))
    x0, y0, x1, y1 = max(x, 0), max(y, 0), max(x + w, 0), max(y + h, 0)
    picture[y0:y1, x0:x1] = _colour(rng, _WALLS)
    edge = int(rng.integers(1, 4))
    inner = cloth(rng) if rng.random() < 0.4 else _colour(rng, _WALLS)
    picture[y0 + edge : y1 - edge, x0 + edge : x1 - edge] = inner


def _slab(rng: Generator, corner: Sequence[float] | Floats, size: Sequence[float] | Floats, depth: float) -> Slab:
    """A board with a lit upper edge and, sometimes, planks; ``corner`` is its upper left."""
    x, y = round(float(corner[0])), round(float(corner[1]))
    w, h = max(round(float(size[0])), 3), max(round(float(size[1])), 3)
    rows = np.linspace(1.1, 0.65, h, dtype=np.float32)
    rows[: max(1, h // 20)] = 1.35
    columns = np.ones(w, np.float32)
    if rng.random() < 0.5:
        columns += 0.12 * np.sign(np.sin(np.arange(w, dtype=np.float32) * np.float32(rng.uniform(0.08, 0.5))))
    return Slab((x, y, x + w, y + h), float(depth), cloth(rng) * (rows[:, None] * columns)[..., None])


def _blobs(centres: Floats, radii: Floats, colours: Floats) -> Solids:
    """Ellipsoids at (S, 3) with upright semi-axes (S, 3)."""
    axes = radii[:, None, :] * np.eye(3)
    return _objects(centres, centres, axes, np.ones((len(centres), 3)), colours)


def _rods(start: Floats, end: Floats, radius: float, colour: Floats) -> Solids:
    """Rods from (S, 3) to (S, 3), slightly tapering."""
    axes = np.broadcast_to(np.eye(3) * radius, (len(start), 3, 3))
    return _objects(start, end, axes, np.tile([1.1, 1, 0.8], (len(start), 1)), np.tile(colour, (len(start), 1)))


def _objects(start: Floats, end: Floats, axes: Floats, taper: Floats, colours: Floats) -> Solids:
    count = len(start)
    return Solids(
        start=start.astype(np.float32),
        end=end.astype(np.float32),
        axes=axes.astype(np.float32),
        taper=taper.astype(np.float32),
        colour=np.repeat(colours[:, None, :], 3, axis=1).astype(np.float32),
        cut=np.full(count, 2, np.float32),
        bands=np.zeros(count, np.float32),
        label=np.full(count, OBJECT, np.uint8),
    )
