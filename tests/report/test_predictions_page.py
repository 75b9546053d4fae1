"""The page of predictions: its order, its counts, its pictures, and names that are markup."""

from __future__ import annotations

import re
import shutil
import zipfile
from datetime import date
from html.parser import HTMLParser
from types import SimpleNamespace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

import blastscope as bs
from blastscope.box import in_the_box
from blastscope.bundle.manifest import EvaluationEntry, MetricEntry
from blastscope.bundle.read import open_bundle
from blastscope.cli import app
from blastscope.report import predictions_page as page_file
from blastscope.report.bundle_card import SYNTHETIC
from blastscope.report.generalization_text import doubt_text, generalization_text
from blastscope.report.predictions_text import limits, training_subjects
from tests.api.conftest import unmarked
from tests.prediction.test_predict import weighted

EVIL = "<img src=x onerror=alert(1)>&amp;'quoted'"


class Elements(HTMLParser):
    """All elements with their attributes, and the headings' text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Synthetic cells, one of an evil name, one broken, and one photograph."""
    folder = tmp_path_factory.mktemp("page") / "cells"
    bs.synthesize(folder, 40, 3, seed=5)
    first = sorted(folder.rglob("*.bmp"))[0]
    shutil.copy(first, folder / f"{EVIL}.bmp")
    (folder / "broken.png").write_text("no image")
    noise = Image.effect_noise((200, 120), 90).convert("RGB")
    noise.save(folder / "photograph.png")
    return folder


@pytest.fixture(scope="module")
def found(folder):
    return bs.predict(folder)


@pytest.fixture(scope="module")
def page(found):
    return page_file.predictions_page(found.found, date(2026, 2, 3))


def test_it_is_one_page_for_everybody(page):
    seen = Elements(page)
    assert seen.all("html") == [{"lang": "en-GB"}]
    assert "Predictions for 43 images" in re.search("<title>(.*)</title>", page)[1]
    assert not seen.all("script")
    assert not seen.all("link")
    pictures = seen.all("img")
    assert pictures
    assert all(one["src"].startswith("data:image/webp") and one["alt"] for one in pictures)
    assert "@media print" in page
    assert re.search(r"h2 \+ p \{ break-after: avoid", page)  # a heading stays with its pictures
    # A browser prints a picture that it has not loaded yet as a black square.
    assert not any("loading" in one for one in pictures)


def test_names_are_text_whatever_is_in_them(page):
    seen = Elements(page)
    assert not any("onerror" in attributes for _, attributes in seen.found)
    assert any(EVIL in text for text in seen.text)
    assert any(EVIL in (one["alt"] or "") for one in seen.all("img"))


def test_its_order_is_worth_subjects_expert_ood_calls_unusable_limits(page):
    words = (
        "On unseen subjects its AUC", bs.DISCLAIMER, ">Subjects<", ">Cells for an expert",
        ">Out of distribution (", "and not referred)", "(1)", "is not a BMP, PNG",
        ">Limits<", "Haematogones", "Model, decision and date", "2026-02-03",
    )  # fmt: skip
    places, at = [], 0
    for word in words:
        at = page.index(word, at)
        places.append(at)
    assert places == sorted(places)
    assert f"blastscope {bs.__version__}" in page
    assert open_bundle(in_the_box()).digest in page
    assert "Synthetic cells" in page


def test_its_counts_are_those_of_the_table(found, page):
    frame, tally = found.to_frame(), found.found.tally
    assert tally.out_of_distribution >= 1
    cards = dict(re.findall(r'"name">([^/]+)</div><div class="value">(\d+)<', unmarked(page)))
    assert cards == {
        "images": "43",
        "called ALL": str(tally.called_all),
        "called normal": str((frame["called"] == "hem").sum()),
        "referred": str(tally.referred - tally.out_of_distribution),
        "out of distribution": str(tally.out_of_distribution),
        "not usable": "1",
    }
    assert page.count("<figure>") == 42


