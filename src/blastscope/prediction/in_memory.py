"""Images in memory as pictures: arrays and Pillow images, by the rules for files."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias, cast

import numpy as np
from PIL import Image

from blastscope.data.images import Decoded, decode_pillow
from blastscope.data.names import parse_name, printable
from blastscope.errors import BlastscopeError
from blastscope.prediction.input_images import InputImage

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
AnImage: TypeAlias = str | Path | Array | Image.Image

_WANTED = (
    "give uint8 arrays of height × width × 3 (RGB), height × width (grey) or height × width × 4 "
    "(RGBA), Pillow images, or paths"
)
_ONE_AT_A_TIME = threading.Lock()
"""The same Pillow image may be given twice, and loading one is not for two threads."""


def as_list(images: AnImage | Iterable[AnImage]) -> list[AnImage]:
    """Return one or several images as a list; a four-dimensional array is several.

    Raises:
        BlastscopeError: where it is neither.
    """
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, str | Path | bytes | Image.Image):
        return [cast(AnImage, images)]
    if not isinstance(images, Iterable):
        raise BlastscopeError(f"{type(images).__name__} is no image and no list: {_WANTED}.")
    return list(images)


def picture_in_memory(image: object, index: int) -> InputImage:
    """Return an array or Pillow image, the ``index``-th from 0, as a picture.

    Raises:
        BlastscopeError: where it is something else, or an array that is no such image.
    """
    cell = f"image-{index + 1}"
    if isinstance(image, Image.Image):
        decode = partial(_decode_pillow, image)
        name = os.fsdecode(getattr(image, "filename", "") or "")
        if not name:
            return InputImage("", cell, decode)
        file = printable(Path(name).as_posix())
        named = parse_name(PurePosixPath(file).stem)
        return InputImage(file, named.cell, decode, named.subject, named.label)
    if isinstance(image, np.ndarray):
        if not _is_image(image):
            raise BlastscopeError(
                f"images[{index}] is an array of {image.dtype} and shape {image.shape}: {_WANTED}."
            )
        return InputImage("", cell, partial(_decode_array, image))
    raise BlastscopeError(f"images[{index}] is of the type {type(image).__name__}: {_WANTED}.")


def _is_image(array: Array) -> bool:
    shape = array.shape
    fits = len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))
    return array.dtype == np.uint8 and fits and array.size > 0


def _decode_array(array: Array) -> Decoded:
    return decode_pillow(Image.fromarray(np.ascontiguousarray(array)))


def _decode_pillow(image: Image.Image) -> Decoded:
    with _ONE_AT_A_TIME:
        return decode_pillow(image)
