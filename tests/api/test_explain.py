"""The verb's outcome: figures, pages, tables and what is refused."""

from __future__ import annotations

import inspect
import io
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from blastscope.api import explain as report
from blastscope.api.audit_explanations import audit_explanations
from blastscope.api.explain import explain
from blastscope.api.fit_ensemble import fit_ensemble
from blastscope.cli import app
from blastscope.cli import explaining as verbs
from blastscope.errors import BlastscopeError
from blastscope.explanation.activations import Layer, LayerMaps
from blastscope.explanation.cells import find_cells, prepare_cells
from blastscope.explanation.explain import explain_cells
from blastscope.explanation.models import open_models
from blastscope.explanation.tables import METHODS
from blastscope.explanation.target_layer import GRID
from blastscope.io.predictions import read_predictions
from blastscope.report.explanation_page import page_names, write_cell_page
from blastscope.report.explanation_plots import (
    GAP,
    TILE,
    attribution_panel,
    class_panel,
    map_grid,
    overlay,
    panels,
    png,
    softened,
    thumbnail,
    tiled,
)
from tests.api.conftest import unmarked

DRAWS_PLOTS = True

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def ensemble(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("of_two") / "both"
    fit_ensemble([f"A<i>={trained.run}", f"B={trained.other}"], out=out, method="mean")
    return out


@pytest.fixture(scope="module")
def odd(trained, tmp_path_factory):
    """A cell of no class whose file has a name of its own."""
    path = tmp_path_factory.mktemp("odd") / 'a & "b" <c>.bmp'
    shutil.copy(next(iter(trained.images.values())), path)
    return path


@pytest.fixture(scope="module")
def outcome(trained, ensemble, odd, tmp_path_factory):
    out = tmp_path_factory.mktemp("outcome") / "out"
    names = [*sorted(trained.images)[:2], str(odd)]
    data = [next(iter(trained.images.values())).parent.parent]
    seen = []
    made = explain(
        [ensemble],
        names,
        out=out,
        data=data,
        device="cpu",
        progress=lambda *tick: seen.append(tick),
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]
    return out, made, names


@pytest.fixture(scope="module")
def cell(trained, tmp_path_factory):
    """One cell, explained by two models."""
    explained = open_models([f"A={trained.run}", f"B={trained.other}"], CPU)
    found = find_cells([str(min(trained.images.values()))], [])
    wanted = [model.settings for model in explained.models]
    dataset = prepare_cells(found, wanted, tmp_path_factory.mktemp("work"))
    return next(explain_cells(explained, dataset, ("grad-cam",)))


def test_everything_is_written(outcome):
    out, made, names = outcome
    assert {path.name for path in out.iterdir()} == {
        "explanation.json",
        "cells.csv",
        "cells",
        "figures",
        "report.html",
    }
    pages = [out / summary.page for summary in made.found.cells]
    assert sorted(pages) == sorted((out / "cells").glob("*.html"))
    drawn = {"heatmaps", "classes", "maps-B-relu1", "maps-B-pool1"}
    for page in pages:
        found = {path.stem for path in (out / "figures" / page.stem).iterdir()}
        assert drawn < found
        assert len(found) == 6  # the other model's name is no name for a file
    content = json.loads((out / "explanation.json").read_text())
    assert content["format"] == "blastscope-explanation/2"
    assert [model["name"] for model in content["models"]] == ["A<i>", "B"]
    assert content["combination"]["weights"] == [0.5, 0.5]
    assert [entry["cell"] for entry in content["cells"]] == [*names[:2], 'a & "b" <c>']


def test_the_table_says_what_the_runs_said(outcome, trained):
    out, made, names = outcome
    table = pl.read_csv(out / "cells.csv")
    assert table.height == 3 * 3
    both = [trained.p_all(run) for run in (trained.run, trained.other)]
    for name in names[:2]:
        rows = table.filter(pl.col("cell") == name)
        p = [said[name] for said in both]
        assert rows["p_all"].to_list() == pytest.approx([*p, sum(p) / 2], abs=1e-6)
        assert rows["called"].to_list() == ["all" if q > 0.5 else "hem" for q in rows["p_all"]]
        assert rows["right"].to_list() == [call == name[-3:] for call in rows["called"]]
    members = table.filter(pl.col("model") != made.found.name)
    shares = members.select(
        pl.sum_horizontal(f"area_{k}" for k in ("cell", "debris", "background"))
    )
    np.testing.assert_allclose(shares.to_numpy(), 1)
    for column in ("deletion_grad_cam", "insertion_random", "deletion_occlusion"):
        assert members[column].is_between(0, 1).all()
    assert table.filter(pl.col("cell") == 'a & "b" <c>')["right"].null_count() == 3


def test_pages_hold_what_they_show(outcome):
    out, made, _ = outcome
    index = (out / "report.html").read_text()
    links = re.findall(r'href="(cells/[^"]+)"', index)
    assert list(dict.fromkeys(links)) == [summary.page for summary in made.found.cells]
    assert index.count("<img") == 3
    for page in (out / "report.html", *(out / "cells").glob("*.html")):
        text = page.read_text()
        others = r"data:|https://doi\.org|cells/[A-Za-z0-9_-]+\.html\"|\.\./report\.html\""
        assert not re.search(rf"(src|href)=\"(?!{others})", text)
        assert "A&lt;i&gt;" in text
        assert not re.search("<i>|<c>", text)
    one = (out / made.found.cells[0].page).read_text()
    for heading in ("Heatmaps", "Can this heatmap be believed?", "Feature maps"):
        assert heading in one
    assert "deletion: lower is better" in one
    assert one.count("<img") == 1 + 2 + 2 * 2
    assert "The true class is unknown" in (out / made.found.cells[2].page).read_text()


def test_a_second_explanation_replaces_the_first_and_nothing_else(trained, tmp_path):
    files = [str(path) for path in sorted(trained.images.values())[:2]]
    mine = tmp_path / "cells" / "notes.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    for chosen in (files, files[1:]):
        explain([trained.run], chosen, out=tmp_path, methods=["grad-cam"], device="cpu")
    left = sorted(trained.images)[1]
    kept = {f"{left}.html", "notes.txt", ".pages.json"}
    assert {path.name for path in (tmp_path / "cells").iterdir()} == kept
    assert [path.name for path in (tmp_path / "figures").iterdir()] == [left]
    first = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    for layers in (["conv3"], None):
        explain(
            [trained.run],
            files[1:],
            out=tmp_path,
            methods=["grad-cam"],
            layers=layers,
            device="cpu",
        )
        again = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
        assert (again == first) == (layers is None)  # the other layers' figures are gone


def test_what_cannot_be_is_refused_before_anything_is_written(trained, tmp_path):
    file = [str(next(iter(trained.images.values())))]
    out = tmp_path / "out"
    with pytest.raises(BlastscopeError, match=r"'lime' is not a method: choose of grad-cam, "):
        explain([trained.run], file, out=out, methods=["lime"])
    with pytest.raises(BlastscopeError, match=r"has no layer pol1; near it are pool1"):
        explain([trained.run], file, out=out, layers=["pol1"], device="cpu")
    with pytest.raises(BlastscopeError, match="no --data was given"):
        explain([trained.run], ["UID_9_9_9_all"], out=out, device="cpu")
    assert not out.exists()
    with pytest.raises(BlastscopeError, match=r"holds a run .*choose another folder"):
        explain([trained.run], file, out=trained.run)
    out.mkdir()
    (out / "cells.csv").write_text("theirs")
    with pytest.raises(BlastscopeError, match=r"holds cells\.csv"):
        explain([trained.run], file, out=out, methods=["grad-cam"], device="cpu")
    assert [path.read_text() for path in out.iterdir()] == ["theirs"]


def test_a_folder_that_cannot_be_written_is_found_before_any_pass(trained, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    file = [str(next(iter(trained.images.values())))]
    monkeypatch.setattr(report, "explain_cells", lambda *_: pytest.fail("a cell was explained"))
    with pytest.raises(BlastscopeError, match="cannot be written"):
        explain([trained.run], file, out=tmp_path / "file" / "out", device="cpu")


def test_what_was_written_before_a_stop_goes_with_the_next(trained, tmp_path):
    files = [str(path) for path in sorted(trained.images.values())[:3]]
    cells = sorted(trained.images)[:3]

    def stop(done: int, _: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    asked = {"methods": ["grad-cam"], "device": "cpu"}
    with pytest.raises(KeyboardInterrupt):
        explain([trained.run], files, out=tmp_path, progress=stop, **asked)
    left = {path.stem for path in (tmp_path / "cells").glob("*.html")}
    assert left == {path.name for path in (tmp_path / "figures").iterdir()} == set(cells[:2])
    explain([trained.run], files[2:], out=tmp_path, **asked)
    assert {path.stem for path in (tmp_path / "cells").glob("*.html")} == {cells[2]}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {cells[2]}


def test_a_map_without_the_fields_asked_for_is_said_to_be_of_the_end(trained, tmp_path):
    file = [str(next(iter(trained.images.values())))]
    asked = {"methods": ["grad-cam"], "device": "cpu"}
    made = explain([f"A={trained.run}"], file, out=tmp_path / "500", grid=500, **asked)
    model = json.loads((tmp_path / "500" / "explanation.json").read_text())["models"][0]
    positions = "{} × {}".format(*model["grid"])
    assert (
        made.notes()[0]
        == f"A has no map of 500 positions a side: Grad-CAM reads its last map, {positions}."
    )
    assert model["target_layer"] == "the end of the base"
    assert made.notes()[0] in (tmp_path / "500" / "report.html").read_text()
    made = explain([f"A={trained.run}"], file, out=tmp_path / "1", grid=1, **asked)
    assert not any("positions a side" in note for note in made.notes())


def vermilion(picture: np.ndarray) -> np.ndarray:
    return picture[..., 0].astype(int) - picture[..., 2]


def test_what_speaks_for_all_is_vermilion_and_for_normal_blue(cell):
    base = softened(cell.picture)
    assert not vermilion(base).any()  # grey
    signed = np.zeros(base.shape[:2], np.float32)
    signed[:5], signed[5:10] = 4.0, -2.0
    shown = overlay(base, signed)
    assert (vermilion(shown)[:5] > 0).all()
    assert (vermilion(shown)[5:10] < 0).all()
    np.testing.assert_array_equal(shown[10:], base[10:])
    # Half as strong is half as opaque: on white, the paper's share is 1 − .85 · strength.
    white = np.full_like(base, 255)
    np.testing.assert_allclose(
        255 - overlay(white, signed, 4.0)[[0, 7], 0].astype(float),
        [0.85 * (255 - np.array([213, 94, 0])), 0.425 * (255 - np.array([0, 114, 178]))],
        atol=1,
    )
    np.testing.assert_array_equal(overlay(base, signed * 1e9), shown)
    np.testing.assert_array_equal(overlay(base, signed * 0), base)


def test_turning_the_head_over_swaps_the_colours(trained, cell, tmp_path):
    turned = open_models([trained.run], CPU)
    network = turned.models[0].classifier
    with torch.no_grad():
        network.head[-1].weight.neg_()
        network.head[-1].bias.neg_()
    found = find_cells([str(cell.file.path)], [])
    dataset = prepare_cells(found, [turned.models[0].settings], tmp_path)
    other = next(explain_cells(turned, dataset, ("grad-cam",)))
    assert {other.models[0].called, cell.models[0].called} == {"all", "hem"}
    before, after = vermilion(panels(cell)[0]), vermilion(panels(other)[0])
    told = np.abs(before) > 20
    assert told.mean() > 0.05
    assert (np.sign(before[told]) == -np.sign(after[told])).all()


def places(figure):
    """The panels' rows and columns: axes that are as large as the first."""
    first = figure.axes[0].get_position()
    same = [axes.get_position() for axes in figure.axes]
    same = [one for one in same if one.height == pytest.approx(first.height)]
    rows = sorted({round(one.y0, 4) for one in same})
    columns = sorted({round(one.x0, 4) for one in same})
    return len(same), len(rows), len(columns)


def test_four_models_stand_two_by_two(cell):
    named = [replace(cell.models[k % 2], name=f"m{k}") for k in range(4)]
    four = replace(cell, models=tuple(named))
    figure = attribution_panel(four)
    assert places(figure) == (4, 2, 2)
    texts = [text.get_text() for text in figure.texts]
    assert [text for text in texts if text in ("m0", "m1", "m2", "m3")] == ["m0", "m1", "m2", "m3"]
    p = f"p(ALL) {cell.models[0].p_all:.3f}"
    assert sum(p in text and ("right" in text or "wrong" in text) for text in texts) == 2
    assert places(attribution_panel(replace(cell, models=tuple(named[:1]))))[0] == 1
    assert places(class_panel(four)) == (12, 4, 3)
    assert thumbnail(four, 100).shape == (100, 100, 3)


def test_maps_are_sixteen_a_row_and_dead_ones_crossed():
    maps = np.zeros((1, 20, 6, 6), np.float32)
    maps[0, :, 2, 2] = np.arange(20)  # the first is dead
    maps[0, 3] += 100  # a scale of its own takes that away
    found = LayerMaps(Layer("conv", "conv", (20, 6, 6)), maps)
    assert found.dead[0].tolist() == [True] + [False] * 19
    grid = tiled(maps[0], found.dead[0])
    assert grid.shape == (2 * TILE + GAP, 16 * (TILE + GAP) - GAP, 3)
    tile = [grid[:TILE, k * (TILE + GAP) :][:, :TILE] for k in range(16)]
    assert (tile[0][0, 0] == 235).all()
    assert (tile[0][TILE // 2 - 1, TILE // 2 - 1] < 150).all()
    np.testing.assert_array_equal(tile[3], tile[9])
    assert len(np.unique(tile[3].reshape(-1, 3), axis=0)) == 2
    assert (grid[TILE + GAP :, 4 * (TILE + GAP) :] == 255).all()  # 20 = 16 + 4
    figure = map_grid(found, "m")
    assert any("20 maps of 6 × 6; 1 dead" in text.get_text() for text in figure.texts)
    assert Image.open(io.BytesIO(png(figure))).width >= grid.shape[1]


def test_a_page_can_stand_in_another_report(cell, tmp_path):
    page = write_cell_page(cell, tmp_path, "errors.html#cell-3", name="one", synthetic=True)
    assert [path.name for path in tmp_path.iterdir()] == ["one.html"]
    text = page.path.read_text()
    assert 'href="errors.html#cell-3"' in text
    assert "Synthetic cells" in text
    assert "deletion" not in text  # Grad-CAM alone
    assert page.thumbnail.startswith("data:image/webp;base64,")


def text_of(page: str) -> str:
    page = re.sub(r"</?abbr[^>]*>", "", page)
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL).split())


def test_a_page_begins_in_plain_words_and_ends_in_how_it_was_read(cell, tmp_path):
    page = write_cell_page(cell, tmp_path, "x", name="one", synthetic=True).path.read_text()
    first, _, foot = text_of(unmarked(page)).partition("Target layers")
    colours = first.index("Vermilion speaks for ALL, blue for normal.")
    assert colours < first.index("Can this heatmap be believed?")
    assert not re.search(r"logit|positions", first)
    assert "(a logit)" in foot
    for model in cell.models:
        assert f"{model.name} {model.target_layer} {model.grid[0]} × {model.grid[1]}" in foot


def test_attribution_stands_beside_the_area_it_lies_on(cell, tmp_path):
    on = {"grad_cam_cell": 0.2, "grad_cam_debris": 0.0, "grad_cam_background": 0.8}
    area = {"area_cell": 0.6, "area_debris": 0.0, "area_background": 0.4}
    alike = {"agreement": [None, -0.154]}
    changed = replace(cell.models[0], measured=cell.models[0].measured | on | area | alike)
    one = replace(cell, models=(changed, cell.models[1]))
    page = write_cell_page(one, tmp_path, "x", name="one", synthetic=True).path.read_text()
    row = re.search(r'<tr><th scope="row">A</th><td><span.*?</tr>', page)[0]
    shares = re.findall(r"<td class=\"n\">(\d+ %)</td>", row)
    assert shares == ["20 %", "60 %", "80 %", "40 %"]
    assert '<td class="n">–</td><td class="n">−0.15</td>' in page


@settings(max_examples=60)
@given(st.lists(st.text(max_size=120), unique=True, max_size=6))
def test_page_names_are_safe_and_apart(cells):
    cells = [*cells, "../up", "CON/x", "a.b", "A", "a", "x" * 300, "x" * 301, "UID_1_2_3_all"]
    cells = list(dict.fromkeys(cells))
    names = page_names(cells)
    assert list(names) == cells
    assert len({name.lower() for name in names.values()}) == len(cells)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,150}", name) for name in names.values())
    alone = page_names(["UID_1_2_3_all", "conv.0", "../up"])
    assert [*alone.values()] == ["UID_1_2_3_all", "conv_0", "___up"]


def test_the_defaults_of_the_command_are_the_packages():
    told = {name: p.default for name, p in inspect.signature(verbs.explain).parameters.items()}
    assert told["grid"] == GRID
    assert told["methods"].split(",") == list(METHODS)
    of_audit = inspect.signature(audit_explanations).parameters
    assert inspect.signature(verbs.audit).parameters["part"].default == of_audit["part"].default


def test_the_command(trained, tmp_path):
    data = next(iter(trained.images.values())).parent.parent
    name = min(trained.images)
    asked = [
        "explain", f"one={trained.run}", str(trained.other), "--cells", name, "--data", str(data),
        "--out", str(tmp_path / "out"), "--methods", "grad-cam,occlusion", "--layers", "pool2",
        "--layers", "conv4", "--grid", "3", "--device", "cpu",
    ]  # fmt: skip
    ran = CliRunner().invoke(app, asked)
    assert ran.exit_code == 0, ran.output
    frame, _ = read_predictions(trained.run / "predictions.parquet")
    p_all = frame.filter(pl.col("cell") == name)["p_all"][0]
    assert re.search(rf"{name} +one +{p_all:.4f} +(ALL|normal) +(right|wrong)", ran.output)
    assert ran.output.splitlines()[-1].endswith("report.html")
    content = json.loads((tmp_path / "out" / "explanation.json").read_text())
    assert content["methods"] == ["grad-cam", "occlusion"]
    assert all(min(model["grid"]) >= 3 for model in content["models"])
    drawn = {path.stem for path in (tmp_path / "out" / "figures" / name).iterdir()}
    assert {"maps-one-pool2", "maps-one-conv4"} < drawn


def test_a_page_says_where_a_model_was_trained_on_the_cell(trained, tmp_path):
    said, _ = read_predictions(trained.run / "predictions.parquet")
    parts = dict(said.select("cell", "part").iter_rows())
    seen = next(cell for cell, part in parts.items() if part == "train")
    unseen = next(cell for cell, part in parts.items() if part == "test")
    files = [str(trained.images[cell]) for cell in (seen, unseen)]
    explain([trained.run], files, out=tmp_path / "out", methods=["grad-cam"])
    words = "trained on this cell"
    assert words in (tmp_path / "out" / "cells" / f"{seen}.html").read_text()
    assert words not in (tmp_path / "out" / "cells" / f"{unseen}.html").read_text()
