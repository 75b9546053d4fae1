"""Files that are damaged on purpose: good ones of every format, and seeded mutations of them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tests.conftest import draw_cell

Rng = np.random.Generator
SIDE = 72


def good_files(side: int = SIDE) -> dict[str, bytes]:
    """Return one drawn cell in every format and in many of its variants, by name."""
    cell = Image.fromarray(draw_cell(5, max(side, 72), 22)).resize((side, side))
    alpha = cell.convert("RGBA")
    wanted: dict[str, tuple[Image.Image, str, dict[str, object]]] = {
        "plain.bmp": (cell, "BMP", {}),
        "palette.bmp": (cell.convert("P"), "BMP", {}),
        "grey.bmp": (cell.convert("L"), "BMP", {}),
        "alpha.bmp": (alpha, "BMP", {}),
        "rgb.png": (cell, "PNG", {}),
        "alpha.png": (alpha, "PNG", {}),
        "palette.png": (cell.convert("P"), "PNG", {}),
        "grey.png": (cell.convert("LA"), "PNG", {}),
        "bits.png": (cell.convert("1"), "PNG", {}),
        "baseline.jpg": (cell, "JPEG", {"quality": 92}),
        "progressive.jpg": (cell, "JPEG", {"progressive": True, "exif": _turned()}),
        "cmyk.jpg": (cell.convert("CMYK"), "JPEG", {}),
        "raw.tif": (cell, "TIFF", {}),
        "lzw.tif": (cell, "TIFF", {"compression": "tiff_lzw"}),
        "deflate.tif": (alpha, "TIFF", {"compression": "tiff_adobe_deflate"}),
        "jpeg.tif": (cell, "TIFF", {"compression": "jpeg"}),
        "pages.tif": (cell, "TIFF", {"save_all": True, "append_images": [cell]}),
        "lossy.webp": (cell, "WEBP", {}),
        "lossless.webp": (alpha, "WEBP", {"lossless": True}),
    }
    found = {}
    for name, (image, form, settings) in wanted.items():
        stream = io.BytesIO()
        image.save(stream, form, **settings)
        found[name] = stream.getvalue()
    return found


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()


def flip_bits(content: bytes, rng: Rng) -> bytes:
    """Flip up to 24 bits anywhere."""
    changed = bytearray(content)
    for place in rng.integers(0, len(changed), int(rng.integers(1, 25))):
        changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def truncate(content: bytes, rng: Rng) -> bytes:
    """Cut the end off; sometimes all but a few bytes, sometimes all."""
    return content[: int(rng.integers(0, len(content)) if rng.random() < 0.8 else rng.integers(40))]


def edit_header(content: bytes, rng: Rng) -> bytes:
    """Overwrite a few bytes of the first hundred, often with extreme values."""
    changed = bytearray(content)
    extremes = (0, 1, 127, 128, 255)
    for _ in range(int(rng.integers(1, 5))):
        place = int(rng.integers(0, min(100, len(changed))))
        value = int(rng.choice(extremes)) if rng.random() < 0.6 else int(rng.integers(256))
        for k in range(int(rng.integers(1, 5))):
            if place + k < len(changed):
                changed[place + k] = value
    return bytes(changed)


def swap_chunks(content: bytes, rng: Rng) -> bytes:
    """Exchange, double, insert or leave out a stretch of bytes."""
    length = int(rng.integers(1, max(2, len(content) // 4)))
    a, b = (int(k) for k in rng.integers(0, max(1, len(content) - length), 2))
    first, second = content[a : a + length], content[b : b + length]
    kind = int(rng.integers(4))
    if kind == 0:
        changed = bytearray(content)
        changed[a : a + length], changed[b : b + length] = second, first
        return bytes(changed)
    if kind == 1:
        return content[:b] + first + content[b:]
    if kind == 2:
        return content[:b] + rng.bytes(length) + content[b:]
    return content[:a] + content[a + length :]


def huge_dimensions(content: bytes, rng: Rng) -> bytes:
    """Claim a width and height of up to 2**31 that the pixels do not have."""
    choices = (8192, 8193, 16383, 40_000, 65_535, 10**6, 2**31 - 1)
    width, height = (int(value) for value in rng.choice(choices, 2))
    changed = bytearray(content)
    if content[:2] == b"BM":
        struct.pack_into("<ii", changed, 18, width, height if rng.random() < 0.7 else -height)
    elif content[:4] == b"\x89PNG":
        struct.pack_into(">II", changed, 16, width, height)
        struct.pack_into(">I", changed, 29, zlib.crc32(bytes(changed[12:29])))
    elif content[:2] == b"\xff\xd8":
        place = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
        struct.pack_into(">HH", changed, place + 5, min(height, 65_535), min(width, 65_535))
    elif content[:4] == b"RIFF" and content[12:16] == b"VP8X":
        struct.pack_into("<I", changed, 24, min(width, 2**24 - 1))
    elif content[:4] == b"II*\0":
        first = struct.unpack_from("<I", content, 4)[0]
        for k in range(struct.unpack_from("<H", content, first)[0]):
            entry = first + 2 + 12 * k
            tag = struct.unpack_from("<H", content, entry)[0]
            if tag in (256, 257):
                struct.pack_into("<HII", changed, entry + 2, 4, 1, width if tag == 256 else height)
    return bytes(changed)


def bomb(content: bytes, rng: Rng) -> bytes:
    """Return a small file that unpacks to much: below the limit of pixels, or above it."""
    side = int(rng.choice((8000, 8192, 9000, 20_000)))
    if content[:4] == b"II*\0":
        return _tiff_bomb(side)
    bits, colour = (8, int(rng.choice((0, 2, 4, 6)))) if rng.random() < 0.8 else (16, 6)
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    row = b"\0" + bytes(side * samples * bits // 8)
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", packed), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def _tiff_bomb(side: int) -> bytes:
    packer = zlib.compressobj(9)
    row = bytes(side * 3)
    packed = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    start = 8
    tags = [
        (256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 2),
        (273, 4, 1, start), (277, 3, 1, 3), (278, 4, 1, side), (279, 4, 1, len(packed)),
    ]  # fmt: skip
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<I", start + len(packed)) + packed + directory + bytes(4)


MUTATIONS: tuple[tuple[Callable[[bytes, Rng], bytes], float], ...] = (
    (flip_bits, 0.3), (truncate, 0.15), (edit_header, 0.25), (swap_chunks, 0.2),
    (huge_dimensions, 0.09), (bomb, 0.01),
)  # fmt: skip


def mutated_files(count: int, seed: int, side: int = SIDE) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of so many damaged files, the same for the same seed."""
    rng = np.random.default_rng(seed)
    good = list(good_files(side).items())
    shares = [share for _, share in MUTATIONS]
    bombs: dict[str, bytes] = {}
    for number in range(count):
        name, content = good[int(rng.integers(len(good)))]
        change = MUTATIONS[int(rng.choice(len(MUTATIONS), p=shares))][0]
        if change is bomb:
            content = bombs.setdefault(name, bomb(content, rng))
        else:
            for _ in range(1 + int(rng.random() < 0.2)):
                content = change(content, rng) or b""
                if not content:
                    break
        label, suffix = ("all", "hem")[number % 2], Path(name).suffix
        kind = Path(name).stem
        subject = f"{'H' * (label == 'hem')}{number % 7 + 1}"
        yield f"UID_{subject}_{number}_1_{label}-{kind}-{change.__name__}{suffix}", content


def write_mutated(folder: Path, count: int, seed: int, side: int = SIDE) -> list[str]:
    """Write mutated files, and a good cell of each class; return the names of all."""
    names = []
    for label, subject, radius in (("all", "90", 24), ("hem", "H90", 18)):
        path = folder / label / f"UID_{subject}_1_1_{label}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_cell(9, 96, radius)).save(path)
        names.append(path.name)
    for name, content in mutated_files(count, seed, side):
        label = name.split("_")[4].partition("-")[0]
        (folder / label / name).write_bytes(content)
        names.append(name)
    return names
