"""Any name of a file, any subject and any bytes as a labels table: read, or one sentence."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from blastscope.data.labels import parse_label_table
from blastscope.data.names import parse_name, printable
from blastscope.errors import BlastscopeError
from blastscope.io.subject_names import respelled, subject_name
from blastscope.io.text_tables import parse_text_table

PATH = Path("labels.csv")
NAMES = st.text(max_size=40) | st.from_regex(r"\s*uid_[a-z0-9]{0,4}_\d{1,3}_\d_(all|hem)\w?\s*")
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1251"])
FIELDS = st.text("abc1234.,;\t\"' \n\r\0éß_-", max_size=12) | st.sampled_from(
    ["", "nan", "NULL", "all", "hem", "ALL", "1", "0", "1.0", "label", "file", "subject", "=1+1"]
)


@given(NAMES)
@settings(max_examples=120)
def test_any_name_is_a_cell_and_reading_it_again_changes_nothing(stem):
    found = parse_name(stem)
    assert parse_name(found.cell).cell == found.cell
    assert (found.subject is None) == (found.label is None)
    assert printable(stem).encode("utf-8", "strict") is not None
    assert printable(printable(stem)) == printable(stem)


@given(st.lists(st.text(max_size=12), max_size=6))
@settings(max_examples=120)
def test_subjects_have_one_spelling(names):
    spelled = [subject_name(name) for name in names]
    assert [subject_name(name) for name in spelled] == spelled
    for spellings in respelled(pl.Series(names, dtype=pl.String)).values():
        assert len({subject_name(one) for one in spellings}) == 1


@given(st.binary(max_size=300))
@settings(max_examples=120)
def test_any_bytes_are_a_labels_table_or_one_sentence(data):
    for read in (parse_label_table, lambda content, path: parse_text_table(content, str(path))):
        with suppress(BlastscopeError):
            read(data, PATH)


@given(
    st.lists(st.lists(FIELDS, min_size=1, max_size=4), min_size=1, max_size=6),
    st.sampled_from([",", ";", "\t", "|"]), st.sampled_from(["\n", "\r\n", "\r"]), ENCODINGS,
    st.sampled_from(["", "file,label\n", "File;Label;Subject\n", "sep=;\n", "\ufeff"]),
)  # fmt: skip
@settings(max_examples=150)
def test_anything_like_a_table_is_read_or_refused(rows, delimiter, end, encoding, head):
    text = head + end.join(delimiter.join(row) for row in rows)
    data = text.encode(encoding, errors="replace")
    with suppress(BlastscopeError):
        found = parse_label_table(data, PATH)
        assert {row.label for row in found.rows.values()} <= {"all", "hem", None}


@given(st.lists(st.tuples(st.from_regex(r"[a-z]{1,6}\.bmp", fullmatch=True),
                          st.sampled_from(["all", "HEM", "1", "0.0", ""])),
                min_size=1, max_size=8, unique_by=lambda row: row[0]), ENCODINGS)  # fmt: skip
@settings(max_examples=40)
def test_a_good_table_is_read_in_every_encoding(rows, encoding):
    text = "file,label\n" + "".join(f"{file},{label}\n" for file, label in rows)
    try:
        found = parse_label_table(text.encode(encoding), PATH)
    except BlastscopeError:  # without a mark, UTF-16 may look like something else
        assert encoding == "utf-16-le" or not any(label for _, label in rows)
        return
    if encoding != "utf-16-le":
        assert len(found.rows) == len(rows)
