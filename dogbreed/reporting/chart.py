"""A chart as inline SVG that takes its colours from the page, so that it follows a light or a dark theme.

Matplotlib draws with stand-ins for colours, which become CSS variables afterwards. Points that show a value when one
rests on them are laid over the drawing with a ``<title>`` each; nothing needs a script.
"""

from __future__ import annotations

import io
import math
import re
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np
from numpy.typing import NDArray

from dogbreed.reporting.sources import HUGE, Numbers
from dogbreed.reporting.words import number, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Units of the drawing: about one CSS pixel where two charts stand side by side.
WIDTH, HEIGHT = 440, 236
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 12, 40
FONT = 12
LOG_RANGE = 1000.0

# Names of CSS variables of the page, each with the colour that stands for it while matplotlib draws.
COLORS = (
    *("ink", "muted", "line", "surface", "train", "val", "good", "bad"),
    *(f"series-{place}" for place in range(1, 9)),
    *(f"phase-{name}" for name in ("wait", "transfer", "forward", "backward", "optimizer", "callbacks", "other")),
)
_STAND_INS = {name: f"#fe{place:02x}01" for place, name in enumerate(COLORS)}
_VARIABLES = {stand_in: f"var(--{name})" for name, stand_in in _STAND_INS.items()}
# But for opacities, which would lose half of what they say.
_LONG_NUMBER = re.compile(r"(?<!opacity: )(?<![\d.])(\d+\.\d)\d+")


def color(name: str) -> str:
    """Return what to draw with for a variable of the page."""
    return _STAND_INS[name]


