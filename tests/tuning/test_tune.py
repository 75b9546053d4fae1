"""Whole searches on drawn cells: their counts, resuming, refusals, the winner and the judgement."""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import replace

import optuna
import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

import blastscope as bs
from blastscope.cli import app
from blastscope.data.splits import make_split
from blastscope.data.store import open_store
from blastscope.errors import BlastscopeError
from blastscope.io.predictions import read_predictions
from blastscope.recipes.library import load_recipe
from blastscope.training.train import train
from blastscope.tuning import study as studies
from blastscope.tuning import trial as trials
from blastscope.tuning.objective import ScoredPart, with_sizes
from blastscope.tuning.outcome import read_outcome
from blastscope.tuning.search_folder import SearchRequest, begin_search
from blastscope.tuning.space import parse_space
from blastscope.tuning.trial import TrialScore

SPACE = {
    "training.rate": {"type": "float", "low": 1e-3, "high": 3e-2, "log": True},
    "training.batch": {"type": "categorical", "choices": [4, 8, 16]},
    "model.head": {
        "type": "categorical",
        "choices": [["gap", {"dropout": 0.3}], ["gap", {"dense": 4, "activation": "relu"}]],
    },
}


@pytest.fixture
def search(material, tmp_path):
    """Search with one epoch a trial, the objective AUC, and no pruning."""

    def call(out="search", trials=3, space=SPACE, split=None, epochs=1, **more):
        return bs.tune(
            material.recipe, material.store, split or material.split, space,
            out=tmp_path / out, trials=trials, settings={"training.epochs": epochs},
            **{"objective": "auc", "prune": "none", "device": "cpu", **more},
        )  # fmt: skip

    return call


def with_batch_8(recipe):
    training = recipe.training.model_copy(update={"batch": 8})
    return recipe.model_copy(update={"training": training})


def drawn(result):
    return [(one.settings, one.score) for one in result.found.trials]


def test_a_search_counts_its_looks_and_writes_a_recipe_that_scores_what_it_says(
    search, material, tmp_path, monkeypatch
):
    monkeypatch.setattr("blastscope.api.tune.evaluate_run", lambda run, store: None)
    found = search(judge=True)
    outcome = found.found
    assert (outcome.looks, outcome.count("finished")) == (3, 3)
    assert outcome.best.score == max(one.score for one in outcome.trials)
    winner = load_recipe(str(found.winner))
    assert winner.training.rate == outcome.best.settings["training.rate"]
    written = yaml.safe_load(found.winner.read_text())
    assert set(written) == {"title", "extends", "training", "model"}
    assert "3 looks" in found.winner.read_text().splitlines()[0]
    # The winner trained by hand, on the whole split, has the validation score of its trial.
    run = train(winner, material.store, material.split, tmp_path / "own", device="cpu").path
    rows, _ = read_predictions(run / "predictions.parquet")
    cells = with_sizes(open_store(material.store).cells)
    for part, score in (
        ("validation", outcome.best.score),
        ("test", outcome.judged.winner.value),
    ):
        some = rows.filter(rows["part"] == part)
        scored = ScoredPart(
            some.select("cell").join(cells, on="cell", maintain_order="left"), "auc"
        )
        assert scored.score(some["p_all"].to_numpy()) == pytest.approx(score, abs=1e-6)
    assert outcome.cost == pytest.approx(outcome.best.score - outcome.judged.winner.value)
    page = (tmp_path / "search" / "report.html").read_text()
    assert "3 trials (3 finished, 0 pruned, 0 failed) and the hand-made recipe" in page
    assert not list((tmp_path / "search" / "trials").iterdir())
    content = json.loads((tmp_path / "search" / "outcome.json").read_text())
    assert content["looks"] == {"total": 3, "finished": 3, "pruned": 0, "failed": 0}
    # Judged once: the same call says the same, a longer search is refused.
    assert search(judge=True).found.judged == outcome.judged
    with pytest.raises(BlastscopeError, match="was judged"):
        search(trials=4)


def test_trials_never_see_the_test_part(search, material, monkeypatch):
    seen = []
    real = trials.train

    def noted(recipe, store, split, run, **more):
        done = real(recipe, store, split, run, **more)
        seen.append(set(read_predictions(done.path / "predictions.parquet")[0]["part"]))
        return done

    monkeypatch.setattr(trials, "train", noted)
    search(trials=1)
    assert seen == [{"train", "validation"}] * 2


