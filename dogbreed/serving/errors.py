"""The one error that a client can mend."""

from __future__ import annotations


class RequestError(Exception):
    """What is wrong with a request, for whoever has sent it.

    Args:
        status: HTTP status, 400..599.
        sentence: One clear sentence; never a part of the body.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(status, sentence)  # both, so that it can travel between processes
        self.status = status
        self.sentence = sentence

    def __str__(self) -> str:
        return self.sentence
