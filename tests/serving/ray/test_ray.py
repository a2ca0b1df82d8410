"""Real Ray Serve, started as Amazon's container starts it: real processes, real HTTP, real pictures."""

import base64
import csv
import io
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from http.client import HTTPException
from pathlib import Path

import pytest
import torch
from helpers import COLORS, save_picture
from PIL import Image
from ray_container import RayContainer, adapter, lay_out
from side_environment import RAY, side_python

from dogbreed import ImageClassifier, load_model, save_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

QUEUE = 12


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("trained")
    trained = ImageClassifier("test_resnet", list(COLORS), pretrained=False, input_size_px=64)
    return save_model(place / "model", trained, example=save_picture(place / "p.jpg", (200, 20, 20), 1))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Encoded pictures of several sizes and kinds."""
    folder = tmp_path_factory.mktemp("photos")
    names = ["a.jpg", "b.png", "c.webp", "d.jpg"]
    sizes = [(640, 480), (90, 200), (300, 300), (64, 64)]
    return [
        save_picture(folder / name, color, seed, size).read_bytes()
        for seed, (name, size, color) in enumerate(zip(names, sizes, [*COLORS.values(), (9, 9, 9)], strict=True))
    ]


@pytest.fixture(scope="module")
def ray(model, tmp_path_factory):
    """One replica by config.yaml, which says max_batch; the environment says the rest."""
    place = lay_out(tmp_path_factory.mktemp("opt") / "model", model)
    config = place / "config.yaml"
    more = "    deployments: [{name: dogbreed, user_config: {max_batch: 4}}]\n"
    config.write_text(config.read_text() + more)
    limits = {"DOGBREED_MAX_QUEUE": str(QUEUE), "DOGBREED_MAX_BODY_BYTES": "3000000", "DOGBREED_MAX_PIXELS": "1000000"}
    container = RayContainer(
        side_python(RAY),
        place,
        **limits,
        DOGBREED_MAX_BATCH="64",
        DOGBREED_MAX_WAIT_MS="20",
        DOGBREED_READ_TIMEOUT_S="2",
    )
    try:
        container.wait()
        yield container
    finally:
        container.stop()


def expected(model, photos):
    return [answer.to_dict() for answer in load_model(model).predict(photos, top_k=3)]


def check_same(found, wanted):
    assert [item["label"] for item in found["top"]] == [item["label"] for item in wanted["top"]]
    for one, other in zip(found["top"], wanted["top"], strict=True):
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)


def test_answers_are_those_of_predict(ray, model, photos):
    assert ray.ask("GET", "/ping")[::2] == (200, b"{}")
    for photo, wanted in zip(photos, expected(model, photos), strict=True):
        status, answer = ray.invoke(photo, "application/octet-stream")
        assert status == 200
        check_same(answer, wanted)


def test_many_at_once_in_order(ray, model, photos):
    encoded = [base64.b64encode(photo).decode() for photo in [*photos, b"no picture"]]
    status, answer = ray.invoke(json.dumps({"images": encoded}), "application/json")
    assert status == 200
    *found, broken = answer["predictions"]
    assert set(broken) == {"error"}
    for one, other in zip(found, expected(model, photos), strict=True):
        check_same(one, other)


def test_csv_and_top_k(ray, photos):
    headers = {"Content-Type": "image/png", "Accept": "text/csv"}
    status, got, body = ray.ask("POST", "/invocations?top_k=2", photos[0], headers)
    assert (status, got["Content-Type"]) == (200, "text/csv; charset=utf-8")
    assert [row["rank"] for row in csv.DictReader(io.StringIO(body.decode()))] == ["1", "2"]


def test_explanation(ray, photos):
    status, answer = ray.invoke(photos[0], path="/invocations?explain=true")
    assert status == 200
    assert max(max(row) for row in answer["explanation"]["grid"]) == 1
    assert answer["explanation"]["label"] == answer["label"]


def test_behind_amazons_server(ray, model, photos):
    with adapter(ray) as port:
        assert ray.ask("GET", "/ping", port=port)[0] == 200
        headers = {"Content-Type": "image/jpeg", "X-Amzn-SageMaker-Custom-Attributes": "top_k=1,explain=true"}
        status, _, body = ray.ask("POST", "/invocations", photos[0], headers, port=port)
        answer = json.loads(body)
        assert (status, len(answer["top"])) == (200, 1)
        assert answer["explanation"]["grid"]
        assert answer["label"] == expected(model, photos[:1])[0]["label"]
        status, headers, body = ray.ask("POST", "/invocations", b"x", {"Content-Type": "image/jpeg"}, port=port)
        assert (status, headers["Content-Type"]) == (400, "application/json")
        assert json.loads(body)["error"].startswith("These bytes are not a picture")


@pytest.mark.parametrize(
    ("content_type", "body", "accept", "status", "sentence"),
    [
        ("image/jpeg", b"", "*/*", 400, "The request has no body: send a picture."),
        ("image/jpeg", b"x" * 100, "*/*", 400, "These bytes are not a picture"),
        ("application/json", b'{"image": "../../etc/passwd"}', "*/*", 400, ""),
        ("text/plain", b"x", "*/*", 415, "Content-Type text/plain is not taken"),
        ("image/jpeg", b"x" * 3_000_001, "*/*", 413, "The body has 3,000,001 bytes, at most 3,000,000 are taken."),
        ("image/jpeg", "PHOTO", "image/png", 406, "Accept must allow"),
        ("image/png", "HUGE", "*/*", 413, "2000×1000 pixels are more than the 1,000,000 that are taken."),
    ],
)
def test_errors(ray, photos, content_type, body, accept, status, sentence):
    if body == "HUGE":
        buffer = io.BytesIO()
        Image.new("RGB", (2000, 1000)).save(buffer, "png")
        body = buffer.getvalue()
    body = photos[0] if body == "PHOTO" else body
    found, answer = ray.invoke(body, content_type, Accept=accept)
    assert found == status
    assert set(answer) == {"error"}
    assert answer["error"].startswith(sentence)


def test_unknown_places_and_methods(ray):
    assert ray.ask("GET", "/invocations")[0] == 405
    assert ray.ask("POST", "/ping", b"x")[0] == 405
    assert ray.ask("GET", "/etc/passwd")[0] == 404


def test_body_without_a_length_is_counted(ray):
    chunks = (b"x" * 100_000 for _ in range(40))
    status, _, body = ray.ask("POST", "/invocations", chunks, {"Content-Type": "image/jpeg"})
    assert (status, json.loads(body)) == (
        413,
        {"error": "The body has more than 3,000,000 bytes, which is all that is taken."},
    )


def test_slow_client(ray):
    with socket.create_connection(("127.0.0.1", ray.port), timeout=20) as client:
        client.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
        answer = b""
        while not answer.endswith(b"}") and (more := client.recv(10_000)):
            answer += more
    assert answer.startswith(b"HTTP/1.1 408")
    assert answer.endswith(b'{"error":"The body did not arrive within 2 s: send it faster, or less."}')


def test_load_is_batched_and_what_is_too_much_is_refused(ray, photos):
    answers = load(ray, photos[0], num_clients=40, seconds=4)
    counts = Counter(status for status, _, _ in answers)
    assert set(counts) == {200, 429}
    for status, headers, body in answers:
        if status == 429:
            assert int(headers["Retry-After"]) >= 1
            assert json.loads(body)["error"].startswith("The server is busy with ")
    sizes = {int(size): count for size, count in described(ray)["served_batches"].items()}
    assert max(sizes) == 4, sizes  # config.yaml's, not the environment's 64
    assert sum(size * count for size, count in sizes.items()) > 2 * sum(sizes.values()), sizes
    assert ray.invoke(photos[0])[0] == 200


def test_no_body_is_logged(ray):
    secret = b"SECRET-7f3a"
    ray.invoke(secret * 3, "image/jpeg")
    ray.invoke(json.dumps({"image": secret.decode()}), "application/json")
    said = ray.said()
    assert "POST / 400" in said
    assert secret.decode() not in said


@pytest.fixture(scope="module")
def two(model, tmp_path_factory):
    """Two replicas by SM_RAYSERVE_APP, in the container's first release: code/ is not on its path."""
    place = lay_out(tmp_path_factory.mktemp("opt") / "model", model, with_config=False)
    container = RayContainer(
        side_python(RAY), place, app="dogbreed_app:app", code_on_path=False, DOGBREED_REPLICAS="2", DOGBREED_CORES="1"
    )
    try:
        container.wait()
        yield container
    finally:
        container.stop()


