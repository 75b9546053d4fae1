from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from blastscope import DISCLAIMER
from blastscope.errors import BlastscopeError
from blastscope.report.demo_page import Entry, write_demo


def run(folder: Path, f1: float, auc: float | None, *, synthetic: bool = False) -> Path:
    folder.mkdir()
    test = {"weighted_f1": f1, "auc": auc, "tn": 30, "fp": 2, "fn": 1, "tp": 40, "n_subjects": 5}
    content = {"format": "blastscope-metrics/2", "synthetic": synthetic, "parts": {"test": test}}
    (folder / "metrics.json").write_text(json.dumps(content))
    return folder


def text_of(path: Path) -> str:
    body = path.read_text().split("<body>")[1]
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def test_the_gap_is_the_message(tmp_path):
    entries = [
        Entry("CNN & co", "image", run(tmp_path / "a run", 0.95, 0.98)),
        Entry("CNN & co", "subject", run(tmp_path / "b", 0.85, 0.88)),
        Entry("Turned", "image", run(tmp_path / "c", 0.93, 0.97)),
        Entry("Turned", "subject", run(tmp_path / "d", 0.90, None)),
    ]
    cell = np.zeros((4, 4, 3), dtype=np.uint8)
    out = write_demo(
        entries,
        tmp_path / "demo" / "index.html",
        heading="Two recipes",
        synthetic=True,
        facts=[("cells", "<b>1,600</b>")],
        pictures=[("ALL, S1", cell)],
    )
    html, text = out.read_text(), text_of(out)
    assert "weighted F1 0.950 0.850 −0.100" in text
    assert "AUC 0.970 – –" in text
    assert "Weighted F1 is 0.030 to 0.100 higher" in text
    assert 'href="../a%20run/report.html"' in html
    assert "&lt;b&gt;1,600" in html
    assert html.count("data:image/png;base64,") == 1
    assert html.count("data:image/svg+xml;base64,") == 1
    assert not re.findall(r'(?:src|href)="https?:', html)
    assert "Synthetic cells" in text
    assert "image-level split test 41 32 5" in text
    assert DISCLAIMER in text


def test_a_gap_the_other_way_is_not_called_flattery(tmp_path):
    entries = [
        Entry("A", "image", run(tmp_path / "a", 0.90, 0.9)),
        Entry("A", "subject", run(tmp_path / "b", 0.92, 0.9)),
    ]
    text = text_of(write_demo(entries, tmp_path / "i.html", heading="A", synthetic=False))
    assert "is +0.020:" in text
    assert "−0.020" not in text  # one sign in sentence, table and plot
    assert "Synthetic" not in text
    assert "10.7937/tcia.2019.dc64i46r" in text


def test_gaps_of_both_signs_keep_their_signs(tmp_path):
    entries = [
        Entry("A", "image", run(tmp_path / "a", 0.90, 0.9)),
        Entry("A", "subject", run(tmp_path / "b", 0.92, 0.9)),
        Entry("B", "image", run(tmp_path / "c", 0.90, 0.9)),
        Entry("B", "subject", run(tmp_path / "d", 0.87, 0.9)),
    ]
    text = text_of(write_demo(entries, tmp_path / "i.html", heading="A", synthetic=False))
    assert "minus image-level) is −0.030 to +0.020:" in text
    assert text.count("−0.030") == text.count("+0.020") == 2
    assert "+0.030" not in text


def test_files_that_were_made_are_named(tmp_path):
    entries = [Entry("A", "image", run(tmp_path / "a", 0.9, 0.9))]
    files = [("model.zip", "a bundle <b>")]
    out = write_demo(entries, tmp_path / "i.html", heading="A", synthetic=False, files=files)
    assert 'href="model.zip"' in out.read_text()
    assert "a bundle &lt;b&gt;" in out.read_text()


def test_one_synthetic_run_marks_the_page(tmp_path):
    entries = [Entry("A", "image", run(tmp_path / "a", 0.9, 0.9, synthetic=True))]
    text = text_of(write_demo(entries, tmp_path / "i.html", heading="A", synthetic=False))
    assert "Synthetic cells" in text
    assert "so there is no gap" in text


def test_what_cannot_be_compared_is_refused(tmp_path):
    a = run(tmp_path / "a", 0.9, 0.9)
    out = tmp_path / "i.html"
    twice = [Entry("A", "image", a), Entry("A", "image", a)]
    with pytest.raises(BlastscopeError, match="'A' is given twice"):
        write_demo(twice, out, heading="A", synthetic=False)
    (a / "metrics.json").write_text('{"format": "other"}')
    with pytest.raises(BlastscopeError, match="not a blastscope-metrics file"):
        write_demo([Entry("A", "image", a)], out, heading="A", synthetic=False)
    (a / "metrics.json").unlink()
    with pytest.raises(BlastscopeError, match="cannot be read"):
        write_demo([Entry("A", "image", a)], out, heading="A", synthetic=False)
    assert not out.exists()
