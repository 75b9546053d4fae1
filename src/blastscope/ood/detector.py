"""``ood.json``: what a run folder keeps to tell pictures that are no cells.

How far a picture's looks lie from those of training cells.
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
from blastscope.ood.features import LOOKS, Floats, ood_features

QUANTILE = 0.99
"""The share of validation cells that lie within the threshold: about 1 % of cells are flagged."""
MOST = 2000
"""Cells of each part that are measured: more say no more of a dozen numbers."""
_BATCH = 256
Rows = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class OodDetector:
    """The looks of training cells, and how far validation cells lie from them.

    The distance is Mahalanobis's, with a covariance shrunk after Ledoit and Wolf (Journal of
    Multivariate Analysis 88:365-411, 2004), of looks in standard deviations. It asks nothing of
    the network: a tuned one answers a photograph as surely as a cell.

    Attributes:
        mean: of the training cells' looks, shape (looks,).
        deviation: likewise; above zero.
        precision: the inverse of the covariance of the standardised looks, shape (looks, looks).
        threshold: the 99 % point of the validation cells' distances; above zero.
        cells: how many training cells were measured.
    """

    mean: Floats
    deviation: Floats
    precision: Floats
    threshold: float
    cells: int

    def of(self, pixels: Pixels) -> Floats:
        """Return distance over threshold, shape (N,), of prepared pictures (N, S, S, 3)."""
        return self.distance(ood_features(pixels)) / self.threshold

    def distance(self, found: Floats) -> Floats:
        """Return the distance of looks, (N, looks), shape (N,)."""
        off = (found - self.mean) / self.deviation
        squares: NDArray[np.float64] = np.einsum("nl,lk,nk->n", off, self.precision, off)
        return np.sqrt(np.maximum(squares, 0))

    def of_rows(self, pixels: Pixels, rows: Rows) -> Floats:
        """Return distance over threshold of rows of a store, a batch at a time."""
        parts = [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]
        return np.concatenate([self.of(pixels[part]) for part in parts] or [np.empty(0)])


def fit_ood(pixels: Pixels, training: Rows, validation: Rows, seed: int = 24) -> OodDetector | None:
    """Fit on cells of a store, at most ``MOST`` of each part, drawn at random.

    Args:
        pixels: of the store, (N, S, S, 3).
        training: rows of training cells.
        validation: rows of validation cells.
        seed: of the draw.

    Returns:
        None where there is a single cell, or all look alike: nothing can be told apart.
    """
    from sklearn.covariance import LedoitWolf

    rng = np.random.default_rng(seed)
    known, held = (
        ood_features(pixels[np.sort(rng.choice(rows, min(MOST, len(rows)), replace=False))])
        for rows in (training, validation)
    )
    if len(known) < 2 or not len(held):
        return None
    # A look that never changes in training (whole cells only) may not weigh without bound.
    deviation = np.maximum(known.std(axis=0), 1e-3)
    covariance = LedoitWolf().fit((known - known.mean(axis=0)) / deviation)
    found = OodDetector(known.mean(axis=0), deviation, covariance.precision_, 1.0, len(known))
    threshold = float(np.quantile(found.distance(held), QUANTILE))
    if not 1e-6 < threshold < np.inf:
        return None
    return OodDetector(found.mean, deviation, found.precision, threshold, found.cells)


FORMAT = "blastscope-ood/2"
NAME = "ood.json"


def write_ood(found: OodDetector, path: Path) -> None:
    """Write a detector, whole or not at all."""
    content = {
        "format": FORMAT,
        "looks": list(LOOKS),
        "quantile": QUANTILE,
        "cells": found.cells,
        "threshold": found.threshold,
        "mean": found.mean.tolist(),
        "deviation": found.deviation.tolist(),
        "precision": found.precision.tolist(),
    }
    write_json(path, content)


def read_ood(path: Path) -> OodDetector | None:
    """Read a detector; None where there is none, as in runs of versions before it.

    Raises:
        BlastscopeError: where the file is damaged or of another kind.
    """
    return ood_from(read_json(path), str(path)) if path.is_file() else None


def ood_from(content: dict[str, Any], where: str) -> OodDetector:
    """Read a detector from the content of its file.

    Raises:
        BlastscopeError: naming ``where``, where it is damaged or of another kind.
    """
    try:
        return _checked(content)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise BlastscopeError(
            f"{where} is no {FORMAT} file ({reason}): remove it, or train again."
        ) from error


def _checked(content: dict[str, Any]) -> OodDetector:
    """Put the parts together.

    Raises:
        KeyError: where one is missing.
        ValueError: where one is of another shape or kind, or holds what is no number.
    """
    if content["format"] != FORMAT or tuple(content["looks"]) != LOOKS:
        raise ValueError("another format")
    mean, deviation, precision = (
        np.array(content[name], np.float64) for name in ("mean", "deviation", "precision")
    )
    threshold, count = float(content["threshold"]), len(LOOKS)
    if (mean.shape, deviation.shape, precision.shape) != ((count,), (count,), (count, count)):
        raise ValueError("numbers that do not fit each other")
    whole = all(np.isfinite(part).all() for part in (mean, deviation, precision))
    if not (whole and (deviation > 0).all() and 0 < threshold < np.inf):
        raise ValueError("numbers that are none")
    return OodDetector(mean, deviation, precision, threshold, int(content["cells"]))
