"""What is said of one person's cells, of several's, and of what missed means."""

from __future__ import annotations

import numpy as np
import pytest

from blastscope.error_analysis.causes import find_causes
from blastscope.error_analysis.sentences import answer_guess, tell
from tests.error_analysis.made import drawn, scores_with


def one_effect(subjects: list[str | None], missed: np.ndarray | None = None) -> list[str]:
    """What is told where missed normal cells are larger, whoever's they are."""
    labels = ["hem"] * 120
    if missed is None:
        missed = np.arange(120) % 3 == 0
    size = 50.0 * missed + np.random.default_rng(6).normal(0, 5, 120)
    scores = scores_with(labels, missed[:, None], subjects=subjects)
    return list(tell(find_causes(scores, drawn(120, size=size)), measured=True))


def test_one_persons_cells_are_not_taken_for_more():
    told = one_effect(["H1"] * 120)
    whose = "All 120 normal cells are of one subject: what follows is about that person."
    larger = next(k for k, text in enumerate(told) if "are larger" in text)
    assert told.index(whose) < larger
    assert "within" not in told[larger]
    several = one_effect([f"H{k % 4}" for k in range(120)])
    assert not any("of one subject" in text for text in several)
    (sentence,) = (text for text in several if "are larger" in text)
    assert "large; within subjects +1.00 (of 4); p < .001" in sentence


def test_an_effect_that_no_subject_shows_alone_is_doubted():
    owner = np.arange(120) // 40
    for missed, words in (
        (owner == 0, "no subject has both missed and right cells, so it may"),
        (np.arange(120) < 30, "only 1 subject has both missed and right cells, so it may"),
    ):
        told = one_effect([f"H{k}" for k in owner], missed)
        (sentence,) = (text for text in told if "are larger" in text)
        assert words in sentence
    nameless = one_effect([None] * 120)
    assert any("within subjects not known" in text for text in nameless)
    one_and_unknown = one_effect(["H1"] * 60 + [None] * 60)
    assert not any("of one subject" in text for text in one_and_unknown)


def test_what_a_p_value_takes_for_granted_is_said_where_there_is_one():
    assert sum("independent draws" in text for text in one_effect(["H1"] * 120)) == 1
    labels, missed = ["all"] * 20, np.zeros((20, 1), bool)
    nothing = tell(find_causes(scores_with(labels, missed), drawn(20)), measured=True)
    assert not any("independent draws" in text for text in nothing)


@pytest.mark.parametrize(
    ("models", "who"),
    [
        (1, "the model calls"),
        (2, "either of the 2 models calls"),
        (3, "at least half of the 3 models call"),
    ],
)
def test_what_missed_is_comes_first(models, who):
    missed = np.zeros((30, models), bool)
    missed[:7, 0] = missed[:4, -1] = True  # of three models one of 3 alone is no half
    hard = 4 if models == 3 else 7
    told = tell(find_causes(scores_with(["all"] * 30, missed), None), measured=True)
    assert told[0] == (
        f"A missed cell is here one that {who} wrongly: {hard} of 30 ALL cells and 0 of 0 normal "
        "cells."
    )


def test_the_guess_is_answered_of_one_person_where_there_is_one():
    labels, missed = ["all", "hem"] * 100, (np.arange(200) % 6 < 2)[:, None]
    subjects = ["H1" if label == "hem" else f"S{k % 5}" for k, label in enumerate(labels)]
    answer = answer_guess(
        find_causes(scores_with(labels, missed, subjects=subjects), drawn(200)), measured=True
    )
    assert "among ALL cells the background" in answer
    assert "among normal cells (all of one subject) the background" in answer
