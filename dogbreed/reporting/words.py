"""Numbers as people read them."""

from __future__ import annotations

import math
import re

from markupsafe import Markup, escape

_NOT_TEXT = re.compile("[\ud800-\udfff]")


def percent(share: float | None, digits: int = 1) -> str:
    """Write a share as percent.

    Example:
        >>> percent(0.8125), percent(float("nan"))
        ('81.2 %', '–')
    """
    return "–" if share is None or not math.isfinite(share) else f"{100 * share:.{digits}f} %"


def number(value: float | None) -> str:
    """Write a number with four significant digits.

    Example:
        >>> [number(value) for value in (0.123456, 12345.6, 3.0, 1e-7, 2.5e19, None)]
        ['0.1235', '12,346', '3', '1e-7', '2.5e19', '–']
    """
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if 1000 <= abs(value) < 1e6:
        return f"{value:,.0f}"
    return re.sub(r"e([+-])0*", lambda found: "e" if found[1] == "+" else "e-", f"{value:.4g}")


def duration(seconds: float | None) -> str:
    """Write a time in the units that fit it.

    Example:
        >>> [duration(value) for value in (0.00042, 0.0424, 4.24, 95, 7300, None)]
        ['0.42 ms', '42 ms', '4.2 s', '1 min 35 s', '2 h 1 min', '–']
    """
    if seconds is None or not math.isfinite(seconds):
        return "–"
    if seconds < 0.01:
        return f"{1000 * seconds:.2g} ms"
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def odds(share: float) -> str:
    """Say how often something is right so that one can picture it.

    Example:
        >>> odds(0.81), odds(0.973), odds(0.02), odds(1.0)
        ('right about 4 times in 5', 'wrong about 1 time in 37', 'right about 1 time in 50', 'always right')
    """
    if share >= 1 or share <= 0:
        return "always right" if share >= 1 else "never right"
    if share > 0.9:
        return f"wrong about 1 time in {round(1 / (1 - share))}"
    if share < 0.15:
        return f"right about 1 time in {round(1 / share)}"
    hits, tries = min(
        ((hits, tries) for tries in range(2, 7) for hits in range(1, tries)),
        key=lambda pair: (round(abs(pair[0] / pair[1] - share), 2), pair[1]),
    )
    return f"right about {hits} {'time' if hits == 1 else 'times'} in {tries}"


def capitalize_first(text: str) -> str:
    """Begin a sentence with a capital and leave the rest as it is.

    Example:
        >>> capitalize_first("lower optim.lr in ResNet")
        'Lower optim.lr in ResNet'
    """
    return text[:1].upper() + text[1:]


def breakable(text: str) -> Markup:
    """Escape a name and let it be broken where its parts end.

    Example:
        >>> str(breakable("test/long_name<b>"))
        'test/<wbr>long_<wbr>name&lt;b&gt;'
    """
    return Markup(re.sub(r"([_/:.-]+)(?=\w)", r"\1<wbr>", str(escape(text))))  # noqa: S704 -- escaped just now


def setting(value: object) -> str:
    """Write a value of a configuration as configurations do.

    Example:
        >>> [setting(value) for value in (True, None, 1e-7, [0.1, "a"], "x")]
        ['true', 'null', '1e-07', '[0.1, a]', 'x']
    """
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(setting, value))}]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def printable(text: str) -> str:
    """Replace what is no text, the bytes of a file name that is no UTF-8.

    Example:
        >>> printable("caf" + chr(0xDCE9))
        'caf�'
    """
    return _NOT_TEXT.sub("�", text)
