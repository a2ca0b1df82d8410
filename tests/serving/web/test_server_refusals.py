"""What is no picture, and no request: one sentence each, and the server goes on."""

import json
import random
import time

from servers import head, is_right, read_answer


def test_errors_are_one_sentence(server, pictures):
    body = pictures[0].read_bytes()
    asked = {
        400: server.invoke(b"no picture"),
        406: server.invoke(body, accept="image/png"),
        413: server.invoke(bytes(20_000_001)),
        415: server.invoke(body, "application/x-pickle"),
    }
    for status, (found, answer) in asked.items():
        assert found == status
        assert set(answer) == {"error"}
        assert answer["error"].endswith(".")
    assert server.invoke(b"")[0] == 400
    assert server.invoke(body[:40])[0] == 400
    assert server.ask("/invocations")[0] == 405
    assert server.ask("/ping", b"x")[0] == 405
    assert server.ask("/ping", method="BREW")[1]["allow"] == "GET, HEAD"
    assert server.ask("/../../etc/passwd")[0] == 404
    assert server.ask("//ping")[0] == 404
    assert server.ask("/invocations/")[0] == 404


def test_a_body_that_is_too_long_is_not_read_to_its_end(server):
    client = server.connect()
    client.sendall(head(server, 10**12))
    status, headers, _ = read_answer(client)
    assert (status, headers["connection"]) == (413, "close")
    client = server.connect()
    client.sendall(head(server, 10**13, "Expect: 100-continue"))
    assert read_answer(client)[0] == 413
    client = server.connect()
    client.sendall(head(server, None, "Transfer-Encoding: chunked"))
    for _ in range(21):
        client.sendall(b"F4240\r\n" + bytes(1_000_000) + b"\r\n")
    assert read_answer(client)[0] == 413
    assert server.metrics()["dogbreed_held_bytes"] == 0


def test_expect_chunks_and_several_requests_in_one_piece(server, pictures, expected):
    body = pictures[0].read_bytes()
    client = server.connect()
    client.sendall(head(server, len(body), "Expect: 100-continue"))
    assert client.recv(100).startswith(b"HTTP/1.1 100 ")
    client.sendall(body)
    assert is_right(json.loads(read_answer(client)[2]), expected[0])
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:7], body[7:500], body[500:]))
    client.sendall(head(server, None, "Transfer-Encoding: chunked") + chunks + b"0\r\n\r\n")
    assert is_right(json.loads(read_answer(client)[2]), expected[0])
    client.sendall(b"".join(head(server, len(picture.read_bytes())) + picture.read_bytes() for picture in pictures[:3]))
    for right in expected[:3]:
        assert is_right(json.loads(_one(client)), right)


def _one(client):
    """Read an answer without taking in what comes after it."""
    text = b""
    while not text.endswith(b"\r\n\r\n"):
        text += client.recv(1)
    length = int(text.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    body = b""
    while len(body) < length:
        body += client.recv(length - len(body))
    return body


def test_lying_lengths_and_clients_that_leave(server, pictures):
    body = pictures[0].read_bytes()
    for sent in (head(server, len(body) + 100) + body, head(server, len(body)) + body, head(server, 10), b"POST /inv"):
        client = server.connect()
        client.sendall(sent)
        client.close()
    client = server.connect()
    client.sendall(head(server, 100) + body)  # what is beyond is no request
    assert read_answer(client)[0] == 400
    for lines in (
        ["Content-Length: -1"],
        ["Content-Length: 1", "Content-Length: 2"],
        ["Content-Length: " + "9" * 5000],
    ):
        client = server.connect()
        client.sendall(head(server, None, *lines))
        assert read_answer(client)[0] in (400, 413)
    _wait_until_empty(server)
    assert server.invoke(body)[0] == 200


def _wait_until_empty(server):
    deadline = time.monotonic() + 10
    while server.metrics()["dogbreed_queue_pictures"] or server.metrics()["dogbreed_held_bytes"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_mutated_requests_never_end_in_a_500(server, pictures):
    rng = random.Random(0)
    body = pictures[0].read_bytes()
    kinds = ["image/jpeg", "application/json", "multipart/form-data; boundary=x", "application/x-npy", "text/html", ""]
    whole = [
        head(server, len(body), f"Content-Type: {kind}", f"Accept: {accept}", path=f"/invocations?top_k={top_k}") + body
        for kind, accept, top_k in zip(
            kinds, ("*/*", "text/csv", "a/b", "", ",;q=", "*/*;q=x"), (1, -1, "", 9**9, "x", 5), strict=True
        )
    ]
    for _ in range(150):
        sent = bytearray(rng.choice(whole))
        for _ in range(rng.randint(1, 12)):
            place = min(int(rng.expovariate(1 / 150)), len(sent) - 1)
            sent[place : place + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
        client = server.connect(timeout_s=0.5)
        client.sendall(sent)
        try:
            answer = client.recv(100)
        except (TimeoutError, ConnectionError):
            answer = b""  # it waits for more
        client.close()
        assert not answer.startswith((b"HTTP/1.1 5", b"Traceback")), bytes(sent)
    _wait_until_empty(server)
    assert server.invoke(body)[0] == 200
    assert "Traceback" not in server.said()


def test_the_log_names_routes_and_nothing_that_clients_send(server, pictures):
    secret = "Kq7secret"
    server.ask(f"/{secret}?{secret}={secret}", headers={"User-Agent": secret, "Cookie": secret})
    server.invoke(secret.encode(), query=f"?{secret}=1")
    server.ask("/ping", method=secret.upper())
    server.invoke(pictures[0].read_bytes() + secret.encode(), f"image/{secret}")
    deadline = time.monotonic() + 10
    while "POST /invocations 200" not in server.said():
        assert time.monotonic() < deadline, server.said()
        time.sleep(0.05)
    assert "GET other 404" in server.said()
    assert secret.lower() not in server.said().lower()
    assert secret not in server.ask("/metrics")[2].decode()
