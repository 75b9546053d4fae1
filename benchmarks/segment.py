"""White cells in whole fields, against truth; and how long a field takes.

DIR holds ``bccd`` (VOC boxes), ``draaslan`` (boxes as fractions) and ``masked_cells/dataset_1`` and
``_2`` (three-level masks). A cell is found if the centre of a box lies in its true box; every
further one there, and every one elsewhere, is false. With --fold, C-NMC cells are pasted onto drawn
glass, segmented and predicted by the model in the box.

    python benchmarks/segment.py DIR [--fold C-NMC/fold_1] [--cells 100] [--every 1]
"""

from __future__ import annotations

import argparse
import csv
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from common import machine, table
from PIL import Image

from blastscope.data.crop import Pixels
from blastscope.segmentation import nuclei
from blastscope.segmentation.cells import NO_OUTLINE, FoundCell, find_cells
from blastscope.segmentation.cutouts import cut_out
from blastscope.segmentation.fields import cells_of_field
from blastscope.segmentation.scale import C_NMC

Boxes = list[tuple[float, float, float, float]]
SCALES = {"bccd": 0.073, "draaslan": 0.147, "dataset_1": 0.17, "dataset_2": 0.11}
"""Micrometres a pixel: 7.5 by a red cell; of ``dataset_1``, which has none, by its cells."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, metavar="DIR")
    parser.add_argument("--fold", type=Path, help="C-NMC cells for the round trip")
    parser.add_argument("--cells", type=int, default=100)
    parser.add_argument("--every", type=int, default=1, help="take one field of so many")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    print(machine("opencv-python-headless", "numpy"))
    bccd = list(_bccd(asked.data / "bccd"))[:: asked.every]
    sets = {"bccd": bccd, "draaslan": list(_draaslan(asked.data / "draaslan"))[:: asked.every]}
    _detection(sets)
    _crossvalidation(sets)
    _masks(asked.data / "masked_cells", asked.every)
    _speed(bccd)
    if asked.fold:
        _round_trip(asked.fold, asked.cells)


def _rgb(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def _bccd(folder: Path) -> Iterator[tuple[Pixels, Boxes]]:
    for path in sorted(folder.glob("*.xml")):
        boxes = []
        for one in ET.parse(path).iter("object"):
            corners = [float(one.findtext(f"bndbox/{side}", "0")) for side in _SIDES]
            if one.findtext("name") == "WBC":
                boxes.append(tuple(corners))
        yield _rgb(path.with_suffix(".jpg")), boxes


_SIDES = ("xmin", "ymin", "xmax", "ymax")


def _draaslan(folder: Path) -> Iterator[tuple[Pixels, Boxes]]:
    boxes: dict[str, Boxes] = {}
    with (folder / "boxes.csv").open() as file:
        for row in csv.DictReader(file):
            here = boxes.setdefault(row["image"], [])
            if row["label"] == "wbc":
                here.append(tuple(256 * float(row[side]) for side in _SIDES))
    for name, found in sorted(boxes.items()):
        yield _rgb(folder / name), found


def _counts(fields: list[tuple[Pixels, Boxes]], um: float, outlines: bool) -> np.ndarray:
    """Return found, missed and false cells, and refused and flagged ones, over all fields."""
    counts = np.zeros(5, int)
    for rgb, boxes in fields:
        cells = find_cells(rgb, um) if outlines else []
        centres = [cell.centre for cell in cells] if outlines else _nuclei(rgb, um)
        hits = [0] * len(boxes)
        for x, y in centres:
            inside = [k for k, b in enumerate(boxes) if b[0] <= x <= b[2] and b[1] <= y <= b[3]]
            if inside:
                hits[min(inside, key=hits.__getitem__)] += 1
            else:
                counts[2] += 1
        counts[0] += sum(hit > 0 for hit in hits)
        counts[1] += hits.count(0)
        counts[2] += sum(max(0, hit - 1) for hit in hits)
        counts[3] += sum(cell.refused is not None for cell in cells)
        counts[4] += sum(cell.refused is None and NO_OUTLINE in cell.flags for cell in cells)
    return counts


def _nuclei(rgb: Pixels, um: float) -> list[tuple[float, float]]:
    """Return the centres of nuclei, without outlines: for the choice of constants."""
    from blastscope.segmentation.optical_density import optical_density

    factor = um / nuclei.UM
    size = (round(rgb.shape[1] * factor), round(rgb.shape[0] * factor))
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    found = nuclei.find_nuclei(optical_density(cv2.resize(rgb, size, interpolation=way)))
    return [(one.centre[0] / factor, one.centre[1] / factor) for one in found]


def _detection(sets: dict[str, list[tuple[Pixels, Boxes]]]) -> None:
    rows = []
    for name, fields in sets.items():
        found, missed, false, refused, flagged = _counts(fields, SCALES[name], True)
        precision = found / max(1, found + false)
        told = [f"{found / (found + missed):.3f}", f"{precision:.3f}", str(refused), str(flagged)]
        rows.append([name, str(len(fields)), str(found + missed), *told])
    columns = ["", "fields", "white cells", "recall", "precision", "refused", "flagged"]
    table("White cells of fields", columns, rows)


def _crossvalidation(sets: dict[str, list[tuple[Pixels, Boxes]]]) -> None:
    """Choose the constants of separation on one half of the fields, and test on the other."""
    choices = [(r, n) for r in (2.5, 3.0, 3.5) for n in (0.87, 0.92)]
    rows = []
    for name, fields in sets.items():
        halves = fields[::2], fields[1::2]
        counted: dict[tuple[float, float], list[np.ndarray]] = {}
        kept = nuclei.LEAST_RADIUS, nuclei.NECK
        for choice in choices:
            nuclei.LEAST_RADIUS, nuclei.NECK = choice
            counted[choice] = [_counts(half, SCALES[name], False) for half in halves]
        nuclei.LEAST_RADIUS, nuclei.NECK = kept
        total = np.zeros(5, int)
        for fold in (0, 1):
            best = max(choices, key=lambda c: -int(counted[c][fold][1:3].sum()))
            total += counted[best][1 - fold]
        found, missed, false = total[:3]
        rows.append([name, f"{found / (found + missed):.3f}", f"{found / (found + false):.3f}"])
    table("Constants chosen on the other half", ["", "recall", "precision"], rows)


def _masks(folder: Path, every: int) -> None:
    rows = []
    for name in ("dataset_1", "dataset_2"):
        scores = []
        for path in sorted((folder / name).glob("*_mask.png"))[::every]:
            image = next(p for p in path.parent.glob(f"{path.stem[:-5]}.*"))
            truth = np.array(Image.open(path).convert("L"))
            scores.append(_best(find_cells(_rgb(image), SCALES[name]), truth))
        found = np.array(scores)
        bad = found[:, 0] < 0.8
        caught = f"{int((bad & (found[:, 2] > 0)).sum())} of {int(bad.sum())}"
        good = f"{int((~bad & (found[:, 3] > 0)).sum())} of {int((~bad).sum())}"
        medians = [f"{value:.3f}" for value in np.median(found[:, :2], axis=0)]
        rows.append([name, str(len(found)), *medians, caught, good])
    columns = ["", "cells", "cell Dice", "nucleus Dice", "below .8: refused or flagged",
               "others: refused"]  # fmt: skip
    table("Masks, median Dice", columns, rows)


def _best(cells: list[FoundCell], truth: np.ndarray) -> tuple[float, float, bool, bool]:
    """Return Dice of the cell and nucleus that overlap the truth most; refused if none does."""
    scores = [(0.0, 0.0, True, True)]
    for cell in cells:
        cell_mask, core = np.zeros((2, *truth.shape), bool)
        box = cell.box
        place = np.s_[box.y : box.y + box.h, box.x : box.x + box.w]
        cell_mask[place] = cell.mask
        core[place] = cell.nucleus
        refused = cell.refused is not None
        odd = refused or bool(cell.flags)
        scores.append((_dice(cell_mask, truth > 64), _dice(core, truth > 200), odd, refused))
    return max(scores)


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * float((one & other).sum()) / max(1.0, float(one.sum() + other.sum()))


def _speed(fields: list[tuple[Pixels, Boxes]]) -> None:
    """Time a field of 2592 × 1944 that is laid of BCCD's, on one core."""
    parts = [rgb for rgb, _ in fields[:20]]
    parts = (parts * 20)[:20]
    tall = [np.vstack(parts[k : k + 4]) for k in range(0, 20, 4)]
    field = np.ascontiguousarray(np.hstack(tall)[:1944, :2592])
    field = cv2.resize(field, (2592, 1944))
    began, busy = time.perf_counter(), time.process_time()
    cells = cells_of_field(field, SCALES["bccd"])
    wall, busy = time.perf_counter() - began, time.process_time() - busy
    row = [str(len(cells)), f"{busy:.2f}", f"{wall:.2f}"]
    table("A field of 2592 × 1944, one core", ["white cells", "s of processor", "s"], [row])


