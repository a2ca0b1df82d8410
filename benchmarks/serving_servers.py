"""Servers in processes of their own, ours and its peers, and what clients see of them."""

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

from benchmarks.commands import TOP
from dogbreed.machine import num_cpus

SECONDS = 2.5
CLIENTS = TOP / "tests" / "many_clients.py"
_TORCHSERVE_HEALTHY = b'{\n  "status": "Healthy"\n}\n'


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


def serve_ours(model: Path):
    port = _free_port()
    return _running([sys.executable, "-m", "dogbreed.serve", str(model), "--port", str(port)], port)


def serve_fastapi(name: str):
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
def serve_torchserve(name: str, python: Path) -> Iterator[Running]:
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
