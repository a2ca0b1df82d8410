"""The web endpoint as a process of its own: pictures a second, latency, cold start, memory; beside the network alone,
FastAPI as a notebook's author uses it, and TorchServe with AWS's handler.

The clients run on the same cores. What they use of them is counted apart: a saturated server would have answered more
by that share, `Seen.per_second` is what it would have. TorchServe is no part of the project's environment:
``DOGBREED_TORCHSERVE`` names a Python that has it (docs/serving_app.md).
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands import PHOTOS, TOP
from benchmarks.record import Row, median
from dogbreed.machine import num_cpus

NAMES = {"mobilenetv2_100": "MobileNetV2", "resnet18": "ResNet18"}
ROUNDS = 3
SECONDS = 2.5
SATURATING = 32  # clients
LADDER = (2, 4, 8, 16)
PEER_CLIENTS = 4
OF_BARE, OF_FASTAPI, OF_TORCHSERVE = 0.85, 1.2, 1.5
COLD_START_S = 4.0
_TORCHSERVE_HEALTHY = b'{\n  "status": "Healthy"\n}\n'
CLIENTS = TOP / "tests" / "many_clients.py"


@dataclass(frozen=True)
class Seen:
    """What clients saw of a server.

    Args:
        per_second: Answers a second, the clients' share of the cores counted apart.
        p50_ms: Median latency.
        p99_ms: Latency that one in a hundred was above.
    """

    per_second: float
    p50_ms: float
    p99_ms: float


@dataclass
class Running:
    """A server that runs."""

    process: subprocess.Popen
    port: int
    ready_s: float

    def ask(self, files: list[Path], clients: int, seconds: float = SECONDS) -> Seen:
        settings = {"port": self.port, "files": list(map(str, files)), "clients": clients, "seconds": seconds}
        command = [sys.executable, str(CLIENTS), json.dumps(settings)]
        seen = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        if set(seen["statuses"]) != {"200"} or seen["failures"]:
            msg = f"not every request was answered: {seen}"
            raise RuntimeError(msg)
        apart = 1 - seen["cpu_s"] / (num_cpus() * seen["seconds"])
        return Seen(seen["per_second"] / apart, seen["p50_ms"], seen["p99_ms"])

    def metric(self, name: str) -> float:
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics").read().decode()
        return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{name} "))

    def memory_mb(self) -> float:
        return _memory_mb(self.process.pid)


def run(names: tuple[str, ...] = tuple(NAMES), parts: tuple[str, ...] = ("speed", "start", "torchserve")) -> list[Row]:
    """Measure both networks, one after the other; ours and its peers in turn."""
    measures = {"speed": _speed, "start": _start, "torchserve": _beside_torchserve}
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
    with _ours(model) as ours, _fastapi(name) as fastapi:
        for server in (ours, fastapi):
            server.ask(files, 8, 1.0)
        bare, full, plain = [], [], []
        for _ in range(ROUNDS):
            before = [ours.metric(f"dogbreed_batch_pictures_{what}") for what in ("sum", "count")]
            full.append(ours.ask(files, SATURATING))
            after = [ours.metric(f"dogbreed_batch_pictures_{what}") for what in ("sum", "count")]
            batch = round((after[0] - before[0]) / (after[1] - before[1]))
            bare.append(_bare(name, batch))
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


def _start(name: str, model: Path, files: list[Path]) -> list[Row]:
    """From the command to a healthy ping, and what is in memory then and after some pictures."""
    seconds, memory = ([], []), ([], [])
    for _ in range(ROUNDS):
        for number, start in enumerate((lambda: _ours(model), lambda: _fastapi(name))):
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
    with _torchserve(name, Path(python)) as torchserve, _ours(model) as ours:
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


def _bare(name: str, batch: int) -> float:
    command = [sys.executable, "-m", "benchmarks.serving_peers", "bare", name, str(batch), str(SECONDS)]
    return float(subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True).stdout)


def _ours(model: Path):
    port = _free_port()
    return _running([sys.executable, "-m", "dogbreed.serve", str(model), "--port", str(port)], port)


def _fastapi(name: str):
    port = _free_port()
    return _running([sys.executable, "-m", "benchmarks.serving_peers", "fastapi", name, str(port)], port)


@contextmanager
def _running(command: list[str], port: int, path: str = "/ping", **options) -> Iterator[Running]:
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, **{"cwd": TOP, **options}
    )
    try:
        while not _is_healthy(port, path):
            if process.poll() is not None or time.perf_counter() - started > 120:
                msg = f"{command} did not start"
                raise RuntimeError(msg)
            time.sleep(0.02)
        yield Running(process, port, time.perf_counter() - started)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def _is_healthy(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status == 200 and answer.read() in (b"{}", _TORCHSERVE_HEALTHY)
    except OSError:
        return False


@contextmanager
def _torchserve(name: str, python: Path) -> Iterator[Running]:
    """Start TorchServe as AWS's image does, with a notebook's functions; a worker a core, a thread each."""
    port = _free_port()
    with tempfile.TemporaryDirectory() as scratch:
        code = Path(scratch, "model", "code")
        code.mkdir(parents=True)
        command = [sys.executable, "-m", "benchmarks.serving_peers", "inference_py", name]
        made = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=True)
        (code / "inference.py").write_text(made.stdout)
        settings = Path(scratch, "ts.properties")
        handler = "sagemaker_pytorch_serving_container.handler_service:handle"
        lines = ["vmargs=-XX:-UseContainerSupport", "decode_input_request=false", "disable_token_authorization=true"]
        lines += ["load_models=ALL", "enable_model_api=true", f"default_service_handler={handler}"]
        lines += [f"inference_address=http://127.0.0.1:{port}", f"management_address=http://127.0.0.1:{_free_port()}"]
        lines += [f"metrics_address=http://127.0.0.1:{_free_port()}", f"default_workers_per_model={num_cpus()}"]
        settings.write_text("\n".join(lines))
        command = [str(python.parent / "torchserve"), "--start", "--foreground", "--ncs", "--model-store", scratch]
        command += ["--models", f"model={scratch}/model", "--ts-config", str(settings)]
        environment = {
            **os.environ,
            "PYTHONPATH": str(code),
            "SAGEMAKER_PROGRAM": "inference.py",
            "OMP_NUM_THREADS": "1",
        }
        environment |= {"PATH": f"{python.parent}:{os.environ['PATH']}", "TEMP": scratch, "LOG_LOCATION": scratch}
        environment |= {"METRICS_LOCATION": scratch, "SAGEMAKER_BASE_DIR": scratch}
        with _running(command, port, cwd=scratch, env=environment) as server:
            yield server


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def _memory_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024
