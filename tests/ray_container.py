"""Amazon's Ray Serve container without Docker: Ray Serve started as its entry point does, from a folder laid out as
/opt/ml/model, and before it a small server that passes on what the container's passes on.

https://github.com/aws/deep-learning-containers, scripts/docker/ray: sagemaker_entrypoint.sh, sagemaker_serve.py
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dogbreed
from dogbreed.serving.ray.files import ray_files

STOP_S = 60


def lay_out(folder: Path, model: Path, *, with_config=True) -> Path:
    """Write what the packed model holds."""
    shutil.copytree(model, folder)
    package = Path(dogbreed.__file__).parent
    shutil.copytree(package, folder / "code" / "dogbreed", ignore=shutil.ignore_patterns("__pycache__", "conf"))
    for name, text in ray_files().items():
        if with_config or name != "config.yaml":
            (folder / name).write_text(text)
    return folder


class RayContainer:
    """A running Ray Serve; every process that it has started is gone after ``stop``."""

    def __init__(self, python: Path, opt_ml_model: Path, *, app=None, code_on_path=True, num_cpus=2, **environment):
        self.port, gcs_port, *others = free_ports(6)
        self.python, self.model = python, opt_ml_model
        self.folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp")).resolve()
        self.log = self.folder / "serve.log"
        paths = [opt_ml_model, *([opt_ml_model / "code"] if code_on_path else [])]
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SM_", "DOGBREED_"))},
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_SERVE_LOG_TO_STDERR": "1",
            "DOGBREED_CACHE": str(self.folder / "cache"),
            **environment,
        }
        self.environment.pop("OMP_NUM_THREADS", None)
        ports = dict(zip(("ray-client-server-port", "dashboard-agent-listen-port"), others, strict=False))
        options = [f"--{name}={port}" for name, port in ports.items()]
        self.began = time.monotonic()
        try:
            self._ray(
                *("start", "--head", f"--port={gcs_port}", "--node-ip-address=127.0.0.1", "--include-dashboard=False"),
                *("--num-gpus=0", f"--num-cpus={num_cpus}", f"--temp-dir={self.folder / 't'}", *options),
                *("--min-worker-port=0", "--max-worker-port=0", "--object-store-memory=100000000"),
            )
            self.environment["RAY_ADDRESS"] = f"127.0.0.1:{gcs_port}"
            self._serve("start", "--http-host=127.0.0.1", f"--http-port={self.port}")
            self.ray_s = time.monotonic() - self.began
            config = opt_ml_model / "config.yaml"
            self.run = self._start("run", str(config) if config.is_file() else app)
        except BaseException:
            self.stop()
            raise

    def wait(self, timeout_s=180) -> float:
        """Wait until the model answers; return the seconds since Ray's own start-up was over."""
        began = time.monotonic()
        while time.monotonic() - began < timeout_s:
            if self.run.poll() is not None:
                break
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.ask("GET", "/ping", timeout_s=timeout_s)[0] == 200:
                    return time.monotonic() - began
            time.sleep(0.1)
        raise AssertionError(self.said())

    def ask(self, method, path, body=None, headers=None, timeout_s=60, port=None):
        """Return status, headers and body."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=timeout_s)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def invoke(self, body, content_type="image/jpeg", path="/invocations", **headers):
        names = {"Content-Type": content_type} | {name.replace("_", "-"): value for name, value in headers.items()}
        status, _, answer = self.ask("POST", path, body, names)
        return status, json.loads(answer)

    def said(self) -> str:
        """Return what was printed, and what Ray Serve's parts have logged."""
        logs = sorted(self.folder.glob("t/session_*/logs/serve/*.log"))
        return "\n".join(path.read_text(errors="replace") for path in [self.log, *logs] if path.exists())

    def delete(self, application):
        """Have Ray Serve end an application, which waits for running requests."""
        code = "import sys, ray\nfrom ray import serve\nray.init()\nserve.delete(sys.argv[1])"
        subprocess.run([self.python, "-c", code, application], env=self.environment, cwd=self.folder, check=True)

    def interrupt(self) -> int:
        """Have Ray Serve end as Ctrl-C does; return the exit code."""
        self.run.send_signal(signal.SIGINT)
        return self.run.wait(STOP_S)

    def processes(self) -> list[int]:
        """Find every process that this has started, by the folder that it runs in (Ray writes over environments)."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and (entry / "cwd").readlink() == self.folder:
                    found.append(int(entry.name))
        return found

    def stop(self):
        """End every process of this cluster, and no other's."""
        until = time.monotonic() + STOP_S
        number = signal.SIGTERM
        while (pids := self.processes()) and time.monotonic() < until:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            for _ in range(30):
                if not self.processes():
                    break
                time.sleep(0.1)
            number = signal.SIGKILL
        if "run" in vars(self):
            self.run.wait(STOP_S)
        left = self.processes()
        shutil.rmtree(self.folder, ignore_errors=True)
        assert not left, left

    def _ray(self, *words):
        self._call("ray.scripts.scripts", *words)

    def _serve(self, *words):
        self._call("ray.serve.scripts", *words)

    def _call(self, module, *words):
        command = [self.python, "-m", module, *words]
        with (self.folder / "start.log").open("ab") as out:
            done = subprocess.run(
                command, env=self.environment, stdout=out, stderr=out, cwd=self.folder, timeout=180, check=False
            )
        assert done.returncode == 0, (self.folder / "start.log").read_text()

    def _start(self, *words):
        with self.log.open("ab") as out:
            command = [self.python, "-m", "ray.serve.scripts", *words]
            return subprocess.Popen(command, env=self.environment, stdout=out, stderr=out, cwd=self.folder)


@contextlib.contextmanager
def adapter(container: RayContainer):
    """Do what stands before Ray Serve in the container: a few headers go on to /, fewer come back."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            status = container.ask("GET", "/-/healthz")[0] if self.path == "/ping" else 404
            self._reply(200 if status == 200 else 503, {}, b"")

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sent = {name: value for name, value in self.headers.items() if is_amazons(name)}
            for name in ("Content-Type", "Accept"):
                sent[name] = self.headers.get(name, "application/json")
            status, headers, answer = container.ask("POST", "/", body, sent)
            kept = {name: value for name, value in headers.items() if is_amazons(name) or name == "content-type"}
            self._reply(status, kept, answer)

        def _reply(self, status, headers, body):
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def is_amazons(name):
    return name.lower().startswith("x-amzn-sagemaker-")


def free_ports(count):
    """Return ports that were free a moment ago, below those that the system gives away."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]


if __name__ == "__main__":
    # By hand: python tests/serving/ray_container.py PYTHON MODEL_FOLDER
    with tempfile.TemporaryDirectory() as place:
        running = RayContainer(Path(sys.argv[1]), lay_out(Path(place, "model"), Path(sys.argv[2])))
        try:
            print(f"Ray {running.ray_s:.1f} s, model {running.wait():.1f} s, http://127.0.0.1:{running.port}")
            time.sleep(float(sys.argv[3]) if len(sys.argv) > 3 else 600)
        finally:
            running.stop()
