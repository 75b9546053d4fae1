import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blastscope.data.cell_sources import cells_from_names, read_cells
from blastscope.data.paper_split import paper_split
from blastscope.data.preparation import prepare
from blastscope.data.split_table import SPLIT, Split, describe, read_split
from blastscope.data.splits import (
    image_split,
    make_split,
    official_split,
    refuse_overlap,
    subject_split,
)
from blastscope.data.store import StoreSettings
from blastscope.errors import BlastscopeError
from blastscope.io.predictions import PARTS
from blastscope.io.tables import write_table

PUBLISHED = {
    "train": {"all": 4432, "hem": 1964},
    "validation": {"all": 1403, "hem": 729},
    "test": {"all": 1437, "hem": 696},
}


def cohort(sizes: dict[str, int]) -> pl.DataFrame:
    names = [
        f"UID_{subject}_{k}_1_{'hem' if subject.startswith('H') else 'all'}.bmp"
        for subject, count in sizes.items()
        for k in range(count)
    ]
    return cells_from_names(names, None)


COHORT = cohort(
    {**{str(k): 5 + 7 * k for k in range(1, 9)}, **{f"H{k}": 9 * k for k in range(1, 7)}}
)


@pytest.fixture(scope="module")
def names(shared):
    return read_cells(shared / "data" / "cnmc_training_boxes.csv")


def test_the_image_split_has_the_published_sizes(names):
    assert describe(image_split(names, 24), names).cells == PUBLISHED


def test_the_paper_split_has_the_published_sizes_and_members(names, shared):
    membership = shared / "data" / "paper_training_files.csv"
    split = paper_split(names, membership)
    report = describe(split, names)
    assert report.cells == PUBLISHED
    assert len(report.shared_subjects["train/test"]) == 73
    uses = split.table.join(names, on="cell").filter(pl.col("part") == "train")
    # The balanced training set: 3,198 of each class, 1,234 of the normal ones copies.
    total = dict(uses.group_by("label").agg(pl.col("uses").cast(pl.Int64).sum()).iter_rows())
    assert total == {"all": 3198, "hem": 3198}
    counts = dict(uses.group_by("uses").len().iter_rows())
    assert counts == {0: 1234, 1: 3198 + 1964 - 1234, 2: 1234}


def test_on_a_part_of_the_data_the_drawn_numbers_keep_their_proportions(names, shared):
    some = names.filter(pl.col("subject").is_in(["51", "H10", "H14", "H22"]))
    split = paper_split(some, shared / "data" / "paper_training_files.csv")
    cells = describe(split, some).cells
    assert abs(cells["validation"]["hem"] / cells["test"]["hem"] - 729 / 696) < 0.02
    assert "of the 5,162 published training cells are here" in split.notes[0]


