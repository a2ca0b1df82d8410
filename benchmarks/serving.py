"""The web endpoint as a process of its own: pictures a second, latency, cold start, memory; beside the network alone,
FastAPI as a notebook's author uses it, and TorchServe with AWS's handler.

The clients run on the same cores. What they use of them is counted apart: a saturated server would have answered more
by that share, `Seen.per_second` is what it would have. TorchServe is no part of the project's environment:
``DOGBREED_TORCHSERVE`` names a Python that has it (docs/serving_app.md).
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.commands import PHOTOS, TOP
from benchmarks.record import Row, median
from benchmarks.serving_servers import SECONDS, Running, Seen, serve_fastapi, serve_ours, serve_torchserve
from dogbreed.machine import num_cpus

NAMES = {"mobilenetv2_100": "MobileNetV2", "resnet18": "ResNet18"}
PARTS = ("speed", "overhead", "start", "torchserve")
ROUNDS = 3
SATURATING = 32  # clients
LADDER = (2, 4, 8, 16)
PEER_CLIENTS = 4
OF_BARE, OF_FASTAPI, OF_TORCHSERVE = 0.85, 1.2, 1.5
COLD_START_S = 4.0


def run(names: tuple[str, ...] = tuple(NAMES), parts: tuple[str, ...] = PARTS) -> list[Row]:
    """Measure both networks, one after the other; ours and its peers in turn."""
    measures = dict(zip(PARTS, (_speed, _overhead, _start, _beside_torchserve), strict=True))
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        files = _pictures(Path(scratch))
        for name in names:
            model = _make_model(Path(scratch, name), name)
            for part in parts:
                rows += measures[part](name, model, files)
    return rows


def _speed(name: str, model: Path, files: list[Path]) -> list[Row]:
    """At saturation beside the network alone; at equal latency beside FastAPI."""
    with serve_ours(model) as ours, serve_fastapi(name) as fastapi:
        for server in (ours, fastapi):
            server.ask(files, 8, 1.0)
        bare, full, plain = [], [], []
        for _ in range(ROUNDS):
            seen, batch = _saturated(ours, files)
            full.append(seen)
            bare.append(_alone("bare", name, batch))
            plain.append(fastapi.ask(files, PEER_CLIENTS))
        seen, peer = _middle(full), _middle(plain)
        ladder = [ours.ask(files, clients, 2.0) for clients in LADDER]
    fitting = [one for one in ladder if one.p99_ms <= peer.p99_ms] or ladder[:1]
    best = max(fitting, key=lambda one: one.per_second)
    title, at_full = _titles(name)
    plain_name = f"FastAPI without batching, {PEER_CLIENTS} clients"
    return [
        _row(
            f"{at_full}: pictures", seen.per_second, f"bare forward, batches of {batch}", median(bare), "1/s", OF_BARE
        ),
        _row(f"{at_full}: median latency", seen.p50_ms, plain_name, peer.p50_ms, "ms"),
        _row(f"{at_full}: 99th percentile", seen.p99_ms, plain_name, peer.p99_ms, "ms"),
        _row(
            f"{title}, 99th percentile {best.p99_ms:.0f} ms: pictures",
            best.per_second,
            f"FastAPI without batching, 99th percentile {peer.p99_ms:.0f} ms",
            peer.per_second,
            "1/s",
            OF_FASTAPI,
        ),
    ]


def _overhead(name: str, model: Path, files: list[Path]) -> list[Row]:
    """What is left of the network's speed when HTTP, queue and decoding are added."""
    full, alone = [], []
    with serve_ours(model) as ours:
        ours.ask(files, 8, 1.0)
        for _ in range(ROUNDS):
            seen, batch = _saturated(ours, files)
            full.append(seen)
            alone.append(_alone("quick", str(model), batch))
    _, at_full = _titles(name)
    peer_name = f"the same quickened network alone, batches of {batch}"
    return [_row(f"{at_full}: pictures", _middle(full).per_second, peer_name, median(alone), "1/s", OF_BARE)]


