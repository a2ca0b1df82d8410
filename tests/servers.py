"""Real servers in processes of their own, and bare sockets to talk to them."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from children import PRELOADED, _redirect, end
from helpers import save_picture

from dogbreed.data.preprocess import Preprocessing
from dogbreed.loaded_model import LoadedModel
from dogbreed.model_folder import save_model
from dogbreed.nets.backbone import build_net

CLASSES = ("blue", "green", "red", "yellow", "white", "black", "grey")
CLIENTS = Path(__file__).with_name("many_clients.py")
JPEG = "image/jpeg"


def make_model(folder: Path, side: int = 32, architecture: str = "test_resnet") -> Path:
    """Write a model folder of an untrained network whose answers differ from picture to picture."""
    torch.manual_seed(0)
    net = build_net(architecture, len(CLASSES), input_size_px=side).eval()
    with torch.no_grad():
        net.get_classifier().weight.mul_(20)
    model = LoadedModel(net, architecture, CLASSES, Preprocessing(input_size_px=side, resize_px=side + 4))
    picture = save_picture(folder.with_name(f"{folder.name}.jpg"), (200, 40, 40), 7)
    return save_model(folder, model, example=picture, metrics={"val/acc_top1": 0.9})


@dataclass
class Server:
    """A server that runs."""

    process: object
    port: int
    output: Path
    _connections: list = field(default_factory=list)

    def said(self) -> str:
        return self.output.read_text()

    def ask(self, path, body=None, method=None, headers=(), timeout_s=30):
        """Send one request over a connection of its own; return status, headers, body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        with contextlib.closing(connection):
            connection.request(method or ("GET" if body is None else "POST"), path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def invoke(self, body, content_type=JPEG, query="", accept=None, **headers):
        """Ask for an answer; return status and what JSON or CSV says."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        headers |= {"Content-Type": content_type} | ({"Accept": accept} if accept else {})
        status, got, answer = self.ask(f"/invocations{query}", body, headers=headers)
        is_json = got["content-type"].startswith("application/json")
        return status, json.loads(answer) if is_json else answer.decode()

    def connect(self, timeout_s=20) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s)
        self._connections.append(client)
        return client

    def metrics(self) -> dict[str, float]:
        """Return what /metrics says, without buckets, labels in the names; a full server refuses at first."""
        deadline = time.monotonic() + 20
        while (answer := self.ask("/metrics"))[0] != 200:
            assert time.monotonic() < deadline, answer
            time.sleep(0.05)
        lines = answer[2].decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def memory_bytes(self) -> int:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.search(r"VmRSS:\s+(\d+)", text)[1])

    def signal(self, number=signal.SIGTERM):
        os.kill(self.process.pid, number)

    def end(self, timeout_s=60) -> int:
        """Wait for its end; return the exit code."""
        for client in self._connections:
            client.close()
        return end(self.process, timeout_s)


@contextlib.contextmanager
def serving(folder, cwd, *options, bounds=None):
    """Serve a model folder, in a process that is forked from one with torch; ends it afterwards."""
    server = start(folder, cwd, *options, bounds=bounds)
    try:
        wait_until_ready(server)
        yield server
    finally:
        if server.process.is_alive():
            server.signal()
            assert server.end() == 0, server.said()


def start(folder, cwd, *options, bounds=None) -> Server:
    """Start a server; it listens, its model may not be loaded yet."""
    context = get_context("forkserver")
    context.set_forkserver_preload([*PRELOADED, "dogbreed.serving.web.loading", "dogbreed.serving.web.server"])
    receiver, sender = context.Pipe(duplex=False)
    arguments = [str(folder), "--port", "0", *map(str, options)]
    process = context.Process(target=_serve, args=(arguments, str(cwd), bounds, sender))
    process.start()
    assert receiver.poll(60), "never started"
    output = Path(cwd, f"{process.pid}.out")
    assert receiver.recv() == process.pid
    deadline = time.monotonic() + 60
    while not (found := re.search(r"http://\S+?:(\d+)  ", output.read_text() if output.exists() else "")):
        assert time.monotonic() < deadline, output.read_text()
        time.sleep(0.01)
    return Server(process, int(found[1]), output)


def wait_until_ready(server, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while server.ask("/ping")[0] != 200:
        assert server.process.is_alive(), server.said()
        assert time.monotonic() < deadline, server.said()
        time.sleep(0.02)


def _serve(arguments, cwd, bounds, sender):
    from dogbreed import serve

    torch.set_num_threads(1)
    os.chdir(cwd)
    _redirect(f"{os.getpid()}.out")
    sender.send(os.getpid())
    sys.argv = ["dogbreed.serve", *arguments]
    if bounds:
        import dogbreed.serving.web.settings as settings

        original = settings.Bounds
        settings.Bounds = lambda: original(**bounds)
    serve.main()


def many_clients(server, files, clients, seconds, **settings):
    """Have clients in another process ask as fast as they get answers."""
    settings |= {"port": server.port, "files": [str(file) for file in files], "clients": clients, "seconds": seconds}
    command = [sys.executable, str(CLIENTS), json.dumps(settings)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def outcome(clients) -> dict:
    out, _ = clients.communicate(timeout=600)
    assert clients.returncode == 0
    return json.loads(out)


def read_answer(client: socket.socket) -> tuple[int, dict, bytes]:
    """Read one answer from a bare socket."""
    answer = http.client.HTTPResponse(client, method="POST")
    answer.begin()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()


def head(server, length=None, *lines, path="/invocations", method="POST") -> bytes:
    """Write a request's headers."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: localhost:{server.port}", "Content-Type: image/jpeg", *lines]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


def is_right(answer, expected):
    label, probability = expected
    return answer["label"] == label and answer["probability"] == pytest.approx(probability, abs=1e-5)
