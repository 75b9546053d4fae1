"""Predictions over one view and over eight."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from blastscope.data.store import open_store
from blastscope.models.classifier import build_model
from blastscope.training.batches import PixelViews
from blastscope.training.network_input import NetworkInput
from blastscope.training.train import probabilities
from tests.models.recipes import recipe

CPU = torch.device("cpu")


@pytest.fixture
def made(material):
    torch.manual_seed(0)
    classifier = build_model(recipe(size=32, head=["flatten"])).eval()
    store = open_store(material.store)
    return classifier, store, NetworkInput(PixelViews(store.pixels), classifier)


def test_one_view_is_the_network_on_the_stores_pixels(made):
    classifier, store, network_input = made
    rows = np.array([5, 0, 39])
    with torch.no_grad():
        logits = classifier(torch.from_numpy(store.pixels[rows]).permute(0, 3, 1, 2))
    expected = torch.sigmoid(logits.double()).numpy()
    np.testing.assert_allclose(
        probabilities(classifier, network_input, rows, CPU), expected, rtol=1e-6
    )


def test_eight_views_are_the_mean_of_the_logits_of_numpys_turns_and_flips(made):
    classifier, store, network_input = made
    rows = np.arange(3)
    laid = [
        np.rot90(flipped, turn, axes=(1, 2)).copy()
        for flipped in (store.pixels[rows], store.pixels[rows][:, :, ::-1])
        for turn in range(4)
    ]
    with torch.no_grad():
        logits = [classifier(torch.from_numpy(p).permute(0, 3, 1, 2)).double() for p in laid]
    expected = torch.sigmoid(torch.stack(logits).mean(0)).numpy()
    found = probabilities(classifier, network_input, rows, CPU, "dihedral")
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.abs(found - probabilities(classifier, network_input, rows, CPU)).max() > 1e-4


def test_eight_views_do_not_depend_on_how_the_cell_lies(made):
    classifier, store, _ = made
    turned = np.rot90(store.pixels[:4], 1, axes=(1, 2)).copy()
    here, there = (
        probabilities(
            classifier, NetworkInput(PixelViews(pixels), classifier), np.arange(4), CPU, "dihedral"
        )
        for pixels in (store.pixels[:4], turned)
    )
    np.testing.assert_allclose(here, there, rtol=1e-5)
