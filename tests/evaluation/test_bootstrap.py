"""The draws: subjects of each class, with all their cells, the same for everybody."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from blastscope.errors import BlastscopeError
from blastscope.evaluation.bootstrap import SamplingUnits, resampling
from blastscope.evaluation.confidence_intervals import draw
from blastscope.evaluation.weighted_metrics import METRICS, WeightedMetrics
from blastscope.io.json_objects import read_as
from blastscope.report.evaluation_text import sampling_text

# Three ALL subjects of 4, 2 and 1 cells, two normal ones of 3 and 2, interleaved.
SUBJECTS = ["A", "H", "A", "B", "H", "A", "G", "B", "A", "H", "C", "G"]
IS_ALL = np.array([subject in "ABC" for subject in SUBJECTS])


def drawn(draws):
    return np.concatenate(list(draws.chunks())).astype(int)


def of(weights, subject):
    return weights[:, [name == subject for name in SUBJECTS]].sum(axis=1)


def test_whole_subjects_are_drawn_within_their_class():
    weights = drawn(resampling(IS_ALL, SUBJECTS, 4000))
    assert weights.shape == (4000, len(SUBJECTS))
    times = {s: of(weights, s) / SUBJECTS.count(s) for s in "ABCGH"}
    for count in times.values():
        assert set(count) <= {0.0, 1.0, 2.0, 3.0}  # a subject comes whole: n cells, or 2n...
    np.testing.assert_array_equal(times["A"] + times["B"] + times["C"], 3)
    np.testing.assert_array_equal(times["G"] + times["H"], 2)
    # Drawn k of k times with chance 1/k each: binomial, variance 1 - 1/k.
    for subject, k in zip("ABCGH", (3, 3, 3, 2, 2), strict=True):
        assert times[subject].mean() == pytest.approx(1, abs=0.06)
        assert times[subject].var() == pytest.approx(1 - 1 / k, abs=0.06)


def test_a_drawn_subject_brings_all_its_cells_alike():
    weights = drawn(resampling(IS_ALL, SUBJECTS, 300))
    for subject in "ABCGH":
        cells = weights[:, [name == subject for name in SUBJECTS]]
        np.testing.assert_array_equal(cells.min(axis=1), cells.max(axis=1))


def test_many_subjects_that_are_alike_give_the_interval_of_their_cells():
    """Where subjects do not differ, drawing them is no wider than the binomial of all cells."""
    rng = np.random.default_rng(3)
    is_all = np.repeat([True, False], 600)
    subjects = [f"{'A' if ill else 'H'}{k // 15 % 40}" for k, ill in enumerate(is_all)]
    p_all = np.where(rng.random(1200) < 0.8, 0.9, 0.1)[:, None]
    metrics = draw(WeightedMetrics(is_all, p_all).of, resampling(is_all, subjects, 3000))
    share = p_all[is_all, 0].round().mean()
    recall = metrics.resamples[:, 0, METRICS.index("recall_all")]
    assert recall.std() == pytest.approx(np.sqrt(share * (1 - share) / 600), rel=0.15)


def test_a_class_of_one_subject_varies_by_its_cells():
    is_all = np.array([True] * 6 + [False] * 30)
    weights = drawn(resampling(is_all, ["A"] * 6 + [f"H{i // 3}" for i in range(30)], 500))
    np.testing.assert_array_equal(weights[:, :6].sum(axis=1), 6)
    assert weights[:, :6].std() > 0.5


def test_without_subjects_cells_are_drawn_within_their_class():
    is_all = np.array([True] * 20 + [False] * 10)
    draws = resampling(is_all, [None] * 30, 3000)
    weights = drawn(draws)
    np.testing.assert_array_equal(weights[:, :20].sum(axis=1), 20)
    np.testing.assert_array_equal(weights[:, 20:].sum(axis=1), 10)
    assert weights.mean(axis=0) == pytest.approx(np.ones(30), abs=0.1)
    assert draws.sampling == SamplingUnits("cell", 3000, {"all": 20, "hem": 10}, 30, 30)
    assert draws.sampling.fewest is None


def test_one_nameless_cell_is_enough_to_draw_cells():
    draws = resampling(IS_ALL, [None, *SUBJECTS[1:]], 100)
    assert (draws.sampling.unit, draws.sampling.unnamed) == ("cell", 1)
    assert "because 1 cell of 12 name no subject" in sampling_text(draws.sampling)


def test_the_text_says_what_is_hardly_in_the_intervals():
    draws = resampling(IS_ALL, SUBJECTS, 2000)
    text = sampling_text(draws.sampling)
    assert text.startswith("2,000 resamples of the subjects of each class (3 ALL, 2 normal), each")
    assert "few subjects (3 ALL, 2 normal): in simulations with 2 subjects" in text
    assert (draws.sampling.unit, draws.sampling.fewest) == ("subject", 2)
    one = resampling(np.arange(8) > 5, [*"ABCDEF", "S", "S"], 100).sampling
    assert "Only one subject is ALL" in sampling_text(one)
    assert one.fewest == 1
    some = resampling(np.arange(16) > 4, [*"ABCDEFGHIJKLMNOP"], 100).sampling
    assert "few subjects (5 normal)" in sampling_text(some)
    many = resampling(np.arange(20) > 9, [*"ABCDEFGHIJKLMNOPQRST"], 100).sampling
    assert sampling_text(many).endswith("each with all its cells.")
    assert many.fewest == 10


def test_what_was_drawn_can_be_written_and_read():
    sampling = resampling(IS_ALL, SUBJECTS, 2000).sampling
    assert read_as(SamplingUnits, asdict(sampling)) == sampling


def test_a_subject_of_both_classes_is_a_class_of_its_own():
    is_all = np.array([True, False, True, True, False, False])
    draws = resampling(is_all, ["M", "M", "A", "B", "H", "G"], 300)
    assert draws.sampling.counts == {"all": 2, "hem": 2, "mixed": 1}
    np.testing.assert_array_equal(drawn(draws)[:, :2].sum(axis=1), 2)  # M's cells, M being alone


def test_the_same_seed_draws_the_same_however_often():
    draws = resampling(IS_ALL, SUBJECTS, 150, seed=5)
    np.testing.assert_array_equal(drawn(draws), drawn(draws))
    other = drawn(resampling(IS_ALL, SUBJECTS, 150, seed=6))
    assert (drawn(draws) != other).any()


def test_many_cells_come_in_several_chunks():
    n = 300_000
    draws = resampling(np.arange(n) % 2 == 0, [f"S{i % 40}" for i in range(n)], 100)
    first = next(draws.chunks())
    assert first.nbytes < 8 * 2**20
    assert len(first) < 100
    assert first.sum(axis=1, dtype=int).tolist() == [n] * len(first)  # subjects of equal size


def test_units_are_those_of_the_stratum_with_the_fewest_that_varies():
    assert resampling(IS_ALL, SUBJECTS, 100).units == 2
    lone = resampling(np.arange(11) > 9, [*"ABCDEFGHIJ", "S"], 100)
    assert (lone.units, lone.sampling.fewest) == (10, 1)  # S has one cell: there is nothing to draw
    cells = resampling(np.arange(12) > 8, [*"ABCDEFGHI", *"SSS"], 100)
    assert (cells.units, cells.sampling.fewest) == (3, 1)


def test_too_few_or_too_many_resamples_are_refused():
    with pytest.raises(BlastscopeError, match="99 resamples make no interval"):
        resampling(IS_ALL, SUBJECTS, 99)
    with pytest.raises(BlastscopeError, match="100001 resamples"):
        resampling(IS_ALL, SUBJECTS, 100_001)
    with pytest.raises(BlastscopeError, match="seed -1"):
        resampling(IS_ALL, SUBJECTS, 100, seed=-1)


def test_the_interval_of_accuracy_by_cells_is_the_binomials():
    """Without subjects, resampling one class of n cells is the textbook case: sd √(p(1-p)/n)."""
    is_all = np.ones(400, dtype=bool)
    p_all = np.where(np.arange(400) < 320, 0.9, 0.1)[:, None]
    drawn = draw(WeightedMetrics(is_all, p_all).of, resampling(is_all, [None] * 400, 6000))
    at = METRICS.index("recall_all")
    assert drawn.resamples[:, 0, at].std() == pytest.approx(np.sqrt(0.8 * 0.2 / 400), rel=0.04)
    recall = drawn.estimates()[at]
    ends = (0.8 - 1.96 * 0.02, 0.8 + 1.96 * 0.02)
    assert (recall.low, recall.high) == pytest.approx(ends, abs=0.004)
