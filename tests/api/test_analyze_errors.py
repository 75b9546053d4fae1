"""The command's outcome: the files, the page and what is refused."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest
from PIL import Image
from typer.testing import CliRunner

from blastscope.api.analyze_errors import analyze_errors
from blastscope.cli import app
from blastscope.data.crop import resize
from blastscope.data.store import open_store
from blastscope.data.traits import TRAITS
from blastscope.errors import BlastscopeError
from blastscope.report.errors_page import SIDE, causes_text
from blastscope.report.errors_plots import PLOT_NAMES, trait_plot
from blastscope.report.style import save
from tests.api.conftest import unmarked
from tests.conftest import draw_cell
from tests.error_analysis.made import scores_of, scores_with, store_of, write_scores

N = 40
LABELS = ["all"] * (N // 2) + ["hem"] * (N // 2)
MEASURED = {f"{name}.{kind}" for name in PLOT_NAMES for kind in ("png", "svg")}


class Page(HTMLParser):
    """Collects the ids, pictures and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.pictures: list[str] = []
        self.shown: list[int] = []
        found = re.findall(r"\.cell-of-(\d+) \{ background-image: url\((\S+)\); \}", text)
        self.cells = {int(row): uri for row, uri in found}
        assert len(self.cells) == len(found)
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "img":
            self.pictures.append(given["src"])
        if given.get("role") == "img":
            assert given["aria-label"]
            self.shown.append(int(given["class"].rpartition("-")[2]))


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Tables of three models, and a store of their cells."""
    folder = tmp_path_factory.mktemp("given")
    rng = np.random.default_rng(24)
    missed = rng.random((N, 3)) < 0.45
    missed[[0, 1, N - 1]] = True
    subjects = [f"{'H' if label == 'hem' else 'S'}{k % 3}" for k, label in enumerate(LABELS)]
    scores = scores_with(LABELS, missed, subjects=subjects, models=("A", "B", "C<i>"))
    images = {f"c{k}": draw_cell(k, 120, 18 + k % 9) for k in range(N)}
    store = store_of(folder / "store", images, dict(zip(images, LABELS, strict=True)))
    return write_scores(scores, folder, protocol="image"), store.path, missed


@pytest.fixture(scope="module")
def outcome(tables, tmp_path_factory):
    given, store, _ = tables
    out = tmp_path_factory.mktemp("outcome") / "out"
    return out, analyze_errors(given, out=out, store=store)


def test_everything_is_written(outcome, tables):
    out, _ = outcome
    missed = tables[2]
    assert {path.name for path in out.iterdir()} == {
        "errors.json",
        "cells.csv",
        "figures",
        "report.html",
    }
    assert {path.name for path in (out / "figures").iterdir()} == MEASURED
    content = json.loads((out / "errors.json").read_text())
    counted = np.bincount(missed.sum(axis=1), minlength=4)
    both = zip(content["missed_by"]["all"], content["missed_by"]["hem"], strict=True)
    assert [a + b for a, b in both] == counted.tolist()
    cells = pl.read_csv(out / "cells.csv")
    assert cells["missed_by"].to_list() == missed.sum(axis=1).tolist()
    assert {"p_all A", "p_all C<i>", "size", "solidity", "components"} <= set(cells.columns)


def test_the_page_holds_everything_once(outcome, tables):
    out, found = outcome
    text = (out / "report.html").read_text()
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    rows = {pick.row for pick in (*found.missed_by_all, *found.rescued)}
    rows |= {pick.row for picks in found.most_confident.values() for pick in picks}
    assert set(page.ids) <= {f"cell-{row}" for row in rows}
    assert {f"cell-{pick.row}" for pick in found.missed_by_all[:24]} <= set(page.ids)
    assert all(source.startswith("data:image/") for source in page.pictures)
    assert set(page.cells) == set(page.shown) == rows
    assert len(page.shown) > len(rows)  # shown again and again, held once
    for row, uri in page.cells.items():
        assert uri.startswith("data:image/png;base64,")
        assert text.count(uri) == 1
        picture = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
        assert picture.size == (SIDE, SIDE)
        expected = resize(open_store(tables[1]).pixels[row], SIDE)
        assert np.array_equal(np.asarray(picture), expected)
    assert not re.search(r"(src|href)=[\"'](?!data:|https://doi\.org)", text)
    assert "C&lt;i&gt;" in text
    assert "C<i>" not in text
    assert "Synthetic cells" not in text
    for sentence in causes_text(found.causes):
        assert sentence.split("(")[0].strip() in unmarked(text).replace("&#39;", "'")
    counted = found.counts.total
    for k in (1, 2, 3):
        assert f'<td class="n now">{counted[k]}</td>' in text


def test_the_same_bytes_every_time(outcome, tables, tmp_path):
    out, found = outcome
    save(trait_plot(found, TRAITS[0]), tmp_path, "trait-size")
    for kind in ("png", "svg"):
        first = (out / "figures" / f"trait-size.{kind}").read_bytes()
        assert (tmp_path / f"trait-size.{kind}").read_bytes() == first
    for name in ("one", "two"):
        analyze_errors(tables[0], out=tmp_path / name)
    written = [path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*")]
    assert len(written) == 7
    for name in written:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_without_a_store_only_names_and_no_stale_plots(outcome, tables, tmp_path):
    out = tmp_path / "out"
    (out / "figures").mkdir(parents=True)
    stale = out / "figures" / "trait-size.png"
    stale.write_bytes(b"old")
    other = out / "notes.txt"
    other.write_text("mine")
    analyze_errors(tables[0], out=out)
    assert not stale.exists()
    assert other.read_text() == "mine"
    left = {path.stem for path in (out / "figures").iterdir()}
    assert left == {"missed-by", "error-rates"}
    page = Page((out / "report.html").read_text())
    assert all("svg" in source[:20] for source in page.pictures)  # no picture of a cell
    assert page.ids == Page((outcome[0] / "report.html").read_text()).ids


def test_a_lone_model_and_one_that_misses_nothing(tables, tmp_path):
    analyze_errors(tables[0][:1], out=tmp_path / "one")
    text = (tmp_path / "one" / "report.html").read_text()
    assert "Agreement of the models" not in text
    assert "Missed by all" not in text
    assert text.count("A cell counts as missed here if the model calls it wrongly") == 1
    right = write_scores(scores_with(["all"] * 8, np.zeros((8, 1), bool)), tmp_path / "right")
    found = analyze_errors(right, out=tmp_path / "none")
    assert found.counts.total == (8, 0)
    text = (tmp_path / "none" / "report.html").read_text()
    assert "0 of 8 test cells (0.0 %) are called wrongly" in text
    assert "Cells to look at" not in text
    assert not (tmp_path / "none" / "figures" / "error-rates.svg").exists()  # no subjects


def test_synthetic_cells_are_said_to_be(tables, tmp_path):
    given = write_scores(scores_of(LABELS, np.full((N, 1), 0.7)), tmp_path, synthetic=True)
    assert analyze_errors(given, out=tmp_path / "out").synthetic
    assert "Synthetic cells" in (tmp_path / "out" / "report.html").read_text()
    assert json.loads((tmp_path / "out" / "errors.json").read_text())["synthetic"] is True


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "ensemble.json", "comparison.json"])
def test_the_folder_of_another_report_is_left_alone(tables, tmp_path, name):
    (tmp_path / name).write_text("x")
    with pytest.raises(BlastscopeError, match=rf"holds an? .*{name}.*another folder"):
        analyze_errors(tables[0], out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_another_page_is_left_alone_and_its_own_made_anew(tables, tmp_path):
    (tmp_path / "report.html").write_text("theirs")
    with pytest.raises(BlastscopeError, match=r"holds report\.html"):
        analyze_errors(tables[0], out=tmp_path)
    assert (tmp_path / "report.html").read_text() == "theirs"
    for _ in range(2):
        analyze_errors(tables[0][:1], out=tmp_path / "own")


def test_a_table_of_somebody_elses_is_left_alone(tables, tmp_path):
    (tmp_path / "cells.csv").write_text("theirs")
    with pytest.raises(BlastscopeError, match=r"holds cells\.csv"):
        analyze_errors(tables[0], out=tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["theirs"]


def test_nothing_is_written_where_the_store_does_not_fit(tables, tmp_path):
    store = store_of(tmp_path / "other", {"x": draw_cell(1, 120, 30)}, {"x": "all"})
    with pytest.raises(BlastscopeError, match=rf"lacks {N} of {N} cells"):
        analyze_errors(tables[0], out=tmp_path / "out", store=store.path)
    assert not (tmp_path / "out").exists()


def test_the_command(tables, tmp_path):
    given = [f"one={tables[0][0]}", str(tables[0][1])]
    ran = CliRunner().invoke(app, ["errors", *given, "--out", str(tmp_path / "out")])
    assert ran.exit_code == 0, ran.output
    missed = tables[2][:, :2].sum(axis=1)
    counted = {
        int(row.split()[0]): int(row.split()[3])
        for row in ran.output.splitlines()
        if re.fullmatch(r"\s*\d( +\d+){3}\s*", row)
    }
    assert counted == {k: int((missed == k).sum()) for k in range(3)}
    assert re.search(r"one +normal +20 +\d+ +\d+ +\d+", ran.output)
    assert "The paper suggests" in ran.output
    assert "A cell counts as missed here if one of the 2 models calls it wrongly" in ran.output
    assert ran.output.splitlines()[-1].endswith("report.html")
