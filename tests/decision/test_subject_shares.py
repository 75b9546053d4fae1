"""The table of subjects, against a calculation by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from blastscope.decision.blast_share import Reference, blast_share
from blastscope.decision.decision import Decided
from blastscope.decision.subject_shares import subject_shares

KNOWN = Reference((90, 95) * 6, (100,) * 12, (85, 80) * 6, (100,) * 12)


def cells(*rows):
    """Rows of subject, label, called ALL, referred and the set ("a", "h", "ah" or "")."""
    schema = {"subject": pl.String, "label": pl.String}
    frame = pl.DataFrame([row[:2] for row in rows], schema=schema, orient="row")
    called = np.array([row[2] for row in rows], bool)
    sets = np.array([("h" in row[4], "a" in row[4]) for row in rows])
    p_all = np.zeros(len(rows))
    return frame, Decided(p_all, called, p_all, np.array([row[3] for row in rows], bool), sets)


def test_by_hand():
    found = subject_shares(
        *cells(
            ("A", "all", 1, 0, "a"),
            ("H", "hem", 1, 1, "ah"),
            ("A", "all", 0, 1, "h"),
            ("A", "all", 1, 0, "ah"),
            ("H", "hem", 1, 0, "a"),
            ("M", "hem", 0, 0, "h"),
            ("M", "all", 1, 0, ""),
            (None, "all", 0, 0, "a"),
            ("A", "all", 1, 0, "a"),
        ),
        KNOWN,
    )
    assert found["subject"].to_list() == ["H", "A", "M"]  # the most wrong calls first
    assert found["label"].to_list() == ["hem", "all", "mixed"]
    assert found["cells"].to_list() == [2, 4, 2]
    assert found["called"].to_list() == [1.0, 0.75, 0.5]
    assert found["wrong"].to_list() == [1.0, 0.25, 0.0]
    assert found["referred"].to_list() == [0.5, 0.25, 0.0]
    assert found["covered"].to_list() == [0.5, 0.75, 0.5]
    a_shares = blast_share(3, 4, KNOWN)
    row = found.row(1, named=True)
    assert (row["share"], row["low"], row["high"], row["line"]) == (
        a_shares.share,
        a_shares.low,
        a_shares.high,
        a_shares.line,
    )
    assert row["share"] == pytest.approx((0.75 + 0.825 - 1) / (0.925 + 0.825 - 1))


def test_unlabelled_cells_are_summed_up_all_the_same():
    found = subject_shares(
        *cells(
            ("A", None, 1, 1, "a"),
            ("A", None, 0, 0, "h"),
            ("B", "all", 1, 0, "a"),
            ("B", None, 0, 0, "a"),
        ),
        KNOWN,
    )
    assert found["subject"].to_list() == ["B", "A"]  # without labels last
    assert found["label"].to_list() == ["all", None]  # of one label known, not of two
    assert found["wrong"].to_list() == [0.0, None]
    assert found["covered"].to_list() == [1.0, None]
    assert found["called"].to_list() == [0.5, 0.5]


def test_without_known_subjects_no_share_is_corrected():
    found = subject_shares(*cells(("A", "all", 1, 0, "a")), None)
    assert found.select("share", "low", "high", "line").row(0) == (None, None, None, None)
    assert found.schema["line"] == pl.String


def test_without_subjects_the_table_is_empty():
    found = subject_shares(*cells((None, "all", 1, 0, "a")), KNOWN)
    assert found.is_empty()
    assert found.columns[0] == "subject"


def test_no_number_stands_where_there_is_no_estimate():
    weak = Reference((50, 52), (100, 100), (51, 49), (100, 100))
    found = subject_shares(*cells(*[("A", "all", k % 2, 0, "a") for k in range(40)]), weak)
    row = found.select("share", "low", "high", "line").row(0)
    assert row == (None, None, None, "not estimable")
    assert not blast_share(20, 40, weak).estimable
    assert blast_share(20, 40, KNOWN).estimable
    few = Reference((90, 95), (100, 100), (85, 80), (100, 100))
    assert not blast_share(20, 40, few).estimable
