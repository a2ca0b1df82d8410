"""Pictures and bodies with something wrong in them, as many as one wants, the same each time."""

from __future__ import annotations

import base64
import json
import random
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image
from served import encoded, form, npy, picture

LENGTHS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
TOKENS = (
    b"\xff\xd8",
    b"\xff\xda",
    b"\xff\xc2",
    b"IHDR",
    b"IDAT",
    b"acTL",
    b"VP8X",
    b"ANMF",
    b"GIF89a",
    b"BM",
    b"II*\0",
)
WORDS = (
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\u0000",
    b"1e999",
    b"-",
    b"NaN",
    b"null",
    b"\r\n--xyz",
    b"--",
    b"\r\n\r\n",
)


def seeds() -> list[tuple[bytes, str]]:
    """Return bodies that are right, and their content types."""
    photo, grey = picture(0, (40, 30)), picture(1, (24, 24)).convert("L")
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a" * 40
    frames = {"save_all": True, "append_images": [picture(2, (40, 30))]}
    deep = Image.fromarray(np.array(grey).astype(np.uint16) * 257)
    pictures = [
        *(encoded(photo, exif=exif), encoded(photo, progressive=True), encoded(photo.convert("CMYK")), encoded(grey)),
        *(
            encoded(photo, "PNG", exif=exif),
            encoded(grey, "PNG"),
            encoded(deep, "PNG"),
            encoded(photo.convert("RGBA"), "PNG"),
        ),
        *(encoded(photo.quantize(16), "PNG", transparency=1), encoded(photo, "PNG", **frames)),
        *(encoded(photo, "WEBP", exif=exif), encoded(photo, "WEBP", lossless=True), encoded(photo, "WEBP", **frames)),
        *(encoded(photo, "GIF", **frames), encoded(photo, "BMP"), encoded(photo.quantize(16), "BMP")),
    ]
    texts = [base64.b64encode(item).decode() for item in pictures]
    pixels = np.array(photo)
    bodies = [
        *((json.dumps({"image": texts[0], "top_k": 3, "explain": True}).encode(), "application/json"),),
        *((json.dumps({"images": texts[:2]}).encode(), "application/json"),),
        *((json.dumps({"instances": [{"b64": texts[4]}]}).encode(), "application/json"),),
        *(
            form(("image", pictures[0], "a.jpg"), ("top_k", b"2", None)),
            form(("p", pictures[4], "a"), ("p", pictures[10], "b")),
        ),
        *((npy(pixels), "application/x-npy"), (npy(np.stack([pixels] * 2)), "application/x-npy")),
        *((npy(np.asfortranarray(pixels[:, :, 0])), "application/x-npy"),),
    ]
    return [(item, "image/jpeg") for item in pictures] + bodies


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Damage a body in one to eight places."""
    body = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        # Headers are where what matters is.
        place = rng.randrange(min(len(body), 64) if rng.random() < 0.5 else len(body)) if body else 0
        match rng.randrange(9):
            case 0:
                body[place : place + 1] = bytes([rng.randrange(256)])
            case 1 if body:
                body[place] ^= 1 << rng.randrange(8)
            case 2:
                value, size = rng.choice(LENGTHS), rng.choice((1, 2, 4))
                packed = struct.pack(rng.choice("<>") + "I", value)
                body[place : place + size] = packed[:size]
            case 3:
                del body[place : place + rng.randrange(1, 40)]
            case 4:
                body[place:place] = body[place : place + rng.randrange(1, 80)] * rng.choice((1, 2, 50))
            case 5:
                body[place:place] = rng.choice(TOKENS + WORDS)
            case 6:
                del body[place:]
            case 7:
                body[place : place + 8] = rng.randbytes(rng.randrange(16))
            case 8:
                body += rng.randbytes(rng.randrange(1, 30))
    return bytes(body)


def mend_png(data: bytes) -> bytes:
    """Make the checksums of a PNG right again, so that what was damaged is looked at."""
    body, place = bytearray(data), 8
    while place + 12 <= len(body):
        (length,) = struct.unpack(">I", body[place : place + 4])
        end = place + 8 + length
        if end + 4 > len(body):
            break
        body[end : end + 4] = struct.pack(">I", zlib.crc32(body[place + 4 : end]))
        place = end + 4
    return bytes(body)


def cases(seed: int) -> Iterator[tuple[bytes, str]]:
    """Yield damaged bodies and content types without end."""
    rng = random.Random(seed)
    whole = seeds()
    types = [
        "image/png",
        "application/octet-stream",
        "application/json",
        "application/x-npy",
        "multipart/form-data; boundary=xyz",
    ]
    while True:
        body, content_type = rng.choice(whole)
        body = mutate(body, rng)
        if body[:4] == b"\x89PNG" and rng.random() < 0.8:
            body = mend_png(body)
        if rng.random() < 0.05:
            content_type = rng.choice(types)  # it lies
        elif rng.random() < 0.02:
            content_type = mutate(content_type.encode(), rng).decode("latin-1")
        yield body, content_type
