"""The same pixels as everywhere else, and a reason for whatever is no picture or too much of one."""

import resource
import struct
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from served import encoded, picture

from dogbreed.data.decode import decode_image
from dogbreed.data.preprocess import Preprocessing
from dogbreed.serving.errors import RequestError
from dogbreed.serving.limits import Limits
from dogbreed.serving.pictures import Crop, decode_picture, make_view

LIMITS = Limits()
PREPROCESSING = Preprocessing(input_size_px=32, resize_px=36, interpolation="bicubic")


def refused(data, limits=LIMITS):
    with pytest.raises(RequestError) as caught:
        make_view(data, PREPROCESSING, limits)
    assert len(caught.value.sentence) < 300
    return caught.value.status, caught.value.sentence


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_views_are_what_prediction_sees(format):
    data = encoded(picture(size=(90, 61)), format)
    view = make_view(data, PREPROCESSING, Limits())
    assert torch.equal(view.pixels_u8_CSS, PREPROCESSING.center_crop(decode_image(data)))
    assert view.pixels_u8_CSS.shape == (3, 32, 32)
    pixels = decode_image(data)
    assert torch.equal(make_view(pixels, PREPROCESSING, Limits()).pixels_u8_CSS, view.pixels_u8_CSS)


@pytest.mark.parametrize(
    ("mode", "format", "options"),
    [
        ("L", "JPEG", {}),
        ("CMYK", "JPEG", {}),
        ("RGB", "JPEG", {"progressive": True}),
        ("RGBA", "PNG", {}),
        ("LA", "PNG", {}),
        ("1", "PNG", {}),
        ("I;16", "PNG", {}),
        ("P", "PNG", {"transparency": 3}),
        ("P", "GIF", {}),
        ("RGBA", "WEBP", {}),
        ("RGB", "WEBP", {"lossless": True}),
        ("P", "BMP", {}),
    ],
)
def test_every_kind_of_pixels(mode, format, options):
    image = picture(size=(50, 70))
    image = (
        Image.fromarray(np.array(image.convert("L")).astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    )
    data = encoded(image, format, **options)
    assert torch.equal(decode_picture(data, Limits()), decode_image(data))


def test_orientation_and_animation():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_picture(encoded(picture(size=(50, 70)), exif=exif), Limits()).shape == (3, 50, 70)
    frames = [picture(n) for n in range(3)]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert torch.equal(decode_picture(data, Limits()).permute(1, 2, 0), torch.from_numpy(np.array(frames[0])))


@pytest.mark.parametrize(
    ("width", "height"), [(90, 61), (61, 90), (33, 33), (400, 40), (40, 401), (1, 1), (7, 500), (2000, 3)]
)
@pytest.mark.parametrize("mode", ["center", "squash"])
def test_the_crop_is_where_it_says(width, height, mode):
    """Colours that say where in the picture they are come back as the edges of the crop."""
    preprocessing = Preprocessing(input_size_px=32, resize_px=40, crop_mode=mode)
    x, y = np.meshgrid((np.arange(width) + 0.5) / width * 255, (np.arange(height) + 0.5) / height * 255)
    pixels = torch.from_numpy(np.stack([x, y, x], axis=0).round().astype(np.uint8))
    crop = Crop.of(preprocessing, height, width)
    seen = preprocessing.center_crop(pixels).float() / 255
    # From the centres of the outermost pixels to their edges, along a line.
    edges = [(seen[c].mean(c)[0] - 0.5, seen[c].mean(c)[-1] - 0.5) for c in (0, 1)]
    found = [(float(high - low) * 32 / 31, float(high + low) / 2 + 0.5) for low, high in edges]
    wanted = [(crop.width, crop.left + crop.width / 2), (crop.height, crop.top + crop.height / 2)]
    for side, (f, w) in zip((width, height), zip(found, wanted, strict=True), strict=True):
        if side >= 32:  # of fewer pixels torch makes plateaus at the edges
            assert f[0] == pytest.approx(w[0], abs=0.04)
            assert f[1] == pytest.approx(w[1], abs=0.02)
    assert 0 <= crop.left <= crop.left + crop.width <= 1.0001
    assert 0 <= crop.top <= crop.top + crop.height <= 1.0001


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "The picture is empty"),
        (b"hello", "not a picture that is taken: send JPEG, PNG, WebP, GIF or BMP"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture that is taken"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not a picture that is taken"),
        (encoded(format="TIFF"), "not a picture that is taken"),
        (encoded(format="PPM"), "not a picture that is taken"),
        (encoded(format="ICO"), "not a picture that is taken"),
        (encoded(format="TGA"), "not a picture that is taken"),
        (b"\xff\xd8\xff", "cannot be read"),
        (b"\xff\xd8\xff" + bytes(500), "cannot be read"),
        (encoded()[:200], "cannot be read"),
        (encoded(format="PNG")[:20], "cannot be read"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "cannot be read"),
        (b"RIFF\x10\0\0\0WAVEfmt ", "not a picture"),
        (b"GIF89a", "cannot be read"),
        (b"BM", "cannot be read"),
        (b"BM" + encoded(format="TGA"), "cannot be read"),  # no other of Pillow's readers may try it
    ],
)
def test_what_is_no_picture(data, words):
    status, sentence = refused(data)
    assert status == 400
    assert words in sentence


