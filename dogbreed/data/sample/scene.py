"""What surrounds a cartoon dog: background, things in front of it, light and noise."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Color = tuple[int, int, int]


def draw_background(rng: np.random.Generator, width_px: int, height_px: int) -> Image.Image:
    """Paint a sky or wall, a ground, and a few things that are no dogs."""
    horizon = rng.uniform(0.45, 0.8)
    wall, ground = rng.uniform(70, 240, 3), rng.uniform(50, 220, 3)
    rows = np.linspace(0, 1, height_px)[:, None]
    gradient = np.where(rows < horizon, wall * (1.1 - 0.35 * rows), ground * (0.75 + 0.35 * rows))
    column = Image.fromarray(np.clip(gradient, 0, 255).astype(np.uint8)[:, None, :])
    picture = column.resize((width_px, height_px), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.integers(1, 6)):
        x, y = rng.uniform(0, width_px), rng.uniform(0, height_px)
        half_width, half_height = rng.uniform(0.02, 0.2, 2) * [width_px, height_px]
        _draw_thing(draw, rng, (x - half_width, y - half_height, x + half_width, y + half_height))
    return picture.filter(ImageFilter.BoxBlur(rng.uniform(0, 0.012) * width_px))


def draw_foreground(rng: np.random.Generator, picture: Image.Image) -> None:
    """Let something cover a part of the dog in a third of the pictures, in place."""
    kind = rng.choice(["nothing", "grass", "fence", "ball"], p=[0.76, 0.10, 0.06, 0.08])
    draw = ImageDraw.Draw(picture)
    width, height = picture.size
    if kind == "grass":
        color = _random_color(rng)
        for x in np.arange(0, width, width / 45):
            tip = height * rng.uniform(0.80, 0.95)
            draw.polygon([(x, height), (x + width / 60, height), (x + rng.normal(0, width / 60), tip)], fill=color)
    elif kind == "fence":
        color = _random_color(rng)
        for x in np.arange(rng.uniform(0, width / 4), width, width / rng.uniform(3, 5)):
            draw.rectangle((x, height * 0.15, x + width / 45, height), fill=color)
    elif kind == "ball":
        x, y, radius = width * rng.uniform(0.1, 0.9), height * rng.uniform(0.6, 0.95), height * rng.uniform(0.05, 0.12)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_random_color(rng))


def light_and_noise(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """Vary brightness, contrast and colour of the light, and add a sensor's noise."""
    width, height = picture.size
    gain = rng.uniform(0.7, 1.25) * (1 + rng.normal(0, 0.05, 3))
    bias = rng.uniform(-12, 18)
    table = np.clip(np.arange(256)[None] * gain[:, None] + bias, 0, 255).astype(np.uint8)
    picture = picture.point(table.ravel().tolist())
    # One tile of noise, repeated: drawing millions of random numbers a picture would take longer than the drawing.
    tile = rng.normal(128, rng.uniform(1, 9), (96, 96)).clip(0, 255).astype(np.uint8)
    noise = np.tile(tile, (height // 96 + 1, width // 96 + 1))[:height, :width]
    noisy = np.asarray(picture, dtype=np.int16) + (noise.astype(np.int16) - 128)[:, :, None]
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _draw_thing(draw: ImageDraw.ImageDraw, rng: np.random.Generator, box: tuple[float, float, float, float]) -> None:
    color = _random_color(rng)
    kind = rng.integers(3)
    if kind == 0:
        draw.ellipse(box, fill=color)
    elif kind == 1:
        draw.rectangle(box, fill=color)
    else:
        left, top, right, bottom = box
        draw.polygon([(left, bottom), (right, bottom), ((left + right) / 2, top)], fill=color)


def _random_color(rng: np.random.Generator) -> Color:
    red, green, blue = (int(value) for value in rng.uniform(30, 240, 3))
    return red, green, blue
