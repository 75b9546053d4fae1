"""What stain normalization does to real cells: colour distances, stain vectors, subjects, time.

    python benchmarks/stain.py --masked DIR [--cells FOLD] [--count 350]

``--masked`` is a folder of single white cells, NAME.png, with masks NAME_mask.png (0 background,
128 cytoplasm, 255 nucleus). Five images are references, twenty others are normalized to each; a
distance is that of the mean colours of the two nuclei, or cytoplasms, in 8-bit RGB. ``--cells`` is
a folder of C-NMC cells: the angle between the two stains of a cell, and the share of the variance
of its mean colour that subjects explain.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from blastscope.data.images import read_image
from blastscope.data.names import parse_name
from blastscope.process import tune_process
from blastscope.stain.normalize import foreground, measure_stain, normalize_pixels
from blastscope.stain.optical_density import optical_density
from blastscope.stain.reference import CNMC
from blastscope.stain.reinhard import to_lab
from blastscope.stain.statistics import METHODS, StainError

REFERENCES, QUERIES = 5, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--masked", type=Path)
    parser.add_argument("--cells", type=Path)
    parser.add_argument("--count", type=int, default=350)
    asked = parser.parse_args()
    tune_process()
    if asked.masked:
        show(masked(asked.masked))
    if asked.cells:
        show(cnmc(asked.cells, asked.count))


def show(frame: pl.DataFrame) -> None:
    table = Table(*frame.columns)
    for row in frame.iter_rows():
        table.add_row(
            *(
                "" if cell is None else f"{cell:.2f}" if isinstance(cell, float) else str(cell)
                for cell in row
            )
        )
    Console().print(table)


def masked(folder: Path) -> pl.DataFrame:
    masks = sorted(folder.glob("*_mask.png"))
    chosen = np.random.default_rng(3).permutation(len(masks))[: REFERENCES + QUERIES]
    cells = []
    for k in chosen:
        image = read_image(masks[k].with_name(masks[k].name.replace("_mask", ""))).pixels
        cells.append((image, cv2.imread(str(masks[k]), cv2.IMREAD_GRAYSCALE)))
    rows = [("as given", "", *_medians(_distances(cells)), 0)]
    for on_black in (True, False):
        for method in METHODS:
            found, refused = _normalized(cells, method, on_black)
            rows.append((method, "cell" if on_black else "whole image", *_medians(found), refused))
    names = ["method", "measured on", "nucleus", "cytoplasm", "refused"]
    return pl.DataFrame(rows, schema=names, orient="row")


def _normalized(cells: list, method: str, on_black: bool) -> tuple[list, int]:
    refused = 0

    def cut(image: NDArray, mask: NDArray) -> NDArray:
        return image * (mask > 64)[..., None].astype(np.uint8) if on_black else image

    found = []
    for target, its_mask in cells[:REFERENCES]:
        try:
            reference = measure_stain(cut(target, its_mask), method)
        except StainError:
            refused += QUERIES
            continue
        for image, mask in cells[REFERENCES:]:
            try:
                changed = normalize_pixels(cut(image, mask), reference).pixels
            except StainError:
                refused += 1
                continue
            found.append(_distance(changed, mask, target, its_mask))
    return found, refused


def _distances(cells: list) -> list:
    return [
        _distance(image, mask, target, its_mask)
        for target, its_mask in cells[:REFERENCES]
        for image, mask in cells[REFERENCES:]
    ]


def _distance(image: NDArray, mask: NDArray, target: NDArray, its_mask: NDArray) -> list[float]:
    found = []
    for low, high in ((200, 255), (64, 200)):
        here, there = ((of > low) & (of <= high) for of in (mask, its_mask))
        if not here.any() or not there.any():
            found.append(np.nan)
            continue
        found.append(float(np.linalg.norm(image[here].mean(0) - target[there].mean(0))))
    return found


def _medians(found: list) -> list[float]:
    return [float(value) for value in np.nanmedian(found, axis=0)]


def cnmc(folder: Path, count: int) -> pl.DataFrame:
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".webp", ".bmp"))
    files = files[:: max(1, len(files) // count)][:count]
    subjects = [parse_name(path.stem).subject for path in files]
    images = [read_image(path).pixels for path in files]
    energy = []
    for image in images:
        density = optical_density(np.maximum(image[foreground(image)], 1))
        values = np.linalg.eigvalsh(density.T @ density)
        energy.append(100 * values[-1] / values.sum())
    console = Console()
    console.print(f"{len(files)} cells; first direction holds {np.median(energy):.2f} % of energy")
    rows = [("as given", None, None, None, *_explained(images, subjects), None, 0)]
    for method in METHODS:
        changed, wedges, kept, refused = [], [], [], 0
        began = time.process_time()
        for image, subject in zip(images, subjects, strict=True):
            try:
                found = normalize_pixels(image, CNMC[method])
            except StainError:
                refused += 1
                continue
            changed.append(found.pixels)
            kept.append(subject)
            wedges.append(np.nan if found.own.wedge is None else found.own.wedge)
        took = 1000 * (time.process_time() - began) / len(images)
        quantiles = [float(np.quantile(wedges, share)) for share in (0.05, 0.5, 0.95)]
        angles = [None if np.isnan(angle) else angle for angle in quantiles]
        rows.append((method, *angles, *_explained(changed, kept), took, refused))
    names = ["method", "wedge 5 %", "median", "95 %", "L*", "a*", "b*", "ms a cell", "refused"]
    return pl.DataFrame(rows, schema=names, orient="row")


def _explained(images: list, subjects: list) -> list[float]:
    """The share of the variance of cells' mean colours that lies between subjects (eta squared)."""
    means = np.array([to_lab(image[foreground(image)]).mean(axis=0) for image in images])
    names = np.array(subjects)
    within = sum(
        np.square(means[names == one] - means[names == one].mean(axis=0)).sum(axis=0)
        for one in set(subjects)
    )
    return [float(v) for v in 1 - within / np.square(means - means.mean(axis=0)).sum(axis=0)]


if __name__ == "__main__":
    main()
