"""What labelled cells of a laboratory's own bring: a network adapted to 20, 50 and 100 cells.

Each finished fold of a cross-validation by subject stands for a laboratory: its network has never
seen the fold's subjects. Some of the fold's cells are drawn, the network is adapted to them, and
judged on cells that were not drawn, of other subjects with ALL. The normal cells of both are of
the same subjects if the fold has only one. The rule that a new last layer needs three subjects of
each class is off in the last row of each number of cells, to show what it keeps away.

    python benchmarks/adaptation.py CROSSVAL --store STORE [--draws 20] [--cells 20 50 100]
        [--most 600]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl
from common import machine, table
from numpy.typing import NDArray

from blastscope.adaptation.cells import FEWEST_OF_CLASS, AdaptationCells
from blastscope.adaptation.fitting import (
    AdaptationFit,
    adaptation_metrics,
    corrected,
    fit_adaptation,
)
from blastscope.api.bundle import make_bundle
from blastscope.bundle.read import open_bundle
from blastscope.data.store import open_store
from blastscope.decision.calibration import Calibration
from blastscope.decision.calibration_choice import choose_calibration
from blastscope.engines.engine import mean_probability
from blastscope.engines.last_layer import FeatureEngine
from blastscope.io.predictions import read_predictions
from blastscope.process import tune_process

SHOWN = {"weighted_f1": "weighted F1", "auc": "AUC", "brier": "Brier", "ece": "ECE"}
Rows = NDArray[np.intp]
Metrics = dict[str, float]


@dataclass(frozen=True)
class FoldCells:
    """The test cells of a fold, and the calibration that the other folds suggest."""

    name: str
    cells: AdaptationCells
    shipped: Calibration


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("crossval", type=Path)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--cells", type=int, nargs="+", default=[20, 50, 100])
    parser.add_argument("--most", type=int, default=600, help="cells of a fold, evenly spread")
    asked = parser.parse_args()
    tune_process()
    print(machine("onnxruntime", "scikit-learn"))
    pooled: dict[tuple[str, str], list[Metrics]] = {}
    for fold in _folds(asked.crossval, asked.store, asked.most):
        found = _measured(fold, asked.cells, asked.draws)
        for key, metrics in found.items():
            pooled.setdefault(key, []).extend(metrics)
        _print(f"{asked.crossval.name}, {fold.name}", found)
    _print(f"{asked.crossval.name}, all folds", pooled)


def _folds(crossval: Path, store_path: Path, most: int) -> Iterator[FoldCells]:
    """Yield every finished fold of the first repeat, with at most so many of its cells."""
    store = open_store(store_path)
    row_of = {cell: row for row, cell in enumerate(store.cells["cell"])}
    runs = sorted(crossval.glob("runs/repeat1-fold*/*/predictions.parquet"))
    tested = {path: read_predictions(path)[0].filter(pl.col("part") == "test") for path in runs}
    for path, rows in tested.items():
        others = [other for place, other in tested.items() if place != path]
        with TemporaryDirectory() as folder:
            network = open_bundle(make_bundle(path.parent, Path(folder) / "b").place).networks[0]
            engine = FeatureEngine(network.onnx(), network.weights())
        rows = rows.sort("label", "cell").gather_every(max(1, -(-rows.height // most)))
        found = engine.compute(store.pixels[[row_of[cell] for cell in rows["cell"]]])
        cells = AdaptationCells(
            is_all=(rows["label"] == "all").to_numpy(),
            subjects=tuple(rows["subject"]),
            p_all=mean_probability(found.logits[:, None]),
            features=found.values,
            logits=found.logits,
            added=found.added,
            checked={},
            synthetic=store.synthetic,
            out_of_distribution=0,
        )
        yield FoldCells(path.parents[1].name, cells, _shipped(others))


def _shipped(others: list[pl.DataFrame]) -> Calibration:
    """Return the calibration of the other folds' predictions; none without them."""
    if not others:
        return Calibration()
    cells = pl.concat(others)
    is_all = (cells["label"] == "all").to_numpy()
    return choose_calibration(is_all, cells["p_all"].to_numpy(), cells["subject"].to_list())[0]


def _measured(
    fold: FoldCells, counts: list[int], draws: int
) -> dict[tuple[str, str], list[Metrics]]:
    found: dict[tuple[str, str], list[Metrics]] = {}
    for number in range(draws):
        rng = np.random.default_rng(number)
        pool, judged = _halves(fold.cells, rng)
        for count in counts:
            rows = _drawn(fold.cells.is_all, pool, count, rng)
            if rows is None:
                continue
            some, truth = _taken(fold.cells, rows), fold.cells.is_all[judged]
            by_rule = fit_adaptation(some, fold.shipped)
            no_rule = fit_adaptation(some, fold.shipped, strict=False)
            for what, p_all in (
                ("before", fold.shipped.apply(fold.cells.p_all[judged])),
                ("adapted", _applied(fold.cells, by_rule, judged)),
                ("adapted, last layer without the rule", _applied(fold.cells, no_rule, judged)),
            ):
                key = (f"{count}", what)
                found.setdefault(key, []).append(adaptation_metrics(truth, p_all))
    return found


def _halves(cells: AdaptationCells, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Cut cells into those to draw from and those to judge on, by subject where there are two."""
    names, draw = np.array(cells.subjects), np.zeros(len(cells), np.bool_)
    for label in (True, False):
        here = cells.is_all == label
        subjects = np.unique(names[here])
        if len(subjects) > 1:
            chosen = rng.permutation(subjects)[: len(subjects) // 2]
            draw |= here & np.isin(names, chosen)
        else:
            rows = rng.permutation(np.flatnonzero(here))
            draw[rows[: len(rows) // 2]] = True
    return np.flatnonzero(draw), np.flatnonzero(~draw)


def _drawn(
    is_all: NDArray[np.bool_], pool: Rows, count: int, rng: np.random.Generator
) -> Rows | None:
    """Draw cells with the mix of all cells; None if the pool has too few."""
    n_all = round(count * float(is_all.mean()))
    n_all = min(max(n_all, FEWEST_OF_CLASS), count - FEWEST_OF_CLASS)
    of_all, of_hem = pool[is_all[pool]], pool[~is_all[pool]]
    if len(of_all) < n_all or len(of_hem) < count - n_all:
        return None
    return np.concatenate(
        [rng.choice(of_all, n_all, False), rng.choice(of_hem, count - n_all, False)]
    )


def _taken(cells: AdaptationCells, rows: Rows) -> AdaptationCells:
    assert cells.features is not None
    assert cells.logits is not None
    return replace(
        cells,
        is_all=cells.is_all[rows],
        subjects=tuple(cells.subjects[row] for row in rows),
        p_all=cells.p_all[rows],
        features=cells.features[rows],
        logits=cells.logits[rows],
    )


def _applied(cells: AdaptationCells, fit: AdaptationFit, rows: Rows) -> NDArray[np.float64]:
    if fit.correction is not None:
        return corrected(cells, fit.correction, rows)
    return fit.calibration.apply(cells.p_all[rows])


def _print(title: str, found: dict[tuple[str, str], list[Metrics]]) -> None:
    rows = []
    for (count, what), metrics in found.items():
        spread = [_spread([one[name] for one in metrics]) for name in SHOWN]
        rows.append([count, what, *spread])
    draws = max((len(metrics) for metrics in found.values()), default=0)
    columns = ["cells", "", *SHOWN.values()]
    note = f"mean and range of {draws} draws, on cells that were not drawn; ALL above one half"
    table(title, columns, rows, note)


def _spread(values: list[float]) -> str:
    return f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