def test_a_search_that_was_killed_is_the_one_that_was_not(search, monkeypatch, tmp_path):
    monkeypatch.setattr(studies, "_STARTUP_TRIALS", 2)  # then TPE goes by the first two
    whole = search("whole", trials=4, epochs=2)
    real, calls = trials.train, []

    def killed(*args, **more):
        calls.append(args)
        if len(calls) == 4:  # after an epoch, as a killed process leaves it
            watch = more["watch"]

            def on_validation(epoch, p_all):
                watch.on_validation(epoch, p_all)
                if epoch == 2:
                    raise KeyboardInterrupt

            more["watch"] = replace(watch, on_validation=on_validation)
        return real(*args, **more)

    monkeypatch.setattr(trials, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        search("killed", trials=4, epochs=2)
    assert any((tmp_path / "killed" / "trials").rglob("resume.ckpt"))
    monkeypatch.setattr(trials, "train", real)
    resumed = search("killed", trials=4, epochs=2)
    assert drawn(resumed) == drawn(whole)
    assert resumed.found.hand_made == whole.found.hand_made
    assert resumed.found.looks == 4


def test_failures_are_looks_with_a_reason_and_all_failed_is_an_error(search, monkeypatch):
    def failing(search, recipe, folder, report=None, watch=None):
        if report is not None and recipe.training.batch == 8:
            raise RuntimeError("out of memory\nand more")
        return TrialScore(0.5, 1, 0.1)

    monkeypatch.setattr(studies, "run_trial", failing)
    batches = {"training.batch": {"type": "categorical", "choices": [8, 16]}}
    found = search("some", trials=6, space=batches).found
    failed = [one for one in found.trials if one.state == "failed"]
    assert {one.settings["training.batch"] for one in failed} == {8}
    assert {one.reason for one in failed} == {"RuntimeError: out of memory"}
    assert 0 < len(failed) < 6 == found.looks
    never = {"training.epochs": {"type": "categorical", "choices": [1, 2]}}
    monkeypatch.setattr(studies, "with_settings", lambda recipe, _: with_batch_8(recipe))
    with pytest.raises(BlastscopeError, match="None of 2 trials"):
        search("none", trials=2, space=never)


def test_a_trial_that_others_are_ahead_of_is_pruned(search, monkeypatch):
    monkeypatch.setattr(optuna.trial.Trial, "should_prune", lambda trial: trial.number == 1)
    found = search(trials=3, prune="median", epochs=3).found
    assert [one.state for one in found.trials] == ["finished", "pruned", "finished"]
    assert (found.trials[1].steps, found.trials[0].steps) == (1, 3)
    assert found.trials[1].last is not None
    assert found.looks == 3


@pytest.mark.parametrize("prune", ["median", "hyperband", "none"])
def test_trials_that_fall_behind_are_pruned_unless_none_may_be(search, monkeypatch, prune):
    """Trials that are worse from epoch to epoch: the later the trial, the lower its scores."""

    def trained(search, recipe, folder, report=None, watch=None):
        number = 0 if report is None else int(folder.name)
        for epoch in range(1, 10):
            if report is not None and report(epoch, 1 - number / 100):
                return TrialScore(None, epoch, 0.1)
        return TrialScore(1 - number / 100, 9, 0.1)

    monkeypatch.setattr(studies, "run_trial", trained)
    found = search(trials=9, prune=prune, epochs=9).found
    assert found.count("finished") + found.count("pruned") == 9
    assert (found.count("pruned") > 0) == (prune != "none")
    assert found.best.number == 1


def test_folds_score_every_subject_that_is_not_for_testing(search, material):
    found = search(trials=1, folds=2, prune="median")
    split = pl.read_parquet(material.split)
    assert found.found.scored_cells == split.filter(split["part"] != "test").height
    assert found.found.trials[0].steps == 2


def test_fewer_folds_than_were_asked_for_are_told(search, material, tmp_path, monkeypatch):
    def scored(search, recipe, folder, report=None, watch=None):
        return TrialScore(0.5, len(search.splits), 0.1)

    monkeypatch.setattr(studies, "run_trial", scored)
    found = search(trials=1, folds=99)
    cells = pl.read_parquet(material.split).filter(pl.col("part") != "test").select("cell")
    known = open_store(material.store).cells.join(cells, on="cell", how="semi")
    counts = dict(known.group_by("label").agg(pl.col("subject").n_unique()).iter_rows())
    fewest = min(counts.values())
    content = json.loads((tmp_path / "search" / "outcome.json").read_text())
    assert content["folds"] == content["cut"]["folds"] == found.found.folds == fewest
    assert content["cut"]["asked"] == 99
    assert counts[content["cut"]["scarce"]] == fewest
    page = (tmp_path / "search" / "report.html").read_text()
    for told in (page, " ".join(found.notes())):
        assert "99 folds asked for" in told


def test_folds_of_a_disjoint_split_share_no_subject_whatever_is_allowed(material, tmp_path):
    request = SearchRequest(
        load_recipe(str(material.recipe)), parse_space(SPACE), 1, material.store, material.split,
        tmp_path / "search", "auc", folds=2, image_level=True,
    )  # fmt: skip
    search = begin_search(request)
    assert (search.leaks, search.cut.by) == (False, "subject")
    subjects = dict(search.store.cells.select("cell", "subject").iter_rows())
    for path in search.splits:
        parts = {}
        for cell, part in pl.read_parquet(path).select("cell", "part").iter_rows():
            parts.setdefault(part == "test", set()).add(subjects[cell])
        assert parts[True]
        assert not parts[True] & parts[False]
    assert begin_search(replace(request, image_level=False)).splits == search.splits
    shared = make_split(material.store, "image", 3)[0]
    leaking = begin_search(replace(request, split=shared, out=tmp_path / "image"))
    assert (leaking.leaks, leaking.cut.by) == (True, "image")
    # As an earlier version cut them: trials of both kinds of folds may not meet in one study.
    leaking.splits[0].replace(search.splits[0])
    with pytest.raises(BlastscopeError, match="scored on other cells"):
        begin_search(request)


def test_verify_finds_a_search_whose_winner_or_outcome_was_changed(search, tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "run_trial", lambda *_, **__: TrialScore(0.5, 1, 0.1))
    search(trials=2)
    out = tmp_path / "search"
    assert not bs.verify(out).failed
    for name, old, new in (
        ("winner.yaml", "0.5000", "0.9000"),
        ("outcome.json", '"looks"', '"looked"'),
        ("hand-made.yaml", "A tiny network", "Another network"),
    ):
        path = out / name
        whole = path.read_text()
        assert old in whole
        path.write_text(whole.replace(old, new, 1))
        changed = {one.name for one in bs.verify(out).found.items if one.fails}
        assert changed == {name}
        path.write_text(whole)
    search(trials=3)
    assert not bs.verify(out).failed


def test_what_does_not_fit_is_refused_before_anything_is_written(search, material, tmp_path):
    by_image = make_split(material.store, "image", 3)[0]
    with pytest.raises(BlastscopeError, match="--image-level"):
        search("image", split=by_image)
    sizes = {"input.size": {"type": "categorical", "choices": [32, 64]}}
    with pytest.raises(BlastscopeError, match="prepare a store"):
        search("sizes", space=sizes)
    assert not (tmp_path / "image").exists()
    assert not (tmp_path / "sizes").exists()
    assert search("image", trials=1, split=by_image, image_level=True).found.leaks
    search(trials=1)
    for change in ({"seed": 5}, {"objective": "weighted-f1"}, {"epochs": 2}, {"folds": 2}):
        with pytest.raises(BlastscopeError, match="differs in"):
            search(trials=1, **change)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "environment.json").write_text("{}")
    with pytest.raises(BlastscopeError, match="holds a run"):
        search("run")
    (tmp_path / "text.db").write_text("not a database, and longer than the header of one" * 9)
    for url, told in (
        ("sqlite:////nowhere/at/all.db", "check the disk or --storage"),
        (f"sqlite:///{tmp_path / 'text.db'}", "check the disk or --storage"),
        ("postgresql:/u:secret@host/db", "not the URL of a database"),
        ("redis://host", "check the disk or --storage"),
        ("", "not the URL of a database"),
    ):
        with pytest.raises(BlastscopeError, match=told) as caught:
            search("db", trials=1, storage=url)
        assert "secret" not in str(caught.value)
        assert not (tmp_path / "db").exists()


