"""Which cross-validated recipe, or mean of several, becomes the model in the box.

The rule is docs/decisions/0007-how-the-model-in-the-box-is-chosen.md. A candidate is one folder of
``blastscope crossval``, or several joined by ``+`` (the mean of their log-odds); all must be of the
same folds, one normal subject in each. Limit: size alone, on the same pairs of cells.

    python benchmarks/choose_box.py --store keep-112 a=cv-a b=cv-b both=cv-a+cv-b
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from blastscope.data.crop import Pixels
from blastscope.data.names import ALL
from blastscope.data.store import Store, open_store
from blastscope.evaluation.cell_pairs import ScoredCells, add_up_pairs
from blastscope.evaluation.equal_size import CALIPER
from blastscope.prediction.members import mean_of
from blastscope.prediction.models import Predictor
from blastscope.prediction.pipeline import predict_store
from blastscope.robustness.models import TestedModel, open_tested
from blastscope.robustness.perturbations import blur, scale, stain_hue, stain_intensity

Floats = NDArray[np.float64]
ENLARGED = 1.3
UNCHANGED, LARGER = "unchanged", "enlarged"
PERTURBED: dict[str, Callable[[Pixels], Pixels]] = {
    "stain × 1.35": partial(stain_intensity, times=1.35),
    "stain / 1.35": partial(stain_intensity, times=1 / 1.35),
    "hue + 15°": partial(stain_hue, degrees=15),
    "hue − 15°": partial(stain_hue, degrees=-15),
    "blur 1 %": partial(blur, percent=1),
}


@dataclass(frozen=True)
class Measures:
    """The four measures of the rule on one fold; of several folds, their means."""

    equal_size: float
    auc: float
    enlarged: float
    perturbed: dict[str, float]

    @property
    def score(self) -> float:
        """The lowest of the four."""
        return min(self.equal_size, self.auc, self.enlarged, min(self.perturbed.values()))


def mean_measures(folds: list[Measures]) -> Measures:
    """Average over folds, each counted once."""
    of = {name: float(np.mean([one.perturbed[name] for one in folds])) for name in PERTURBED}
    numbers = (
        float(np.mean([getattr(one, name) for one in folds]))
        for name in ("equal_size", "auc", "enlarged")
    )
    return Measures(*numbers, of)


def fold_measures(folds: list[str], number: int, store: Store, every: int) -> tuple[str, Measures]:
    """Measure one fold of a candidate; return the normal subject that it leaves out as well.

    Of the cells, each ``every``-th is perturbed.
    """
    models = [opened(folder, str(store.path)) for folder in folds]
    members = [model.members[number] for model in models]
    cells = members[0].cells
    is_all = (cells["label"] == ALL).to_numpy()
    subjects = cells["subject"].to_numpy()
    rows = members[0].rows
    for one in members:
        if one.cells["cell"].to_list() != cells["cell"].to_list():
            raise SystemExit("The cross-validations are of different folds.")
    boxes = store.cells.select("box_w", "box_h").to_numpy()[rows]
    size = boxes.max(axis=1).astype(np.float64)

    def odds(name: str, chosen: NDArray[np.bool_]) -> Floats:
        found = [
            _odds(str(one.run.path), str(store.path), tuple(rows[chosen].tolist()), name)
            for one in members
        ]
        return np.mean(found, axis=0)

    some = np.arange(len(rows)) % every == 0
    plain = odds(UNCHANGED, np.ones(len(rows), np.bool_))
    larger = plain.copy()
    larger[~is_all] = odds(LARGER, ~is_all)
    scored = ScoredCells(is_all, plain, size)
    pairs = add_up_pairs(scored, np.zeros(len(rows), np.intp), CALIPER)
    named = ", ".join(sorted(set(subjects[~is_all])))
    return named, Measures(
        equal_size=float(pairs.auc(np.ones((1, 1)))[0]),
        auc=float(roc_auc_score(is_all, plain)),
        enlarged=float(roc_auc_score(is_all, larger)),
        perturbed={
            name: float(roc_auc_score(is_all[some], odds(name, some))) for name in PERTURBED
        },
    )


@cache
def opened(folder: str, store: str) -> TestedModel:
    """Open a cross-validation once."""
    return open_tested([folder], open_store(Path(store)), "test")[0]


@cache
def predictor(run: str) -> Predictor:
    """Open a network once."""
    from blastscope.training.finished_run import open_run

    return Predictor(mean_of([open_run(Path(run))]), device="cpu")


@cache
def _odds(run: str, store: str, rows: tuple[int, ...], name: str) -> Floats:
    """Return the log-odds of some cells, perturbed; once for all candidates of a network."""
    change = {UNCHANGED: None, LARGER: partial(scale, times=ENLARGED), **PERTURBED}[name]
    pixels = open_store(Path(store)).pixels
    p, _ = predict_store(pixels, np.array(rows), predictor(run), change)
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return np.log(p / (1 - p))


def size_measures(folder: str, number: int, store: Store) -> Measures:
    """What the size of a cell alone has on the same fold."""
    member = opened(folder, str(store.path)).members[number]
    is_all = (member.cells["label"] == ALL).to_numpy()
    boxes = store.cells.select("box_w", "box_h").to_numpy()[member.rows]
    size = boxes.max(axis=1).astype(np.float64)
    pairs = add_up_pairs(
        ScoredCells(is_all, size, size), np.zeros(len(size), np.intp), CALIPER
    ).auc(np.ones((1, 1)))
    auc = float(roc_auc_score(is_all, size))
    larger = float(roc_auc_score(is_all, np.where(is_all, size, size * ENLARGED)))
    return Measures(float(pairs[0]), auc, larger, dict.fromkeys(PERTURBED, auc))


def nested(found: dict[str, dict[str, Measures]]) -> list[tuple[str, str, Measures]]:
    """For each left-out subject: the winner by the others, and what it has on that subject."""
    rows = []
    for left in next(iter(found.values())):
        scores = {
            name: mean_measures([one for who, one in folds.items() if who != left]).score
            for name, folds in found.items()
        }
        winner = max(scores, key=lambda name: scores[name])
        rows.append((left, winner, found[winner][left]))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("candidates", nargs="+", metavar="NAME=CV[+CV...]")
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="perturb every n-th cell only")
    asked = parser.parse_args()
    store = open_store(asked.store)
    given = {
        name: paths.split("+")
        for name, _, paths in (one.partition("=") for one in asked.candidates)
    }
    found: dict[str, dict[str, Measures]] = {}
    console = Console(width=140)
    for name, folders in given.items():
        folds = range(len(opened(folders[0], str(store.path)).members))
        found[name] = dict(fold_measures(folders, number, store, asked.every) for number in folds)
    first = next(iter(given.values()))[0]
    sizes = [size_measures(first, k, store) for k in range(len(next(iter(found.values()))))]
    table = Table(
        "candidate", "normal subject", "AUC at equal size", "AUC", "× 1.3", *PERTURBED, "score"
    )
    _add(table, "size alone", "mean", mean_measures(sizes))
    for name, measured in found.items():
        table.add_section()
        for subject, one in measured.items():
            _add(table, name, subject, one)
        _add(table, name, "mean", mean_measures(list(measured.values())))
    console.print(table)
    table = Table("left out", "chosen by the others", "AUC at equal size", "AUC", "× 1.3")
    for left, winner, one in nested(found):
        table.add_row(left, winner, *(f"{x:.3f}" for x in (one.equal_size, one.auc, one.enlarged)))
    console.print(table)


def _add(table: Table, name: str, subject: str, one: Measures) -> None:
    values = (one.equal_size, one.auc, one.enlarged, *one.perturbed.values(), one.score)
    table.add_row(name, subject, *(f"{value:.3f}" for value in values))


if __name__ == "__main__":
    main()
