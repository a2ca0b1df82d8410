"""Forms as browsers and curl send them, and as nobody should."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from python_multipart.multipart import MultipartParser
from served import LIMITS, PHOTO, encoded, form, picture, read, refused

from dogbreed.serving.errors import RequestError
from dogbreed.serving.multipart import read_multipart
from dogbreed.serving.requests import Request


def test_form_as_a_browser_sends_it():
    body, content_type = form(("image", PHOTO, "a.jpg"), ("top_k", b"2", None), ("explain", b"true", None))
    assert read(body, content_type) == Request((PHOTO,), top_k=2, explain=True)
    body, content_type = form(
        ("photos", PHOTO, "a.jpg"), ("photos", b"", ""), ("csrf", b"x", None), ("photos", b"2\r\n--xy", "b.png")
    )
    assert read(body, content_type) == Request((PHOTO, b"2\r\n--xy"), is_single=False)
    assert not read(*form(("file", PHOTO, "a.jpg"))).is_single


def test_form_as_curl_sends_it(tmp_path):
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    got = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append(read(body, self.headers["Content-Type"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    photo = tmp_path / 'na"me; filename=x.jpg'
    photo.write_bytes(PHOTO)
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.handle_request).start()
        quoted = str(photo).replace('"', '\\"')
        command = ["curl", "-sS", "-F", f'image=@"{quoted}"', "-F", "top_k=3", f"http://127.0.0.1:{server.server_port}"]
        subprocess.run(command, check=True, timeout=20)
    assert got == [Request((PHOTO,), top_k=3)]


@pytest.mark.parametrize(
    ("body", "content_type", "status", "words"),
    [
        (b"x", "multipart/form-data", 400, "names no boundary"),
        (b"x", "multipart/form-data; boundary=", 400, "names no boundary"),
        (b"x", f"multipart/form-data; boundary={'x' * 300}", 400, "names no boundary"),
        (b"x", "multipart/form-data; boundary=é", 400, "names no boundary"),
        (b"x", "multipart/form-data; boundary=xyz", 400, "is not the multipart form"),
        (b"--xyz", "multipart/form-data; boundary=xyz", 400, "no header"),
        (b"--xyz--", "multipart/form-data; boundary=xyz", 400, "no file"),
        (b"--xyz\r\n\r\n\r\n--xyz--", "multipart/form-data; boundary=xyz", 400, "no file"),
        (*form(("image", b"", "")), 400, "no file"),
        (*form(("image", PHOTO, None)), 400, "no file"),
        (form(("image", PHOTO, "a"))[0][:-6], "multipart/form-data; boundary=xyz", 400, "breaks off"),
        (*form(*[("image", PHOTO, "a")] * 5), 413, "5 pictures, at most 4"),
        (*form(*[("note", b"", None)] * 40), 413, "more than 36 parts"),
        (*form(("image", PHOTO, "a" * 9000)), 400, "Part 1 of the multipart form has no header"),
        (b"--xyz\r\n" + b"--xyz\r\n" * 300_000, "multipart/form-data; boundary=xyz", 400, "no header"),
        (*form(("image", PHOTO, "a"), ("top_k", b"9" * 1_000_000, None)), 400, "top_k must"),
    ],
)
def test_wrong_forms(body, content_type, status, words):
    found = refused(body, content_type)
    assert found[0] == status
    assert words in found[1]


def theirs(body: bytes, boundary: str) -> list[bytes]:
    """Return what python-multipart makes of a form's parts."""
    parts: list[bytearray] = []
    parser = MultipartParser(
        boundary,
        {"on_part_begin": lambda: parts.append(bytearray()), "on_part_data": lambda d, s, e: parts[-1].extend(d[s:e])},
    )
    parser.write(body)
    parser.finalize()
    return [bytes(part) for part in parts]


@given(
    st.lists(
        st.one_of(st.binary(max_size=40), st.text("\r\n-xyz", max_size=30).map(str.encode)), min_size=1, max_size=4
    )
)
def test_the_same_parts_as_python_multipart(contents):
    contents = [content for content in contents if b"\r\n--xyz" not in b"\r\n" + content] or [b"x"]
    body, content_type = form(*[("photos", content, "a.jpg") for content in contents])
    content = read_multipart(body, content_type, LIMITS)
    assert list(content.pictures) == contents == theirs(body, "xyz")


@given(
    st.binary(max_size=200),
    st.sampled_from(["application/json", "application/x-npy", "multipart/form-data; boundary=x"]),
)
def test_noise(body, content_type):
    with pytest.raises(RequestError) as caught:
        read(body, content_type)
    assert caught.value.status in (400, 413)


def test_a_form_of_nothing_but_beginnings_of_boundaries_is_read_at_once():
    import time

    body, content_type = form(("image", b"\r\n--xy" * 400_000, "a.jpg"))
    start = time.process_time()
    assert len(read(body, content_type).pictures[0]) == 2_400_000
    assert time.process_time() - start < 1


def test_pictures_are_not_looked_at_here():
    assert read(b"no picture at all", "image/jpeg").pictures == (b"no picture at all",)
    assert read(encoded(picture(1), "PNG"), "image/jpeg").pictures[0][1:4] == b"PNG"
