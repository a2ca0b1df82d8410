"""The web endpoint over HTTP, in a process of its own: what it answers, and that nothing makes it fail."""

import base64
import csv
import io
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from servers import CLASSES, head, read_answer

from dogbreed.data.decode import decode_image


def is_right(answer, expected):
    label, probability = expected
    return answer["label"] == label and answer["probability"] == pytest.approx(probability, abs=1e-5)


# -- what is answered ----------------------------------------------------------------------------------------------


def test_a_photo_gets_the_answer_that_predict_gives(server, pictures, expected):
    for picture, right in zip(pictures, expected, strict=True):
        status, answer = server.invoke(picture.read_bytes())
        assert status == 200
        assert is_right(answer, right)
        assert answer["top"][0]["label"] == right[0]
        assert len(answer["top"]) == 5


def test_the_same_pixels_in_every_form(server, pictures, expected):
    pixels = Image.open(pictures[0])
    forms = {}
    for name in ("PNG", "WEBP"):
        buffer = io.BytesIO()
        pixels.save(buffer, name, **({"lossless": True} if name == "WEBP" else {}))
        forms[f"image/{name.lower()}"] = buffer.getvalue()
    forms["application/octet-stream"] = pictures[0].read_bytes()
    forms["image/png; charset=binary"] = pictures[0].read_bytes()  # the bytes decide
    forms["application/json"] = json.dumps({"image": base64.b64encode(pictures[0].read_bytes()).decode()}).encode()
    buffer = io.BytesIO()
    np.save(buffer, decode_image(pictures[0]).permute(1, 2, 0).numpy())
    forms["application/x-npy"] = buffer.getvalue()
    for content_type, body in forms.items():
        status, answer = server.invoke(body, content_type)
        assert status == 200, (content_type, answer)
        assert is_right(answer, expected[0]), content_type


def test_several_pictures_in_order_with_one_that_is_none(server, pictures, expected):
    encoded = [base64.b64encode(picture.read_bytes()).decode() for picture in pictures]
    encoded.insert(2, base64.b64encode(b"no picture").decode())
    status, answer = server.invoke(json.dumps({"images": encoded}).encode(), "application/json")
    assert status == 200
    assert set(answer) == {"predictions"}
    broken = answer["predictions"].pop(2)
    assert set(broken) == {"error"}
    assert all(is_right(made, right) for made, right in zip(answer["predictions"], expected, strict=True))


def test_multipart_and_csv(server, pictures, expected):
    parts = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="a"; filename="a.jpg"\r\n\r\n' + picture.read_bytes() + b"\r\n"
        for picture in pictures[:2]
    )
    kind = "multipart/form-data; boundary=x"
    status, text = server.invoke(parts + b"--x--\r\n", kind, "?top_k=2", accept="text/csv")
    assert status == 200
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["picture"], row["rank"]) for row in rows] == [("0", "1"), ("0", "2"), ("1", "1"), ("1", "2")]
    assert [rows[0]["label"], rows[2]["label"]] == [label for label, _ in expected[:2]]


def test_wishes_in_the_query_and_in_sagemakers_header(server, pictures):
    body = pictures[0].read_bytes()
    _, answer = server.invoke(body, query="?top_k=2&explain=true")
    assert len(answer["top"]) == 2
    assert answer["explanation"]["label"] == answer["label"]
    _, answer = server.invoke(body, X_Amzn_SageMaker_Custom_Attributes="top_k=3,explain=true")
    assert len(answer["top"]) == 3
    assert "explanation" in answer
    _, answer = server.invoke(body, query="?top_k=1", X_Amzn_SageMaker_Custom_Attributes="top_k=3")
    assert len(answer["top"]) == 1
    assert server.invoke(body, query="?top_k=none")[0] == 400
    assert server.invoke(body, query="?" + "&".join(f"k{number}=1" for number in range(50)))[0] == 400


