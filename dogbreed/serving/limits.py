"""How much a request may hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What is taken from a client; anything beyond it is answered with 413 before it costs memory.

    Args:
        max_body_bytes: Of a whole request, >= 1.
        max_pixels: Of each picture as its header says, before anything is decoded, >= 1.
        max_pictures: In one request, >= 1.
    """

    max_body_bytes: int = 20_000_000
    max_pixels: int = 64_000_000
    max_pictures: int = 64
