"""Draw one cartoon dog in a scene.

Points are in units of half a body length, y down, the dog facing right with
the middle of its trunk at the origin; an affine map brings them to pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from dogbreed.data.sample.breeds import COLORS, Breed
from dogbreed.data.sample.scene import draw_background, draw_foreground, light_and_noise

Points = NDArray[np.float64]
Color = tuple[int, int, int]


def draw_picture(breed: Breed, rng: np.random.Generator, width_px: int, height_px: int) -> Image.Image:
    """Draw a dog with random pose, place, light, background, occlusion and noise.

    Args:
        breed: What to draw.
        rng: Decides everything that is random.
        width_px: Picture width, >= 32.
        height_px: Picture height, >= 32.

    Returns:
        An RGB picture.
    """
    shrink = min(1.0, 720 / max(width_px, height_px))
    canvas_size = max(32, round(width_px * shrink)), max(32, round(height_px * shrink))
    picture = draw_background(rng, *canvas_size)
    _Dog(breed, rng, picture).draw()
    draw_foreground(rng, picture)
    if shrink < 1.0:
        picture = picture.resize((width_px, height_px), Image.Resampling.BICUBIC)
    return light_and_noise(rng, picture)


class _Dog:
    """One dog on one picture: holds the pose and the map to pixels."""

    def __init__(self, breed: Breed, rng: np.random.Generator, picture: Image.Image) -> None:
        self.breed, self.rng, self.picture = breed, rng, picture
        width, height = picture.size
        top = -breed.body_height / 2 - breed.neck_length - 2.2 * breed.head_size
        bottom = breed.body_height / 2 + breed.leg_length
        fit = min(width / 3.4, height / (bottom - top + 0.3))
        scale = fit * rng.uniform(0.84, 1.06)
        turn = rng.normal(0, 0.06)
        mirror = rng.choice([-1.0, 1.0])
        rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
        self._map = rotation @ np.diag([mirror * scale, scale * rng.uniform(0.9, 1.1)])
        centre = np.array([width / 2, height / 2 - (top + bottom) / 2 * scale])
        self._shift = centre + rng.uniform(-0.05, 0.05, 2) * [width, height]
        self.scale = scale
        self.coat: Color = COLORS[str(rng.choice(breed.colors))]
        self.coat = tuple(int(np.clip(v + rng.normal(0, 8), 0, 255)) for v in self.coat)  # type: ignore[assignment]
        dark = sum(self.coat) < 330
        self.contrast: Color = COLORS[str(rng.choice(["cream", "white"] if dark else ["black", "chocolate"]))]
        self.light: Color = COLORS["white"] if sum(self.coat) < 600 else COLORS["tan"]
        self.swing = rng.uniform(-0.28, 0.28)
        self.head = np.array([0.92 + 0.55 * breed.neck_length, -breed.body_height / 2 - breed.neck_length])
        self.head += rng.normal(0, 0.05, 2)

    def draw(self) -> None:
        """Paint from back to front."""
        self._legs(near=False)
        self._tail()
        trunk = self._trunk_mask()
        coat = self._coat_layer()
        self.picture.paste(coat, mask=trunk)
        self._head()

    # -- parts ---------------------------------------------------------------

    def _legs(self, *, near: bool) -> None:
        for points in self._leg_shapes(near=near):
            self._fill(points, _shade(self.coat, 1.0 if near else 0.72))

    def _leg_shapes(self, *, near: bool) -> Iterable[Points]:
        breed = self.breed
        swing = self.swing if near else -self.swing
        half = 0.07 + 0.05 * breed.body_height
        for hip, direction in ((-0.72, 1.0), (0.72, -1.0)):
            foot = hip + swing * direction * breed.leg_length + (0.0 if near else 0.10)
            top, bottom = 0.0, breed.body_height / 2 + breed.leg_length
            yield np.array([(hip - half, top), (hip + half, top), (foot + half, bottom), (foot - half, bottom)])
            yield _ellipse(foot + 0.06, bottom, half * 1.5, half * 0.8)
            if breed.fur == "curly":
                yield _ellipse(foot, bottom - 0.20, half * 3.0, half * 2.6)

    def _tail(self) -> None:
        breed = self.breed
        root = np.array([-0.95, -breed.body_height * 0.28])
        t = np.linspace(0, 1, 14)[:, None]
        if breed.tail == "curled":
            angle = np.linspace(math.pi * 0.9, -math.pi * 0.9, 14)
            spine = root + [-0.02, -0.26] + 0.26 * np.stack([-np.sin(angle) * 0.9, -np.cos(angle)], 1)
            self._stroke(spine, 0.15)
        elif breed.tail == "bushy":
            self._fill(_ellipse(root[0] - 0.22, root[1] + 0.42, 0.17, 0.50, 0.35), _shade(self.coat, 0.85))
        elif breed.tail == "stub":
            self._fill(_ellipse(root[0], root[1], 0.12, 0.09), self.coat)
        else:
            up = {"straight": -0.75, "thin": -0.25, "pompon": -0.55}[breed.tail] + self.rng.normal(0, 0.08)
            spine = root + t * np.array([-0.55, up]) + t**2 * [0.05, -0.15]
            self._stroke(spine, {"straight": 0.13, "thin": 0.07, "pompon": 0.07}[breed.tail])
            if breed.tail == "pompon":
                self._fill(_ellipse(spine[-1, 0], spine[-1, 1], 0.25, 0.25), self.coat)

    def _trunk_mask(self) -> Image.Image:
        """Trunk, neck and near legs as one silhouette, so that the pattern runs over all of them."""
        breed = self.breed
        mask = Image.new("L", self.picture.size)
        draw = ImageDraw.Draw(mask)
        half = breed.body_height / 2
        tuck = 0.7 if breed.name == "greyhound" else 1.0
        shapes = [
            _ellipse(-0.35, 0, 0.72, half * tuck),
            _ellipse(0.40, 0, 0.68, half * 1.08),
            self._neck(),
            *self._leg_shapes(near=True),
        ]
        if breed.fur == "shaggy":
            shapes += [_ellipse(x, half * 0.5, 0.42, half * 1.3) for x in (-0.6, -0.1, 0.45)]
            shapes = [_ragged(points, self.rng) for points in shapes]
        elif breed.fur == "curly":
            shapes += [_ellipse(0.50, -0.05, 0.66, half * 1.9)]
        for points in shapes:
            draw.polygon(self._pixels(points), fill=255)
        return mask

    def _neck(self) -> Points:
        half = 0.20 + 0.12 * self.breed.body_height
        return np.array(
            [(0.35, 0.1), (0.95, 0.15), (self.head[0] + half * 0.6, self.head[1]), (self.head[0] - half, self.head[1])]
        )

    def _coat_layer(self) -> Image.Image:
        breed, rng = self.breed, self.rng
        layer = Image.new("RGB", self.picture.size, self.coat)
        draw = ImageDraw.Draw(layer)
        half, ground = breed.body_height / 2, breed.body_height / 2 + breed.leg_length

        def fill(points: Points, color: Color) -> None:
            draw.polygon(self._pixels(points), fill=color)

        if breed.pattern == "spots":
            for _ in range(34):
                size = rng.uniform(0.05, 0.11)
                fill(_ellipse(rng.uniform(-1.1, 1.3), rng.uniform(-1.2, ground), size, size), self.contrast)
        elif breed.pattern == "stripes":
            for x in np.arange(-1.1, 1.2, 0.22) + rng.normal(0, 0.02, 11):
                fill(np.array([(x, -1), (x + 0.09, -1), (x + 0.02, half + 0.3), (x - 0.05, half + 0.3)]), self.contrast)
        elif breed.pattern == "saddle":
            fill(_ellipse(-0.15, -half * 0.75, 0.82, half * 1.05), self.contrast)
            fill(_box(-2, ground - 0.3 * breed.leg_length, 2, ground + 1), self.light)
        elif breed.pattern == "halves":
            fill(_box(0.05, -3, 3, 3), self.light)
        elif breed.pattern == "belly":
            fill(_ellipse(0.35, half * 0.95, 1.1, half * 0.8), self.light)
            fill(_ellipse(0.95, 0.0, 0.30, half * 1.1), self.light)
            fill(_box(-2, ground - 0.4 * breed.leg_length, 2, ground + 1), self.light)
        return _with_shadow(layer, self._pixels(_box(-3, half * 0.45, 3, 3)))

    def _head(self) -> None:
        breed, (x, y), r = self.breed, self.head, self.breed.head_size
        head_color = self.light if breed.pattern == "halves" else self.coat
        face = self.light if breed.name in ("husky",) else (COLORS["black"] if sum(head_color) > 250 else COLORS["tan"])
        self._ears(back=True)
        outline = _ellipse(x, y, r, r * 0.95)
        self._fill(_ragged(outline, self.rng) if breed.fur == "shaggy" else outline, head_color)
        nose_x = x + r * 0.75 + breed.snout_length
        snout = np.array(
            [(x + r * 0.3, y - r * 0.35), (nose_x, y + r * 0.02), (nose_x, y + r * 0.45), (x + r * 0.2, y + r * 0.75)]
        )
        self._fill(snout, face if breed.face_mask else head_color)
        self._fill(_ellipse(nose_x, y + r * 0.22, r * 0.26 + 0.01, r * 0.24), face if breed.face_mask else head_color)
        if breed.face_mask:
            self._fill(_ellipse(x + r * 0.45, y + r * 0.30, r * 0.55, r * 0.55), face)
        if breed.pattern == "spots":
            for _ in range(5):
                dx, dy = self.rng.uniform(-0.6, 0.5, 2) * r
                self._fill(_ellipse(x + dx, y + dy, 0.06, 0.06), self.contrast)
        if breed.fur == "curly":
            self._fill(_ellipse(x - r * 0.25, y - r * 0.85, r * 0.95, r * 0.80), head_color)
            self._fill(_ellipse(x - r * 0.55, y + r * 0.35, r * 0.50, r * 0.80), _shade(head_color, 0.9))
        if breed.fur == "shaggy":
            self._fill(_ragged(_ellipse(x + r * 0.1, y - r * 0.35, r * 1.05, r * 0.7), self.rng), head_color)
        else:
            self._fill(_ellipse(x + r * 0.38, y - r * 0.18, 0.065, 0.075), (250, 250, 250))
            self._fill(_ellipse(x + r * 0.42, y - r * 0.18, 0.045, 0.055), (20, 16, 14))
        self._fill(_ellipse(nose_x + r * 0.20, y + r * 0.06, 0.075, 0.06), (22, 18, 18))
        self._ears(back=False)

    def _ears(self, *, back: bool) -> None:
        (x, y), r, ears = self.head, self.breed.head_size, self.breed.ears
        color = _shade(self.coat if self.breed.pattern != "saddle" else self.contrast, 0.72 if back else 0.86)
        x += r * (0.30 if back else -0.35)
        tilt = self.rng.normal(0, 0.05)
        if ears in ("pointed", "bat"):
            height, half = (0.95, 0.38) if ears == "pointed" else (1.60, 0.60)
            self._fill(
                np.array(
                    [(x - half * r, y - r * 0.55), (x + half * r, y - r * 0.75), (x + tilt, y - r * (0.75 + height))]
                ),
                color,
            )
        elif ears == "folded":
            self._fill(
                np.array([(x - r * 0.35, y - r * 0.95), (x + r * 0.35, y - r * 0.95), (x - r * 0.45, y - r * 0.25)]),
                color,
            )
        elif ears in ("floppy", "long") and not back:
            length = 0.62 if ears == "floppy" else 0.92
            self._fill(_ellipse(x - r * 0.10, y + r * (length - 0.65), r * 0.36, r * length, tilt), color)

    # -- tools ---------------------------------------------------------------

    def _pixels(self, points: Points) -> list[tuple[float, float]]:
        mapped: Points = points @ self._map.T + self._shift
        return [(float(x), float(y)) for x, y in mapped]

    def _fill(self, points: Points, color: Color) -> None:
        ImageDraw.Draw(self.picture).polygon(self._pixels(points), fill=color)

    def _stroke(self, spine: Points, width: float) -> None:
        for x, y in spine:
            self._fill(_ellipse(float(x), float(y), width / 1.7, width / 1.7), self.coat)
        ImageDraw.Draw(self.picture).line(
            self._pixels(spine), fill=self.coat, width=max(1, round(width * self.scale)), joint="curve"
        )


def _ellipse(x: float, y: float, half_width: float, half_height: float, turn: float = 0.0) -> Points:
    angle = np.linspace(0, 2 * math.pi, 36, endpoint=False)
    points = np.stack([half_width * np.cos(angle), half_height * np.sin(angle)], axis=1)
    rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    turned: Points = points @ rotation + [x, y]
    return turned


def _box(left: float, top: float, right: float, bottom: float) -> Points:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def _ragged(points: Points, rng: np.random.Generator) -> Points:
    """Pull every other point outward, like tufts of long hair."""
    centre = points.mean(axis=0)
    stretch = np.where(np.arange(len(points)) % 2, rng.uniform(1.08, 1.28, len(points)), 0.98)[:, None]
    tufted: Points = centre + (points - centre) * stretch
    return tufted


def _shade(color: Color, factor: float) -> Color:
    red, green, blue = (int(value * factor) for value in color)
    return red, green, blue


def _with_shadow(layer: Image.Image, polygon: list[tuple[float, float]]) -> Image.Image:
    mask = Image.new("L", layer.size, 255)
    ImageDraw.Draw(mask).polygon(polygon, fill=196)
    soft = mask.filter(ImageFilter.BoxBlur(max(layer.size) / 60))
    return ImageChops.multiply(layer, Image.merge("RGB", (soft, soft, soft)))
