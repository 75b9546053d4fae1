"""Read one image safely: check its header, decode it, or refuse it in one sentence.

Pillow reads a file's header, so that a file that is not an image, or too large, is refused before a
pixel is decoded. Plain 24-bit BMPs, the format of the C-NMC data, are decoded here: with Pillow's
header and ``cv2.imdecode`` instead, ``prepare`` takes 12 % more processor time (808 images of 450 ×
450, best of nine), and OpenCV writes to standard error if a file is truncated.
"""

from __future__ import annotations

import io
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from blastscope.data.damaged_images import why_jpeg_damaged, why_strips_damaged
from blastscope.data.unread_images import (
    COMPRESSION,
    packed,
    why_damaged,
    why_not_decoded,
    why_not_read,
)
from blastscope.process import quiet_tiff, return_freed_memory

SUFFIXES = frozenset(
    (".bmp", ".dib", ".png", ".tif", ".tiff", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".webp")
)
KNOWN_SUFFIXES = SUFFIXES | {".gif", ".jp2", ".avif", ".heic", ".svs", ".ndpi"}
"""The suffixes of images, read or not, that a name in a table may have."""
FORMATS = ("BMP", "PNG", "TIFF", "JPEG", "WEBP")
MAX_PIXELS = 64 * 2**20
"""The largest image that is decoded: 64 megapixels, 300 times a C-NMC image."""
MAX_BYTES = 256 * 2**20
"""The largest file that is read."""
LARGE = 8 * 2**20
"""Larger images, in pixels, are decoded one at a time where threads decode many."""
_BAND = 2**22
"""How many pixels are converted to RGB at a time."""

SEVERAL = "holds several pictures: save each as a file of its own"
"""Why a file with the flag ``frames`` cannot be used, wherever its first picture is not enough."""

_ORIENTATION = 274
"""The EXIF tag of how an image is turned."""
_SUBSAMPLING = 530
"""The TIFF tag of how many pixels share one pair of Cb and Cr."""
_BITS, _KIND_OF_SAMPLES = 258, 339
"""The TIFF tags of how many bits a sample has, and of whether it is signed or floating."""
_TOO_DEEP = "has more than 8 bits a channel: convert it to 8-bit RGB"
_LIMIT = "64 megapixels (8192 × 8192): crop it to the cell"

_BMP_HEADERS = (40, 52, 56, 64, 108, 124)
"""The lengths of the headers in which width, height, depth and compression lie at these places."""
_FLAGS = {
    "L": "grey", "LA": "grey", "La": "grey", "1": "grey", "P": "palette", "PA": "palette",
    "CMYK": "cmyk", "YCbCr": "ycbcr", "LAB": "lab", "HSV": "hsv",
}  # fmt: skip
_ALPHA = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})


class UnusableImageError(Exception):
    """An image that cannot be used; ``kind`` is one word for tables, the message a phrase."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Decoded:
    """An image's pixels and what was said or done on the way."""

    pixels: np.ndarray[Any, np.dtype[np.uint8]]
    """uint8, height × width × 3, RGB."""
    format: str
    mode: str
    flags: tuple[str, ...]
    """What was converted: ``alpha`` (flattened on black), ``grey``, ``cmyk``, ``palette``, …"""


_large = threading.Lock()
_turn = threading.local()


@contextmanager
def large_in_turn() -> Iterator[None]:
    """Let no other thread decode a large image until this block has done with its own.

    An image of 64 megapixels takes half a gigabyte until its cell is cut out. Around what a thread
    does with one image; a small image waits for nothing.
    """
    if hasattr(_turn, "taken"):  # within another such block
        yield
        return
    _turn.taken = False
    try:
        yield
    finally:
        if _turn.taken:
            return_freed_memory()  # each thread would keep its half gigabyte
            _large.release()
        del _turn.taken


def _wait_for_turn(width: int, height: int) -> None:
    if width * height > LARGE and getattr(_turn, "taken", None) is False:
        _large.acquire()
        _turn.taken = True


