"""Feature extraction with the frozen base computed once, against computing it in every epoch.

Rival: the same run without the cache, as notebooks do it. Limit: computing the base once for every
cell and view, and nothing else.

    python benchmarks/frozen_features.py [--data DIR --weights-dir DIR] [--cells 1500]

Without ``--data`` the cells are synthetic; without ``--weights-dir`` the weights are random, which
changes nothing in what is computed.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import torch
from rich.console import Console
from rich.table import Table

from blastscope.data.layouts import list_cells
from blastscope.data.preparation import prepare
from blastscope.data.splits import make_split
from blastscope.data.store import StoreSettings, open_store
from blastscope.data.synthetic import write_synthetic
from blastscope.models.classifier import build_model
from blastscope.process import tune_process
from blastscope.recipes.library import load_recipe
from blastscope.recipes.schema import Recipe
from blastscope.training.batches import PlainBatches
from blastscope.training.dataset import read_inputs
from blastscope.training.network_input import pixel_input
from blastscope.training.train import train

EPOCHS = 20


def main() -> None:
    asked = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        rows = [_measure(name, asked, place) for name in asked.recipe]
    table = Table(
        "recipe", "size", "views", "every epoch", "once", "ratio", "limit", "of limit", "max |Δp|"
    )
    for row in rows:
        table.add_row(*row)
    threads = torch.get_num_threads()
    Console().print(f"{EPOCHS} epochs, {asked.cells} cells, {threads} threads, single precision")
    Console().print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="labelled cells; synthetic ones without")
    parser.add_argument("--cells", type=int, default=1500)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--weights-dir", type=Path)
    parser.add_argument("--recipe", nargs="+", default=["paper/mobilenetv2-e3"])
    return parser.parse_args()


def _measure(name: str, asked: argparse.Namespace, place: Path) -> tuple[str, ...]:
    settings = [f"training.epochs={EPOCHS}", f"training.patience={EPOCHS}"]
    settings += [f"input.size={asked.size}", "training.precision=32"]
    settings += [] if asked.weights_dir else ["model.weights=none"]
    recipe = load_recipe(name, settings)
    store = _store(asked, place)
    split = make_split(store, "image", 24)[0]
    runs = {}
    for kept in (False, True):
        began = time.perf_counter()
        path = place / name.replace("/", "-") / ("once" if kept else "every")
        train(
            recipe,
            store,
            split,
            path,
            weights_dir=asked.weights_dir,
            device="cpu",
            keep_features=kept,
        )
        seconds = time.perf_counter() - began
        runs[kept] = seconds, pl.read_parquet(path / "predictions.parquet")["p_all"].to_numpy()
    limit, views = _limit(recipe, store, split)
    (every, plain), (once, cached) = runs[False], runs[True]
    return (
        name,
        str(asked.size),
        f"{views:,}",
        f"{every:.1f} s",
        f"{once:.1f} s",
        f"{every / once:.1f}×",
        f"{limit:.1f} s",
        f"{limit / once:.0%}",
        f"{np.abs(plain - cached).max():.1e}",
    )


def _store(asked: argparse.Namespace, place: Path) -> Path:
    """Prepare ``asked.cells`` cells, the same number of each class and subject as they come."""
    source = place / "cells"
    if not source.is_dir():
        if asked.data is None:
            write_synthetic(source, asked.cells, 24, 24)
        else:
            found = list_cells([asked.data]).cells
            for item in found[:: max(1, len(found) // asked.cells)][: asked.cells]:
                target = source / (item.label or "none") / item.path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(item.path, target)
    return prepare([source], place / "store", StoreSettings(size=asked.size)).path


def _limit(recipe: Recipe, store: Path, split: Path) -> tuple[float, int]:
    """Run the network once over every cell and copy that the run needs."""
    tune_process()
    inputs = read_inputs(recipe, store, split)
    classifier = build_model(recipe, pretrained=False).eval()
    classifier.to(memory_format=torch.channels_last)
    copies = int((inputs.training.operations > 0).sum())
    rows = np.arange(len(open_store(store)) + copies) % len(open_store(store))
    network_input = pixel_input(classifier, inputs)
    began = time.perf_counter()
    with torch.inference_mode():
        for images, *_ in PlainBatches(network_input.views, inputs.is_all, rows, 64):
            network_input(images)
    return time.perf_counter() - began, len(rows)


if __name__ == "__main__":
    main()
