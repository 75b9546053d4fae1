"""How many subjects a classifier needs: a learning curve by simulation from real cells.

Features are those of a network that has only ImageNet weights, so that no subject is known to it.
From the cells given come the difference between the classes, the spread between subjects of a
class, and the spread of cells within a subject (principal components, Gaussian). Subjects are then
drawn from this model, a linear discriminant is trained on some, and its AUC is measured on the next
normal subject against the ALL cells of new subjects. With few subjects the observed difference
between the classes is too large by the noise of its own means; that is subtracted.

    python benchmarks/subjects_needed.py --store STORE --weights-dir FOLDER [--draws 40]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from common import machine, table
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import roc_auc_score

from blastscope.data.names import ALL
from blastscope.data.store import Store, open_store
from blastscope.models.classifier import build_model
from blastscope.process import tune_process
from blastscope.recipes.library import load_recipe

Floats = NDArray[np.float64]
MOST_CELLS = 100  # of a subject, evenly spread
CELLS = 60  # of a subject that is drawn
TESTED = (8, 8)  # new normal and new ALL subjects of a draw
SHOWN = ((2, 7), (3, 11), (6, 11), (10, 18), (26, 47), (100, 180), (400, 720))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--weights-dir", type=Path)
    parser.add_argument("--recipe", default="beyond/efficientnet-lite0-one-scale")
    parser.add_argument("--components", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--draws", type=int, default=40)
    asked = parser.parse_args()
    tune_process()
    store = open_store(asked.store)
    rows = spread_rows(store)
    features = frozen_features(store, rows, asked.recipe, asked.weights_dir)
    cells = store.cells[rows.tolist()]
    is_all, subjects = (cells["label"] == ALL).to_numpy(), cells["subject"].to_numpy()
    print(machine("torch", "scikit-learn"))
    print(f"{len(rows)} cells of {len(set(subjects))} subjects, features of {asked.recipe}")
    for components in asked.components:
        points = PCA(components, random_state=0).fit_transform(features)
        show(points, is_all, subjects, asked.draws)


def spread_rows(store: Store) -> NDArray[np.int64]:
    """Choose at most ``MOST_CELLS`` rows of each subject, evenly spread."""
    subject = store.cells["subject"].to_numpy()
    chosen = []
    for name in sorted(set(subject)):
        own = np.flatnonzero(subject == name)
        chosen.append(own[np.linspace(0, len(own) - 1, min(len(own), MOST_CELLS)).astype(int)])
    return np.unique(np.concatenate(chosen))


def frozen_features(
    store: Store, rows: NDArray[np.int64], recipe: str, weights_dir: Path | None
) -> Floats:
    """Return the backbone's features of cells, averaged over the image."""
    network = build_model(load_recipe(recipe), weights_dir).eval()
    found = []
    with torch.inference_mode():
        for first in range(0, len(rows), 64):
            pixels = torch.from_numpy(store.pixels[rows[first : first + 64]]).permute(0, 3, 1, 2)
            maps = network.backbone(network.normalise(pixels))
            found.append(maps.mean(dim=(2, 3)).double().numpy())
    return np.concatenate(found)


