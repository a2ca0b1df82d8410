"""Whatever is sent is read as it was meant, or refused with a sentence that says what is wrong."""

import json
import tracemalloc

import numpy as np
import pytest
import torch
from served import B64, PHOTO, npy, read, refused

from dogbreed.serving.requests import Request, read_custom_attributes


@pytest.mark.parametrize("content_type", ["image/jpeg", "image/png", "IMAGE/WEBP; q=1", "application/octet-stream", ""])
def test_raw_bytes(content_type):
    assert read(PHOTO, content_type) == Request((PHOTO,), top_k=5, explain=False, is_single=True)


def test_json_forms():
    assert read({"image": B64}) == Request((PHOTO,))
    assert read({"image": f"data:image/jpeg;base64,{B64}", "top_k": 2, "explain": True}) == Request(
        (PHOTO,), top_k=2, explain=True
    )
    assert read({"images": [B64, B64]}) == Request((PHOTO, PHOTO), is_single=False)
    assert read({"instances": [{"b64": B64}]}, top_k="3") == Request((PHOTO,), top_k=3, is_single=False)
    assert read(b"\xef\xbb\xbf" + json.dumps({"image": B64}).encode()) == Request((PHOTO,))


def test_options_of_the_body_count_more_than_those_of_the_address():
    assert read({"image": B64, "top_k": 2}, top_k="7", explain="true") == Request((PHOTO,), top_k=2, explain=True)
    assert read({"image": B64, "top_k": None}, top_k="7").top_k == 7
    assert read(PHOTO, "image/jpeg", explain="False", trace="x").explain is False


@pytest.mark.parametrize("top_k", ["0", "-1", "1001", "1e2", "²", " 1", "", "9" * 5000, 0, 1.0, True, [1], "five"])
def test_top_k_out_of_range(top_k):
    if isinstance(top_k, str):
        assert refused(PHOTO, "image/jpeg", top_k=top_k) == (400, "top_k must be a whole number from 1 to 1000.")
    else:
        assert refused({"image": B64, "top_k": top_k}) == (400, "top_k must be a whole number from 1 to 1000.")


def test_explain_of_another_type():
    for value in ("maybe", "", "2"):
        assert refused(PHOTO, "image/jpeg", explain=value) == (400, "explain must be true or false.")
    for value in (1, 0, [], {}):
        assert refused({"image": B64, "explain": value}) == (400, "explain must be true or false.")


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "no body"),
        (b"{", 400, "not JSON (Expecting property name"),
        (b"\xff\xfe{", 400, "UTF-8"),
        (b"[]", 400, "must be an object"),
        (b'"x"', 400, "must be an object"),
        (b"{}", 400, "no picture"),
        (b"[" * 100_000, 413, "more than 4 pictures"),
        (b'{"a":' * 30 + b"1" + b"}" * 30, 400, "unknown key, 'a'"),
        (b'{"image": NaN}', 400, "out of range"),
        (b'{"top_k": Infinity}', 400, "out of range"),
        (b'{"top_k": 1' + b"0" * 5000 + b"}", 400, "out of range"),
        ({"images": []}, 400, "no picture"),
        ({"images": [B64] * 5}, 413, "5 pictures, at most 4"),
        ({"images": {"0": B64}}, 400, "images must be a list"),
        ({"images": B64}, 400, "images must be a list"),
        ({"images": [B64, 7]}, 400, "images[1] must be a text in base64"),
        ({"image": None}, 400, "image must be a text"),
        ({"image": ""}, 400, "image is empty"),
        ({"image": "data:image/png,abc"}, 400, "image is a data: address without base64"),
        ({"image": "data:image/png;base64"}, 400, "image is a data: address without base64"),
        ({"images": [B64, B64[:-3]]}, 400, "images[1] is not base64 ("),
        ({"image": B64[:40] + "\n" + B64[40:]}, 400, "image is not base64"),
        ({"image": "/etc/passwd"}, 400, "image is not base64"),
        ({"image": "http://localhost/secret.jpg"}, 400, "image is not base64"),
        ({"image": "é" * 8}, 400, "other characters"),
        ({"image": "\ud800"}, 400, "other characters"),
        ({"image": "_-8="}, 400, "image is not base64"),
        ({"instances": [B64]}, 400, "instances[0] must be an object"),
        ({"instances": [{"b64": B64, "url": "http://x"}]}, 400, "instances[0] must be an object"),
        ({"instances": [{"b64": 3}]}, 400, "instances[0].b64 must be a text"),
        ({"image": B64, "images": [B64]}, 400, "both image and images"),
        ({"image": B64, "topk": 3}, 400, "unknown key, 'topk'. Did you mean top_k?"),
        ({"url": "http://x/y.jpg"}, 400, "unknown key, 'url'"),
        ({"x" * 5000: 1, "image": B64}, 400, "unknown key, 'xxxx"),
        ({"a\nb\u202e": 1}, 400, r"unknown key, 'a\\nb\\u202e'"),
    ],
)
def test_wrong_json(body, status, words):
    found = refused(body)
    assert found[0] == status
    assert words in found[1]


