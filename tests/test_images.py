"""Images from files nobody vouches for, and what a network's input is made of."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn.functional import interpolate

from zoo.errors import ConfigError
from zoo.inference.images import ImageError, image_size, read_image
from zoo.inference.preprocess import Preprocessing, network_input, resized_rows

CITYSCAPES = Preprocessing(
    channels="BGR",
    maximum=255,
    mean=(72.3923111, 82.90893555, 73.15840149),
    std=(45.3192215, 46.15289307, 44.91483307),
    divisor=255,
    size=(512, 1024),
)


def picture(height: int = 5, width: int = 7) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def saved(folder: Path, image: Image.Image, name: str = "a.png", **options: object) -> Path:
    image.save(folder / name, **options)  # type: ignore[arg-type]
    return folder / name


def test_rgb_is_read_as_it_is(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(picture()))
    assert np.array_equal(read_image(path), picture())
    assert image_size(path) == (5, 7)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "PA", "1", "CMYK", "YCbCr"])
def test_other_modes_become_rgb(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(picture()).convert(mode)
    path = saved(tmp_path, image, "a.tif") if mode in ("CMYK", "YCbCr", "PA") else saved(tmp_path, image)
    assert np.array_equal(read_image(path), np.asarray(image.convert("RGB")))


def test_palette_with_transparency_keeps_its_colours(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8))
    image.putpalette([10, 20, 30, 200, 100, 50])
    path = saved(tmp_path, image, transparency=b"\x00\x80")
    assert read_image(path)[0].tolist() == [[10, 20, 30], [200, 100, 50]]


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bit_grey_keeps_its_upper_bits(name: str, tmp_path: Path) -> None:
    values = np.array([[0, 255, 256], [4096, 65280, 65535]], np.uint16)
    path = saved(tmp_path, Image.fromarray(values), name)
    assert read_image(path)[:, :, 1].tolist() == [[0, 0, 1], [16, 255, 255]]


@pytest.mark.parametrize("values", [np.full((2, 2), -1, np.int32), np.full((2, 2), 70000, np.int32)])
def test_wide_integers_beyond_sixteen_bits_are_refused(values: np.ndarray, tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(values), "a.tif")
    with pytest.raises(ImageError, match=r"a\.tif: holds values from .* convert it to 8 or 16 bits"):
        read_image(path)


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(np.zeros((2, 2), np.float32)), "a.tif")
    with pytest.raises(ImageError, match=r"a\.tif: holds floating-point pixels"):
        read_image(path)


def test_exif_turns_the_image_upright(tmp_path: Path) -> None:
    image = Image.fromarray(picture())
    exif = image.getexif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    path = saved(tmp_path, image, exif=exif)
    assert np.array_equal(read_image(path), np.rot90(picture(), -1))


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (3, 2), colour) for colour in ("red", "blue")]
    path = saved(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:])
    assert read_image(path)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "is empty"),
        (b"this is no image", "is not an image that can be read; use one of PNG, JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image"),
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 20, "a.png: is"),
    ],
)
def test_no_image(content: bytes, word: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=word):
        read_image(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="No such file"):
        read_image(tmp_path / "a.png")
    with pytest.raises(ImageError, match="directory"):
        read_image(tmp_path)


@pytest.mark.parametrize(("name", "options"), [("a.png", {}), ("a.jpg", {}), ("a.tif", {"compression": "tiff_lzw"})])
def test_truncated_file_is_an_error_wherever_it_ends(name: str, options: dict[str, str], tmp_path: Path) -> None:
    whole = saved(tmp_path, Image.fromarray(picture(16, 16)), name, **options).read_bytes()
    path = tmp_path / f"cut{name[1:]}"
    # The last bytes of a file may be padding or a mark that nobody needs.
    for end in range(0, len(whole) - 32, max(1, len(whole) // 40)):
        path.write_bytes(whole[:end])
        with pytest.raises(ImageError, match="cut"):
            read_image(path)


@settings(max_examples=70, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_file_is_an_image_or_an_error(tmp_path: Path, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "PPM"]))
    buffer = BytesIO()
    Image.fromarray(picture()).save(buffer, kind)
    content = bytearray(buffer.getvalue())
    for place in data.draw(st.lists(st.integers(0, min(len(content), 200) - 1), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path / "a"
    path.write_bytes(content)
    try:
        if np.prod(image_size(path)) < 1e6:
            assert read_image(path).dtype == np.uint8
    except ImageError as error:
        assert str(error).startswith(str(path))


def bomb(folder: Path, side: int) -> Path:
    """A PNG of a few bytes that claims side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\x00" * 64)) + chunk(b"IEND", b"")
    path = folder / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