@dataclass(frozen=True)
class CellModel:
    """Gaussian cells of Gaussian subjects of two classes."""

    difference: Floats  # the mean of ALL minus the mean of normal subjects
    between: Floats  # covariance between the means of subjects of one class
    within: Floats  # covariance of the cells of one subject

    def draw(self, normal: int, blast: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Draw subjects with their cells: points (cells, components), and 1 for ALL."""
        width = len(self.difference)
        is_all = np.repeat([0.0, 1.0], [normal, blast])
        centre = is_all[:, None] * self.difference
        centre = centre + rng.standard_normal((len(is_all), width)) @ _root(self.between)
        noise = rng.standard_normal((len(is_all), CELLS, width)) @ _root(self.within)
        points = (centre[:, None] + noise).reshape(-1, width)
        return points, np.repeat(is_all, CELLS)


def fit_cells(points: Floats, is_all: NDArray[np.bool_], subjects: NDArray[np.str_]) -> CellModel:
    """Estimate the model by moments."""
    means, classes, scatter, noise = [], [], [], []
    for name in sorted(set(subjects)):
        own = points[subjects == name]
        means.append(own.mean(0))
        classes.append(bool(is_all[subjects == name][0]))
        scatter.append(np.cov(own.T))
        noise.append(scatter[-1] / len(own))
    centre, kind = np.array(means), np.array(classes)
    own_class = np.where(kind[:, None], centre[kind].mean(0), centre[~kind].mean(0))
    deviations = centre - own_class
    between = deviations.T @ deviations / (len(centre) - 2) - np.mean(noise, axis=0)
    values, vectors = np.linalg.eigh(between)
    between = (vectors * values.clip(0)) @ vectors.T
    within = np.mean(scatter, axis=0)
    difference = centre[kind].mean(0) - centre[~kind].mean(0)
    # |difference|² in units of a cell's spread, minus what the noise of the two means adds to it
    inverse = np.linalg.inv(between + within)
    seen = float(difference @ inverse @ difference)
    spurious = float(np.trace(inverse @ between)) * (1 / kind.sum() + 1 / (~kind).sum())
    return CellModel(difference * np.sqrt(max(0.0, 1 - spurious / seen)), between, within)


def _root(covariance: Floats) -> Floats:
    return np.real(sqrtm(covariance)).T


def discriminant(points: Floats, is_all: Floats) -> LinearDiscriminantAnalysis:
    """Fit a linear discriminant with shrinkage."""
    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(points, is_all)


def measured(points: Floats, is_all: NDArray[np.bool_], subjects: NDArray[np.str_]) -> list[float]:
    """Return the AUC of each normal subject, left out with a third of the ALL subjects."""
    normal = sorted(set(subjects[~is_all]))
    blasts = sorted(set(subjects[is_all]))
    found: list[float] = []
    for number, name in enumerate(normal):
        tested = np.isin(subjects, [name, *blasts[number :: len(normal)]])
        scores = discriminant(points[~tested], is_all[~tested]).decision_function(points[tested])
        found.append(float(roc_auc_score(is_all[tested], scores)))
    return found


def simulated(model: CellModel, normal: int, blast: int, draws: int) -> tuple[float, float]:
    """Return the mean AUC of the next subject, and the 10th percentile over subjects."""
    found: list[float] = []
    for seed in range(draws):
        rng = np.random.default_rng([seed, normal, blast])
        fitted = discriminant(*model.draw(normal, blast, rng))
        points, is_all = model.draw(*TESTED, rng)
        scores = fitted.decision_function(points)
        blasts = scores[is_all == 1]
        for one in scores[is_all == 0].reshape(-1, CELLS):
            both = np.concatenate([blasts, one])
            found.append(float(roc_auc_score(np.r_[np.ones(len(blasts)), np.zeros(CELLS)], both)))
    return float(np.mean(found)), float(np.quantile(found, 0.1))


def show(points: Floats, is_all: NDArray[np.bool_], subjects: NDArray[np.str_], draws: int) -> None:
    """Print measured and simulated AUC by the number of training subjects."""
    model = fit_cells(points, is_all, subjects)
    real = measured(points, is_all, subjects)
    rows = []
    for normal, blast in SHOWN:
        mean, low = simulated(model, normal, blast, draws)
        rows.append([str(normal), str(blast), f"{mean:.3f}", f"{low:.3f}"])
    table(
        f"AUC of the next normal subject, {points.shape[1]} components",
        ["normal subjects", "ALL subjects", "mean", "one in ten below"],
        rows,
        "Measured, one normal subject left out at a time: "
        + ", ".join(f"{value:.3f}" for value in real)
        + f" (mean {np.mean(real):.3f}).",
    )


if __name__ == "__main__":
    main()
