"""What the errors page says of its own limits, and how long it may grow."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import polars as pl

from blastscope.api.analyze_errors import analyze_errors
from blastscope.report.errors_plots import MOST_SUBJECTS
from tests.error_analysis.made import scores_of, scores_with, write_scores


def test_what_bounds_the_metrics_is_said(tmp_path):
    parts = ["train"] * 10 + ["test"] * 12
    scores = scores_of(["all", "hem"] * 11, np.linspace(0.1, 0.9, 22)[:, None])
    for name, owner, kind in (("same", "S", "shared"), ("other", "T", "disjoint")):
        cells = scores.cells.with_columns(
            part=pl.Series(parts),
            subject=pl.Series(["S"] * 10 + [owner] * 12),
            label=pl.Series([*scores.cells["label"][:20], None, None]),
        )
        given = write_scores(replace(scores, cells=cells), tmp_path / name, fitted_on=["test"])
        found = analyze_errors(given, out=tmp_path / name / "out")
        text = (tmp_path / name / "out" / "report.html").read_text()
        assert '<p class="callout training">' in text
        assert ("No test subject is in training" in text) == (kind == "disjoint")
        assert ("do not apply to unseen subjects" in text) == (kind == "shared")
        assert "The weights of m0 were fitted on these test cells" in text
        assert "2 of 12 test cells have no label and are left out." in text
        content = json.loads((tmp_path / name / "out" / "errors.json").read_text())
        assert content["overlap"]["kind"] == found.overlap.kind == "training"
        assert content["unlabelled"] == 2


def test_a_long_table_of_subjects_is_cut_on_the_page_alone(tmp_path):
    missed = (np.arange(200) % 3 == 0)[:, None]
    subjects = [f"S{k % 50:02}" for k in range(200)]
    given = write_scores(scores_with(["all"] * 200, missed, subjects=subjects), tmp_path / "t")
    analyze_errors(given, out=tmp_path / "out")
    text = (tmp_path / "out" / "report.html").read_text()
    assert len(re.findall(r'<th scope="row">S\d\d</th>', text)) == MOST_SUBJECTS
    assert "errors.json has 10 more." in text
    content = json.loads((tmp_path / "out" / "errors.json").read_text())
    assert len(content["subjects"]) == 50
