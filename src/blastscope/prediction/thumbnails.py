"""Small pictures of images that were predicted on, read again one after the other."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from blastscope.data.crop import Box, Pixels, locate, prepared
from blastscope.data.images import UnusableImageError, large_in_turn
from blastscope.parallel import in_order
from blastscope.prediction.images import InputImages

SIDE = 144
"""Pixels of a side: chromatin can be seen, and hundreds of pictures are a few megabytes."""


def thumbnails(
    inputs: InputImages, cells: Collection[int], whole: Collection[int] = ()
) -> Iterator[tuple[int, Pixels]]:
    """Yield a row and its picture, uint8, SIDE × SIDE × 3, RGB; a few are read ahead.

    An image that cannot be read any more, because its file has gone, has no picture.

    Args:
        inputs: the images.
        cells: rows of cells: all are cut to one field, so that their sizes can be compared.
        whole: rows of images that are shown whole, since they may not be cells.
    """

    @large_in_turn()
    def work(row: int) -> tuple[int, Pixels | None]:
        try:
            pixels = inputs.images[row].decode().pixels
            if row in shown_whole:
                box = Box(0, 0, pixels.shape[1], pixels.shape[0])
                return row, prepared(pixels, box, SIDE, "crop", False)
            return row, prepared(pixels, locate(pixels).box, SIDE, "keep", False)
        except UnusableImageError:
            return row, None

    shown_whole = frozenset(whole)
    try:
        for row, picture in in_order(work, [*cells, *whole]):
            if picture is not None:
                yield row, picture
    finally:
        inputs.close()
