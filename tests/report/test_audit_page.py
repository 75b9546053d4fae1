"""The files of an audit and its section of a page."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import polars as pl
import pytest

from blastscope.errors import BlastscopeError
from blastscope.explanation.audit.audit import Audit
from blastscope.explanation.audit.summary import summarize
from blastscope.report.audit_page import report_audit
from blastscope.report.audit_text import model_text
from blastscope.report.html import _environment
from tests.explanation.audit.made import RANDOMIZED, cells_of, randomized_of

DRAWS_PLOTS = True

LABELS = ["all"] * 20 + ["hem"] * 20
KINDS = ("regions", "deletion", "insertion", "randomization", "radius", "size")


def model(name, scale="crop"):
    return SimpleNamespace(name=name, settings=SimpleNamespace(scale=scale))


def page(view):
    return _environment().get_template("_audit.html").render(audit=view)


@pytest.fixture(scope="module")
def study():
    cells = [cells_of(LABELS, name, 2, k, seed=k) for k, name in enumerate(("A", "B<i>$x$"))]
    tests = [randomized_of("A"), randomized_of("B<i>$x$", last=0.9)]
    return Audit(pl.concat(cells), pl.concat(tests))


@pytest.fixture(scope="module")
def outcome(study, tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    (out / "figures").mkdir()
    (out / "figures" / "audit-3-heat.svg").write_text("of an earlier audit")
    (out / "figures" / "cell.png").write_text("not of an audit")
    models = [model("A"), model("B<i>$x$", "keep")]
    pages = {f"c{k:04}": f"cells/c{k:04}.html" for k in range(20)}
    view = report_audit("A + B", models, study, out, part="test", synthetic=False, pages=pages)
    return out, view


def test_what_is_written(outcome, study):
    out, _ = outcome
    names = {f"audit-{place}-{kind}" for place in (1, 2) for kind in KINDS} | {"audit-agreement"}
    drawn = {path.name for path in (out / "figures").iterdir()}
    assert drawn == {f"{name}.{kind}" for name in names for kind in ("png", "svg")} | {"cell.png"}
    content = json.loads((out / "audit-summary.json").read_text())
    assert content["format"] == "blastscope-explanation-audit/2"
    assert (content["explained"], content["part"], content["synthetic"]) == ("A + B", "test", False)
    scales = {"A": "crop", "B<i>$x$": "keep"}
    assert content["models"] == json.loads(
        json.dumps(summarize(study.cells, study.randomization, scales).as_json()["models"])
    )


def test_the_page_holds_the_plots_the_verdicts_and_the_links(outcome, study):
    out, view = outcome
    text = page(view)
    assert text.count("data:image/svg+xml") == 2 * len(KINDS) + 1
    assert "B&lt;i&gt;$x$" in text
    assert "<i>" not in text
    assert not re.search(r"(src|href)=[\"'](?!data:|cells/|https://doi\.org)", text)
    content = json.loads((out / "audit-summary.json").read_text())
    shown = text.replace("&#39;", "'").replace("&lt;", "<").replace("&gt;", ">")
    for found in content["models"]:
        for gain in found["gains"]:
            assert f"{abs(gain['difference']['value']):.3f}" in shown
        for place in found["off_cell"]:
            for one in place["worst"]:
                linked = f'<a href="cells/{one["cell"]}.html">{one["cell"]}</a>' in text
                assert linked == (one["cell"] < "c0020")
    scales = {"A": "crop", "B<i>$x$": "keep"}
    for found in summarize(study.cells, study.randomization, scales).models:
        for sentence in model_text(found, scales[found.model]):
            assert sentence in shown
    assert text.count("Its images are cut to the cell") == 1
    assert text.count("field of the same width") == 1
    sides = study.cells.filter(pl.col("model") != "A")["side"].to_numpy()
    assert f"{100 * (sides * 1.6 > 320).mean():.0f} % at ×1.6 of the cells" in text
    assert text.count("the image has no size; sharpness: ") == 1
    region = content["models"][0]["shares"][0]["regions"][0]
    assert f"{100 * region['share']['value']:.1f} %" in text
    assert f"{region['ratio']['value']:.2f}" in text


def test_the_headline_marks_what_is_less_and_what_is_easy(tmp_path):
    cells = cells_of(LABELS, "A", grad_cam_cell=[0.4, 0.6] * 20)  # of 70 %
    view = report_audit(
        "A", [model("A")], Audit(cells, randomized_of("A", last=0.2, between=0.7)), tmp_path,
        part="test", synthetic=False,
    )  # fmt: skip
    (row,) = view.rows
    region = row.results["attribution on the cell"]
    assert region.value == "50 %"
    assert region.small.startswith("of 70 % of the image: ×0.71 (")
    assert region.small.endswith("), less than its share")
    assert row.results["weights randomized"].small.endswith(", so easy to pass")
    drawn = (tmp_path / "figures" / "audit-1-randomization.svg").read_text()
    assert "Weights randomized" in drawn


def test_the_same_bytes_every_time_whatever_the_order_of_the_tables(outcome, study, tmp_path):
    out, _ = outcome
    turned = Audit(study.cells.sort("model", descending=True), study.randomization.reverse())
    models = [model("A"), model("B<i>$x$", "keep")]
    report_audit("A + B", models, turned, tmp_path, part="test", synthetic=False)
    assert (tmp_path / "audit-summary.json").read_bytes() == (
        out / "audit-summary.json"
    ).read_bytes()
    for path in (tmp_path / "figures").iterdir():
        assert path.read_bytes() == (out / "figures" / path.name).read_bytes()


def test_a_lone_model_by_grad_cam_alone_without_labels(tmp_path):
    curves = [f"{k}_{m}" for k in ("deletion", "insertion")
              for m in ("grad_cam", "grad_cam_pp", "occlusion", "random", "other")]  # fmt: skip
    absent = [*curves, "logits_scaled", "p_same_size", "agreement", "occlusion_cell"]
    cells = cells_of(LABELS, "A", **dict.fromkeys(absent))
    cells = cells.with_columns(label=pl.lit(None, pl.String), subject=pl.lit(None, pl.String))
    bare = Audit(cells, pl.DataFrame(schema=RANDOMIZED))
    view = report_audit("A", [model("A")], bare, tmp_path, part="test", synthetic=True)
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"audit-1-regions"}
    text = page(view)
    assert "The subjects are not known" in text
    assert "deletion: not measured" in text
    assert "Agreement of the models" not in text
    assert json.loads((tmp_path / "audit-summary.json").read_text())["synthetic"] is True


def test_tables_of_other_models_are_refused(study, tmp_path):
    with pytest.raises(ValueError, match="an audit of"):
        report_audit("A", [model("A")], study, tmp_path, part="test", synthetic=False)
    short = Audit(study.cells[:-1], study.randomization)
    models = [model("A"), model("B<i>$x$")]
    with pytest.raises(BlastscopeError, match="other cells for"):
        report_audit("A", models, short, tmp_path, part="test", synthetic=False)
    assert not list(tmp_path.iterdir())