def test_each_group_is_in_the_order_of_p_and_says_what_it_leaves_out(found, monkeypatch):
    monkeypatch.setattr(page_file, "MOST_PICTURES", 3)
    short = page_file.predictions_page(found.found)
    frame = page_file._called(found.to_frame())
    sizes = [frame.filter(group=name).height for name in ("refer", "all", "hem", "ood")]
    assert max(sizes) > 3
    for size in sizes:
        if size > 3:
            assert f"The first 3 of {size} are shown" in short
    refer = short[short.index("Cells for an expert") : short.index(">Out of distribution (")]
    p = [float(value) for value in re.findall(r"<b>p (0\.\d+)</b>", refer)]
    referred = frame.filter(group="refer").height
    assert 2 <= len(p) == min(3, referred)
    assert p == sorted(p, reverse=True)


def test_a_share_of_blasts_needs_ten_cells(folder, found):
    rows = page_file._subjects(page_file._called(found.to_frame()), page_file._shares(found.found))
    by_name = {row["subject"]: row for row in rows}
    assert any(row["cells"] >= 10 for row in rows)
    for row in rows:
        assert (row["line"] is not None) == (row["subject"] is not None and row["cells"] >= 10)
    assert by_name[None]["problem"] == 1
    assert sum(row["cells"] + row["ood"] + row["problem"] for row in rows) == 43
    few = bs.predict(sorted(folder.rglob("*_all.bmp"))[:2])
    assert "No share of blasts is given" in few.to_html()


@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.floats(0, 1)), st.sampled_from([None, True, False]),
            st.booleans(),
        ),
        min_size=1, max_size=30,
    )
)  # fmt: skip
def test_every_image_is_in_one_group_and_no_other(rows):
    schema = {"p_all": pl.Float64, "out_of_distribution": pl.Boolean, "refer": pl.Boolean}
    frame = page_file._called(pl.DataFrame(rows, schema, orient="row"))
    groups = list(page_file._groups(frame))
    shown = [row for group in groups for row in group.rows]
    problems = frame.filter(pl.col("group") == "problem")["row"].to_list()
    assert sorted([*shown, *problems]) == list(range(len(rows)))
    for group in groups:
        p = [rows[row][0] for row in group.rows]
        assert p == sorted(p, reverse=True)
        if group.name == "all":
            assert all(value > 0.5 for value in p)


def entry(protocol="subject", own=False, low=0.7, **more):
    metrics = {"auc": MetricEntry(value=0.8765, low=low, high=None if low is None else 0.95)}
    sampling = {
        "unit": "subject", "resamples": 2000, "counts": {"all": 9, "hem": 7}, "unnamed": 0,
        "cells": 1200,
    }  # fmt: skip
    return EvaluationEntry(
        own=own, part="test", protocol=protocol, cells=1200, metrics=metrics,
        sampling=sampling | more,
    )  # fmt: skip


def test_what_a_model_is_worth_is_said_by_what_was_measured():
    manifest = open_bundle(in_the_box()).manifest.model_copy(update={"synthetic": False})

    def worth(*evaluations):
        return generalization_text(manifest.model_copy(update={"evaluations": evaluations}))

    measured = "Measured on 1,200 cells"
    said = worth(entry("image"), entry())
    assert "its AUC is 0.876 (95 % interval 0.700 to 0.950)" in said
    assert f"{measured} of 16 subjects (9 ALL and 7 normal) together, by other networks" in said
    said = worth(entry(own=True, low=None, unit="cell", counts={"all": 800, "hem": 400}))
    assert said == f"On unseen subjects its AUC is 0.876. {measured} together."
    against = entry()
    beside = {"auc_equal_size": MetricEntry(value=0.7), "auc_of_size": MetricEntry(value=0.8)}
    against = against.model_copy(update={"metrics": against.metrics | beside})
    said = worth(against)
    assert "at equal size 0.700; the size of a cell alone has 0.800" in said
    left = {"auc_of_size_at_equal_size": MetricEntry(value=0.55)}
    against = against.model_copy(update={"metrics": against.metrics | left})
    assert "0.800, at equal size 0.550. Measured" in worth(against)
    assert worth(entry("official", own=True)) == worth(entry(own=True))
    assert worth(entry(), entry("official", own=True, low=None)) == worth(entry())
    # A cross-validation of 16 subjects tells more than the network's own test of 3.
    tiny = entry(own=True, counts={"all": 2, "hem": 1})
    assert worth(tiny, entry("image", own=True), entry()) == worth(entry())
    assert "was not evaluated on unseen subjects" in worth(entry("image"))
    assert "was not evaluated on unseen subjects" in worth()
    assert "is not recorded with it" in generalization_text(None)
    assert (
        generalization_text(manifest, synthetic=True)
        == generalization_text(None, synthetic=True)
        == SYNTHETIC
    )
    adapted = manifest.model_copy(update={"evaluations": (entry(),), "adaptation": object()})
    assert generalization_text(adapted).startswith(
        "Before it was adapted, its AUC on unseen subjects was"
    )
    few = manifest.model_copy(update={"evaluations": (entry(counts={"all": 11, "hem": 3}),)})
    assert doubt_text(few) == (
        "It was measured on 3 normal subjects: so few say little about the next one."
    )
    following = {"auc_next_normal_subject": MetricEntry(value=0.9, low=0.3, high=0.999)}
    three = entry(counts={"all": 11, "hem": 3})
    three = three.model_copy(update={"metrics": three.metrics | following})
    assert "from 0.300 to 0.999" in doubt_text(
        manifest.model_copy(update={"evaluations": (three,)})
    )
    enough = manifest.model_copy(update={"evaluations": (entry(),)})
    assert doubt_text(enough) == doubt_text(None) == ""


