"""Why a file is not read as an image: what its first bytes say that it is."""

from __future__ import annotations

import io
import struct

from PIL import TiffImagePlugin

from blastscope.process import quiet

COMPRESSION = 259
"""The TIFF tag of the way in which pixels are packed."""
_PACKED = {
    33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC", 50001: "WebP",
    50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
_IMAGES = (
    (0, b"GIF8", "a GIF"), (0, b"\0\0\0\x0cjP  ", "a JPEG 2000"),
    (0, b"\xffO\xffQ", "a JPEG 2000"), (0, b"\0\0\0\x0cJXL ", "a JPEG XL"),
    (0, b"\xff\x0a", "a JPEG XL"), (4, b"ftypavi", "an AVIF"), (4, b"ftyphei", "a HEIC"),
    (4, b"ftyphev", "a HEIC"), (4, b"ftypmif1", "a HEIC"), (0, b"8BPS", "a Photoshop"),
    (0, b"ZISRAWFILE", "a CZI"), (128, b"DICM", "a DICOM"), (0, b"\0\0\x01\0", "an icon"),
    (0, b"P5", "a PGM"), (0, b"P6", "a PPM"),
)  # fmt: skip
"""Where a signature lies, the signature, and whose it is."""
_OTHERS = (
    (b"version https://git-lfs", "is a pointer of Git LFS: get the image itself by `git lfs pull`"),
    (b"<!doctype html", "is a web page and not an image: download the image again"),
    (b"<html", "is a web page and not an image: download the image again"),
    (b"%pdf", "is a PDF and not an image: save its picture as PNG"),
    (b"pk\3\4", "is a zip and not an image: unpack it"),
    (b"\x1f\x8b", "is packed by gzip: unpack it"),
)
_JPEG_KINDS = {0xC3: "lossless", 0xC7: "lossless", 0xCB: "lossless", 0xCF: "lossless"}


def why_not_read(content: bytes) -> str:
    """Return a phrase on a file of which Pillow does not know the format."""
    if content[:4] in (b"II*\0", b"MM\0*"):
        return _why_tiff(content)
    if content[:3] == b"\xff\xd8\xff":
        return _why_jpeg(content) or "is a JPEG with a damaged header"
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        return "is a PNG with a damaged header"
    for place, signature, kind in _IMAGES:
        if content[place:].startswith(signature):
            return f"is {kind} image, which is not read: save it as PNG"
    start = content[:64].lstrip().lower()
    for signature, reason in _OTHERS:
        if start.startswith(signature):
            return reason
    if not any(content):
        return "holds only zero bytes: copy it again"
    return "is not a BMP, PNG, TIFF, JPEG or WebP image"


def why_damaged(content: bytes, error: Exception) -> str:
    """Return a phrase on a file whose format Pillow knows and whose header it cannot use."""
    if "MAX_TEXT" in str(error):
        return "holds a text of more than 1 MB: save it again without its texts"
    if content[:2] == b"BM" and content[30:34] in (b"\4\0\0\0", b"\5\0\0\0"):
        return "is a BMP that holds a JPEG or PNG, which is not read: save it as PNG"
    if content[:4] == b"RIFF" and len(content) >= 8:
        whole = struct.unpack_from("<I", content, 4)[0] + 8
        if len(content) < whole:
            return f"is truncated ({len(content)} of {whole} bytes)"
    return f"has a damaged header ({error})"


def why_not_decoded(content: bytes, error: Exception) -> str:
    """Return a phrase on a file whose header is whole and whose pixels cannot be decoded."""
    told = _why_jpeg(content) if content[:3] == b"\xff\xd8\xff" else None
    return told or f"is truncated or damaged ({error})"


def packed(compression: int) -> str | None:
    """Return a phrase for a compression inside TIFF that is not read; None for one that is."""
    name = _PACKED.get(compression)
    if name is None:
        return None
    return f"is a TIFF whose pixels are packed as {name}: save it uncompressed or with LZW"


def _why_tiff(content: bytes) -> str:
    try:
        with quiet(module="PIL"):
            tags = TiffImagePlugin.ImageFileDirectory_v2(content[:8])
            stream = io.BytesIO(content)
            stream.seek(tags.next)
            tags.load(stream)
            compression = int(tags[COMPRESSION])
    except Exception:  # a damaged header may raise anything
        return "is a TIFF with a damaged header"
    return packed(compression) or "is a TIFF of a kind that is not read: save it as 8-bit RGB"


def _why_jpeg(content: bytes) -> str | None:
    """Return a phrase for a JPEG of a kind that is not read; None for other reasons."""
    place = 2
    while content[place : place + 1] == b"\xff" and place + 5 <= len(content):
        marker, length, bits = struct.unpack_from(">BHB", content, place + 1)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            kind = _JPEG_KINDS.get(marker, f"{bits}-bit" if bits != 8 else None)
            return kind and f"is a JPEG of the {kind} kind, which is not read: save it as PNG"
        place += 2 + length
    return None
