"""The size question, against scikit-learn."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.special import expit
from sklearn.metrics import f1_score, roc_auc_score

from blastscope.explanation.audit.size import SizeVerdict
from blastscope.explanation.tables import SCALES
from blastscope.report.audit_text import model_text
from tests.explanation.audit.made import LABELS, cells_of, only


def sized(n=200, by_size=1.0, seed=0):
    """A network whose logit is by_size times the size, the rest being the cell's own."""
    rng = np.random.default_rng(seed)
    labels = ["all", "hem"] * (n // 2)
    sign = np.tile([1.0, -1.0], n // 2)
    size = np.exp(0.15 * sign + rng.normal(0, 0.15, n))
    own = 0.5 * sign + rng.normal(0, 1, n)
    logits = by_size * 12 * np.log(size[:, None] * np.array(SCALES)) + (1 - by_size) * own[:, None]
    same = expit((1 - by_size) * own + (1e-3 * rng.normal(size=n) if by_size == 1 else 0))
    one = logits[:, SCALES.index(1)]
    called = np.where(one > 0, "all", "hem").tolist()
    cells = cells_of(
        labels, side=np.round(200 * size).astype(int), p_all=expit(one), logits_scaled=logits,
        p_same_size=same, p_there_and_back=expit(one), called=called,
    )  # fmt: skip
    return cells, np.array(labels) == "all", expit(logits), same


@pytest.mark.parametrize(("by_size", "verdict"), [(1.0, "mostly"), (0.5, "part"), (0.0, "hardly")])
def test_the_size_question(by_size, verdict):
    cells, is_all, p_scaled, same = sized(by_size=by_size)
    found = only(cells).size
    as_is = p_scaled[:, SCALES.index(1)]
    assert found.verdict == verdict
    judged = found.judged
    for score, metrics in ((as_is, judged.as_is), (same, judged.same_size)):
        assert metrics["auc"].value == pytest.approx(roc_auc_score(is_all, score))
        weighted = f1_score(is_all, score > 0.5, average="weighted")
        assert metrics["weighted_f1"].value == pytest.approx(weighted)
    assert judged.size_alone.value == pytest.approx(roc_auc_score(is_all, cells["side"]))
    before, after = roc_auc_score(is_all, as_is), roc_auc_score(is_all, same)
    assert judged.lost.value == pytest.approx((before - after) / (before - 0.5))
    assert judged.lost.low <= judged.lost.value <= judged.lost.high
    assert found.changed.value == pytest.approx(((as_is > 0.5) != (same > 0.5)).mean())
    assert found.p_all["all"] == pytest.approx(p_scaled[is_all].mean(axis=0))
    assert found.p_all["hem"] == pytest.approx(p_scaled[~is_all].mean(axis=0))
    text = model_text(only(cells), "keep")[-2]
    assert f"{100 * found.changed.value:.1f} %" in text
    assert "depends on size" in text


def test_a_loss_that_is_due_to_sharpness_is_not_attributed_to_size():
    cells, is_all, p_scaled, same = sized(by_size=0.5)
    as_is = p_scaled[:, SCALES.index(1)]
    soft = cells.with_columns(p_there_and_back="p_same_size")
    found = only(soft).size  # there and back takes as much: nothing is left to size
    assert (found.verdict, found.by) == ("hardly", "size")
    assert found.judged.lost.value == pytest.approx(0)
    assert found.changed_back == found.changed
    assert found.judged.there_and_back == found.judged.same_size
    half = (as_is + same) / 2
    found = only(cells.with_columns(p_there_and_back=half)).size
    first, back, last = (roc_auc_score(is_all, p) for p in (as_is, half, same))
    assert found.judged.lost.value == pytest.approx((back - last) / (first - 0.5))
    assert found.judged.beyond["auc"].value == pytest.approx(last - back)
    assert found.changed_back.value == pytest.approx(((as_is > 0.5) != (half > 0.5)).mean())
    cut = only(soft, scale="crop").size  # no size in its pictures
    assert (cut.verdict, cut.by) == ("part", "sharpness")
    assert cut.judged.lost.value == pytest.approx((first - last) / (first - 0.5))
    old = only(cells.with_columns(p_there_and_back=pl.lit(None, pl.Float64))).size
    assert (old.changed_back, old.judged.there_and_back, old.verdict) == (None, None, "part")


def test_the_share_of_cells_that_a_field_cuts_off():
    sides = [200] * 30 + [300] * 30
    cells = cells_of(LABELS, side=sides)
    # 200 leaves a field of 320 above ×1.6, 300 above ×1.067
    by_hand = [0.5 if scale >= 1.1 else 0 for scale in SCALES]
    assert only(cells).size.cut == pytest.approx(by_hand)
    assert not any(only(cells, scale="crop").size.cut)


def test_chance_and_few_cells_leave_the_size_question_open():
    cells, _, _, _ = sized(by_size=0.5)
    rng = np.random.default_rng(0)
    shuffled = cells.with_columns(label=pl.Series(rng.permutation(cells["label"].to_list())))
    found = only(shuffled).size
    assert found.verdict is SizeVerdict.NO_DECISION
    found = only(sized(n=24, by_size=0.15, seed=4)[0]).size
    assert found.judged.difference["auc"].high >= 0
    assert found.verdict is SizeVerdict.WIDE_INTERVAL
    assert only(cells_of(["hem"] * 20)).size.verdict is SizeVerdict.ONE_CLASS
