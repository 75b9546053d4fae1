"""Several tables side by side: the same cells, or one clear sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from blastscope.errors import BlastscopeError
from blastscope.evaluation.aligned_predictions import ModelSource, align_predictions
from blastscope.evaluation.sources import InMemoryTable, open_source
from blastscope.io.files import sha256_of
from blastscope.io.predictions import write_predictions

# cell, subject, label, part, p_all
ROWS = [
    ("a", "S1", "all", "train", 0.9),
    ("b", "S2", "all", "test", 0.8),
    ("c", "H1", "hem", "test", 0.3),
    ("d", "H1", None, "test", 0.4),
]
COLUMNS = ["cell", "subject", "label", "part", "p_all"]


def write(path: Path, rows=ROWS, model: str = "m", **metadata) -> Path:
    frame = pl.DataFrame(rows, schema=COLUMNS, orient="row").with_columns(model=pl.lit(model))
    if path.suffix == ".csv":
        frame.write_csv(path)
    else:
        write_predictions(frame, path, metadata)
    return path


def test_tables_in_any_order_are_laid_side_by_side(tmp_path):
    one = write(tmp_path / "one.parquet", model="one", protocol="image")
    shuffled = [(c, s, label, part, p / 2) for c, s, label, part, p in reversed(ROWS)]
    two = write(tmp_path / "two.csv", shuffled, model="two")
    scores = align_predictions([one, two])
    assert scores.models == ("one", "two")
    assert scores.cells["cell"].to_list() == ["a", "b", "c", "d"]
    np.testing.assert_allclose(scores.p_all[:, 1] * 2, scores.p_all[:, 0], atol=1e-15)
    assert (scores.protocol, scores.synthetic) == (None, False)
    test = scores.part("test")
    assert test.cells["cell"].to_list() == ["b", "c"]  # d has no label
    assert test.is_all.tolist() == [True, False]
    assert test.p_all.tolist() == [[0.8, 0.4], [0.3, 0.15]]


def test_what_one_table_does_not_say_is_taken_from_another(tmp_path):
    bare = write(
        tmp_path / "bare.csv", [(c, None, None, part, p) for c, _, _, part, p in ROWS], model="x"
    )
    scores = align_predictions([bare, write(tmp_path / "full.parquet", synthetic=True)])
    assert scores.cells["subject"].to_list() == ["S1", "S2", "H1", "H1"]
    assert scores.cells["label"].to_list() == ["all", "all", "hem", None]
    assert scores.synthetic


def test_a_model_may_lack_a_part_but_not_a_cell_of_one_that_is_used(tmp_path):
    full = write(tmp_path / "full.parquet")
    only_test = write(tmp_path / "test.parquet", ROWS[1:], model="t")
    scores = align_predictions([full, only_test])
    assert scores.part("test").cells.height == 2
    with pytest.raises(BlastscopeError, match=r"test\.parquet lacks 1 of 1 train cells.*first: a"):
        scores.part("train")
    with pytest.raises(BlastscopeError, match="No table has validation cells, only train"):
        scores.part("validation")
    with pytest.raises(BlastscopeError, match="'dev' is not a part"):
        scores.part("dev")


def test_a_part_without_labels_cannot_be_judged(tmp_path):
    table = write(tmp_path / "t.parquet", [("d", None, None, "test", 0.5)])
    with pytest.raises(BlastscopeError, match="None of the 1 test cells has a label"):
        align_predictions([table]).part("test")


def test_models_of_one_name_are_told_apart_by_the_user(tmp_path):
    one, two = write(tmp_path / "one.parquet"), write(tmp_path / "two.parquet")
    with pytest.raises(BlastscopeError, match=r"both hold a model called 'm': name them apart"):
        align_predictions([one, two])
    assert align_predictions([f"A={one}", f"B={two}"]).models == ("A", "B")
    with pytest.raises(BlastscopeError, match=r"one\.parquet is given twice"):
        align_predictions([one, one])
    both = pl.concat([pl.read_parquet(one), pl.read_parquet(two).with_columns(model=pl.lit("n"))])
    write_predictions(both, tmp_path / "both.parquet")
    assert align_predictions([f"S={tmp_path / 'both.parquet'}"]).models == ("S/m", "S/n")


def test_a_new_name_does_not_make_synthetic_cells_real(tmp_path):
    table = write(tmp_path / "m.csv", model="m (synthetic)")
    scores = align_predictions([f"A={table}"])
    assert scores.models == ("A (synthetic)",)
    assert scores.synthetic


def test_a_file_whose_name_has_an_equals_sign_is_a_file(tmp_path):
    assert align_predictions([write(tmp_path / "a=b.csv")]).models == ("m",)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("b", "S2", "all", "train", 0.8), r"part of the cell 'b' is 'train' .* and 'test'"),
        (("b", "S2", "hem", "test", 0.8), r"label of the cell 'b' is 'hem' .* and 'all'"),
        (("b", "S9", "all", "test", 0.8), r"subject of the cell 'b' is 'S9' .* and 'S2'"),
        (("b", "0S2", "all", "test", 0.8), r"is '0S2' .* and 'S2' .* leading zeros"),
    ],
)
def test_tables_that_contradict_each_other_are_refused(tmp_path, row, words):
    one = write(tmp_path / "one.parquet", model="one")
    other = write(tmp_path / "other.parquet", [ROWS[0], row, *ROWS[2:]], model="two")
    with pytest.raises(BlastscopeError, match=words):
        align_predictions([one, other])


def test_a_contradiction_with_a_third_table_is_found(tmp_path):
    one = write(tmp_path / "one.parquet", ROWS[:1], model="one")
    two = write(tmp_path / "two.parquet", ROWS[1:], model="two")
    three = write(tmp_path / "three.csv", [("c", "H1", "all", "test", 0.1)], model="three")
    with pytest.raises(BlastscopeError, match=r"three\.csv and 'hem' for the model 'two'"):
        align_predictions([one, two, three])


def test_probabilities_that_neighbours_corrected_are_refused(tmp_path):
    own = write(tmp_path / "own.parquet", model="own")
    rows = pl.read_parquet(own).with_columns(model=pl.lit("corrected"))
    path = tmp_path / "corrected.parquet"
    for value in (None, 0.5):  # a column of gaps corrects nothing
        write_predictions(rows.with_columns(p_inductive=pl.lit(value, pl.Float64)), path)
        if value is None:
            assert align_predictions([own, path]).models == ("own", "corrected")
    for given in (path, InMemoryTable(pl.read_parquet(path), "mine")):
        with pytest.raises(BlastscopeError, match="without --transductive"):
            align_predictions([own, given])


def test_models_are_added_beside(tmp_path):
    scores = align_predictions([write(tmp_path / "one.parquet")]).part("test")
    mean = ModelSource("mean", tmp_path, {})
    wider = scores.with_models([mean], np.array([[0.1], [0.2]]))
    assert wider.models == ("m", "mean")
    assert wider.p_all.tolist() == [[0.8, 0.1], [0.3, 0.2]]


def test_an_ensemble_is_opened_with_the_weights_that_made_its_predictions(tmp_path):
    about = tmp_path / "ensemble.json"
    about.write_text(json.dumps({"weights": [1]}))
    write(tmp_path / "predictions.parquet", ensemble=sha256_of(about))
    source = open_source(tmp_path)
    assert source.default_out == tmp_path / "evaluation"  # its own report.html stays
    about.write_text(json.dumps({"weights": [2]}))
    with pytest.raises(BlastscopeError, match=r"not made by the ensemble\.json beside it"):
        open_source(tmp_path)
