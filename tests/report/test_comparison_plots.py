"""The figures of a comparison: all intervals drawn, long names and many models bearable."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blastscope.evaluation.comparison import compare
from blastscope.report.comparison_page import (
    MOST_PAIRS,
    comparison_view,
    differences_plot,
    draw_comparison,
    models_plot,
    shortened,
    split_text,
    verdict,
)
from blastscope.report.text import metric
from tests.evaluation.tables import scores_of

DRAWS_PLOTS = True

LONG = "A network with a name that goes on and on " * 3


@pytest.fixture(scope="module")
def dozen():
    rng = np.random.default_rng(1)
    is_all = np.arange(200) < 120
    names = [LONG, "with\x07bell $x$", *(f"model {i}" for i in range(10))]
    models = {
        name: np.clip(0.5 + np.where(is_all, 0.2, -0.2) + rng.normal(0, 0.2, 200), 0, 1)
        for name in names
    }
    return compare(scores_of(is_all, models, [f"S{i // 10}" for i in range(200)]), "test", 100)


def test_equal_values_have_a_range_that_a_reader_can_use():
    """Of a model that calls every cell ALL: no sensitivity above 1, no ticks of 1e-17."""
    is_all = np.arange(60) < 40
    models = {"a": np.full(60, 0.9), "b": np.linspace(0.6, 0.9, 60)}
    found = compare(scores_of(is_all, models, [f"S{i // 10}" for i in range(60)]), "test", 100)
    for axes in models_plot(found).axes:
        low, high = axes.get_xlim()
        assert -0.01 <= low < high <= 1.01
        assert high - low > 0.05
    low, high = differences_plot(found.pairs).axes[0].get_xlim()
    assert high - low >= 0.02
    assert low < 0 < high


def test_every_model_has_its_interval_in_every_panel(dozen):
    figure = models_plot(dozen)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["weighted F1", "AUC", "sensitivity", "specificity"]
    for axes, name in zip(
        figure.axes, ("weighted_f1", "auc", "recall_all", "recall_hem"), strict=True
    ):
        drawn = [line.get_xdata() for line in axes.lines]
        expected = [dozen.estimates[model][name] for model in dozen.models]
        for row, e in enumerate(expected):
            assert list(drawn[2 * row]) == [e.low, e.high]
            assert list(drawn[2 * row + 1]) == [e.value]
        low, high = axes.get_xlim()
        assert low < min(e.low for e in expected)
        assert high > max(e.high for e in expected)


def test_of_many_pairs_the_largest_leads_are_drawn_with_a_line_at_zero(dozen):
    assert len(dozen.pairs) == 66
    figure = differences_plot(dozen.pairs)
    axes = figure.axes[0]
    assert list(axes.lines[0].get_xdata()) == [0, 0]
    points = [line.get_xdata()[0] for line in axes.lines[2::2]]
    leads = sorted((abs(pair.weighted_f1.value) for pair in dozen.pairs), reverse=True)
    assert points == pytest.approx(leads[:MOST_PAIRS])
    assert "the 30 largest of 66" in figure.get_supxlabel()
    view = comparison_view(dozen, {})
    assert view["folded"]
    assert len(view["pairs"]) == 66  # the table has them all


def test_names_are_broken_cut_and_printable():
    lines = shortened(LONG).split("\n")
    assert len(lines) == 2
    assert all(len(line) <= 26 for line in lines)
    assert lines[-1].endswith("…")
    assert shortened("VGG16") == "VGG16"
    assert shortened("x" * 60).endswith("…")
    assert shortened("with\x07bell") == "with?bell"


def test_figures_are_saved_whatever_the_names(dozen, tmp_path):
    saved = draw_comparison(
        replace(dozen, models=dozen.models[:2], pairs=dozen.pairs[:2]), tmp_path
    )
    assert set(saved) == {"models", "differences"}
    for path in saved.values():
        assert path.read_text().startswith("<?xml")
        assert path.with_suffix(".png").stat().st_size > 10_000


def test_what_is_undefined_is_left_out():
    scores = scores_of([True] * 30, {"a": np.linspace(0, 1, 30), "b": np.linspace(1, 0.4, 30)})
    comparison = compare(scores, "test", 100)
    figure = models_plot(comparison)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["weighted F1", "sensitivity"]
    assert len(differences_plot(comparison.pairs).axes) == 1
    view = comparison_view(comparison, {})
    assert metric(view["found"].estimates["a"]["auc"]) == "–"


def test_no_pairs_no_figure_of_differences(dozen, tmp_path):
    assert set(draw_comparison(replace(dozen, pairs=()), tmp_path)) == {"models"}


def test_an_interval_without_width_is_not_left_as_certainty():
    is_all = np.arange(40) < 20
    scores = scores_of(is_all, {"a": is_all * 0.8, "b": np.linspace(1, 0, 40) ** 2})
    assert comparison_view(compare(scores, "test", 100), {})["caution"]


def test_a_lead_with_fewer_cells_right_is_explained_by_class():
    is_all = np.arange(15) < 10
    everything_all = np.full(15, 0.9)
    balanced = np.where(np.arange(15) < 6, 0.9, 0.1)  # 6 of 10 ALL ...
    balanced[10:12] = 0.9  # ... and 3 of 5 normal cells
    models = {"always": everything_all, "both": balanced}
    found = compare(scores_of(is_all, models, [f"S{i}" for i in range(15)]), "test", 100)
    led = found.pairs[0].led()
    assert (led.first, led.only_first - led.only_second) == ("both", -1)
    text = verdict(found.pairs[0], found)
    assert "1 fewer cell right" in text
    assert (
        "both has sensitivity and specificity 0.6000 and 0.6000, always 1.0000 and 0.0000" in text
    )
    other = {"always": everything_all, "right": np.where(is_all, 0.9, 0.1)}
    plain = compare(scores_of(is_all, other, [f"S{i}" for i in range(15)]), "test", 100)
    assert "specificity" not in verdict(plain.pairs[0], plain)


@pytest.mark.parametrize(
    ("protocols", "text"),
    [
        ({"a": "subject", "b": "subject"}, "subject-disjoint split"),
        ({"a": None, "b": None}, "unknown split"),
        (
            {"a": "subject", "b": "image", "c": "subject"},
            "subject-disjoint split (a and c), image-level split (b)",
        ),
        ({"a": "subject", "b": None}, "subject-disjoint split (a), unknown split (b)"),
    ],
)
def test_the_split_of_each_model_is_named(protocols, text):
    assert split_text(protocols) == text
