"""The detector held against scikit-learn and scipy, and its file against damage."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from blastscope.errors import BlastscopeError
from blastscope.ood.detector import MOST, fit_ood, read_ood, write_ood
from blastscope.ood.features import exchanged_stain, ood_features
from blastscope.robustness.non_cell_images import non_cell_images
from tests.conftest import draw_cell

ROWS = np.arange(60), np.arange(60, 100)


@pytest.fixture(scope="module")
def cells():
    return np.stack([draw_cell(k, 64, 14 + k % 9) for k in range(130)])


def test_the_distance_is_mahalanobis_under_ledoit_and_wolfs_covariance(cells):
    found = fit_ood(cells, *ROWS)
    known, held = ood_features(cells[:60]), ood_features(cells[60:100])
    scale = np.maximum(known.std(axis=0), 1e-3)
    centre = known.mean(axis=0)
    precision = LedoitWolf().fit((known - centre) / scale).precision_
    wanted = [mahalanobis(row / scale, centre / scale, precision) for row in held]
    assert found.distance(held) == pytest.approx(wanted)
    assert found.threshold == pytest.approx(np.quantile(wanted, 0.99))
    assert found.cells == 60
    assert found.of(cells[60:100]) == pytest.approx(np.array(wanted) / found.threshold)


def test_what_is_no_cell_is_flagged_and_new_cells_are_not(cells):
    found = fit_ood(cells, *ROWS)
    assert (found.of(cells[100:]) > 1).mean() < 0.2  # thirty drawn cells
    for kind, pictures in non_cell_images(64, 20).items():
        assert (found.of(pictures) > 1).mean() > 0.9, kind


def test_colours_in_another_order_are_flagged_and_scores_of_others_are_the_distance():
    def drawn(count, blue, seed):
        rng = np.random.default_rng(seed)
        cells = np.stack([draw_cell(k, 64, 14 + k % 9) for k in range(count)])
        cells[..., 2] = np.where(cells[..., 0] > 0, blue + rng.integers(0, 9, cells.shape[:3]), 0)
        return cells

    cells = drawn(130, 225, 0)  # bluer than red, by more than either varies
    found = fit_ood(cells, *ROWS)
    new = cells[100:]
    exchanged = np.ascontiguousarray(new[..., ::-1])
    far = found.distance(ood_features(exchanged)) / found.threshold
    assert (found.of(exchanged) > 1).all()
    assert (found.of(exchanged) >= far).all()
    plain = found.distance(ood_features(new)) / found.threshold
    np.testing.assert_array_equal(found.of(new), plain)
    grey = np.repeat(cells[..., :1], 3, axis=3)  # no order: exchanging changes nothing
    alike = fit_ood(grey, *ROWS)
    order = alike.colour_order(ood_features(grey), exchanged_stain(grey))
    assert np.abs(order).max() < 0.01


def test_many_cells_are_drawn_from_and_where_all_look_alike_nothing_can_be_told(cells):
    many = np.concatenate([cells] * 20)
    assert fit_ood(many, np.arange(2200), np.arange(2200, 2600)).cells == MOST
    alike = np.repeat(cells[:1], 20, axis=0)
    assert fit_ood(alike, np.arange(10), np.arange(10, 20)) is None
    assert fit_ood(cells, np.arange(1), np.arange(1, 20)) is None
    assert fit_ood(cells, np.arange(10), np.arange(0)) is None


def test_a_file_comes_back_and_a_damaged_one_is_refused_in_a_sentence(cells, tmp_path):
    path, found = tmp_path / "ood.json", fit_ood(cells, *ROWS)
    assert read_ood(path) is None
    write_ood(found, path)
    again = read_ood(path)
    assert np.array_equal(again.of(cells), found.of(cells))
    whole = json.loads(path.read_text())
    for name, value in (
        ("format", "blastscope-ood/3"), ("features", ["filled"]), ("mean", [1.0]),
        ("precision", [[1.0]]), ("threshold", 0), ("threshold", None), ("mean", None),
        ("deviation", [0.0] * 13), ("precision", [[0.0] * 13] * 13),
    ):  # fmt: skip
        path.write_text(json.dumps({**whole, name: value}))
        with pytest.raises(BlastscopeError, match=r"is not a blastscope-ood/2 file"):
            read_ood(path)
    path.write_text("{")
    with pytest.raises(BlastscopeError, match="not valid JSON"):
        read_ood(path)
