"""Every readable oddity gives upright RGB pixels; everything else a reason."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from dogbreed.data import decode
from dogbreed.data.decode import BadImageError, decode_image, is_cut_short, read_header


@pytest.fixture
def gradient():
    """A picture whose corners all differ: red grows to the right, green downwards."""
    y, x = np.mgrid[0:60, 0:80]
    return Image.fromarray(np.stack([x * 3, y * 4, np.full_like(x, 90)], axis=2).astype(np.uint8))


def encoded(image, format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


def pixels_of(image):
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_are_exact(gradient, format):
    assert torch.equal(decode_image(encoded(gradient, format)), pixels_of(gradient))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}])
def test_jpeg_equals_pillow(gradient, options):
    data = encoded(gradient, "JPEG", **options)
    assert torch.equal(decode_image(data), pixels_of(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize(
    ("min_side", "shape"), [(None, (600, 800)), (301, (600, 800)), (300, (300, 400)), (10, (75, 100))]
)
def test_a_jpeg_may_come_smaller(gradient, min_side, shape):
    large = gradient.resize((800, 600), Image.Resampling.BICUBIC)
    decoded = decode_image(encoded(large, "JPEG", quality=95), min_side)
    assert decoded.shape == (3, *shape)
    smaller = pixels_of(large.resize(shape[::-1], Image.Resampling.BOX))
    assert (decoded.int() - smaller.int()).abs().float().mean() < 1.5
    assert decode_image(encoded(large), min_side).shape == (3, 600, 800)  # a PNG has no such way


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(gradient, orientation):
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = gradient.transpose(undo) if undo is not None else gradient
    for format in ("JPEG", "PNG"):
        decoded = decode_image(encoded(gradient, format, exif=exif))
        assert torch.equal(decoded, decode_image(encoded(gradient, format, exif=exif), 50))
        assert decoded.shape[1:] == (upright.height, upright.width)
        assert (decoded.int() - pixels_of(upright).int()).abs().float().mean() < 3


def test_grey_cmyk_and_palette(gradient):
    for mode, format in (
        ("L", "JPEG"),
        ("L", "PNG"),
        ("CMYK", "JPEG"),
        ("CMYK", "TIFF"),
        ("1", "PNG"),
        ("YCbCr", "JPEG"),
    ):
        decoded = decode_image(encoded(gradient.convert(mode), format))
        assert decoded.shape == (3, 60, 80), mode
        assert decoded.dtype == torch.uint8
    palette = decode_image(encoded(gradient.quantize(128), "GIF"))
    assert (palette.int() - pixels_of(gradient).int()).abs().float().mean() < 12


def test_transparency_is_laid_over_white():
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert decode_image(encoded(clear)).unique().tolist() == [255]
    half = Image.new("LA", (8, 8), (0, 128))
    assert abs(int(decode_image(encoded(half))[0, 0, 0]) - 127) <= 1
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert decode_image(encoded(palette, transparency=0)).unique().tolist() == [255]


def test_sixteen_bits_are_scaled_not_clipped():
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    decoded = decode_image(encoded(Image.fromarray(ramp)))[0].numpy()
    assert np.abs(decoded - ramp / 257).max() <= 0.5
    floats = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    decoded = decode_image(encoded(Image.fromarray(floats), "TIFF"))[0].numpy()
    assert np.abs(decoded - floats * 255).max() <= 0.5


def test_first_frame_of_an_animation():
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    for format in ("GIF", "WEBP", "PNG"):
        data = encoded(red, format, save_all=True, append_images=[blue])
        assert decode_image(data)[:, 0, 0].tolist()[0] > 240


def test_cut_short_is_decoded_as_far_as_it_goes(gradient, tmp_path):
    whole = encoded(gradient.resize((400, 300)), "JPEG", quality=95)
    file = tmp_path / "cut.jpg"
    file.write_bytes(whole[: len(whole) // 2])
    decoded = decode_image(file)
    assert decoded.shape == (3, 300, 400)
    top = pixels_of(Image.open(io.BytesIO(whole)))[:, :100]
    assert (decoded[:, :100].int() - top.int()).abs().float().mean() < 1
    assert is_cut_short(file)
    file.write_bytes(whole + b"\0" * 50)
    assert not is_cut_short(file)


def test_huge_jpeg_is_bounded(monkeypatch):
    data = encoded(Image.new("RGB", (800, 600), (200, 30, 30)), "JPEG")
    monkeypatch.setattr(decode, "MAX_PIXELS", 40_000)
    decoded = decode_image(data)
    assert decoded.shape == (3, 150, 200)
    assert read_header(data)[2:] == (200, 150)
    with pytest.raises(BadImageError, match="megapixels"):
        decode_image(encoded(Image.new("RGB", (800, 600))))


def test_decompression_bomb_is_refused_without_decoding(tmp_path):
    # 30,000 × 30,000 pixels in 110 kB.
    bomb = encoded(Image.new("1", (30_000, 30_000)), "PNG")
    assert len(bomb) < 500_000
    with pytest.raises(BadImageError, match="megapixels"):
        decode_image(bomb)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"hello", "not an image"),
        (b"\xff\xd8\xff\xe0broken", "cannot be read"),
        (b"\x89PNG\r\n\x1a\n12", "cannot be read|not an image|header"),
    ],
)
def test_what_is_no_picture_has_a_reason(content, reason, tmp_path):
    file = tmp_path / "Zwergspitz 🐕.jpg"
    file.write_bytes(content)
    for source in (file, content):
        with pytest.raises(BadImageError, match=reason):
            decode_image(source)
    with pytest.raises(BadImageError):
        read_header(file)


def test_missing_file(tmp_path):
    with pytest.raises(BadImageError, match="cannot be read"):
        decode_image(tmp_path / "none.jpg")


def test_damaged_metadata_says_nothing_about_the_pixels(gradient):
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = encoded(gradient, "JPEG", exif=exif)
    start = whole.index(b"Exif\0\0") + 6
    for position in range(start, start + 26):
        for value in (0x00, 0xFF, whole[position] ^ 0x55):
            damaged = whole[:position] + bytes([value]) + whole[position + 1 :]
            assert decode_image(damaged).shape[0] == 3


@pytest.mark.parametrize("format", ["TIFF", "WEBP", "BMP", "GIF"])
def test_the_scan_finds_what_has_a_header_and_no_pixels(gradient, format, tmp_path):
    whole = encoded(gradient, format)
    for share in (0.3, 0.6, 0.9):
        file = tmp_path / f"{share}.{format.lower()}"
        file.write_bytes(whole[: int(len(whole) * share)])
        try:
            read_header(file)
            is_cut_short(file)
        except BadImageError:
            continue
        assert decode_image(file).shape[0] == 3  # what passes the scan can be trained on


def test_a_huge_jpeg_with_something_appended_passes_the_scan(monkeypatch, tmp_path):
    monkeypatch.setattr(decode, "MAX_PIXELS", 40_000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    file = tmp_path / "phone.jpg"
    file.write_bytes(encoded(Image.new("RGB", (600, 400), (10, 200, 30)), "JPEG") + b"\0" * 4096)
    assert not is_cut_short(file)
    assert decode_image(file).shape == (3, 100, 150)