def test_deep_nesting_within_the_count(monkeypatch):
    monkeypatch.setattr("dogbreed.serving.bodies._STRUCTURE", ())
    assert "nesting out of range" in refused(b"[" * 1_000_000)[1]


@pytest.mark.parametrize(
    ("content_type", "words"),
    [
        ("text/plain", "Content-Type text/plain is not taken"),
        ("application/x-www-form-urlencoded", "application/x-www-form-urlencoded is not taken"),
        ("application/x-python-pickle", "is not taken"),
        ("video/mp4", "is not taken"),
        ("x" * 10_000, "Content-Type this is not taken"),
        ("a\x00b", "Content-Type this is not taken"),
    ],
)
def test_other_content_types(content_type, words):
    status, sentence = refused(PHOTO, content_type)
    assert status == 415
    assert words in sentence
    assert "image/*" in sentence


def test_too_many_bytes():
    assert refused(bytes(3_000_001), "image/jpeg") == (
        413,
        "The body has 3,000,001 bytes, at most 3,000,000 are taken.",
    )


def test_custom_attributes():
    assert read_custom_attributes("") == {}
    assert read_custom_attributes("top_k=3;explain=true,,=,x, a = b=c ") == {
        "top_k": "3",
        "explain": "true",
        "": "",
        "a": "b=c",
    }


def test_a_json_of_many_small_values_costs_no_memory():
    body = b'{"images": [' + b"[]," * 900_000 + b"[]]}"
    tracemalloc.start()
    try:
        assert refused(body)[0] == 413
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


# NumPy bodies


def test_npy_forms():
    pixels = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    one = read(npy(pixels), "application/x-npy")
    assert one.is_single
    assert torch.equal(one.pictures[0], torch.from_numpy(pixels).permute(2, 0, 1))
    assert one.pictures[0].permute(1, 2, 0).is_contiguous()
    fortran = read(npy(np.asfortranarray(pixels)), "application/x-npy")
    assert torch.equal(fortran.pictures[0], one.pictures[0])
    two = read(npy(np.stack([pixels, pixels + 1])), "application/x-npy", top_k="2")
    assert (two.is_single, two.top_k, len(two.pictures)) == (False, 2, 2)
    assert torch.equal(two.pictures[1], one.pictures[0] + 1)
    grey = read(npy(pixels[:, :, 0]), "application/x-npy").pictures[0]
    assert torch.equal(grey, torch.from_numpy(pixels[:, :, 0]).expand(3, 5, 7))


def header(shape, descr="|u1", is_fortran=False):
    text = f"{{'descr': {descr!r}, 'fortran_order': {is_fortran}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (npy(np.zeros((4, 4, 3))), 400, "holds float64: send uint8"),
        (npy(np.zeros((4, 4, 3), bool)), 400, "holds bool: send uint8"),
        (npy(np.array([{"a": 1}])), 400, "holds object: send uint8"),
        (npy(np.zeros(3, [("a", "u1")])), 400, "send uint8"),
        (npy(np.zeros((3, 8, 8), np.uint8)), 400, "three colours"),
        (npy(np.zeros(8, np.uint8)), 400, "three colours"),
        (npy(np.uint8(8)), 400, "three colours"),
        (npy(np.zeros((2, 2, 8, 8, 3), np.uint8)), 400, "three colours"),
        (npy(np.zeros((0, 8, 3), np.uint8)), 400, "three colours"),
        (npy(np.zeros((5, 8, 8, 3), np.uint8)), 413, "5 pictures"),
        (npy(np.zeros((8, 8, 3), np.uint8))[:-1], 400, "has 191 bytes, its header says 192"),
        (npy(np.zeros((8, 8, 3), np.uint8)) + b"x", 400, "has 193 bytes, its header says 192"),
        (header((10**9, 10**9, 3)), 413, "pixels are more"),
        (header((2**62, 4, 4, 3)), 413, "pictures, at most 4"),
        (header((-1, 4, 3)), 400, "three colours"),
        (header((True, 4, 3)), 400, "whole numbers"),
        (header("(1000, 1000, 3)") + b"x", 400, "has 1 bytes, its header says 3000000"),
        (header("__import__('os').system('true')"), 400, "not an array"),
        (header("-" * 400 + "1"), 400, "not an array"),
        (header("(" * 300), 400, "not an array"),
        (header((4, 4, 3), "O"), 400, "send uint8"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65535, 400, "not an array"),
        (b"\x93NUMPY\x03\x00", 400, "not an array"),
        (b"PK\x03\x04", 400, "not an array"),
        (b"\x80\x04\x95", 400, "not an array"),
    ],
)
def test_wrong_npy(body, status, words):
    found = refused(body, "application/x-npy")
    assert found[0] == status
    assert words in found[1]
