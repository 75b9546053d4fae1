"""The table that sets all systems under one protocol."""

from __future__ import annotations

from pathlib import Path

from blastscope.recipes.library import load_recipe
from blastscope.report.one_protocol import HEAD, NOISE, protocol_rows
from blastscope.report.reproduction_page import results_markdown, write_reproduction
from blastscope.reproduction.results import RELATED, Outcome, read_experiments
from tests.report.reproduction_runs import DATA, finished_run, recipe

EQUAL = {"value": 0.71, "low": 0.6, "high": 0.8}


def outcomes(base: Path) -> list[Outcome]:
    measured = {
        "intervals": {"weighted_f1": [0.7, 0.9], "auc": [0.8, 0.95]},
        "shortcuts": {"equal_size": {"matched": EQUAL}},
    }
    sdct = load_recipe("related/sdct-auxnet")
    return [
        finished_run(base, recipe(), "subject", 0.85),
        finished_run(base, recipe(), "image", 0.95),
        finished_run(base, sdct, "subject", 0.81, **measured),
        Outcome(load_recipe("related/pan"), "subject", 24, None, "no weights here"),
    ]


def test_a_row_has_metrics_with_intervals_and_costs(tmp_path):
    experiments = read_experiments(outcomes(tmp_path))
    assert [one.family for one in experiments].count(RELATED) == 2
    rows = protocol_rows(experiments, synthetic=False)
    assert [row.texts[0] for row in rows] == ["related/sdct-auxnet", "paper/cnn-exp2"]
    found = dict(zip(HEAD, rows[0].texts, strict=True))
    assert found["published weighted F1"] == "0.9480"
    assert found["weighted F1"].startswith("0.810 (")
    assert "0.9" in found["weighted F1"]
    assert found["AUC at equal size"].startswith("0.710 (")
    assert (found["seconds"], found["MB"]) == ("720", "0.0")
    other = dict(zip(HEAD, rows[1].texts, strict=True))
    assert other["AUC at equal size"] == "–"
    hidden = protocol_rows(experiments, synthetic=True)
    assert [row.texts[1] for row in hidden] == ["–", "–"]


def test_it_stands_on_the_page_and_in_the_markdown_with_the_noise(tmp_path):
    found = outcomes(tmp_path)
    out = write_reproduction(found, DATA, tmp_path / "page", synthetic=False, command="x")
    page = (out / "report.html").read_text()
    text = results_markdown(found)
    for told in (page, text):
        assert ".807 to .872" in told
        assert "AUC at equal size" in told
        assert "0.710" in told
    assert NOISE in text
    # What is published of another system is of other cells: no difference is shown.
    line = next(line for line in text.splitlines() if "`sdct-auxnet` " in line)
    assert "0.9480" in line
    assert "-0.1" not in line
