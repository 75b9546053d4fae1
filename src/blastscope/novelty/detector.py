"""How far a picture's features lie from all that the features of training cells span."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from blastscope.novelty.features import Floats, Kept, Sketch, direction

QUANTILE = 0.99
"""The share of validation cells that lie within the threshold: about 1 % of cells are flagged."""
MOST_DIRECTIONS = 32
_FEWEST_FOR_EACH = 4
"""Features, and training cells, for each direction: with fewer, nothing would be left over."""


@dataclass(frozen=True)
class Novelty:
    """The plane that training cells lie in, and how far from it validation cells lie.

    The distance is what a picture's features have that the plane does not: the residual of a
    principal component analysis (J. Jackson and G. Mudholkar, Technometrics 21:341-349, 1979).

    Attributes:
        mean: of the training cells' features (``direction``), shape (width,).
        plane: orthonormal directions of the most variance, shape (directions, width).
        threshold: the 99 % point of the validation cells' distances; above zero.
        cells: how many cells it was fitted on, of training.
        sketch: how features are narrowed before, where they are wide.
    """

    mean: Floats
    plane: Floats
    threshold: float
    cells: int
    sketch: Sketch | None = None

    def distance(self, features: NDArray[np.floating]) -> Floats:
        """Return the distance of features, (N, width), shape (N,)."""
        off = direction(features) - self.mean
        residual: Floats = off - (off @ self.plane.T) @ self.plane
        distances: Floats = np.linalg.norm(residual, axis=1)
        return distances

    def of(self, features: Tensor) -> Floats:
        """Return distance over threshold, (N,), of what a last layer was given, (N, width)."""
        narrowed = Kept(self.sketch)
        narrowed.add(features)
        return self.distance(narrowed.all()) / self.threshold


def fit(kept: Kept, training: int, validation: int) -> Novelty | None:
    """Fit the plane and the threshold.

    Args:
        kept: the features of the run's training cells, then of its validation cells; what follows
            is not looked at.
        training: how many training cells there are, at least one.
        validation: how many validation cells, at least one.

    Returns:
        None where all validation cells lie in the plane, as they do where a network gives every
        cell the same features, or where features are no numbers: there nothing can be told apart.
    """
    from sklearn.decomposition import PCA

    features = kept.all()
    if not np.isfinite(features).all():
        return None
    known = direction(features[:training])
    least = min(known.shape)
    plane = np.zeros((0, known.shape[1]))
    if least >= _FEWEST_FOR_EACH and np.ptp(known, axis=0).any():
        count = min(MOST_DIRECTIONS, least // _FEWEST_FOR_EACH)
        plane = PCA(count, svd_solver="covariance_eigh").fit(known).components_
    # As the file holds them, so that a run's own figures are those that are read from it.
    mean, plane = (
        np.ascontiguousarray(part, np.float32).astype(np.float64) for part in (known.mean(0), plane)
    )
    found = Novelty(mean, plane, 1.0, training, kept.sketch)
    distances = found.distance(features[training : training + validation])
    threshold = float(np.quantile(distances, QUANTILE))
    if not threshold > 1e-6:
        return None
    return Novelty(mean, plane, threshold, training, kept.sketch)
