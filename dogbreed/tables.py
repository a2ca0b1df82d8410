"""Plain text tables for the end of a command."""

from __future__ import annotations

from collections.abc import Sequence


def format_number(value: object) -> str:
    """Format a cell: four significant digits for a float, a dash for nothing.

    Example:
        >>> [format_number(value) for value in (0.91234, 3, None, float("nan"), "x")]
        ['0.9123', '3', '–', '–', 'x']
    """
    if value is None or value != value:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def format_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Align columns; numbers to the right, words to the left.

    Args:
        columns: Headings.
        rows: Cells, as many in each row as there are headings.

    Returns:
        Lines without a trailing newline.

    Example:
        >>> print(format_table(["split", "top1"], [["valid", 0.5], ["test", 0.25]]))
        split  top1
        ─────  ────
        valid   0.5
        test   0.25
    """
    cells = [[format_number(value) for value in row] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(columns, *cells, strict=True)]
    numeric = [
        all(isinstance(row[i], (int, float)) or row[i] is None for row in rows) and bool(rows)
        for i in range(len(columns))
    ]

    def line(texts: Sequence[str]) -> str:
        aligned = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(texts, widths, numeric, strict=True)
        ]
        return "  ".join(aligned).rstrip()

    return "\n".join([line(columns), "  ".join("─" * width for width in widths), *map(line, cells)])
