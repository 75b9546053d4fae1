"""Logistic regression of the class on the size of a cell, each subject and each class alike.

No pixels are needed: published tables of boxes do, of subjects whose images nobody here has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from blastscope.data.names import ALL, HEM
from blastscope.errors import BlastscopeError

_RANGE = (0.01, 0.99)
_LEAST_SLOPE = 1e-6


@dataclass(frozen=True)
class SizeFit:
    """The numbers of a recipe's ``model.size_term``, and what they rest on.

    Sizes are the longer side of a cell's box, divided by the side of the field.
    """

    slope: float  # log-odds of ALL for each unit of the natural logarithm of the size
    centre: float  # the size at which both classes are equally probable
    smallest: float
    largest: float  # the 1st and 99th percentile of the cells
    cells: int
    subjects: int


def fit_size(cells: pl.DataFrame, field: int) -> SizeFit:
    """Fit the term.

    Every subject counts the same within its class, and both classes the same, or the subject with
    the most cells would decide. There is no penalty.

    Args:
        cells: ``subject``, ``label`` and the sides of the box, ``box_w`` and ``box_h``, in pixels
            of the original image.
        field: the side, in the same pixels, of what the network is shown; a larger cell is cut.

    Raises:
        BlastscopeError: if one of the classes is missing, a box has no size, all cells have one
            size, the classes do not overlap in size (no finite slope fits best then), or size does
            not tell them apart at all.
    """
    from sklearn.linear_model import LogisticRegression

    found = cells.select(
        "subject",
        is_all=pl.col("label") == ALL,
        size=(pl.max_horizontal("box_w", "box_h") / field).clip(upper_bound=1.0),
    )
    if not {ALL, HEM} <= set(cells["label"]):
        raise BlastscopeError("A fit of size needs cells of both classes.")
    if found["size"].n_unique() < 2:
        raise BlastscopeError("A fit of size needs cells of different sizes.")
    if not (found["size"].is_finite() & (found["size"] > 0)).all():
        raise BlastscopeError("A fit of size needs boxes with sides above 0.")
    _refuse_apart(found)
    mine = pl.len().over("subject", "is_all")  # a subject may have cells of both classes
    weights = 1 / (mine * pl.col("subject").n_unique().over("is_all"))
    weighted = found.with_columns(weight=weights)
    logs = weighted["size"].log().to_numpy()[:, None]
    counts = weighted["weight"].to_numpy() * found.height / 2
    model = LogisticRegression(C=np.inf, max_iter=1000)
    model.fit(logs, weighted["is_all"].to_numpy(), sample_weight=counts)
    slope = float(model.coef_[0, 0])
    if abs(slope) < _LEAST_SLOPE:
        raise BlastscopeError("The sizes of both classes are alike: a term of size needs another.")
    low, high = (float(found["size"].quantile(share, "linear") or 0.0) for share in _RANGE)
    return SizeFit(
        slope=slope,
        centre=math.exp(-float(model.intercept_[0]) / slope),
        smallest=low,
        largest=high,
        cells=found.height,
        subjects=found["subject"].n_unique(),
    )


def _refuse_apart(found: pl.DataFrame) -> None:
    """Refuse classes whose sizes do not overlap: the slope of the best fit is infinite.

    Raises:
        BlastscopeError: if the two do not overlap.
    """
    ill, normal = (
        found.filter(pl.col("is_all") == one)["size"].to_numpy() for one in (True, False)
    )
    if ill.min() >= normal.max() or normal.min() >= ill.max():
        raise BlastscopeError(
            "The sizes of the two classes do not overlap, so no slope fits best: give more cells."
        )
