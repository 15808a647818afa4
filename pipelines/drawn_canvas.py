"""Draws rounded solids into a picture and remembers, pixel by pixel, what is seen there and how near it is.

The one primitive is the swept ellipsoid: an ellipsoid that moves along a straight segment while it grows or
shrinks. It is a limb (a sphere swept from joint to joint), a torso (a flat ellipsoid swept along the spine),
a head or an eye (swept over nothing). Under orthographic projection an ellipsoid ``c + B w, |w| <= 1`` with
lower-triangular ``B`` shows at (x, y) the surface point whose first two ``w`` depend on (x, y) alone; so
silhouette, depth and shading of a solid come in closed form from one Cholesky factor, and a depth buffer
settles which solid is in front. Truth about occlusion is read from these buffers, not guessed.

Frame: x right, y down in pixels with pixel centres at integers, z towards the viewer in pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

OBJECT = 255
"""Label of everything that stands in front of the background and is no person."""

_SMALLEST_RADIUS = 0.6
"""Pixels added in quadrature to every semi-axis, so that an eye far away does not fall between pixel
centres."""


@dataclass(frozen=True)
class Light:
    """Where the light comes from.

    Attributes:
        direction: (3,) unit vector towards the light: x right, y down, z towards the viewer.
        ambient: Share of the light that comes from everywhere, 0..1.
    """

    direction: Floats
    ambient: float


@dataclass(frozen=True)
class Solids:
    """S swept ellipsoids in the frame of the picture.

    Attributes:
        start: (S, 3) where the sweep begins.
        end: (S, 3) where it ends; may equal ``start``.
        axes: (S, 3, 3) semi-axes of the ellipsoid as columns, pixels.
        taper: (S, 3) factors on the axes at the start, the middle and the end of the sweep, on a parabola.
        colour: (S, 3, 3) RGB 0..255 of the cloth, of its bands and of what follows behind ``cut``.
        cut: (S,) fraction of the sweep where the cloth ends; above 1 where it doesn't.
        bands: (S,) number of bands across the sweep; 0 for none.
        label: (S,) uint8 written where the solid is seen.
    """

    start: Floats
    end: Floats
    axes: Floats
    taper: Floats
    colour: Floats
    cut: Floats
    bands: Floats
    label: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.start)

    @classmethod
    def concat(cls, parts: Sequence["Solids"]) -> "Solids":
        """All solids of the parts, in order."""
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})

    def moved(self, offset: Floats, scale: float) -> "Solids":
        """The same solids scaled about the origin, then shifted by (3,) ``offset``."""
        start, end = self.start * scale + offset, self.end * scale + offset
        return replace(self, start=start, end=end, axes=self.axes * scale)

    def extent(self) -> tuple[Floats, Floats]:
        """(2,) smallest and largest x, y that any of the solids reaches."""
        reach = _reach(self)
        low = np.minimum(self.start[:, :2], self.end[:, :2]) - reach
        high = np.maximum(self.start[:, :2], self.end[:, :2]) + reach
        return low.min(axis=0), high.max(axis=0)


class Canvas:
    """Colour, depth and label of every pixel while a picture is drawn.

    Attributes:
        colour: (H, W, 3) float32 RGB, 0..255; given as the background.
        depth: (H, W) float32 z of what is seen, -inf where it is the background.
        label: (H, W) uint8 label of what is seen, 0 where it is the background.
    """

    def __init__(self, background: Floats, light: Light, grain: Floats) -> None:
        """Start from a background.

        Args:
            background: (H, W, 3) RGB, 0..255; drawn upon.
            light: What shades the solids.
            grain: (H, W) factors near 1 that roughen every surface.
        """
        self.colour = background
        self.height, self.width = background.shape[:2]
        self.depth = np.full((self.height, self.width), -np.inf, np.float32)
        self.label = np.zeros((self.height, self.width), np.uint8)
        self._light = light
        self._grain = grain
        self._x = np.arange(self.width, dtype=np.float32)
        self._y = np.arange(self.height, dtype=np.float32)[:, None]
        self._pixel = np.arange(self.height * self.width).reshape(self.height, self.width)

    def draw(self, solids: Solids) -> None:
        """Draw solids; nearer ones, also those of earlier calls, hide farther ones."""
        low, high = self._bounds(solids)
        middle = (solids.start[:, 2] + solids.end[:, 2]) / 2
        # Far to near, so that the soft edge of a nearer solid blends with what lies behind it.
        order = np.argsort(middle, kind="stable")
        inside = np.all(high > low, axis=1)
        order = order[inside[order]]
        if not len(order):
            return
        shapes = _Shapes.of(solids, self._light)
        for i in order.tolist():
            self._draw_one(shapes, i, (*low[i].tolist(), *high[i].tolist()))

    def draw_slab(self, box: tuple[int, int, int, int], depth: float, colour: Floats) -> None:
        """Draw an upright flat board.

        Args:
            box: x0, y0, x1, y1 in whole pixels, the last ones excluded; may leave the picture.
            depth: Its z.
            colour: RGB that broadcasts to (y1 - y0, x1 - x0, 3).
        """
        x0, y0, x1, y1 = max(box[0], 0), max(box[1], 0), min(box[2], self.width), min(box[3], self.height)
        if x1 <= x0 or y1 <= y0:
            return
        whole = np.broadcast_to(colour, (box[3] - box[1], box[2] - box[0], 3))
        window = np.s_[y0:y1, x0:x1]
        front = self.depth[window] < depth
        painted = whole[y0 - box[1] : y1 - box[1], x0 - box[0] : x1 - box[0]] * self._grain[window][..., None]
        self.colour[window] = np.where(front[..., None], painted, self.colour[window])
        self.depth[window][front] = depth
        self.label[window][front] = OBJECT

    def draw_shade(self, centre: tuple[float, float], size: tuple[float, float], strength: float) -> None:
        """Darken a soft ellipse, such as the shadow below a person; depth and labels stay."""
        x0, x1 = max(int(centre[0] - size[0]), 0), min(int(centre[0] + size[0]) + 2, self.width)
        y0, y1 = max(int(centre[1] - size[1]), 0), min(int(centre[1] + size[1]) + 2, self.height)
        if x1 <= x0 or y1 <= y0:
            return
        x = (self._x[x0:x1] - centre[0]) / size[0]
        y = (self._y[y0:y1] - centre[1]) / size[1]
        inside = np.maximum(1 - x * x - y * y, 0)
        self.colour[y0:y1, x0:x1] *= (1 - strength * inside)[..., None]

    def _bounds(self, solids: Solids) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """(S, 2) first and past-the-last pixel of every solid's window inside the picture."""
        reach = _reach(solids) + 2
        size = np.array([self.width, self.height])
        low = np.minimum(solids.start[:, :2], solids.end[:, :2]) - reach
        high = np.maximum(solids.start[:, :2], solids.end[:, :2]) + reach
        return (
            np.clip(np.floor(low), 0, size).astype(np.intp),
            np.clip(np.ceil(high) + 1, 0, size).astype(np.intp),
        )

    def _draw_one(self, shapes: "_Shapes", i: int, window: tuple[int, int, int, int]) -> None:
        """Draw solid ``i`` inside its window x0, y0, x1, y1."""
        x0, y0, x1, y1 = window
        patch = shapes.cover(i, self._x[x0:x1], self._y[y0:y1])
        pixel = self._pixel[y0:y1, x0:x1].take(patch.where)
        depth = self.depth.ravel()
        front = (patch.z > depth.take(pixel)).nonzero()[0]
        if not len(front):
            return
        if len(front) < len(pixel):
            pixel, patch = pixel[front], patch.take(front)
        solid = patch.inside >= 0
        depth[pixel[solid]] = patch.z[solid]
        self.label.ravel()[pixel[solid]] = shapes.label[i]
        ambient = self._light.ambient
        facing = patch.lit * 0.5 + 0.5
        # Surfaces that turn away from the viewer darken, which sets limbs off against the body behind them.
        shade = (facing * facing * (1 - ambient) + ambient) * (patch.towards * 0.35 + 0.65)
        shade *= self._grain.take(pixel)
        painted = shade[:, None] * shapes.paint(i, patch.t)
        colour = self.colour.reshape(-1, 3)
        behind = colour.take(pixel, axis=0)
        colour[pixel] = behind + (painted - behind) * np.minimum(patch.inside + 0.5, 1)[:, None]


