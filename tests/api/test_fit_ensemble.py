"""An ensemble as a user builds it: from tables, into a folder that every other verb reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import f1_score
from typer.testing import CliRunner

from blastscope.api.evaluate import evaluate
from blastscope.api.fit_ensemble import fit_ensemble
from blastscope.cli import app
from blastscope.ensemble.build import EnsembleSettings
from blastscope.ensemble.genetic import GeneticSettings
from blastscope.errors import BlastscopeError
from blastscope.evaluation.aligned_predictions import align_predictions
from blastscope.evaluation.comparison import compare as hold_against
from blastscope.io.files import sha256_of
from blastscope.io.predictions import read_predictions, write_predictions
from tests.ensemble.scores import correlated

QUICK = GeneticSettings(population=10, generations=5, runs=2)
PARTS = ("train", "validation", "test")


def tables(folder: Path, models: int = 3, cells: int = 180, mark: str = "") -> list[Path]:
    p_all, is_all = correlated(cells, models, seed=3)
    paths = []
    for k in range(models):
        paths.append(folder / f"m{k}.csv")
        pl.DataFrame(
            {
                "cell": [f"c{row}" for row in range(cells)],
                "subject": [f"{'S' if ill else 'H'}{row % 4}" for row, ill in enumerate(is_all)],
                "label": np.where(is_all, "all", "hem"),
                "part": [PARTS[row % 3] for row in range(cells)],
                "model": f"m{k}{mark}",
                "p_all": p_all[:, k],
            }
        ).write_csv(paths[-1])
    return paths


def make(tmp_path, method="genetic", given=None, **options):
    plan = EnsembleSettings(method, genetic=QUICK, **options)
    return fit_ensemble(given or tables(tmp_path), out=tmp_path / "e", **vars(plan), resamples=100)


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    """A genetic ensemble; tests that share it only read."""
    folder = tmp_path_factory.mktemp("made")
    return folder, make(folder)


def test_the_folder_holds_weights_predictions_rivals_and_a_page(made_once):
    tmp_path, made = made_once
    about = json.loads((tmp_path / "e" / "ensemble.json").read_text())
    assert about["format"] == "blastscope-ensemble/1"
    assert [member["path"] for member in about["members"]] == [
        "../m0.csv",
        "../m1.csv",
        "../m2.csv",
    ]
    assert [member["checkpoint"] for member in about["members"]] == [None] * 3
    assert about["fitted"]["part"] == "validation"
    assert about["fitted"]["cells"] == 60
    assert about["fitted"]["genetic"]["population"] == 10
    weights = np.array(about["combination"]["weights"])
    frame, metadata = read_predictions(tmp_path / "e" / "predictions.parquet")
    p = align_predictions(tables(tmp_path)).p_all
    np.testing.assert_allclose(frame["p_all"].to_numpy(), p @ weights, atol=1e-12)
    assert set(frame["part"]) == set(PARTS)
    assert metadata["ensemble"] == sha256_of(tmp_path / "e" / "ensemble.json")
    assert metadata["fitted_on"] == ["validation"]
    rivals = json.loads((tmp_path / "e" / "rivals.json").read_text())
    assert rivals["methods"]["genetic"]["weights"] == about["combination"]["weights"]
    assert rivals["methods"]["grid"]["steps"] == 100
    rivals, about = read_predictions(tmp_path / "e" / "rivals.parquet")
    assert about["fitted_on"] == ["validation"]
    assert set(rivals["part"]) == {"test"}
    assert rivals["model"].n_unique() == 3 + 7
    page = made.report.read_text()
    assert "<script" not in page
    assert "http" not in page.split("</style>")[1].replace("https://doi.org", "")
    for words in ("ensemble: genetic search", "grid search", "Errors on test cells", "../m1.csv"):
        assert words in page
    assert "not a medical device" in page


def test_the_metrics_of_the_page_are_those_of_scikit_learn(made_once):
    tmp_path, made = made_once
    frame, _ = read_predictions(tmp_path / "e" / "predictions.parquet")
    test = frame.filter(pl.col("part") == "test")
    ours = made.comparison.estimates[made.built.model]["weighted_f1"].value
    theirs = f1_score(test["label"] == "all", test["p_all"] > 0.5, average="weighted")
    assert ours == pytest.approx(theirs, abs=1e-12)
    assert f"{theirs:.4f}" in made.report.read_text()


def test_other_verbs_read_the_folder_and_warn_of_the_fitted_part(made_once):
    tmp_path, _ = made_once
    report = (tmp_path / "e" / "report.html").read_bytes()
    judged = evaluate(tmp_path / "e")
    assert judged.overlap.kind == "shared"  # the same subjects in all parts of this table
    assert evaluate(tmp_path / "e", "validation").overlap.fitted
    assert (tmp_path / "e" / "report.html").read_bytes() == report
    again = align_predictions([tmp_path / "e", *tables(tmp_path)])
    assert again.models == ("ensemble of 3: genetic search", "m0", "m1", "m2")
    assert len(align_predictions([tmp_path / "e" / "rivals.parquet"]).models) == 10


def test_the_same_again_is_the_same_and_another_is_refused(tmp_path):
    make(tmp_path)
    before = {p.name: p.read_bytes() for p in (tmp_path / "e").iterdir() if p.is_file()}
    make(tmp_path)
    assert {p.name: p.read_bytes() for p in (tmp_path / "e").iterdir() if p.is_file()} == before
    with pytest.raises(BlastscopeError, match="holds another ensemble"):
        make(tmp_path, "mean")
    assert (tmp_path / "e" / "ensemble.json").read_bytes() == before["ensemble.json"]
    fit_ensemble(tables(tmp_path), out=tmp_path / "e", method="mean", resamples=100, force=True)
    assert b'"mean"' in (tmp_path / "e" / "ensemble.json").read_bytes()


def test_the_folder_of_a_run_is_left_alone(tmp_path):
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "checkpoint.safetensors").write_bytes(b"mine")
    with pytest.raises(BlastscopeError, match="is a run or a store"):
        make(tmp_path)
    assert [path.name for path in (tmp_path / "e").iterdir()] == ["checkpoint.safetensors"]


def test_nested_says_in_what_way(tmp_path):
    made = make(tmp_path, "auc", fit="test", nested=True)
    page = made.report.read_text()
    assert "Cross-fitted by subject" in page
    frame, metadata = read_predictions(tmp_path / "e" / "predictions.parquet")
    _, rivals = read_predictions(tmp_path / "e" / "rivals.parquet")
    for told in (metadata, rivals):
        assert (told["fitted_on"], told["cross_fitted"]) == ([], "test")
    assert set(frame["part"]) == {"test"}
    about = json.loads((tmp_path / "e" / "ensemble.json").read_text())["fitted"]
    assert (about["by"], about["seed"]) == ("subject", 24)


def test_weights_as_published_are_marked_by_their_sum(tmp_path):
    slips = GeneticSettings(population=20, generations=20, runs=3, mutation=1.0, as_published=True)
    plan = EnsembleSettings("genetic", genetic=slips)
    made = fit_ensemble(tables(tmp_path), out=tmp_path / "e", **vars(plan), resamples=100)
    total = sum(made.built.chosen.combination.weights)
    assert abs(total - 1) > 1e-3
    assert f"sum to {total:.5f}" in made.report.read_text()


def test_synthetic_members_make_a_synthetic_ensemble(tmp_path):
    made = make(tmp_path, "mean", tables(tmp_path, mark=" (synthetic)"))
    assert made.built.name == "ensemble of 3: mean (synthetic)"
    assert 'class="synthetic"' in made.report.read_text()
    _, metadata = read_predictions(tmp_path / "e" / "predictions.parquet")
    assert metadata["synthetic"] is True


def test_what_is_there_is_never_replaced_unasked(tmp_path):
    given = tables(tmp_path)
    (tmp_path / "e").mkdir()
    own = tmp_path / "e" / "predictions.parquet"
    read, _ = read_predictions(given[0])
    read.write_parquet(own)
    before = own.read_bytes()
    with pytest.raises(BlastscopeError, match="a member's predictions, would be replaced"):
        make(tmp_path, "mean", [own, *given[1:]])
    with pytest.raises(BlastscopeError, match=r"predictions\.parquet is there already"):
        make(tmp_path, "mean", given)
    assert [path.name for path in (tmp_path / "e").iterdir()] == ["predictions.parquet"]
    assert own.read_bytes() == before


def test_test_cells_alone_are_enough_for_a_mean(tmp_path):
    given = tables(tmp_path)
    for path in given:
        pl.read_csv(path).filter(pl.col("part") == "test").write_csv(path)
    made = make(tmp_path, "mean", given)
    assert "Nothing was fitted" in made.report.read_text()


def test_what_is_interrupted_is_no_ensemble(tmp_path, monkeypatch):
    def stop(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("blastscope.api.fit_ensemble.ensemble_page", stop)
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path, "auc")
    with pytest.raises(BlastscopeError, match=r"no predictions\.parquet"):
        align_predictions([tmp_path / "e"])
    assert make(tmp_path, "auc").report.exists()  # the same command goes on


def test_a_refusal_leaves_nothing_behind(tmp_path):
    with pytest.raises(BlastscopeError):
        fit_ensemble(
            tables(tmp_path),
            out=tmp_path / "e",
            method="mean",
            resamples=100,
            store=tmp_path / "none",
        )
    with pytest.raises(BlastscopeError, match="resamples"):
        fit_ensemble(tables(tmp_path), out=tmp_path / "e", method="mean", resamples=1)
    assert not (tmp_path / "e").exists()


def test_replacing_leaves_nothing_of_the_one_before(tmp_path):
    make(tmp_path, "auc")
    evaluate(tmp_path / "e")
    assert (tmp_path / "e" / "figures" / "search.svg").exists()
    mine = tmp_path / "e" / "notes.txt"
    mine.write_text("mine")
    plan = EnsembleSettings("mean", fit="test")
    fit_ensemble(tables(tmp_path), out=tmp_path / "e", **vars(plan), resamples=100, force=True)
    assert not (tmp_path / "e" / "figures" / "search.svg").exists()
    assert not (tmp_path / "e" / "evaluation").exists()
    assert mine.read_text() == "mine"


def test_cells_without_labels_get_predictions_and_no_page(tmp_path):
    given = tables(tmp_path)
    for path in given:
        frame = pl.read_csv(path)
        label = pl.when(pl.col("part") != "test").then("label")
        frame.with_columns(label=label).write_csv(path)
    made = make(tmp_path, "auc", given)
    assert made.comparison is None
    assert made.report is None
    frame, _ = read_predictions(tmp_path / "e" / "predictions.parquet")
    assert frame.filter(pl.col("part") == "test").height == 60


def test_a_folder_under_a_link_knows_its_members(tmp_path):
    given = tables(tmp_path)
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "away")
    fit_ensemble(given, out=tmp_path / "link" / "e", method="mean", fit="test", resamples=100)
    about = json.loads((tmp_path / "link" / "e" / "ensemble.json").read_text())
    for member, path in zip(about["members"], given, strict=True):
        assert (tmp_path / "link" / "e" / member["path"]).resolve() == path.resolve()


def test_the_parts_that_chose_weights_follow_an_ensemble(tmp_path):
    """An ensemble of an ensemble, and a comparison with one, know what the inner weights saw."""
    given = tables(tmp_path)
    inner = EnsembleSettings("auc", fit="test", apply="validation")
    fit_ensemble(given[:2], out=tmp_path / "inner", **vars(inner), resamples=100)
    with pytest.raises(BlastscopeError, match="weights fitted on the test cells"):
        make(tmp_path, "auc", [tmp_path / "inner", given[2]])
    outer = EnsembleSettings("mean", apply="validation")
    fit_ensemble(
        [tmp_path / "inner", given[2]], out=tmp_path / "outer", **vars(outer), resamples=100
    )
    assert read_predictions(tmp_path / "outer" / "predictions.parquet")[1]["fitted_on"] == ["test"]
    compared = hold_against(align_predictions([tmp_path / "outer", *given]), "test", 100)
    assert compared.overlap.kind == "training"
    assert compared.overlap.fitted == ("ensemble of 2: mean",)


def test_as_it_is_typed(tmp_path):
    given = [f"A={path}" if k == 0 else str(path) for k, path in enumerate(tables(tmp_path))]
    settings = {"population": 10, "generations": 5, "tournament": 4, "crossover": 0.3, "runs": 2}
    settings |= {"crossover_genes": 3, "mutation": 0.1, "seed": 7}
    options = ["--method", "genetic", "--as-published"]
    for name, value in settings.items():
        options += [f"--{name.replace('_', '-')}", str(value)]
    command = ["ensemble", *given, "--out", str(tmp_path / "o"), *options]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "ensemble: genetic search" in done.output
    assert "resamples of the subjects" in done.output
    made = json.loads((tmp_path / "o" / "ensemble.json").read_text())
    assert made["members"][0]["model"] == "A"
    assert made["fitted"]["genetic"] == {**settings, "as_published": True}
    refused = CliRunner().invoke(app, [*command, "--fit", "test"])
    assert isinstance(refused.exception, BlastscopeError)


def test_an_evaluation_goes_if_a_members_table_says_something_else_by_now(tmp_path):
    given = tables(tmp_path, models=2)
    make(tmp_path, "mean", given)
    (tmp_path / "e" / "evaluation").mkdir()
    make(tmp_path, "mean", given)
    assert (tmp_path / "e" / "evaluation").exists()
    rows = pl.read_csv(given[0])
    rows.with_columns(pl.col("p_all") * 0.5).write_csv(given[0])
    make(tmp_path, "mean", given)
    assert not (tmp_path / "e" / "evaluation").exists()


def test_folds_that_were_cut_in_several_ways_keep_what_they_know(tmp_path):
    given = tables(tmp_path, models=3)
    for path, by in zip(given, ("subject", "matched", None), strict=True):
        fold = pl.col("cell").str.slice(1).cast(pl.Int64) % (2 if by == "subject" else 3) + 1
        rows = pl.read_csv(path).with_columns(part=pl.lit("test"), fold=fold, repeat=pl.lit(1))
        about = {} if by is None else {"out_of_fold": by}
        write_predictions(rows, path.with_suffix(".parquet"), about)
    given = [path.with_suffix(".parquet") for path in given]
    with pytest.raises(
        BlastscopeError, match=r"m0\.parquet is of a cross-validation .*m2\.parquet"
    ):
        make(tmp_path, "mean", given)
    make(tmp_path, "mean", given[:2])
    frame, about = read_predictions(tmp_path / "e" / "predictions.parquet")
    assert about["out_of_fold"] == "matched"  # its subjects were known to some of the networks
    assert frame["fold"].n_unique() == 6  # 2 times 3
    assert evaluate(tmp_path / "e").overlap.kind == "shared"


def test_an_ensemble_of_cross_validations_says_how_their_folds_were_cut(tmp_path):
    folds = []
    for path in tables(tmp_path, models=2):
        fold = pl.col("cell").str.slice(1).cast(pl.Int64) % 3 + 1
        rows = pl.read_csv(path).with_columns(part=pl.lit("test"), fold=fold, repeat=pl.lit(1))
        folds.append(path.with_suffix(".parquet"))
        write_predictions(rows, folds[-1], {"out_of_fold": "subject", "protocol": "subject"})
    make(tmp_path, "mean", folds)
    frame, metadata = read_predictions(tmp_path / "e" / "predictions.parquet")
    assert metadata["out_of_fold"] == "subject"
    numbers = frame.select("fold", wanted=frame["cell"].str.slice(1).cast(pl.Int64) % 3).unique()
    assert numbers.height == numbers["fold"].n_unique() == 3
    rivals, about = read_predictions(tmp_path / "e" / "rivals.parquet")
    same = ("out_of_fold", "protocol", "synthetic")
    assert {key: about[key] for key in same} == {key: metadata[key] for key in same}
    assert about["fitted_on"] == []
    again, given = align_predictions([tmp_path / "e" / "rivals.parquet"]), align_predictions(folds)
    assert again.pooled == again.models
    assert given.fold is not None
    for number, name in enumerate(given.models):
        own = dict(zip(given.cells["cell"], given.fold[:, number].tolist(), strict=True))
        rows = rivals.filter(pl.col("model") == name)
        assert dict(zip(rows["cell"], rows["fold"], strict=True)) == own
