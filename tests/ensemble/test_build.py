"""Fitted on one part, reported on another: never on the cells that chose the weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import f1_score

from blastscope.ensemble.build import METHOD_NAMES, EnsembleSettings, build
from blastscope.ensemble.genetic import GeneticSettings
from blastscope.ensemble.methods import METHODS, UNFITTED, fit
from blastscope.errors import BlastscopeError
from blastscope.evaluation.aligned_predictions import AlignedPredictions, ModelSource
from tests.ensemble.scores import correlated

QUICK = GeneticSettings(population=10, generations=5, runs=2)


def scores(cells: int = 120, models: int = 3, parts=("validation", "test")) -> AlignedPredictions:
    p_all, is_all = correlated(cells, models, seed=5)
    frame = pl.DataFrame(
        {
            "cell": [f"c{k}" for k in range(cells)],
            "subject": [f"{'S' if ill else 'H'}{k % 4}" for k, ill in enumerate(is_all)],
            "label": np.where(is_all, "all", "hem"),
            "part": [parts[k % len(parts)] for k in range(cells)],
        }
    )
    return AlignedPredictions(
        frame, tuple(ModelSource(f"m{k}", Path(), {}) for k in range(models)), p_all
    )


def of(scores: AlignedPredictions, part: str) -> np.ndarray:
    return (scores.cells["part"] == part).to_numpy()


@pytest.mark.parametrize("method", METHODS)
def test_weights_come_from_the_fit_part_alone(method):
    given = scores()
    built = build(given, EnsembleSettings(method, genetic=QUICK))
    seen = of(given, "validation")
    alone = fit(method, given.p_all[seen], given.is_all[seen], QUICK).combination
    assert built.chosen.combination == alone
    np.testing.assert_array_equal(built.p_all, alone.apply(given.p_all))
    # Whatever the test cells say, the weights stay.
    other = replace(given, p_all=np.where(seen[:, None], given.p_all, 1 - given.p_all))
    assert build(other, EnsembleSettings(method, genetic=QUICK)).chosen.combination == alone


def test_members_come_first_and_every_rival_stands_beside():
    built = build(scores(), EnsembleSettings("grid", genetic=QUICK))
    names = [f"ensemble: {METHOD_NAMES[method]}" for method in METHODS]
    assert built.scores.models == ("m0", "m1", "m2", *names)
    assert built.model == "ensemble: grid search"
    assert (built.name, built.fit_cells) == ("ensemble of 3: grid search", 60)
    judged = built.scores.part("test")
    assert judged.p_all.shape == (60, 3 + len(METHODS))
    np.testing.assert_allclose(judged.p_all[:, 3], judged.p_all[:, :3].mean(axis=1), atol=1e-15)


def test_on_its_own_cells_a_search_is_ahead_of_the_mean():
    given = scores()
    built = build(given, EnsembleSettings("genetic", genetic=QUICK))
    seen = of(given, "validation")
    reached = {
        name: f1_score(
            given.is_all[seen],
            fitted.combination.apply(given.p_all[seen]) > 0.5,
            average="weighted",
        )
        for name, fitted in built.fitted.items()
        if fitted.combination.kind == "weights"
    }
    assert reached["grid"] > reached["mean"]  # or there was nothing to find
    assert reached["grid"] >= max(reached["auc"], reached["mean"])


@pytest.mark.parametrize("method", [name for name in METHODS if name not in UNFITTED])
def test_weights_are_never_reported_on_the_cells_that_chose_them(method):
    with pytest.raises(BlastscopeError, match=r"fitted and reported on the same test cells"):
        EnsembleSettings(method, fit="test")


def test_what_fits_nothing_may_be_reported_anywhere():
    built = build(scores(), EnsembleSettings("mean", fit="test"))
    assert list(built.fitted) == ["mean", "vote"]  # the others would have seen the cells
    assert built.fit_cells == 0


def test_the_arbiter_is_the_third_member_and_a_rival_only_if_asked_for():
    given = scores()
    assert "arbiter" not in build(given, EnsembleSettings("mean")).fitted
    built = build(given, EnsembleSettings("arbiter"))
    first, second, third = given.p_all.T
    agree = (first > 0.5) == (second > 0.5)
    np.testing.assert_allclose(built.p_all, np.where(agree, (first + second) / 2, third))


def test_votes_that_are_needed_are_those_of_the_vote_alone():
    given = scores()
    built = build(given, EnsembleSettings("vote", votes=1))
    assert ((built.p_all > 0.5) == (given.p_all > 0.5).any(axis=1)).all()
    assert build(given, EnsembleSettings("mean")).fitted["vote"].combination.needed is None


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"method": "median"}, "'median' is not a method of an ensemble: choose mean, vote"),
        ({"fit": "validation", "nested": True}, "`nested` needs one part"),
        ({"method": "vote", "fit": "test", "nested": True}, "vote has no weights to fit"),
        ({"method": "mean", "votes": 2}, "a setting of the method vote"),
    ],
)
def test_plans_that_do_not_go_are_refused(wrong, words):
    with pytest.raises(BlastscopeError, match=words):
        EnsembleSettings(**wrong)


def test_nested_metrics_come_from_weights_that_have_not_seen_the_cell():
    given = scores()
    plan = EnsembleSettings("caruana", fit="test", nested=True, genetic=QUICK)
    built = build(given, plan)
    rows = of(given, "test")
    found = built.nested["caruana"]
    assert found.by == "subject"
    for number, combination in enumerate(found.combinations):
        here = np.flatnonzero(rows)[found.fold == number]
        np.testing.assert_array_equal(built.p_all[here], combination.apply(given.p_all[here]))
        apart = np.setdiff1d(np.flatnonzero(rows), here)
        assert not set(given.cells["subject"][here]) & set(given.cells["subject"][apart])
        weights = fit("caruana", given.p_all[apart], given.is_all[apart]).combination
        assert weights == combination
    # What is kept for later use is fitted on all of the part.
    whole = fit("caruana", given.p_all[rows], given.is_all[rows]).combination
    assert built.chosen.combination == whole


def test_one_model_is_no_ensemble_and_a_missing_part_is_named():
    with pytest.raises(BlastscopeError, match="needs two members"):
        build(scores(models=1), EnsembleSettings("mean"))
    with pytest.raises(BlastscopeError, match="No table has validation cells, only test"):
        build(scores(parts=("test",)), EnsembleSettings("genetic"))


def unlabelled(given: AlignedPredictions, part: str) -> AlignedPredictions:
    label = pl.when(pl.col("part") != part).then("label")
    return replace(given, cells=given.cells.with_columns(label=label))


def test_a_mean_needs_no_part_to_fit_on():
    for given in (scores(parts=("test",)), unlabelled(scores(), "validation")):
        assert list(build(given, EnsembleSettings("mean")).fitted) == ["mean", "vote"]
    frame = scores().cells.with_columns(
        part=pl.when(pl.col("label") == "all").then(pl.lit("validation")).otherwise(pl.lit("test"))
    )
    one_class = replace(scores(), cells=frame)
    assert list(build(one_class, EnsembleSettings("vote")).fitted) == ["mean", "vote"]
    with pytest.raises(BlastscopeError, match="'caruana' needs both"):
        build(one_class, EnsembleSettings("caruana"))  # what was asked for is named, not a rival


def test_cells_without_a_label_are_combined_with_weights_from_others():
    given = scores()
    built = build(unlabelled(given, "test"), EnsembleSettings("auc"))
    np.testing.assert_array_equal(built.p_all, build(given, EnsembleSettings("auc")).p_all)


def test_nested_leaves_out_what_its_weights_know():
    """Other parts would be combined by weights that have seen the reported labels."""
    given = scores()
    some = given.cells.with_row_index().with_columns(
        label=pl.when(pl.col("index") != 1).then("label")
    )
    assert some["part"][1] == "test"
    built = build(
        replace(given, cells=some.drop("index")), EnsembleSettings("auc", fit="test", nested=True)
    )
    assert np.isnan(built.p_all).tolist() == of(given, "validation").tolist()
    assert built.p_all[1] == pytest.approx(built.chosen.combination.apply(given.p_all[1:2])[0])


def test_an_ensemble_is_no_member_where_its_own_weights_were_fitted():
    given = scores()
    inner = ModelSource("inner", Path("inner"), {"fitted_on": ["test"]})
    members = (inner, *given.members[1:])
    with pytest.raises(
        BlastscopeError, match=r"'inner' is an ensemble with weights fitted on the test"
    ):
        build(replace(given, members=members), EnsembleSettings("mean"))
    assert build(
        replace(given, members=members), EnsembleSettings("auc", fit="test", apply="validation")
    )


def test_a_member_that_is_called_like_a_method_is_refused():
    given = scores()
    members = (*given.members[:2], ModelSource("ensemble: mean", Path("rivals.parquet"), {}))
    with pytest.raises(BlastscopeError, match=r"rename it, A=rivals\.parquet"):
        build(replace(given, members=members), EnsembleSettings("mean"))


def test_cells_that_a_member_does_not_know_have_no_ensemble():
    given = scores(parts=("train", "validation", "test"))
    p_all = given.p_all.copy()
    p_all[of(given, "train"), 0] = np.nan
    built = build(replace(given, p_all=p_all), EnsembleSettings("auc"))
    assert np.isnan(built.p_all).tolist() == of(given, "train").tolist()
