import io
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from blastscope.data import images
from blastscope.data.images import UnusableImageError, decode_image, decode_pillow, read_image
from blastscope.data.inspection import inspect_cell
from blastscope.data.layouts import list_cells
from tests.conftest import draw_cell, write_cell

CELL = draw_cell(0, 90, 20)


@pytest.mark.parametrize("suffix", [".bmp", ".png", ".tif", ".webp"])
def test_lossless_formats_give_the_very_pixels(tmp_path, suffix):
    pixels = draw_cell(side=101)  # an odd width: a BMP's rows are padded
    path = tmp_path / f"cell{suffix}"
    Image.fromarray(pixels).save(path, **({"lossless": True} if suffix == ".webp" else {}))
    decoded = read_image(path)
    np.testing.assert_array_equal(decoded.pixels, pixels)
    assert decoded.flags == ()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_a_bmp_of_any_width_is_read_as_pillow_reads_it(width, height, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "bmp")
    found = decode_image(file.getvalue()).pixels
    np.testing.assert_array_equal(found, pixels)
    assert found.flags.c_contiguous
    assert found.flags.writeable


def test_a_bmp_whose_pixels_lie_elsewhere_is_read_from_there():
    pixels = draw_cell(side=30)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "bmp")
    content = bytearray(file.getvalue())
    first = int.from_bytes(content[10:14], "little")
    content[10:14] = (first + 10).to_bytes(4, "little")
    content[first:first] = b"something "
    np.testing.assert_array_equal(decode_image(bytes(content)).pixels, pixels)
    content[10:14] = (7).to_bytes(4, "little")  # in the header: left to Pillow
    assert images._plain_bmp_size(bytes(content)) is None


def test_jpeg_is_read_as_opencv_reads_it(tmp_path):
    path = write_cell(tmp_path / "cell.jpg", draw_cell(side=96))
    reference = cv2.imread(str(path))[:, :, ::-1].astype(int)
    assert np.abs(read_image(path).pixels.astype(int) - reference).max() <= 2


def test_bottom_up_and_top_down_bmps_agree(tmp_path):
    pixels = draw_cell(side=50)
    up = tmp_path / "up.bmp"
    Image.fromarray(pixels).save(up)
    content = bytearray(up.read_bytes())
    first = int.from_bytes(content[10:14], "little")
    stride = (50 * 3 + 3) // 4 * 4
    rows = [bytes(content[first + k * stride : first + (k + 1) * stride]) for k in range(50)]
    content[22:26] = struct.pack("<i", -50)
    content[first:] = b"".join(reversed(rows))
    down = tmp_path / "down.bmp"
    down.write_bytes(content)
    np.testing.assert_array_equal(read_image(down).pixels, pixels)


def test_alpha_is_flattened_on_black(tmp_path):
    rgba = np.full((8, 8, 4), (200, 100, 50, 255), np.uint8)
    rgba[:4, :, 3] = 0
    rgba[4:6, :, 3] = 128
    Image.fromarray(rgba).save(tmp_path / "a.png")
    decoded = read_image(tmp_path / "a.png")
    assert decoded.flags == ("alpha",)
    assert not decoded.pixels[:4].any()
    # 128/255 of the colour, by hand
    np.testing.assert_allclose(decoded.pixels[4, 0], (100, 50, 25), atol=1)
    assert decoded.pixels[7, 0].tolist() == [200, 100, 50]


def test_an_opaque_image_is_not_called_transparent(tmp_path):
    image = Image.fromarray(draw_cell(side=64)).convert("RGBA")
    image.save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").flags == ()
    assert read_image(tmp_path / "a.png").pixels.tolist() == draw_cell(side=64).tolist()


@pytest.mark.parametrize(("mode", "flag"), [("LA", "grey"), ("PA", "palette")])
def test_transparency_hides_no_other_flag(tmp_path, mode, flag):
    image = Image.new(mode, (8, 8), (120, 200))
    image.save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif").flags == (flag, "alpha")


@pytest.mark.parametrize(("mode", "flag"), [("L", "grey"), ("CMYK", "cmyk"), ("P", "palette")])
def test_other_modes_are_converted_and_said(tmp_path, mode, flag):
    image = Image.fromarray(draw_cell(side=64)).convert(mode)
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    image.save(path)
    decoded = read_image(path)
    assert decoded.flags == (flag,)
    np.testing.assert_array_equal(decoded.pixels, np.array(image.convert("RGB")))


