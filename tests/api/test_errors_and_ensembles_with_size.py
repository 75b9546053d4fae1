"""AUC at equal size of ``errors`` and ``ensemble``, against a plain loop over pairs of cells."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

import blastscope as bs
from blastscope.cli import app
from blastscope.evaluation.equal_size import CALIPER
from blastscope.io.predictions import write_predictions
from tests.report.test_html import Page

SUBJECTS, CELLS = 12, 12
"""Half of the subjects have ALL; a subject has so many cells."""


@pytest.fixture(scope="module")
def cells():
    """Cells of C-NMC's names, whose ALL cells are larger; half of the subjects are for training."""
    rng = np.random.default_rng(4)
    rows = []
    for subject, k in product(range(SUBJECTS), range(CELLS)):
        label = "all" if subject % 2 else "hem"
        name = f"{'H' * (label == 'hem')}{subject}"
        size = int(rng.normal(220 if label == "all" else 195, 18))
        part = "train" if subject < SUBJECTS // 2 else "test"
        rows.append((f"UID_{name}_{k}_1_{label}", name, label, part, size))
    names = ["cell", "subject", "label", "part", "size"]
    return pl.DataFrame(rows, schema=names, orient="row")


@pytest.fixture(scope="module")
def boxes(cells, tmp_path_factory):
    path = tmp_path_factory.mktemp("boxes") / "boxes.csv"
    file, side = pl.concat_str("cell", pl.lit(".bmp")), pl.col("size")
    cells.select(file=file, width=side - 5, height=side).write_csv(path)
    return path


