"""Folds: every cell once, nobody on both sides, and who chooses the epoch."""

from __future__ import annotations

import json
from dataclasses import asdict

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from blastscope.data.folds import FoldCut, make_folds
from blastscope.errors import BlastscopeError
from blastscope.io.json_objects import read_as
from blastscope.report.crossval_page import cut_text


def table(all_sizes, hem_sizes, folds=None) -> pl.DataFrame:
    """Subjects with so many cells each."""
    rows = []
    for label, mark, sizes in (("all", "", all_sizes), ("hem", "H", hem_sizes)):
        for subject, size in enumerate(sizes, 1):
            for k in range(size):
                name = f"{mark}{subject}"
                fold = None if folds is None else str(folds[label][subject - 1])
                rows.append((f"{name}_{k}_{label}", name, label, fold))
    return pl.DataFrame(
        rows, ["cell", "subject", "label", "fold"], orient="row", schema_overrides={"fold": str}
    )


def parts_of(cells: pl.DataFrame, plan) -> list[dict[str, set[str]]]:
    """For each fold the subjects of each part."""
    found = []
    for split in plan.splits:
        joined = cells.join(split.table, on="cell")
        assert joined.height == cells.height
        found.append(
            {
                part: set(joined.filter(pl.col("part") == part)["subject"])
                for part in ("train", "validation", "test")
            }
        )
    return found


def cells_tested(plan) -> list[str]:
    return [
        cell
        for split in plan.splits
        for cell in split.table.filter(pl.col("part") == "test")["cell"]
    ]


sizes = st.lists(st.integers(1, 12), min_size=2, max_size=9)


@settings(max_examples=40, deadline=None)
@given(sizes, sizes, st.integers(2, 6), st.integers(0, 5))
def test_every_cell_is_tested_once_by_a_network_that_never_saw_its_subject(few, many, folds, seed):
    cells = table([size + 1 for size in few], [size + 1 for size in many])
    plan = make_folds(cells, "subject", folds, seed)
    assert sorted(cells_tested(plan)) == sorted(cells["cell"])
    for parts in parts_of(cells, plan):
        assert not parts["test"] & (parts["train"] | parts["validation"])
        assert parts["train"]
        assert parts["validation"]


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_the_rows_is_no_matter(random):
    cells = table([3, 4, 5, 6, 7], [5, 5, 5])
    order = list(range(cells.height))
    random.shuffle(order)
    first, second = (make_folds(each, "subject", 5, 24) for each in (cells, cells[order]))
    assert [a.hash for a in first.splits] == [b.hash for b in second.splits]


def test_folds_are_scikit_learns_where_subjects_suffice():
    cells = table([3, 4, 5, 6, 7, 8], [5, 5, 5, 6, 9]).sort("cell")
    plan = make_folds(cells, "subject", 5, 24)
    splitter = StratifiedGroupKFold(5, shuffle=True, random_state=24)
    theirs = splitter.split(cells["label"], cells["label"], cells["subject"])
    for split, (_, rows) in zip(plan.splits, theirs, strict=True):
        ours = split.table.filter(pl.col("part") == "test")["cell"]
        assert ours.to_list() == cells[rows]["cell"].to_list()
    assert "5 folds by subject" in cut_text(plan.cut)[0]


def test_one_normal_subject_is_left_out_at_a_time_where_there_are_three():
    """As on fold 1 of C-NMC: 11 subjects with ALL, three normal ones."""
    cells = table([90, 80, 70, 60, 50, 40, 30, 20, 10, 5, 4], [60, 50, 40])
    plan = make_folds(cells, "subject", 5, 24)
    found = parts_of(cells, plan)
    assert len(found) == 3
    assert [sorted(s for s in parts["test"] if s[0] == "H") for parts in found] == [
        ["H1"],
        ["H2"],
        ["H3"],
    ]
    assert (plan.cut.scarce, plan.cut.folds, plan.cut.asked) == ("hem", 3, 5)
    assert "Only 3 subjects have normal cells" in cut_text(plan.cut)[0]
    counts = [
        split.table.filter((pl.col("part") == "test") & pl.col("cell").str.ends_with("all")).height
        for split in plan.splits
    ]
    # Largest first, each to the emptiest: 90 + 40 + 30, 80 + 50 + 20, 70 + 60 + 10 + 5 + 4.
    assert sorted(counts) == [149, 150, 160]