def test_a_cielab_tiff_is_converted_and_said():
    rng = np.random.default_rng(0)
    rgb = rng.integers(90, 170, (40, 40, 3)) / 255
    # IEC 61966-2-1, then Lindbloom's matrix of sRGB adapted to D50, then CIE 1976, by hand
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    matrix = [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169],
              [0.0139322, 0.0971045, 0.7141733]]  # fmt: skip
    x, y, z = np.cbrt(np.moveaxis(linear @ np.transpose(matrix) / (0.9642, 1, 0.8249), -1, 0))
    light = np.rint((116 * y - 16) * 255 / 100).astype(np.uint8)
    colours = [np.rint(v).astype(np.int8).view(np.uint8) for v in (500 * (x - y), 200 * (y - z))]
    content = encoded(Image.fromarray(np.dstack([light, *colours]), "LAB"), "TIFF")
    decoded = decode_image(content)
    assert decoded.flags == ("lab",)
    difference = np.abs(decoded.pixels - rgb * 255)
    assert difference.mean() < 1.5  # what the rounding of a* and b* leaves
    assert difference.max() <= 5


def test_every_mode_of_pillow_is_rgb_or_flagged_or_refused():
    modes = ("1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "LA", "PA",
             "RGBX", "RGBa", "La", "I;16", "I;16L", "I;16B", "I;16N")  # fmt: skip
    assert set(modes) >= set(Image.MODES)
    said = {}
    for mode in modes:
        try:
            said[mode] = decode_pillow(Image.new(mode, (6, 6))).flags != ()
        except UnusableImageError:
            said[mode] = True
    assert [mode for mode, word in said.items() if not word] == ["RGB", "RGBX"]


def test_uncompressed_subsampled_ycbcr_is_refused():
    content = encoded(Image.fromarray(CELL).convert("YCbCr"), "TIFF")
    assert decode_image(content).flags == ("ycbcr",)
    one = struct.pack("<HHIHH", 530, 3, 2, 1, 1)
    assert content.count(one) == 1
    with pytest.raises(UnusableImageError, match="subsampled") as error:
        decode_image(content.replace(one, struct.pack("<HHIHH", 530, 3, 2, 2, 2)))
    assert error.value.kind == "mode"


def test_sixteen_bit_images_are_refused(tmp_path):
    deep = (draw_cell(side=32).astype(np.uint16)) * 257
    cv2.imwrite(str(tmp_path / "rgb.tif"), deep)
    cv2.imwrite(str(tmp_path / "rgb.png"), deep)
    cv2.imwrite(str(tmp_path / "grey.tif"), deep[:, :, 0])
    for name in ("rgb.tif", "rgb.png", "grey.tif"):
        with pytest.raises(UnusableImageError, match="more than 8 bits a channel") as error:
            read_image(tmp_path / name)
        assert error.value.kind == "mode"


