"""Cells whose truth is known, for the tests of decisions."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import strategies as st
from scipy.special import expit


def drawn(n: int, seed: int, sharper: float = 1.0, spread: float = 2.0):
    """Cells with true log-odds ``z``: labels drawn by them, scores ``sharper`` times as far out."""
    rng = np.random.default_rng(seed)
    z = rng.normal(0.3, spread, n)
    return rng.random(n) < expit(z), expit(sharper * z)


def cells_of_subjects(n_subjects: int, seed: int, cells: int = 20, spread: float = 0.7):
    """``n_subjects`` of each class; whoever is hard to tell is so in all their cells.

    The probabilities are right of subjects at large: log-odds of two normal distributions.
    """
    rng = np.random.default_rng(seed)
    is_all = np.repeat([True, False], n_subjects * cells)
    who = np.repeat(np.arange(2 * n_subjects), cells)
    effect = rng.normal(0, spread, 2 * n_subjects)[who]
    x = np.where(is_all, 1.2, -1.2) + effect + rng.normal(0, 1, len(who))
    subjects = [f"{'A' if k < n_subjects else 'H'}{k % n_subjects + 1}" for k in who]
    return is_all, expit(2.4 * x / (1 + spread**2)), subjects


def table(is_all, p_all, subjects, part="test", start: int = 0) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "cell": [f"c{start + k}" for k in range(len(is_all))],
            "subject": pl.Series(subjects, dtype=pl.String),
            "label": np.where(is_all, "all", "hem"),
            "part": part,
            "model": "net",
            "p_all": p_all,
        }
    )


@st.composite
def labelled(draw, fewest: int = 4, most: int = 60):
    """Cells of both classes, with ties, certain ones among them."""
    n = draw(st.integers(fewest, most))
    steps = draw(st.lists(st.integers(0, 2**12), min_size=n, max_size=n))
    truth = draw(st.lists(st.booleans(), min_size=n, max_size=n).filter(lambda t: 0 < sum(t) < n))
    return np.array(truth), np.array(steps) / 2**12