def test_absurd_size_is_refused_before_decoding(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"bomb\.png: claims 60000x60000 pixels, and at most 1073741824 are read"):
        read_image(bomb(tmp_path, 60000))


def test_size_beyond_pillows_limit_is_allowed(tmp_path: Path) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    assert image_size(bomb(tmp_path, 20000)) == (20000, 20000)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_preprocessing_is_what_the_authors_do() -> None:
    pixels = picture(37, 53)
    bgr = torch.from_numpy(pixels[:, :, ::-1].copy()).float()
    normal = (bgr - torch.tensor(CITYSCAPES.mean)) / torch.tensor(CITYSCAPES.std)
    expected = interpolate(normal.permute(2, 0, 1)[None], (64, 32), mode="bilinear", align_corners=False) / 255
    torch.testing.assert_close(network_input(pixels, CITYSCAPES, (64, 32)), expected, rtol=0, atol=1e-7)


def test_preprocessing_of_zero_to_one() -> None:
    imagenet = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    pixels = np.array([[[255, 0, 51]]], np.uint8)
    found = network_input(pixels, imagenet)[0, :, 0, 0]
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_size_is_the_callers_then_the_preprocessings_then_the_images() -> None:
    sized = Preprocessing(size=(4, 6))
    assert network_input(picture(), sized, (2, 3)).shape == (1, 3, 2, 3)
    assert network_input(picture(), sized).shape == (1, 3, 4, 6)
    assert network_input(picture(), Preprocessing()).shape == (1, 3, 5, 7)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(*[st.integers(1, 20)] * 4, st.integers(1, 7))
def test_bands_of_rows_are_torchs_resize(height: int, width: int, out_height: int, out_width: int, band: int) -> None:
    x = torch.randn(3, height, width, generator=torch.Generator().manual_seed(height))
    size = (out_height, out_width)
    bands = [resized_rows(x, size, row, min(row + band, out_height)) for row in range(0, out_height, band)]
    expected = interpolate(x[None], size, mode="bilinear", align_corners=False)[0]
    torch.testing.assert_close(torch.cat(bands, 1), expected, rtol=1e-5, atol=1e-5)


def test_preprocessing_survives_yaml_and_json() -> None:
    assert Preprocessing.from_dict(CITYSCAPES.to_dict()) == CITYSCAPES
    assert Preprocessing.from_dict({}) == Preprocessing()


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"chanels": "RGB"}, r"preprocessing\.chanels: unknown key \(did you mean 'channels'\?\)"),
        ({"channels": "GBR"}, r"preprocessing\.channels: must be RGB or BGR, but is 'GBR'"),
        ({"std": [1, 0, 1]}, r"preprocessing\.std: must be 3 positive numbers"),
        ({"mean": [1, 2]}, r"preprocessing\.mean: must be 3 numbers"),
        ({"mean": [1, 2, float("nan")]}, r"preprocessing\.mean"),
        ({"maximum": "255"}, r"preprocessing\.maximum"),
        ({"divisor": 0}, r"preprocessing\.divisor: must be a positive number, but is 0"),
        ({"size": [512]}, r"preprocessing\.size: must be height and width"),
        ({"size": [512, 0]}, r"preprocessing\.size"),
        ({"size": [True, True]}, r"preprocessing\.size"),
    ],
)
def test_preprocessing_that_cannot_be_names_the_key(values: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        Preprocessing.from_dict(values)
