"""Numbers are written in one way, and never say more than they are."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blastscope.api.compare import paper_style
from blastscope.api.result import TextTable, table_text
from blastscope.evaluation.confidence_intervals import Estimate
from blastscope.evaluation.spread import Spread
from blastscope.report import text

UNKNOWN = Estimate(math.nan, math.nan, math.nan)


def test_a_metric_has_one_text_whatever_its_last_bits():
    # 303 of 800 pairs, added up in two ways.
    ways = (0.37875, 0.37875000000000003)
    assert {text.number(way) for way in ways} == {"0.3787"}
    assert {paper_style(Estimate(way, way, way)) for way in ways} == {".3787 (.379–.379)"}
    written = {table_text(TextTable.of(("AUC",), [(way,)]), 80) for way in ways}
    assert len(written) == 1


@pytest.mark.parametrize(
    ("value", "written"),
    [(1067, "1,067"), (0.83125, "0.8313"), (-0.5, "−0.5000"), (-0.00001, "0.0000"), (0, "0")],
)
def test_a_number(value: float, written: str) -> None:
    assert text.number(value) == written


@pytest.mark.parametrize("value", [None, math.nan])
def test_what_is_undefined_is_a_dash(value: float | None) -> None:
    forms = (text.number, text.signed, text.percent, text.p_number)
    assert {write(value) for write in forms} == {"–"}
    assert (text.metric(UNKNOWN), text.interval(UNKNOWN), text.interval(None)) == ("–", "", "")
    assert text.spread(None) == "–"


def test_a_share_that_was_asked_for_has_all_its_digits() -> None:
    shares = (0.9, 0.995, 0.07, 0.0005, 1 / 3)
    assert [text.requested(share) for share in shares] == [
        "90 %", "99.5 %", "7 %", "0.05 %", "33.333333 %"
    ]  # fmt: skip
    assert text.requested(0.05, 1) == "5.0 %"


def test_signs() -> None:
    assert [text.signed(x, 3) for x in (0.12, -0.12, 0.0001, -0.0001)] == [
        "+0.120", "−0.120", "0.000", "0.000"
    ]  # fmt: skip
    assert text.signed(3) == "+3"


def test_a_metric_with_its_interval() -> None:
    found = Estimate(0.8, 0.75, 0.85)
    assert text.metric(found) == "0.800 (0.750 to 0.850)"
    assert text.metric(found, 0, percent=True) == "80 % (75 to 85 %)"
    assert text.metric(Estimate(-0.1, -0.2, 0.1), 2, sign=True) == "−0.10 (−0.20 to +0.10)"
    assert text.metric(Estimate(0.8, math.nan, math.nan)) == "0.800"


@given(st.floats(0, 1))
def test_a_p_value_keeps_its_side_of_the_level(p: float) -> None:
    written = text.p_value(p)
    number = float(re.sub(r"^p [=<] ", "", written))
    assert ("<" in written) == (p < 0.001)
    assert (number <= 0.05) == (p <= 0.05)


def test_counts_and_lists() -> None:
    assert [text.counted(n) for n in (0, 1, 2, 1067)] == [
        "0 cells", "1 cell", "2 cells", "1,067 cells"
    ]  # fmt: skip
    assert text.counted(2, "class", "classes") == "2 classes"
    assert [text.listed(list("abc")[:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]


def test_a_spread() -> None:
    assert text.spread(Spread.of([0.5])) == "0.5000"
    assert text.spread(Spread.of([0.4, 0.6]), 3, count=True) == "0.500 ± 0.141 (n = 2)"