def test_two_subjects_of_a_class_stay_in_training_before_validation_takes_one():
    three = make_folds(table([9] * 6, [9] * 3), "subject", 5, 24)
    for split, parts in zip(three.splits, parts_of(table([9] * 6, [9] * 3), three), strict=True):
        assert len([s for s in parts["train"] if s[0] == "H"]) == 2
        assert parts["validation"] <= parts["train"]  # cells at random, of the same subjects
        share = split.table.filter(pl.col("part") == "validation").height
        rest = split.table.filter(pl.col("part") != "test").height
        assert share == pytest.approx(rest / 5, abs=1)
    assert three.cut.whole == 0
    assert "drawn at random" in cut_text(three.cut)[-1]
    cells = table([9] * 8, [9] * 8)
    eight = make_folds(cells, "subject", 4, 24)
    for parts in parts_of(cells, eight):
        assert not parts["validation"] & parts["train"]
        assert len([s for s in parts["train"] if s[0] == "H"]) >= 2
    assert eight.cut.whole == eight.cut.folds == 4
    assert cut_text(eight.cut)[-1] == "Subjects of their own choose the epoch."


def test_by_image_tested_subjects_are_among_those_that_choose_and_the_page_says_so():
    cells = table([10] * 4, [10] * 4)
    plan = make_folds(cells, "image", 4, 24)
    for parts, split in zip(parts_of(cells, plan), plan.splits, strict=True):
        assert parts["test"] & parts["validation"]
        share = split.table.filter(pl.col("part") == "validation").height
        assert share == 60 / 5
    told = cut_text(plan.cut)
    assert not any("no tested subject" in one for one in told)
    assert told[-1].startswith("A fifth of the cells that a fold does not test")


def test_the_published_folds_are_taken_as_they_are():
    cells = table([5, 5, 5, 5], [5, 5, 5], {"all": [0, 1, 2, 2], "hem": [0, 1, 2]})
    plan = make_folds(cells, "fold", 5, 24)
    found = parts_of(cells, plan)
    assert [parts["test"] for parts in found] == [{"1", "H1"}, {"2", "H2"}, {"3", "4", "H3"}]
    cells = table([5, 5], [5, 5], {"all": [0, 1], "hem": [0, 1]})
    twice = pl.concat([cells, cells.head(1).with_columns(cell=pl.lit("x"), fold=pl.lit("1"))])
    with pytest.raises(BlastscopeError, match="1 are in more than one of the data set's folds"):
        make_folds(twice, "fold")


def test_by_image_subjects_are_shared_and_it_is_said():
    cells = table([20, 20], [20, 20])
    plan = make_folds(cells, "image", 4, 24)
    assert sorted(cells_tested(plan)) == sorted(cells["cell"])
    assert all(parts["test"] <= parts["train"] for parts in parts_of(cells, plan))
    assert all(split.protocol == "image" for split in plan.splits)
    assert "say nothing about unseen patients" in cut_text(plan.cut)[0]


def test_a_fold_of_one_class_is_named():
    cells = table([5, 5, 5], [5, 5], {"all": [0, 1, 2], "hem": [1, 2]})
    plan = make_folds(cells, "fold")
    assert plan.cut.one_class == (1,)
    assert cut_text(plan.cut)[1] == "Fold 1: cells of one class, so no AUC."
    assert read_as(FoldCut, json.loads(json.dumps(asdict(plan.cut)))) == plan.cut
    assert make_folds(cells, "image", 2).cut.one_class == ()


@pytest.mark.parametrize(
    ("cells", "by", "folds", "said"),
    [
        (table([5, 5], [5]), "subject", 5, "Only one subject has normal cells"),
        (table([5, 5], []), "subject", 5, "No cell is labelled hem"),
        (table([5, 5], [5, 5]), "patient", 5, "'patient' is not a way"),
        (table([5, 5], [5, 5]), "subject", 1, "1 folds test nothing"),
        (table([5, 5], [5, 5]), "fold", 5, "the published folds need"),
        (table([5, 5], [1, 1]), "image", 5, "A class has 2 cells only"),
        (table([5, 5], [1, 1]), "subject", 2, "leave 1 cell of a class to learn and choose from"),
        (table([5, 5], [5, 5], {"all": [0, 0], "hem": [1, 1]}), "fold", 2, "one class only"),
    ],
)
def test_what_cannot_be_cut_is_one_sentence(cells, by, folds, said):
    with pytest.raises(BlastscopeError, match=said):
        make_folds(cells, by, folds)


def test_cells_without_a_subject_are_refused_by_subject_only():
    cells = table([9, 9], [9, 9]).with_columns(subject=pl.lit(None, str))
    with pytest.raises(BlastscopeError, match="has no subject"):
        make_folds(cells, "subject", 2)
    assert len(make_folds(cells, "image", 2).splits) == 2
