"""The images to predict on, of files, zips or memory, in the order given."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias, cast

import numpy as np
import xxhash
from PIL import Image

from blastscope.data.images import Decoded, UnusableImageError, decode_pillow
from blastscope.data.layouts import CellFile, Problem
from blastscope.data.names import parse_name, printable
from blastscope.errors import BlastscopeError
from blastscope.io.cell_names import unique_names
from blastscope.io.subject_names import subject_name

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
AnImage: TypeAlias = str | Path | Array | Image.Image

LONGEST_PATTERN = 200
_ACCEPTED = (
    "give uint8 arrays of height × width × 3 (RGB), height × width (grey) or height × width × 4 "
    "(RGBA), Pillow images, or paths"
)
_ONE_AT_A_TIME = threading.Lock()
"""The same Pillow image may be given twice, and two threads must not load it at once."""


@dataclass(frozen=True)
class InputImage:
    """One image to predict on, not yet read."""

    # The user's name for it: a path as given, one inside the folder given, or
    # ``archive.zip/inner/name.bmp``; empty for an image in memory that has none.
    file: str
    cell: str  # its name in tables, unique among the inputs
    # What reads it, or why it cannot be used, if that is known beforehand.
    source: Callable[[], Decoded] | Problem = field(repr=False)
    subject: str | None = None  # the subject, in upper case; None if unknown
    label: str | None = None  # ``all`` or ``hem``; None if unknown
    flags: tuple[str, ...] = ()  # what is odd about its name
    # Of the file that it is; None for an image in a zip or in memory.
    path: Path | None = field(default=None, compare=False)

    @property
    def problem(self) -> Problem | None:
        """Why it cannot be used, if that is known before it is read."""
        return self.source if isinstance(self.source, Problem) else None

    def decode(self) -> Decoded:
        """Read it.

        Raises:
            UnusableImageError: if it cannot be used.
        """
        if isinstance(self.source, Problem):
            raise UnusableImageError(self.source.kind, self.source.message)
        return self.source()


@dataclass(frozen=True, eq=False)
class ImageInMemory:
    """What reads an array or a Pillow image."""

    image: Array | Image.Image

    def __call__(self) -> Decoded:
        """Convert it to RGB, as files are."""
        if isinstance(self.image, np.ndarray):
            return decode_pillow(Image.fromarray(np.ascontiguousarray(self.image)))
        with _ONE_AT_A_TIME:
            return decode_pillow(self.image)

    def digest(self) -> str:
        """Digest the pixels: it has no file whose length and time tell it from another."""
        what: tuple[object, ...] = ()
        pixels = self.image
        if not isinstance(pixels, np.ndarray):
            try:
                decoded = self()
            except UnusableImageError as error:
                return f"{error.kind}: {error}"
            what, pixels = (decoded.format, decoded.mode, decoded.flags), decoded.pixels
        digest = xxhash.xxh3_128(repr((what, pixels.shape)).encode())
        digest.update(np.ascontiguousarray(pixels).data)
        return digest.hexdigest()


@dataclass(frozen=True)
class InputImages:
    """The images in the order given."""

    images: tuple[InputImage, ...]  # all of them, also those that cannot be used
    notes: tuple[str, ...] = ()  # what the user should know of how they were found
    synthetic: bool = False  # whether some are from a folder or zip of synthetic cells
    # What to call once the images are read or no longer needed.
    closers: tuple[Callable[[], None], ...] = field(default=(), repr=False)
    archives: tuple[Path, ...] = ()  # the zips and tars that hold some of them
    # The temporary folders of copies from object stores, which go when nobody holds them.
    keepers: tuple[object, ...] = field(default=(), repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[InputImage]:
        return iter(self.images)

    def close(self) -> None:
        """Close the zips; reading an image opens its zip again."""
        for close in self.closers:
            close()

    def digest(self) -> str:
        """Digest what their rows follow from, to tell them from others without reading files.

        Of each image the names and, if it is a file, length and time; its pixels if it is in
        memory. Of zips and tars length and time.
        """
        digest = hashlib.sha256()
        for path in self.archives:
            digest.update(repr(file_state(path)).encode())
        for image in self.images:
            names = (image.file, image.cell, image.subject, image.label)
            digest.update(repr((*names, file_state(image.path))).encode())
            if isinstance(image.source, ImageInMemory):
                digest.update(image.source.digest().encode())
        return digest.hexdigest()


def file_state(path: Path | None) -> tuple[int, int] | None:
    """Return a file's length and time of change; None if there is none."""
    if path is None or not path.exists():
        return None
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def input_image(
    item: CellFile | Problem, decode: Callable[[], Decoded], path: Path | None = None
) -> InputImage:
    """Return a listed file as an image that ``decode`` reads."""
    if isinstance(item, CellFile):
        return InputImage(item.file, item.cell, decode, item.subject, item.label, item.flags, path)
    named = parse_name(PurePosixPath(item.file).stem)
    return InputImage(item.file, named.cell, item, named.subject)


