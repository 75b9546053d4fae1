"""An audit summed up, compared with hand calculations and scikit-learn."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import auc, roc_auc_score

from blastscope.errors import BlastscopeError
from blastscope.explanation.audit.curves import RivalVerdict
from blastscope.explanation.audit.regions import average_by_radius
from blastscope.explanation.audit.rows import Rows, drawn_means, means, plan_draws
from blastscope.explanation.audit.summary import Doubt, summarize
from blastscope.report.audit_text import answer_sentences, intervals_text, model_text
from tests.explanation.audit.made import (
    BINS,
    LABELS,
    NO_TEST,
    SCALED,
    cells_of,
    only,
    randomized_of,
)


def test_heat_against_area_by_hand():
    heat = [0.9, 0.5, None, 0.7]
    area = [0.6, 0.5, 0.2, 0.4]
    cells = cells_of(["all", "hem"] * 2, grad_cam_cell=heat, area_cell=area)
    found = only(cells).grad_cam
    assert (found.cells, found.without) == (3, 1)
    cell = found.region("cell")
    assert cell.share.value == pytest.approx(2.1 / 3)
    assert cell.area == pytest.approx(1.5 / 3)  # of the same three cells
    assert cell.ratio.value == pytest.approx(2.1 / 1.5)
    assert math.isnan(cell.ratio.low)  # too few cells for an interval


def test_an_interval_by_cell_is_that_of_the_mean_and_one_by_subject_is_wider():
    rng = np.random.default_rng(3)
    n = 600
    subjects = [f"S{k // 30}" for k in range(n)]
    of_subject = np.repeat(rng.normal(0, 0.3, n // 30), 30)
    apart = 0.2 + of_subject + rng.normal(0, 0.1, n)
    frame = cells_of(["all"] * n, subjects=subjects)
    by_subject = Rows(frame).estimate(apart)
    by_cell = Rows(frame.with_columns(subject=pl.lit(None, pl.String))).estimate(apart)
    half = 1.96 * apart.std() / math.sqrt(n)
    assert by_cell.low == pytest.approx(apart.mean() - half, abs=0.12 * half)
    assert by_cell.high == pytest.approx(apart.mean() + half, abs=0.12 * half)
    assert by_subject.low < 0.2 < by_subject.high
    assert by_subject.high - by_subject.low > 3 * (by_cell.high - by_cell.low)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.one_of(st.just(math.nan), st.floats(-1e3, 1e3)), min_size=6, max_size=24))
def test_means_leave_out_what_is_not_known(values):
    column = np.array(values)[:, None]
    draws = plan_draws((["all", "hem"] * len(values))[: len(values)], [None] * len(values), 1)
    known = column[~np.isnan(column)]
    drawn = drawn_means(column, draws).resamples
    if known.size:
        assert means(column)[0] == pytest.approx(known.mean(), abs=1e-9)
    if known.size < 5:
        assert np.isnan(drawn).all()
    else:
        assert np.nanmin(drawn) >= known.min() - 1e-6
        assert np.nanmax(drawn) <= known.max() + 1e-6


def test_areas_are_those_of_scikit_learn_and_differences_are_paired():
    rng = np.random.default_rng(0)
    drawn = {name: rng.random((60, 11)) for name in ("grad_cam", "random", "occlusion")}
    noise = rng.normal(0, 1, (60, 1))  # of the cell: gone from a paired difference
    columns = {f"deletion_{name}": lines + noise for name, lines in drawn.items()}
    model = only(cells_of(LABELS, **columns))
    at = np.linspace(0, 1, 11)
    areas = {
        name: np.array([auc(at, line) for line in lines + noise]) for name, lines in drawn.items()
    }
    for name, mine in areas.items():
        curve = model.curve("deletion", name)
        assert curve.area.value == pytest.approx(mine.mean())
        assert curve.mean == pytest.approx((drawn[name] + noise).mean(axis=0))
    gain = model.gain("deletion", "random")
    apart = areas["grad_cam"] - areas["random"]
    assert gain.difference.value == pytest.approx(apart.mean())
    assert gain.difference.high - gain.difference.low < 6 * apart.std() / math.sqrt(60)


@pytest.mark.parametrize(
    ("kind", "shift", "verdict"),
    [
        ("deletion", -0.1, "better"),
        ("deletion", 0.1, "worse"),
        ("insertion", 0.1, "better"),
        ("insertion", -0.1, "worse"),
        ("insertion", 0.0, "no-difference"),
        ("deletion", -0.005, "hardly-better"),
        ("insertion", -0.005, "hardly-worse"),
    ],
)
def test_the_verdict_changes_with_the_numbers(kind, shift, verdict):
    rng = np.random.default_rng(5)
    random = np.full((60, 11), 0.5) + rng.normal(0, 0.2, (60, 1))
    wide = 0.005 if abs(shift) == 0.005 else 0.05
    apart = shift + np.tile([[wide], [-wide]], (30, 1))
    mine = random + apart
    curves = {f"{kind}_grad_cam": mine, f"{kind}_random": random, f"{kind}_other": random}
    model = only(cells_of(LABELS, **curves))
    for rival in ("random", "other"):
        gain = model.gain(kind, rival)
        assert gain.verdict == verdict
        assert gain.better == (verdict == "better")
        assert gain.difference.low <= shift <= gain.difference.high


def test_a_map_must_beat_another_cells_map_too():
    cells = cells_of(LABELS)
    same = cells.with_columns(insertion_other="insertion_grad_cam")
    none = cells.with_columns(insertion_other=pl.lit(None, pl.List(pl.Float64)))
    assert only(cells).not_beaten("insertion") == {}
    assert only(same).not_beaten("insertion") == {"other": RivalVerdict.NO_DIFFERENCE}
    assert only(none).not_beaten("insertion") == {"other": None}


def test_a_model_that_decides_nothing_is_in_doubt():
    rng = np.random.default_rng(1)
    undecided = only(cells_of(LABELS, p_all=rng.uniform(0.504, 0.509, 60), called=["all"] * 60))
    found = undecided.calls
    assert (found.cells, found.called_all) == (60, 60)
    labels = np.array(LABELS) == "all"
    p_all = np.random.default_rng(1).uniform(0.504, 0.509, 60)
    assert found.auc.value == pytest.approx(roc_auc_score(labels, p_all))
    assert found.auc.low < 0.5
    assert found.doubts == (Doubt.ONE_CLASS, Doubt.NOT_ABOVE_CHANCE)
    assert undecided.doubts[:2] == found.doubts
    sure = only(cells_of(LABELS)).calls
    assert sure.doubts == ()
    assert sure.auc.low > 0.5
    one_class = only(cells_of(["hem"] * 20, called=["hem"] * 20)).calls
    assert one_class.auc is None
    assert one_class.doubts == (Doubt.ONE_CLASS,)


def test_grad_cam_alone_has_no_curves_and_is_in_doubt():
    kinds = [f"{k}_{m}" for k in ("deletion", "insertion")
             for m in ("grad_cam", "grad_cam_pp", "occlusion", "random", "other")]  # fmt: skip
    absent = [*kinds, "logits_scaled", "p_same_size", "agreement"]
    absent += [f"occlusion_{region}" for region in ("cell", "debris", "background")]
    study = summarize(cells_of(LABELS, **dict.fromkeys(absent)), NO_TEST, SCALED)
    (model,) = study.models
    assert (model.curves, model.gains, model.randomized, model.size) == ((), (), None, None)
    assert len(model.shares) == 1
    assert study.agreement == ((None,),)
    assert model.doubts == (Doubt.DELETION, Doubt.INSERTION, Doubt.NOT_RANDOMIZED)
    assert "deletion: not measured" in " ".join(answer_sentences(study))
    assert "NaN" not in json.dumps(study.as_json(), allow_nan=False)


def test_agreement_is_the_mean_of_what_is_defined():
    first = [[None, 0.2], [None, 0.6], [None, None]]
    cells = pl.concat(
        [
            cells_of(["all", "hem", "all"], "A", agreement=first),
            cells_of(["all", "hem", "all"], "B", agreement=[row[::-1] for row in first]),
        ]
    )
    ((none, ab), (ba, other)) = summarize(cells, NO_TEST, SCALED).agreement
    assert (none, other) == (None, None)
    assert ab == pytest.approx(0.4)
    assert ba == pytest.approx(0.4)
    turned = pl.concat([cells.filter(pl.col("model") == name) for name in "BA"])
    with pytest.raises(ValueError, match="order of the models"):
        summarize(turned, NO_TEST, SCALED)


def test_the_radius_profile_of_each_class():
    profile = np.tile(np.where(np.arange(BINS) == 9, 3.0, 0.5), (60, 1))
    profile[30:] = np.where(np.arange(BINS) == 2, -2.0, -0.5)
    profile[0] = np.nan
    rows = [[None if np.isnan(v) else v for v in row] for row in profile]
    found = only(cells_of(LABELS, radius=rows)).by_radius
    of_all, of_hem = found.profiles
    assert (of_all.cells, of_hem.cells) == (29, 30)
    assert [e.value for e in of_all.mean] == pytest.approx(profile[1].tolist())
    assert [e.value for e in of_hem.mean] == pytest.approx(profile[40].tolist())
    assert [e.value for e in of_all.zones] == pytest.approx([0.5, (4 * 0.5 + 3) / 5, 0.5])
    assert [e.value for e in of_hem.zones] == pytest.approx([-(4 * 0.5 + 2) / 5, -0.5, -0.5])
    assert of_all.directions == ("all",) * 3
    assert of_hem.directions == ("hem",) * 3
    text = next(t for t in model_text(only(cells_of(LABELS, radius=rows)), "keep") if "radius" in t)
    assert "In ALL cells: clearly for ALL in the inner half, +0.50 (+0.50 to +0.50);" in text


def test_each_zone_of_the_radius_has_a_direction_in_both_classes():
    edges = (np.arange(BINS) + 0.5) * 1.5 / BINS
    against = np.where(np.array(LABELS) == "all", -0.4, -0.7)[:, None]  # ALL cells: for normal
    balanced = np.tile([[0.3], [-0.3]], (30, 1))
    values = np.where(edges < 0.5, against, np.where(edges < 1, balanced, np.nan))
    rows = [[None if np.isnan(v) else v for v in row] for row in values]
    profiles = only(cells_of(LABELS, radius=rows)).by_radius.profiles
    for found, inner in zip(profiles, (-0.4, -0.7), strict=True):
        assert found.directions == ("hem", "neither", "not-measured")
        assert found.zones[0].value == pytest.approx(inner)


@pytest.mark.parametrize(("times", "doubted"), [(0.8, True), (1.0, False), (1.2, False)])
def test_less_attribution_on_the_cell_than_its_share_is_a_doubt(times, doubted):
    area = np.full(60, 0.7)
    heat = times * area + np.tile([0.05, -0.05], 30)
    cells = cells_of(LABELS, grad_cam_cell=heat, area_cell=area)
    study = summarize(cells, randomized_of(), SCALED)
    (model,) = study.models
    found = model.grad_cam.region("cell").ratio
    assert found.value == pytest.approx(times)
    assert (found.high < 1) == doubted
    assert model.doubts == ((Doubt.LESS_ON_CELL,) if doubted else ())
    assert study.passed == (() if doubted else ("m",))
    hair = only(cells_of(LABELS, grad_cam_cell=0.998 * area, area_cell=area))
    assert hair.grad_cam.region("cell").ratio.high < 1  # but is written 1.00
    assert not hair.grad_cam.less_on_cell
    few = only(cells_of(["all", "hem"], grad_cam_cell=[0.1, 0.1], area_cell=[0.7, 0.7]))
    assert Doubt.REGION_TOO_FEW in few.doubts


def test_the_calls_that_outlast_the_blur_by_hand():
    called = ["all"] * 30 + ["hem"] * 30
    left = np.array([0.96] * 27 + [0.5] * 3 + [0.5] * 3 + [0.1] * 27)
    curves = np.tile(np.linspace(0.9, 0.5, 11), (60, 1))
    curves[:, -1] = left
    found = only(cells_of(LABELS, called=called, deletion_grad_cam=curves)).blurred
    # at .5 a cell is called normal: 27 of ALL and 3 of normal stay
    assert found.cells == 60
    assert found.kept.value == pytest.approx(30 / 60)
    assert found.kept.low < 0.5 < found.kept.high
    assert found.p_called["all"] == pytest.approx((27 * 0.96 + 1.5) / 30)
    assert found.p_called["hem"] == pytest.approx((1.5 + 2.7) / 30)
    curves[:, -1] = 0.2
    lost = only(cells_of(LABELS, called=["all"] * 60, deletion_grad_cam=curves)).blurred
    assert lost.kept.value == 0
    assert list(lost.p_called) == ["all"]
    curves = [None, *curves.tolist()[1:]]  # a cell without a curve is left out
    short = only(cells_of(LABELS, called=called, deletion_grad_cam=curves)).blurred
    assert (short.cells, short.kept.value) == (59, 0)
    assert only(cells_of(LABELS, deletion_grad_cam=None)).blurred is None


def test_noise_has_a_direction_no_more_often_than_it_may():
    claims = 0
    subjects = [f"s{k}" for k in range(60)]
    for seed in range(40):
        noise = np.random.default_rng(seed).normal(0, 1, (60, BINS))
        found = average_by_radius(Rows(cells_of(LABELS, radius=noise, subjects=subjects)))
        claims += sum(
            e.above_zero if p.label == "all" else e.negated().above_zero
            for p in found.profiles
            for e in p.zones
        )
    assert claims <= 16  # of 240, 6 expected at 2.5 %


def test_without_labels_there_are_intervals_whatever_the_class():
    cells = cells_of(LABELS).with_columns(label=pl.lit(None, pl.String))
    study = summarize(cells, randomized_of(), SCALED)
    (model,) = study.models
    assert (study.draws.sampling.unit, study.draws.sampling.fewest) == ("subject", 12)
    assert (study.cells, study.unlabelled) == (60, 60)
    assert model.grad_cam.region("cell").share.low > 0
    assert model.by_radius is None
    assert model.size.judged is None
    assert list(model.size.p_all) == ["any"]
    for subjects, unit, fewest, said in (
        (["a", "b", "c"] * 20, "subject", 3, "There are few subjects (3)"),
        (["a"] * 60, "subject", 1, "a single subject: differences between subjects"),
        ([None] * 60, "cell", None, "The subjects are not known: differences"),
    ):
        few = cells.with_columns(subject=pl.Series(subjects, dtype=pl.String))
        drawn = summarize(few, NO_TEST, SCALED)
        assert (drawn.draws.sampling.unit, drawn.draws.sampling.fewest) == (unit, fewest)
        assert said in intervals_text(drawn)
        assert "no cell has a label" in intervals_text(drawn)
    some = cells_of(LABELS, subjects=[None] * 60).with_columns(
        label=pl.when(pl.int_range(pl.len()) > 0).then("label")
    )
    study = summarize(some, NO_TEST, SCALED)
    assert study.unlabelled == 1
    assert "1 of 60 cells has no label" in intervals_text(study)
    assert study.models[0].size.judged.cells == 59


def test_models_are_paired_by_cell_and_must_have_the_same():
    first, second = cells_of(LABELS, "A", 2, 0), cells_of(LABELS, "B", 2, 1, seed=7)
    straight = summarize(pl.concat([first, second]), NO_TEST, SCALED)
    mixed = summarize(
        pl.concat([first, second.sample(fraction=1, shuffle=True, seed=1)]), NO_TEST, SCALED
    )
    assert mixed.as_json() == straight.as_json()
    with pytest.raises(BlastscopeError, match="other cells for B than for A"):
        summarize(pl.concat([first, second.head(59)]), NO_TEST, SCALED)
    with pytest.raises(BlastscopeError, match="no cells"):
        summarize(first.head(0), NO_TEST, SCALED)


def test_the_answer_names_who_passes_and_who_does_not():
    names = ["A", "B", "C", "D"]
    flat = np.full((60, 11), 0.5)
    called = {"D": {"p_all": np.full(60, 0.506), "called": ["all"] * 60}}
    called["D"] |= {f"insertion_{method}": flat for method in ("grad_cam", "random", "other")}
    cells = pl.concat(
        [cells_of(LABELS, name, 4, k, **called.get(name, {})) for k, name in enumerate(names)]
    )
    last = {"A": 0.1, "B": 0.9, "C": 0.6, "D": 0.1}
    tests = pl.concat(
        [randomized_of(m, last=last[m], between=0.6 if m == "C" else 0.1) for m in names]
    )
    found = summarize(cells, tests, dict.fromkeys(names, "crop"))
    assert found.passed == ("A",)
    assert [m.undecided for m in found.models] == [False, False, True, False]
    assert [m.doubts for m in found.models] == [
        (),
        (Doubt.WEIGHTS,),
        (),
        (Doubt.ONE_CLASS, Doubt.NOT_ABOVE_CHANCE, Doubt.INSERTION),
    ]
    answer = " ".join(answer_sentences(found))
    assert answer.startswith("The Grad-CAM maps of A pass all tests: ")
    assert "B does not pass: the map does not follow the weights." in answer
    assert "It is undecided whether the maps of C follow the weights." in answer
