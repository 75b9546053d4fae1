"""What missed cells have in common: planted causes are found, and none where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from blastscope.error_analysis.causes import find_causes
from blastscope.error_analysis.sentences import answer_guess, notable, p_text, size_of, tell
from tests.error_analysis.made import drawn, scores_with


def cells(n: int = 200, share: float = 0.25, seed: int = 5) -> tuple[list[str], np.ndarray]:
    """``n`` ALL and ``n`` normal cells of which a share is missed."""
    rng = np.random.default_rng(seed)
    return ["all"] * n + ["hem"] * n, (rng.random((2 * n, 1)) < share)


def test_a_planted_cause_is_told_with_its_figures():
    labels, missed = cells()
    normal = np.array(labels) == "hem"
    larger = np.where(normal & missed[:, 0], 214.0, 186.0) + np.random.default_rng(2).integers(
        -9, 10, 400
    )
    subjects = [f"{label}{k % 4}" for k, label in enumerate(labels)]
    scores = scores_with(labels, missed, subjects=subjects)
    causes = find_causes(scores, drawn(400, size=larger))
    found = causes.trait("hem", "size")
    assert found is not None
    hard, right = larger[normal & missed[:, 0]], larger[normal & ~missed[:, 0]]
    assert (found.median_hard, found.median_right) == (np.median(hard), np.median(right))
    assert found.found.delta == pytest.approx(np.sign(hard[:, None] - right[None]).mean())
    assert found.within == pytest.approx(found.found.delta, abs=0.05)
    assert found.both == 4
    told = tell(causes, measured=True)
    words = f"Missed normal cells are larger: median {np.median(hard):.0f} px against"
    assert sum(words in sentence for sentence in told) == 1
    assert [f.label for f in causes.findings if notable(f)] == ["hem"]


def test_where_nothing_differs_nothing_is_told():
    # 16 tests in each of 20 draws: without correction about 16 would fall below .05.
    false = 0
    for seed in range(20):
        labels, missed = cells(seed=seed)
        causes = find_causes(scores_with(labels, missed), drawn(400, seed + 100))
        false += any(notable(finding) for finding in causes.findings)
    assert false <= 3


def test_a_large_number_of_cells_does_not_make_a_trifle_matter():
    labels, missed = cells(20_000)
    shifted = np.random.default_rng(0).normal(size=40_000) + 0.15 * missed[:, 0]
    found = find_causes(scores_with(labels, missed), drawn(40_000, size=shifted)).trait(
        "all", "size"
    )
    assert found is not None
    assert found.corrected < 1e-6
    assert size_of(found) == "negligible"
    assert not notable(found)


def test_what_only_subjects_differ_in_is_said_so():
    labels = ["hem"] * 400
    owner = np.repeat([0, 1], 200)
    rng = np.random.default_rng(9)
    missed = (rng.random(400) < np.where(owner, 0.6, 0.1))[:, None]
    size = 20.0 * owner + rng.normal(size=400)
    scores = scores_with(labels, missed, subjects=[f"H{k}" for k in owner])
    told = tell(find_causes(scores, drawn(400, size=size)), measured=True)
    (sentence,) = (text for text in told if "are larger" in text)
    assert "so it may set subjects apart rather than cells" in sentence
    (whose,) = (text for text in told if text.startswith("It matters whose the normal"))
    hard = int(missed[200:].sum())
    assert f"most surely on subject H1 ({hard} of 200 missed)" in whose


def test_hard_is_missed_by_at_least_half():
    missed = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]], bool)
    assert find_causes(scores_with(["all"] * 3, missed), None).hard.tolist() == [True, False, True]
    three = find_causes(scores_with(["all"] * 3, missed[:, :3]), None).hard.tolist()
    assert three == [True, False, True]


def test_a_flag_that_goes_with_errors():
    labels = ["hem"] * 200
    flag = np.arange(200) < 20
    missed = np.where(flag, np.arange(200) < 15, np.arange(200) % 10 == 0)[:, None]
    causes = find_causes(scores_with(labels, missed), drawn(200, touches_frame=flag))
    told = " ".join(tell(causes, measured=True))
    assert (
        "Normal cells that touch the image's frame are missed more often: 15 of 20 against 18 of "
        "180 (+65 percentage points, large; p < .001 corrected)." in told
    )


@pytest.mark.parametrize("flagged", [4, 196])
def test_a_flag_of_a_few_cells_is_not_tested(flagged):
    labels, flag = ["hem"] * 200, np.arange(200) < flagged
    missed = (flag == (flagged < 100))[:, None] | (np.arange(200) % 10 == 9)[:, None]
    causes = find_causes(scores_with(labels, missed), drawn(200, touches_frame=flag))
    assert not any(getattr(f, "flag", None) == "touches_frame" for f in causes.findings)


def test_subjects_with_about_a_cell_each_are_not_tested():
    missed = np.arange(200)[:, None] % 4 == 0
    for each, tested in ((1, False), (2, True)):
        scores = scores_with(["all"] * 200, missed, subjects=[f"S{k // each}" for k in range(200)])
        assert bool(find_causes(scores, None).findings) == tested


def test_too_few_cells_are_said_to_be_too_few():
    labels, missed = ["all"] * 50 + ["hem"] * 30, np.zeros((80, 1), bool)
    missed[:4] = True
    missed[52:] = True
    told = tell(find_causes(scores_with(labels, missed), drawn(80)), measured=True)
    assert told == (
        "A missed cell is here one that the model calls wrongly: 4 of 50 ALL cells and 28 of 30 "
        "normal cells.",
        "4 of 50 ALL cells are missed: too few to say what sets them apart.",
        "2 of 30 normal cells are called right: too few to say what sets them apart.",
    )
    none = find_causes(scores_with(["all"] * 5, np.zeros((5, 1), bool)), None)
    assert tell(none, measured=False)[2] == "There are no normal cells."


def test_subjects_have_a_wilson_interval():
    # 1 of 10: 0.0179 to 0.4042 (Wilson's score interval).
    missed = np.arange(20)[:, None] == 3
    causes = find_causes(scores_with(["all"] * 20, missed, subjects=["A"] * 10 + ["B"] * 10), None)
    rows = causes.subjects.to_dicts()
    assert [(row["subject"], row["hard"], row["cells"]) for row in rows] == [
        ("A", 1, 10),
        ("B", 0, 10),
    ]
    assert (rows[0]["low"], rows[0]["high"]) == pytest.approx((0.0179, 0.4042), abs=1e-4)


@pytest.mark.parametrize(
    ("background", "solidity", "words"),
    [
        (1, -1, "the background supports it (delta +0.9"),
        (-1, 1, "the background says the opposite (delta -0.9"),
        (0, -1, "the background does not tell them apart"),
    ],
)
def test_the_papers_guess_is_answered(background, solidity, words):
    labels, missed = cells()
    rng = np.random.default_rng(4)
    planted = {
        "background": rng.normal(size=400) + 3 * background * missed[:, 0],
        "solidity": rng.normal(size=400) + 3 * solidity * missed[:, 0],
    }
    answer = answer_guess(
        find_causes(scores_with(labels, missed), drawn(400, **planted)), measured=True
    )
    assert f"among ALL cells {words}" in answer
    outline = "supports it" if solidity < 0 else "says the opposite"
    assert answer.count(f"and the outline {outline}") == 2


def test_a_trait_that_is_missing_or_the_same_everywhere_is_not_tested():
    labels, missed = cells()
    causes = find_causes(
        scores_with(labels, missed),
        drawn(400, size=np.full(400, 7.0), background=np.full(400, np.nan)),
    )
    assert causes.trait("all", "size") is None
    assert causes.trait("all", "background") is None
    assert "for ALL cells it cannot be told" in answer_guess(causes, measured=True)


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.0004, "p < .001"), (0.0123, "p = .012"), (0.0496, "p = .0496"), (1, "p = 1.000")],
)
def test_p_is_never_rounded_over_the_line(p, text):
    assert p_text(p) == text
