"""A study from the command line: plan, runs, report; and what its folder says later."""

from __future__ import annotations

import pytest

from blastscope.recipes.library import load_recipe
from blastscope.reproduce.outcomes import outcomes
from blastscope.reproduce.plan import make_plan
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
    assert "[2 of 2] paper/cnn-exp5, image, seed 24: test weighted F1" in told
    page = (out / "report.html").read_text()
    assert "not a medical device" in page
    assert "input.size" in page
    assert "not run" in (out / "results.md").read_text()

    status, told, _ = run(*command, *SMALL)
    assert status == 0
    assert "0 of 2 experiments to do" in told

    # Another setting is another study's run: it is refused, not overwritten and not shown as it.
    status, told, _ = run(*command, *SMALL[:2], "--set", "training.epochs=2", *SMALL[4:])
    assert status == 2
    assert "choose another folder" in told


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
    assert reasons["paper/cnn-exp4", "image"] == "made by another version of the recipe"


def test_a_study_of_nothing_is_one_sentence(run, command, tmp_path):
    empty = tmp_path / "weights"
    empty.mkdir()
    asked = [*command[:-1], "vgg16-e1", "--weights-dir", empty]
    status, _, noted = run(*asked, *SMALL)
    assert status == 2
    assert "Nothing can be run: no weights here." in noted
    assert not (tmp_path / "study").exists()
