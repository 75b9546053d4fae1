"""Images as texts, as a model server gets them: paths, or files in base64.

A server must not read any file that a client names. So a path is read there only if it lies below
the folder that the variable ``BLASTSCOPE_IMAGE_FOLDER`` names.
"""

from __future__ import annotations

import base64
import binascii
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from blastscope.errors import BlastscopeError

FOLDER = "BLASTSCOPE_IMAGE_FOLDER"
MOST_CHARACTERS = 64 * 2**20
"""The longest text that is decoded: an image of 48 MB."""
_LONGEST_PATH = 4096
_BEGINNINGS = (b"BM", b"\x89PNG", b"II*\0", b"MM\0*", b"\xff\xd8", b"RIFF")
"""How files of the formats begin that are read: BMP, PNG, TIFF, JPEG, WebP."""
_SERVER = "mlflow.pyfunc.scoring_server"


def predict_texts(predict: Callable[[Any], pl.DataFrame], texts: Sequence[Any]) -> pl.DataFrame:
    """Predict images that are given as texts.

    Args:
        predict: as :meth:`blastscope.api.predict.LoadedModel.predict`.
        texts: paths of image files, or image files in base64, also as ``data:`` URIs.

    Returns:
        The prediction table, a row a text; an image that was in base64 has an empty ``file``.

    Raises:
        BlastscopeError: if a text is neither, or a server may not read the path.
    """
    with tempfile.TemporaryDirectory(prefix="blastscope-") as folder:
        paths = [_path(text, Path(folder) / f"image-{k}") for k, text in enumerate(texts, 1)]
        table = predict([path for path, _ in paths])
        inline = pl.Series([held for _, held in paths], dtype=pl.Boolean)
        return table.with_columns(file=pl.when(inline).then(pl.lit("")).otherwise(pl.col("file")))


def _path(text: Any, place: Path) -> tuple[Path, bool]:
    """Return the path of an image, and whether it was in base64 and is written to ``place``."""
    if not isinstance(text, str) or not text:
        raise BlastscopeError("An image must be a path, or an image file in base64.")
    if len(text) > MOST_CHARACTERS:
        raise BlastscopeError(
            f"An image in base64 has more than {MOST_CHARACTERS:,} characters: crop it to the cell."
        )
    content = _decoded(text)
    if content is not None:
        place.write_bytes(content)
        return place, True
    if len(text) > _LONGEST_PATH:
        raise BlastscopeError("An image is neither a path nor a BMP, PNG, TIFF, JPEG or WebP file.")
    path = Path(text)
    if _SERVER in sys.modules:
        path = _below_folder(path)
    if not path.is_file() or path.suffix.lower() == ".zip":
        raise BlastscopeError(f"{text} is not an image file: give its path, or the file in base64.")
    return path, False


def _decoded(text: str) -> bytes | None:
    """Return the image file that a text holds; None if it holds none."""
    marked = text.startswith("data:")
    body = text.partition(",")[2] if marked else text
    try:
        content = base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if content.startswith(_BEGINNINGS):
        return content
    if marked:
        raise BlastscopeError("A data: URI does not hold a BMP, PNG, TIFF, JPEG or WebP file.")
    return None


def _below_folder(path: Path) -> Path:
    """Refuse a path that a client of a server must not name."""
    root = os.environ.get(FOLDER)
    if not root:
        raise BlastscopeError(
            f"This server reads no paths: send images in base64, or start it with {FOLDER} set to "
            "the folder that it may read."
        )
    home = Path(root).resolve()
    found = (home / path).resolve()
    if not found.is_relative_to(home):
        raise BlastscopeError(f"{path} is not below the folder of {FOLDER}.")
    return found