def test_explanations_at_the_same_time_do_not_mix(server, pictures):
    bodies = [picture.read_bytes() for picture in pictures]
    alone = [server.invoke(body, query="?explain=true")[1] for body in bodies]
    with ThreadPoolExecutor(8) as pool:
        queries = ["?explain=true", "?top_k=2"] * 9
        together = list(pool.map(lambda body, query: server.invoke(body, query=query), bodies * 2, queries))
    for number, (status, answer) in enumerate(together):
        expected = alone[number % len(bodies)]
        assert status == 200
        assert answer["label"] == expected["label"]
        if number % 2 == 0:
            assert answer["explanation"]["crop"] == expected["explanation"]["crop"]
            assert np.allclose(answer["explanation"]["grid"], expected["explanation"]["grid"], atol=2e-3)
        else:
            assert "explanation" not in answer


def test_the_model_and_its_example(server, small_model):
    status, headers, body = server.ask("/model")
    assert (status, headers["content-type"]) == (200, "application/json")
    described = json.loads(body)
    assert described["class_names"] == list(CLASSES)
    assert described["metrics"] == {"val/acc_top1": 0.9}
    status, headers, body = server.ask("/example.jpg")
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    assert body == (small_model / "example.jpg").read_bytes()


def test_ping(server):
    status, _, body = server.ask("/ping")
    assert (status, body) == (200, b"{}")
    status, headers, body = server.ask("/ping", method="HEAD")
    assert (status, headers["content-length"], body) == (200, "2", b"")


def test_metrics_are_prometheus_text_and_count(server, pictures):
    before = server.metrics()
    for _ in range(3):
        server.invoke(pictures[0].read_bytes())
    server.invoke(b"no picture")
    text = server.ask("/metrics")[2].decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["dogbreed_request_seconds"].type == "histogram"
    assert families["dogbreed_batch_pictures"].type == "histogram"
    after = server.metrics()

    def grown(name):
        return after[name] - before.get(name, 0)

    assert grown('dogbreed_requests_total{route="/invocations",status="200"}') == 3
    assert grown('dogbreed_requests_total{route="/invocations",status="400"}') == 1
    assert grown('dogbreed_pictures_total{outcome="answered"}') == 3
    assert grown('dogbreed_pictures_total{outcome="unreadable"}') == 1
    assert grown("dogbreed_request_seconds_count") == 3
    assert grown("dogbreed_batch_pictures_sum") == 3
    assert grown("dogbreed_network_busy_seconds_total") > 0
    assert after["dogbreed_queue_pictures"] == after["dogbreed_held_bytes"] == 0
    assert after["process_resident_memory_bytes"] > 1e7


def test_every_answer_keeps_the_page_safe(server, pictures):
    asked = [server.ask(path) for path in ("/ping", "/model", "/metrics", "/example.jpg", "/nowhere", "/")]
    asked += [
        server.ask("/invocations", pictures[0].read_bytes()),
        server.ask("/invocations", b"x"),
        server.ask("/invocations"),
    ]
    client = server.connect()
    client.sendall(b"nonsense\r\n\r\n")
    asked.append(read_answer(client))
    for _, headers, _ in asked:
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers
        assert not any(name.startswith("access-control") for name in headers)
    assert [status for status, _, _ in asked[:5]] == [200, 200, 200, 200, 404]


# -- who may ask ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "192.168.0.1", "localhost.evil.example", "", "[::2]"]
)
def test_other_names_for_this_machine_are_refused(server, pictures, host):
    for path, body in (("/", None), ("/ping", None), ("/invocations", pictures[0].read_bytes())):
        status, _, answer = server.ask(path, body, headers={"Host": host})
        assert status == 403
        assert b"--host" in answer


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:80", "127.1.2.3", "[::1]:8080"])
def test_names_of_this_machine(server, host):
    assert server.ask("/ping", headers={"Host": host})[0] == 200


def test_pages_from_elsewhere_are_refused(server, pictures):
    body = pictures[0].read_bytes()
    here = f"127.0.0.1:{server.port}"
    for origin, status in (
        (f"http://{here}", 200),
        ("http://evil.example", 403),
        ("null", 403),
        ("http://localhost", 403),
    ):
        assert server.invoke(body, Origin=origin, Host=here)[0] == status


# -- what is no picture, and no request ----------------------------------------------------------------------------


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
