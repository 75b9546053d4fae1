"""What the model in the box does with cells of another laboratory, as given and normalized.

    python benchmarks/other_laboratory.py DIR [--cells 40] [--fold C-NMC/fold_1]

DIR holds ``dataset_1`` and ``dataset_2``: single normal white cells with masks of three levels
(github zxaoyou/segmentation_WBC). They are cut out by their masks onto black; ``--cells`` takes so
many of each set, evenly. Counted are cells that the model flags as out of distribution, whose
probability of ALL is at least one half, and what those that pass are called. The cells are
predicted at three sizes: with a median width of 200 pixels, as C-NMC's have; at C-NMC's scale by
the scales of the sets; and as ``segment`` cuts them out itself. ``--fold`` adds as many C-NMC cells
for comparison; the model has seen fold 1 in training.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from common import machine, table
from PIL import Image

import blastscope as bs
from blastscope.data.crop import Box, Pixels, locate
from blastscope.data.images import read_image
from blastscope.segmentation.cells import find_cells
from blastscope.segmentation.cutouts import cut_out
from blastscope.segmentation.scale import C_NMC
from blastscope.stain.normalize import normalize_pixels
from blastscope.stain.reference import CNMC
from blastscope.stain.statistics import METHODS, StainError

if TYPE_CHECKING:
    from blastscope.api.predict import LoadedModel

SCALES = {"dataset_1": 0.17, "dataset_2": 0.11}
"""Micrometres a pixel of the sets, as ``benchmarks/segment.py`` has them."""
WIDTH = 200
"""The median width that the cells of a set are scaled to, in pixels."""
BACKGROUND = 64
"""Masks hold 0, 128 and 255, and a few levels between: above this is the cell."""


@dataclass(frozen=True)
class Masked:
    """A field with one cell, and the cell's mask in its box."""

    rgb: Pixels
    box: Box
    mask: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, metavar="DIR")
    parser.add_argument("--cells", type=int, default=40, help="so many of each set")
    parser.add_argument("--fold", type=Path, help="C-NMC cells for comparison")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    print(machine("opencv-python-headless", "numpy"))
    sets = {name: read_masked(asked.data / name, asked.cells) for name in SCALES}
    model = bs.load()
    as_given, large = _kept([cell for cells in sets.values() for cell in at_width(cells)])
    rows = [row(model, f"median width {WIDTH} px", as_given, large)]
    for method in METHODS:
        normalized, refused = to_cnmc(as_given, method)
        rows.append(row(model, f"the same, {method}", normalized, refused))
    for name, cells in sets.items():
        images = [cut_out(one.rgb, one.box, one.mask, SCALES[name]) for one in cells]
        rows.append(row(model, f"{name}, C-NMC's scale", *_kept(images)))
    for name, cells in sets.items():
        images = [segmented(one, SCALES[name]) for one in cells]
        rows.append(row(model, f"{name}, cut out by segment", *_kept(images)))
    if asked.fold:
        paths = sorted(asked.fold.rglob("*.webp")) or sorted(asked.fold.rglob("*.bmp"))
        count = sum(map(len, sets.values()))
        some = [read_image(path).pixels for path in paths[:: max(1, len(paths) // count)][:count]]
        rows.append(row(model, "C-NMC", some))
    columns = ["cells", "predicted", "refused", "flagged", "p(ALL) at least ½",
               "passed: called ALL", "called normal", "not called"]  # fmt: skip
    table("Cells of another laboratory", columns, rows)


def read_masked(folder: Path, count: int) -> list[Masked]:
    """Read single cells and their masks, evenly from all of a folder."""
    masks = sorted(folder.glob("*_mask.png"))
    found = []
    for path in masks[:: max(1, len(masks) // count)][:count]:
        image = next(path.parent.glob(f"{path.stem.removesuffix('_mask')}.*"))
        mask = np.array(Image.open(path).convert("L")) > BACKGROUND
        box = locate(np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255).box
        inside = mask[box.y : box.y + box.h, box.x : box.x + box.w]
        found.append(Masked(read_image(image).pixels, box, inside))
    return found


def at_width(cells: Sequence[Masked]) -> list[Pixels | None]:
    """Cut cells out by one factor, to a median width of ``WIDTH``; None if one is too large."""
    factor = WIDTH / float(np.median([one.box.w for one in cells]))
    return [cut_out(one.rgb, one.box, one.mask, factor * C_NMC) for one in cells]


def to_cnmc(images: Sequence[Pixels], method: str) -> tuple[list[Pixels], int]:
    """Normalize cells to the typical cell of C-NMC; return them and how many are refused."""
    found = []
    for image in images:
        try:
            found.append(normalize_pixels(image, CNMC[method]).pixels)
        except StainError:
            continue
    return found, len(images) - len(found)


def segmented(one: Masked, um: float) -> Pixels | None:
    """Find the cell that lies most in the true mask, and cut it out; None if it is refused."""
    truth = np.zeros(one.rgb.shape[:2], bool)
    truth[one.box.y : one.box.y + one.box.h, one.box.x : one.box.x + one.box.w] = one.mask
    best, most = None, 0
    for cell in find_cells(one.rgb, um):
        box = cell.box
        here = int((truth[box.y : box.y + box.h, box.x : box.x + box.w] & cell.mask).sum())
        if here > most:
            best, most = cell, here
    if best is None or best.refused is not None:
        return None
    return cut_out(one.rgb, best.box, best.mask, um)


def _kept(images: Sequence[Pixels | None]) -> tuple[list[Pixels], int]:
    kept = [image for image in images if image is not None]
    return kept, len(images) - len(kept)


def row(model: LoadedModel, name: str, images: Sequence[Pixels], refused: int = 0) -> list[str]:
    """Predict cells, and count what is told of them."""
    if not images:
        return [name, "0", str(refused), *["–"] * 5]
    found = model.predict(list(images))
    flagged = found["out_of_distribution"].fill_null(False)
    passed = found.filter(~flagged)["called"]
    calls = [int((passed == call).sum()) for call in ("all", "hem")]
    counts = [len(found), refused, int(flagged.sum()), int((found["p_all"] >= 0.5).sum()), *calls]
    return [name, *map(str, counts), str(len(passed) - sum(calls))]


if __name__ == "__main__":
    main()
