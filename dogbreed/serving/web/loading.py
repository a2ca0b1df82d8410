"""From a model folder to an endpoint that is warmed up."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from dogbreed.machine import num_cpus
from dogbreed.model_folder import find_model_folder
from dogbreed.serving.predictor import Predictor
from dogbreed.serving.web.app import Endpoint
from dogbreed.serving.web.batching import Batcher
from dogbreed.serving.web.connections import Doorman
from dogbreed.serving.web.files import File, page_files
from dogbreed.serving.web.monitoring import AccessLog, Monitor
from dogbreed.serving.web.settings import Bounds, Pace, Wishes


@dataclass
class Loaded:
    """What serves, and what is said of it.

    Args:
        endpoint: Ready.
        batcher: Its threads.
        summary: One line.
    """

    endpoint: Endpoint
    batcher: Batcher
    summary: str


def load(wishes: Wishes, bounds: Bounds, doorman: Doorman, loop: asyncio.AbstractEventLoop) -> Loaded:
    """Load a model and warm it up; not on the event loop.

    Args:
        wishes: Of the command line.
        bounds: What clients may take.
        doorman: Counts connections.
        loop: Where requests come in.

    Raises:
        UserError: as `Predictor.load`.
    """
    folder = find_model_folder(wishes.folder)
    predictor = Predictor.load(folder, wishes.device, wishes.num_threads)
    described = predictor.describe()
    pace = choose_pace(wishes, is_gpu=described["device"].startswith("cuda"))
    predictor.warm_up(sorted({1, pace.max_batch}))
    bounds = replace(
        bounds, limits=replace(bounds.limits, max_pictures=min(bounds.limits.max_pictures, pace.max_queue))
    )
    monitor = Monitor()
    monitor.watch("connections", "Open connections.", lambda: len(doorman.connections))
    monitor.watch("connections_refused", "Since the start.", lambda: doorman.num_refused)
    monitor.watch("connections_evicted", "Closed for others, since the start.", lambda: doorman.num_evicted)
    monitor.watch("connections_timed_out", "Closed for slowness, since the start.", lambda: doorman.num_timed_out)
    batcher = Batcher(predictor, pace, bounds.limits, monitor, loop)
    endpoint = Endpoint(
        batcher,
        bounds,
        monitor,
        json.dumps(described).encode(),
        {**page_files(), **_example(folder)},
        is_private=wishes.is_private,
        access_log=AccessLog() if wishes.logs_access else None,
    )
    classes = f"{len(predictor.class_names)} classes"
    count = described["num_threads"]
    threads = f"{count} {'thread' if count == 1 else 'threads'}"
    return Loaded(endpoint, batcher, f"{described['architecture']}, {classes}, {described['device']}, {threads}")


def choose_pace(wishes: Wishes, *, is_gpu: bool) -> Pace:
    """Decide what the command line leaves open."""
    num_threads = torch.get_num_threads()
    if is_gpu:
        pace = Pace(max_batch=64, num_decoders=min(num_cpus(), 16), num_lanes=1, num_threads=num_threads)
    else:
        alone = 1 if num_threads < 4 else 4  # two threads that wait for each other are no faster than one
        pace = Pace(num_decoders=min(num_threads, 16), num_lanes=num_threads, num_threads=alone)
    return replace(
        pace,
        max_batch=wishes.max_batch or pace.max_batch,
        max_queue=wishes.max_queue or pace.max_queue,
        max_wait_ms=pace.max_wait_ms if wishes.max_wait_ms is None else wishes.max_wait_ms,
    )


def _example(folder: Path) -> dict[str, File]:
    file = folder / "example.jpg"
    return {"/example.jpg": File(file.read_bytes(), "image/jpeg")} if file.is_file() else {}
