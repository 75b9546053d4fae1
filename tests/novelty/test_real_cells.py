"""The flag on real cells, and on noise, words, photographs and discs of colour."""

from __future__ import annotations

import shutil

import numpy as np
import polars as pl
import pytest
import torch

from blastscope.predict.runs import open_run
from blastscope.prepare.build import prepare
from blastscope.prepare.store import StoreSettings, open_store
from blastscope.recipes.library import load_recipe
from blastscope.splits.make import make_split
from blastscope.stress.outsiders import judge
from blastscope.stress.strangers import strangers
from blastscope.train.feed import Feed
from blastscope.train.predict import probabilities
from blastscope.train.run import train
from blastscope.train.views import PixelViews

EVERY = 9
"""One real cell in so many: about 400."""


@pytest.fixture(scope="module")
def run_and_store(shared, tmp_path_factory):
    root = tmp_path_factory.mktemp("real")
    for label in ("all", "hem"):
        folder = root / "data" / label
        folder.mkdir(parents=True)
        found = sorted((shared / "data" / "C-NMC_training_data").glob(f"fold_*/{label}/*.*"))
        for path in found[::EVERY]:
            shutil.copy(path, folder)
    store = prepare([root / "data"], root / "store", StoreSettings(size=64, scale="keep")).path
    changes = ["input.size=64", "training.epochs=2"]
    recipe = load_recipe("beyond/efficientnet-lite0-frozen-keep", changes)
    split = make_split(store, "image", 24)[0]
    weights = shared / "weights"
    made = train(recipe, store, split, root / "run", device="cpu", weights_dir=weights)
    return open_run(made.path), open_store(store)


def test_what_is_no_cell_is_told_from_cells(run_and_store):
    run, store = run_and_store
    known, classifier = run.novelty(), run.classifier()

    def novelty(pixels, rows):
        found = []
        feed = Feed(PixelViews(pixels), classifier)
        probabilities(
            classifier,
            feed,
            rows,
            torch.device("cpu"),
            on_features=lambda f: found.append(known.of(f)),
        )
        return np.concatenate(found)

    table = pl.read_parquet(run.path / "predictions.parquet").filter(pl.col("part") == "test")
    cells = store.cells.with_row_index("row").join(table.select("cell"), on="cell")
    cells = cells.with_columns(novelty=novelty(store.pixels, cells["row"].to_numpy()))
    strange = pl.concat(
        [
            pl.DataFrame({"cell": kind, "novelty": novelty(pixels, np.arange(len(pixels)))})
            for kind, pixels in strangers(64, 40).items()
        ]
    )
    found = judge(cells, strange)
    assert found.flagged < 0.12  # of some 80 cells
    auroc = {kind.kind: kind.auroc for kind in found.kinds}
    assert min(auroc[kind] for kind in ("noise", "words", "photograph", "black")) > 0.98
    assert auroc["photograph on black"] > 0.95
    assert auroc["one colour on black"] > 0.85
