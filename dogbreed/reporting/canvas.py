"""A chart drawn by hand as inline SVG: one whose marks each belong to a trial, so that a page can light it up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from dogbreed.reporting.scales import Scale
from dogbreed.reporting.words import printable

# Units of the drawing: about one CSS pixel where two charts stand side by side.
WIDTH, HEIGHT = 440, 236
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 12, 40
# What the names of rows may take of the width, and how many letters that is.
MAX_LEFT, MAX_NAME = 150, 20
FONT = 12

Point = tuple[float, float]


class Canvas:
    """Axes with a grid, and marks on them.

    Args:
        label: What the chart shows, for those who do not see it.
        x: The horizontal axis.
        y: The vertical one.
        xlabel: What the horizontal one measures.
        ylabel: The same, written at the top of the vertical one.
        width: In units of about a CSS pixel.
        height: The same.
        rows: The most ticks of the vertical axis.
    """

    def __init__(
        self,
        label: str,
        x: Scale,
        y: Scale,
        xlabel: str = "",
        ylabel: str = "",
        width: int = WIDTH,
        height: int = HEIGHT,
        rows: int = 5,
    ) -> None:
        self.x, self.y = x, y
        self._size = (width, height)
        self._label = label
        self._rows = y.ticks(rows)
        widest = max((len(text) for _, text in self._rows), default=0)
        self._left = max(LEFT - 14, min(MAX_LEFT, round(6.6 * widest) + 14))
        self._top = TOP + (16 if ylabel else 0)
        self._parts: list[str] = []
        self._axes(xlabel, ylabel)

    def place(self, x: object, y: object) -> Point:
        """Return where a pair of values is drawn; NaN where one has no place."""
        return self._x(self.x.place(x)), self._y(self.y.place(y))

    def line(self, points: Sequence[Point], style: str, title: str = "", tag: str = "") -> None:
        """Draw a line through places.

        Args:
            points: From `place`.
            style: CSS of its own.
            title: What shows when one rests on it.
            tag: CSS classes; with a title the line can be hit from some pixels away.
        """
        drawn = [point for point in points if not any(map(math.isnan, point))]
        if len(drawn) > 1:
            path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in drawn)
            self.path(path, style, title, tag)

    def path(self, path: str, style: str, title: str = "", tag: str = "") -> None:
        """Draw a path, as `line` does."""
        line = f'<path d="{path}" fill="none" style="{style}"/>'
        if title:
            line = f'<path class="hit" d="{path}"/>{line}{_title(title)}'
        self._parts.append(f'<g class="{tag}">{line}</g>' if tag else line)

    def dot(self, point: Point, style: str, radius: float = 4.0, title: str = "", tag: str = "") -> None:
        """Draw a dot, or nothing if it has no place; see `line`."""
        if not any(map(math.isnan, point)):
            inner = _title(title) if title else ""
            end = f">{inner}</circle>" if inner else "/>"
            x, y = point
            self._parts.append(f'<circle class="{tag}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" style="{style}"{end}')

    def cross(self, point: Point, style: str, title: str = "", tag: str = "") -> None:
        """Draw a small cross, or nothing if it has no place; see `line`."""
        if not any(map(math.isnan, point)):
            x, y = point
            self.path(f"M{x - 3:.1f} {y - 3:.1f}l6 6m0-6l-6 6", style, title, tag)

    def text(self, x: float, y: float, text: str, anchor: str = "start") -> None:
        """Write something."""
        self._parts.append(label_svg(x, y, text, anchor))

    @property
    def span_x(self) -> float:
        """How long the horizontal axis is."""
        return self._x(1.0) - self._x(0.0)

    @property
    def span_y(self) -> float:
        """How long the vertical one is."""
        return self._y(0.0) - self._y(1.0)

    @property
    def foot(self) -> float:
        """Where the vertical axis begins, for marks of what has no value."""
        return self._y(0.0)

    def svg(self) -> str:
        """Return markup to put into a page."""
        width, height = self._size
        label = quoteattr(printable(self._label))
        inner = printable("".join(self._parts))
        return f'<svg class="chart drawn" viewBox="0 0 {width} {height}" role="img" aria-label={label}>{inner}</svg>'

    def _axes(self, xlabel: str, ylabel: str) -> None:
        width, height = self._size
        right, bottom = width - RIGHT, height - BOTTOM
        rows = []
        for share, text in self._rows:
            y = self._y(share)
            rows.append(f'<path class="grid" d="M{self._left} {y:.1f}H{right}"/>')
            rows.append(label_svg(self._left - 7, y + 4, shorten_name(text), "end"))
        room = max(2, int((right - self._left) / 62))
        for share, text in _apart(self.x.ticks(room), right - self._left):
            x = self._x(share)
            anchor = "end" if x + 3.4 * len(text) > width else "middle"
            rows.append(label_svg(min(x, width) if anchor == "middle" else width, bottom + 17, text, anchor))
        rows.append(f'<path class="axis" d="M{self._left} {bottom}H{right}"/>')
        if xlabel:
            rows.append(label_svg((self._left + right) / 2, height - 5, xlabel, "middle"))
        if ylabel:
            rows.append(label_svg(0, TOP, ylabel, "start"))
        self._parts.append("".join(rows))

    def _x(self, share: float) -> float:
        return self._left + share * (self._size[0] - RIGHT - self._left)

    def _y(self, share: float) -> float:
        return self._size[1] - BOTTOM - share * (self._size[1] - BOTTOM - self._top)


def label_svg(x: float, y: float, text: str, anchor: str, name: str = "") -> str:
    """Return a text of a chart."""
    css = f' class="{name}"' if name else ""
    return f'<text{css} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(printable(text))}</text>'


def shorten_name(text: str, letters: int = MAX_NAME) -> str:
    """Cut a name that is too long for its place; of a key its end says most."""
    return text if len(text) <= letters else f"…{text[1 - letters :]}"


def _title(text: str) -> str:
    return f"<title>{escape(printable(text))}</title>"


def _apart(ticks: Sequence[tuple[float, str]], length: float) -> list[tuple[float, str]]:
    """Leave out what would be written over its neighbour."""
    kept: list[tuple[float, str]] = []
    end = -math.inf
    for share, text in ticks:
        half = 3.5 * len(text) + 3
        if share * length - half >= end:
            kept.append((share, text))
            end = share * length + half
    return kept
