"""Weighted metrics against scikit-learn's, on repeated rows and on sample weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sk

from blastscope.evaluation.bootstrap import resampling
from blastscope.evaluation.confidence_intervals import draw
from blastscope.evaluation.metrics import compute_metrics
from blastscope.evaluation.weighted_metrics import METRICS, WeightedMetrics


def repeated(is_all, p_all, weights):
    """The metrics of the cells, each written down as often as its weight says."""
    found = compute_metrics(np.repeat(is_all, weights), np.repeat(p_all, weights))
    return [np.nan if found[name] is None else found[name] for name in METRICS]


@st.composite
def cases(draw):
    n = draw(st.integers(1, 25))
    is_all = draw(hnp.arrays(bool, n))
    # Few values: ties within and between the classes, and cells at exactly 0.5.
    p = st.sampled_from([0.0, 0.2, 0.5, np.nextafter(0.5, 1), 0.7, 1.0])
    p_all = draw(hnp.arrays(np.float64, (n, 2), elements=p))
    weights = draw(hnp.arrays(np.uint16, (1, n), elements=st.integers(0, 4)))
    weights[weights.sum(axis=1) == 0] = 1
    return is_all, p_all, weights


@given(cases())
@settings(max_examples=40, deadline=None)
def test_weights_are_rows_repeated(case):
    is_all, p_all, weights = case
    found = WeightedMetrics(is_all, p_all).of(weights)
    expected = [[repeated(is_all, p, row) for p in p_all.T] for row in weights]
    np.testing.assert_allclose(found, expected, atol=1e-9, rtol=0)  # NaN only where NaN


@pytest.mark.parametrize("places", [1, 2, 17])
def test_weights_are_scikit_learns_sample_weights(places):
    rng = np.random.default_rng(places)
    is_all = rng.random(700) < 0.6
    p_all = np.round(np.clip(rng.normal(0.35 + 0.3 * is_all, 0.25), 0, 1), places)[:, None]
    weights = rng.integers(0, 6, (5, 700)).astype(np.uint16)
    found = WeightedMetrics(is_all, p_all).of(weights)[:, 0]
    called = p_all[:, 0] > 0.5
    for row, w in zip(found, weights, strict=True):
        told = dict(zip(METRICS, row, strict=True))
        how = {"sample_weight": w}
        expected = {
            "weighted_f1": sk.f1_score(is_all, called, average="weighted", **how),
            "auc": sk.roc_auc_score(is_all, p_all[:, 0], **how),
            "average_precision": sk.average_precision_score(is_all, p_all[:, 0], **how),
            "mcc": sk.matthews_corrcoef(is_all, called, **how),
            "balanced_accuracy": sk.balanced_accuracy_score(is_all, called, **how),
            "precision_hem": sk.precision_score(is_all, called, pos_label=False, **how),
            "recall_hem": sk.recall_score(is_all, called, pos_label=False, **how),
        }
        assert {name: told[name] for name in expected} == pytest.approx(expected, abs=1e-9)


def test_a_class_that_is_never_drawn_is_undefined_and_one_never_called_has_precision_0():
    is_all = np.array([True, True, False])
    metrics = WeightedMetrics(is_all, np.array([[0.9], [0.8], [0.7]])).of(
        np.array([[1, 1, 1], [2, 1, 0], [0, 0, 3]], dtype=np.uint16)
    )
    both, only_all, only_normal = (dict(zip(METRICS, row[0], strict=True)) for row in metrics)
    assert (both["precision_hem"], both["auc"], both["mcc"]) == (0, 1, 0)
    undefined = {"balanced_accuracy", "auc", "average_precision", "mcc"}
    assert {n for n, v in only_all.items() if np.isnan(v)} == undefined | {"recall_hem"}
    assert {n for n, v in only_normal.items() if np.isnan(v)} == undefined | {"recall_all"}
    assert (only_normal["precision_all"], only_normal["weighted_f1"]) == (0, 0)


def test_chunks_and_blocks_change_nothing():
    rng = np.random.default_rng(4)
    n = 9000  # more than a block of rows, and more than a chunk, at 250 resamples
    is_all = rng.random(n) < 0.6
    p_all = np.clip(rng.normal(0.35 + 0.3 * is_all, 0.25), 0, 1)[:, None]
    draws = resampling(is_all, [f"{'A' if y else 'H'}{i % 30}" for i, y in enumerate(is_all)], 250)
    found = draw(WeightedMetrics(is_all, p_all).of, draws).resamples
    weights = np.concatenate(list(draws.chunks()))
    assert found.shape == (250, 1, len(METRICS))
    for at in (0, 6, 7, 8, 115, 116, 117, 249):
        expected = repeated(is_all, p_all[:, 0], weights[at])
        np.testing.assert_allclose(found[at, 0], expected, atol=1e-9)