@pytest.mark.parametrize("suffix", [".bmp", ".png", ".tif", ".jpg", ".webp"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_truncated_files_are_refused(tmp_path, suffix, share):
    path = tmp_path / f"cell{suffix}"
    Image.fromarray(draw_cell(side=128)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UnusableImageError):
        read_image(path)


@pytest.mark.parametrize("settings", [{}, {"progressive": True}, {"subsampling": 0}])
def test_a_jpeg_that_is_damaged_in_the_middle_is_refused(settings):
    whole = encoded(Image.fromarray(draw_cell(side=256)), "JPEG", quality=95, **settings)
    assert decode_image(whole).pixels.shape == (256, 256, 3)
    middle = len(whole) // 2
    zeroed = whole[:middle] + bytes(200) + whole[middle + 200 :]
    Image.open(io.BytesIO(zeroed)).load()  # Pillow draws it without a word
    for damaged in (zeroed, whole[:middle] + whole[middle + 200 :]):
        with pytest.raises(UnusableImageError, match="is damaged"):
            decode_image(damaged)


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_bytes_left_over_before_the_end_of_a_jpeg_are_no_damage(mode):
    whole = encoded(Image.fromarray(draw_cell(side=64)).convert(mode), "JPEG")
    padded = whole[:-2] + bytes(24) + whole[-2:]
    assert (decode_image(padded).pixels == decode_image(whole).pixels).all()


@pytest.mark.parametrize("place", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_one_wrong_bit_in_a_deflated_tiff_is_noticed(place):
    whole = bytearray(encoded(Image.fromarray(CELL), "TIFF", compression="tiff_deflate"))
    assert decode_image(bytes(whole)).format == "TIFF"
    with Image.open(io.BytesIO(whole)) as image:
        first, length = image.tag_v2[273][0], image.tag_v2[279][0]
    whole[first + int(place * length)] ^= 1
    with pytest.raises(UnusableImageError, match=r"is damaged|is truncated or damaged"):
        decode_image(bytes(whole))


def test_zero_bytes_and_text_are_refused(tmp_path):
    (tmp_path / "empty.bmp").touch()
    (tmp_path / "text.bmp").write_text("this is no image")
    with pytest.raises(UnusableImageError, match="is empty"):
        read_image(tmp_path / "empty.bmp")
    with pytest.raises(UnusableImageError, match="is not a BMP, PNG"):
        read_image(tmp_path / "text.bmp")


def test_a_gigantic_image_is_refused_by_its_header(tmp_path):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    with pytest.raises(UnusableImageError) as error:
        read_image(tmp_path / "bomb.png")
    assert error.value.kind == "too-large"


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_damaged_file_is_read_or_refused_and_nothing_else(data, tmp_path_factory):
    suffix = data.draw(st.sampled_from(["bmp", "png", "tif", "jpg", "webp"]))
    folder = tmp_path_factory.mktemp("damaged")
    path = folder / f"cell.{suffix}"
    page = Image.fromarray(draw_cell(side=24, radius=8))
    page.save(path, **({"save_all": True, "append_images": [page]} if suffix == "tif" else {}))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        decoded = read_image(path)
    except UnusableImageError:
        return
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.shape[2] == 3


def test_of_several_images_in_a_file_the_first_is_read(tmp_path):
    first, second = (Image.fromarray(draw_cell(k, side=40, radius=12)) for k in (1, 2))
    first.save(tmp_path / "two.tif", save_all=True, append_images=[second])
    decoded = read_image(tmp_path / "two.tif")
    assert decoded.flags == ("frames",)
    np.testing.assert_array_equal(decoded.pixels, np.array(first))


@pytest.mark.parametrize("suffix", [".bmp", ".png", ".tif", ".jpg", ".webp"])
def test_bytes_and_opened_images_are_decoded_as_their_file(tmp_path, suffix):
    path = tmp_path / f"cell{suffix}"
    Image.fromarray(draw_cell(side=61, radius=20)).save(path)
    wanted = read_image(path)
    for found in (decode_image(path.read_bytes()), decode_pillow(Image.open(path))):
        np.testing.assert_array_equal(found.pixels, wanted.pixels)
        assert (found.format, found.mode, found.flags) == (wanted.format, wanted.mode, ())


def test_bytes_have_the_same_limits_as_files(tmp_path, monkeypatch):
    path = write_cell(tmp_path / "x.bmp", draw_cell(side=64, radius=20))
    monkeypatch.setattr(images, "MAX_BYTES", path.stat().st_size - 1)
    for read in (lambda: read_image(path), lambda: decode_image(path.read_bytes())):
        with pytest.raises(UnusableImageError, match="is larger than") as error:
            read()
        assert error.value.kind == "too-large"
    with pytest.raises(UnusableImageError, match="is empty"):
        decode_image(b"")
    monkeypatch.setattr(images, "MAX_PIXELS", 64 * 64 - 1)
    with pytest.raises(UnusableImageError, match="has 64 × 64 pixels"):
        decode_pillow(Image.open(path))


def test_a_bmp_that_says_it_is_huge_is_refused_by_its_header(tmp_path):
    header = b"BM" + struct.pack("<IIIIiiHH", 54, 0, 54, 40, 100_000, 100_000, 1, 24) + bytes(24)
    (tmp_path / "huge.bmp").write_bytes(header)
    with pytest.raises(UnusableImageError, match="100000 × 100000 pixels"):
        read_image(tmp_path / "huge.bmp")


def wholly_transparent(name):
    above = np.dstack([CELL, np.zeros(CELL.shape[:2], np.uint8)])
    if name.endswith(".png"):
        return encoded(Image.fromarray(above), "PNG")
    data = np.ascontiguousarray(above[::-1, :, [2, 1, 0, 3]]).tobytes()
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    head = struct.pack("<IiiHHIIiiII", 108, *CELL.shape[1::-1], 1, 32, 3, 0, 2835, 2835, 0, 0)
    start = 14 + 108
    head += masks + b"BGRs" + bytes(48)
    return b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + head + data


def encoded(image, form, **how):
    out = io.BytesIO()
    image.save(out, form, **how)
    return out.getvalue()


def test_an_alpha_of_0_everywhere_is_ignored_in_a_bmp_and_named_elsewhere():
    found = decode_image(wholly_transparent("a.bmp"))
    np.testing.assert_array_equal(found.pixels, CELL)
    assert found.flags == ("alpha-ignored",)
    with pytest.raises(UnusableImageError, match="wholly transparent"):
        decode_image(wholly_transparent("a.png"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_format_is_turned_as_it_says(orientation):
    exif = Image.Exif()
    exif[0x112] = orientation
    image = Image.fromarray(CELL[:40, :50])
    expected = np.asarray(
        ImageOps.exif_transpose(Image.open(io.BytesIO(encoded(image, "PNG", exif=exif))))
    )
    files = (
        encoded(image, "PNG", exif=exif),
        encoded(image, "WEBP", lossless=True, exif=exif),
        encoded(image, "TIFF", tiffinfo={274: orientation}),
    )
    for content in files:
        np.testing.assert_array_equal(decode_image(content).pixels, expected)
    photo = decode_image(encoded(image, "JPEG", quality=95, exif=exif)).pixels
    assert photo.shape == expected.shape


def test_16_bits_a_pixel_of_a_bmp_are_read():
    red, green, blue = (CELL[..., k].astype(np.uint16) for k in range(3))
    pixels = (red >> 3 << 11) | (green >> 2 << 5) | (blue >> 3)
    width = CELL.shape[1] // 2 * 2
    data = np.ascontiguousarray(pixels[::-1, :width]).tobytes()
    head = struct.pack("<IiiHHIIiiII", 40, width, len(CELL), 1, 16, 3, 0, 2835, 2835, 0, 0)
    head += struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    start = 14 + len(head)
    content = b"BM" + struct.pack("<IHHI", start + len(data), 0, 0, start) + head + data
    found = decode_image(content).pixels.astype(int)
    assert np.abs(found - CELL[:, :width]).max() <= 8


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: encoded(Image.fromarray(CELL), "PNG", pnginfo=long_text()), "text of more than"),
        (lambda: b"II*\0" + bytes(20), "TIFF"),
        (lambda: packed_tiff(34712), "packed as JPEG 2000"),
        (lambda: packed_tiff(50001), "packed as WebP"),
        (lambda: encoded(Image.fromarray(CELL), "GIF"), "is a GIF image"),
        (lambda: encoded(Image.fromarray(CELL), "JPEG2000"), "is a JPEG 2000 image"),
        (lambda: b"\0\0\0\x18ftypheic" + bytes(16), "is a HEIC image"),
        (lambda: encoded(Image.fromarray(CELL), "PNG")[:30], "is a PNG with a damaged header"),
        (lambda: encoded(Image.fromarray(CELL), "WEBP")[:-1], "is truncated"),
        (lambda: changed_jpeg(4, 12), "is a JPEG of the 12-bit kind"),
        (lambda: changed_jpeg(1, 0xC3), "is a JPEG of the lossless kind"),
        (lambda: b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS"),
        (lambda: b"\n<!DOCTYPE html><html>", "is a web page"),
        (lambda: bytes(500), "only zero bytes"),
        (lambda: bmp_of(encoded(Image.fromarray(CELL), "PNG")), "a BMP that holds a JPEG or PNG"),
    ],
)
def test_the_true_reason_is_given(content, words, capfd):
    with pytest.raises(UnusableImageError, match=words):
        decode_image(content())
    assert capfd.readouterr().err == ""


def changed_jpeg(place, value):
    """A JPEG with another byte in the segment that says of which kind it is."""
    content = bytearray(encoded(Image.fromarray(CELL), "JPEG"))
    content[content.find(b"\xff\xc0") + place] = value
    return bytes(content)


def bmp_of(content):
    head = struct.pack("<IiiHHIIiiII", 40, 9, 9, 1, 0, 5, len(content), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(content), 0, 0, 54) + head + content


@pytest.mark.parametrize(
    ("kind", "bits", "samples"), [("u2", 16, 3), ("u2", 16, 1), ("i1", 8, 1), ("i1", 8, 3)]
)
def test_planes_and_samples_that_are_not_unsigned_bytes_are_refused(kind, bits, samples):
    """Pillow takes planes of 16 bits for bytes, and signed bytes for unsigned ones."""
    height, width, _ = CELL.shape
    planes = np.ascontiguousarray(CELL.transpose(2, 0, 1)[:samples]).astype("<" + kind).tobytes()
    plane = len(planes) // samples
    tags = {
        256: [width], 257: [height], 258: [bits] * samples, 259: [1], 262: [1 + (samples == 3)],
        273: [10_000 + plane * k for k in range(samples)], 277: [samples], 278: [height],
        279: [plane] * samples, 284: [2], 339: [2 if kind == "i1" else 1] * samples,
    }  # fmt: skip
    content = b"II*\0" + struct.pack("<IH", 8, len(tags))
    blobs, place = b"", 14 + 12 * len(tags)
    for tag, values in tags.items():
        raw = struct.pack(f"<{len(values)}I", *values)
        content += struct.pack("<HHI", tag, 4, len(values))
        content += raw if len(raw) == 4 else struct.pack("<I", place + len(blobs))
        blobs += raw if len(raw) > 4 else b""
    with pytest.raises(UnusableImageError):
        decode_image((content + bytes(4) + blobs).ljust(10_000, b"\0") + planes)


def long_text():
    info = PngInfo()
    info.add_text("Raw", "y" * 2_000_000, zip=True)
    return info


def test_libtiff_writes_no_lines_of_its_own_while_threads_read_damaged_files(capfd):
    content = encoded(Image.fromarray(CELL), "TIFF", compression="tiff_deflate")
    place = content.index(b"\x78\x9c")  # zlib's header
    damaged = content[:place] + bytes(40) + content[place + 40 :]

    def refused(_):
        with pytest.raises(UnusableImageError, match="truncated or damaged"):
            decode_image(damaged)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(refused, range(40)))
    assert capfd.readouterr().err == ""
    with pytest.raises(OSError, match="decoder error"):
        Image.open(io.BytesIO(damaged)).load()
    assert capfd.readouterr().err != ""  # for others it is as it was


def packed_tiff(compression):
    content = encoded(Image.fromarray(CELL), "TIFF")
    entry = struct.pack("<HHII", 259, 3, 1, 1)
    assert content.count(entry) == 1
    return content.replace(entry, struct.pack("<HHII", 259, 3, 1, compression))


def test_a_first_page_that_is_black_is_told_from_a_black_image(tmp_path):
    black = Image.new("RGB", (50, 50))
    black.save(tmp_path / "two.tif", save_all=True, append_images=[Image.fromarray(CELL)])
    item = list_cells([tmp_path]).cells[0]
    assert "several pages" in inspect_cell(item).message


def test_large_images_are_decoded_one_at_a_time_where_threads_decode_many(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "LARGE", 100)
    path = write_cell(tmp_path / "a.png", draw_cell(1, 60, 20))
    inside, most = [], []

    @images.large_in_turn()
    def work(_: int) -> None:
        read_image(path)
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.01)
        inside.pop()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(8)))
    assert max(most) == 1
    with images.large_in_turn(), images.large_in_turn():  # one within another waits for nothing
        read_image(path)
    read_image(path)  # and outside there are no turns


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "LA", "CMYK", "1"])
def test_bands_give_the_pixels_of_the_whole(tmp_path, monkeypatch, mode):
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 256, (61, 47, 4), np.uint8)
    picture = Image.fromarray(noise, "RGBA").convert(mode)
    path = tmp_path / "a.tif"
    picture.save(path)
    whole = read_image(path)
    monkeypatch.setattr(images, "_BAND", 47 * 7)
    banded = read_image(path)
    assert np.array_equal(whole.pixels, banded.pixels)
    assert whole.flags == banded.flags
    if mode == "RGBA":  # flattened on black, by hand
        flat = np.rint(noise[..., :3] * (noise[..., 3:] / 255.0))
        assert np.abs(whole.pixels.astype(int) - flat).max() <= 1
