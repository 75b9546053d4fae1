"""Weights from statistics instead of a search: a regression on the models, and their AUCs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from blastscope.ensemble.combination import Combination, clipped_logit
from blastscope.ensemble.objective import Floats


def stacked(p: Floats, is_all: NDArray[np.bool_]) -> Combination:
    """Fit a logistic regression on the models' log odds (stacking: D. H. Wolpert, 1992).

    Args:
        p: probabilities of ALL, shape (cells, models).
        is_all: truth, shape (cells,), with both classes.

    Returns:
        Scikit-learn's fit with its usual L2 penalty (C = 1); weights may be negative.
    """
    model = LogisticRegression(max_iter=1000, tol=1e-8).fit(clipped_logit(p), is_all)
    weights = tuple(float(weight) for weight in model.coef_[0])
    return Combination("stacking", "logistic", weights, float(model.intercept_[0]))


def auc_weights(p: Floats, is_all: NDArray[np.bool_]) -> Floats:
    """Weigh each model by how far its AUC is above one half, that of a coin.

    Args:
        p: probabilities of ALL, shape (cells, models).
        is_all: truth, shape (cells,), with both classes.

    Returns:
        Weights that sum to 1, shape (models,); equal ones where no model is better than a coin.
    """
    gains = np.array([max(roc_auc_score(is_all, column) - 0.5, 0.0) for column in p.T])
    total = gains.sum()
    return gains / total if total > 0 else np.full(len(gains), 1 / len(gains))
