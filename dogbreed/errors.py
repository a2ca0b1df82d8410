"""The one error that a user can mend, and the words to help them.

Every other exception is our bug and keeps its traceback. The command wrapper
(`dogbreed.command`) turns a `UserError` into one sentence and exit code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """One clear sentence that names the file, key or value, and the remedy."""


class FinalError(UserError):
    """What the same run would only come to again: it is not resumed of itself."""


class LostError(FinalError):
    """Training that came to nothing: in a search an answer like any other, about these values."""


def nearest(name: str, options: Iterable[str], count: int = 3) -> list[str]:
    """Find the options that look most like ``name``.

    Args:
        name: What was typed.
        options: The valid names.
        count: How many to return at most, >= 1.

    Returns:
        Up to ``count`` options, the best first; empty when nothing is close.

    Example:
        >>> nearest("resnet5", ["resnet18", "resnet50", "mobilenetv2"], count=1)
        ['resnet50']
    """
    by_lower = {option.lower(): option for option in options}
    found = difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=0.5)
    return [by_lower[option] for option in found]


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Phrase the nearest valid names, or all of them when they are few.

    Args:
        name: What was typed.
        options: The valid names.

    Returns:
        A sentence ending with a full stop, or an empty string when there is
        nothing helpful to say.

    Example:
        >>> did_you_mean("resnet5", ["resnet18", "resnet50", "vgg"])
        'Did you mean resnet50 or resnet18?'
        >>> did_you_mean("zzz", ["b", "a"])
        'Valid: a, b.'
    """
    options = sorted(set(options))
    found = nearest(name, options)
    if found:
        return f"Did you mean {' or '.join(found)}?"
    if 0 < len(options) <= 12:
        return f"Valid: {', '.join(options)}."
    return ""


def shorten(items: Iterable[object], limit: int = 5) -> str:
    """Join the first few items and count the rest.

    Example:
        >>> shorten(range(7), limit=3)
        '0, 1, 2 and 4 more'
    """
    listed = [str(item) for item in items]
    text = ", ".join(listed[:limit])
    return text if len(listed) <= limit else f"{text} and {len(listed) - limit} more"


def sentence_of(error: BaseException) -> str:
    """Return an error in one piece, without the traceback that a loader process wraps around it."""
    text = str(error)
    if "Original Traceback" in text:
        text = text.rstrip().splitlines()[-1].partition(": ")[2]
    return text or type(error).__name__


def count(amount: int, what: str) -> str:
    """Count things in words.

    Example:
        >>> count(1, "step"), count(2000, "step"), count(3, "class")
        ('1 step', '2,000 steps', '3 classes')
    """
    ending = "" if amount == 1 else "es" if what.endswith("s") else "s"
    return f"{amount:,} {what}{ending}"
