"""One reader for every text table: what spreadsheets, pandas and PowerShell write."""

import csv
import io

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blastscope.errors import BlastscopeError
from blastscope.io.text_tables import decode_text, parse_text_table, plain_name, read_text_table

ROWS = [["a[1].bmp", "all", "0.5"], ["b.bmp", "hem", "0.25"]]
HEAD = ["file", "label", "p"]


def text_of(delimiter=",", end="\n", rows=ROWS):
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end)
    writer.writerow(HEAD)
    writer.writerows(rows)
    return out.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_way_of_writing_a_table_is_one_table(encoding, delimiter, end):
    table = parse_text_table(text_of(delimiter, end).encode(encoding), "t.csv")
    assert (table.frame.columns, table.frame.rows()) == (HEAD, [tuple(row) for row in ROWS])
    assert table.delimiter == delimiter
    assert table.lines.to_list() == [2, 3]
    plain = encoding.startswith("utf-8") and delimiter == ","
    assert bool(table.assumed) != plain


def test_a_line_that_declares_the_delimiter_is_not_a_header():
    table = parse_text_table(b"sep=;\r\n" + text_of(";").encode(), "t.csv")
    assert (table.frame.columns, table.lines.to_list()) == (HEAD, [3, 4])


@given(
    st.lists(
        st.lists(st.text("ab ,;\"'\n\té", max_size=5), min_size=2, max_size=2),
        min_size=1,
        max_size=5,
    )
)
def test_what_the_csv_module_writes_is_read_back(rows):
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(["x", "y"])
    writer.writerows(rows)
    kept = [tuple(field.strip() or None for field in row) for row in rows]
    found = parse_text_table(out.getvalue().encode(), "t.csv").frame
    assert found.rows() == [row for row in kept if any(row)]


def test_numbers_with_decimal_commas():
    table = parse_text_table(b"cell;p\na;0,25\nb;1,5e-1\nc;.5\n", "t.csv")
    values = table.frame.select(table.numbers("p").cast(pl.Float64)).to_series()
    assert values.to_list() == [0.25, 0.15, 0.5]


def test_blank_lines_are_left_out_and_counted():
    table = parse_text_table(b"a,b\n1,2\n,\n\n3,4\n", "t.csv")
    assert table.frame.rows() == [("1", "2"), ("3", "4")]
    assert table.lines.to_list() == [2, 5]
    assert any(phrase.startswith("2 blank") for phrase in table.assumed)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n1,2,3\n", "line 3 has 3 fields and the header 2"),
        ("a,b\n1,2\n1\n", "line 3 has 1 fields and the header 2"),
        ("a,a\n1,2\n", "column a twice"),
        ("a,,b\n1,2,3\n", "column 2 of the header has no name"),
        (" \n\n", "is empty"),
        ('a,b\n"1,2\n', "line"),
    ],
)
def test_the_first_bad_line_is_named(text, words):
    with pytest.raises(BlastscopeError, match=words):
        parse_text_table(text.encode(), "t.csv")


def test_columns_at_the_right_that_a_spreadsheet_left_empty():
    table = parse_text_table(b"a,b,,\n1,2,,\n", "t.csv")
    assert table.frame.rows() == [("1", "2")]


def test_signs_of_patterns_in_a_path_are_signs(tmp_path):
    (tmp_path / "t[1].csv").write_text("a\nin brackets\n")
    (tmp_path / "t1.csv").write_text("a\nbeside\n")
    assert read_text_table(tmp_path / "t[1].csv").frame["a"].to_list() == ["in brackets"]


def test_bytes_that_are_not_text_are_refused():
    with pytest.raises(BlastscopeError, match="is not text"):
        decode_text(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xd8\0", "t.csv")


def test_one_byte_encodings_are_found_and_said():
    text = "file,subject\na.png,Müller\nb.png,Jürgen Größe\n"
    table = parse_text_table(text.encode("latin-1"), "t.csv")
    assert table.frame["subject"].to_list() == ["Müller", "Jürgen Größe"]
    assert "encoding" in table.assumed[0]


@pytest.mark.parametrize("name", [" Subject ID", "subject-id", "SUBJECT_ID ", "subject.id"])
def test_names_of_columns(name):
    assert plain_name(name) == "subject_id"


@pytest.mark.parametrize("data", [b"|", b";;\n;;\n", b"sep=;\n", b"sep=;\n \n", b'""\n""\n'])
def test_a_table_without_a_header_is_refused(data):
    with pytest.raises(BlastscopeError, match=r"t\.csv .*header"):
        parse_text_table(data, "t.csv")


@pytest.mark.parametrize("data", [b"nan,nan\n1,2\n", b"\xef\xbb\xbf\xef\xbb\xbfnan,nan\n1,2\n"])
def test_a_column_that_is_there_twice_is_refused(data):
    with pytest.raises(BlastscopeError, match="the column nan twice"):
        parse_text_table(data, "t.csv")


@pytest.mark.parametrize("head", ["p all,P-ALL", "p_all,P_ALL", "Subject,p_all,subject"])
def test_two_columns_of_one_name_but_for_case_and_signs_are_refused_if_they_differ(head):
    fields = ",".join(str(k) for k, _ in enumerate(head.split(",")))
    table = parse_text_table(f"{head}\n{fields}\n".encode(), "t.csv")
    with pytest.raises(BlastscopeError, match=r"t\.csv has two columns of"):
        table.renamed("t.csv", "p_all", "subject")
    alike = parse_text_table(f"{head}\n{','.join('1' for _ in fields.split(','))}\n".encode(), "")
    found = alike.renamed("t.csv", "p_all", "subject").frame
    assert found["p_all"].to_list() == ["1"]


def test_a_title_above_the_header_is_told_as_that():
    with pytest.raises(BlastscopeError, match=r"\(Results of run 7\): remove what is above"):
        parse_text_table(b"Results of run 7\ncell,label\na,all\n", "t.csv")


def test_byte_order_marks_before_a_name_are_not_of_the_name():
    found = parse_text_table("\ufeff\ufeff\u3000file ,label\na,all\n".encode(), "t.csv")
    assert found.frame.columns == ["file", "label"]
