"""Runs with unlike settings, times and beginnings on the page of a reproduction."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from blastscope.recipes.library import load_recipe
from blastscope.recipes.schema import Recipe
from blastscope.report.reproduction_page import experiments_plot, results_markdown
from blastscope.reproduction.results import Outcome, read_experiments
from tests.report.reproduction_runs import Make, body, finished_run, row_of, rows, write

CNN, VGG, MOBILE = "paper/cnn-exp2", "paper/vgg16-e4", "paper/mobilenetv2-e3"
NOT_THE_PAPERS = "not the paper's settings"
GAP = "subject-disjoint minus image-level"


@pytest.fixture
def run(tmp_path: Path) -> Make:
    return partial(finished_run, tmp_path)


def seeded(recipe: Recipe, seed: int) -> Recipe:
    training = recipe.training.model_copy(update={"seed": seed})
    return recipe.model_copy(update={"training": training})


def test_the_settings_told_are_those_of_the_runs(tmp_path, run):
    quick = load_recipe(CNN, ["input.size=60", "training.epochs=1"])
    plain = load_recipe(CNN)
    outcomes = [Outcome(plain, "image", 24, None, "not asked for"), run(quick, "subject", 0.8)]
    text = body(write(outcomes, tmp_path / "a"))
    assert "not the paper's settings: this reproduction was run at a reduced image size" in text
    assert "input.size = 60 in 1 experiment (CNN from scratch); the packaged recipes have 300" in (
        text
    )
    assert (
        "training.epochs = 1 in 1 experiment (CNN from scratch); the packaged recipes have 30"
        in (text)
    )
    assert "CNN from scratch Images at 60 px, packaged 300 px." in text


def test_what_was_not_run_has_no_settings_to_tell(tmp_path, run):
    quick, plain = load_recipe(CNN, ["input.size=60"]), load_recipe(CNN)
    outcomes = [Outcome(quick, "image", 24, None, "not yet"), run(plain, "subject", 0.8)]
    assert NOT_THE_PAPERS not in body(write(outcomes, tmp_path / "a"))
    assert "px" not in results_markdown(outcomes)
    nothing = [Outcome(quick, "image", 24, None)]
    text = body(write(nothing, tmp_path / "b"))
    assert NOT_THE_PAPERS not in text
    assert "not run: no reason given" in text


def test_an_experiment_stands_where_its_run_belongs(run):
    plain = load_recipe(CNN)
    model = plain.model.model_copy(update={"backbone": "vgg16.tv_in1k"})
    outcomes = [
        Outcome(plain, "image", 24, None, "not asked for"),
        run(plain.model_copy(update={"model": model}), "subject", 0.8),
    ]
    assert [item.family for item in read_experiments(outcomes)] == ["VGG16"]


def test_no_gap_between_runs_of_different_settings(tmp_path, run):
    two = run(load_recipe(CNN, ["training.epochs=2"]), "image", 0.9, told={"seconds": 120})
    one = run(load_recipe(CNN, ["training.epochs=1"]), "subject", 0.8, told={"seconds": 60})
    html = write([two, one], tmp_path / "study")
    assert row_of(html, "cnn-exp2") == [
        "3.2.2", "0.9076", "0.9000", "−0.0076", "0.9000", "0.8000", "other settings", "0.9000",
        "2 min or 60 s",
    ]  # fmt: skip
    text = body(html)
    for epochs in (1, 2):
        said = f"training.epochs = {epochs} in 1 experiment (CNN from scratch), 1 of 2 trainings"
        assert said in text
    assert (
        "Not all runs have the same settings: image-level split, seed 24: training.epochs = 2"
        in (text)
    )
    assert "−0.1000" not in html
    assert GAP not in text
    line = results_markdown([two, one]).splitlines()[4]
    assert "| 0.8000 | other settings | 0.9000 |" in line
    # As many lines as gaps: none here, one where the settings are the same.
    assert joins([two, one]) == 0
    same = run(load_recipe(VGG), "image", 0.9), run(load_recipe(VGG), "subject", 0.8)
    assert joins([two, one, *same]) == 1


def joins(outcomes: list[Outcome]) -> int:
    """Count the lines between two marks, leaving out marks and the rules across the figure."""
    figure = experiments_plot(read_experiments(outcomes), synthetic=False)
    lines = [[float(x) for x in line.get_xdata()] for line in figure.axes[0].get_lines()]
    return sum(len(ends) == 2 and ends != [0, 1] for ends in lines)


def test_a_mean_over_seeds_is_of_runs_with_the_same_settings(tmp_path, run):
    plain, other = load_recipe(CNN), load_recipe(CNN, ["training.epochs=1"])
    outcomes = [
        run(seeded(plain, 24), "image", 0.90, seed=24),
        run(seeded(plain, 25), "image", 0.92, seed=25),
        run(seeded(other, 26), "image", 0.50, seed=26),
        run(seeded(plain, 24), "subject", 0.80, seed=24),
        run(seeded(plain, 26), "subject", 0.70, seed=26),
    ]
    html = write(outcomes, tmp_path / "study")
    # Means by hand: (.90 + .92) / 2 = .91; (.80 + .70) / 2 = .75; only seed 24 is in both.
    assert row_of(html, "cnn-exp2") == [
        "3.2.2", "0.9076", "0.9100 ± 0.0141 (n = 2) 1 of 3 seeds left out: other settings",
        "+0.0024", "0.9000 ± 0.0000 (n = 2)", "0.7500 ± 0.0707 (n = 2)", "−0.1000",
        "0.9000 ± 0.0000 (n = 2)", "12 min",
    ]  # fmt: skip
    assert rows(html)[GAP]  # of seed 24 in the experiment's own section
    assert "training.epochs = 1 in 1 experiment (CNN from scratch), 1 of 5 trainings" in body(html)


def test_another_seed_is_no_other_setting(tmp_path, run):
    outcomes = [run(seeded(load_recipe(CNN), s), p, 0.9, seed=s)
                for s in (24, 25) for p in ("image", "subject")]  # fmt: skip
    text = body(write(outcomes, tmp_path / "study"))
    assert "0.9000 ± 0.0000 (n = 2)" in text
    assert text.count("other settings") == 1  # in the caption
    assert "Not all runs" not in text


def test_only_what_differs_is_a_change(tmp_path, run):
    """The last of two settings of one key counts; the packaged value is no change."""
    overrides = ["training.epochs=5", "training.epochs=7", "input.size=300", "input.clahe=true"]
    text = body(write([run(load_recipe(CNN, overrides), "image", 0.9)], tmp_path / "study"))
    assert "training.epochs = 7 in 1 experiment" in text
    assert (
        "input.clahe = true in 1 experiment (CNN from scratch); the packaged recipes have false"
        in (text)
    )
    for absent in ("epochs = 5", "input.size =", "reduced size", "Images at"):
        assert absent not in text


def test_families_at_different_sizes_are_told_apart(tmp_path, run):
    def at(name: str, size: int) -> Recipe:
        return load_recipe(name, [f"input.size={size}"])

    outcomes = [
        run(at(CNN, 60), "image", 0.9),
        run(load_recipe("paper/cnn-exp1"), "image", 0.9),
        run(at(VGG, 64), "image", 0.9),
        run(at(VGG, 64), "subject", 0.8),
        run(at("paper/vgg16-e1", 64), "image", 0.9),
        run(at(MOBILE, 120), "image", 0.9),
        Outcome(at("paper/mobilenetv2-e7", 64), "image", 24, None, "not yet"),
    ]
    text = body(write(outcomes, tmp_path / "study"))
    assert "part of it was run at a reduced image size" in text
    for said in (
        "input.size = 60 in 1 experiment (CNN from scratch: cnn-exp2); the packaged recipes have",
        "input.size = 64 in 2 experiments (VGG16); the packaged recipes have 224",
        "input.size = 120 in 1 experiment (MobileNetV2); the packaged recipes have 224",
        "CNN from scratch Images at 60 px, packaged 300 px (1 of 2 trainings).",
        "VGG16 Images at 64 px, packaged 224 px.",
        "MobileNetV2 Images at 120 px, packaged 224 px.",
    ):
        assert said in text
    markdown = results_markdown(outcomes)
    assert "### VGG16\n\nImages at 64 px, packaged 224 px.\n\n| experiment |" in markdown
    assert "### MobileNetV2\n\nImages at 120 px, packaged 224 px.\n\n| experiment |" in markdown


def test_the_time_has_the_frozen_part_in_it(tmp_path, run):
    told = {"seconds": 600, "feature_seconds": 240.0}
    outcomes = [run(load_recipe(CNN), "image", 0.9, told=told)]
    html = write(outcomes, tmp_path / "study")
    assert row_of(html, "cnn-exp2")[-1] == "14 min"
    assert "including cached features if the run computed them" in body(html)
    unknown = [run(load_recipe(VGG), "image", 0.9, told={"seconds": None, "feature_seconds": 9})]
    assert row_of(write(unknown, tmp_path / "other"), "vgg16-e4")[-1] == "–"


def began(digit: str, file: str = "vgg16.tv_in1k.safetensors") -> dict[str, object]:
    return {"initial_weights": {"file": file, "sha256": f"sha256:{digit * 64}"}}


def test_the_weights_that_a_run_began_with(tmp_path, run):
    vgg = load_recipe(VGG)
    same = [run(vgg, p, 0.9, told=began("a")) for p in ("image", "subject")]
    text = body(write(same, tmp_path / "a"))
    # Twelve digits, and no word of which runs: all did.
    assert f"Began with the weights vgg16.tv_in1k.safetensors , SHA-256 {'a' * 12} … Full" in text
    assert text.count("Began with") == 1
    assert "began with the same weights" not in text
    other = run(load_recipe("paper/vgg16-e1"), "image", 0.9, told=began("b"))
    mobile = run(load_recipe(MOBILE), "image", 0.9, told=began("c", "mobilenet.safetensors"))
    silent = run(load_recipe(CNN), "image", 0.9, told={"initial_weights": "broken"})
    html = write([*same, other, mobile, silent], tmp_path / "b")
    overview = body(html.split("<h2>All experiments")[0])
    assert "Not all runs of a family began with the same weights." in overview
    assert f"SHA-256 {'a' * 12} …, in 2 trainings: vgg16-e4" in overview
    assert f"SHA-256 {'b' * 12} …, in 1 training: vgg16-e1" in overview
    assert "mobilenet" not in overview
    assert body(html).count("Began with") == 3


def test_an_experiments_runs_with_two_beginnings(tmp_path, run):
    vgg = load_recipe(VGG)
    outcomes = [run(vgg, "image", 0.9, told=began("a")), run(vgg, "subject", 0.9, told=began("b"))]
    text = body(write(outcomes, tmp_path / "study"))
    assert f"{'a' * 12} … (image-level split, seed 24)" in text
    assert f"{'b' * 12} … (subject-disjoint split, seed 24)" in text