def _reach(solids: Solids) -> Floats:
    """(S, 2) how far in x and y the ellipsoids reach from the sweep's line."""
    semi = np.sqrt((solids.axes[:, :2] ** 2).sum(axis=2))
    # 1.1: the parabola of the taper may rise a little above its three values.
    return semi * solids.taper.max(axis=1, keepdims=True) * np.float32(1.1)


@dataclass(frozen=True)
class _Patch:
    """The n pixels where one solid shows.

    ``where``: their index in the window. ``z``: depth of the surface. ``inside``: pixels from the silhouette
    inwards. ``t``: fraction of the sweep. ``lit``, ``towards``: cosine of the surface to the light and the
    viewer.
    """

    where: NDArray[np.intp]
    z: Floats
    inside: Floats
    t: Floats
    lit: Floats
    towards: Floats

    def take(self, which: NDArray[np.intp]) -> "_Patch":
        """Some of the pixels."""
        z, inside, t, lit, towards = (a.take(which) for a in (self.z, self.inside, self.t, self.lit, self.towards))
        return _Patch(self.where.take(which), z, inside, t, lit, towards)


@dataclass(frozen=True)
class _Shapes:
    """What drawing one solid needs, as plain numbers: rows of floats, because NumPy scalars are slow."""

    place: list[list[float]]
    radius: list[list[float]]
    surface: list[list[float]]
    label: list[int]
    colour: Floats
    cut: list[float]
    bands: list[float]

    @classmethod
    def of(cls, solids: Solids, light: Light) -> "_Shapes":
        """Work out all solids at once."""
        covariance = (solids.axes @ solids.axes.transpose(0, 2, 1)).astype(np.float64)
        covariance[:, range(3), range(3)] += _SMALLEST_RADIUS**2
        factor = np.linalg.cholesky(covariance)
        inverse = np.linalg.inv(factor)
        sweep = (solids.end - solids.start).astype(np.float64)
        flat = np.einsum("sij,sj->si", inverse[:, :2, :2], sweep[:, :2])
        # A sweep straight at the viewer gets some direction in the picture, so that its nearer end is found.
        flat[:, 0] += np.where((np.abs(flat).max(axis=1) < 1e-3) & (sweep[:, 2] != 0), 1e-3, 0)
        length = np.maximum(np.linalg.norm(flat, axis=1), 1e-4)
        # How much the sweep nears the viewer per unit of its length in the picture, less the ellipsoid's
        # slant.
        slope = (sweep[:, 2] - (factor[:, 2, :2] * flat).sum(axis=1)) / (factor[:, 2, 2] * length)
        lift = slope / np.sqrt(1 + slope**2) / length
        lit = np.einsum("sij,j->si", inverse, light.direction.astype(np.float64))
        lit /= np.linalg.norm(lit, axis=1, keepdims=True)
        r0, rm, r1 = solids.taper.T.astype(np.float64)
        pixels = np.sqrt(factor[:, 0, 0] * factor[:, 1, 1])
        matrix = (inverse[:, 0, 0], inverse[:, 1, 0], inverse[:, 1, 1])
        backward = (flat / length[:, None] ** 2).T
        place = (solids.start[:, 0], solids.start[:, 1], *matrix, *flat.T, *backward, lift)
        return cls(
            place=np.stack(place, axis=1).tolist(),
            radius=np.stack([r0, 4 * rm - 3 * r0 - r1, 2 * (r0 + r1) - 4 * rm, pixels], axis=1).tolist(),
            surface=np.column_stack([solids.start[:, 2], sweep[:, 2], factor[:, 2], lit]).tolist(),
            label=solids.label.tolist(),
            colour=solids.colour,
            cut=solids.cut.tolist(),
            bands=solids.bands.tolist(),
        )

    def cover(self, i: int, x: Floats, y: Floats) -> _Patch:
        """What solid ``i`` shows in the window of columns ``x`` (w,) and rows ``y`` (h, 1)."""
        ax, ay, m00, m10, m11, e0, e1, f0, f1, lift = self.place[i]
        r0, k1, k2, pixels = self.radius[i]
        # u, v: the pixel in the frame where the ellipsoid is a unit sphere, first from the start of the
        # sweep, then from the point t of the sweep that is nearest in the picture.
        x = x - ax
        u = m00 * x
        v = m11 * (y - ay) + m10 * x
        t = v * f1
        t += u * f0
        t = np.minimum(np.maximum(t, 0, out=t), 1, out=t)
        u = u - t * e0
        v -= t * e1
        radius = (t * k2 + k1) * t + r0
        inside = (radius - np.sqrt(u * u + v * v)) * pixels
        where = (inside > -0.5).ravel().nonzero()[0]
        u, v, t, radius, inside = (a.take(where) for a in (u, v, t, radius, inside))
        if abs(lift * (abs(e0) + abs(e1))) > 0.3:
            # The surface seen there belongs to a point of the sweep nearer to the viewer.
            across = (u * e1 - v * e0) ** 2 / (e0 * e0 + e1 * e1)
            ahead = u * f0 + v * f1 + lift * np.sqrt(np.maximum(radius * radius - across, 0))
            nearer = np.minimum(np.maximum(t + ahead, 0), 1)
            u -= (nearer - t) * e0
            v -= (nearer - t) * e1
            t = nearer
            radius = (t * k2 + k1) * t + r0
        w = np.sqrt(np.maximum(radius * radius - u * u - v * v, 0))
        az, dz, b20, b21, b22, l0, l1, l2 = self.surface[i]
        z = u * b20 + v * b21 + w * b22 + t * dz + az
        return _Patch(where, z, inside, t, (u * l0 + v * l1 + w * l2) / radius, w / radius)

    def paint(self, i: int, t: Floats) -> Floats:
        """Colour of solid ``i`` at fractions ``t`` (n,) of its sweep: (n, 3), or (3,) where it is one."""
        cut, bands = self.cut[i], self.bands[i]
        if cut > 1 and not bands:
            return self.colour[i, 0]
        band = np.where(np.sin(t * (bands * 6.283)) > 0.3, 1, 0) if bands else np.zeros(len(t), np.intp)
        return self.colour[i][np.where(t > cut, 2, band)]