@given(st.randoms(use_true_random=False), st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_the_order_of_the_rows_never_matters(rng, seed):
    order = list(range(COHORT.height))
    rng.shuffle(order)
    for protocol in (image_split, subject_split):
        assert protocol(COHORT[order], seed).hash == protocol(COHORT, seed).hash


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_a_subject_split_shares_no_subject_and_has_both_classes_everywhere(seed):
    report = describe(subject_split(COHORT, seed), COHORT)
    assert report.disjoint
    assert all(set(report.cells[part]) == {"all", "hem"} for part in PARTS)
    assert sum(sum(counts.values()) for counts in report.cells.values()) == COHORT.height


def test_three_normal_subjects_are_one_for_each_part():
    # as on fold 1 of the C-NMC data
    fold_1 = {"16": 53, "2": 84, "23": 97, "30": 201, "32": 212, "33": 181, "34": 352, "38": 145}
    cells = cohort({**fold_1, "44": 146, "46": 190, "51": 757, "H10": 405, "H14": 385, "H22": 373})
    report = describe(subject_split(cells, 24), cells)
    assert [report.subjects[part]["hem"] for part in PARTS] == [1, 1, 1]
    assert report.disjoint


def test_two_subjects_of_a_class_are_too_few():
    cells = cohort({"1": 9, "2": 9, "3": 9, "H1": 9, "H2": 9})
    with pytest.raises(BlastscopeError, match="Only 2 subjects have hem cells"):
        subject_split(cells)


def test_another_seed_is_another_split():
    assert image_split(COHORT, 1).hash != image_split(COHORT, 2).hash
    assert subject_split(COHORT, 1).hash != subject_split(COHORT, 2).hash


def test_image_split_by_hand():
    cells = cohort({"1": 6, "H1": 4})
    order = [*cells.filter(pl.col("label") == "all")["cell"].sort()]
    order += [*cells.filter(pl.col("label") == "hem")["cell"].sort()]
    random.Random(7).shuffle(order)
    parts = dict(image_split(cells, 7).table.iter_rows())
    assert [cell for cell, part in parts.items() if part == "train"] == sorted(order[:6])
    assert [cell for cell, part in parts.items() if part == "test"] == sorted(order[8:])


def test_the_official_split():
    numbers = np.arange(COHORT.height)
    prelim = COHORT["subject"].is_in(["8", "H6"])
    folds = pl.Series([str(k % 3) for k in numbers])
    cells = COHORT.with_columns(fold=pl.when(prelim).then(pl.lit("preliminary")).otherwise(folds))
    report = describe(official_split(cells), cells)
    assert report.disjoint
    assert report.cells["test"] == {"all": 61, "hem": 54}
    with pytest.raises(BlastscopeError, match="needs cells of fold_0 to fold_2"):
        official_split(COHORT)


def test_a_split_that_calls_itself_subject_disjoint_is_held_to_it():
    wrong = Split(image_split(COHORT, 1).table, "subject", 1)
    with pytest.raises(BlastscopeError, match="has subjects in both train/validation"):
        refuse_overlap(describe(wrong, COHORT))


def test_a_split_by_image_may_go_without_a_test_part():
    split = image_split(COHORT, 1, (0.9, 0.1, 0.0))
    assert set(split.table["part"]) == {"train", "validation"}
    assert split.table.height == COHORT.filter(pl.col("label").is_not_null()).height
    with pytest.raises(BlastscopeError, match="three positive shares"):
        subject_split(COHORT, 1, (0.9, 0.1, 0.0))


@pytest.mark.parametrize("fractions", [(0.5, 0.2, 0.2), (1.2, -0.1, -0.1), (0.6, 0.4)])
def test_fractions_that_are_none(fractions):
    with pytest.raises(BlastscopeError, match="three positive shares"):
        image_split(COHORT, 1, fractions)


def test_one_class_only():
    with pytest.raises(BlastscopeError, match="only cells labelled all"):
        image_split(cohort({"1": 5, "2": 5}), 1)


def test_writing_reading_and_what_is_refused(tmp_path):
    path = tmp_path / "split.parquet"
    split = subject_split(COHORT, 5)
    split.write(path)
    split.write(path)  # the same again is no loss
    back = read_split(path)
    assert back.hash == split.hash
    assert (back.protocol, back.seed, back.fractions) == ("subject", 5, (0.6, 0.2, 0.2))
    with pytest.raises(BlastscopeError, match="is there already and not this split"):
        subject_split(COHORT, 6).write(path)
    pl.read_parquet(path).with_columns(part=pl.lit("tset")).write_parquet(path)
    with pytest.raises(BlastscopeError, match="has parts"):
        read_split(path)
    other = split.table.with_columns(part=split.table["part"].shuffle(1))
    write_table(other, path, SPLIT, {"hash": split.hash})
    with pytest.raises(BlastscopeError, match="its hash does not fit"):
        read_split(path)


def test_pixels_in_two_parts_are_counted():
    cells = cohort({"1": 3, "H1": 3}).with_columns(pixel_hash=pl.Series(list("aabcde")))
    table = cells.select("cell").with_columns(part=pl.Series(["train", "test"] * 3))
    report = describe(Split(table, "image", 0), cells)
    assert report.shared_pixels["train/test"] == 1


def test_make_split_says_what_it_lacks(tmp_path):
    names = tmp_path / "names.csv"
    names.write_text("file\n" + "\n".join(f"UID_{k}_1_1_all.bmp" for k in range(3)))
    with pytest.raises(BlastscopeError, match="is not a protocol"):
        make_split(names, "random")
    with pytest.raises(BlastscopeError, match=r"columns file and augmented_copy_of.*--membership"):
        make_split(names, "paper")
    names.write_text("file\ncat.bmp\n")
    with pytest.raises(BlastscopeError, match=r"names 'cat.bmp', which is not of the form"):
        make_split(names, "image", out=tmp_path / "s.parquet")


def test_cells_without_a_subject_are_not_called_disjoint():
    cells = COHORT.with_columns(subject=pl.lit(None, pl.String()))
    report = describe(image_split(cells, 1), cells)
    assert report.subjects["test"] == {}
    assert report.without_subject == cells.height
    assert not report.disjoint
    with pytest.raises(BlastscopeError, match="has no subject"):
        subject_split(cells)
    with pytest.raises(BlastscopeError, match="cells have no subject"):
        refuse_overlap(describe(Split(image_split(cells, 1).table, "official", 1), cells))


def test_what_a_protocol_does_not_use_is_refused(tmp_path):
    with pytest.raises(BlastscopeError, match="leave the fractions out"):
        make_split(tmp_path, "official", fractions=(0.6, 0.2, 0.2))
    with pytest.raises(BlastscopeError, match="The `membership` is for the paper protocol"):
        make_split(tmp_path, "image", membership=tmp_path)


def test_too_few_cells(tmp_path):
    names = tmp_path / "names.csv"
    names.write_text("file\nUID_1_1_1_all.bmp\nUID_2_1_1_all.bmp\nUID_H1_1_1_hem.bmp\n")
    with pytest.raises(BlastscopeError, match="the validation part would be empty"):
        make_split(names, "image", out=tmp_path / "s.parquet")
    assert not (tmp_path / "s.parquet").exists()


def test_few_cells_of_many_subjects():
    cells = cohort({**dict.fromkeys("123", 1), **{f"H{k}": 1 for k in range(1, 4)}})
    assert describe(subject_split(cells, 0), cells).disjoint


def test_the_split_of_a_final_model_is_written_without_a_test_part(dataset, tmp_path):
    store = prepare([dataset(4, 6)], tmp_path / "store", StoreSettings(size=32)).path
    path, report = make_split(store, "image", 3, (0.75, 0.25, 0.0), out=tmp_path / "all.parquet")
    assert not report.cells["test"]
    assert sum(report.cells["train"].values()) == 36  # of 48
    assert set(read_split(path).table["part"]) == {"train", "validation"}


@pytest.mark.parametrize("seed", range(0, 201, 8))
def test_three_subjects_of_each_class_give_each_part_both_classes(seed):
    rows = [
        (f"{label}{who}-{k}", f"{label[0]}{who}", label)
        for label in ("all", "hem")
        for who in range(3)
        for k in range(20)
    ]
    cells = pl.DataFrame(rows, schema=["cell", "subject", "label"], orient="row")
    joined = cells.join(subject_split(cells, seed).table, on="cell")
    counts = joined.group_by("part", "label").agg(pl.col("subject").n_unique())
    assert counts["subject"].to_list() == [1] * 6
