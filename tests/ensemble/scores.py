"""Scores of made-up models that err together, as models of the same cells do."""

from __future__ import annotations

import numpy as np


def correlated(cells: int = 300, models: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    is_all = rng.random(cells) < 0.67
    is_all[:2] = True, False
    shared, own = rng.normal(size=(cells, 1)), rng.normal(size=(cells, models))
    score = np.where(is_all, 1.5, -1.5)[:, None] + 1.1 * shared + 0.6 * own
    return 1 / (1 + np.exp(-2 * score)), is_all
