import json

import polars as pl
import pytest

from blastscope.data.cell_table import CELLS
from blastscope.errors import BlastscopeError, listing
from blastscope.io.files import read_json, replacing, write_json
from blastscope.io.tables import METADATA_KEY, TableFormat, read_table, write_table

FORM = TableFormat("things", 1, {"name": pl.String(), "count": pl.Int32()})


def test_what_is_written_is_read_in_the_contracts_order(tmp_path):
    path = tmp_path / "t.parquet"
    frame = pl.DataFrame({"extra": [1.5], "count": [3], "name": ["a"]})
    write_table(frame, path, FORM, {"maker": "test"})
    assert pl.read_parquet(path).columns == ["name", "count", "extra"]
    back, note = read_table(path, FORM)
    assert back["count"].dtype == pl.Int32
    assert note == {"table": "things", "version": 1, "maker": "test"}
    assert json.loads(pl.read_parquet_metadata(path)[METADATA_KEY]) == note


def test_a_csv_is_as_good(tmp_path):
    (tmp_path / "t.csv").write_text("count,name\n3,007\n")
    back, note = read_table(tmp_path / "t.csv", FORM)
    assert back.rows() == [(3, "007")] or back.select("name", "count").rows() == [("007", 3)]
    assert note == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name\na\n", "lacks the column count; a things table has name, count"),
        ("other\na\n", "lacks the columns name, count"),
        ("name,count\na,many\n", "line 2: count is 'many'"),
        ("", "is empty"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path, text, words):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(BlastscopeError, match=words):
        read_table(tmp_path / "t.csv", FORM)


def test_a_folder_is_not_a_table(tmp_path):
    with pytest.raises(BlastscopeError, match="is a folder"):
        read_table(tmp_path, FORM)


def test_another_table_or_version_is_refused(tmp_path):
    path = tmp_path / "t.parquet"
    frame = pl.DataFrame({"name": ["a"], "count": [1]})
    write_table(frame, path, TableFormat("things", 2, FORM.columns))
    with pytest.raises(BlastscopeError, match="of version 2; this blastscope reads version 1"):
        read_table(path, FORM)
    write_table(frame, path, TableFormat("others", 1, FORM.columns))
    with pytest.raises(BlastscopeError, match="is a others table: give a things table"):
        read_table(path, FORM)
    path.write_bytes(b"PAR1 but not really")
    with pytest.raises(BlastscopeError, match="cannot be read as a table"):
        read_table(path, FORM)
    with pytest.raises(BlastscopeError, match="does not exist"):
        read_table(tmp_path / "none.parquet", CELLS)


def test_nothing_is_half_written(tmp_path):
    path = tmp_path / "f.json"
    write_json(path, {"a": 1})

    def write_half():
        with replacing(path) as beside:
            beside.write_text('{"a"')
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["f.json"]


@pytest.mark.parametrize(
    ("text", "words"),
    [("[1]", "not a JSON object"), ("{", "not valid JSON"), (None, "cannot be read")],
)
def test_json_that_is_none(tmp_path, text, words):
    path = tmp_path / "f.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BlastscopeError, match=words):
        read_json(path)


def test_a_large_json_is_refused(tmp_path):
    path = tmp_path / "f.json"
    path.write_text('{"a": "' + "x" * 200 + '"}')
    with pytest.raises(BlastscopeError, match="larger than 100 bytes"):
        read_json(path, limit=100)


def test_a_long_list_says_how_long_it_is():
    assert listing(["a", "b"], most=3) == "a; b"
    assert listing(list("abcde"), most=3) == "a; b; c; and 2 more"
