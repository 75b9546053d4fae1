import re

import polars as pl
import pytest

from blastscope import DISCLAIMER
from blastscope.api import run_demo as demo
from blastscope.errors import BlastscopeError
from blastscope.io.files import read_json, sha256_of
from blastscope.recipes.library import load_recipe


@pytest.fixture
def quick(monkeypatch):
    """The demo on few cells and for one epoch."""
    monkeypatch.setattr(demo, "CELLS", 160)
    monkeypatch.setattr(demo, "SUBJECTS", 12)
    monkeypatch.setattr(demo, "load_recipe", lambda name: load_recipe(name, ["training.epochs=1"]))


def test_the_whole_job_on_synthetic_cells(quick, tmp_path):
    told = []
    made = demo.run_demo(tmp_path / "demo", say=told.append)
    assert made.report == tmp_path / "demo" / "report.html"
    page = made.report.read_text()
    assert DISCLAIMER in page
    assert "ynthetic" in page
    for entry in made.entries:
        link = f"runs/{entry.run.name}/report.html"
        assert link in page
        assert (tmp_path / "demo" / link).is_file()
        metrics = read_json(entry.run / "metrics.json")
        assert metrics["synthetic"] is True
        assert f"{metrics['parts']['test']['weighted_f1']:.3f}" in page
        table = pl.read_parquet(entry.run / "predictions.parquet")
        by_part = {part: set(rows["subject"]) for (part,), rows in table.group_by("part")}
        shared = by_part["train"] & by_part["test"]
        assert bool(shared) == (entry.protocol == "image")
    assert not re.search(r'(src|href)="https?://(?!doi\.org)', page)
    assert 'href="model.zip"' in page
    by_subject = [one.run for one in made.entries if one.protocol == "subject"]
    best = max(
        by_subject, key=lambda run: read_json(run / "metrics.json")["parts"]["validation"]["auc"]
    )
    auc = read_json(best / "metrics.json")["parts"]["test"]["auc"]
    assert f"AUC {auc:.3f} on test cells of unseen subjects" in page
    assert any(line.startswith("bundle: ") and f"AUC {auc:.3f}" in line for line in told)
    assert "split by subject: 0 subjects in both train and test" in told
    # once more: nothing is done again
    before = {entry.run: sha256_of(entry.run / "predictions.parquet") for entry in made.entries}
    again = demo.run_demo(tmp_path / "demo")
    assert {e.run: sha256_of(e.run / "predictions.parquet") for e in again.entries} == before


def test_other_data_into_the_same_folder_is_refused(quick, dataset, tmp_path):
    demo.run_demo(tmp_path / "demo", dataset(4, 6))
    with pytest.raises(BlastscopeError, match="made of other files"):
        demo.run_demo(tmp_path / "demo", dataset(4, 7, folder="more"))


def test_unusable_data_is_said(tmp_path, dataset):
    root = dataset(2, 2)
    (root / "fold_0" / "all" / "UID_9_1_1_all.bmp").touch()
    with pytest.raises(BlastscopeError, match=r"UID_9_1_1_all\.bmp is empty"):
        demo.run_demo(tmp_path / "demo", root)


@pytest.mark.parametrize(
    ("auc", "bounds", "warned"),
    [
        (0.91, [0.84, 0.96], False),
        (0.50, [0.41, 0.59], True),
        (0.62, [0.49, 0.74], True),
        (0.30, [0.10, 0.45], True),
        (0.80, [None, None], True),
        (None, [None, None], True),
    ],
)
def test_a_bundle_of_a_network_like_chance_says_so(auc, bounds, warned):
    text = demo.how_good({"parts": {"test": {"auc": auc}}, "intervals": {"auc": bounds}})
    assert ("do not use it" in text) == warned
