"""The web endpoint over HTTP, in a process of its own: what it answers, and that nothing makes it fail."""

import base64
import csv
import io
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from servers import CLASSES, is_right, read_answer

from dogbreed.data.decode import decode_image

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
