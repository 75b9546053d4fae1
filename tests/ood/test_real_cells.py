"""The flag on real cells, and on noise, words, photographs and discs of colour."""

from __future__ import annotations

import shutil

import numpy as np
import polars as pl

from blastscope.data.preparation import prepare
from blastscope.data.store import StoreSettings, open_store
from blastscope.ood.detector import fit_ood
from blastscope.robustness.non_cell_images import non_cell_images
from blastscope.robustness.summary import judge_ood

EVERY = 6
"""One real cell in so many: about 600."""


def test_what_is_no_cell_is_told_from_cells(shared, tmp_path):
    for label in ("all", "hem"):
        folder = tmp_path / "data" / label
        folder.mkdir(parents=True)
        found = sorted((shared / "data" / "C-NMC_training_data").glob(f"fold_*/{label}/*.*"))
        for path in found[::EVERY]:
            shutil.copy(path, folder)
    made = prepare([tmp_path / "data"], tmp_path / "store", StoreSettings(size=64, scale="keep"))
    store = open_store(made.path)
    rows = np.random.default_rng(0).permutation(len(store))
    train, validation, test = np.split(rows, [len(rows) // 2, 3 * len(rows) // 4])
    known = fit_ood(store.pixels, train, validation)
    exchanged = np.ascontiguousarray(store.pixels[test][..., ::-1])
    assert (known.of(exchanged) > 1).mean() > 0.95
    cells = store.cells[test.tolist()].select("subject", "label")
    cells = cells.with_columns(ood_score=pl.Series(known.of(store.pixels[test])))
    strange = pl.concat(
        [
            pl.DataFrame({"cell": kind, "ood_score": known.of(pixels)})
            for kind, pixels in non_cell_images(64, 40).items()
        ]
    )
    judged = judge_ood(cells, strange)
    assert judged.flagged < 0.06
    for kind in judged.kinds:
        assert kind.auroc > 0.99, kind
        assert kind.flagged > 0.9, kind