def _round_trip(fold: Path, cells: int) -> None:
    """Paste cells onto glass, segment, predict before and after."""
    import blastscope as bs

    model = bs.load()
    rng = np.random.default_rng(24)
    paths = sorted(fold.rglob("*.webp")) or sorted(fold.rglob("*.bmp"))
    before, after, refused = [], [], 0
    for path in paths[:: max(1, len(paths) // cells)][:cells]:
        cell = _rgb(path)
        mask = cell.max(axis=2) > 0
        glass = np.full((600, 600, 3), (228, 224, 222)) + rng.normal(0, 3, (600, 600, 3))
        field = glass.clip(0, 255).astype(np.uint8)
        field[75:525, 75:525][mask] = cell[mask]
        found = max(find_cells(field, C_NMC), key=lambda one: one.mask.sum(), default=None)
        image = None
        if found is not None and found.refused is None:
            image = cut_out(field, found.box, found.mask, C_NMC)
        if image is None:
            refused += 1
            continue
        before.append(cell)
        after.append(image)
    if not before:
        raise SystemExit("No cell came back.")
    first, second = (model.predict(images) for images in (before, after))
    change = np.abs((first["p_all"] - second["p_all"]).to_numpy())
    same = (first["called"].fill_null("none") == second["called"].fill_null("none")).mean()
    row = [str(len(before)), str(refused), f"{same:.3f}"]
    row += [f"{value:.4f}" for value in np.quantile(change, (0.5, 0.95, 1))]
    columns = ["cells", "refused", "same call", "|Δp| median", "95 %", "most"]
    table("Round trip of C-NMC cells", columns, [row])


if __name__ == "__main__":
    main()
