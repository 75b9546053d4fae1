"""A study from the command line: plan, runs, report; and what its folder says later."""

from __future__ import annotations

import json
from statistics import fmean, stdev

import pytest

from blastscope.io.files import read_json
from blastscope.recipes.library import load_recipe
from blastscope.reproduction.outcomes import is_done, outcomes
from blastscope.reproduction.plan import make_plan
from tests.cli.test_cli import blastscope

SMALL = ["--set", "input.size=60", "--set", "training.epochs=1", "--protocol", "image"]


@pytest.fixture
def run(monkeypatch, capsys):
    return lambda *arguments: blastscope(monkeypatch, capsys, *arguments)


@pytest.fixture
def command(dataset, tmp_path):
    data = dataset(per_subject=3, side=80)
    return ["reproduce", "--data", data, "--out", tmp_path / "study", "--only", "cnn-exp[45]"]


def test_a_study_is_planned_run_and_reported(run, command, tmp_path):
    out = tmp_path / "study"
    status, told, noted = run(*command, *SMALL, "--plan")
    assert status == 0, noted
    assert "2 of 2 experiments to do on 24 cells" in told
    assert not out.exists()

    status, told, noted = run(*command, *SMALL)
    assert status == 0, noted
    assert "[2 of 2] paper/cnn-exp5, image, seed 24: test weighted F1" in noted
    page = (out / "report.html").read_text()
    assert "not a medical device" in page
    assert "input.size" in page
    assert "not run" in (out / "results.md").read_text()

    status, told, _ = run(*command, *SMALL)
    assert status == 0
    assert "0 of 2 experiments to do" in told

    # A second seed is another split and training: mean and deviation stand in page and output.
    other = [*command[:-1], "cnn-exp4"]
    status, told, noted = run(*other, *SMALL, "--seeds", "2")
    assert status == 0, noted
    runs = [out / f"runs/image-seed{seed}/paper/cnn-exp4/metrics.json" for seed in (24, 25)]
    scores = [read_json(path)["parts"]["test"]["weighted_f1"] for path in runs]
    spread = f"{fmean(scores):.4f} ± {stdev(scores):.4f} (n = 2)"
    assert f"image-level split, mean over seeds: weighted F1 {spread}, AUC" in told
    assert spread in (out / "results.md").read_text()

    # Another setting is another study's run: it is refused, not overwritten and not shown as it.
    status, _, noted = run(*command, *SMALL[:2], "--set", "training.epochs=2", *SMALL[4:])
    assert status == 2
    assert "choose another folder" in noted


def test_runs_are_shown_with_the_settings_that_they_were_made_with(run, command, tmp_path):
    out = tmp_path / "study"
    assert run(*command, *SMALL)[0] == 0
    found = outcomes(out, make_plan("cnn-exp1", ["subject"]))
    made = {o.recipe.name: o for o in found if o.run}
    assert set(made) == {"paper/cnn-exp4", "paper/cnn-exp5"}
    assert made["paper/cnn-exp4"].recipe.overrides == ("input.size=60", "training.epochs=1")
    # Published figures are the package's, whatever the run's own copy says.
    recipe = out / "runs/image-seed24/paper/cnn-exp4/recipe.yaml"
    recipe.write_text(recipe.read_text().replace("weighted_f1: 0.8444", "weighted_f1: 0.9999"))
    again = outcomes(out, make_plan("cnn-exp1", ["subject"]))
    shown = next(o for o in again if o.run and o.recipe.name == "paper/cnn-exp4")
    assert shown.recipe.expected == load_recipe("paper/cnn-exp4").expected
    reasons = {(o.recipe.name, o.protocol): o.reason for o in again if not o.run}
    assert reasons["paper/cnn-exp1", "subject"] == "not yet"
    assert reasons["paper/cnn-exp1", "image"] == "not asked for"
    # A run of an older recipe is no result of today's.
    recipe.write_text(recipe.read_text().replace("rate: 0.001", "rate: 0.002"))
    reasons = {
        (o.recipe.name, o.protocol): o.reason
        for o in outcomes(out, make_plan("cnn-exp1", ["subject"]))
        if not o.run
    }
    assert reasons["paper/cnn-exp4", "image"] == "trained with another version of the recipe"


