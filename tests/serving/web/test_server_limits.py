"""Clients that are slow, many or greedy get their answer or a refusal, and others are served all the same."""

import json
import socket
import threading
import time

import pytest
from servers import head, many_clients, outcome, read_answer, serving

BOUNDS = {
    "max_connections": 24,
    "max_bodies": 8,
    "max_held_bytes": 3_000_000,
    "head_timeout_s": 1.0,
    "body_timeout_s": 1.0,
    "stall_timeout_s": 1.0,
    "idle_timeout_s": 2.0,
}


@pytest.fixture(scope="module")
def narrow(small_model, tmp_path_factory):
    """A server that takes little."""
    folder = tmp_path_factory.mktemp("narrow")
    with serving(small_model, folder, "--max-queue", 4, "--max-batch", 2, bounds=BOUNDS) as running:
        yield running


def closed_after(client, limit_s=10.0):
    """Wait until the server closes a connection; return what it has said."""
    client.settimeout(limit_s)
    said = b""
    while part := client.recv(10_000):
        said += part
    return said


def test_a_slow_head_and_a_slow_body_are_timed_out(narrow, pictures):
    silent, dripping_head, dripping_body = (narrow.connect() for _ in range(3))
    dripping_body.sendall(head(narrow, 1000))
    dripping_head.sendall(b"POST /invocations HTTP/1.1\r\n")
    started = time.monotonic()
    until = started + 3
    while time.monotonic() < until:
        for client, drop in ((dripping_head, b"X-A: b\r\n"), (dripping_body, b"x")):
            try:
                client.sendall(drop)
            except OSError:
                until = 0
        time.sleep(0.1)
    status, headers, answer = read_answer(dripping_body)
    assert (status, headers["connection"]) == (408, "close")
    assert "1 second" in json.loads(answer)["error"]
    assert closed_after(dripping_head).startswith(b"HTTP/1.1 408 ")
    assert closed_after(silent).startswith(b"HTTP/1.1 408 ")
    assert narrow.invoke(pictures[0].read_bytes())[0] == 200


def test_an_idle_connection_is_closed(narrow):
    client = narrow.connect()
    client.sendall(head(narrow, path="/ping", method="GET"))
    assert read_answer(client)[0] == 200
    started = time.monotonic()
    assert closed_after(client) == b""
    assert 1 < time.monotonic() - started < 8


def test_slow_clients_make_room_for_others(narrow, pictures):
    slow = [narrow.connect() for _ in range(BOUNDS["max_connections"])]
    for client in slow:
        client.sendall(b"POST /invocations HTTP/1.1\r\n")
    time.sleep(0.6)
    body = pictures[0].read_bytes()
    statuses = []
    for _ in range(20):
        try:
            statuses.append(narrow.invoke(body)[0])
        except OSError:  # refused before it was read
            statuses.append(0)
        time.sleep(0.1)
    assert statuses[-5:] == [200] * 5
    for client in slow:
        client.close()


def test_idle_connections_make_room_at_once(narrow, pictures):
    idle = [narrow.connect() for _ in range(BOUNDS["max_connections"])]
    for client in idle:
        client.sendall(head(narrow, path="/ping", method="GET"))
        assert read_answer(client)[0] == 200
    assert narrow.invoke(pictures[0].read_bytes())[0] == 200
    assert narrow.metrics()["dogbreed_connections_evicted"] >= 1
    for client in idle:
        client.close()


def test_a_client_that_takes_in_nothing_is_left(narrow):
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(20)
    client.connect(("127.0.0.1", narrow.port))
    before = narrow.metrics()["dogbreed_connections_timed_out"]
    deadline = time.monotonic() + 15
    try:
        client.settimeout(0.5)
        while True:  # requests for the largest answer, until the server takes no more
            client.sendall(head(narrow, path="/metrics", method="GET") * 50)
    except OSError:
        pass
    while narrow.metrics()["dogbreed_connections_timed_out"] == before:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    client.close()


def test_too_many_bodies_and_too_much_memory(narrow, pictures):
    held = [narrow.connect() for _ in range(3)]
    for client in held:
        client.sendall(head(narrow, 1_000_000) + bytes(900_000))
    time.sleep(0.3)
    assert narrow.metrics()["dogbreed_held_bytes"] == 2_700_000
    status, headers, answer = narrow.ask("/invocations", bytes(800_000))
    assert (status, int(headers["retry-after"]) >= 1) == (429, True)
    assert b"memory" in answer
    more = [narrow.connect() for _ in range(5)]
    for client in more:
        client.sendall(head(narrow, 100))
    time.sleep(0.3)
    status, headers, answer = narrow.ask("/invocations", pictures[0].read_bytes())
    assert (status, "retry-after" in headers) == (429, True)
    for client in [*held, *more]:
        client.close()
    time.sleep(0.3)
    assert narrow.metrics()["dogbreed_held_bytes"] == narrow.metrics()["dogbreed_reading_bodies"] == 0
    assert narrow.invoke(pictures[0].read_bytes())[0] == 200


def test_more_pictures_than_can_wait_are_refused_for_good(narrow, pictures):
    part = b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\n' + pictures[0].read_bytes() + b"\r\n"
    kind = "multipart/form-data; boundary=x"
    assert len(narrow.invoke(part * 4 + b"--x--\r\n", kind)[1]["predictions"]) == 4
    assert narrow.invoke(part * 5 + b"--x--\r\n", kind)[0] == 413


def test_twice_as_many_clients_as_can_be_served(narrow, pictures, expected):
    """Whoever is taken in gets the right answer; the others are told when to come again; nobody is left without."""
    before = narrow.memory_bytes()
    clients = many_clients(narrow, pictures, 16, 3, expected=expected)
    pings = []
    while clients.poll() is None:
        started = time.monotonic()
        pings.append((narrow.ask("/ping")[0], time.monotonic() - started))
        time.sleep(0.2)
    seen = outcome(clients)
    assert set(seen["statuses"]) == {"200", "429"}
    assert seen["statuses"]["200"] > 20
    assert not seen["failures"]
    assert not seen["wrong"]
    assert {status for status, _ in pings} == {200}
    after = narrow.metrics()
    assert after['dogbreed_rejected_total{reason="busy"}'] >= seen["statuses"]["429"]
    assert after["dogbreed_queue_pictures"] == after["dogbreed_held_bytes"] == 0
    assert narrow.memory_bytes() - before < 100e6
    assert narrow.invoke(pictures[0].read_bytes())[0] == 200


def test_clients_that_leave_make_room(narrow, pictures):
    body = pictures[0].read_bytes()
    stop = threading.Event()

    def come_and_go():
        while not stop.is_set():
            client = socket.create_connection(("127.0.0.1", narrow.port), timeout=10)
            client.sendall(head(narrow, len(body)) + body)
            client.close()

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    stop.set()
    for thread in threads:
        thread.join()
    deadline = time.monotonic() + 10
    while narrow.metrics()["dogbreed_queue_pictures"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert narrow.invoke(body)[0] == 200