def test_workers_share_the_trials_of_a_study(material, tmp_path, monkeypatch):
    """Threads stand for processes: the locks on files keep them apart as well."""
    done = []

    def trained(search, recipe, folder, report=None, watch=None):
        time.sleep(0.05)
        done.append((threading.current_thread(), folder.name))
        return TrialScore(recipe.training.rate, 1, 0.05)

    monkeypatch.setattr(studies, "run_trial", trained)
    request = SearchRequest(
        load_recipe(str(material.recipe)), parse_space(SPACE), 8, material.store, material.split,
        tmp_path / "shared", "auc",
    )  # fmt: skip
    search = begin_search(request)

    def work():
        with studies.open_study(search) as study:
            studies.run_search(search, study)

    workers = [threading.Thread(target=work) for _ in range(3)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    assert len({who for who, _ in done}) > 1
    assert sorted(name for _, name in done) == [f"{k:05d}" for k in range(1, 9)] + ["hand-made"]
    with studies.open_study(search) as study:
        assert [one.state for one in read_outcome(search, study).trials] == ["finished"] * 8


def test_without_optuna_one_sentence_names_the_extra(search, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(BlastscopeError, match=r"blastscope\[tune\]"):
        search()
    assert not (tmp_path / "search").exists()


def test_the_command_line_prints_the_looks(material, tmp_path):
    space = tmp_path / "space.yaml"
    space.write_text("training.batch: {type: categorical, choices: [4, 8]}\n")
    words = [
        "tune", material.recipe, "--space", space, "--store", material.store, "--split",
        material.split, "--out", tmp_path / "out", "--trials", 1, "--objective", "auc",
        "--set", "training.epochs=1", "--device", "cpu",
    ]  # fmt: skip
    told = CliRunner().invoke(app, [str(word) for word in words])
    assert told.exit_code == 0, told.output
    assert "1 trial (1 finished, 0 pruned, 0 failed)" in told.output
