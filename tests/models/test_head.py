"""Heads by hand: pooling, the box of a cell, and its loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from blastscope.models.classifier import build_model
from blastscope.models.head import BilinearPooling, BoxHead, box_loss, cell_boxes, make_head
from blastscope.recipes.schema import Recipe
from tests.models.recipes import recipe


def test_bilinear_pooling_by_hand():
    features = torch.rand(2, 3, 2, 2, dtype=torch.float64) - 0.3
    for image, found in zip(features.numpy(), BilinearPooling()(features).numpy(), strict=True):
        flat = image.reshape(3, 4)
        product = sum(np.outer(flat[:, k], flat[:, k]) for k in range(4)).ravel()
        root = np.sign(product) * np.sqrt(np.abs(product) + 1e-5)
        np.testing.assert_allclose(found, root / np.linalg.norm(root), rtol=1e-10)


def test_average_and_maximum_are_joined():
    head = make_head(("avgmax", "batchnorm"), (5, 4, 4))
    assert [name for name, _ in head.named_children()] == [
        "avgmax", "flatten", "batchnorm2", "logit",
    ]  # fmt: skip
    features = torch.rand(2, 5, 4, 4)
    expected = torch.cat([features.mean((2, 3)), features.amax((2, 3))], 1)
    torch.testing.assert_close(head[1](head[0](features)), expected)
    assert head.logit.in_features == 10


def test_the_box_is_that_of_what_is_not_black():
    images = torch.zeros(3, 3, 20, 20, dtype=torch.uint8)
    images[0, 1, 4:10, 2:17] = 90  # rows 4 to 9, columns 2 to 16
    images[1] = 200
    corners, there = cell_boxes(images)
    assert corners[0].tolist() == pytest.approx([2 / 10 - 1, 4 / 10 - 1, 17 / 10 - 1, 10 / 10 - 1])
    assert corners[1].tolist() == [-1, -1, 1, 1]
    assert there.tolist() == [True, True, False]


def test_the_loss_of_the_box_is_the_mean_absolute_error_of_cells_that_are_there():
    images = torch.zeros(3, 3, 20, 20, dtype=torch.uint8)
    images[0, 1, 5:15, 0:10] = 90  # -1, -.5, 0, .5
    images[1] = 200
    found = torch.tensor([[-1.0, -0.5, 0.4, 0.1], [-0.8, -1, 1, 1], [5, 5, 5, 5]])
    by_hand = ((0 + 0 + 0.4 + 0.4) / 4 + 0.2 / 4) / 2
    assert box_loss(found, images).item() == pytest.approx(by_hand)


def test_a_box_head_is_marzahls_and_stays_out_of_predictions():
    head = BoxHead(512)
    kinds = [type(layer) for layer in head if isinstance(layer, nn.Linear | nn.BatchNorm1d)]
    assert kinds == [nn.BatchNorm1d, nn.Linear, nn.BatchNorm1d, nn.Linear]
    # 1024 means and maxima: BatchNorm 2048, dense 1024 * 512 + 512, BatchNorm 1024, 512 * 4 + 4.
    assert sum(p.numel() for p in head.parameters()) == 2048 + 524_800 + 1024 + 2052
    assert head.eval()(torch.randn(9, 512, 2, 2) * 100).abs().max() <= 1
    settings = recipe("resnet18", 64).model_dump(by_alias=True)
    settings["input"]["scale"] = "keep"
    settings["model"]["auxiliary"] = {"box": 1.0}
    classifier = build_model(Recipe.model_validate(settings)).eval()
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        logits, corners = classifier.with_boxes(images)
        assert classifier(images).equal(logits)
    assert corners.shape == (2, 4)
