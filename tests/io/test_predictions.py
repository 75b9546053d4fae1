from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from blastscope.errors import BlastscopeError
from blastscope.io.predictions import read_predictions, select_model, write_predictions

HEADER = "cell,subject,label,part,model,p_all\n"


def csv(folder: Path, *rows: str) -> Path:
    path = folder / "table.csv"
    path.write_text(HEADER + "".join(row + "\n" for row in rows))
    return path


def test_foreign_spellings_are_understood(tmp_path):
    path = csv(
        tmp_path,
        "a,h3,HEM,Test,m,0.25",
        "b,S1,1,test,m,1",
        "c,,ALL,train,m,0",
        "d,H3,0.0,train,m,5e-1",
        "e,H3,,train,m,0.5",
    )
    frame, metadata = read_predictions(path)
    assert frame["label"].to_list() == ["hem", "all", "all", "hem", None]
    assert frame["subject"].to_list() == ["H3", "S1", None, "H3", "H3"]
    assert frame["part"].to_list() == ["test", "test", "train", "train", "train"]
    assert frame["p_all"].to_list() == [0.25, 1.0, 0.0, 0.5, 0.5]
    assert metadata == {"joined": {"H3": ["H3", "h3"]}}


def test_whole_number_labels_in_parquet(tmp_path):
    path = tmp_path / "t.parquet"
    frame = pl.DataFrame({"cell": ["a", "b"], "label": [1, 0], "p_all": [0.1, 0.2]})
    frame.with_columns(subject=pl.lit(None), part=pl.lit("test"), model=pl.lit("m")).write_parquet(
        path
    )
    assert read_predictions(path)[0]["label"].to_list() == ["all", "hem"]


@pytest.mark.parametrize("values", [[True, False], pl.Series([0, 1]).cast(pl.Duration)])
def test_what_is_not_a_number_is_not_a_probability(tmp_path, values):
    columns = {"cell": ["a", "b"], "label": ["all", "hem"], "p_all": values}
    more = {"subject": None, "part": "test", "model": "m"}
    frame = pl.DataFrame(columns).with_columns(**{n: pl.lit(v) for n, v in more.items()})
    frame.write_parquet(tmp_path / "t.parquet")
    with pytest.raises(BlastscopeError, match="p_all is of type"):
        read_predictions(tmp_path / "t.parquet")


def test_subjects_that_look_alike_are_told(tmp_path):
    frame, metadata = read_predictions(csv(tmp_path, "a,007,all,test,m,.5", "b,7,hem,train,m,.5"))
    assert frame["subject"].to_list() == ["007", "7"]
    assert metadata == {"alike": [["007", "7"]]}


def test_what_is_written_is_read_back(tmp_path):
    frame, _ = read_predictions(csv(tmp_path, "a,H3,hem,test,m,0.25", "b,S1,,test,m,1"))
    path = tmp_path / "t.parquet"
    write_predictions(frame.with_columns(fold=pl.lit(2)), path, {"protocol": "image"})
    again, metadata = read_predictions(path)
    assert again.drop("fold").equals(frame)
    assert again["fold"].to_list() == [2, 2]
    assert metadata["protocol"] == "image"
    assert metadata["table"] == "prediction"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("b,H1,hem,test,m,1.2", "line 3: .*'b'.*not a probability \\(1.2\\)"),
        ("b,H1,hem,test,m,-0.1", "line 3: .*'b'.*not a probability"),
        ("b,H1,hem,test,m,nan", "line 3: .*'b'.*not a probability"),
        ("b,H1,hem,test,m,", "line 3: .*'b'.*not a probability"),
        ("b,H1,blast,test,m,0.2", "'b'.*the label 'blast'.*labels are all"),
        ("b,H1,hem,holdout,m,0.2", "'b'.*the part 'holdout'; parts are train"),
        ("b,H1,hem,,m,0.2", "has no part"),
        ("a,H1,hem,train,m,0.2", "'a' of the model 'm' is there more than once \\(and 1 more"),
        ("b,H1,hem,test,m,high", "line 3: p_all is 'high', and a number"),
    ],
)
def test_bad_values_are_named(tmp_path, row, message):
    path = csv(tmp_path, "a,H1,hem,test,m,0.4", row)
    with pytest.raises(BlastscopeError, match=message):
        read_predictions(path)


def test_empty_and_incomplete_tables_are_refused(tmp_path):
    with pytest.raises(BlastscopeError, match="no predictions"):
        read_predictions(csv(tmp_path))
    path = tmp_path / "table.csv"
    path.write_text("cell,p_all\na,0.2\n")
    with pytest.raises(BlastscopeError, match="lacks the columns subject, label, part, model"):
        read_predictions(path)


def test_a_bad_table_is_not_written(tmp_path):
    frame, _ = read_predictions(csv(tmp_path, "a,H3,hem,test,m,0.25"))
    bad = frame.with_columns(p_all=float("nan"))
    with pytest.raises(BlastscopeError, match="not a probability"):
        write_predictions(bad, tmp_path / "t.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_a_model_must_be_named_among_several(tmp_path):
    path = csv(tmp_path, "a,H1,hem,test,vgg,0.4", "a,H1,hem,test,cnn,0.6")
    frame, _ = read_predictions(path)
    with pytest.raises(BlastscopeError, match="2 models \\(cnn; vgg\\)"):
        select_model(frame, path, None)
    with pytest.raises(BlastscopeError, match="'resnet': it has cnn; vgg"):
        select_model(frame, path, "resnet")
    rows, name = select_model(frame, path, "vgg")
    assert (rows["p_all"].to_list(), name) == ([0.4], "vgg")
