"""Pages of an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def page(key: str, rows: Sequence[Any], params: Mapping[str, Any], default: int) -> dict[str, Any]:
    """Return the page that a request asks for.

    Args:
        key: Of the rows in the answer.
        rows: All of them.
        params: The request's.
        default: Rows of a page, where the request does not say.
    """
    first = int(params.get("NextToken") or 0)
    last = first + int(params.get("MaxResults") or default)
    return {key: rows[first:last], "NextToken": str(last) if last < len(rows) else None}
