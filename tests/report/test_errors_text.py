"""The sentences of an error analysis: a few of each kind."""

from __future__ import annotations

import numpy as np
import pytest

from blastscope.error_analysis.causes import check_guess, find_causes
from blastscope.report.errors_page import causes_text, guess_text, missed_text
from tests.error_analysis.made import drawn, scores_with


def test_sentences_on_causes():
    missed = np.arange(120) % 3 == 0
    size = 50.0 * missed + np.random.default_rng(6).normal(0, 5, 120)
    for subjects, words in (
        ([f"H{k % 4}" for k in range(120)], "large; within subjects +1.00 (of 4); p < 0.001"),
        (["H1"] * 120, "All 120 normal cells are from one subject"),
        ([None] * 120, "within subjects not known"),
    ):
        scores = scores_with(["hem"] * 120, missed[:, None], subjects=subjects)
        sentences = causes_text(find_causes(scores, drawn(120, size=size)))
        assert sum(words in sentence for sentence in sentences) == 1
        assert sum("Missed normal cells are larger: median" in text for text in sentences) == 1
        assert "There are no ALL cells." in sentences


@pytest.mark.parametrize(
    ("models", "who", "hard"),
    [(1, "the model calls", 7), (2, "one of the 2 models calls", 7),
     (3, "at least half of the 3 models call", 4)],
)  # fmt: skip
def test_what_a_missed_cell_is(models, who, hard):
    missed = np.zeros((30, models), bool)
    missed[:7, 0] = missed[:4, -1] = True  # of three models one alone is not half
    causes = find_causes(scores_with(["all"] * 30, missed), None)
    assert missed_text(causes) == (
        f"A cell counts as missed here if {who} it wrongly: {hard} of 30 ALL cells and 0 of 0 "
        "normal cells."
    )
    assert "--store" in causes_text(causes)[-1]
    assert "--store" in guess_text(check_guess(causes), causes)


def test_the_guess_of_the_paper_in_words():
    missed = (np.arange(200) % 6 < 2)[:, None]
    background = np.random.default_rng(4).normal(size=200) + 3 * missed[:, 0]
    scores = scores_with(["all", "hem"] * 100, missed)
    causes = find_causes(scores, drawn(200, background=background))
    text = guess_text(check_guess(causes), causes)
    assert text.count("the background supports this (delta +0.9") == 2
    assert "Normal cells: the background supports" in text