def as_list(images: AnImage | Iterable[AnImage]) -> list[AnImage]:
    """Return one or several images as a list; a four-dimensional array is several.

    Raises:
        BlastscopeError: if it is neither.
    """
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, str | Path | bytes | Image.Image):
        return [cast(AnImage, images)]
    if not isinstance(images, Iterable):
        raise BlastscopeError(
            f"{type(images).__name__} is neither an image nor a list: {_ACCEPTED}."
        )
    return list(images)


def image_in_memory(image: object, index: int) -> InputImage:
    """Return an array or Pillow image as an input, called ``image-1`` if ``index`` is 0.

    Raises:
        BlastscopeError: if it is something else, or an array of another type or shape.
    """
    cell = f"image-{index + 1}"
    if isinstance(image, Image.Image):
        decode = ImageInMemory(image)
        name = os.fsdecode(getattr(image, "filename", "") or "")
        if not name:
            return InputImage("", cell, decode)
        file = printable(Path(name).as_posix())
        named = parse_name(PurePosixPath(file).stem)
        return InputImage(file, named.cell, decode, named.subject, named.label)
    if isinstance(image, np.ndarray):
        if not _is_image(image):
            raise BlastscopeError(
                f"images[{index}] is an array of {image.dtype} and shape {image.shape}: "
                f"{_ACCEPTED}."
            )
        return InputImage("", cell, ImageInMemory(image))
    raise BlastscopeError(f"images[{index}] is of the type {type(image).__name__}: {_ACCEPTED}.")


def _is_image(array: Array) -> bool:
    shape = array.shape
    fits = len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))
    return array.dtype == np.uint8 and fits and array.size > 0


def unique_cells(images: Sequence[InputImage]) -> list[str]:
    """Return a unique name for each image, as :func:`unique_names` does."""
    return unique_names([image.cell for image in images], [image.file for image in images])


class SubjectPattern:
    """A regular expression that finds the subject in a file's path."""

    def __init__(self, text: str) -> None:
        """Compile the expression.

        Raises:
            BlastscopeError: if it is not valid, or too long.
        """
        if len(text) > LONGEST_PATTERN:
            raise BlastscopeError(
                f"The regular expression for subjects has {len(text)} characters: give at most "
                f"{LONGEST_PATTERN}."
            )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.expression = re.compile(text)
        except (re.error, OverflowError, RecursionError) as error:
            raise BlastscopeError(
                f"{text!r} is not a regular expression ({error}): give one that finds subjects, "
                r"such as 'patient(\d+)'."
            ) from None

    def find(self, file: str) -> str | None:
        """Return the subject in its one spelling; None if the pattern finds none.

        It is the group called ``subject``, else the first group, else the whole match.
        """
        match = self.expression.search(file)
        if match is None:
            return None
        group = "subject" if "subject" in self.expression.groupindex else 1
        text = match[group if self.expression.groups else 0]
        return subject_name(text)