def _start(name: str, model: Path, files: list[Path]) -> list[Row]:
    """From the command to a healthy ping, and what is in memory then and after some pictures."""
    seconds, memory = ([], []), ([], [])
    for _ in range(ROUNDS):
        for number, start in enumerate((lambda: serve_ours(model), lambda: serve_fastapi(name))):
            with start() as server:
                seconds[number].append(server.ready_s)
                server.ask(files, PEER_CLIENTS, 1.0)
                memory[number].append(server.memory_mb())
    title, _ = _titles(name)
    case = f"{title}: command to healthy ping"
    return [
        Row("serving", case, median(seconds[0]), "limit", COLD_START_S, "s", 1.0, "max"),
        _row(case, median(seconds[0]), "FastAPI without batching", median(seconds[1]), "s"),
        _row(f"{title}: resident memory", median(memory[0]), "FastAPI without batching", median(memory[1]), "MB"),
    ]


def _beside_torchserve(name: str, model: Path, files: list[Path]) -> list[Row]:
    """At saturation beside TorchServe, where there is one."""
    python = os.environ.get("DOGBREED_TORCHSERVE")
    if not python:
        return []
    seen, theirs = [], []
    with serve_torchserve(name, Path(python)) as torchserve, serve_ours(model) as ours:
        for server in (torchserve, ours):
            server.ask(files, 8, 2.0)
        for _ in range(ROUNDS):
            seen.append(ours.ask(files, SATURATING))
            theirs.append(torchserve.ask(files, SATURATING))
    mine, other = _middle(seen), _middle(theirs)
    peer_name = "TorchServe 0.12 with AWS's handler"
    _, at_full = _titles(name)
    return [
        _row(
            f"{at_full}, beside TorchServe: pictures",
            mine.per_second,
            peer_name,
            other.per_second,
            "1/s",
            OF_TORCHSERVE,
        ),
        _row(f"{at_full}, beside TorchServe: 99th percentile", mine.p99_ms, peer_name, other.p99_ms, "ms"),
    ]


def _titles(name: str) -> tuple[str, str]:
    title = f"{NAMES[name]}, {num_cpus()} cores"
    return title, f"{title}, {SATURATING} clients"


def _row(case: str, ours: float, peer_name: str, peer: float, unit: str, target: float | None = None) -> Row:
    return Row("serving", case, ours, peer_name, peer, unit, target)


def _middle(seen: list[Seen]) -> Seen:
    columns = zip(*((one.per_second, one.p50_ms, one.p99_ms) for one in seen), strict=True)
    return Seen(*map(median, columns))


def _pictures(scratch: Path) -> list[Path]:
    """Return photographs of dogs; the drawn sample where they are missing."""
    files = sorted((PHOTOS["dogs-small"] / "valid").rglob("*.jpg"))[:64]
    if files:
        return files
    import numpy as np

    from dogbreed.data.sample.breeds import BREEDS
    from dogbreed.data.sample.drawing import draw_picture

    drawn = [scratch / f"{number}.jpg" for number in range(16)]
    for number, file in enumerate(drawn):
        picture = draw_picture(BREEDS[number % len(BREEDS)], np.random.default_rng(number), 400, 320)
        picture.save(file, quality=90)
    return drawn


def _make_model(folder: Path, name: str) -> Path:
    """Write an untrained network of 120 classes: its weights change nothing about its speed."""
    import torch

    from dogbreed.data.preprocess import Preprocessing
    from dogbreed.loaded_model import LoadedModel
    from dogbreed.model_folder import save_model
    from dogbreed.nets.backbone import build_net

    torch.manual_seed(0)
    net = build_net(name, 120, input_size_px=224).eval()
    classes = tuple(f"breed {number}" for number in range(120))
    return save_model(folder, LoadedModel(net, name, classes, Preprocessing.of(name)))


def _saturated(ours: Running, files: list[Path]) -> tuple[Seen, int]:
    """Ask more than can be answered at once; return the mean size of batches, too."""
    names = [f"dogbreed_batch_pictures_{what}" for what in ("sum", "count")]
    before = [ours.metric(name) for name in names]
    seen = ours.ask(files, SATURATING)
    pictures, batches = (ours.metric(name) - was for name, was in zip(names, before, strict=True))
    return seen, round(pictures / batches)


def _alone(what: str, which: str, batch: int) -> float:
    command = [sys.executable, "-m", "benchmarks.serving_peers", what, which, str(batch), str(SECONDS)]
    return float(subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True).stdout)
