"""Zips of cells for tests."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def png(pixels: np.ndarray) -> bytes:
    """Return pixels as a PNG file's bytes."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def write_zip(
    path: Path, entries: Mapping[str, np.ndarray | bytes], method: int = zipfile.ZIP_DEFLATED
) -> Path:
    """Write a zip of images, given as pixels, and of other files, given as bytes."""
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in entries.items():
            file.writestr(name, content if isinstance(content, bytes) else png(content))
    return path