def test_its_limits_name_the_subjects_of_its_training(found):
    assert training_subjects(found.found) == {"all": 11, "hem": 3}
    assert "of 11 subjects with ALL" in dict(limits({"all": 11, "hem": 1}))["Two kinds of cells"]
    assert "of 1 subject." in dict(limits({"all": 11, "hem": 1}))["Two kinds of cells"]
    assert "subject" not in dict(limits({}))["Two kinds of cells"]
    run = SimpleNamespace(members=SimpleNamespace(runs=()))
    assert training_subjects(run) == {}


def test_it_is_written_for_zips_and_arrays_and_never_over_another_file(folder, tmp_path):
    cells = sorted(folder.rglob("*_all.bmp"))[:2]
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        for path in cells:
            archive.write(path, path.name)
    arrays = [Image.open(path) for path in cells]
    for images in (tmp_path / "some.zip", arrays):
        page = bs.predict(images).to_html()
        assert page.count("<figure>") == page.count("data:image/webp") == 2
    out = tmp_path / "page.html"
    made = bs.predict(cells, report=out, out=tmp_path / "p.csv")
    assert made.report == made.page == out
    assert made.path == tmp_path / "p.csv"
    before = out.read_bytes()
    with pytest.raises(bs.BlastscopeError, match=r"page\.html exists already"):
        bs.predict(cells, report=out)
    with pytest.raises(bs.BlastscopeError, match=r"is not a \.html, \.htm file"):
        bs.predict(cells, report=tmp_path / "page.pdf")
    assert out.read_bytes() == before
    out.write_text("mine")
    bs.predict(cells, report=out, force=True)
    assert out.read_bytes() == before
    assert made.save(tmp_path / "again.htm").read_text("utf-8") == before.decode()
    saved = made.save(tmp_path / "folder")
    assert (saved / "report.html").read_bytes() == before


def test_a_cell_whose_file_has_gone_has_no_picture(folder, tmp_path):
    for path in sorted(folder.rglob("*_hem.bmp"))[:2]:
        shutil.copy(path, tmp_path)
    found = bs.predict(tmp_path)
    for path in tmp_path.iterdir():
        path.unlink()
    page = found.to_html()
    assert page.count("no picture: the file cannot be read any more") == 2
    assert "<img" not in page


def test_runs_and_ensembles_have_one_without_a_record_or_decision(trained, tmp_path):
    images = sorted(trained.images.values())[:4]
    for model in (trained.run, weighted(trained, tmp_path / "e"), [trained.run, trained.other]):
        page = bs.predict(images, model, device="cpu").to_html()
        assert "is not recorded with it" in page
        assert "This model refers no cells" in page
        assert page.count("<figure>") == 4


def test_the_command_writes_it_and_says_where(folder, tmp_path):
    images = [str(path) for path in sorted(folder.rglob("*_all.bmp"))[:2]]
    page, table = tmp_path / "page.html", tmp_path / "p.csv"
    words = ["predict", *images, "--report", str(page), "--out", str(table)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-2:] == [str(page), str(table)]
    assert "Predictions for 2 images" in page.read_text("utf-8")
    refused = CliRunner().invoke(app, ["predict", *images, "--report", "x.html", "--out", "-"])
    assert isinstance(refused.exception, bs.BlastscopeError)
    assert "--report and --out - do not go together" in str(refused.exception)