def test_cut_short_is_answered_as_predict_does():
    whole = encoded(picture(size=(300, 200)), quality=95)
    cut = whole[: len(whole) // 2]
    assert torch.equal(decode_picture(cut, Limits()), decode_image(cut))


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth=8, color=0, rows=b""):
    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def jpeg_of(width, height):
    data = bytearray(encoded(picture(size=(16, 16))))
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def webp_of(width, height):
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    frame = encoded(picture(size=(16, 16)), "WEBP", lossless=True)[12:]
    body = b"WEBPVP8X" + struct.pack("<II", 10, 0) + canvas + frame
    return b"RIFF" + struct.pack("<I", len(body)) + body


HUGE = {
    "png": png(30_000, 30_000),
    "png of 2^31": png(2**31 - 1, 2**31 - 1),
    "one long row": png(2**31 - 1, 1),
    "jpeg": jpeg_of(65_500, 65_500),
    "jpeg above 64 megapixels": jpeg_of(10_000, 6_401),
    "gif": encoded(format="GIF")[:6] + struct.pack("<HH", 65_535, 65_535) + encoded(format="GIF")[10:],
    "bmp": encoded(format="BMP")[:18] + struct.pack("<ii", 30_000, 30_000) + encoded(format="BMP")[26:],
    "webp": webp_of(16_383, 16_383),
}


@pytest.mark.parametrize("name", HUGE)
def test_huge_pictures_are_refused_by_their_header(name):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    status, sentence = refused(HUGE[name])
    assert (status, "pixels" in sentence) == (413, True), sentence
    assert time.process_time() - start < 0.5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000  # kB


def test_a_lower_limit():
    data = encoded(picture(size=(100, 80)))
    assert decode_picture(data, Limits(max_pixels=8000)).shape == (3, 80, 100)
    assert refused(data, Limits(max_pixels=7999)) == (413, "100×80 pixels are more than the 7,999 that are taken.")
    assert refused(data, Limits(max_body_bytes=100))[0] == 413


def test_a_tiff_with_a_tile_of_gigabytes_never_reaches_its_reader():
    """16 × 16 pixels, in one tile of 30,000 × 30,000: 0.9 MB that take Pillow as many bytes."""
    tags = [
        (256, 16),
        (257, 16),
        (258, 8),
        (259, 8),
        (262, 1),
        (277, 1),
        (322, 30_000),
        (323, 30_000),
        (324, 8),
        (325, 99),
    ]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    assert refused(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4))[0] == 400


def progressive_bomb(width, height, scans):
    """Repeat the last scan of a progressive JPEG; each makes the decoder go over all of it."""
    data = encoded(Image.new("L", (width, height)), progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + b"\xff\xd9"


def test_a_jpeg_of_hundreds_of_scans_is_refused():
    assert "in 206 scans" in refused(progressive_bomb(64, 64, 201))[1]
    large = progressive_bomb(5000, 4000, 90)
    assert len(large) < 1_000_000
    start = time.process_time()
    assert refused(large)[0] == 413
    assert time.process_time() - start < 0.5
    plain = encoded(picture(size=(400, 300)), progressive=True)
    assert torch.equal(decode_picture(plain, Limits()), decode_image(plain))


def test_threads_decode_side_by_side():
    good = [encoded(picture(n, (60, 50)), format) for n, format in enumerate(["JPEG", "PNG", "WEBP", "GIF", "BMP"])]
    cut = [data[: len(data) * 2 // 3] for data in good[:2]]
    expected = [decode_image(data) for data in good + cut]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: decode_picture((good + cut)[n % 7], Limits()), range(210)))
    for number, pixels in enumerate(found):
        assert torch.equal(pixels, expected[number % 7])


# A picture of as many pixels as are taken, of the kinds that need the most memory for each; bytes a pixel, all copies.
LARGEST = {"jpeg": 4, "png rgba": 21, "png 16 bit": 15, "webp": 27, "gif": 13}


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGEST)
def test_memory_of_the_largest_pictures_is_bounded(name, tmp_path):
    side = 8000
    plain = Image.new("RGB", (side, side))
    if name == "png 16 bit":
        data = png(side, side, 16, 0, (bytes(1 + 2 * side)) * side)
    else:
        image = plain.convert("RGBA") if "rgba" in name else plain
        data = encoded(image, name.split()[0])
    file = tmp_path / "picture"
    file.write_bytes(data)
    code = f"""
from pathlib import Path
from dogbreed.serving.pictures import decode_picture
from dogbreed.serving.limits import Limits
data = Path({str(file)!r}).read_bytes()
def kilobytes(name):
    return int(Path("/proc/self/status").read_text().partition(name + ":")[2].split()[0])
Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the imports
before = kilobytes("VmRSS")
assert decode_picture(data, Limits()).shape == (3, {side}, {side})
print((kilobytes("VmHWM") - before) * 1024 / {side} ** 2)
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert float(answer.stdout) < LARGEST[name], answer.stderr
    print(name, answer.stdout)


def test_metadata_that_looks_like_scans_does_no_harm():
    data = encoded(picture(size=(300, 200)), icc_profile=b"\xff\xda" * 50)
    assert decode_picture(data, Limits()).shape == (3, 200, 300)


def test_no_name_of_a_file_is_ever_opened(tmp_path):
    file = tmp_path / "photo.jpg"
    file.write_bytes(encoded())
    assert refused(str(file).encode())[0] == 400
