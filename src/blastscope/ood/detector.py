"""``ood.json``: the out-of-distribution detector of a run folder.

It measures how far the features of an image lie from those of training cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blastscope.data.crop import Pixels
from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json, write_json
from blastscope.ood.features import FEATURES, STAIN, Floats, exchanged_stain, ood_features

QUANTILE = 0.99
"""The share of validation cells that lie within the threshold: about 1 % of cells are flagged."""
MOST = 2000
"""Cells of each split part that are measured: more add nothing to a dozen numbers."""
ORDER = 1.5
"""By how much nearer, in standard deviations, the mean colour must be to that of training cells
with red and blue exchanged than as it is, so that the image is flagged. With the model in the box
that is so of 0.2 % of 512 cells of C-NMC, and 99 % of the same cells with red and blue exchanged
are flagged; the distance of all features alone flags 79 % of these."""
FORMAT = "blastscope-ood/2"
NAME = "ood.json"
Rows = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class OodDetector:
    """The features of training cells, and how far validation cells lie from them.

    The distance is Mahalanobis's, with a covariance shrunk after Ledoit and Wolf (Journal of
    Multivariate Analysis 88:365-411, 2004), of features in standard deviations. It does not ask
    the network: a fine-tuned one is as confident of a photograph as of a cell.
    """

    mean: Floats  # of the training cells' features, shape (features,)
    deviation: Floats  # likewise; above zero
    # The inverse covariance of the standardised features, shape (features, features).
    precision: Floats
    threshold: float  # the 99 % quantile of the validation cells' distances; above zero
    cells: int  # how many training cells were measured

    def of(self, pixels: Pixels) -> Floats:
        """Return the OOD scores, shape (N,), of prepared images (N, S, S, 3): above 1 is flagged.

        The score is the distance divided by the threshold. If the colours are in another order than
        those of training cells, it is above 1: what speaks for the other order, divided by
        ``ORDER``, if that is more.
        """
        features = ood_features(pixels)
        far = self.distance(features) / self.threshold
        order = self.colour_order(features, exchanged_stain(pixels)) / ORDER
        return np.where(order > 1, np.maximum(far, order), far)

    def colour_order(self, features: Floats, exchanged: Floats) -> Floats:
        """Return by how much nearer to training cells the mean colours are if exchanged, (N,).

        It needs no numbers of its own in ``ood.json``: the distribution of the training cells' mean
        colours is a part of that of all features.
        """
        stain = np.linalg.inv(np.linalg.inv(self.precision)[STAIN, STAIN])
        as_is, other = (
            np.einsum("nl,lk,nk->n", off, stain, off)
            for off in (
                (colours - self.mean[STAIN]) / self.deviation[STAIN]
                for colours in (features[:, STAIN], exchanged)
            )
        )
        found: Floats = np.sqrt(np.maximum(as_is, 0)) - np.sqrt(np.maximum(other, 0))
        return found

    def distance(self, features: Floats) -> Floats:
        """Return the distance of features, (N, features), shape (N,)."""
        off = (features - self.mean) / self.deviation
        squares: NDArray[np.float64] = np.einsum("nl,lk,nk->n", off, self.precision, off)
        return np.sqrt(np.maximum(squares, 0))


def fit_ood(pixels: Pixels, training: Rows, validation: Rows, seed: int = 24) -> OodDetector | None:
    """Fit a detector on rows of a store (N, S, S, 3), at most ``MOST`` of each part, at random.

    None if there is a single cell or all look alike, so that no distance has a meaning.
    """
    from sklearn.covariance import LedoitWolf

    rng = np.random.default_rng(seed)
    known, held = (
        ood_features(pixels[np.sort(rng.choice(rows, min(MOST, len(rows)), replace=False))])
        for rows in (training, validation)
    )
    if len(known) < 2 or not len(held):
        return None
    # A feature that never varies in training (whole cells only) must not weigh without bound.
    deviation = np.maximum(known.std(axis=0), 1e-3)
    covariance = LedoitWolf().fit((known - known.mean(axis=0)) / deviation)
    found = OodDetector(known.mean(axis=0), deviation, covariance.precision_, 1.0, len(known))
    threshold = float(np.quantile(found.distance(held), QUANTILE))
    if not 1e-6 < threshold < np.inf:
        return None
    return OodDetector(found.mean, deviation, found.precision, threshold, found.cells)


def write_ood(found: OodDetector, path: Path) -> None:
    """Write a detector, whole or not at all."""
    content = {
        "format": FORMAT,
        "features": list(FEATURES),
        "quantile": QUANTILE,
        "cells": found.cells,
        "threshold": found.threshold,
        "mean": found.mean.tolist(),
        "deviation": found.deviation.tolist(),
        "precision": found.precision.tolist(),
    }
    write_json(path, content)


def read_ood(path: Path) -> OodDetector | None:
    """Read a detector; None if there is no file, as in runs of earlier versions.

    Raises:
        BlastscopeError: if the file is damaged or of another kind.
    """
    return ood_from(read_json(path), str(path)) if path.is_file() else None


def ood_from(content: dict[str, Any], where: str) -> OodDetector:
    """Read a detector from the content of its file.

    Raises:
        BlastscopeError: naming ``where``, if it is damaged or of another kind.
    """
    try:
        return _checked(content)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise BlastscopeError(
            f"{where} is not a {FORMAT} file ({reason}): remove it, or train again."
        ) from error


def _checked(content: dict[str, Any]) -> OodDetector:
    """Build a detector; a KeyError or ValueError says what is missing or wrong."""
    if content["format"] != FORMAT or tuple(content["features"]) != FEATURES:
        raise ValueError("another format")
    mean, deviation, precision = (
        np.array(content[name], np.float64) for name in ("mean", "deviation", "precision")
    )
    threshold, count = float(content["threshold"]), len(FEATURES)
    if (mean.shape, deviation.shape, precision.shape) != ((count,), (count,), (count, count)):
        raise ValueError("numbers that do not fit each other")
    finite = all(np.isfinite(part).all() for part in (mean, deviation, precision))
    if not (finite and (deviation > 0).all() and 0 < threshold < np.inf):
        raise ValueError("numbers that are not finite or not above zero")
    np.linalg.inv(precision)  # a LinAlgError, which is a ValueError, if it is singular
    return OodDetector(mean, deviation, precision, threshold, int(content["cells"]))
