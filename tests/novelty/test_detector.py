"""The detector held against scikit-learn's principal components and against real strangers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import normalize

from blastscope.novelty.detector import fit
from blastscope.novelty.features import WIDEST, Kept, Sketch, direction


def kept(features):
    found = Kept()
    for batch in np.array_split(features.astype(np.float32), 5):
        found.add(torch.from_numpy(batch))
    return found


def test_the_distance_is_what_scikit_learns_components_leave_over():
    rng = np.random.default_rng(0)
    features = np.maximum(rng.normal(size=(300, 50)) @ rng.normal(size=(50, 50)), 0)
    found = fit(kept(features), 200, 80)
    roots = normalize(np.sqrt(features.astype(np.float32).astype(np.float64)))
    pca = PCA(12).fit(roots[:200])  # a quarter of the 50 features
    left = roots - pca.inverse_transform(pca.transform(roots))
    distances = np.linalg.norm(left, axis=1)
    np.testing.assert_allclose(found.distance(features), distances, rtol=1e-4)
    assert found.threshold == pytest.approx(np.quantile(distances[200:280], 0.99), rel=1e-4)
    assert (found.of(torch.from_numpy(features)) > 1).mean() == (found.distance(features)
        > found.threshold).mean()  # fmt: skip


def test_direction_is_signed_roots_of_length_one_by_hand():
    found = direction(np.array([[9.0, -16.0], [0.0, 0.0]]))
    np.testing.assert_allclose(found, [[3 / 5, -4 / 5], [0, 0]])


@given(st.floats(1e-3, 1e3))
def test_how_strong_the_features_are_does_not_matter(times):
    features = np.random.default_rng(1).random((3, 7))
    np.testing.assert_allclose(direction(features), direction(times * features), rtol=1e-9)


def test_features_of_another_kind_are_told_from_those_of_training():
    rng = np.random.default_rng(2)
    mixing = rng.random((3, 64))
    known = rng.gamma(2, size=(500, 3)) @ mixing + 0.05 * rng.random((500, 64))
    other = rng.random((100, 64))
    found = fit(kept(known[:400]), 300, 100)
    fresh, strange = (found.of(torch.from_numpy(part)) for part in (known[400:], other))
    truth = np.repeat([0, 1], [len(fresh), len(strange)])
    assert roc_auc_score(truth, np.concatenate([fresh, strange])) > 0.999
    assert (fresh > 1).mean() < 0.06
    assert (strange > 1).all()


def test_wide_features_are_sketched_and_keep_their_distances():
    rng = np.random.default_rng(3)
    wide = torch.from_numpy(rng.normal(size=(40, 20_000)).astype(np.float32))
    found = Kept()
    for batch in wide.split(7):
        found.add(batch)
    assert found.all().shape == (40, WIDEST)
    true, kept_ = torch.cdist(wide, wide), torch.cdist(*[torch.from_numpy(found.all())] * 2)
    off = ~torch.eye(40, dtype=torch.bool)
    assert (kept_[off] / true[off] - 1).abs().max() < 0.12  # 1 / sqrt(2 · 2048) = .016 a deviation
    by_hand = np.zeros(WIDEST)
    sketch = Sketch.of_width(20_000)
    np.add.at(by_hand, sketch.sums.numpy(), wide[0].numpy() * sketch.signs.numpy())
    np.testing.assert_allclose(found.all()[0], by_hand, rtol=1e-4, atol=1e-4)
    assert fit(found, 30, 10).of(wide[30:]).shape == (10,)


def test_where_all_cells_have_the_same_features_nothing_can_be_told():
    assert fit(kept(np.ones((20, 8))), 10, 10) is None
    assert fit(kept(np.zeros((20, 8))), 10, 10) is None
    assert fit(kept(np.full((20, 8), np.nan)), 10, 10) is None


@pytest.mark.parametrize("width", [1, 2, 5])
@pytest.mark.parametrize("training", [1, 2, 30])
def test_few_features_or_cells_make_a_detector_or_none(width, training):
    features = np.random.default_rng(4).random((training + 10, width))
    found = fit(kept(features), training, 10)
    if found is not None:
        assert (found.of(torch.from_numpy(features[training:])) > 1).mean() <= 0.1
