"""A server's beginning and end: cold start, signals, what it may not begin with."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import Answer
from servers import head, many_clients, read_answer, serving, start, wait_until_ready

TOP = Path(__file__).resolve().parents[2]
# What must not be there when a model has been loaded, and what it said.
WATCHED = """
import atexit, sys
from dogbreed.serve import main
unwanted = ("lightning", "hydra", "omegaconf", "smdebug", "fastapi", "matplotlib", "torch._dynamo")
atexit.register(lambda: print("imported:", *(name for name in unwanted if name in sys.modules)))
main()
"""


def test_from_a_cold_start_to_the_end_by_a_signal(small_model, tmp_path):
    command = [sys.executable, "-c", WATCHED, str(small_model), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(TOP)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, text=True, **pipes) as process:
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)  ", process.stdout.readline())[1])
        assert f"curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' http://127.0.0.1:{port}/invocations" in (
            process.stdout.readline()
        )
        seen = set()
        deadline = time.monotonic() + 120

        def get(path):
            with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
                client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                return read_answer(client)

        status, headers, body = get("/")  # whoever opens the address at once sees the page, which waits for the model
        assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert b"<title>" in body
        assert "content-security-policy" in headers
        while 200 not in seen:
            assert time.monotonic() < deadline
            status, headers, body = get("/ping")
            seen.add(status)
            if status == 503:
                assert "loaded" in json.loads(body)["error"]
                assert headers["x-content-type-options"] == "nosniff"
        assert seen == {503, 200}  # it listened at once
        assert re.fullmatch(
            r"Ready after \d+\.\d s: test_resnet, 7 classes, cpu, \d+ threads?\.\n", process.stdout.readline()
        )
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert out == "imported:\n"
    assert err == ""


def test_a_signal_lets_running_requests_finish(small_model, tmp_path, pictures, expected):
    with serving(small_model, tmp_path, "--max-queue", 100, bounds={"body_grace_s": 1.0}) as server:
        body = pictures[0].read_bytes()
        half = server.connect()
        half.sendall(head(server, len(body)) + body[:10])
        never = server.connect()
        never.sendall(head(server, len(body)) + body[:10])
        clients = many_clients(server, pictures, 8, 6, expected=expected)
        while server.metrics().get("dogbreed_request_seconds_count", 0) < 40:
            time.sleep(0.05)
        started = time.monotonic()
        server.signal()
        time.sleep(0.3)
        half.sendall(body[10:])
        assert read_answer(half)[0] == 200
        assert read_answer(never)[0] == 408
        assert server.end() == 0
        assert time.monotonic() - started < 10
        clients.terminate()
        clients.wait()
        assert "Traceback" not in server.said()


def test_whoever_was_taken_in_before_the_signal_gets_an_answer(small_model, tmp_path, pictures, expected):
    with serving(small_model, tmp_path, "--max-batch", 1) as server:
        sent = []
        for number in [*range(len(pictures))] * 6:
            body = pictures[number].read_bytes()
            sent.append((server.connect(), expected[number]))
            sent[-1][0].sendall(head(server, len(body)) + body)
        while server.metrics()['dogbreed_pictures_total{outcome="answered"}'] < 1:
            time.sleep(0.01)
        server.signal()
        for client, (label, probability) in sent:
            status, _, answer = read_answer(client)
            made = json.loads(answer)
            assert (status, made["label"]) == (200, label)
            assert made["probability"] == pytest.approx(probability, abs=1e-5)
        assert server.end() == 0


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(small_model, tmp_path, first):
    server = start(small_model, tmp_path)
    wait_until_ready(server)
    client = server.connect()
    client.sendall(head(server, 100))
    time.sleep(0.2)
    server.signal(first)
    time.sleep(0.3)
    assert server.process.is_alive()  # it waits for the body
    server.signal(signal.SIGTERM)
    assert server.end(5) == 128 + signal.SIGTERM


def test_a_signal_while_the_model_is_being_loaded(small_model, tmp_path):
    server = start(small_model, tmp_path)
    server.signal()
    assert server.end(20) == 0
    assert "Traceback" not in server.said()


# -- what it does not begin with -----------------------------------------------------------------------------------


def test_a_port_in_use(cli, small_model):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        answer = cli("serve", small_model, "--port", port)
    assert answer == Answer(2, "", answer.err)
    assert answer.err == (
        f"Error: Port {port} is in use by another program: choose another one with --port, or 0 for any that is free.\n"
    )


def _newer(folder):
    info = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**info, "format_version": 99}))


def _without_weights(folder):
    (folder / "model.safetensors").unlink()


def _other_weights(folder):
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\1\2\3\4")


@pytest.mark.parametrize(
    ("damage", "match"),
    [(_newer, "format version 99"), (_without_weights, "cannot be read"), (_other_weights, "checksum differs")],
)
def test_damaged_model_folders(cli, small_model, tmp_path, damage, match):
    shutil.copytree(small_model, tmp_path / "model")
    damage(tmp_path / "model")
    answer = cli("serve", tmp_path / "model", "--port", 0)
    assert answer.code == 2
    assert match in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["nowhere"], "nowhere does not exist: give a run folder or a model folder"),
        (["{empty}"], "neither a run folder nor a model folder"),
        (["{model}", "--port", "70000"], "--port 70000 must be from 0 to 65535"),
        (["{model}", "--max-batch", "0"], "--max-batch 0 must be from 1 to 4096"),
        (["{model}", "--max-queue", "0"], "--max-queue 0 must be from 1 to 100000"),
        (["{model}", "--max-wait-ms", "-1"], "--max-wait-ms -1.0 must be from 0 to 10000"),
        (["{model}", "--max-wait-ms", "nan"], "--max-wait-ms nan must be from 0 to 10000"),
        (["{model}", "--threads", "0"], "--threads 0 must be from 1 to 1024"),
        (["{model}", "--host", "no such host"], "--host no such host is no address of this machine"),
        (["{model}", "--host", "192.0.2.1"], "--host 192.0.2.1 is no address of this machine"),
        (["{model}", "--device", "tpu"], "device=tpu"),
        (["{model}", "--port", "many"], "--port"),
        ([], "RUN_OR_MODEL_FOLDER"),
    ],
)
def test_wrong_words(cli, small_model, tmp_path, words, match):
    (tmp_path / "empty").mkdir()
    words = [word.format(model=small_model, empty=tmp_path / "empty") for word in words]
    answer = cli("serve", *words, *([] if "--port" in words else ["--port", "0"]))
    assert answer.code == 2
    assert match in answer.err
    assert "Traceback" not in answer.err
