"""Correction by neighbours: by hand, by another library, and what must not change it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.neighbors import NearestNeighbors

from blastscope.decision import neighbourhood
from blastscope.decision.neighbourhood import corrected, corrected_part, refuse_small_batch
from blastscope.errors import BlastscopeError
from blastscope.io.predictions import INDUCTIVE


def batch(cells: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0.01, 0.99, cells), rng.normal(0, 3, (cells, 4)) + 5


def test_it_is_the_mean_of_log_odds_with_the_nearest_other():
    odds = np.array([-2.0, 1.0, 3.0, -1.0])
    features = np.array([[0.0], [1.0], [3.0], [7.0]])  # 0 and 1 choose each other, 3 takes 1, 7 3
    found = corrected(expit(odds), features, 1)
    assert logit(found) == pytest.approx([-0.5, -0.5, 2.0, 1.0])


def test_each_feature_counts_as_much_as_it_varies():
    p, features = batch()
    assert corrected(p, features) == pytest.approx(corrected(p, features * [9, 1e-3, 50, 2] - 4))
    constant = np.column_stack([features, np.full(len(p), 7.0)])
    assert corrected(p, constant) == pytest.approx(corrected(p, features))


def test_another_library_finds_the_same_neighbours(monkeypatch):
    monkeypatch.setattr(neighbourhood, "_ROWS", 7)  # blocks that do not divide the cells
    p, features = batch()
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    near = NearestNeighbors(n_neighbors=11).fit(scaled).kneighbors(scaled)[1]
    assert corrected(p, features) == pytest.approx(expit(logit(p)[near].mean(axis=1)))


@given(st.integers(1, 20), st.integers(0, 50), st.booleans())
def test_the_order_of_the_cells_changes_nothing(neighbours, seed, doubled):
    p, features = batch(30, seed)
    if doubled:  # cells that look the same to the last digit
        features[:20] = features[0]
    order = np.random.default_rng(seed + 1).permutation(len(p))
    found = corrected(p, features, neighbours)
    assert corrected(p[order], features[order], neighbours) == pytest.approx(found[order])
    assert (found >= p.min() - 1e-9).all()
    assert (found <= p.max() + 1e-9).all()


def test_with_no_neighbour_nothing_changes_and_with_all_everything_is_one():
    p, features = batch()
    p[:2] = 0, 1
    assert corrected(p, features, 0).tolist() == p.tolist()
    every = corrected(p, features, len(p) - 1)
    assert every == pytest.approx(every[0])
    alike = corrected(p, np.ones((60, 3)))  # all are as near as the last neighbour
    assert alike == pytest.approx(every)
    assert np.isfinite(logit(corrected(p, features))).all()


def test_it_helps_if_cells_that_look_alike_are_of_one_class():
    rng = np.random.default_rng(1)
    subject = np.repeat(np.arange(8), 30)
    is_all = subject % 2 == 1
    features = subject[:, None] * 10 + rng.normal(0, 1, (240, 2))
    p = expit(np.where(is_all, 1, -1) + rng.normal(0, 2, 240))
    wrong = ((p > 0.5) != is_all).mean()
    assert ((corrected(p, features) > 0.5) != is_all).mean() < wrong / 2


def test_small_batches_are_refused_in_a_sentence():
    refuse_small_batch(50, "The batch")
    with pytest.raises(BlastscopeError, match="The batch has 49 cells, and a correction by neigh"):
        refuse_small_batch(49, "The batch")


@pytest.fixture
def table(monkeypatch):
    """Two folds of the test part and one of training, with features in place of a store."""
    p, features = batch(180)
    frame = pl.DataFrame(
        {
            "cell": [f"c{k}" for k in range(180)],
            "part": ["test"] * 120 + ["train"] * 60,
            "p_all": p,
            "fold": [1, 2] * 60 + [1] * 60,
        }
    )
    rows = dict(zip(frame["cell"], features, strict=True))
    monkeypatch.setattr(
        neighbourhood, "store_features", lambda _, cells: np.array([rows[c] for c in cells["cell"]])
    )
    return frame, p, features


def test_only_the_part_is_corrected_and_what_was_there_is_kept(table, tmp_path):
    frame, p, features = table
    made = corrected_part(frame, "test", "t", tmp_path, {})
    assert made[INDUCTIVE].to_list() == p.tolist()
    assert made["p_all"][120:].to_list() == p[120:].tolist()
    assert made["p_all"][:120].to_list() == corrected(p[:120], features[:120]).tolist()
    with pytest.raises(BlastscopeError, match="was corrected by neighbours before"):
        corrected_part(made, "test", "t", tmp_path, {})


def test_folds_of_a_cross_validation_are_batches_of_their_own(table, tmp_path):
    frame, p, features = table
    made = corrected_part(frame, "test", "t", tmp_path, {"out_of_fold": "subject"})
    for fold in (0, 1):
        rows = slice(fold, 120, 2)
        assert made["p_all"].to_numpy()[rows] == pytest.approx(corrected(p[rows], features[rows]))
    few = frame.filter(pl.col("fold").eq(1) | pl.col("cell").str.ends_with("1"))
    with pytest.raises(BlastscopeError, match=r"a fold of t has \d+ cells"):
        corrected_part(few, "test", "t", tmp_path, {"out_of_fold": "subject"})