def read_image(
    path: Path, most_pixels: int | None = None, most_bytes: int | None = None
) -> Decoded:
    """Decode one image file to RGB.

    Args:
        path: of the file.
        most_pixels, most_bytes: what is decoded at most; ``MAX_PIXELS``, ``MAX_BYTES`` by default.

    Raises:
        UnusableImageError: if the file is unreadable, no image, truncated, too large or of a mode
            that has no one right conversion to 8 bits.
    """
    try:
        _refuse_length(path.stat().st_size, most_bytes)
        content = path.read_bytes()
    except OSError as error:
        raise UnusableImageError("unreadable", f"cannot be read ({error.strerror})") from None
    return decode_image(content, most_pixels, most_bytes)


def decode_image(
    content: bytes, most_pixels: int | None = None, most_bytes: int | None = None
) -> Decoded:
    """Decode an image file's bytes to RGB, wherever they come from.

    Raises:
        UnusableImageError: as :func:`read_image` does.
    """
    _refuse_length(len(content), most_bytes)
    plain = _plain_bmp_size(content)
    if plain is not None:
        _refuse_size(*plain, most_pixels)
        return Decoded(_plain_bmp(content, *plain), "BMP", "RGB", ())
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        raise UnusableImageError("unreadable", why_not_read(content)) from None
    except Image.DecompressionBombError:
        raise UnusableImageError("too-large", f"has more than {_LIMIT}") from None
    except Exception as error:  # a decoder may raise anything on a damaged header
        raise UnusableImageError("unreadable", why_damaged(content, error)) from None
    with image:
        _refuse(image, most_pixels)
        found = _converted(image, first=True, content=content)
        _refuse_damage(image, content)
    if found.pixels.size > 3 * LARGE:
        del image
        return_freed_memory()
    return found


def decode_pillow(image: Image.Image) -> Decoded:
    """Convert an opened Pillow image to RGB as files are; of several frames, the current one."""
    _refuse(image)
    return _converted(image, first=False)


def _refuse_length(length: int, most: int | None = None) -> None:
    most = MAX_BYTES if most is None else most
    if length == 0:
        raise UnusableImageError("unreadable", "is empty")
    if length > most:
        raise UnusableImageError("too-large", f"is larger than {most} bytes")


def _refuse_size(width: int, height: int, most: int | None = None) -> None:
    most = MAX_PIXELS if most is None else most
    if width * height <= most:
        _wait_for_turn(width, height)
    else:
        limit = _LIMIT if most == MAX_PIXELS else f"{most / 1e6:.0f} megapixels"
        raise UnusableImageError("too-large", f"has {width} × {height} pixels, more than {limit}")


def _refuse(image: Image.Image, most: int | None = None) -> None:
    _refuse_size(*image.size, most)
    if image.format == "TIFF":
        tags = getattr(image, "tag_v2", {})
        compression = int(tags.get(COMPRESSION, 1))
        reason = packed(compression)
        if reason:
            raise UnusableImageError("unreadable", reason)
        _refuse_samples(tags)
        # Pillow would read the shared Cb and Cr of such a file as if each pixel had its own.
        if image.mode == "YCbCr" and compression == 1 and tags.get(_SUBSAMPLING) != (1, 1):
            message = "is an uncompressed TIFF with subsampled YCbCr: save it as 8-bit RGB"
            raise UnusableImageError("mode", message)
    _refuse_depth(image)


def _refuse_damage(image: Image.Image, content: bytes) -> None:
    """Refuse damage that the decoder passed over; after it, so that it may say more itself."""
    reason = None
    if image.format == "JPEG":
        reason = why_jpeg_damaged(content)
    elif image.format == "TIFF":
        reason = why_strips_damaged(content, getattr(image, "tag_v2", {}))
    if reason:
        raise UnusableImageError("damaged", reason)


def _refuse_samples(tags: Mapping[int, Any]) -> None:
    """Refuse samples that Pillow takes for unsigned bytes; planes of 16 bits are some of them."""
    if max(_numbers(tags.get(_BITS, 1))) > 8:
        raise UnusableImageError("mode", _TOO_DEEP)
    if not {1, 4} >= set(_numbers(tags.get(_KIND_OF_SAMPLES, 1))):  # unsigned, or not said
        message = "is a TIFF with signed or floating samples: convert it to 8-bit RGB"
        raise UnusableImageError("mode", message)


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple) else (value,)


