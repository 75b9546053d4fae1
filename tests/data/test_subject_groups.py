"""Subjects that share pixel-identical cells are in one part and in one fold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import polars as pl
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

import blastscope as bs
from blastscope.data.cell_sources import cells_from_names
from blastscope.data.cell_table import CELLS
from blastscope.data.folds import FoldCut, make_folds
from blastscope.data.split_table import Split, describe
from blastscope.data.splits import official_split, subject_split
from blastscope.data.subject_groups import SubjectGroup, group_subjects
from blastscope.errors import BlastscopeError
from blastscope.io.json_objects import read_as
from blastscope.io.tables import write_table
from blastscope.report.crossval_page import cut_text

CNMC = (
    SubjectGroup(("20", "21"), 71),
    SubjectGroup(("51", "75", "78"), 21),
    SubjectGroup(("H10", "H3"), 1),
    SubjectGroup(("H2", "H4", "H5", "H6"), 6),
)
"""What `cnmc_duplicates.csv` says of the training set, pair by pair."""


def rows(*of: tuple[str, str, Sequence[str]]) -> pl.DataFrame:
    """Cells of (subject, label, the names of their pixels; a letter each in a text)."""
    table = [
        (f"{subject}_{k}", subject, label, letter, None)
        for subject, label, pixels in of
        for k, letter in enumerate(pixels)
    ]
    names = ["cell", "subject", "label", "pixel_hash", "fold"]
    return pl.DataFrame(table, names, orient="row", schema_overrides={"fold": pl.String})


def leaks(cells: pl.DataFrame, split: Split, *parts: str) -> int:
    """How many images are in more than one part; the parts that are named count as one."""
    joined = cells.join(split.table, on="cell").with_columns(
        part=pl.when(pl.col("part").is_in(parts)).then(pl.lit("seen")).otherwise("part")
    )
    held = joined.drop_nulls("pixel_hash").group_by("pixel_hash").agg(pl.col("part").n_unique())
    return held.filter(pl.col("part") > 1).height


@pytest.fixture(scope="module")
def cnmc(shared) -> pl.DataFrame:
    """The published training set: its names, and its SHA-256 as pixel hashes."""
    files = pl.read_csv(shared / "data" / "cnmc_sha256.csv").filter(
        pl.col("file").str.starts_with("training_data/")
    )
    cells = cells_from_names(files["file"].to_list(), shared)
    fold = files["file"].str.extract(r"fold_(\d)/")
    return cells.with_columns(pixel_hash=files["sha256"], fold=fold)


def test_the_groups_of_cnmc_are_those_of_its_published_pairs(cnmc, shared):
    found, groups = group_subjects(cnmc)
    assert groups == CNMC
    of = dict(found.select("subject", "group").iter_rows())
    pairs = pl.read_csv(shared / "data" / "cnmc_duplicates.csv")
    assert pairs.height == 106
    for a, b in pairs.select("a", "b").iter_rows():
        names = [name.split("UID_")[1].split("_")[0].upper() for name in (a, b) if "UID_" in name]
        assert not names or of[names[0]] == of[names[1]]
    assert found["group"].n_unique() == 73 - 7


@pytest.mark.parametrize("seed", [24, 25, 26])
def test_no_image_of_cnmc_is_in_two_parts_or_folds(cnmc, seed):
    split = subject_split(cnmc, seed)
    assert leaks(cnmc, split) == 0
    report = describe(split, cnmc)
    assert report.kept_together == CNMC
    assert not any(report.shared_pixels.values())
    plan = make_folds(cnmc, "subject", 5, seed)
    assert [leaks(cnmc, split) for split in plan.splits] == [0] * 5
    assert plan.cut.kept_together == CNMC
    told = cut_text(plan.cut)[1]
    assert "20 and 21 (71); 51, 75 and 78 (21); H10 and H3 (1); H2, H4, H5 and H6 (6)." in told


def test_the_own_folds_of_cnmc_share_images_and_it_is_said(cnmc):
    plan = make_folds(cnmc, "fold")
    # 71 + 1 (H2, H6) of the folds 0 and 2; 21 + 1 (H10, H3) of the folds 1 and 2
    assert plan.cut.shared_pixels == {"0/2": 72, "1/2": 22}
    told = cut_text(plan.cut)[1]
    assert "0 and 2 share 72 identical cells; 1 and 2 share 22 identical cells" in told
    assert read_as(FoldCut, json.loads(json.dumps(asdict(plan.cut)))) == plan.cut


def test_the_official_split_keeps_subjects_together_in_its_training_folds(cnmc):
    of_51 = pl.col("subject") == "51"
    test = cnmc.filter(pl.col("subject").is_in(["90", "H30"]) | of_51)
    cells = pl.concat(
        [
            cnmc.filter(~pl.col("cell").is_in(test["cell"].implode())),
            test.with_columns(fold=pl.lit("preliminary")),
        ]
    )
    split = official_split(cells)
    report = describe(split, cells)
    assert [group.subjects for group in report.kept_together] == [
        ("20", "21"),
        ("H10", "H3"),
        ("H2", "H4", "H5", "H6"),
    ]
    assert report.shared_pixels["train/validation"] == 0
    # what the preliminary set shares with the folds is counted, as it is given
    assert report.shared_pixels["train/test"] + report.shared_pixels["validation/test"] == 21


own = st.integers(2, 4)
loans = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6)


@settings(max_examples=60, deadline=None)
@given(st.lists(own, min_size=8, max_size=12), st.lists(own, min_size=8, max_size=12), loans)
def test_no_image_is_ever_in_two_parts(blasts, normals, loans):
    """Subjects with images of their own, and further cells with an image of another subject."""
    subjects = [(f"{k}", "all", n) for k, n in enumerate(blasts)]
    subjects += [(f"H{k}", "hem", n) for k, n in enumerate(normals)]
    pixels = [[f"{name}-{k}" for k in range(count)] for name, _, count in subjects]
    for to, of in loans:
        pixels[to % len(pixels)].append(f"{subjects[of % len(subjects)][0]}-0")
    cells = rows(*((*subject[:2], of) for subject, of in zip(subjects, pixels, strict=True)))
    try:
        split = subject_split(cells, 24)
        plan = make_folds(cells, "subject", 3, 24)
    except BlastscopeError as refused:  # whole folds with both classes are not always to be had
        assert loans
        event(str(refused)[:30])
        return
    event(f"cut, {len(plan.cut.kept_together)} groups, {plan.cut.whole} choose by subject")
    assert leaks(cells, split) == 0
    assert describe(split, cells).disjoint
    for fold in plan.splits:
        assert leaks(cells, fold, "train", "validation") == 0  # what a fold tests is unseen
    if plan.cut.whole == plan.cut.folds:
        assert [leaks(cells, fold) for fold in plan.splits] == [0] * plan.cut.folds


def test_chains_connect_and_unknown_pixels_do_not():
    cells = rows(("a", "all", "xy"), ("b", "all", "yz"), ("c", "all", "zw"), ("d", "all", "v"))
    assert group_subjects(cells)[1] == (SubjectGroup(("a", "b", "c"), 2),)
    unknown = cells.with_columns(pixel_hash=pl.lit(None, pl.String))
    found, groups = group_subjects(unknown)
    assert groups == ()
    assert found["group"].equals(found["subject"], check_names=False)
    assert group_subjects(cells.drop("pixel_hash"))[1] == ()


def test_too_few_groups_is_one_sentence():
    blasts = [(str(k), "all", f"{k}{letter}") for k, letter in enumerate("abcdef")]
    cells = rows(*blasts, ("H1", "hem", "XY"), ("H2", "hem", "YZ"), ("H3", "hem", "PQ"))
    said = r"Only 2 subjects have hem cells \(subjects that share .* count as one: H1, H2\)"
    with pytest.raises(BlastscopeError, match=said):
        subject_split(cells)
    one = cells.filter(pl.col("subject") != "H3")
    with pytest.raises(BlastscopeError, match=r"Only one subject has normal cells \(subjects"):
        make_folds(one, "subject")
    cut = make_folds(cells, "subject", 5).cut
    assert (cut.folds, cut.scarce) == (2, "hem")
    assert "Only 2 subjects (those kept together count as one) have normal" in cut_text(cut)[0]


def test_a_split_by_name_alone_is_not_called_together(cnmc):
    by_name = subject_split(cnmc.with_columns(pixel_hash=pl.lit(None, pl.String)), 24)
    report = describe(by_name, cnmc)
    assert report.disjoint
    assert set(report.kept_together) < set(CNMC)
    assert any(report.shared_pixels.values())


def test_the_command_says_who_is_kept_together(cnmc, tmp_path):
    lacking = {name: None for name in CELLS.columns if name not in cnmc.columns}
    table = cnmc.with_columns(**{name: pl.lit(value) for name, value in lacking.items()})
    write_table(table, tmp_path / "cells.parquet", CELLS)
    result = bs.split(tmp_path / "cells.parquet", "subject", out=tmp_path / "split.parquet")
    assert "they share pixel-identical cells (how many): 20 and 21 (71); 51, 75" in str(result)
    assert result.as_json()["kept_together"][0] == {"subjects": ("20", "21"), "identical": 71}
