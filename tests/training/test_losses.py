"""Losses against torchvision, PyTorch and hand calculations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torchvision.ops import sigmoid_focal_loss

from blastscope.recipes.training import Focal, FocalLoss
from blastscope.training.batches import SubjectBatches, mixed
from blastscope.training.losses import heterogeneity, loss_function, smoothed

LOGITS = torch.tensor([-30.0, -2.0, -0.1, 0.4, 3.0, 30.0], dtype=torch.float64)
TARGETS = torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0, 0.0], dtype=torch.float64)


@pytest.mark.parametrize(("alpha", "gamma"), [(0.4, 0.5), (0.25, 2.0), (0.5, 0.0)])
def test_focal_loss_is_torchvisions(alpha, gamma):
    found = loss_function(FocalLoss(focal=Focal(alpha=alpha, gamma=gamma)))(LOGITS, TARGETS)
    torch.testing.assert_close(found, sigmoid_focal_loss(LOGITS, TARGETS, alpha, gamma))


def test_focal_loss_of_a_soft_target_is_the_mean_of_both():
    loss = loss_function(FocalLoss(focal=Focal(alpha=0.4, gamma=0.5)))
    both = 0.3 * loss(LOGITS, torch.ones(6)) + 0.7 * loss(LOGITS, torch.zeros(6))
    torch.testing.assert_close(loss(LOGITS, torch.full((6,), 0.3)), both)


def test_label_smoothing_is_pytorchs_of_two_classes():
    both = torch.stack([torch.zeros(6, dtype=torch.float64), LOGITS], 1)
    expected = cross_entropy(both, TARGETS.long(), reduction="none", label_smoothing=0.1)
    found = binary_cross_entropy_with_logits(LOGITS, smoothed(TARGETS, 0.1), reduction="none")
    torch.testing.assert_close(found, expected)
    assert smoothed(TARGETS, None) is TARGETS


def test_heterogeneity_by_hand():
    embeddings = torch.tensor([[0.0, 0], [2, 0], [4, 3], [1, 1], [1, 5]])
    is_all = torch.tensor([True, True, True, False, False])
    # ALL: the means of subjects 7 and 8 are (1, 0) and (4, 3), 9 + 9 apart; normal: 0 + 16.
    found = heterogeneity(embeddings, is_all, torch.tensor([7, 7, 8, 1, 2]))
    assert found.item() == pytest.approx((18 + 16) / 2)
    one = heterogeneity(embeddings, is_all, torch.tensor([7, 7, 8, 1, 1]))
    assert one.item() == pytest.approx(18 / 2)
    # Of three subjects, the mean over the three pairs: 4, 25 and 13.
    three = heterogeneity(embeddings[:3], is_all[:3], torch.tensor([1, 2, 3]))
    assert three.item() == pytest.approx((4 + 25 + 13) / 3 / 2)


def test_mixing_keeps_the_larger_share_of_each_cell():
    pixels = torch.arange(6, dtype=torch.uint8)[:, None, None, None].expand(6, 3, 2, 2)
    targets = torch.arange(6) / 5
    images, soft = mixed(pixels, targets, 0.4, np.random.default_rng(3))
    value = images[:, 0, 0, 0]
    torch.testing.assert_close(soft, value / 5)  # what is mixed in the image is in the target
    share = np.random.default_rng(3).beta(0.4, 0.4, 6)
    assert (np.maximum(share, 1 - share) >= 0.5).all()
    own = torch.from_numpy(np.maximum(share, 1 - share)).float()
    rest = (value - own * torch.arange(6)) / (1 - own)
    assert sorted(rest.round().int().tolist()) == list(range(6))  # each cell is mixed in once


def test_batches_of_subjects_are_balanced():
    subjects = np.repeat(np.arange(10), [3, 20, 20, 4, 6, 9, 9, 30, 2, 5])
    is_all = subjects < 6
    drawn = SubjectBatches(subjects, is_all, 2).order(5, 18, np.random.default_rng(0))
    assert len(drawn) == 5 * 18
    for batch in drawn.reshape(5, 18):
        main = batch[:16]  # 2 classes of 2 subjects of 4 cells; two cells do not divide
        assert is_all[main].sum() == 8
        found, counts = np.unique(subjects[main], return_counts=True)
        assert len(found) == 4
        assert set(counts) == {4}
