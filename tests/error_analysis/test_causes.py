"""What missed cells have in common: planted causes are found, and none where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from blastscope.error_analysis.causes import (
    EffectSize,
    FlagFinding,
    PaperGuess,
    SubjectFinding,
    TraitFinding,
    Within,
    check_guess,
    find_causes,
)
from tests.error_analysis.made import drawn, scores_with


def cells(n: int = 200, share: float = 0.25, seed: int = 5) -> tuple[list[str], np.ndarray]:
    """``n`` ALL and ``n`` normal cells of which a share is missed."""
    rng = np.random.default_rng(seed)
    return ["all"] * n + ["hem"] * n, (rng.random((2 * n, 1)) < share)


def test_a_planted_cause_is_found():
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
    assert (found.size, found.seen_within) == (EffectSize.LARGE, Within.HOLDS)
    assert [f for f in causes.findings if f.notable] == [found]


def test_without_a_difference_nothing_is_notable():
    # 16 tests in each of 20 draws: without correction about 16 would fall below .05.
    false = 0
    for seed in range(20):
        labels, missed = cells(seed=seed)
        causes = find_causes(scores_with(labels, missed), drawn(400, seed + 100))
        false += any(finding.notable for finding in causes.findings)
    assert false <= 3


def test_a_large_number_of_cells_does_not_make_a_trifle_matter():
    labels, missed = cells(20_000)
    shifted = np.random.default_rng(0).normal(size=40_000) + 0.15 * missed[:, 0]
    found = find_causes(scores_with(labels, missed), drawn(40_000, size=shifted)).trait(
        "all", "size"
    )
    assert found is not None
    assert found.corrected < 1e-6
    assert found.size is EffectSize.NEGLIGIBLE
    assert not found.notable


def test_an_effect_between_subjects_is_weak_within_them():
    labels = ["hem"] * 400
    owner = np.repeat([0, 1], 200)
    rng = np.random.default_rng(9)
    missed = (rng.random(400) < np.where(owner, 0.6, 0.1))[:, None]
    size = 20.0 * owner + rng.normal(size=400)
    scores = scores_with(labels, missed, subjects=[f"H{k}" for k in owner])
    causes = find_causes(scores, drawn(400, size=size))
    found = causes.trait("hem", "size")
    assert found is not None
    assert found.notable
    assert found.seen_within is Within.WEAK
    (uneven,) = (f for f in causes.findings if isinstance(f, SubjectFinding))
    assert uneven.notable
    assert causes.subjects.row(0)[:4] == ("H1", "hem", 200, int(missed[200:].sum()))


@pytest.mark.parametrize(
    ("subjects", "missed", "expected", "both"),
    [
        (["H1"] * 120, np.arange(120) % 3 == 0, Within.ONE_SUBJECT, 1),
        ([f"H{k % 4}" for k in range(120)], np.arange(120) % 3 == 0, Within.HOLDS, 4),
        ([f"H{k // 40}" for k in range(120)], np.arange(120) < 40, Within.FEW_SUBJECTS, 0),
        ([f"H{k // 40}" for k in range(120)], np.arange(120) < 30, Within.FEW_SUBJECTS, 1),
        ([None] * 120, np.arange(120) % 3 == 0, Within.UNKNOWN, 0),
        (["H1"] * 60 + [None] * 60, np.arange(120) % 3 == 0, Within.FEW_SUBJECTS, 1),
    ],
)
def test_whether_an_effect_holds_within_subjects(subjects, missed, expected, both):
    size = 50.0 * missed + np.random.default_rng(6).normal(0, 5, 120)
    scores = scores_with(["hem"] * 120, missed[:, None], subjects=subjects)
    found = find_causes(scores, drawn(120, size=size)).trait("hem", "size")
    assert found is not None
    assert (found.seen_within, found.both, found.size) == (expected, both, EffectSize.LARGE)


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
    flags = [f for f in causes.findings if isinstance(f, FlagFinding)]
    (found,) = (f for f in flags if f.flag == "touches_frame")
    assert (found.flagged, found.others) == ((15, 20), (18, 180))
    assert found.found.risk_difference == pytest.approx(0.65)
    assert (found.notable, found.size) == (True, EffectSize.LARGE)


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


def test_too_few_cells_are_not_tested():
    labels, missed = ["all"] * 50 + ["hem"] * 30, np.zeros((80, 1), bool)
    missed[:4] = True
    missed[52:] = True
    causes = find_causes(scores_with(labels, missed), drawn(80))
    assert [(g.hard, g.right, g.enough) for g in causes.groups] == [(4, 46, False), (28, 2, False)]
    assert not causes.findings


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
    ("background", "solidity", "expected"),
    [
        (1, -1, ("supports", "supports")),
        (-1, 1, ("contradicts", "contradicts")),
        (0, -1, ("no-difference", "supports")),
    ],
)
def test_the_papers_guess_is_checked(background, solidity, expected):
    labels, missed = cells()
    rng = np.random.default_rng(4)
    planted = {
        "background": rng.normal(size=400) + 3 * background * missed[:, 0],
        "solidity": rng.normal(size=400) + 3 * solidity * missed[:, 0],
    }
    causes = find_causes(scores_with(labels, missed), drawn(400, **planted))
    assert check_guess(causes) == (PaperGuess("all", *expected), PaperGuess("hem", *expected))


def test_a_trait_that_is_missing_or_constant_is_not_tested():
    labels, missed = cells()
    causes = find_causes(
        scores_with(labels, missed),
        drawn(400, size=np.full(400, 7.0), background=np.full(400, np.nan)),
    )
    assert causes.trait("all", "size") is None
    assert causes.trait("all", "background") is None
    assert check_guess(causes)[0].background == "not-tested"
    assert {f.trait.column for f in causes.findings if isinstance(f, TraitFinding)}
