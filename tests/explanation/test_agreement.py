import numpy as np
import pytest
from scipy.stats import spearmanr

from blastscope.explanation.agreement import SIDE, agreement, coarse, spearman


def maps(count, side, seed=0):
    return np.random.default_rng(seed).normal(size=(count, side, side)).astype(np.float32)


def test_agreement_is_scipys_on_the_means_of_blocks():
    signed = maps(3, 4 * SIDE)
    signed[2] += signed[0]
    blocks = signed.reshape(3, SIDE, 4, SIDE, 4).mean(axis=(2, 4)).reshape(3, -1)
    wanted = spearmanr(blocks, axis=1).statistic
    found = agreement(signed)
    assert np.isnan(np.diag(found)).all()
    apart = ~np.eye(3, dtype=bool)
    assert found[apart] == pytest.approx(wanted[apart], abs=1e-3)  # float32 may swap near-ties
    assert wanted[0, 2] > 0.5  # so that there is something to find


def test_agreement_asks_for_order_and_sign_only():
    one = maps(1, SIDE)[0]
    found = agreement(np.stack([one, 7 * one**3, -one]))
    assert found[0, 1] == pytest.approx(1)
    assert found[0, 2] == pytest.approx(-1)


@pytest.mark.parametrize("value", [0.0, 0.3, -1e3])
@pytest.mark.parametrize("side", [5, 16, 97])
def test_a_flat_map_agrees_with_none(value, side):
    found = agreement(np.stack([maps(1, side)[0], np.full((side, side), value, np.float32)]))
    assert np.isnan(found).all()


def test_coarse_keeps_the_mean():
    one = maps(1, 53)[0] + 2
    assert coarse(one).mean() == pytest.approx(one.mean(), rel=1e-5)


def test_spearman_of_pairs_with_ties():
    first, second = np.round(maps(4, 6)), np.round(maps(4, 6, seed=1))
    second[3] = 0
    found = spearman(first, second)
    for k in range(3):
        wanted = spearmanr(first[k].ravel(), second[k].ravel()).statistic
        assert found[k] == pytest.approx(wanted)
    assert np.isnan(found[3])
