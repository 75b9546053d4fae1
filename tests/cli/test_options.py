"""Options that are given twice, or that have no effect beside the others."""

import pytest
from typer.testing import CliRunner

from blastscope.cli import app
from blastscope.errors import BlastscopeError


def run(*words):
    return CliRunner().invoke(app, list(map(str, words)))


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "p.csv", "--part", "test", "--part", "train"),
        ("evaluate", "p.csv", "--part=test", "--part=test"),
        ("--threads", "1", "--threads", "2", "evaluate", "p.csv"),
        ("predict", "a.png", "--out", "a.csv", "--out", "b.csv"),
    ],
)
def test_an_option_of_one_value_is_given_once(words):
    done = run(*words)
    assert (done.exit_code, "2 times" in done.output) == (2, True)


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "no.csv", "--prevalence", "0.1", "--prevalence", "0.2"),
        ("evaluate", "no.csv", "--json", "--json"),
    ],
)
def test_options_that_may_repeat_and_flags_do(words):
    assert "times" not in run(*words).output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("ensemble", "cv", "--out", "e", "--of-folds", "--runs", "3"), "--runs"),
        (("ensemble", "cv", "--out", "e", "--of-folds", "--crossover-genes", "3"), "--crossover-g"),
        (("ensemble", "cv", "--out", "e", "--of-folds", "--apply", "train"), "--apply"),
        (("ensemble", "cv", "--out", "e", "--of-folds", "--store", "s"), "--store"),
        (("errors", "a", "--out", "e", "--device", "cpu"), "--device"),
        (("inspect", "--card", "--json"), "--json"),
        (("recipes", "--set", "training.epochs=3"), "--set"),
        (("submit", "p.csv", "--out", "s", "--device", "cpu"), "--device"),
        (("predict", "a", "--out", "-", "--force"), "--force"),
        (("predict", "a", "--out", "-", "--masks", "m"), "--masks"),
        (("predict", "a", "--out", "d", "--shard-cells", "9", "--um-per-pixel", ".1"), "--um-per"),
    ],
)
def test_an_option_without_effect_is_refused(words, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    error = run(*words).exception
    assert isinstance(error, BlastscopeError)
    assert told in str(error)
    assert not list(tmp_path.iterdir())
