"""What the tortures work on: a few synthetic cells, and everything that is made of them."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import polars as pl

import blastscope as bs
from blastscope.box import in_the_box
from blastscope.data.split_table import Split
from blastscope.io.predictions import PARTS, PREDICTIONS, read_predictions, write_predictions
from tests.torture.malformed import GoodFiles, good_geojson
from tests.training.conftest import RECIPE


@dataclass(frozen=True)
class Material:
    """Synthetic cells, and a store, split, recipe, run, table and bundle of them."""

    folder: Path

    cells = property(lambda self: self.folder / "cells")
    store = property(lambda self: self.folder / "store")
    split = property(lambda self: self.folder / "split.parquet")
    recipe = property(lambda self: self.folder / "tiny.yaml")
    space = property(lambda self: self.folder / "space.yaml")
    run = property(lambda self: self.folder / "run")
    table = property(lambda self: self.folder / "p.csv")
    bundle = property(lambda self: self.folder / "tiny.zip")

    def good_files(self) -> GoodFiles:
        """Return one good file of each kind that is damaged."""
        return GoodFiles(
            bundle=self.bundle.read_bytes(),
            recipe=(self.run / "recipe.yaml").read_bytes(),
            split=self.split.read_bytes(),
            csv=self.table.read_bytes(),
            parquet=(self.run / "predictions.parquet").read_bytes(),
            decision=(self.folder / "decided" / "decision.json").read_bytes(),
            geojson=good_geojson(),
        )


def quick_files(folder: Path) -> GoodFiles:
    """Return good files without a training: those of the model in the box, and drawn ones."""
    box, packed = in_the_box(), io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(box.iterdir()):
            if path.is_file() and path.suffix != ".py":
                archive.write(path, path.name)
    rows = [
        (f"c{k}", f"{k % 6}", ("all", "hem")[k % 2], PARTS[k % 3], "net", k / 30) for k in range(30)
    ]
    frame = pl.DataFrame(rows, schema=dict(PREDICTIONS.columns), orient="row")
    for name in ("p.csv", "p.parquet"):
        write_predictions(frame, folder / name)
    Split(frame.select("cell", "part"), "own", 0).write(folder / "s.parquet")
    return GoodFiles(
        bundle=packed.getvalue(),
        recipe=RECIPE.encode(),
        split=(folder / "s.parquet").read_bytes(),
        csv=(folder / "p.csv").read_bytes(),
        parquet=(folder / "p.parquet").read_bytes(),
        decision=(box / "decision.json").read_bytes(),
        geojson=good_geojson(),
    )


def make_material(folder: Path, cells: int = 48, epochs: int = 2) -> Material:
    """Make it all, in less than a minute."""
    found = Material(folder)
    folder.mkdir(parents=True, exist_ok=True)
    recipe = RECIPE.replace("epochs: 4", f"epochs: {epochs}")
    found.recipe.write_text(recipe)
    found.space.write_text("training.rate: {type: float, low: 1.0e-3, high: 3.0e-2, log: true}\n")
    bs.synthesize(found.cells, cells, 12, seed=3)
    store = bs.prepare(found.cells, out=found.store, size=32)
    bs.split(store, "subject", seed=3, out=found.split)
    run = bs.train(found.recipe, found.store, found.split, out=found.run)
    bs.make_bundle(run, found.bundle)
    frame, _ = read_predictions(found.run / "predictions.parquet")
    write_predictions(frame, found.table)
    bs.evaluate(found.table, out=found.folder / "decided")
    return found
