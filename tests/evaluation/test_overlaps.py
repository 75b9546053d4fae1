"""What is known of one model's training is not known of another's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from blastscope.evaluation.aligned_predictions import AlignedPredictions, ModelSource
from blastscope.evaluation.overlap import members_overlap, part_overlap
from blastscope.report.evaluation_text import overlap_text


def scores(*columns: tuple[str, list[float], dict]) -> AlignedPredictions:
    """Two training cells of S1 and H1, two test cells of S2 and H2, and S1 once more in test."""
    cells = pl.DataFrame(
        {
            "cell": list("abcde"),
            "subject": ["S1", "H1", "S2", "H2", "S1"],
            "label": ["all", "hem", "all", "hem", "all"],
            "part": ["train", "train", "test", "test", "test"],
        }
    )
    members = tuple(ModelSource(name, Path(name), about) for name, _, about in columns)
    return AlignedPredictions(cells, members, np.array([p for _, p, _ in columns]).T)


ALL_CELLS = [0.5] * 5
NO_TRAINING = [np.nan, np.nan, 0.5, 0.5, 0.5]


def disjoint(*columns) -> AlignedPredictions:
    given = scores(*columns)
    return given.take(np.arange(5) < 4)


def test_what_holds_of_every_model_is_said_once():
    both = disjoint(("a", ALL_CELLS, {}), ("b", ALL_CELLS, {}))
    assert members_overlap(both, "test").kind == "disjoint"
    shared = members_overlap(scores(("a", ALL_CELLS, {}), ("b", ALL_CELLS, {})), "test")
    assert shared.kind == "shared"
    assert (shared.shared, shared.subjects, shared.models) == (1, 3, ())


def test_a_table_without_training_cells_leaves_it_open():
    found = members_overlap(disjoint(("ours", ALL_CELLS, {}), ("theirs", NO_TRAINING, {})), "test")
    assert found.kind == "unknown"
    assert (found.reason, found.models) == ("no-training-cells", ("theirs",))
    found = members_overlap(scores(("ours", ALL_CELLS, {}), ("theirs", NO_TRAINING, {})), "test")
    assert found.kind == "shared"
    assert found.models == ("ours",)


def test_what_is_made_of_its_neighbours_knows_what_they_know():
    derived = ("mean", NO_TRAINING, {"derived": True})
    assert members_overlap(disjoint(("a", ALL_CELLS, {}), derived), "test").kind == "disjoint"


def test_weights_that_know_the_cells_are_said_first_and_the_rest_too():
    fitted = ("e", ALL_CELLS, {"fitted_on": ["test"]})
    found = members_overlap(scores(("a", ALL_CELLS, {}), fitted), "test")
    assert found.kind == "training"
    assert (found.fitted, found.shared) == (("e",), 1)
    assert overlap_text(found).startswith("The weights of e were fitted on these test cells")


@pytest.mark.parametrize(
    ("by", "kind", "reason"),
    [
        ("matched", "shared", "folds-by-cell"),
        ("image", "shared", "folds-by-cell"),
        ("subject", "disjoint", "out-of-fold"),
    ],
)
def test_of_a_cross_validation_the_cut_tells_as_it_does_of_one_table(by, kind, reason):
    folds = {"out_of_fold": by}
    both = disjoint(("a", NO_TRAINING, folds), ("b", NO_TRAINING, folds))
    found = members_overlap(both, "test")
    assert (found.kind, found.reason, found.models) == (kind, reason, ())
    alone = both.cells.filter(pl.col("part") == "test").with_columns(model=pl.lit("a"))
    assert part_overlap(alone, "test", folds) == found
    beside = members_overlap(
        disjoint(("one", ALL_CELLS, {}), ("folds", NO_TRAINING, folds)), "test"
    )
    assert (beside.kind, beside.reason) == (kind, reason)
    assert beside.models == (("folds",) if kind == "shared" else ())
    bare = disjoint(("folds", NO_TRAINING, folds), ("bare", NO_TRAINING, {}))
    assert members_overlap(bare, "test").models == (("folds",) if kind == "shared" else ("bare",))
