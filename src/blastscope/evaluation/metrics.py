"""The metrics of one part of a split, all of them from scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Metrics = dict[str, float | int | None]

EXCHANGED = 0.35
"""If all AUCs of a model are below this, labels or the sign of its probability may be exchanged: a
model that learnt nothing is near one half."""
THRESHOLD = 0.5
_CLASSES = [False, True]


def compute_metrics(
    is_all: NDArray[np.bool_],
    p_all: NDArray[np.floating],
    subjects: Sequence[str | None] | None = None,
) -> Metrics:
    """Compute the metrics that C-NMC 2019 and the paper (section 3) report.

    A cell is called ALL if ``p_all > THRESHOLD``; an exact 0.5 is normal, as ``numpy.rint`` makes
    it in the paper.

    Args:
        is_all: truth, shape (n,).
        p_all: probability of ALL, shape (n,).
        subjects: each cell's subject, for the count of subjects; None if unknown.

    Returns:
        The metrics of the contract in ``docs/formats.md``. What is undefined because only one class
        is present is None; the precision of a class that is never predicted is 0.

    Raises:
        ValueError: if the arrays are empty or of different lengths.
    """
    from sklearn import metrics as sk  # a prediction needs THRESHOLD and no scikit-learn

    truth = np.asarray(is_all, dtype=bool)
    score = np.asarray(p_all, dtype=np.float64)
    if truth.size == 0 or truth.shape != score.shape:
        raise ValueError(f"is_all {truth.shape} and p_all {score.shape} must match and hold cells")
    called = score > THRESHOLD
    tn, fp, fn, tp = (int(n) for n in sk.confusion_matrix(truth, called, labels=_CLASSES).ravel())
    precision = sk.precision_score(truth, called, labels=_CLASSES, average=None, zero_division=0.0)
    both = bool(truth.any() and not truth.all())
    known = {subject for subject in subjects or () if subject is not None}
    return {
        "weighted_f1": float(
            sk.f1_score(truth, called, labels=_CLASSES, average="weighted", zero_division=0.0)
        ),
        "accuracy": float(sk.accuracy_score(truth, called)),
        "balanced_accuracy": float(sk.balanced_accuracy_score(truth, called)) if both else None,
        "auc": float(sk.roc_auc_score(truth, score)) if both else None,
        "average_precision": float(sk.average_precision_score(truth, score)) if both else None,
        "mcc": float(sk.matthews_corrcoef(truth, called)) if both else None,
        "precision_all": float(precision[1]),
        "recall_all": tp / (tp + fn) if tp + fn else None,
        "precision_hem": float(precision[0]),
        "recall_hem": tn / (tn + fp) if tn + fp else None,
        "tn": tn,
        "fp": fp,
        "fn": fn,
        "tp": tp,
        "n": int(truth.size),
        "n_subjects": len(known) or None,
    }