class Chart:
    """One set of axes, its tips, and the SVG that they become.

    Args:
        label: What the chart shows, for those who do not see it.
        xlabel: What the horizontal axis measures.
        height: In units of which the width has 440.
    """

    def __init__(self, label: str, xlabel: str = "", height: int = HEIGHT) -> None:
        from matplotlib.figure import Figure

        self._label, self._height = label, height
        self._figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72)
        box = (LEFT / WIDTH, BOTTOM / height, (WIDTH - LEFT - RIGHT) / WIDTH, (height - TOP - BOTTOM) / height)
        self.axes: Axes = self._figure.add_axes(box)
        self.axes.patch.set_visible(False)
        self._figure.patch.set_visible(False)
        self.axes.spines[["top", "right", "left"]].set_visible(False)
        self.axes.spines["bottom"].set_color(color("line"))
        self.axes.tick_params(length=0, labelsize=FONT, colors=color("muted"), pad=5)
        self.axes.grid(axis="y", color=color("line"), linewidth=1)
        self.axes.set_axisbelow(True)
        self.axes.set_xlabel(xlabel, fontsize=FONT, color=color("muted"))
        self._tips: list[tuple[float, float, float, float, str]] = []

    def line(self, x: Numbers, y: Numbers, name: str, *, width: float = 2.0, marks: bool = False) -> None:
        """Draw a line, with a mark at each point where that is wanted; a single point is always marked."""
        is_there = _can_be_drawn(x, y)
        x, y = x[is_there], y[is_there]
        marker = "o" if marks or len(x) == 1 else None
        self.axes.plot(x, y, color=color(name), linewidth=width, marker=marker, markersize=4, solid_capstyle="round")

    def band(self, x: Numbers, low: Numbers, high: Numbers, name: str, alpha: float = 0.25) -> None:
        """Fill between two lines."""
        is_there = _can_be_drawn(x, low, high)
        self.axes.fill_between(x[is_there], low[is_there], high[is_there], color=color(name), alpha=alpha, linewidth=0)

    def point_tips(self, x: Numbers, y: Numbers, texts: Sequence[str]) -> None:
        """Let points tell something."""
        for place_x, place_y, text in zip(x, y, texts, strict=True):
            if max(abs(place_x), abs(place_y)) < HUGE and place_x == place_x and place_y == place_y:
                self._tips.append((float(place_x), float(place_y), math.nan, math.nan, text))

    def box_tip(self, left: float, right: float, bottom: float, top: float, text: str) -> None:
        """Let a rectangle tell something."""
        self._tips.append((left, bottom, right, top, text))

    def whole_steps(self) -> None:
        """Label the horizontal axis with whole numbers only."""
        from matplotlib.ticker import MaxNLocator

        self.axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=1))

    def as_percent(self) -> None:
        """Label the vertical axis, of shares, in percent, all of it to be seen."""
        self.axes.set_ylim(-0.02, 1.04)
        self.axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])

    def log_if_wide(self, *values: Numbers) -> None:
        """Take a logarithmic vertical axis where values lie three powers of ten apart, and are positive."""
        every = np.concatenate([*values, np.empty(0)])
        every = every[_can_be_drawn(every)]
        if len(every) and every.min() > 0 and every.max() > LOG_RANGE * every.min():
            self.axes.set_yscale("log")
            self.axes.minorticks_off()

    def svg(self) -> str:
        """Draw; return markup to put into a page."""
        import matplotlib as mpl

        self._label_axes()
        stream = io.StringIO()
        with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "report", "path.simplify": True}):
            self._figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
        drawing = stream.getvalue()
        inner = drawing[drawing.index('<g id="figure_1">') : drawing.rindex("</svg>")]
        overlay = "".join(map(self._tip, self._tips))
        label = quoteattr(printable(self._label))
        return (
            f'<svg class="chart" viewBox="0 0 {WIDTH} {self._height}" role="img" aria-label={label}>'
            f"{_tidy(inner)}{overlay}</svg>"
        )

    def _label_axes(self) -> None:
        """Write ticks the way the rest of the page writes numbers."""
        from matplotlib.ticker import MaxNLocator

        if self.axes.yaxis.get_major_locator().__class__.__name__ == "AutoLocator":
            self.axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
        for axis in (self.axes.xaxis, self.axes.yaxis):
            if axis.get_major_formatter().__class__.__name__ in ("ScalarFormatter", "LogFormatterSciNotation"):
                axis.set_major_formatter(lambda value, _: number(float(f"{value:.10g}")).replace("-", "−"))

    def _tip(self, tip: tuple[float, float, float, float, str]) -> str:
        left, bottom, right, top, text = tip
        title = f"<title>{escape(printable(text))}</title>"
        x, y = self._place(left, bottom)
        if math.isnan(right):
            return f'<circle class="tip" cx="{x:.1f}" cy="{y:.1f}" r="6">{title}</circle>'
        right_x, top_y = self._place(right, top)
        size = f'width="{max(right_x - x, 0):.1f}" height="{max(y - top_y, 0):.1f}"'
        return f'<rect class="tip" x="{x:.1f}" y="{top_y:.1f}" {size}>{title}</rect>'

    def _place(self, x: float, y: float) -> tuple[float, float]:
        transform: Any = self.axes.transData
        place_x, place_y = transform.transform((x, y))
        return float(place_x), self._height - float(place_y)


def _can_be_drawn(*series: Numbers) -> NDArray[np.bool_]:
    """Say at which places all of several series have something to draw."""
    can: NDArray[np.bool_] = np.logical_and.reduce([np.abs(values) < HUGE for values in series])
    return can


def _tidy(drawing: str) -> str:
    """Take colours and fonts from the page, drop what nobody sees, keep names apart from other charts'."""
    own = f"c{zlib.crc32(drawing.encode()):x}-"
    drawing = re.sub(r"<!--.*?-->\n?", "", drawing, flags=re.S)
    drawing = re.sub(r"#[0-9a-f]{6}", lambda found: _VARIABLES.get(found[0], found[0]), drawing)
    drawing = re.sub(r"<[^>]*>", lambda tag: _LONG_NUMBER.sub(r"\1", tag[0]), drawing)  # in tags, not in what is read
    drawing = re.sub(r'font-family: [^;"]*; ?', "", drawing)
    drawing = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", drawing)
    drawing = re.sub(r'<g id="[^"]*"/>\n?', "", drawing)
    drawing = re.sub(r'<g id="[^"]*"', "<g", drawing)
    drawing = re.sub(r'\bid="', f'id="{own}', drawing)
    drawing = re.sub(r'xlink:href="#', f'href="#{own}', drawing)
    drawing = re.sub(r"url\(#", f"url(#{own}", drawing)
    return re.sub(r" ?\n\s*(?=[^<])", " ", drawing)