def replicas(container):
    names = {pid: comm(pid) for pid in container.processes()}
    return [pid for pid, name in names.items() if name.startswith("ray::ServeRepli")]


def comm(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def test_two_replicas_share_the_work(two, model, photos):
    assert len(replicas(two)) == 2
    until = time.monotonic() + 60  # the first one answers before the second one is ready
    while len(seen := {json.dumps(described(two)["served_batches"]) for _ in range(30)}) < 2:
        assert time.monotonic() < until, seen
        assert {status for status, _, _ in load(two, photos[0], num_clients=8, seconds=1)} == {200}
    assert described(two)["num_threads"] == 1
    status, answer = two.invoke(photos[1], "image/png")
    assert status == 200
    check_same(answer, expected(model, photos)[1])


def test_killed_replica_is_replaced(two, photos):
    before = replicas(two)
    os.kill(before[0], signal.SIGKILL)
    until = time.monotonic() + 90
    while len(set(replicas(two)) - {before[0]}) < 2 or two.invoke(photos[0])[0] != 200:
        assert time.monotonic() < until, two.said()
        time.sleep(0.2)
    assert {two.invoke(photos[0])[0] for _ in range(20)} == {200}


def test_application_ends_under_load(two, photos):
    """Every request is answered, or refused because there is no application any more; none is cut off."""
    ending = threading.Thread(target=two.delete, args=("default",))  # as serve run calls it without a config.yaml
    ending.start()
    answers = load(two, photos[0], num_clients=6, seconds=60, until=lambda: not ending.is_alive())
    ending.join()
    counts = Counter(status for status, _, _ in answers)
    assert counts[200] > 0
    assert set(counts) <= {200, 404, 503}, counts
    assert two.ask("GET", "/ping")[0] == 404
    wait_for_no_replicas(two)


def test_interrupt_ends_all_but_ray(two):
    assert two.interrupt() == 0
    with pytest.raises(ConnectionRefusedError):
        two.ask("GET", "/ping")
    wait_for_no_replicas(two)


def wait_for_no_replicas(container):
    until = time.monotonic() + 60
    while replicas(container):
        assert time.monotonic() < until, container.said()
        time.sleep(0.2)


def load(container, photo, num_clients, seconds, until=lambda: False):
    """Post one picture from many clients; return status (or what has gone wrong), headers and body of each answer."""
    answers, end = [], time.monotonic() + seconds

    def client():
        while time.monotonic() < end and not until():
            try:
                answers.append(container.ask("POST", "/invocations", photo, {"Content-Type": "image/jpeg"}))
            except (OSError, HTTPException) as error:
                answers.append((repr(error), {}, b""))

    threads = [threading.Thread(target=client) for _ in range(num_clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def described(container):
    return json.loads(container.ask("GET", "/model")[2])


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"DOGBREED_MAX_BATCH": "many"}, "DOGBREED_MAX_BATCH=many must be a whole number from 1 to 1,024."),
        ({}, "/nowhere does not exist: give a run folder or a model folder."),
    ],
)
def test_what_cannot_be_built(variables, sentence):
    code = "from dogbreed.serving.ray.app import build\ntry: build('/nowhere')\nexcept Exception as e: print(e)"
    environment = {"PYTHONPATH": str(Path.cwd()), "RAY_USAGE_STATS_ENABLED": "0", **variables}
    done = subprocess.run([side_python(RAY), "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == sentence, done.stderr


def test_building_loads_no_torch(model):
    """The process that only starts the application stays small."""
    code = (
        "import sys\nfrom dogbreed.serving.ray.app import build\nbuild(sys.argv[1])\n"
        "print([name for name in ('torch', 'timm', 'lightning', 'hydra') if name in sys.modules])"
    )
    command = [side_python(RAY), "-c", code, str(model)]
    done = subprocess.run(command, env={"PYTHONPATH": str(Path.cwd())}, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
