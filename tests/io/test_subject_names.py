"""One subject, one name."""

import polars as pl
import pytest

from blastscope.io.subject_names import look_alikes, respelled, subject_name, with_subject_names


@pytest.mark.parametrize(
    ("spellings", "name"),
    [
        (["7", "7.0", " 7 ", "7.00", "\ufeff7", "7\u200b"], "7"),
        (["h3", "H3"], "H3"),
        (["p\u00e9r", "pe\u0301r", "P\u00c9R"], "P\u00c9R"),
        (["7.5"], "7.5"),
        (["007"], "007"),
        (["straße", "STRASSE"], "STRASSE"),
        (["nan", "NA", "None", "NULL", "<NA>", "#N/A", "N/A", "", " ", "\u200b", "Unknown"], None),
    ],
)
def test_every_spelling_of_a_subject_is_one_name(spellings, name):
    assert {subject_name(text) for text in spellings} == {name}


def test_nobody_stays_nobody():
    assert subject_name(None) is None


def test_tables_are_normalized_and_what_was_joined_is_known():
    frame = pl.DataFrame({"subject": ["7.0", "7", "NA", None, "x"]})
    assert with_subject_names(frame)["subject"].to_list() == ["7", "7", None, None, "X"]
    assert respelled(frame["subject"]) == {"7": ["7", "7.0"]}


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["7", "007", "07", "8"], [["007", "07", "7"]]),
        (["P1", "P-01", "P 1", "P_001", "P10"], [["P 1", "P-01", "P1", "P_001"]]),
        (["2019-1-12", "2019-11-2"], []),
        (["A+", "A", "H1", "1", None], []),
        (["__", "-", "P1", "P1"], []),
    ],
)
def test_subjects_that_may_be_one_are_found_and_not_joined(names, groups):
    assert look_alikes(names) == groups