@pytest.fixture(scope="module")
def tables(cells, tmp_path_factory):
    """``knows`` ranks by class, ``ruler`` by size; the tables of folds have test cells only."""
    folder = tmp_path_factory.mktemp("tables")
    is_all, size = (cells["label"] == "all").to_numpy(), cells["size"].to_numpy()
    rng = np.random.default_rng(5)
    logits = {
        "knows": np.where(is_all, 1.2, -1.2) + rng.normal(0, 1, len(is_all)),
        "ruler": (size - 205) / 10 + rng.normal(0, 0.05, len(is_all)),
    }
    fold = pl.Series(np.arange(cells.height) // CELLS // 2 % 3 + 1)
    found = {}
    for name, logit in logits.items():
        p_all = pl.Series(np.round(1 / (1 + np.exp(-logit)), 2))
        table = cells.drop("size").with_columns(model=pl.lit(name), p_all=p_all)
        found[name] = folder / f"{name}.parquet"
        write_predictions(table, found[name], {"protocol": "subject"})
        found[f"{name}-folds"] = folder / f"{name}-folds.parquet"
        folds = table.with_columns(part=pl.lit("test"), fold=fold)
        about = {"protocol": "subject", "out_of_fold": "subject"}
        write_predictions(folds, found[f"{name}-folds"], about)
    return found


def by_hand(table: pl.DataFrame, cells: pl.DataFrame) -> tuple[float, int]:
    """Return AUC at equal size and the number of pairs: a plain loop, within folds if any."""
    rows = table.filter(part="test").join(cells.select("cell", "size"), on="cell").to_dicts()
    ordered = []
    for one, other in product(rows, rows):
        if one["label"] != "all" or other["label"] != "hem":
            continue
        if one.get("fold") != other.get("fold"):
            continue
        if abs(one["size"] - other["size"]) > CALIPER * (one["size"] + other["size"]) / 2:
            continue
        ordered.append((one["p_all"] > other["p_all"]) + (one["p_all"] == other["p_all"]) / 2)
    return float(np.mean(ordered)), len(ordered)


def shown(found) -> str:
    return f"{found['value']:.3f}{found['low']:.3f} to {found['high']:.3f}"


def auc_of(path) -> float:
    test = pl.read_parquet(path).filter(part="test")
    return float(roc_auc_score(test["label"] == "all", test["p_all"]))


def test_errors_have_what_a_plain_loop_has_in_json_page_and_text(cells, tables, boxes, tmp_path):
    given = [tables["knows"], tables["ruler"]]
    found = bs.analyze_errors(given, out=tmp_path / "out", store=boxes)
    told = json.loads((tmp_path / "out" / "errors.json").read_text())
    page, text = Page((tmp_path / "out" / "report.html").read_text()).text, found.to_text()
    before = page.split("Errors on test cells")[0]
    for name in ("knows", "ruler"):
        auc, pairs = by_hand(pl.read_parquet(tables[name]), cells)
        equal, plain = told["equal_size"][name], told["auc"][name]
        assert (equal["matched"]["value"], equal["pairs"]) == (pytest.approx(auc), pairs)
        assert plain["value"] == pytest.approx(auc_of(tables[name]))
        assert plain["low"] < plain["value"] < plain["high"]
        assert shown(plain) + shown(equal["matched"]) in before
        assert f"{auc:.3f} ({equal['matched']['low']:.3f} to" in before
        assert f"{auc:.3f} ({equal['matched']['low']:.3f} to" in text
    behind = [one for one in found.answers() if "size itself" in one]
    assert behind
    assert "ruler" in behind[0]
    assert "knows" not in behind[0]
    assert behind[0] in before


def test_one_model_has_the_numbers_of_its_evaluation(tables, boxes):
    found = bs.analyze_errors(tables["knows"], store=boxes)
    alone = bs.evaluate(tables["knows"], store=boxes)
    assert found.sized.equal_size["knows"] == alone.shortcuts.equal_size
    rules = zip(found.sized.baselines["knows"], alone.baselines, strict=True)
    assert all(one.lead == other.lead for one, other in rules)
    assert found.answers()[1].startswith(f"AUC {auc_of(tables['knows']):.3f} (")


@pytest.mark.parametrize("kind", ["", "-folds"])
def test_an_ensemble_and_its_members_have_what_a_plain_loop_has(
    cells, tables, boxes, tmp_path, kind
):
    """Of a cross-validation's members the pairs are within folds, for the ensemble as well."""
    given = [tables[f"knows{kind}"], tables[f"ruler{kind}"]]
    made = bs.fit_ensemble(given, out=tmp_path / "e", method="mean", store=boxes, resamples=100)
    told = made.as_json()["comparison"]
    ensemble = made.built.model
    page = Page((tmp_path / "e" / "report.html").read_text()).text
    parts = {"knows": given[0], "ruler": given[1], ensemble: tmp_path / "e/predictions.parquet"}
    for name, path in parts.items():
        auc, pairs = by_hand(pl.read_parquet(path), cells)
        equal = told["equal_size"][name]
        assert (equal["matched"]["value"], equal["pairs"]) == (pytest.approx(auc), pairs)
        assert told["estimates"][name]["auc"]["value"] == pytest.approx(auc_of(path))
        assert shown(told["estimates"][name]["auc"]) + shown(equal["matched"]) in page
        rules = [one.name for one in made.comparison.baselines[name]]
        assert rules == ["always ALL", "size"]
    named = [one for one in made.answers() if "size itself" in one]
    assert named[0] in page.split("Metrics with 95 % intervals")[0]
    assert "ruler" in named[0]
    assert "majority vote" not in " ".join(named)  # a method that was not asked for
    errors = json.loads((tmp_path / "e" / "errors.json").read_text())
    assert set(errors["equal_size"]) == {"knows", "ruler"}
    assert errors["equal_size"]["knows"] == told["equal_size"]["knows"]


def test_the_folder_of_an_ensemble_evaluates_to_the_same(tables, boxes, tmp_path):
    given = [tables["knows-folds"], tables["ruler-folds"]]
    made = bs.fit_ensemble(given, out=tmp_path / "e", method="mean", store=boxes)
    alone = bs.evaluate(tmp_path / "e", store=boxes)
    assert made.comparison.equal_size[made.built.model] == alone.shortcuts.equal_size


def test_without_sizes_both_say_how_to_give_them(tables, tmp_path):
    given = [tables["knows"], tables["ruler"]]
    made = bs.fit_ensemble(given, out=tmp_path / "e", method="mean", resamples=100)
    found = bs.analyze_errors(given, out=tmp_path / "out")
    assert (made.comparison.equal_size, found.sized) == ({}, None)
    told = json.loads((tmp_path / "out" / "errors.json").read_text())
    assert (told["auc"], told["equal_size"], told["baselines"]) == ({}, {}, {})
    for result, folder in ((made, "e"), (found, "out")):
        said = [one for one in result.answers() if "AUC at equal size" in one]
        assert len(said) == 1
        assert "--store" in said[0]
        assert said[0] in Page((tmp_path / folder / "report.html").read_text()).text


def test_sizes_of_other_labels_are_refused_and_nothing_is_written(cells, tables, boxes, tmp_path):
    turned = pl.read_parquet(tables["knows"]).with_columns(
        pl.col("label").replace({"all": "hem", "hem": "all"})
    )
    given = {"a": turned, "b": turned.with_columns(p_all=1 - pl.col("p_all"))}
    for verb in (bs.analyze_errors, bs.fit_ensemble):
        with pytest.raises(bs.BlastscopeError, match="contradict"):
            verb(given, out=tmp_path / "out", store=boxes)
    assert not (tmp_path / "out").exists()


def test_a_table_of_sizes_has_no_images_to_explain(tables, boxes):
    with pytest.raises(bs.BlastscopeError, match="needs images"):
        bs.analyze_errors(tables["knows"], store=boxes, explain=True)


@pytest.mark.parametrize("verb", ["errors", "ensemble"])
def test_the_commands_take_sizes(tables, boxes, tmp_path, verb):
    given = [str(tables["knows"]), str(tables["ruler"])]
    options = ["--store", str(boxes), "--out", str(tmp_path / "out"), "--json"]
    options += ["--method", "mean"] * (verb == "ensemble")
    told = CliRunner().invoke(app, [verb, *given, *options])
    assert told.exit_code == 0, told.output
    content = json.loads(told.stdout)
    equal = content["equal_size"] if verb == "errors" else content["comparison"]["equal_size"]
    assert {"knows", "ruler"} <= set(equal)
