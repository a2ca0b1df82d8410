"""What the server is bound by."""

from __future__ import annotations

from dataclasses import dataclass, field

from dogbreed.serving.limits import Limits


@dataclass(frozen=True)
class Pace:
    """How pictures are put together.

    Args:
        max_batch: Pictures in a forward pass, >= 1.
        max_wait_ms: How long a free network waits for pictures that are being decoded already, >= 0; it never
            waits for pictures that may come.
        max_queue: Pictures that are taken in and not answered yet, >= 1; beyond them requests are refused.
        num_decoders: Threads that decode, >= 1.
        num_lanes: Threads that run the network, >= 1. Each computes a batch of its own on one core, which gets more
            done than several threads that wait for each other layer by layer.
        num_threads: With which torch computes a batch while nothing else is to be done, >= 1.
    """

    max_batch: int = 4
    max_wait_ms: float = 0.0
    max_queue: int = 128
    num_decoders: int = 2
    num_lanes: int = 1
    num_threads: int = 1


@dataclass(frozen=True)
class Bounds:
    """What clients may take of the server's time and memory.

    Args:
        limits: Of one request.
        max_connections: Open at a time, >= 1. At the bound a newcomer takes the place of a connection that has nothing
            to say or says it slowly; if all are at work it is refused.
        max_bodies: Bodies that are being read at a time, >= 1.
        max_held_bytes: Of all bodies that are held, those of answered requests no longer, >= 1.
        head_timeout_s: For a request's first line and headers.
        body_timeout_s: For its body.
        stall_timeout_s: For a client to take in what it is sent.
        idle_timeout_s: For a connection without a request.
        answer_timeout_s: From a whole body to its answer.
        grace_s: After SIGTERM, for requests that are being answered.
        body_grace_s: After SIGTERM, for bodies that are being read.
    """

    limits: Limits = field(default_factory=Limits)
    max_connections: int = 512
    max_bodies: int = 256
    max_held_bytes: int = 256_000_000
    head_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    stall_timeout_s: float = 10.0
    idle_timeout_s: float = 60.0
    answer_timeout_s: float = 60.0
    grace_s: float = 20.0
    body_grace_s: float = 2.0


@dataclass(frozen=True)
class Wishes:
    """What the command line says; None where the machine decides.

    Args:
        folder: Run or model folder.
        device: ``auto``, ``cpu`` or ``cuda``.
        num_threads: That compute.
        max_batch: As in `Pace`.
        max_wait_ms: As in `Pace`.
        max_queue: As in `Pace`.
        is_private: Only this machine may ask.
        logs_access: Write a line per request.
    """

    folder: str
    device: str = "auto"
    num_threads: int | None = None
    max_batch: int | None = None
    max_wait_ms: float | None = None
    max_queue: int | None = None
    is_private: bool = True
    logs_access: bool = False
