"""The store: a folder of prepared pixels, memory-mapped, beside their cell table and settings.

``cells.parquet`` has a row a cell, ``pixels.npy`` (uint8, N × S × S × 3, RGB) its pixels in the
same order, ``store.json`` the settings that made them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from dataclasses import field as _field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import xxhash

from blastscope.data.cell_table import CELLS
from blastscope.data.crop import FIELD, THRESHOLD, Contour, Pixels, Scale
from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json
from blastscope.io.remote import refuse_url
from blastscope.io.subject_names import with_subject_names
from blastscope.io.tables import read_table
from blastscope.stain.statistics import StainStatistics, statistics_from

VERSION = 1
INFO, TABLE, PIXELS = "store.json", "cells.parquet", "pixels.npy"


@dataclass(frozen=True)
class StoreSettings:
    """Everything that decides what a store's pixels look like."""

    size: int = 224
    scale: Scale = "crop"
    clahe: bool = False
    contour: Contour = "union"
    field: int = FIELD
    threshold: int = THRESHOLD
    # What each cell's stain is normalized to; None if it is left as it is. Out of ``repr``, which
    # stores made without it are known by.
    stain: StainStatistics | None = _field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse a size or a name that is out of its range."""
        if not 16 <= self.size <= 1024:
            raise BlastscopeError(f"size {self.size} is not within 16 to 1024 pixels.")
        if self.scale not in ("crop", "keep"):
            raise BlastscopeError(f"scale {self.scale!r} is neither crop nor keep.")
        if self.contour not in ("union", "first"):
            raise BlastscopeError(f"contour {self.contour!r} is neither union nor first.")

    @property
    def colour_normalization(self) -> str:
        """The method that cells were normalized by; ``none`` if they were not."""
        return "none" if self.stain is None else self.stain.method

    @property
    def own_colours(self) -> bool:
        """Whether cells have the colours of their images."""
        return not self.clahe and self.stain is None

    @property
    def flags(self) -> str:
        """The options of ``blastscope prepare`` that give these settings."""
        stained = f" --colour-normalization {self.colour_normalization}" if self.stain else ""
        return f"--size {self.size} --scale {self.scale}{' --clahe' * self.clahe}{stained}"

    def as_json(self) -> dict[str, Any]:
        """Return all settings; ``stain`` only if there is one."""
        content = asdict(self)
        del content["stain"]
        return content if self.stain is None else {**content, "stain": self.stain.as_json()}

    def differences(self, other: StoreSettings) -> str:
        """Say in what ``other`` differs: ``size 224, not 300``; empty if it does not."""
        pairs = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return ", ".join(
            f"{name} {here}, not {there}" for name, here, there in pairs if here != there
        )


@dataclass(frozen=True)
class Store:
    """An open store."""

    path: Path
    cells: pl.DataFrame
    pixels: Pixels
    """uint8, N × S × S × 3, RGB, memory-mapped and read-only."""
    settings: StoreSettings
    fingerprint: str
    """Of the settings, names, labels, subjects and source pixels: the data's identity."""
    synthetic: bool
    sources: tuple[str, ...]

    def __len__(self) -> int:
        return self.cells.height


def open_store(path: Path) -> Store:
    """Open a store and check that its parts belong together.

    Raises:
        BlastscopeError: if it is missing, incomplete or of another version.
    """
    refuse_url(path, "cannot be a store, which is memory-mapped: copy it to a local disk.")
    if not (path / INFO).is_file():
        if path.exists():  # perhaps the images: `prepare` would not write into their folder
            raise BlastscopeError(
                f"{path} is not a finished store: give the folder that "
                "`blastscope prepare DIR --out STORE` makes."
            )
        raise BlastscopeError(
            f"{path} is not a store: make one with `blastscope prepare DIR --out {path}`."
        )
    info = read_json(path / INFO)
    version = info.get("version")
    if version != VERSION:
        raise BlastscopeError(
            f"{path} is a store of version {version}; this blastscope reads version {VERSION}: "
            "prepare it again."
        )
    cells, _ = read_table(path / TABLE, CELLS)
    settings = settings_from(info, path)
    pixels = _map_pixels(path / PIXELS)
    if pixels.shape != (cells.height, settings.size, settings.size, 3) or pixels.dtype != np.uint8:
        raise BlastscopeError(
            f"{path / PIXELS} is {pixels.dtype} {pixels.shape}, which does not fit its cell table "
            f"of {cells.height} rows at {settings.size} pixels: prepare the store again."
        )
    sources = tuple(str(source) for source in info.get("sources", ()))
    synthetic = bool(info.get("synthetic"))
    found = fingerprint(cells, settings)
    if info.get("fingerprint") != found:
        raise BlastscopeError(
            f"{path} has a cell table that is not the one its pixels were made with: prepare it "
            "again rather than edit it."
        )
    named = with_subject_names(cells)
    return Store(path, named, pixels, settings, found, synthetic, sources)


def settings_from(info: dict[str, Any], path: Path) -> StoreSettings:
    """Read the settings out of a store's JSON."""
    try:
        content = dict(info["settings"])
        stain = content.pop("stain", None)
        return StoreSettings(**content, stain=None if stain is None else statistics_from(stain))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BlastscopeError(f"{path} has settings that cannot be read ({error}).") from error


def store_info(
    cells: pl.DataFrame, settings: StoreSettings, sources: list[str], inputs: str, synthetic: bool
) -> dict[str, Any]:
    """Return what ``store.json`` holds."""
    from blastscope import __version__

    return {
        "format": "blastscope-store",
        "version": VERSION,
        "made_by": f"blastscope {__version__}",
        "synthetic": synthetic,
        "cells": cells.height,
        "settings": settings.as_json(),
        "fingerprint": fingerprint(cells, settings),
        "inputs": inputs,
        "sources": sources,
    }


def fingerprint(cells: pl.DataFrame, settings: StoreSettings) -> str:
    """Return ``xxh3_128:<hex>`` over the settings and each cell's name, label, subject, pixels."""
    digest = xxhash.xxh3_128(repr(sorted(settings.as_json().items())).encode())
    for row in cells.select("cell", "label", "subject", "fold", "pixel_hash").iter_rows():
        digest.update(repr(row).encode())
    return f"xxh3_128:{digest.hexdigest()}"


def pixels_digest(path: Path) -> str:
    """Return ``xxh3_128:<hex>`` of the bytes of ``pixels.npy``, which no fingerprint is of."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(2**22):
            digest.update(block)
    return f"xxh3_128:{digest.hexdigest()}"


def _map_pixels(path: Path) -> Pixels:
    try:
        pixels: Pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise BlastscopeError(
            f"{path} cannot be read ({error}): prepare the store again."
        ) from error
    return pixels