def test_a_damaged_run_takes_only_itself(run, command, tmp_path):
    runs = tmp_path / "study/runs/image-seed24/paper"
    assert run(*command, *SMALL)[0] == 0

    settings = ["input.size=60", "training.epochs=1"]
    plan = make_plan("cnn-exp[45]", ["image"], overrides=settings)

    def spoilt(file, content, to_do=True):
        """Spoil a file of one run; say what the study then has, and why it lacks the other."""
        path = runs / "cnn-exp4" / file
        own = path.read_bytes()
        path.write_bytes(content)
        found = outcomes(tmp_path / "study", plan)
        done = [is_done(job, tmp_path / "study") for job in plan.jobs]
        path.write_bytes(own)
        assert done == [not to_do, True]
        assert [o.recipe.name for o in found if o.run] == ["paper/cnn-exp5"]
        (reason,) = [
            o.reason for o in found if (o.recipe.name, o.protocol) == ("paper/cnn-exp4", "image")
        ]
        return reason

    assert spoilt("recipe.yaml", b"title: [") == "its recipe.yaml cannot be read"
    assert (
        spoilt("recipe.yaml", b"title: old\nlearning_rate: 1") == "its recipe.yaml cannot be read"
    )
    assert "environment.json is not valid JSON" in spoilt("environment.json", b"{")
    assert "metrics.json is not valid JSON" in spoilt("metrics.json", b"\xff")
    checkpoint = read_json(runs / "cnn-exp4/environment.json")["checkpoint"]
    odd = json.dumps({"checkpoint": checkpoint, "identity": None}).encode()
    assert "environment.json" in spoilt("environment.json", odd)
    older = json.dumps({"checkpoint": checkpoint, "format": "blastscope-metrics/0"}).encode()
    assert "metrics.json was written by an older blastscope" in spoilt("metrics.json", older)
    lacking = json.dumps({"checkpoint": checkpoint, "format": "blastscope-metrics/2"}).encode()
    assert "cannot be read (KeyError)" in spoilt("metrics.json", lacking, to_do=False)
    assert "history.csv" in spoilt("history.csv", b"epoch\n1\n", to_do=False)
    assert "predictions.parquet" in spoilt("predictions.parquet", b"", to_do=False)

    # What is done again fails in a sentence, and the page is there all the same.
    (runs / "cnn-exp4/recipe.yaml").write_text("title: [")
    (tmp_path / "study/report.html").unlink()
    status, _, noted = run(*command, *SMALL)
    assert status == 2
    assert "1 experiments failed" in noted
    assert "its recipe.yaml cannot be read" in (tmp_path / "study/report.html").read_text()


def test_settings_that_fit_only_what_was_asked_for_end_in_a_report(run, dataset, tmp_path):
    """Other recipes ask for weights, which this backbone has not: they are shown as packaged."""
    asked = ["--data", dataset(per_subject=3, side=80), "--out", tmp_path / "study"]
    small = [*SMALL, "--set", "model.backbone=cnn4-small"]
    status, _, noted = run("reproduce", *asked, "--only", "cnn-exp4", *small)
    assert status == 0, noted
    assert (tmp_path / "study/report.html").is_file()
    plan = make_plan("cnn-exp4", ["image"], overrides=["model.backbone=cnn4-small"])
    shown = outcomes(tmp_path / "study", plan, ["model.backbone=cnn4-small"])
    recipes = {(o.recipe.name, o.protocol): o.recipe for o in shown}
    assert recipes["paper/cnn-exp4", "image"].model.backbone == "cnn4-small"
    assert recipes["paper/cnn-exp4", "subject"] == load_recipe("paper/cnn-exp4")
    assert recipes["paper/vgg16-e1", "image"].model.backbone.startswith("vgg16")


def test_an_interrupted_study_reports_what_failed(run, command, tmp_path, monkeypatch):
    def job(job, watch=None, *, location, evaluate):
        if job.recipe.name == "paper/cnn-exp5":
            raise KeyboardInterrupt
        raise RuntimeError("CUDA out of memory.\nTried to allocate 2 GiB")

    monkeypatch.setattr("blastscope.reproduction.runner.run_job", job)
    status, _, noted = run(*command, *SMALL)
    assert status == 130
    assert "of what is done so far" in noted
    assert "CUDA out of memory" in (tmp_path / "study/report.html").read_text()


def test_a_folder_of_ones_own_is_left_alone(run, command, tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study/results.md").write_text("my own")
    for plan in ([], ["--plan"]):
        status, told, noted = run(*command, *SMALL, *plan)
        assert status == 2
        assert not told
        assert "is not a reproduction study and holds results.md: choose another folder" in noted
    assert [path.name for path in (tmp_path / "study").iterdir()] == ["results.md"]
    assert (tmp_path / "study/results.md").read_text() == "my own"


def test_a_study_of_nothing_is_one_sentence(run, command, tmp_path):
    empty = tmp_path / "weights"
    empty.mkdir()
    asked = [*command[:-1], "vgg16-e1", "--weights-dir", empty]
    status, _, noted = run(*asked, *SMALL)
    assert status == 2
    assert "Nothing can be run: no weights here." in noted
    assert not (tmp_path / "study").exists()
