"""What passes by itself: the network gone, too many requests, a bad moment of the service."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dogbreed.errors import UserError
from launch.aws.errors import error_code, translated

_TOO_MANY = ("throttl", "toomanyrequests", "requestlimitexceeded", "slowdown", "priorrequestnotcomplete")


class TransientError(UserError):
    """Asking again later may help; following a job does."""


@contextmanager
def watching(doing: str) -> Iterator[None]:
    """As `launch.aws.errors.translated`, telling what passes by itself from the rest.

    Args:
        doing: What was tried, as the beginning of a sentence.

    Raises:
        TransientError: the network, the number of requests or the service's own trouble stands in the way.
        UserError: anything else that the user can mend.
    """
    try:
        with translated(doing):
            yield
    except UserError as error:
        if error.__cause__ is not None and _passes(error.__cause__):
            raise TransientError(str(error)) from error.__cause__
        raise


def _passes(error: BaseException) -> bool:
    from botocore.exceptions import ConnectionError as NetworkError
    from botocore.exceptions import HTTPClientError, IncompleteReadError

    if isinstance(error, (NetworkError, HTTPClientError, IncompleteReadError)):
        return True
    if any(word in error_code(error).lower() for word in _TOO_MANY):
        return True
    response = getattr(error, "response", None)
    metadata = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    return int(metadata.get("HTTPStatusCode") or 0) >= 500
