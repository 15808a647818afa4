"""The scene of a drawn picture: who is where, in which light, before and behind what; and the truth about it.

``compose`` chooses, ``paint`` draws, ``read_truth`` reads from the buffers what is seen of whom, and
``develop`` turns the painted colours into a photograph. Only ``compose`` and ``develop`` take chances.
"""

from dataclasses import dataclass, replace
from io import BytesIO

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from autolabel.errors import ConfigError
from autolabel.poses import Origin, Poses, Visibility
from pipelines.drawn_canvas import OBJECT, Canvas, Floats, Light
from pipelines.drawn_figure import BONES, FLESH, OWNERS, Figure
from pipelines.drawn_person import draw_person
from pipelines.drawn_scenery import Objects, draw_background, draw_distractors, draw_grain, draw_occluder

_LAYER = 1000.0
"""Pixels of depth between two people of a picture; more than anyone reaches to the front."""


@dataclass(frozen=True)
class DrawnSettings:
    """How hard the pictures are. Each knob goes from 0, none of it, to 1.

    Attributes:
        pose_spread: Activities, joint angles, and the sides people are seen from.
        clutter: Texture behind the people, and shapes there that resemble limbs.
        occlusion: Chance that an object stands in front of a person.
        neighbours: Chance of each of three more people, beside and across one another.
        truncation: Chance that a person is cut off by the border.
        lighting: Exposure, contrast, colour cast, shadow, blur, noise and compression.
        turning: How far people who face the viewer turn to a side.
        smallest: Least (width, height) of a picture, pixels.
        largest: Largest (width, height).
        person: Least and largest length of a person's longer side, pixels; people who are cut off are up to
            1.4 times as large, companions between 0.75 and 1.2 times as large as the first.

    Raises:
        ConfigError: A knob outside 0..1, or limits in the wrong order.
    """

    pose_spread: float
    clutter: float
    occlusion: float
    neighbours: float
    truncation: float
    lighting: float
    turning: float = 1.0
    smallest: tuple[int, int] = (256, 192)
    largest: tuple[int, int] = (320, 256)
    person: tuple[float, float] = (90, 220)

    def __post_init__(self) -> None:
        for name in ("pose_spread", "clutter", "occlusion", "neighbours", "truncation", "lighting", "turning"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, not within 0..1", subject="DrawnSettings")
        limits = {
            "width": (self.smallest[0], self.largest[0]),
            "height": (self.smallest[1], self.largest[1]),
            "person": self.person,
        }
        for name, (least, most) in limits.items():
            if not 0 < least <= most:
                raise ConfigError(f"{name} from {least} to {most} is no range", subject="DrawnSettings")


@dataclass(frozen=True, eq=False)
class Person:
    """A figure in its place.

    Attributes:
        figure: Solids and joints in the picture's frame.
        scale: Pixels a stature.
        low: (2,) least x, y of the body, outside the picture too.
        high: (2,) largest x, y.
    """

    figure: Figure
    scale: float
    low: Floats
    high: Floats


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that is in a picture before it is developed.

    Attributes:
        background: (H, W, 3) RGB, 0..255.
        light: What shades people and objects.
        grain: (H, W) roughness of their surfaces, factors near 1.
        people: Nearest first.
        objects: What stands behind and in front of them.
    """

    background: Floats
    light: Light
    grain: Floats
    people: tuple[Person, ...]
    objects: Objects


def compose(rng: Generator, settings: DrawnSettings) -> Scene:
    """Choose people, places, light and objects."""
    width, height = rng.integers(settings.smallest, np.add(settings.largest, 1)).tolist()
    size = (width, height)
    direction = np.array([rng.uniform(-0.8, 0.8), rng.uniform(-0.9, 0.1), rng.uniform(0.35, 0.9)])
    light = Light(direction / np.linalg.norm(direction), 0.75 - settings.lighting * rng.uniform(0, 0.55))
    people: list[Person] = []
    objects = Objects()
    for layer in range(1 + int((rng.random(3) < settings.neighbours).sum())):
        person = _place(rng, draw_person(rng, settings.pose_spread, settings.turning), size, settings, people)
        people.append(person)
        if rng.random() < settings.occlusion:
            objects += draw_occluder(rng, person.low, person.high, depth=_LAYER * (0.5 - layer))
    # The floor begins behind everybody's feet.
    feet = min(float(person.high[1]) for person in people) / height
    horizon = min(max(feet - rng.uniform(0.02, 0.3), 0.2), 0.95)
    objects += draw_distractors(rng, size, horizon, settings.clutter)
    grain = draw_grain(rng, size)
    background = draw_background(rng, size, horizon, settings.clutter) * grain[..., None]
    return Scene(background, light, grain, tuple(people), objects)


def paint(scene: Scene) -> Canvas:
    """Draw a scene; the canvas labels a pixel of person p's bone b with ``1 + p * len(BONES) + b``."""
    canvas = Canvas(scene.background.copy(), scene.light, scene.grain)
    for person in scene.people:
        (x0, y0), (x1, y1) = person.low.tolist(), person.high.tolist()
        canvas.draw_shade(((x0 + x1) / 2, y1), ((x1 - x0) * 0.6, (y1 - y0) * 0.07 + 2), 0.45)
    for p, person in enumerate(scene.people):
        solids = person.figure.solids
        label = np.where(solids.label == OBJECT, OBJECT, solids.label + p * len(BONES))
        canvas.draw(replace(solids, label=label.astype(np.uint8)))
    scene.objects.draw(canvas)
    return canvas


def read_truth(canvas: Canvas, people: tuple[Person, ...]) -> Poses:
    """Read from the buffers what is seen of each person.

    A keypoint is visible where the surface at its pixel is of a bone that meets at the joint, and lies no
    farther in front of it than flesh is thick there; hidden where anything else is seen at that pixel;
    absent where the pixel is outside the picture.
    """
    joints = np.stack([person.figure.joints for person in people])
    pixel = np.floor(joints[..., :2] + 0.5).astype(np.intp)
    size = np.array([canvas.width, canvas.height])
    inside = ((pixel >= 0) & (pixel < size)).all(axis=2)
    x, y = np.moveaxis(np.clip(pixel, 0, size - 1), -1, 0)
    person, bone = np.divmod(canvas.label[y, x].astype(np.intp) - 1, len(BONES))
    own = (person == np.arange(len(people))[:, None]) & OWNERS[np.arange(len(FLESH)), bone]
    flesh = FLESH * np.array([[person.scale] for person in people])
    seen = own & (canvas.depth[y, x] - joints[..., 2] <= flesh)
    visibility = np.where(inside, np.where(seen, Visibility.VISIBLE, Visibility.HIDDEN), Visibility.ABSENT)
    first = 1 + len(BONES) * np.arange(len(people))
    masks = [(canvas.label >= f) & (canvas.label < f + len(BONES)) for f in first.tolist()]
    return Poses.create(
        len(FLESH),
        xy=joints[..., :2],
        visibility=visibility,
        box=[_box(mask) for mask in masks],
        area=[int(mask.sum()) for mask in masks],
        origin=np.full(visibility.shape, Origin.IMPORTED),
        by=["drawn"] * len(people),
    )


def develop(colour: Floats, rng: Generator, lighting: float) -> NDArray[np.uint8]:
    """Turn (H, W, 3) painted colours into a photograph of (H, W, 3) bytes.

    Light falls off across the picture; exposure, contrast and colour cast change; noise, blur and
    compression follow, all in proportion to ``lighting`` 0..1.
    """
    height, width = colour.shape[:2]
    slope = rng.uniform(-0.35, 0.35, 2) * lighting
    across = (np.arange(width) * (2 / width) - 1) * slope[0]
    down = (np.arange(height) * (2 / height) - 1) * slope[1]
    contrast = 1 + lighting * rng.uniform(-0.55, 0.15)
    gain = contrast * (1 + lighting * rng.uniform(-0.4, 0.35)) * (1 + lighting * rng.uniform(-0.14, 0.14, 3))
    image = colour * (1 + across + down[:, None]).astype(np.float32)[..., None]
    image *= gain.astype(np.float32)
    noise = rng.standard_normal((height, width, 1), np.float32)
    noise *= np.float32(rng.uniform(0, 10) * lighting)
    noise += np.float32(110 * (1 - contrast))
    image += noise
    picture = Image.fromarray(np.clip(image, 0, 255, out=image).astype(np.uint8))
    if (blur := lighting * rng.uniform(-0.8, 1.3)) > 0:
        picture = picture.filter(ImageFilter.BoxBlur(blur))
    if rng.random() < lighting * 0.5:
        packed = BytesIO()
        picture.save(packed, "JPEG", quality=int(rng.integers(30, 80)))
        picture = Image.open(packed)
    return np.array(picture)


def _place(
    rng: Generator, figure: Figure, size: tuple[int, int], settings: DrawnSettings, others: list[Person]
) -> Person:
    """Give a figure its scale and place: inside the picture or cut off by its border, often near others."""
    low, high = figure.solids.extent()
    extent = high - low
    frame = np.array(size)
    scale = float(rng.uniform(*settings.person) / extent.max())
    if others:
        # Companions stand about as near to the camera.
        scale = others[0].scale * rng.uniform(0.75, 1.2)
    cut = rng.random() < settings.truncation
    scale = scale * rng.uniform(1, 1.4) if cut else min(scale, float((frame * 0.97 / extent).min()))
    half = extent * scale / 2
    centre = half + (frame - 2 * half) * rng.random(2)
    if others:
        # On the same floor, those behind a little higher in the picture.
        centre[1] = others[0].high[1] - scale * rng.uniform(-0.02, 0.15) - half[1]
    if others and rng.random() < 0.6:
        near = others[rng.integers(len(others))]
        apart = (half[0] + (near.high[0] - near.low[0]) / 2) * rng.uniform(0.3, 0.9)
        centre[0] = (near.low[0] + near.high[0]) / 2 + (apart if rng.random() < 0.5 else -apart)
    if cut:
        side = ("left", "right", "top", "bottom", "bottom", "bottom")[rng.integers(6)]
        axis = 0 if side in ("left", "right") else 1
        inwards = half[axis] * (1 - 2 * rng.uniform(0.12, 0.45))
        centre[axis] = inwards if side in ("left", "top") else frame[axis] - inwards
    else:
        centre = np.clip(centre, half + 1, frame - half - 1)
    offset = np.array([*(centre - (low + high) / 2 * scale), -_LAYER * len(others)])
    placed = Figure(figure.solids.moved(offset, scale), figure.joints * scale + offset)
    return Person(placed, scale, low * scale + offset[:2], high * scale + offset[:2])


def _box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """The xyxy box around the pixels of a mask; zeros where there are none."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return (0, 0, 0, 0)
    return (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