def _refuse_depth(image: Image.Image) -> None:
    tiles = getattr(image, "tile", ())  # how Pillow would unpack the file's samples
    deep = any(";16" in str(tile) or ";12" in str(tile) for tile in tiles)
    deep = deep and image.format != "BMP"  # its 16 bits are those of all three colours
    if deep or image.mode.startswith(("I", "F")):
        raise UnusableImageError("mode", _TOO_DEEP)


def _converted(image: Image.Image, *, first: bool, content: bytes = b"") -> Decoded:
    form, mode = str(image.format or ""), image.mode
    flags = [_FLAGS[mode]] if mode in _FLAGS else []
    if mode in _ALPHA or "transparency" in image.info:
        flags.append("alpha")
    try:
        with quiet_tiff() if form == "TIFF" else nullcontext():
            if first and getattr(image, "n_frames", 1) > 1:
                flags.append("frames")
                image.seek(0)
            pixels = _rgb(image, flags, own=first)
        return Decoded(pixels, form, mode, tuple(flags))
    except UnusableImageError:
        raise
    except Exception as error:  # a decoder may raise anything on damaged data
        raise UnusableImageError("truncated", why_not_decoded(content, error)) from None


def _rgb(image: Image.Image, flags: list[str], *, own: bool) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the pixels as viewers show them, turned as the file says.

    They are converted band by band: Pillow would keep a copy of the whole image for each step.
    An image of our ``own`` is turned in its place.
    """
    if image.getexif().get(_ORIENTATION, 1) != 1:
        if own:
            ImageOps.exif_transpose(image, in_place=True)
        else:
            image = ImageOps.exif_transpose(image)
    width, height = image.size
    if width * height > LARGE:
        image.load()
        return_freed_memory()  # what a decoder needs beside the image is as large again
    pixels = np.empty((height, width, 3), np.uint8)
    flatten = "alpha" in flags
    lowest, highest = _alpha_range(image) if flatten else (255, 255)
    if flatten and lowest == 255:
        flags.remove("alpha")  # opaque: there is nothing to tell
    if not highest:
        if image.format != "BMP":
            message = "is wholly transparent: save it without its alpha channel"
            raise UnusableImageError("transparent", message)
        flags[flags.index("alpha")] = "alpha-ignored"  # the fourth byte is unused more often
        for rows, band in _bands(image):
            pixels[rows] = np.asarray(band.convert("RGBA"))[..., :3]
        return pixels
    for rows, band in _bands(image):
        if flatten:
            above = band.convert("RGBA")
            band = Image.alpha_composite(Image.new("RGBA", above.size, (0, 0, 0, 255)), above)
        pixels[rows] = np.asarray(band.convert("RGB"))
    return pixels


def _alpha_range(image: Image.Image) -> tuple[int, int]:
    """Return the lowest and the highest opacity."""
    found = [band.convert("RGBA").getchannel("A").getextrema() for _, band in _bands(image)]
    lowest, highest = zip(*found, strict=True)
    return int(min(lowest)), int(max(highest))


def _bands(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    """Yield horizontal bands of an image, and their rows; a small image is one."""
    width, height = image.size
    rows = max(1, _BAND // max(1, width))
    if rows >= height:
        yield slice(None), image
        return
    for first in range(0, height, rows):
        last = min(height, first + rows)
        yield slice(first, last), image.crop((0, first, width, last))


def _plain_bmp_size(content: bytes) -> tuple[int, int] | None:
    """Return width and height of an uncompressed 24-bit BMP, bottom row first; None for others."""
    if content[:2] != b"BM" or content[28:34] != b"\x18\0" + bytes(4):  # depth, compression
        return None
    first, header, width, height = struct.unpack_from("<IIii", content, 10)
    usual = header in _BMP_HEADERS and first >= 14 + header
    return (width, height) if usual and width > 0 and height > 0 else None


def _plain_bmp(content: bytes, width: int, height: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    first = int.from_bytes(content[10:14], "little")
    row = (width * 3 + 3) // 4 * 4  # padded to four bytes
    if len(content) < first + row * height:
        raise UnusableImageError(
            "truncated", f"is truncated ({len(content)} of {first + row * height} bytes)"
        )
    rows = np.ndarray((height, width, 3), np.uint8, content, first, (row, 3, 1))  # the last first
    return cv2.flip(cv2.cvtColor(rows, cv2.COLOR_BGR2RGB), 0)  # type: ignore[return-value]
