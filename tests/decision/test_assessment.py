"""Judged decisions: never fitted on the cells reported, and honest about whose those are."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from blastscope.decision.assessment import DecisionAssessment, assess_decisions
from blastscope.decision.blast_share import blast_share
from blastscope.decision.decision import Decision, DecisionRequest, fit_decision
from blastscope.decision.fitting import FittedOn, NoDecision
from blastscope.decision.reliability import reliability
from blastscope.evaluation.bootstrap import resampling
from tests.decision.made import cells_of_subjects, table

WISHES = DecisionRequest()


def split(validation: int = 8, test: int = 6, train: int = 0) -> pl.DataFrame:
    """Other subjects in each part."""
    parts = []
    for at, (part, n_subjects) in enumerate(
        (("validation", validation), ("test", test), ("train", train))
    ):
        if n_subjects:
            is_all, p_all, names = cells_of_subjects(n_subjects, seed=at)
            named = [f"{part[0]}{name}".upper() for name in names]
            parts.append(table(is_all, p_all**2, named, part, start=10_000 * at))
    return pl.concat(parts)


def folds(n_subjects: int = 9, by: str = "subject") -> pl.DataFrame:
    is_all, p_all, names = cells_of_subjects(n_subjects, seed=5)
    ordered = sorted(set(names))
    fold = [ordered.index(name) % 3 + 1 for name in names]
    if by == "image":
        fold = [k % 3 + 1 for k in range(len(names))]
    numbered = table(is_all, p_all**2, names).with_columns(
        repeat=pl.lit(1, pl.Int32), fold=pl.Series(fold, dtype=pl.Int32)
    )
    return numbered.sample(fraction=1, shuffle=True, seed=1)  # in no order


OUT_OF_FOLD = {"out_of_fold": "subject"}


def turned(frame: pl.DataFrame, here: pl.Expr) -> pl.DataFrame:
    """Call every other cell there by the other label."""
    other = pl.when(pl.col("label") == "all").then(pl.lit("hem")).otherwise(pl.lit("all"))
    odd = pl.int_range(pl.len()) % 2 == 0
    return frame.with_columns(label=pl.when(here & odd).then(other).otherwise("label"))


def judged(
    frame: pl.DataFrame, part: str = "test", metadata=None, request=WISHES
) -> DecisionAssessment:
    found = assess_decisions(frame, part, metadata or {}, request)
    assert isinstance(found, DecisionAssessment), found
    return found


@pytest.fixture(scope="module")
def on_validation() -> DecisionAssessment:
    return judged(split())


@pytest.fixture(scope="module")
def in_folds() -> DecisionAssessment:
    return judged(folds(), metadata=OUT_OF_FOLD)


def test_nothing_of_the_reported_cells_goes_into_the_decision(on_validation):
    frame = split()
    test = pl.col("part") == "test"
    for other in (
        turned(frame, test),
        frame.with_columns(p_all=pl.when(test).then(1 - pl.col("p_all") / 3).otherwise("p_all")),
        frame.filter(~test | (pl.col("cell").str.ends_with("1"))),
    ):
        found = judged(other)
        assert found.decision == on_validation.decision
        assert found.known_coverage == on_validation.known_coverage
        assert found.estimates != on_validation.estimates


def test_the_decision_is_that_of_the_validation_cells(on_validation):
    cells = split().filter(pl.col("part") == "validation").sort("cell")
    expected = fit_decision(
        (cells["label"] == "all").to_numpy(),
        cells["p_all"].to_numpy(),
        cells["subject"].to_list(),
        WISHES,
    )
    assert on_validation.decision == expected
    assert on_validation.fitted_on == FittedOn("validation", "test", 1, 320, 16, 0, 12, 0)
    reported = split().filter(pl.col("part") == "test")["p_all"].to_numpy()
    assert np.array_equal(on_validation.calls.called, expected.apply(reported).called)


def test_the_metrics_are_of_the_reported_cells(on_validation):
    cells = split().filter(pl.col("part") == "test")
    is_all, raw = (cells["label"] == "all").to_numpy(), cells["p_all"].to_numpy()
    draws = resampling(is_all, cells["subject"].to_list())
    of, found = on_validation.calls, on_validation.estimates
    assert on_validation.before.ece == reliability(is_all, raw, draws).ece
    assert on_validation.after.ece == reliability(is_all, of.p_all, draws).ece
    assert found["sensitivity"].value == of.called[is_all].mean()
    assert found["accuracy"].value == pytest.approx((of.called == is_all).mean())
    assert found["brier"].value == pytest.approx(on_validation.after.brier)
    assert found["brier_before"].value == pytest.approx(on_validation.before.brier)
    assert on_validation.curve.risk[-1] == pytest.approx(1 - found["accuracy"].value)
    for name, estimate in found.items():
        assert estimate.low <= estimate.value <= estimate.high, name


def test_cells_without_a_label_are_left_out(on_validation):
    frame = split()
    extra = frame.with_columns(cell=pl.col("cell") + "x", label=pl.lit(None, pl.String))
    found = judged(pl.concat([frame, extra]))
    assert found.decision == on_validation.decision
    assert found.estimates == on_validation.estimates


def decided_of(found: DecisionAssessment, frame: pl.DataFrame) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "cell": frame["cell"],
            "p": found.calls.p_all,
            "called": found.calls.called,
            "refer": found.calls.refer,
            "hem": found.calls.sets[:, 0],
            "all": found.calls.sets[:, 1],
        }
    )


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_folds_labels_do_not_change_what_is_decided_of_it(in_folds, number):
    frame = folds()
    here = (frame["fold"] == number).to_numpy()
    found = judged(turned(frame, pl.col("fold") == number), metadata=OUT_OF_FOLD)
    before, after = decided_of(in_folds, frame), decided_of(found, frame)
    assert_frame_equal(before.filter(here), after.filter(here))
    assert not before.filter(~here).equals(after.filter(~here))
    assert found.decision != in_folds.decision  # the one to keep knows all folds


def test_each_fold_is_decided_of_by_the_others(in_folds):
    frame = folds()
    for number in (1, 2, 3):
        others, here = (frame.filter((pl.col("fold") == number) == own) for own in (False, True))
        others = others.sort("cell")
        fitted = fit_decision(
            (others["label"] == "all").to_numpy(),
            others["p_all"].to_numpy(),
            others["subject"].to_list(),
            WISHES,
        )
        own = (frame["fold"] == number).to_numpy()
        expected = fitted.apply(here["p_all"].to_numpy())
        assert np.array_equal(in_folds.calls.take(own).sure, expected.sure)
        assert np.array_equal(in_folds.calls.take(own).sets, expected.sets)
        subject = here["subject"][0]
        cells = (here["subject"] == subject).to_numpy()
        called = int(expected.called[cells].sum())
        share = blast_share(called, int(cells.sum()), fitted.reference)
        row = in_folds.subject_shares.row(by_predicate=pl.col("subject") == subject, named=True)
        assert (row["share"], row["low"], row["high"]) == (share.share, share.low, share.high)


def test_folds_are_told_of(in_folds):
    assert in_folds.fitted_on == FittedOn("test", "test", 3, 360, 18, 0, 18, 0)
    assert in_folds.decision.cells == 360
    assert in_folds.subject_shares.height == 18


def test_folds_by_image_say_that_subjects_are_known():
    found = judged(folds(by="image"), metadata={"out_of_fold": "image"})
    assert found.fitted_on.shared_reported == 18
    assert found.subject_shares.height == 18  # once each


def test_of_subjects_whom_every_decision_knows_no_share_is_corrected():
    shares = judged(folds(by="image"), metadata={"out_of_fold": "image"}).subject_shares
    assert shares["share"].is_null().all()
    assert shares["called"].null_count() == 0
    others = judged(folds(), metadata=OUT_OF_FOLD).subject_shares
    assert others["line"].null_count() == 0
    estimable = others["line"] != "not estimable"
    assert (others["share"].is_not_null() == estimable).all()
    assert estimable.sum() > others.height / 2


def test_the_share_of_a_subject_is_not_corrected_by_its_own_labels():
    apart = split()
    one = judged(renamed(apart, "validation", "VA1", "TA1")).subject_shares
    before = judged(apart).subject_shares
    theirs = pl.col("subject") == "TA1"
    columns = ("share", "low", "high", "line")
    assert before.filter(theirs).select(columns).null_count().sum_horizontal().item() == 0
    assert one.filter(theirs).select(columns).row(0) == (None, None, None, None)
    assert one.filter(theirs)["called"].item() == before.filter(theirs)["called"].item()
    assert one.filter(~theirs)["line"].null_count() == 0
    assert one["subject"].to_list() == before["subject"].to_list()  # the order stays

    names = pl.col("subject").str.slice(1)  # the same subjects in both parts
    same = judged(split(validation=6).with_columns(subject=names))
    assert same.fitted_on.shared_reported == same.subject_shares.height == 12
    assert same.subject_shares.select(columns).null_count().row(0) == (12,) * 4


def test_in_folds_only_the_share_of_a_subject_in_several_is_left_out():
    frame = folds().sort("cell").with_row_index()
    moved = frame.filter(pl.col("subject") == "A1")["index"].min()
    other = pl.when(pl.col("index") == moved).then(pl.col("fold") % 3 + 1).otherwise("fold")
    shares = judged(
        frame.with_columns(fold=other).drop("index"), metadata=OUT_OF_FOLD
    ).subject_shares
    assert shares.height == 18
    assert shares.filter(pl.col("line").is_null())["subject"].to_list() == ["A1"]
    assert shares.filter(pl.col("subject") == "A1")["cells"].item() == 20


def test_a_table_with_folds_in_part_alone_falls_back_on_validation():
    frame = folds().with_columns(fold=pl.when(pl.col("fold") > 1).then("fold"))
    found = assess_decisions(frame, "test", OUT_OF_FOLD, WISHES)
    assert found == NoDecision("no-validation", "test")


def test_the_table_of_subjects_by_hand(on_validation):
    cells = split().filter(pl.col("part") == "test")
    of, known = on_validation.calls, on_validation.decision.reference
    assert on_validation.subject_shares.height == 12
    assert on_validation.subject_shares["wrong"].is_sorted(descending=True)
    for row in on_validation.subject_shares.to_dicts():
        here = (cells["subject"] == row["subject"]).to_numpy()
        blast = row["label"] == "all"
        assert set(cells.filter(here)["label"]) == {row["label"]}
        assert row["cells"] == here.sum() == 20
        assert row["called"] == pytest.approx(of.called[here].mean())
        assert row["wrong"] == pytest.approx((of.called[here] != blast).mean())
        assert row["referred"] == pytest.approx(of.refer[here].mean())
        assert row["covered"] == pytest.approx(of.sets[here, int(blast)].mean())
        assert row["share"] == blast_share(int(of.called[here].sum()), 20, known).share


def renamed(frame: pl.DataFrame, part: str, old: str, new: str) -> pl.DataFrame:
    here = (pl.col("part") == part) & (pl.col("subject") == old)
    return frame.with_columns(subject=pl.when(here).then(pl.lit(new)).otherwise("subject"))


def test_subjects_who_are_known_are_told_of():
    apart = split(train=3)
    assert judged(apart).fitted_on.shared_training == 0
    one = renamed(apart, "validation", "VA1", "TA1")  # test and training have a subject TA1 each
    both = judged(one).fitted_on
    assert (both.subjects, both.subjects_reported) == (16, 12)
    assert (both.shared_reported, both.shared_training) == (1, 1)
    shared = apart.with_columns(
        subject=pl.when(pl.col("part") != "train")
        .then(pl.lit("X") + pl.col("label"))
        .otherwise("subject")
    )
    found = judged(shared)
    on = found.fitted_on
    assert (on.subjects, on.subjects_reported, on.shared_reported, on.shared_training) == (
        2,
        2,
        2,
        0,
    )


def test_on_known_subjects_coverage_is_what_was_promised(on_validation):
    is_all, p_all, names = cells_of_subjects(40, seed=9, cells=50)
    validation = table(is_all, p_all, names, "validation")
    found = judged(pl.concat([validation, split().filter(pl.col("part") == "test")]))
    assert found.known_coverage == pytest.approx(0.9, abs=0.02)


def test_without_subjects_there_are_no_shares():
    frame = split().with_columns(subject=pl.lit(None, pl.String))
    found = judged(frame)
    assert found.subject_shares.is_empty()
    assert found.decision.reference is None
    assert (found.fitted_on.cells, found.fitted_on.subjects, found.fitted_on.unnamed) == (
        320,
        0,
        320,
    )
    assert found.sampling.unit == "cell"
    assert found.estimates["accuracy"].low < found.estimates["accuracy"].value


def test_one_person_of_a_class_is_enough():
    found = judged(split(validation=1, test=1))
    assert found.decision.calibration.method == "none"
    # From one subject little is known of the next.
    assert set(found.subject_shares["line"]) <= {"open", "not estimable"}
    assert "not estimable" in found.subject_shares["line"]


@pytest.mark.parametrize(
    ("frame", "part", "reason"),
    [
        (split(), "validation", "fitted-here"),
        (split().filter(pl.col("part") == "test"), "test", "no-validation"),
        (
            split().filter((pl.col("part") == "test") | (pl.col("label") == "all")),
            "test",
            "no-validation",
        ),
        (split().filter(pl.col("label") == "all"), "test", "one-class"),
        (split().with_columns(label=pl.lit(None, pl.String)), "test", "one-class"),
    ],
)
def test_why_there_is_none(frame, part, reason):
    assert assess_decisions(frame, part, {}, WISHES) == NoDecision(reason, part)


def test_of_a_cross_validation_that_leaves_a_class_out_there_is_none():
    frame = folds().with_columns(fold=pl.when(pl.col("label") == "all").then(1).otherwise(2))
    found = assess_decisions(frame, "test", OUT_OF_FOLD, WISHES)
    assert isinstance(found, NoDecision)


def test_what_is_kept_can_be_written_and_read(in_folds):
    assert Decision.from_json(in_folds.decision.as_json(), "d.json") == in_folds.decision


def test_the_order_of_the_rows_does_not_matter():
    for frame, metadata in ((split(), {}), (folds(), OUT_OF_FOLD)):
        first = judged(frame, metadata=metadata)
        other = judged(frame.sample(fraction=1, shuffle=True, seed=9), metadata=metadata)
        assert other.decision == first.decision
        assert other.known_coverage == first.known_coverage
        assert_frame_equal(other.subject_shares, first.subject_shares)


def test_where_an_ensembles_weights_know_the_cells_it_is_told():
    fitted = judged(split(), metadata={"fitted_on": ["validation"]})
    assert fitted.fitted_on.ensemble
    assert not judged(split(), metadata={"fitted_on": ["train"]}).fitted_on.ensemble
