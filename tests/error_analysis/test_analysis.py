"""The analysis as a whole: what is worth a look, and what is written of it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from blastscope.error_analysis.analysis import MOST_CONFIDENT, analyse
from blastscope.errors import BlastscopeError
from tests.conftest import draw_cell
from tests.error_analysis.made import scores_of, store_of

LABELS = ["all", "hem", "hem", "all", "hem", "all"]
P_ALL = np.array(
    [
        [0.1, 0.3, 0.2],  # missed by all, confidence 0.8
        [0.9, 0.95, 0.97],  # missed by all, 0.94
        [0.6, 0.2, 0.7],  # m1 alone is right, 0.65
        [0.9, 0.1, 0.2],  # m0 alone, 0.85
        [0.1, 0.2, 0.3],
        [0.5, 0.9, 0.9],  # m0 alone is wrong
    ]
)


def test_what_is_worth_a_look():
    found = analyse(scores_of(LABELS, P_ALL), "test", None)
    by_all = [(p.row, p.model, round(p.confidence, 6)) for p in found.missed_by_all]
    assert by_all == [(1, None, 0.94), (0, None, 0.8)]
    saved = [(p.row, p.model, round(p.confidence, 6)) for p in found.rescued]
    assert saved == [(3, "m0", 0.85), (2, "m1", 0.65)]
    sure = [(p.row, round(p.confidence, 6)) for p in found.most_confident["m0"]]
    assert sure == [(0, 0.9), (1, 0.9), (2, 0.6), (5, 0.5)]
    assert not found.synthetic
    assert found.cells["missed_by"].to_list() == [3, 3, 2, 2, 0, 1]
    assert found.cells.columns[4:] == ["p_all m0", "p_all m1", "p_all m2"]
    assert not found.causes.measured
    assert {(one.background, one.outline) for one in found.guess} == {("not-tested",) * 2}


def test_a_lone_model_saves_nothing_and_its_list_is_cut():
    p_all = np.linspace(0.51, 0.99, 40)[:, None]
    found = analyse(scores_of(["hem"] * 40, p_all), "test", None)
    assert (found.rescued, found.pairs) == ((), ())
    assert len(found.missed_by_all) == 40
    assert [p.row for p in found.most_confident["m0"]] == list(range(39, 39 - MOST_CONFIDENT, -1))


def test_json_can_be_read_back(tmp_path):
    labels = ["all"] * 12 + ["hem"] * 12
    images = {f"c{k}": draw_cell(k, 120, 20 + k % 7) for k in range(24)}
    store = store_of(tmp_path / "s", images, dict(zip(images, labels, strict=True)), synthetic=True)
    p_all = np.random.default_rng(3).random((24, 1)).repeat(2, axis=1)
    found = analyse(scores_of(labels, p_all, subjects=["A", "B"] * 12), "test", store)
    content = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert content["format"] == "blastscope-errors/2"
    assert content["synthetic"] is True  # the store says so
    assert content["missed_by"]["all"] == list(found.counts.missed_by["all"])
    assert {"sentences", "paper_guess"} & set(content) == {"paper_guess"}
    tested = {finding["of"] for finding in content["findings"]}
    assert {"size", "solidity", "subject"} <= tested
    assert all(finding["p_corrected"] >= finding["p"] for finding in content["findings"])
    assert found.cells["size"][0] == 41  # a disc of radius 20


def test_a_part_that_is_not_there_is_refused():
    with pytest.raises(BlastscopeError, match="No table has validation cells"):
        analyse(scores_of(LABELS, P_ALL), "validation", None)
