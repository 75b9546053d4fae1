"""Fit the support vector machine of a recipe, after its network is trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from blastscope.models.classifier import Classifier
from blastscope.models.svm import RbfSvm
from blastscope.recipes.schema import Svm
from blastscope.training.batches import PixelViews, PlainBatches
from blastscope.training.dataset import TrainingData

BATCH = 64


def fit_svm(
    classifier: Classifier, settings: Svm, inputs: TrainingData, device: torch.device
) -> dict[str, Any]:
    """Fit the machine on the training cells that the network classifies correctly, and fill it in.

    Returns:
        How many cells it was fitted on and how many support vectors it has. If the correct cells
        are of one class, none: the network then decides alone.
    """
    from sklearn.svm import SVC

    assert classifier.svm is not None  # the recipe has one
    rows = inputs.rows["train"]
    values, logits = _places(classifier.to(device).eval(), inputs, device)
    truth = inputs.is_all[rows]
    right = (logits > 0) == truth
    found = {"cells": int(right.sum()), "support": 0}
    if len(np.unique(truth[right])) < 2:
        return found
    machine = SVC(C=settings.c, gamma=settings.gamma).fit(values[right], truth[right])
    of = (machine.support_vectors_, machine.dual_coef_[0], machine.intercept_)
    support, coefficients, intercept = (torch.tensor(one, dtype=torch.float32) for one in of)
    classifier.svm.fill(support.to(device), coefficients.to(device), intercept.to(device))
    return {**found, "support": len(support)}


def _places(
    classifier: Classifier, inputs: TrainingData, device: torch.device
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the averaged maps and the logits of the training cells."""
    values, logits = [], []
    rows = inputs.rows["train"]
    with torch.inference_mode():
        for batch in PlainBatches(PixelViews(inputs.store.pixels), inputs.is_all, rows, BATCH):
            images = batch[0]
            assert isinstance(images, torch.Tensor)
            features = classifier.backbone(classifier.normalise(images.to(device)))
            values.append(RbfSvm.places_of(features).cpu().numpy())
            logits.append(classifier.head(features).squeeze(1).cpu().numpy())
    return np.concatenate(values), np.concatenate(logits)
