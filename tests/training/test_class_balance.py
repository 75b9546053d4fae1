from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blastscope.errors import BlastscopeError
from blastscope.models.dihedral import dihedral_views
from blastscope.training.batches import PixelViews, TrainingBatches
from blastscope.training.class_balance import balanced, from_uses


def test_the_papers_balance():
    # Section 3.1: 4,432 + 1,964 cells become 3,198 of each class, with 1,234 copies.
    is_all = np.arange(6396) < 4432
    chosen = balanced(np.arange(6396), is_all, "paper", 24)
    labels = is_all[chosen.rows]
    assert (labels.sum(), (~labels).sum()) == (3198, 3198)
    copies = chosen.operations > 0
    assert copies.sum() == 1234
    assert not labels[copies].any()
    assert len(set(chosen.rows[copies])) == 1234  # of distinct cells
    assert len(set(chosen.rows[labels])) == 3198  # without replacement
    share = Counter(chosen.operations[copies].tolist())
    # a coin for flip (4, 6) or rotation (1, 2, 3); six standard deviations of slack
    assert abs(share[4] + share[6] - 617) < 6 * 17.6
    assert set(share) == {1, 2, 3, 4, 6}


@given(
    st.integers(2, 60),
    st.integers(2, 60),
    st.sampled_from(["paper", "undersample"]),
    st.integers(0, 9),
)
@settings(max_examples=60)
def test_balanced_classes_are_equal(blasts, normals, how, seed):
    is_all = np.arange(blasts + normals) < blasts
    chosen = balanced(np.arange(len(is_all)), is_all, how, seed)
    labels = is_all[chosen.rows]
    assert labels.sum() == (~labels).sum()
    wanted = (blasts + normals) // 2 if how == "paper" else min(blasts, normals)
    assert labels.sum() == wanted
    originals = chosen.rows[chosen.operations == 0]
    assert len(set(originals)) == len(originals)


def test_class_weights_are_scikit_learns():
    from sklearn.utils.class_weight import compute_class_weight

    is_all = np.arange(100) < 68
    chosen = balanced(np.arange(100), is_all, "weights", 0)
    expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=is_all.astype(int))
    np.testing.assert_allclose(chosen.class_weights, expected)
    assert len(chosen.rows) == 100


def test_one_class_is_refused():
    with pytest.raises(BlastscopeError, match="one class only"):
        balanced(np.arange(5), np.ones(5, bool), "none", 0)


def test_the_published_uses_are_kept():
    chosen = from_uses(np.arange(4), np.array([0, 1, 2, 2], np.int8), 0)
    assert sorted(chosen.rows.tolist()) == [1, 2, 2, 3, 3]
    assert sorted(chosen.rows[chosen.operations > 0].tolist()) == [2, 3]


def test_dihedral_operations_are_numpys():
    images = torch.arange(2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
    for operation in range(8):
        turned = dihedral_views(images, torch.full((2,), operation))
        expected = np.rot90(images.numpy(), operation % 4, axes=(2, 3))
        expected = expected[..., ::-1] if operation >= 4 else expected
        np.testing.assert_array_equal(turned.numpy(), expected)
    upside_down = dihedral_views(images, torch.tensor([6, 6])).numpy()
    np.testing.assert_array_equal(upside_down, images.numpy()[:, :, ::-1, :])


def test_the_eight_operations_all_differ():
    image = torch.arange(16).reshape(1, 1, 4, 4)
    seen = {tuple(dihedral_views(image, torch.tensor([k])).flatten().tolist()) for k in range(8)}
    assert len(seen) == 8


def test_an_epoch_holds_every_chosen_cell_once_and_depends_on_its_number():
    pixels = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    is_all = np.arange(20) % 2 == 0
    chosen = balanced(np.arange(20), is_all, "none", 0)

    def epoch(number):
        targets = is_all.astype(np.float32)
        batches = TrainingBatches(PixelViews(pixels), targets, chosen, 6, False, None, 24, number)
        assert len(batches) == 4
        return [(x[:, 0, 0, 0].tolist(), y.tolist()) for x, y in batches]

    cells = [cell for batch, _ in epoch(0) for cell in batch]
    assert sorted(cells) == list(range(20))
    assert all(y == [float(cell % 2 == 0) for cell in x] for x, y in epoch(0))
    assert epoch(0) == epoch(0)
    assert epoch(0) != epoch(1)
