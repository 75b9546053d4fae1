from __future__ import annotations

import re
import shutil

import pytest

from blastscope.api.analyze_errors import analyze_errors
from blastscope.api.fit_ensemble import fit_ensemble
from blastscope.errors import BlastscopeError
from tests.api.conftest import unmarked


def test_each_cell_of_a_gallery_leads_to_its_page_and_back(trained, tmp_path):
    given = [f"A={trained.run}", f"B={trained.other}"]
    store, out = trained.run.parent / "store32", tmp_path / "errors"
    found = analyze_errors(given, out=out, part="train", store=store, explain=True)
    page = (out / "report.html").read_text()
    linked = dict(re.findall(r'id="(cell-\d+)"><a href="(cells/[^"]+)"', page))
    shown = set(re.findall(r'<figure id="(cell-\d+)"', page))
    assert shown
    assert set(linked) == shown
    for anchor, link in linked.items():
        own = (out / link).read_text()
        assert f'href="../report.html#{anchor}"' in own
        cell = found.scores.cells["cell"][int(anchor.removeprefix("cell-"))]
        assert f"<h1>{cell}</h1>" in own.replace("<wbr>", "")
        assert "data:image/webp" in own
        assert own.count("<h1>") == 1


def test_an_ensemble_is_explained_with_its_map(trained, tmp_path):
    given = [f"A={trained.run}", f"B={trained.other}"]
    fit_ensemble(given, out=tmp_path / "both", method="mean")
    out, store = tmp_path / "errors", trained.run.parent / "store32"
    # One member is given beside it, under another name; the other's is the ensemble's for it.
    together = [f"E={tmp_path / 'both'}", f"first={trained.run}"]
    analyze_errors(together, out=out, part="test", store=store, explain=True)
    pages = list((out / "cells").glob("*.html"))
    assert pages
    p_all = [trained.p_all(run) for run in (trained.run, trained.other)]
    for page in pages:
        said = re.findall(r"<li>(\S+): p\(ALL\) (0\.\d+), called", unmarked(page.read_text()))
        assert [name for name, _ in said] == ["first", "B", "E"]
        p = [said_by[page.stem] for said_by in p_all]
        assert [float(value) for _, value in said] == pytest.approx([*p, sum(p) / 2], abs=6e-4)


def test_beside_an_ensemble_only_its_members_are_explained(trained, tmp_path):
    both, store = [f"A={trained.run}", f"B={trained.other}"], trained.run.parent / "store32"
    fit_ensemble(both, out=tmp_path / "both", method="mean")
    shutil.copytree(trained.run, tmp_path / "third")
    given = [tmp_path / "both", f"z={tmp_path / 'third'}"]
    with pytest.raises(BlastscopeError, match=r"third is not a member of the ensemble .*both"):
        analyze_errors(given, out=tmp_path / "errors", part="train", store=store, explain=True)
    assert not (tmp_path / "errors").exists()


def test_pages_of_an_earlier_analysis_go_and_nothing_else(trained, tmp_path):
    store, out = trained.run.parent / "store32", tmp_path / "errors"
    mine = out / "cells" / "mine.html"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    given = [f"A={trained.run}"]

    def pages() -> set[str]:
        return {path.name for path in (out / "cells").glob("*.html")} - {"mine.html"}

    def linked() -> set[str]:
        return set(re.findall(r'href="cells/([^"]+)"', (out / "report.html").read_text()))

    analyze_errors(given, out=out, part="validation", store=store, explain=True)
    first = pages()
    assert first == linked()
    analyze_errors(given, out=out, part="test", store=store, explain=True)
    assert pages() == linked()
    assert first
    assert not first & pages()
    analyze_errors(given, out=out, part="test", store=store)
    assert [path.name for path in (out / "cells").iterdir()] == ["mine.html"]


def test_what_cannot_be_looked_into_is_one_sentence(trained, tmp_path):
    store = trained.run.parent / "store32"
    table = trained.run / "predictions.parquet"
    with pytest.raises(BlastscopeError, match="is a table of predictions"):
        analyze_errors([table], out=tmp_path / "a", part="train", store=store, explain=True)
    with pytest.raises(BlastscopeError, match="give their store"):
        analyze_errors([trained.run], out=tmp_path / "b", part="train", explain=True)
    assert not (tmp_path / "a" / "report.html").exists()
    # Without being asked to explain, nothing of this is in the way.
    analyze_errors([table], out=tmp_path / "c", part="train", store=store)
    assert 'href="cells/' not in (tmp_path / "c" / "report.html").read_text()
